//! Large frames: every byte as it was sent, at every size at which Narrows changes its way, spliced
//! or copied.

use crate::broker::{Arrival, Broker};
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::frames::{OFFSET_COMMIT, opaque, produce, request};
use crate::samples::{FETCH, Node, SHARE_FETCH, Shape, node, pattern, response, tail};
use crate::{until, within};
use narrows::session::Splice;
use socket2::SockRef;
use std::io::{Read, Write};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where the way changes: held whole or not, spliced or not, expected to be large or not, a
/// buffer's size, a pipe's smallest and largest size, and the mark below which a large frame wakes
/// nobody.
const THRESHOLDS: [usize; 8] = [
    4 * 1024,
    16 * 1024,
    30_000,
    64 * 1024,
    128 * 1024,
    256 * 1024,
    512 * 1024,
    1024 * 1024,
];

/// How the sender cuts what it sends.
const CHUNKS: [usize; 5] = [1_000_000_000, 1 << 20, 65_537, 1_447, 97];

const BOTH_WAYS: [Splice; 2] = [Splice::Auto, Splice::Off];

async fn start(broker: &Broker, splice: Splice) -> Proxy {
    Proxy::start_with(&[broker], |settings| settings.session.splice = splice).await
}

/// A connection that has been through: client and broker know each other.
async fn through(proxy: &Proxy, broker: &mut Broker) -> (Client, Arrival) {
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, -1, b"first")).await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(-1, b"first")).await;
    assert_eq!(client.frame().await, Some(opaque(-1, b"first")));
    (client, arrival)
}

