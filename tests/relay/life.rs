//! How Narrows goes down, and how it lives through running out of file descriptors.

use crate::broker::Broker;
use crate::child::{OwnProcess, in_own_process, one_thread};
use crate::client::Proxy;
use crate::frames::{OFFSET_COMMIT, header, opaque, request};
use crate::{until, within};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_drain_answers_what_is_in_flight_closes_at_a_frame_boundary_and_takes_nobody_new() {
    // Nobody has any time to leave in here: `drain_spread` is zero.
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let mut arrival = client.ask(&mut broker).await;
    let mut idle = proxy.connect().await;
    let mut idle_arrival = idle.ask(&mut broker).await;
    idle_arrival.send(&opaque(1, b"answer")).await;
    idle.frame().await.unwrap();
    let mut fresh = proxy.connect().await;
    until("all to be accepted", || proxy.active() == 3).await;

    let script = async {
        assert_eq!(
            idle.frame().await,
            None,
            "nothing in flight: closed at once"
        );
        assert_eq!(
            fresh.frame().await,
            None,
            "nothing sent yet: closed at once"
        );
        drop((idle, fresh));
        until("the ports to close", || {
            std::net::TcpStream::connect(proxy.bootstrap()).is_err()
        })
        .await;
        client
            .send(&request(OFFSET_COMMIT, 6, 2, b"too late"))
            .await;
        arrival.send(&opaque(1, b"in flight")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"in flight")));
        assert_eq!(client.frame().await, None);
        drop(client);
        assert_eq!(
            arrival.rest().await,
            b"",
            "what came after all the time that it had goes nowhere"
        );
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
    assert_eq!((proxy.closed("drained"), proxy.active()), (3, 0));
}

#[tokio::test]
async fn what_a_client_sends_behind_a_fetch_that_waits_in_a_drain_is_answered_too() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.drain_spread = Duration::from_secs(60);
    })
    .await;
    let mut client = proxy.connect().await;
    let mut arrival = client.ask(&mut broker).await;
    let mut idle = proxy.connect().await;
    let mut idle_arrival = idle.ask(&mut broker).await;
    idle_arrival.send(&opaque(1, b"answer")).await;
    idle.frame().await.unwrap();
    let script = async {
        assert_eq!(idle.frame().await, None, "the turn has come");
        drop(idle);
        // One in whole, and one whose end is still on its way when the Fetch is answered.
        let heartbeat = request(OFFSET_COMMIT, 6, 2, b"heartbeat");
        let commit = request(OFFSET_COMMIT, 6, 3, &[7; 1000]);
        client.send(&heartbeat).await;
        client.send(&commit[..500]).await;
        assert!(arrival.frame().await == Some(heartbeat));
        arrival.send(&opaque(1, b"the fetch")).await;
        arrival.send(&opaque(2, b"the heartbeat")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"the fetch")));
        assert_eq!(client.frame().await, Some(opaque(2, b"the heartbeat")));
        client.send(&commit[500..]).await;
        assert!(arrival.frame().await == Some(commit));
        arrival.send(&opaque(3, b"the commit")).await;
        assert_eq!(client.frame().await, Some(opaque(3, b"the commit")));
        assert_eq!(client.frame().await, None, "nothing in flight: closed");
        drop(client);
        assert_eq!(arrival.rest().await, b"");
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
    assert_eq!((proxy.closed("drained"), proxy.active()), (2, 0));
}

#[tokio::test]
async fn a_request_that_is_half_sent_when_the_drain_begins_is_completed_and_answered() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let mut arrival = client.ask(&mut broker).await;
    arrival.send(&opaque(1, b"answer")).await;
    client.frame().await.unwrap();
    let whole = request(OFFSET_COMMIT, 6, 2, &[7; 1000]);
    client.send(&whole[..500]).await;
    let mut byte = [0];
    within("the first half", arrival.stream.peek(&mut byte))
        .await
        .unwrap();
    let script = async {
        until("the ports to close", || {
            std::net::TcpStream::connect(proxy.bootstrap()).is_err()
        })
        .await;
        client.send(&whole[500..]).await;
        assert!(arrival.frame().await == Some(whole));
        arrival.send(&opaque(2, b"answer")).await;
        assert_eq!(client.frame().await, Some(opaque(2, b"answer")));
        assert_eq!(client.frame().await, None);
        drop(client);
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
}

#[tokio::test]
async fn a_session_whose_response_does_not_come_ends_with_the_drain_timeout() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.drain.timeout = Duration::from_millis(100)
    })
    .await;
    proxy.announce("some responses did not come within drain.timeout");
    let mut client = proxy.connect().await;
    let arrival = client.ask(&mut broker).await;
    let began = Instant::now();
    assert!(!within("the drain", proxy.narrows.drain()).await);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(client.frame().await, None);
    assert_eq!(arrival.rest().await, b"");
    assert_eq!(proxy.closed("aborted"), 1);
}

