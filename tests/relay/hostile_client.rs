//! What a client can't do to Narrows, or to the brokers behind it.

use crate::broker::Broker;
use crate::client::{Client, Proxy};
use crate::frames::{API_VERSIONS, OFFSET_COMMIT, header, opaque, request};
use crate::samples::METADATA;
use crate::until;

const LIMIT: i32 = 100 * 1024 * 1024;

/// Sends bytes as the first ones of a connection, and waits until Narrows closes it with this
/// cause.
async fn is_closed(proxy: &Proxy, bytes: &[u8], cause: &str) {
    let before = proxy.closed(cause);
    let mut client = proxy.connect().await;
    client.try_send(bytes).await;
    assert_eq!(client.rest().await, b"", "{cause}");
    drop(client);
    proxy.until_closed(cause, before + 1).await;
}

#[tokio::test]
async fn a_first_frame_of_an_impossible_length_is_closed_and_counted_and_no_broker_is_dialled() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    for (length, cause) in [
        (i32::MAX, "not_kafka"),
        (LIMIT + 1, "request_too_large"),
        (-1, "not_kafka"),
        (i32::MIN, "not_kafka"),
        (0, "request_malformed"),
        (3, "request_malformed"),
        (7, "request_malformed"),
    ] {
        is_closed(
            &proxy,
            &[&length.to_be_bytes()[..], &[0; 20]].concat(),
            cause,
        )
        .await;
    }
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn another_protocol_is_closed_as_such_and_no_broker_is_dialled() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    for (hello, cause) in [
        (
            &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
            "tls_on_plaintext",
        ),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            "proxy_header_unexpected",
        ),
        (
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
            "proxy_header_unexpected",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "ssh"),
        (b"ruok", "not_kafka"),
        (b"*1\r\n$4\r\nPING\r\n", "not_kafka"),
        (b"AMQP\0\0\x09\x01", "not_kafka"),
        (b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04test", "not_kafka"),
        // Their first bytes are lengths that requests may have: to wait for the rest would end
        // with a word about time-outs, and to read a header with `protocol.unvetted: pass`.
        (b"\0\0\0\x08\x04\xd2\x16\x2f", "not_kafka"),
        (b"\x03\0\0\x2c\x27\xe0\0\0\0\0\0Cookie: ", "not_kafka"),
        (b"\0\0\0\xa4\xfeSMB\x40\0\x01\0", "not_kafka"),
        (
            b"\0\x1d\xab\xcd\x01\0\0\x01\0\0\0\0\0\0\x07example\0",
            "not_kafka",
        ),
    ] {
        is_closed(&proxy, hello, cause).await;
    }
    assert_eq!(proxy.causes().len(), 5);
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn who_speaks_http_is_told_what_the_port_is() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let mut client = proxy.connect().await;
        client
            .send(format!("{method} / HTTP/1.1\r\nHost: kafka\r\n\r\n").as_bytes())
            .await;
        let said = String::from_utf8(client.rest().await).unwrap();
        let (head, body) = said.split_once("\r\n\r\n").unwrap();
        assert!(
            head.starts_with("HTTP/1.1 400 ") && head.ends_with("Connection: close"),
            "{said}"
        );
        assert!(body.contains("Kafka protocol"), "{said}");
    }
    proxy.until_closed("http", 7).await;
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn a_first_request_cut_short_anywhere_reaches_no_broker() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    let whole = request(API_VERSIONS, 3, 1, b"\x08librdka\x062.0.2\0");
    for length in 0..whole.len() {
        let mut client = proxy.connect().await;
        client.send(&whole[..length]).await;
        client.finish().await;
        assert_eq!(client.rest().await, b"");
    }
    let cut = u64::try_from(whole.len()).unwrap() - 1;
    until("every session to end", || {
        proxy.closed("closed_without_data") == 1 && proxy.closed("client_closed") == cut
    })
    .await;
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn a_header_that_lies_about_its_parts_is_closed_and_reaches_no_broker() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    let with = |header: &[u8]| crate::samples::close([&[0; 4][..], header, &[0; 40]].concat());
    let huge = [0xff, 0xff, 0xff, 0xff, 0x07];
    let cases: &[(&str, Vec<u8>)] = &[
        (
            "client id",
            [&[0, 3, 0, 9, 0, 0, 0, 1][..], &[0x7f, 0xff]].concat(),
        ),
        (
            "negative client id",
            [&[0, 3, 0, 9, 0, 0, 0, 1][..], &[0x80, 0]].concat(),
        ),
        (
            "tags",
            [&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff][..], &huge].concat(),
        ),
        (
            "tag size",
            [&[0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 1, 0][..], &huge].concat(),
        ),
        (
            "varint",
            [
                0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
            ]
            .to_vec(),
        ),
        (
            "transactional id",
            [&[0, 0, 0, 11, 0, 0, 0, 1, 0xff, 0xff, 0][..], &huge].concat(),
        ),
        (
            "old transactional id",
            [&[0, 0, 0, 7, 0, 0, 0, 1, 0xff, 0xff][..], &[0x7f, 0xff]].concat(),
        ),
    ];
    for (what, header) in cases {
        println!("{what}");
        is_closed(&proxy, &with(header), "request_malformed").await;
    }
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn what_was_not_offered_ends_the_session_behind_the_responses_that_are_pending() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let refused = [
        ("an unknown api key", request(95, 0, 2, &[])),
        ("a negative api key", request(-1, 0, 2, &[])),
        ("an api of brokers", request(4, 0, 2, &[])),
        ("a version that is too new", request(METADATA, 99, 2, &[])),
        ("a negative version", request(METADATA, -1, 2, &[])),
    ];
    for (count, (what, refused)) in refused.into_iter().enumerate() {
        println!("{what}");
        let mut client = proxy.connect().await;
        let mut arrival = client.ask(&mut broker).await;
        client
            .send(&[refused, request(OFFSET_COMMIT, 6, 3, b"never")].concat())
            .await;
        arrival.send(&opaque(1, b"pending")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"pending")), "{what}");
        assert_eq!(client.frame().await, None, "{what}");
        assert_eq!(
            arrival.rest().await,
            b"",
            "{what}: neither it nor what follows reaches the broker"
        );
        drop(client);
        proxy.until_closed("not_offered", count as u64 + 1).await;
    }
}

