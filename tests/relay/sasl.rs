//! SASL passes through: with Kafka headers (v1), as raw tokens (v0), again on the same connection
//! (KIP-368).

use crate::broker::Broker;
use crate::client::{Client, Proxy};
use crate::frames::{
    OFFSET_COMMIT, SASL_AUTHENTICATE, SASL_HANDSHAKE, header, opaque, raw, request,
};

const ACCEPTED: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
/// SaslAuthenticate v2: no tags, no error, null, empty token, session lifetime, no tags.
const AUTHENTICATED: &[u8] = &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

async fn begun(
    proxy: &Proxy,
    broker: &mut Broker,
    version: i16,
    mechanism: &[u8],
) -> (Client, crate::broker::Arrival) {
    let mut client = proxy.connect().await;
    let name = [&(mechanism.len() as i16).to_be_bytes(), mechanism].concat();
    client
        .send(&request(SASL_HANDSHAKE, version, 1, &name))
        .await;
    let mut arrival = broker.next().await;
    arrival.send(&opaque(1, ACCEPTED)).await;
    assert_eq!(client.frame().await, Some(opaque(1, ACCEPTED)));
    (client, arrival)
}

#[tokio::test]
async fn raw_tokens_after_a_v0_handshake_pass_both_ways_and_kafka_follows() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"PLAIN").await;
    client.send(&raw(b"\0alice\0secret")).await;
    assert_eq!(arrival.frame().await, Some(raw(b"\0alice\0secret")));
    arrival.send(&raw(b"")).await;
    assert_eq!(client.frame().await, Some(raw(b"")));
    client.send(&request(OFFSET_COMMIT, 6, 2, b"body")).await;
    assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, 2);
    arrival.send(&opaque(2, b"answer")).await;
    assert_eq!(client.frame().await, Some(opaque(2, b"answer")));
}

#[tokio::test]
async fn gssapi_tokens_pass_both_ways_also_empty_ones_and_the_last_without_an_answer() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"GSSAPI").await;
    for (token, answer) in [
        (&b"\x60\x82\x01\x01token"[..], &b"challenge"[..]),
        (b"", b"\x05\x04wrap"),
    ] {
        client.send(&raw(token)).await;
        assert_eq!(arrival.frame().await, Some(raw(token)));
        arrival.send(&raw(answer)).await;
        assert_eq!(client.frame().await, Some(raw(answer)));
    }
    // Nobody answers the last one (RFC 4121): each response that follows belongs to its own
    // request.
    client
        .send(
            &[
                raw(b"\x05\x04\x04\xffwrapped"),
                request(OFFSET_COMMIT, 6, 2, b"body"),
            ]
            .concat(),
        )
        .await;
    assert_eq!(arrival.frame().await, Some(raw(b"\x05\x04\x04\xffwrapped")));
    for id in [2, 3] {
        assert_eq!(header(&arrival.frame().await.unwrap()).correlation_id, id);
        arrival.send(&opaque(id, b"answer")).await;
        assert_eq!(client.frame().await, Some(opaque(id, b"answer")));
        client
            .send(&request(OFFSET_COMMIT, 6, id + 1, b"body"))
            .await;
    }
}

#[tokio::test]
async fn a_sasl_frame_above_its_limit_is_refused_and_one_as_large_afterwards_passes() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let large = vec![0; 512 * 1024];
    let (mut client, arrival) = begun(&proxy, &mut broker, 1, b"PLAIN").await;
    client
        .try_send(&request(SASL_AUTHENTICATE, 2, 2, &large))
        .await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(arrival.rest().await, b"");
    drop(client);
    proxy.until_closed("request_too_large", 1).await;

    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"PLAIN").await;
    client
        .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x01"))
        .await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, AUTHENTICATED)).await;
    assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
    let after = request(OFFSET_COMMIT, 6, 3, &large);
    let (sent, seen) = tokio::join!(client.send(&after), arrival.frame());
    assert_eq!((sent, header(&seen.unwrap()).correlation_id), ((), 3));
}

#[tokio::test]
async fn a_raw_token_above_the_limit_is_refused() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, arrival) = begun(&proxy, &mut broker, 0, b"PLAIN").await;
    client.try_send(&raw(&vec![0; 512 * 1024 + 1])).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(arrival.rest().await, b"");
    drop(client);
    proxy.until_closed("request_too_large", 1).await;
}

#[tokio::test]
async fn a_client_authenticates_again_with_requests_in_flight() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"PLAIN").await;
    client
        .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x01\0"))
        .await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, AUTHENTICATED)).await;
    assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
    let requests = [
        request(OFFSET_COMMIT, 6, 3, b"one"),
        request(SASL_HANDSHAKE, 1, 4, b"\0\x05PLAIN"),
        request(OFFSET_COMMIT, 6, 5, b"two"),
        request(SASL_AUTHENTICATE, 2, 6, b"\x01\0"),
        request(OFFSET_COMMIT, 6, 7, b"three"),
    ];
    client.send(&requests.concat()).await;
    for request in requests {
        assert_eq!(arrival.frame().await, Some(request));
    }
    let answers = [
        opaque(3, b"one"),
        opaque(4, ACCEPTED),
        opaque(5, b"two"),
        opaque(6, AUTHENTICATED),
        opaque(7, b"three"),
    ];
    arrival.send(&answers.concat()).await;
    for answer in answers {
        assert_eq!(client.frame().await, Some(answer));
    }
}

#[tokio::test]
async fn a_sasl_answer_that_cannot_be_read_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"PLAIN").await;
    client
        .send(&request(SASL_AUTHENTICATE, 2, 2, b"\x01\0"))
        .await;
    arrival.frame().await.unwrap();
    arrival.send(&opaque(2, &[0])).await;
    assert_eq!(client.frame().await, None);
    drop(client);
    proxy.until_closed("response_malformed", 1).await;
}