/// Sends in pieces of at most `chunk` bytes while the other side reads; what it reads must be
/// `expected`.
async fn passes(
    from: &mut TcpStream,
    to: &mut TcpStream,
    sent: &[u8],
    expected: &[u8],
    chunk: usize,
) {
    let sending = async {
        for piece in sent.chunks(chunk) {
            from.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut got = vec![0; expected.len()];
    let (read, ()) = within("all of it to pass", async {
        tokio::join!(to.read_exact(&mut got), sending)
    })
    .await;
    read.unwrap();
    assert!(got == expected, "{} bytes in pieces of {chunk}", sent.len());
}

#[tokio::test]
async fn requests_around_every_threshold_reach_the_broker_as_they_were_sent() {
    for splice in BOTH_WAYS {
        let mut broker = Broker::alone(0).await;
        let proxy = start(&broker, splice).await;
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        for (threshold, chunk) in THRESHOLDS.iter().zip(CHUNKS.iter().cycle()) {
            let sizes = [threshold - 1, *threshold, threshold + 1, threshold - 30];
            let frames: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(id, size)| request(OFFSET_COMMIT, 6, id as i32, &pattern(*size)))
                .collect();
            let sent = frames.concat();
            passes(
                &mut client.stream,
                &mut arrival.stream,
                &sent,
                &sent,
                *chunk,
            )
            .await;
            let answers: Vec<u8> = (0..sizes.len())
                .flat_map(|id| opaque(id as i32, b"done"))
                .collect();
            passes(
                &mut arrival.stream,
                &mut client.stream,
                &answers,
                &answers,
                1_000,
            )
            .await;
        }
    }
}

#[tokio::test]
async fn responses_around_every_threshold_reach_the_client_as_they_were_sent() {
    for splice in BOTH_WAYS {
        let mut broker = Broker::alone(0).await;
        let proxy = start(&broker, splice).await;
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        for (threshold, chunk) in THRESHOLDS.iter().rev().zip(CHUNKS.iter().cycle()) {
            let sizes = [threshold + 1, *threshold, threshold - 1, threshold - 30];
            let asked: Vec<u8> = (0..sizes.len())
                .flat_map(|id| request(OFFSET_COMMIT, 6, id as i32, b""))
                .collect();
            passes(
                &mut client.stream,
                &mut arrival.stream,
                &asked,
                &asked,
                1_000,
            )
            .await;
            let frames: Vec<_> = sizes
                .iter()
                .enumerate()
                .map(|(id, size)| opaque(id as i32, &pattern(*size)))
                .collect();
            let sent = frames.concat();
            passes(
                &mut arrival.stream,
                &mut client.stream,
                &sent,
                &sent,
                *chunk,
            )
            .await;
        }
    }
}

/// A fetch's records pass unseen and its addresses behind them are replaced, at unchanged length
/// where it streams.
#[tokio::test]
async fn fetches_around_every_threshold_bring_their_records_and_narrows_addresses() {
    let nodes = [node(0, "kafka-0.broker.internal", 9092)];
    for splice in BOTH_WAYS {
        let mut broker = Broker::alone(0).await;
        let proxy = start(&broker, splice).await;
        let advertised = [node(0, ADVERTISED_HOST, proxy.port(0))];
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        for (threshold, chunk) in THRESHOLDS.iter().zip(CHUNKS.iter().cycle()) {
            for (key, version) in [(FETCH, 17), (SHARE_FETCH, 1)] {
                for filling in [threshold - 200, threshold - 1, *threshold, threshold + 1] {
                    let shape = Shape {
                        filling,
                        ..Shape::of(&nodes)
                    };
                    client.send(&request(key, version, 5, b"")).await;
                    arrival.frame().await.unwrap();
                    let sent = response(key, version, 5, &shape);
                    let receiving = async { client.frame().await.unwrap() };
                    let sending = async {
                        for piece in sent.chunks(*chunk) {
                            arrival.stream.write_all(piece).await.unwrap();
                            tokio::task::yield_now().await;
                        }
                    };
                    let (got, ()) = tokio::join!(receiving, sending);
                    let name = format!(
                        "key {key}, records of {filling} bytes in pieces of {chunk}, {splice:?}"
                    );
                    assert_is(key, version, &got, &shape, &advertised, &name);
                }
            }
        }
    }
}

/// The response has the records of `shape`, and these addresses: their host is shorter than the
/// broker's, so that they always fit.
fn assert_is(key: i16, version: i16, got: &[u8], shape: &Shape, advertised: &[Node], name: &str) {
    let without = Shape {
        nodes: Vec::new(),
        ..shape.clone()
    };
    let (nodes, rest) = tail(key, version, got);
    let (_, expected) = tail(key, version, &response(key, version, 5, &without));
    assert_eq!(nodes, advertised, "{name}");
    assert!(rest == expected, "{name}: the records differ");
}

/// Bytes that are in a pipe when a connection dies must not come out of the next one.
#[tokio::test]
async fn connections_that_die_inside_a_large_frame_leave_nothing_to_others() {
    let mut broker = Broker::alone(0).await;
    let proxy = start(&broker, Splice::Auto).await;
    let (mut steady, mut steady_arrival) = through(&proxy, &mut broker).await;
    for round in 0..20u8 {
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        // The client reads nothing of this and goes: what the kernel holds of it is lost with the
        // connection.
        client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
        arrival.frame().await.unwrap();
        let lost = opaque(1, &vec![0xee; 8 << 20]);
        let sending = tokio::spawn(async move {
            let _ = arrival.stream.write_all(&lost).await;
        });
        let mut beginning = vec![0; 100_000 + usize::from(round) * 10_000];
        within("the beginning", client.stream.read_exact(&mut beginning))
            .await
            .unwrap();
        client.reset();
        let frame = request(OFFSET_COMMIT, 6, 2, &vec![round; 300_000]);
        passes(
            &mut steady.stream,
            &mut steady_arrival.stream,
            &frame,
            &frame,
            1 << 20,
        )
        .await;
        let answer = opaque(2, &vec![round; 300_000]);
        passes(
            &mut steady_arrival.stream,
            &mut steady.stream,
            &answer,
            &answer,
            1 << 20,
        )
        .await;
        within("the sender to end", sending).await.unwrap();
    }
    proxy.until_closed("client_failed", 20).await;
}

#[tokio::test]
async fn a_broker_that_dies_inside_a_large_response_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = start(&broker, Splice::Auto).await;
    let (mut client, mut arrival) = through(&proxy, &mut broker).await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
    arrival.frame().await.unwrap();
    let whole = opaque(1, &pattern(2 << 20));
    let sent = &whole[..1 << 20];
    arrival.send(sent).await;
    drop(arrival);
    assert!(
        client.rest().await == sent,
        "what came before the end is delivered, and nothing else"
    );
    proxy.until_closed("broker_closed", 1).await;
}

/// More than there are pipes: 64.
const SLOW_READERS: usize = 80;
/// More than the kernel holds for one client: 4 MiB (tcp_wmem).
const STUCK_BYTES: usize = 5 << 20;

