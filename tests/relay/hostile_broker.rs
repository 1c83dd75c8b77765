//! What a broker can't do to Narrows, or to the clients in front of it.

use crate::alloc;
use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::{OFFSET_COMMIT, opaque, request};
use crate::samples::{
    DESCRIBE_QUORUM, METADATA, SHARE_FETCH, Shape, TAILED, close, is_flexible, node, response,
    rewritten,
};

use tokio::io::AsyncWriteExt;

const HOST: &str = "kafka-0.broker.internal";

fn shape() -> Shape {
    let nodes = [
        node(0, HOST, 9092),
        node(1, "kafka-1.broker.internal", 9092),
    ];
    Shape {
        has_unknown_tags: true,
        ..Shape::of(&nodes)
    }
}

/// A client that has asked, and its connection at the broker.
async fn asked(
    proxy: &Proxy,
    broker: &mut Broker,
    (key, version): (i16, i16),
) -> (Client, Arrival) {
    let mut client = proxy.connect().await;
    // Behind the header may stand what wants to: Narrows reads `acks` of a Produce, and nothing
    // else.
    client
        .send(&request(key, version, 1, &[0, 0xff, 0xff, 0, 0]))
        .await;
    (client, broker.next().await)
}

/// Has the broker answer with `bytes` and close, and says what the client got.
async fn got(client: &mut Client, mut arrival: Arrival, bytes: &[u8]) -> Vec<u8> {
    arrival.send(bytes).await;
    drop(arrival);
    client.rest().await
}

fn leaks(bytes: &[u8]) -> bool {
    bytes
        .windows(HOST.len())
        .any(|window| window == HOST.as_bytes())
}

#[tokio::test]
async fn an_impossible_length_ends_the_session_whatever_the_api() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut count = 0;
    for api in rewritten().chain([(OFFSET_COMMIT, 6), (18, 3), (17, 1)]) {
        for length in [i32::MAX, -1, i32::MIN, 0, 3, 100 * 1024 * 1024 + 1] {
            let mut hostile = response(METADATA, 1, 1, &shape());
            hostile[..4].copy_from_slice(&length.to_be_bytes());
            let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
            assert_eq!(
                got(&mut client, arrival, &hostile).await,
                b"",
                "{api:?} {length}"
            );
            count += 1;
        }
    }
    proxy.until_closed("response_length", count).await;
}

#[tokio::test]
async fn a_response_to_another_request_or_to_none_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    for (count, (key, version)) in (1..).zip(rewritten().chain([(OFFSET_COMMIT, 6)])) {
        let (mut client, arrival) = asked(&proxy, &mut broker, (key, version)).await;
        let wrong = if key == OFFSET_COMMIT {
            opaque(2, HOST.as_bytes())
        } else {
            response(key, version, 2, &shape())
        };
        assert_eq!(
            got(&mut client, arrival, &wrong).await,
            b"",
            "{key} v{version}"
        );
        drop(client);
        proxy.until_closed("correlation_mismatch", count).await;
    }
    let (mut client, arrival) = asked(&proxy, &mut broker, (OFFSET_COMMIT, 6)).await;
    let unasked = [opaque(1, b"answer"), opaque(1, HOST.as_bytes())].concat();
    assert_eq!(
        got(&mut client, arrival, &unasked).await,
        opaque(1, b"answer"),
        "what was asked arrives"
    );
    drop(client);
    proxy.until_closed("unexpected_response", 1).await;
}

#[tokio::test]
async fn a_broker_that_speaks_first_is_not_listened_to() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client
        .send(&crate::frames::produce(1, 0, b"without an answer"))
        .await;
    let arrival = broker.next().await;
    assert_eq!(
        got(&mut client, arrival, b"220 smtp.example.com ESMTP\r\n").await,
        b""
    );
    drop(client);
    proxy.until_closed("unexpected_response", 1).await;
}

#[tokio::test]
async fn a_response_cut_short_anywhere_lets_no_address_out() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    proxy.announce("response that can't be read");
    for api @ (key, version) in
        rewritten().filter(|(key, version)| *version >= 2 || TAILED.contains(key))
    {
        let whole = response(key, version, 1, &shape());
        let host_at = whole
            .windows(HOST.len())
            .position(|window| window == HOST.as_bytes())
            .unwrap();
        let host_end = host_at + HOST.len();
        for length in [
            1,
            4,
            7,
            8,
            9,
            host_at,
            host_end,
            host_end + 3,
            whole.len() - 1,
        ] {
            let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
            let got = got(&mut client, arrival, &whole[..length]).await;
            assert!(!leaks(&got), "{api:?} {length}");
        }
    }
    assert!(proxy.closed("broker_closed") > 100, "{:?}", proxy.causes());
}

