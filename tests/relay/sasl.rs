//! SASL passes through: with Kafka headers (v1), as raw tokens (v0), again on the same connection
//! (KIP-368).

use crate::broker::Broker;
use crate::client::{Client, Proxy};
use crate::frames::{
    OFFSET_COMMIT, SASL_AUTHENTICATE, SASL_HANDSHAKE, header, opaque, raw, request,
};
use crate::samples::{METADATA, Shape, node, response};

const ACCEPTED: &[u8] = &[0, 0, 0, 0, 0, 1, 0, 5, b'P', b'L', b'A', b'I', b'N'];
/// SaslAuthenticate v2: no tags, no error, null, empty token, session lifetime, no tags.
const AUTHENTICATED: &[u8] = &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];

pub(crate) async fn begun(
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

/// The broker's own address, in a response that names it.
fn metadata(version: i16, correlation_id: i32) -> Vec<u8> {
    let broker = node(0, OWN_HOST, 9092);
    response(METADATA, version, correlation_id, &Shape::of(&[broker]))
}

const OWN_HOST: &str = "kafka-0.internal";
/// An answer to SaslHandshake: ILLEGAL_SASL_STATE, as listeners without SASL say it.
const REFUSED: &[u8] = &[0, 34, 0, 0, 0, 0];

/// The next response is one to Metadata, and does not name the broker's own host.
async fn expect_rewritten(client: &mut Client, correlation_id: i32) {
    let response = client.frame().await.unwrap();
    assert_eq!(response[4..8], correlation_id.to_be_bytes());
    assert!(response.len() > 20, "a Metadata response: {response:?}");
    let own = OWN_HOST.as_bytes();
    let has_leaked = response.windows(own.len()).any(|window| window == own);
    assert!(!has_leaked, "the broker's own address has got out");
}

#[tokio::test]
async fn a_request_behind_a_v0_handshake_that_the_broker_refuses_is_read_as_a_request() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    let handshake = request(SASL_HANDSHAKE, 0, 1, b"\0\x05PLAIN");
    let asked = request(METADATA, 1, 2, &(-1i32).to_be_bytes());
    client.send(&[&handshake[..], &asked].concat()).await;
    let mut arrival = broker.next().await;
    assert_eq!(arrival.first, handshake);
    arrival.send(&opaque(1, REFUSED)).await;
    assert_eq!(client.frame().await, Some(opaque(1, REFUSED)));
    assert_eq!(arrival.frame().await, Some(asked));
    arrival.send(&metadata(1, 2)).await;
    expect_rewritten(&mut client, 2).await;
}

#[tokio::test]
async fn an_api_for_brokers_alone_reaches_no_broker_behind_a_v0_handshake() {
    for answer in [REFUSED, ACCEPTED] {
        let mut broker = Broker::alone(0).await;
        let proxy = Proxy::start(&[&broker]).await;
        let mut client = proxy.connect().await;
        let handshake = request(SASL_HANDSHAKE, 0, 1, b"\0\x05PLAIN");
        let leader_and_isr = request(4, 0, 2, b"body");
        client
            .send(&[&handshake[..], &leader_and_isr].concat())
            .await;
        let mut arrival = broker.next().await;
        arrival.send(&opaque(1, answer)).await;
        assert_eq!(client.frame().await, Some(opaque(1, answer)));
        assert_eq!(client.frame().await, None);
        assert_eq!(arrival.rest().await, b"");
        drop(client);
        proxy.until_closed("not_offered", 1).await;
    }
}

#[tokio::test]
async fn a_request_sent_together_with_its_raw_token_is_begun_behind_the_tokens_answer() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"PLAIN").await;
    let asked = request(METADATA, 1, 2, &(-1i32).to_be_bytes());
    client
        .send(&[raw(b"\0alice\0secret"), asked.clone()].concat())
        .await;
    assert_eq!(arrival.frame().await, Some(raw(b"\0alice\0secret")));
    arrival.send(&raw(b"")).await;
    assert_eq!(client.frame().await, Some(raw(b"")));
    assert_eq!(arrival.frame().await, Some(asked));
    arrival.send(&metadata(1, 2)).await;
    expect_rewritten(&mut client, 2).await;
}

