//! Bytes in both directions: in order, as they were, and closed when the other side closes.

use crate::broker::Broker;
use crate::client::{ADVERTISED_HOST, Proxy};
use crate::frames::{OFFSET_COMMIT, header, opaque, produce, request};
use crate::samples::{FETCH, METADATA, Shape, node, pattern, response};
use crate::{until, within};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test]
async fn one_byte_at_a_time_in_both_directions_gives_the_same_bytes() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let nodes = [node(0, "127.0.0.1", broker.address.port())];
    let advertised = [node(0, ADVERTISED_HOST, proxy.port(0))];
    let requests = [
        request(METADATA, 12, 1, &[0, 0, 0, 0]),
        produce(2, 1, &pattern(100)),
        produce(0, 0, b"no answer"),
        request(FETCH, 17, 3, &pattern(50)),
    ];
    let shape = Shape {
        filling: 200,
        has_unknown_tags: true,
        ..Shape::of(&nodes)
    };
    let expected = Shape {
        nodes: advertised.to_vec(),
        ..shape.clone()
    };
    let answers = |shape| {
        [
            response(METADATA, 12, 1, shape),
            opaque(2, b"acknowledged"),
            response(FETCH, 17, 3, shape),
        ]
        .concat()
    };
    let mut client = proxy.connect().await;
    let stream = requests.concat();
    let sending = async {
        for byte in stream.chunks(1) {
            client.send(byte).await;
            tokio::task::yield_now().await;
        }
    };
    let ((), mut arrival) = tokio::join!(sending, broker.next());
    let mut seen = arrival.first.clone();
    while seen.len() < stream.len() {
        seen.extend(arrival.frame().await.unwrap());
    }
    assert!(seen == stream);
    let shaped = answers(&shape);
    let expected = answers(&expected);
    let sending = async {
        for byte in shaped.chunks(1) {
            arrival.send(byte).await;
            tokio::task::yield_now().await;
        }
    };
    let mut got = vec![0; expected.len()];
    let ((), read) = tokio::join!(
        sending,
        within("the responses", client.stream.read_exact(&mut got))
    );
    read.unwrap();
    assert!(got == expected);
}

#[tokio::test]
async fn a_thousand_requests_in_one_write_are_answered_in_their_order() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    broker.answer_all(|frame| opaque(header(frame).correlation_id, &frame[12..]));
    let mut client = proxy.connect().await;
    let requests: Vec<_> = (0..1000)
        .map(|id| request(OFFSET_COMMIT, 6, id, &pattern(id as usize)))
        .collect();
    let all = requests.concat();
    let expected: Vec<u8> = requests
        .iter()
        .flat_map(|request| opaque(header(request).correlation_id, &request[12..]))
        .collect();
    let mut got = vec![0; expected.len()];
    let (mut reading, mut writing) = client.stream.split();
    let (read, written) = within("all responses", async {
        tokio::join!(reading.read_exact(&mut got), writing.write_all(&all))
    })
    .await;
    assert!(read.is_ok() && written.is_ok());
    assert!(got == expected);
}

#[tokio::test]
async fn more_requests_than_may_be_in_flight_wait_and_are_answered() {
    let broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.in_flight_requests_max = 3
    })
    .await;
    broker.answer_all(|frame| opaque(header(frame).correlation_id, b"answer"));
    let mut client = proxy.connect().await;
    let requests: Vec<_> = (0..100)
        .flat_map(|id| request(OFFSET_COMMIT, 6, id, b"body"))
        .collect();
    client.send(&requests).await;
    for id in 0..100 {
        assert_eq!(client.frame().await, Some(opaque(id, b"answer")));
    }
}

#[tokio::test]
async fn no_more_requests_than_may_be_in_flight_reach_the_broker() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.in_flight_requests_max = 3
    })
    .await;
    let mut client = proxy.connect().await;
    let requests: Vec<_> = (0..5)
        .flat_map(|id| request(OFFSET_COMMIT, 6, id, b"body"))
        .collect();
    client.send(&requests).await;
    let mut arrival = broker.next().await;
    for id in [1, 2] {
        assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, id);
    }
    arrival.send(&opaque(0, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(0, b"answer")));
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 3);
    let mut byte = [0];
    assert!(
        arrival.stream.try_read(&mut byte).is_err(),
        "the fifth waits"
    );
}

