//! Whatever a session waits for, it sees either side end, and time pass.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{OFFSET_COMMIT, opaque, produce, request};
use crate::samples::pattern;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

const SHORT: Duration = Duration::from_millis(100);
const MIB: usize = 1024 * 1024;

/// A session with one round trip behind it, where frames may not stand still for long, or where who
/// has closed is not waited for.
async fn session(frame_progress: Duration, half_close: Duration) -> (Proxy, Client, Arrival) {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.frame_progress_timeout = frame_progress;
        settings.session.half_close_timeout = half_close;
    })
    .await;
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"one")).await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, b"one")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"one")));
    (proxy, client, arrival)
}

/// Writes until nobody takes any more: the buffers on the way are full.
async fn fill(client: &mut Client, bytes: &[u8]) {
    let writing = client.stream.write_all(bytes);
    let stalled = tokio::time::timeout(Duration::from_secs(1), writing).await;
    assert!(stalled.is_err(), "somebody has taken all of it");
}

#[tokio::test]
async fn a_client_that_resets_is_noticed_while_its_broker_takes_nothing() {
    let (proxy, mut client, _arrival) = session(Duration::from_secs(60), SHORT).await;
    fill(&mut client, &produce(2, 1, &pattern(32 * MIB))).await;
    // With its last bytes still unsent, only a reset can tell that it has gone.
    client.reset();
    proxy.until_closed("client_closed", 1).await;
    assert_eq!(proxy.active(), 0);
}

#[tokio::test]
async fn a_broker_that_resets_is_noticed_while_its_client_takes_nothing() {
    let (proxy, mut client, mut arrival) = session(Duration::from_secs(60), SHORT).await;
    client.send(&request(OFFSET_COMMIT, 6, 2, b"two")).await;
    arrival.frame().await.unwrap();
    arrival.fill(&opaque(2, &pattern(32 * MIB))).await;
    arrival.reset();
    proxy.until_closed("broker_closed", 1).await;
    assert_eq!(proxy.active(), 0);
}

#[tokio::test]
async fn a_client_that_closes_is_noticed_while_no_more_requests_are_taken() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.in_flight_requests_max = 1;
        settings.session.half_close_timeout = SHORT;
    })
    .await;
    let mut client = proxy.connect().await;
    let one = request(OFFSET_COMMIT, 6, 1, b"one");
    client.send(&[&one[..], &one].concat()).await;
    let _arrival = broker.next().await;
    drop(client);
    proxy.until_closed("client_closed", 1).await;
}

#[tokio::test]
async fn a_request_that_is_begun_and_not_ended_ends_the_session_wherever_it_stops() {
    let frame = produce(2, 1, &pattern(100_000));
    for (count, stops_at) in (1..).zip([1, 10, 1000, frame.len() - 1]) {
        let (proxy, mut client, _arrival) = session(SHORT, Duration::from_secs(10)).await;
        client.send(&frame[..stops_at]).await;
        assert_eq!(client.frame().await, None, "stopped at {stops_at}");
        proxy.until_closed("client_stalled", 1).await;
        println!("{count}: {stops_at}");
    }
}

#[tokio::test]
async fn a_response_that_is_begun_and_not_ended_ends_the_session() {
    let (proxy, mut client, mut arrival) = session(SHORT, Duration::from_secs(10)).await;
    client.send(&request(OFFSET_COMMIT, 6, 2, b"two")).await;
    arrival.frame().await.unwrap();
    let response = opaque(2, &pattern(1000));
    arrival.send(&response[..500]).await;
    assert_eq!(client.frame().await, None);
    proxy.until_closed("broker_stalled", 1).await;
}

#[tokio::test]
async fn whoever_takes_no_more_of_a_frame_ends_the_session() {
    let (proxy, mut client, arrival) = session(SHORT, Duration::from_secs(10)).await;
    client.try_send(&produce(2, 1, &pattern(32 * MIB))).await;
    proxy.until_closed("broker_stalled", 1).await;
    drop(arrival);
    let (proxy, mut client, mut arrival) = session(SHORT, Duration::from_secs(10)).await;
    client
        .send(&crate::frames::request(OFFSET_COMMIT, 6, 2, b"two"))
        .await;
    arrival.frame().await.unwrap();
    arrival.fill(&opaque(2, &pattern(32 * MIB))).await;
    proxy.until_closed("client_stalled", 1).await;
    drop(client);
}

#[tokio::test]
async fn a_response_that_is_waited_for_may_take_its_time() {
    let (proxy, mut client, mut arrival) = session(SHORT, SHORT).await;
    client.send(&request(OFFSET_COMMIT, 6, 2, b"two")).await;
    arrival.frame().await.unwrap();
    // Longer than anything that is begun may stand still.
    let early = tokio::time::timeout(5 * SHORT, client.stream.peek(&mut [0])).await;
    assert!(
        early.is_err(),
        "nothing comes, and nobody closes: {:?}",
        proxy.causes()
    );
    arrival.send(&opaque(2, b"two")).await;
    assert_eq!(client.frame().await, Some(opaque(2, b"two")));
    assert_eq!(proxy.active(), 1);
}

#[tokio::test]
async fn a_connection_on_which_nothing_has_come_may_wait_longer_than_a_request_that_is_begun() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.frame_progress_timeout = SHORT;
    })
    .await;
    let mut silent = proxy.connect().await;
    let mut begun = proxy.connect().await;
    begun.send(&[0, 0, 0]).await;
    assert_eq!(begun.frame().await, None);
    proxy.until_closed("client_stalled", 1).await;
    broker.answer_all(|_| opaque(1, b"one"));
    silent.send(&request(OFFSET_COMMIT, 6, 1, b"one")).await;
    assert_eq!(
        silent.frame().await,
        Some(opaque(1, b"one")),
        "{:?}",
        proxy.causes()
    );
}

/// An address where nobody listens.
async fn nowhere() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

#[tokio::test]
async fn a_client_that_can_t_be_served_is_held_for_a_moment_unless_it_closes() {
    let _shared = crate::alloc::shared().await;
    let proxy = Proxy::begin(&[nowhere().await], |_| {});
    proxy.announce("no broker of the cluster can be asked for metadata");
    proxy.until_refreshed().await;
    let began = Instant::now();
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"body")).await;
    assert_eq!(client.frame().await, None);
    let held = began.elapsed();
    assert!(held >= Duration::from_millis(750), "closed after {held:?}");
    proxy.until_closed("no_bootstrap_server", 1).await;
}