#[tokio::test]
async fn large_frames_are_copied_while_slow_readers_hold_every_pipe() {
    let mut broker = Broker::alone(0).await;
    let proxy = start(&broker, Splice::Auto).await;
    let spliced = || bulk_transfers(&proxy, "none", "spliced");
    let copied = || bulk_transfers(&proxy, "no_pipe", "copied");
    let (mut steady, mut steady_arrival) = through(&proxy, &mut broker).await;
    let whole: Arc<[u8]> = opaque(1, &pattern(STUCK_BYTES)).into();
    let mut slow = Vec::new();
    for _ in 0..SLOW_READERS {
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        SockRef::from(&client.stream)
            .set_recv_buffer_size(64 * 1024)
            .unwrap();
        SockRef::from(&arrival.stream)
            .set_send_buffer_size(64 * 1024)
            .unwrap();
        client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
        arrival.frame().await.unwrap();
        let whole = Arc::clone(&whole);
        let sending = tokio::spawn(async move {
            arrival.stream.write_all(&whole).await.unwrap();
            arrival
        });
        slow.push((client, sending));
    }
    until("all responses to begin", || {
        spliced() + copied() == SLOW_READERS as u64
    })
    .await;
    // Until each is stuck, one gives back a pipe now and then; ten rounds in a row find none.
    let mut rounds = 0;
    let all_copied = async {
        while rounds < 10 {
            let before = (spliced(), copied());
            both_ways(&mut steady, &mut steady_arrival).await;
            rounds = if (spliced(), copied()) == (before.0, before.1 + 2) {
                rounds + 1
            } else {
                0
            };
        }
    };
    within("every pipe to be lent", all_copied).await;
    for (mut client, sending) in slow {
        let mut got = vec![0; whole.len()];
        within(
            "a slow reader's response",
            client.stream.read_exact(&mut got),
        )
        .await
        .unwrap();
        assert!(got == *whole, "what a slow reader gets");
        drop(within("the broker's end of it", sending).await.unwrap());
    }
    let before = (spliced(), copied());
    both_ways(&mut steady, &mut steady_arrival).await;
    assert_eq!(
        (spliced(), copied()),
        (before.0 + 2, before.1),
        "there are pipes again"
    );
}

/// A large request, and a large response.
async fn both_ways(client: &mut Client, arrival: &mut Arrival) {
    let frame = request(OFFSET_COMMIT, 6, 2, &pattern(300_000));
    passes(
        &mut client.stream,
        &mut arrival.stream,
        &frame,
        &frame,
        1 << 20,
    )
    .await;
    let answer = opaque(2, &pattern(300_000));
    passes(
        &mut arrival.stream,
        &mut client.stream,
        &answer,
        &answer,
        1 << 20,
    )
    .await;
}

fn bulk_transfers(proxy: &Proxy, reason: &str, mode: &str) -> u64 {
    let labels = format!("listener=\"external\",mode=\"{mode}\",reason=\"{reason}\"");
    proxy.metric(&format!("narrows_bulk_transfers_total{{{labels}}}"))
}

/// How often a busy connection may have its turn while a small request and its answer pass: Narrows
/// moves each once, and before each the busy one may be running and stand in front in the queue;
/// and once more where they begin.
const TURNS_MAX: u64 = 5;
const POLL_BUDGET_BYTES: u64 = 1 << 20;

/// Bytes are counted, not time: where Narrows and the small one's peers have one thread, and
/// sockets are asked after every step, bulk moves only in its turns.
#[test]
fn bulk_that_never_ends_lets_a_small_request_through() {
    // A turn ends behind its limit: by what a pipe or a buffer holds.
    for (splice, moved_at_once) in [(Splice::Auto, 1 << 20), (Splice::Off, 128 << 10)] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .event_interval(1)
            .enable_all()
            .build();
        let most = runtime.unwrap().block_on(bulk_beside_small(splice));
        println!("{splice:?}: at most {most} bytes of bulk during a small round trip");
        let limit = TURNS_MAX * (POLL_BUDGET_BYTES + moved_at_once);
        assert!(
            most <= limit,
            "{splice:?}: {most} bytes of bulk during a small round trip"
        );
    }
}

/// How many bytes of bulk pass at the most during a small round trip.
async fn bulk_beside_small(splice: Splice) -> u64 {
    let mut broker = Broker::alone(0).await;
    let proxy = start(&broker, splice).await;
    let (client, arrival) = through(&proxy, &mut broker).await;
    let (mut small, mut small_arrival) = through(&proxy, &mut broker).await;
    let mut from = plain(client.stream);
    let mut to = plain(arrival.stream);
    let frame = produce(1, 0, &pattern(1 << 20));
    std::thread::spawn(move || while from.write_all(&frame).is_ok() {});
    std::thread::spawn(move || {
        let mut room = vec![0; 1 << 20];
        while to.read(&mut room).is_ok_and(|count| count > 0) {}
    });
    let bulk =
        || proxy.metric("narrows_bytes_total{direction=\"to_broker\",listener=\"external\"}");
    until("the bulk to run", || bulk() > 64 << 20).await;
    let start = bulk();
    let mut most = 0;
    for id in 0..500 {
        let before = bulk();
        small.send(&request(OFFSET_COMMIT, 6, id, b"small")).await;
        small_arrival.frame().await.unwrap();
        small_arrival.send(&opaque(id, b"answer")).await;
        small.frame().await.unwrap();
        most = most.max(bulk() - before);
    }
    assert!(bulk() > start, "the bulk has not ended");
    most
}

/// The same connection for a thread.
fn plain(stream: TcpStream) -> std::net::TcpStream {
    let stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
}