#[tokio::test]
async fn a_frame_that_is_shorter_than_its_fields_lets_no_address_out() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut count = 0;
    for api @ (key, version) in rewritten() {
        let whole = response(key, version, 1, &shape());
        let host_at = whole
            .windows(HOST.len())
            .position(|window| window == HOST.as_bytes())
            .unwrap();
        for length in [8, 9, 12, host_at, host_at + HOST.len() + 1] {
            let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
            let got = got(&mut client, arrival, &close(whole[..length].to_vec())).await;
            // Behind records, what is too short for an address is not looked at, and may pass.
            match TAILED.contains(&key) {
                true => assert!(!leaks(&got), "{api:?} {length}"),
                false => assert_eq!(got, b"", "{api:?} {length}"),
            }
            count += u64::from(got.is_empty());
        }
    }
    assert!(count > 100, "{count}");
    proxy.until_closed("response_malformed", count).await;
}

#[tokio::test]
async fn a_count_of_2_to_the_31_lets_no_address_out() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    for api @ (key, version) in rewritten() {
        let whole = response(key, version, 1, &shape());
        let host_at = whole
            .windows(HOST.len())
            .position(|window| window == HOST.as_bytes())
            .unwrap();
        // The host's own length, and the count of the array in whose first element it is.
        let (hostile, what) = if is_flexible(key, version) {
            let at = host_at - 1;
            (
                [
                    &whole[..at],
                    &[0xff, 0xff, 0xff, 0xff, 0x07],
                    &whole[at + 1..],
                ]
                .concat(),
                "compact length",
            )
        } else {
            (
                [&whole[..host_at - 2], &[0x7f, 0xff], &whole[host_at..]].concat(),
                "length",
            )
        };
        let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
        assert_eq!(
            got(&mut client, arrival, &close(hostile)).await,
            b"",
            "{api:?} {what}"
        );
    }
    proxy
        .until_closed("response_malformed", rewritten().count() as u64)
        .await;
}

#[tokio::test]
async fn bytes_behind_the_last_field_end_the_session_where_the_end_is_walked() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    proxy.announce("bytes behind its last field");
    for api @ (key, version) in rewritten().filter(|(key, _)| TAILED.contains(key)) {
        let hostile = close([&response(key, version, 1, &shape())[..], HOST.as_bytes()].concat());
        let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
        assert_eq!(got(&mut client, arrival, &hostile).await, b"", "{api:?}");
    }
}

#[tokio::test]
async fn other_sessions_go_on_while_one_has_a_hostile_broker() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    proxy.announce("session ended: the broker");
    let (mut bystander, mut arrival) = asked(&proxy, &mut broker, (OFFSET_COMMIT, 6)).await;
    arrival.send(&opaque(1, b"first")).await;
    assert_eq!(bystander.frame().await, Some(opaque(1, b"first")));
    for garbage in [
        &[0xff; 64][..],
        &[0; 64],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x15\x03\x03\0\x02\x02\x46",
    ] {
        let (mut client, arrival) = asked(&proxy, &mut broker, (METADATA, 12)).await;
        assert_eq!(got(&mut client, arrival, garbage).await, b"");
    }
    bystander.send(&request(OFFSET_COMMIT, 6, 2, b"body")).await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, b"second")).await;
    assert_eq!(bystander.frame().await, Some(opaque(2, b"second")));
}

#[tokio::test]
async fn what_a_broker_announces_is_not_allocated() {
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |_| {});
    proxy.until_refreshed().await;
    for api @ (key, version) in rewritten() {
        // As large as may be announced, and then nothing but the beginning.
        let whole = response(key, version, 1, &shape());
        let mut hostile = whole[..12].to_vec();
        hostile[..4].copy_from_slice(&(100 * 1024 * 1024i32).to_be_bytes());
        let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
        measured.reset();
        assert_eq!(got(&mut client, arrival, &hostile).await.len() % 12, 0);
        assert!(
            measured.largest_bytes() <= 256 * 1024,
            "{api:?}: {} bytes",
            measured.largest_bytes()
        );
        assert!(
            measured.peak_bytes() <= 512 * 1024,
            "{api:?}: {} bytes",
            measured.peak_bytes()
        );
    }
}