#[tokio::test]
async fn what_was_not_offered_ends_the_session_behind_a_request_in_the_same_write() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client
        .send(
            &[
                request(OFFSET_COMMIT, 6, 1, b"body"),
                request(95, 0, 2, &[]),
            ]
            .concat(),
        )
        .await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, b"pending")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"pending")));
    assert_eq!(client.frame().await, None);
    drop(client);
    proxy.until_closed("not_offered", 1).await;
}

#[tokio::test]
async fn a_first_request_that_was_not_offered_reaches_no_broker() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let accepted = broker.accepted();
    is_closed(&proxy, &request(95, 0, 2, &[]), "not_offered").await;
    is_closed(&proxy, &request(METADATA, 14, 2, &[]), "not_offered").await;
    assert_eq!(broker.accepted(), accepted);
}

#[tokio::test]
async fn an_api_versions_that_is_too_new_reaches_the_broker_as_such_and_is_answered_with_v0() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client
        .send(&request(API_VERSIONS, 99, 5, b"\x08librdka\x062.0.2\0"))
        .await;
    let mut arrival = broker.next().await;
    let seen = header(&arrival.first);
    assert_eq!((seen.key, seen.correlation_id), (API_VERSIONS, 5));
    assert!(
        seen.version > 5,
        "a version that no broker has: {}",
        seen.version
    );
    arrival
        .send(&opaque(
            5,
            &[0, 35, 0, 0, 0, 2, 0, 3, 0, 0, 0, 99, 0, 18, 0, 0, 0, 4],
        ))
        .await;
    let answer = opaque(
        5,
        &[0, 35, 0, 0, 0, 2, 0, 3, 0, 0, 0, 13, 0, 18, 0, 0, 0, 4],
    );
    assert_eq!(
        client.frame().await,
        Some(answer),
        "in the form of v0, cut to what Narrows knows"
    );
}

#[tokio::test]
async fn half_a_request_in_mid_stream_is_never_completed_at_the_broker() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let whole = request(OFFSET_COMMIT, 6, 2, &[7; 5000]);
    for (length, is_reset) in [
        (3, false),
        (20, false),
        (2500, false),
        (5000, false),
        (2500, true),
    ] {
        let mut client: Client = proxy.connect().await;
        let mut arrival = client.ask(&mut broker).await;
        arrival.send(&opaque(1, b"answer")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"answer")));
        client.send(&whole[..length]).await;
        if is_reset {
            client.reset()
        } else {
            drop(client)
        }
        let seen = arrival.rest().await;
        assert!(
            seen.len() < whole.len() && whole.starts_with(&seen),
            "{length}: {} bytes",
            seen.len()
        );
    }
    until("every session to end", || proxy.active() == 0).await;
}

#[tokio::test]
async fn a_frame_of_exactly_the_limit_passes() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.frame_bytes_max = 300_000
    })
    .await;
    let mut client = proxy.connect().await;
    let header_bytes = request(OFFSET_COMMIT, 6, 1, b"").len() - 4;
    let whole = request(OFFSET_COMMIT, 6, 1, &vec![7; 300_000 - header_bytes]);
    let too_large = request(OFFSET_COMMIT, 6, 1, &vec![7; 300_001 - header_bytes]);
    let (sent, arrival) = tokio::join!(client.send(&whole), broker.next());
    assert_eq!((sent, arrival.first == whole), ((), true));
    client.try_send(&too_large).await;
    let answer = opaque(1, b"answer");
    let mut arrival = arrival;
    arrival.send(&answer).await;
    assert_eq!(client.frame().await, Some(answer));
    assert_eq!(client.frame().await, None);
    drop(client);
    proxy.until_closed("request_too_large", 1).await;
}
