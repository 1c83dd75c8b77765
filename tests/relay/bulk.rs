//! Large frames: every byte as it was sent, at every size at which Klamm changes its way, spliced or copied.

use crate::broker::{Arrival, Broker};
use crate::client::{ADVERTISED_HOST, Client, Proxy};
use crate::frames::{OFFSET_COMMIT, opaque, request};
use crate::samples::{FETCH, Node, SHARE_FETCH, Shape, node, pattern, response, tail};
use crate::within;
use klamm::session::Splice;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Where the way changes: held whole or not, spliced or not, expected to be large or not, a buffer's size, a pipe's
/// smallest and largest size, and the mark below which a large frame wakes nobody.
const THRESHOLDS: [usize; 8] =
    [4 * 1024, 16 * 1024, 30_000, 64 * 1024, 128 * 1024, 256 * 1024, 512 * 1024, 1024 * 1024];

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

/// Sends in pieces of at most `chunk` bytes while the other side reads; what it reads must be `expected`.
async fn passes(from: &mut TcpStream, to: &mut TcpStream, sent: &[u8], expected: &[u8], chunk: usize) {
    let sending = async {
        for piece in sent.chunks(chunk) {
            from.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let mut got = vec![0; expected.len()];
    let (read, ()) =
        within("all of it to pass", async { tokio::join!(to.read_exact(&mut got), sending) }).await;
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
            passes(&mut client.stream, &mut arrival.stream, &sent, &sent, *chunk).await;
            let answers: Vec<u8> = (0..sizes.len()).flat_map(|id| opaque(id as i32, b"done")).collect();
            passes(&mut arrival.stream, &mut client.stream, &answers, &answers, 1_000).await;
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
            let asked: Vec<u8> =
                (0..sizes.len()).flat_map(|id| request(OFFSET_COMMIT, 6, id as i32, b"")).collect();
            passes(&mut client.stream, &mut arrival.stream, &asked, &asked, 1_000).await;
            let frames: Vec<_> =
                sizes.iter().enumerate().map(|(id, size)| opaque(id as i32, &pattern(*size))).collect();
            let sent = frames.concat();
            passes(&mut arrival.stream, &mut client.stream, &sent, &sent, *chunk).await;
        }
    }
}

/// A fetch's records pass unseen and its addresses behind them are replaced, at unchanged length where it streams.
#[tokio::test]
async fn fetches_around_every_threshold_bring_their_records_and_klamms_addresses() {
    let nodes = [node(0, "kafka-0.broker.internal", 9092)];
    for splice in BOTH_WAYS {
        let mut broker = Broker::alone(0).await;
        let proxy = start(&broker, splice).await;
        let advertised = [node(0, ADVERTISED_HOST, proxy.port(0))];
        let (mut client, mut arrival) = through(&proxy, &mut broker).await;
        for (threshold, chunk) in THRESHOLDS.iter().zip(CHUNKS.iter().cycle()) {
            for (key, version) in [(FETCH, 17), (SHARE_FETCH, 1)] {
                for filling in [threshold - 200, threshold - 1, *threshold, threshold + 1] {
                    let shape = Shape { filling, ..Shape::of(&nodes) };
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
                    let name =
                        format!("key {key}, records of {filling} bytes in pieces of {chunk}, {splice:?}");
                    assert_is(key, version, &got, &shape, &advertised, &name);
                }
            }
        }
    }
}

/// The response has the records of `shape`, and these addresses or, where they did not fit, none.
fn assert_is(key: i16, version: i16, got: &[u8], shape: &Shape, advertised: &[Node], name: &str) {
    let without = Shape { nodes: Vec::new(), ..shape.clone() };
    let (nodes, rest) = tail(key, version, got);
    let (_, expected) = tail(key, version, &response(key, version, 5, &without));
    assert!(nodes.is_empty() || nodes == advertised, "{name}: {nodes:?}");
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
        // The client reads nothing of this and goes: what the kernel holds of it is lost with the connection.
        client.send(&request(OFFSET_COMMIT, 6, 1, b"")).await;
        arrival.frame().await.unwrap();
        let lost = opaque(1, &vec![0xee; 8 << 20]);
        let sending = tokio::spawn(async move {
            let _ = arrival.stream.write_all(&lost).await;
        });
        let mut beginning = vec![0; 100_000 + usize::from(round) * 10_000];
        within("the beginning", client.stream.read_exact(&mut beginning)).await.unwrap();
        client.reset();
        let frame = request(OFFSET_COMMIT, 6, 2, &vec![round; 300_000]);
        passes(&mut steady.stream, &mut steady_arrival.stream, &frame, &frame, 1 << 20).await;
        let answer = opaque(2, &vec![round; 300_000]);
        passes(&mut steady_arrival.stream, &mut steady.stream, &answer, &answer, 1 << 20).await;
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
    assert!(client.rest().await == sent, "what came before the end is delivered, and nothing else");
    proxy.until_closed("broker_closed", 1).await;
}