#[tokio::test]
async fn a_response_of_nothing_but_brokers_costs_bounded_memory_and_time() {
    let mut broker = Broker::alone(0).await;
    let mut measured = alloc::alone().await;
    let proxy = Proxy::begin(&[broker.address], |_| {});
    proxy.announce("advertise one address");
    proxy.announce("is outside node_ids");
    proxy.until_refreshed().await;
    for (key, version) in [(METADATA, 12), (60, 2), (SHARE_FETCH, 1)] {
        // As many brokers as fit into what is held: 300,000 of the smallest.
        let brokers: Vec<_> = (10..300_010).map(|id| node(id, "k", 1)).collect();
        let hostile = response(
            key,
            version,
            1,
            &Shape {
                has_nulls: true,
                ..Shape::of(&brokers)
            },
        );
        drop(brokers);
        let (mut client, mut arrival) = asked(&proxy, &mut broker, (key, version)).await;
        measured.reset();
        let began = std::time::Instant::now();
        let sending = tokio::spawn(async move {
            // Narrows closes in the middle of it.
            let _ = arrival.stream.write_all(&hostile).await;
        });
        client.rest().await;
        let took = began.elapsed();
        let peak = measured.peak_bytes();
        let largest = measured.largest_bytes();
        println!("{key} v{version}: {took:?}, peak {peak}, largest {largest}");
        assert!(took.as_secs() < 5, "{key} v{version}: {took:?}");
        assert!(
            largest <= 8 * 1024 * 1024,
            "{key} v{version}: an allocation of {largest} bytes"
        );
        assert!(peak <= 32 * 1024 * 1024, "{key} v{version}: {peak} bytes");
        drop(client);
        let _ = sending.await;
    }
    proxy.until_closed("response_too_large", 3).await;
    let known = proxy.metric("narrows_brokers_known{cluster=\"orders\"}");
    assert_eq!(known, 1, "none of them is believed");

    // And as many as are edited.
    let brokers: Vec<_> = (10..65_010).map(|id| node(id, "k", 1)).collect();
    let long = response(
        METADATA,
        12,
        1,
        &Shape {
            has_nulls: true,
            ..Shape::of(&brokers)
        },
    );
    drop(brokers);
    let (mut client, mut arrival) = asked(&proxy, &mut broker, (METADATA, 12)).await;
    measured.reset();
    let sending = tokio::spawn(async move { arrival.stream.write_all(&long).await });
    let frame = client.frame().await.unwrap();
    let peak = measured.peak_bytes() - frame.len();
    let largest = measured.largest_bytes();
    println!(
        "65,000 brokers in {} bytes: peak {peak}, largest {largest}",
        frame.len()
    );
    assert!(
        largest <= 16 * 1024 * 1024,
        "an allocation of {largest} bytes"
    );
    assert!(peak <= 64 * 1024 * 1024, "{peak} bytes");
    sending.await.unwrap().unwrap();
    assert_eq!(
        proxy.metric("narrows_brokers_known{cluster=\"orders\"}"),
        10_000
    );
}

#[tokio::test]
async fn controllers_stay_hidden() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = asked(&proxy, &mut broker, (DESCRIBE_QUORUM, 2)).await;
    arrival
        .send(&response(DESCRIBE_QUORUM, 2, 1, &shape()))
        .await;
    let expected = response(
        DESCRIBE_QUORUM,
        2,
        1,
        &Shape {
            nodes: Vec::new(),
            ..shape()
        },
    );
    assert_eq!(client.frame().await, Some(expected));
}

#[tokio::test]
async fn an_answer_that_must_be_whole_and_lies_about_its_counts_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let cases: [(i16, i16, &[u8]); 6] = [
        (18, 0, &[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0, 0, 9]),
        (
            18,
            3,
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 3, 0, 0, 0, 9, 0],
        ),
        (
            18,
            3,
            &[0, 0, 2, 0, 3, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0x07],
        ),
        (18, 3, &[0]),
        (17, 1, &[0]),
        (36, 2, &[0xff, 0xff, 0xff, 0xff, 0x07, 0, 0]),
    ];
    for (count, (key, version, body)) in (1..).zip(cases) {
        let (mut client, arrival) = asked(&proxy, &mut broker, (key, version)).await;
        assert_eq!(
            got(&mut client, arrival, &opaque(1, body)).await,
            b"",
            "{key} v{version} {body:?}"
        );
        drop(client);
        proxy.until_closed("response_malformed", count).await;
    }
}

#[tokio::test]
async fn an_answer_that_must_be_whole_and_is_too_large_for_that_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    for (count, api) in (1..).zip([(18, 3), (17, 1), (36, 2)]) {
        let (mut client, arrival) = asked(&proxy, &mut broker, api).await;
        let announced = [&(5 * 1024 * 1024i32).to_be_bytes()[..], &1i32.to_be_bytes()].concat();
        assert_eq!(got(&mut client, arrival, &announced).await, b"", "{api:?}");
        drop(client);
        proxy.until_closed("response_too_large", count).await;
    }
    // What has addresses in front is held up to the last one only, and that is too far away.
    let long = "k".repeat(30_000);
    let brokers: Vec<_> = (0..200).map(|id| node(id, &long, 1)).collect();
    let hostile = response(METADATA, 1, 1, &Shape::of(&brokers));
    assert!(hostile.len() > 4 * 1024 * 1024);
    let (mut client, mut arrival) = asked(&proxy, &mut broker, (METADATA, 1)).await;
    let sending = tokio::spawn(async move {
        // Narrows closes in the middle of it.
        let _ = arrival.stream.write_all(&hostile).await;
    });
    assert_eq!(client.rest().await, b"");
    drop(client);
    sending.await.unwrap();
    proxy.until_closed("response_too_large", 4).await;
}