#[tokio::test]
async fn produces_without_acks_have_no_response_and_the_others_keep_theirs() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let flood: Vec<_> = (0..500).flat_map(|_| produce(9, 0, b"records")).collect();
    let sent = [
        &flood[..],
        &produce(1, 1, b"records"),
        &produce(2, 0, b"records"),
        &produce(3, -1, b"records"),
        &request(OFFSET_COMMIT, 6, 4, b"body"),
    ]
    .concat();
    client.send(&sent).await;
    let mut arrival = broker.next().await;
    let mut seen = arrival.first.clone();
    while seen.len() < sent.len() {
        seen.extend(arrival.frame().await.unwrap());
    }
    assert!(seen == sent);
    let answers = [opaque(1, b"a"), opaque(3, b"b"), opaque(4, b"c")];
    arrival.send(&answers.concat()).await;
    for answer in answers {
        assert_eq!(client.frame().await, Some(answer));
    }
}

#[tokio::test]
async fn a_client_that_closes_its_side_still_gets_its_pending_responses_and_then_both_sides_close()
{
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client
        .send(
            &[
                request(OFFSET_COMMIT, 6, 1, b"one"),
                request(OFFSET_COMMIT, 6, 2, b"two"),
            ]
            .concat(),
        )
        .await;
    client.finish().await;
    let mut arrival = broker.next().await;
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 2);
    arrival.send(&opaque(1, b"one")).await;
    assert_eq!(client.frame().await, Some(opaque(1, b"one")));
    arrival.send(&opaque(2, &pattern(1_000_000))).await;
    assert!(client.frame().await == Some(opaque(2, &pattern(1_000_000))));
    assert_eq!(client.frame().await, None);
    assert_eq!(arrival.rest().await, b"");
    proxy.until_closed("client_closed", 1).await;
}

#[tokio::test]
async fn a_client_that_closes_its_side_is_not_waited_for_longer_than_the_half_close_timeout() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start_with(&[&broker], |settings| {
        settings.session.half_close_timeout = Duration::from_millis(50);
    })
    .await;
    let mut client = proxy.connect().await;
    client.send(&request(OFFSET_COMMIT, 6, 1, b"one")).await;
    client.finish().await;
    let arrival = broker.next().await;
    assert_eq!(client.frame().await, None);
    assert_eq!(arrival.rest().await, b"");
    drop(client);
    proxy.until_closed("half_close_timeout", 1).await;
}

#[tokio::test]
async fn each_side_sees_the_other_close_or_reset_at_once() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    for (closes, cause) in [
        ("client", "client_closed"),
        ("client resets", "client_failed"),
        ("broker", "broker_closed"),
        ("broker resets", "broker_failed"),
    ] {
        let mut client = proxy.connect().await;
        client.send(&request(OFFSET_COMMIT, 6, 1, b"one")).await;
        let mut arrival = broker.next().await;
        arrival.send(&opaque(1, b"one")).await;
        assert_eq!(client.frame().await, Some(opaque(1, b"one")));
        let began = Instant::now();
        match closes {
            "client" => {
                drop(client);
                arrival.rest().await;
            }
            "client resets" => {
                client.reset();
                arrival.rest().await;
            }
            "broker" => {
                drop(arrival);
                assert_eq!(client.frame().await, None);
            }
            _ => {
                arrival.reset();
                assert_eq!(client.frame().await, None);
            }
        }
        assert!(
            began.elapsed() < Duration::from_secs(1),
            "{closes}: {:?}",
            began.elapsed()
        );
        proxy.until_closed(cause, 1).await;
    }
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_response_ends_it_there() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client.send(&request(FETCH, 4, 1, b"one")).await;
    let mut arrival = broker.next().await;
    let answer = opaque(1, &pattern(100_000));
    arrival.send(&answer[..50_000]).await;
    let mut got = vec![0; 50_000];
    within("half a response", client.stream.read_exact(&mut got))
        .await
        .unwrap();
    arrival.reset();
    assert!(got == answer[..50_000]);
    assert_eq!(client.rest().await, b"", "nothing follows");
    proxy.until_closed("broker_failed", 1).await;
}

#[tokio::test]
async fn a_client_that_resets_amid_a_large_request_leaves_nothing_behind() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let whole = produce(1, -1, &pattern(10_000_000));
    client.send(&request(OFFSET_COMMIT, 6, 0, b"one")).await;
    let arrival = broker.next().await;
    let reading = tokio::spawn(arrival.rest());
    client.send(&whole[..5_000_000]).await;
    client.reset();
    assert!(reading.await.unwrap().len() < whole.len());
    until("the session to end", || proxy.active() == 0).await;
}

#[tokio::test]
async fn a_produce_without_acks_arrives_whole_when_the_client_closes_behind_it() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let whole = produce(0, 0, &pattern(3_000_000));
    let mut client = proxy.connect().await;
    let sent = whole.clone();
    let sending = tokio::spawn(async move { client.send(&sent).await });
    let arrival = broker.next().await;
    assert!(arrival.first == whole);
    sending.await.unwrap();
    assert_eq!(arrival.rest().await, b"");
    proxy.until_closed("client_closed", 1).await;
}