#[tokio::test]
async fn what_follows_the_last_token_of_kerberos_with_rc4_is_rewritten() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"GSSAPI").await;
    client.send(&raw(AP_REQ)).await;
    assert_eq!(arrival.frame().await, Some(raw(AP_REQ)));
    arrival.send(&raw(WRAP_RC4)).await;
    assert_eq!(client.frame().await, Some(raw(WRAP_RC4)));
    // The last token is not answered, and begins like the first (RFC 1964).
    client.send(&raw(WRAP_RC4)).await;
    assert_eq!(arrival.frame().await, Some(raw(WRAP_RC4)));
    let asked = request(METADATA, 1, 2, &(-1i32).to_be_bytes());
    client.send(&asked).await;
    assert_eq!(arrival.frame().await, Some(asked));
    arrival.send(&metadata(1, 2)).await;
    expect_rewritten(&mut client, 2).await;
}

const AP_REQ: &[u8] = b"\x60\x82\x02\x01\x06\x09token";
const WRAP_RC4: &[u8] = b"\x60\x3f\x06\x09\x2a\x86wrapped";

#[tokio::test]
async fn a_gssapi_token_without_any_handshake_is_served_as_brokers_up_to_3_9_do() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let mut client = proxy.connect().await;
    client.send(&raw(AP_REQ)).await;
    let mut arrival = broker.next().await;
    assert_eq!(arrival.first, raw(AP_REQ));
    arrival.send(&raw(b"\x05\x04challenge")).await;
    assert_eq!(client.frame().await, Some(raw(b"\x05\x04challenge")));
    let asked = request(METADATA, 1, 2, &(-1i32).to_be_bytes());
    let last = raw(b"\x05\x04\x04\xffwrapped");
    client.send(&[&last[..], &asked].concat()).await;
    assert_eq!(arrival.frame().await, Some(last));
    assert_eq!(arrival.frame().await, Some(asked));
    arrival.send(&metadata(1, 2)).await;
    expect_rewritten(&mut client, 2).await;
}

#[tokio::test]
async fn a_broker_that_answers_a_request_with_a_raw_token_ends_the_session() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 0, b"GSSAPI").await;
    let asked = request(METADATA, 1, 2, &(-1i32).to_be_bytes());
    client.send(&[raw(AP_REQ), asked.clone()].concat()).await;
    assert_eq!(arrival.frame().await, Some(raw(AP_REQ)));
    assert_eq!(arrival.frame().await, Some(asked));
    arrival.send(&raw(b"\x05\x04challenge")).await;
    assert_eq!(client.frame().await, None);
    drop(client);
    proxy.until_closed("correlation_mismatch", 1).await;
}

#[tokio::test]
async fn a_large_request_passes_behind_an_authentication_of_unknown_rounds() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, mut arrival) = begun(&proxy, &mut broker, 1, b"AWS_MSK_IAM").await;
    let token = request(SASL_AUTHENTICATE, 2, 2, b"\x01\0");
    client.send(&token).await;
    assert_eq!(arrival.frame().await, Some(token));
    arrival.send(&opaque(2, AUTHENTICATED)).await;
    assert_eq!(client.frame().await, Some(opaque(2, AUTHENTICATED)));
    let large = request(OFFSET_COMMIT, 6, 3, &vec![7; 600 * 1024]);
    client.send(&large).await;
    assert!(arrival.frame().await == Some(large), "it has arrived whole");
}

#[tokio::test]
async fn a_request_above_the_limit_is_refused_while_an_authentication_is_surely_incomplete() {
    let mut broker = Broker::alone(0).await;
    let proxy = Proxy::start(&[&broker]).await;
    let (mut client, arrival) = begun(&proxy, &mut broker, 1, b"SCRAM-SHA-256").await;
    let large = request(OFFSET_COMMIT, 6, 3, &vec![7; 600 * 1024]);
    client.try_send(&large).await;
    assert_eq!(client.rest().await, b"");
    assert_eq!(arrival.rest().await, b"");
    drop(client);
    proxy.until_closed("request_too_large", 1).await;
}
