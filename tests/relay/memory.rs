//! What Narrows holds: nothing for who is idle, a bounded amount for who is slow.

use crate::alloc;
use crate::broker::Broker;
use crate::child::{ALL_FILES, OwnProcess, in_own_process, one_thread, one_worker};
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, answer_narrows, header, opaque, request};
use crate::plain::{read_frame, round_trip};
use crate::samples::{FETCH, Shape, node, response, tail};
use crate::{until, within};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A buffer of 128 KiB, another that the request's bytes had and the pool keeps, and what belongs
/// to a session.
const SLOW_BYTES_MAX: usize = 2 * 128 * 1024 + 16 * 1024;

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

#[test]
fn fifty_megabytes_wait_at_the_broker_for_a_client_that_does_not_read() {
    // In a process of its own: the runtime of a test that begins meanwhile would be more than the
    // bound has left.
    in_own_process!(
        OwnProcess {
            files: ALL_FILES,
            runtime: one_thread,
            shown: "slow reader"
        },
        measure_slow_reader
    );
}

async fn measure_slow_reader() {
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |_| {});
    proxy.until_refreshed().await;
    let nodes = [node(0, "kafka-0.broker.internal", 9092)];
    let shape = Shape {
        filling: 50 * 1024 * 1024,
        ..Shape::of(&nodes)
    };
    let whole = response(FETCH, 16, 1, &shape);
    measured.reset();
    let mut client = proxy.connect().await;
    // The kernel may hold tens of megabytes for Narrows (tcp_rmem); it need not hold as much again
    // for the client.
    socket2::SockRef::from(&client.stream)
        .set_recv_buffer_size(64 * 1024)
        .unwrap();
    client.send(&request(FETCH, 16, 1, b"")).await;
    let mut arrival = broker.next().await;
    let written = arrival.fill_to_the_brim(&whole).await;
    let peak = measured.peak_bytes();
    println!("slow reader: {peak} bytes held, {written} bytes under way");
    assert!(peak <= SLOW_BYTES_MAX, "{peak} bytes");

    let bytes_total = whole.len();
    let expected = response(
        FETCH,
        16,
        1,
        &Shape {
            nodes: Vec::new(),
            ..shape
        },
    );
    let sending = tokio::spawn(async move {
        arrival.stream.write_all(&whole[written..]).await.unwrap();
        arrival
    });
    let mut got = vec![0; bytes_total];
    within("all of it", client.stream.read_exact(&mut got))
        .await
        .unwrap();
    let (nodes, rest) = tail(FETCH, 16, &got);
    assert_eq!(hash(&rest), hash(&expected), "every byte as it was");
    assert_eq!(
        nodes,
        [node(0, crate::client::ADVERTISED_HOST, proxy.port(0))]
    );
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn whoever_stops_in_the_middle_of_a_header_keeps_no_buffer() {
    const COUNT: usize = 100;
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |_| {});
    proxy.until_refreshed().await;
    let whole = request(OFFSET_COMMIT, 6, 1, b"body");
    let answer = response(
        crate::samples::METADATA,
        12,
        1,
        &Shape::of(&[node(0, "kafka-0", 9092)]),
    );
    let mut peers = Vec::new();
    for stops in ["the first request", "a later request", "a response"] {
        measured.reset();
        let start = alloc::heap_bytes();
        for _ in 0..COUNT {
            let mut client = proxy.connect().await;
            if stops == "the first request" {
                client.send(&whole[..10]).await;
                peers.push((client, None));
                continue;
            }
            let is_response = stops == "a response";
            let metadata = request(crate::samples::METADATA, 12, 1, b"");
            client
                .send(if is_response { &metadata } else { &whole })
                .await;
            let mut arrival = broker.next().await;
            if is_response {
                arrival.send(&answer[..answer.len() / 2]).await;
            } else {
                arrival.send(&opaque(1, b"answer")).await;
                client.frame().await.unwrap();
                client.send(&whole[..10]).await;
            }
            peers.push((client, Some(arrival)));
        }
        // Narrows has seen it when a session that came later has been served.
        let mut last = proxy.connect().await;
        last.send(&whole).await;
        let mut arrival = broker.next().await;
        arrival.send(&opaque(1, b"answer")).await;
        last.frame().await.unwrap();
        let each = alloc::heap_bytes().saturating_sub(start) / COUNT;
        println!("in the middle of {stops}: {each} bytes of heap each");
        assert!(
            each < 16 * 1024,
            "in the middle of {stops}: {each} bytes each"
        );
    }
}