#[tokio::test]
async fn a_client_that_sends_nothing_is_closed_after_the_first_frame_timeout() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.first_frame_timeout = Duration::from_millis(50);
    })
    .await;
    let accepted = broker.accepted();
    let mut silent = proxy.connect().await;
    let mut slow = proxy.connect().await;
    slow.send(&request(OFFSET_COMMIT, 6, 1, b"body")[..10])
        .await;
    assert_eq!((silent.frame().await, slow.frame().await), (None, None));
    drop((silent, slow));
    proxy.until_closed("first_frame_timeout", 2).await;
    assert_eq!(broker.accepted(), accepted);
}

#[test]
fn out_of_file_descriptors_narrows_waits_and_goes_on_when_there_are_some_again() {
    in_own_process!(
        OwnProcess {
            files: "64",
            runtime: one_thread,
            shown: ""
        },
        run_out_of_file_descriptors
    );
}

async fn run_out_of_file_descriptors() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    proxy.announce("can't accept a connection, trying again");
    proxy.announce("turned away");
    broker.answer_all(|frame| opaque(header(frame).correlation_id, b"answer"));
    let mut established = proxy.connect().await;
    established
        .send(&request(OFFSET_COMMIT, 6, 1, b"body"))
        .await;
    established.frame().await.unwrap();
    // A connection to Narrows takes a descriptor here and one in Narrows: they end with one that
    // waits to be accepted.
    let mut hoard = Vec::new();
    while let Ok(stream) = TcpStream::connect(proxy.bootstrap()).await {
        hoard.push(stream);
        tokio::task::yield_now().await;
        assert!(hoard.len() < 64);
    }
    let series =
        "narrows_accept_errors_total{listener=\"external\",reason=\"no_file_descriptors\"}";
    until("an accept to fail", || proxy.metric(series) > 0).await;
    established
        .send(&request(OFFSET_COMMIT, 6, 2, b"body"))
        .await;
    assert_eq!(
        established.frame().await,
        Some(opaque(2, b"answer")),
        "who is there is served"
    );
    let began = Instant::now();
    let before = proxy.metric(series);
    until("more accepts to fail", || proxy.metric(series) > before + 2).await;
    assert!(
        began.elapsed() > Duration::from_millis(100),
        "it does not spin"
    );
    drop(hoard);
    let recovered = async {
        loop {
            let mut client = proxy.connect().await;
            client
                .try_send(&request(OFFSET_COMMIT, 6, 3, b"body"))
                .await;
            if client.frame().await.is_some() {
                return;
            }
        }
    };
    within("Narrows to accept again", recovered).await;
}

#[tokio::test]
async fn a_drain_closes_broker_by_broker_and_serves_those_whose_turn_has_not_come() {
    let mut zero = Broker::alone(0).await;
    let mut one = Broker::member(1, &zero.cluster).await;
    let proxy = Proxy::start_with(&[&zero], |settings| {
        settings.session.drain_spread = Duration::from_secs(2);
    })
    .await;
    let mut any = proxy.connect().await;
    let mut any_arrival = any.ask(&mut zero).await;
    any_arrival.send(&opaque(1, b"answer")).await;
    any.frame().await.unwrap();
    let mut first = proxy.connect_to(0).await;
    let mut first_arrival = first.ask(&mut zero).await;
    first_arrival.send(&opaque(1, b"answer")).await;
    first.frame().await.unwrap();
    let mut last = proxy.connect_to(1).await;
    let mut last_arrival = last.ask(&mut one).await;
    last_arrival.send(&opaque(1, b"answer")).await;
    last.frame().await.unwrap();

    let script = async {
        assert_eq!(any.frame().await, None);
        // The two brokers are not gone by then.
        for (client, arrival) in [
            (&mut first, &mut first_arrival),
            (&mut last, &mut last_arrival),
        ] {
            client.send(&request(OFFSET_COMMIT, 6, 2, b"")).await;
            arrival.frame().await.unwrap();
            arrival.send(&opaque(2, b"answer")).await;
            assert_eq!(client.frame().await, Some(opaque(2, b"answer")));
        }
        assert_eq!(first.frame().await, None);
        last.send(&request(OFFSET_COMMIT, 6, 3, b"")).await;
        last_arrival.frame().await.unwrap();
        last_arrival.send(&opaque(3, b"answer")).await;
        assert_eq!(last.frame().await, Some(opaque(3, b"answer")));
        assert_eq!(last.frame().await, None);
        drop((any, first, last));
    };
    let (is_drained, ()) = within("the drain", async {
        tokio::join!(proxy.narrows.drain(), script)
    })
    .await;
    assert!(is_drained);
    assert_eq!((proxy.closed("drained"), proxy.active()), (3, 0));
}

#[tokio::test]
async fn an_old_connection_ends_when_nothing_is_in_flight_and_its_client_comes_again() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.connection_age_max = Some(Duration::from_millis(50));
    })
    .await;
    let mut client = proxy.connect().await;
    let mut arrival = client.ask(&mut broker).await;
    // It is old by now, and somebody waits for an answer.
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(proxy.closed("age_reached"), 0);
    arrival.send(&opaque(1, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
    assert_eq!(client.frame().await, None);
    drop(client);
    proxy.until_closed("age_reached", 1).await;
    let mut again = proxy.connect().await;
    again.ask(&mut broker).await;
}