/// As many as the stated target, or as many as this process may open.
const IDLE_TARGET: usize = 5000;
const IDLE_MIN: usize = 2000;
/// Each takes four descriptors here: the client's, two of Narrows, the broker's.
const DESCRIPTORS_EACH: usize = 4;
const DESCRIPTORS_SPARE: usize = 300;
const IDLE_BYTES_MAX: usize = 5 * 1024;
/// Connections that come before, and pay for what all share. The broker keeps its ends.
const FIRST: usize = 100;
/// What may be left of all of them: one more buffer in the pool, and what grows once.
const LEFT_BYTES_MAX: usize = (128 + 16) * 1024;
/// The same of the process's pages, of which some are in use for a few bytes only.
const RESIDENT_LEFT_BYTES_MAX: usize = 3 * 1024 * 1024;

#[test]
fn an_idle_connection_holds_less_than_5_kib_and_leaves_nothing() {
    in_own_process!(
        OwnProcess {
            files: ALL_FILES,
            runtime: one_worker,
            shown: "idle connections"
        },
        measure_idle_connections
    );
}

async fn measure_idle_connections() {
    let limit = descriptor_limit();
    let count = IDLE_TARGET.min((limit - DESCRIPTORS_SPARE - FIRST) / DESCRIPTORS_EACH);
    assert!(
        count >= IDLE_MIN,
        "the hard limit of open files allows {limit} only"
    );
    let mut measured = alloc::alone().await;
    // Both peers are threads with plain sockets, so that all that is allocated is Narrows'.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let broker = std::thread::spawn(move || serve_idle(&listener, at, FIRST + count));
    let proxy = Proxy::begin(&[at], |_| {});
    proxy.until_refreshed().await;
    drop(connected(&proxy, FIRST).await);
    until("the first sessions to end", || proxy.active() == 0).await;
    measured.reset();
    let start = alloc::heap_bytes();
    let start_resident = resident_bytes();
    let clients = connected(&proxy, count).await;
    let each = alloc::heap_bytes().saturating_sub(start) / count;
    let short = if count < IDLE_TARGET {
        format!(" (not {IDLE_TARGET}: the limit of open files is {limit})")
    } else {
        String::new()
    };
    println!("{count} idle connections{short}: {each} bytes of heap each");
    assert!(each < IDLE_BYTES_MAX, "{each} bytes each");
    assert!(
        resident_bytes() > start_resident + 2 * RESIDENT_LEFT_BYTES_MAX,
        "what is given back below was taken"
    );
    drop(clients);
    until("all sessions to end", || proxy.active() == 0).await;
    let left = alloc::heap_bytes().saturating_sub(start);
    println!("{count} idle connections: {left} bytes of heap left behind");
    assert!(
        left < LEFT_BYTES_MAX,
        "{left} bytes left by {count} connections"
    );
    // The allocator would keep the pages.
    let is_back = || resident_bytes() < start_resident + RESIDENT_LEFT_BYTES_MAX;
    until("the memory to go back to the system", is_back).await;
    proxy.narrows.stop().await;
    drop(broker);
}

/// How much memory of its own this process has from the system, in bytes.
pub(crate) fn resident_bytes() -> usize {
    let rollup = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = rollup
        .lines()
        .find_map(|line| line.strip_prefix("Anonymous:"))
        .unwrap();
    1024 * line
        .trim()
        .strip_suffix(" kB")
        .unwrap()
        .parse::<usize>()
        .unwrap()
}

/// So many connections that have had one request answered.
async fn connected(proxy: &Proxy, count: usize) -> Vec<TcpStream> {
    let bootstrap = proxy.bootstrap();
    let connect = move || (0..count).map(|_| round_trip(bootstrap)).collect();
    let clients = tokio::task::spawn_blocking(connect).await.unwrap();
    until("all sessions", || proxy.active() == count as u64).await;
    clients
}

fn descriptor_limit() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

/// Answers one request of each connection, and keeps the connection.
pub(crate) fn serve_idle(listener: &TcpListener, at: SocketAddr, count: usize) {
    let nodes = BTreeMap::from([(0, at)]);
    let mut kept: Vec<TcpStream> = Vec::with_capacity(count + 1);
    while kept.len() < count {
        let Ok((mut stream, _)) = listener.accept() else {
            return;
        };
        let mut frame = Vec::new();
        while read_frame(&mut stream, &mut frame).is_some() {
            if header(&frame).is_narrows {
                stream
                    .write_all(&answer_narrows(&frame, &nodes, "the-cluster"))
                    .unwrap();
            } else {
                stream
                    .write_all(&opaque(header(&frame).correlation_id, b"answer"))
                    .unwrap();
                kept.push(stream);
                break;
            }
        }
    }
    // Until Narrows has closed them all.
    for stream in &mut kept {
        let _ = stream.read(&mut [0]);
    }
}
