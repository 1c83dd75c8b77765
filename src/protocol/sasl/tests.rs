//! What a client's next frame is, by what the broker has answered so far.

use super::*;
use crate::protocol::table::APIS;
use proptest::prelude::*;

/// Metadata v9.
const REQUEST: [u8; 10] = [0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff];
/// How Kerberos begins, and how its last token does: with AES (RFC 4121), with RC4 (RFC 1964).
const AP_REQ: &[u8] = &[0x60, 0x82, 2, 1, 6, 9];
const WRAP_AES: &[u8] = &[5, 4, 4, 0xff, 0, 12];
const WRAP_RC4: &[u8] = &[0x60, 0x3f, 6, 9, 0x2a, 0x86];
const ANSWERED: Option<Next> = Some(Next::RawToken { is_answered: true });
const MAYBE_ANSWERED: Option<Next> = Some(Next::RawToken { is_answered: false });

fn next(sasl: &mut Sasl, frame: &[u8]) -> Option<Next> {
    assert!(!sasl.must_wait(), "no frame is begun: {sasl:?}");
    sasl.next(frame, frame.len())
}

/// A connection on which the broker has granted raw tokens.
fn granted(mechanism: &[u8]) -> Sasl {
    let mut sasl = Sasl::default();
    assert_eq!(sasl.next(&[0, 17, 0, 0], 40), Some(Next::Request));
    assert!(sasl.takes_handshake());
    sasl.handshake_sent(0, mechanism);
    assert!(sasl.must_wait(), "nothing is begun before the answer");
    sasl.handshake_answered(0);
    sasl
}

/// A connection on which the broker has granted SaslAuthenticate.
fn framed(mechanism: &[u8]) -> Sasl {
    let mut sasl = Sasl::default();
    sasl.handshake_sent(1, mechanism);
    assert!(!sasl.must_wait());
    sasl.handshake_answered(0);
    sasl
}

#[test]
fn plain_after_a_v0_handshake_is_one_raw_token_and_the_next_frame_waits_for_its_answer() {
    let mut sasl = granted(b"PLAIN");
    assert_eq!(next(&mut sasl, b"\0alice\0secret"), ANSWERED);
    assert!(sasl.must_wait() && sasl.is_incomplete() && sasl.may_be_answered());
    sasl.token_answered(0, true);
    assert!(sasl.has_succeeded() && !sasl.is_incomplete() && !sasl.may_be_answered());
    assert_eq!(next(&mut sasl, b"\0alice\0secret"), Some(Next::Request));
}

#[test]
fn without_a_broker_that_grants_them_there_are_no_raw_tokens() {
    let mut sasl = Sasl::default();
    sasl.next(&REQUEST, REQUEST.len());
    sasl.handshake_sent(0, b"PLAIN");
    assert!(sasl.must_wait());
    sasl.handshake_answered(34);
    for frame in [&b"\0alice\0secret"[..], &REQUEST, AP_REQ, b""] {
        assert_eq!(next(&mut sasl, frame), Some(Next::Request));
    }
    assert!(!sasl.has_succeeded() && !sasl.is_incomplete());
}

#[test]
fn a_request_among_raw_tokens_is_a_request_and_no_token_follows_it() {
    for mechanism in [&b"PLAIN"[..], b"SCRAM-SHA-256", b"OAUTHBEARER", b"GSSAPI"] {
        let mut sasl = granted(mechanism);
        assert_eq!(next(&mut sasl, &REQUEST), Some(Next::Request));
        assert!(!sasl.may_be_answered(), "its answer has a header");
        assert_eq!(next(&mut sasl, AP_REQ), Some(Next::Request));
    }
}

#[test]
fn scram_succeeds_with_the_second_answer_and_not_with_the_first() {
    let mut sasl = framed(b"SCRAM-SHA-256");
    sasl.token_answered(0, false);
    assert!(!sasl.has_succeeded() && sasl.is_incomplete());
    sasl.token_answered(0, false);
    assert!(sasl.has_succeeded() && !sasl.is_incomplete());

    let mut sasl = granted(b"SCRAM-SHA-512");
    assert_eq!(next(&mut sasl, b"n,,n=alice,r=abc"), ANSWERED);
    assert!(sasl.must_wait());
    sasl.token_answered(0, false);
    assert_eq!(next(&mut sasl, b"c=biws,r=abcdef"), ANSWERED);
    assert!(!sasl.has_succeeded());
    sasl.token_answered(0, false);
    assert!(sasl.has_succeeded());
}

#[test]
fn the_last_gssapi_token_waits_for_no_answer_with_any_cipher() {
    for last in [WRAP_AES, WRAP_RC4] {
        let mut sasl = granted(b"GSSAPI");
        assert_eq!(sasl.next(&AP_REQ[..2], 500), None);
        assert_eq!(sasl.next(&AP_REQ[..4], 500), MAYBE_ANSWERED);
        sasl.token_answered(0, false);
        assert_eq!(next(&mut sasl, b""), MAYBE_ANSWERED);
        sasl.token_answered(0, false);
        assert_eq!(next(&mut sasl, last), MAYBE_ANSWERED);
        assert!(sasl.may_be_answered());
        assert_eq!(next(&mut sasl, &REQUEST), Some(Next::Request));
        assert!(!sasl.may_be_answered(), "from here on answers have headers");
        assert!(!sasl.has_succeeded(), "the broker has not answered");
        sasl.request_answered();
        assert!(sasl.has_succeeded());
    }
}

#[test]
fn a_second_token_waits_for_the_answer_to_the_first() {
    let mut sasl = granted(b"GSSAPI");
    assert_eq!(next(&mut sasl, AP_REQ), MAYBE_ANSWERED);
    assert_eq!(next(&mut sasl, AP_REQ), Some(Next::Held));
    assert!(sasl.must_wait());
    sasl.token_answered(0, false);
    assert_eq!(next(&mut sasl, AP_REQ), MAYBE_ANSWERED);
}

#[test]
fn a_gssapi_token_without_a_handshake_is_taken_as_the_first_frame_and_as_no_other() {
    let mut sasl = Sasl::default();
    assert_eq!(sasl.next(&[], 500), None);
    assert_eq!(sasl.next(&AP_REQ[..1], 500), None);
    assert_eq!(next(&mut sasl, AP_REQ), MAYBE_ANSWERED);
    sasl.token_answered(0, false);
    assert_eq!(next(&mut sasl, WRAP_AES), MAYBE_ANSWERED);
    assert_eq!(next(&mut sasl, &REQUEST), Some(Next::Request));

    let mut late = Sasl::default();
    assert_eq!(next(&mut late, &REQUEST), Some(Next::Request));
    assert_eq!(next(&mut late, AP_REQ), Some(Next::Request));
}

#[test]
fn a_second_handshake_waits_for_the_answer_to_the_first() {
    let mut sasl = Sasl::default();
    assert!(sasl.takes_handshake());
    sasl.handshake_sent(1, b"PLAIN");
    assert!(!sasl.must_wait(), "requests may follow");
    assert!(!sasl.takes_handshake());
    assert!(sasl.must_wait());
    sasl.handshake_answered(0);
    assert!(!sasl.must_wait() && sasl.takes_handshake());
}

#[test]
fn a_refused_mechanism_or_token_ends_the_exchange_without_success() {
    let mut sasl = Sasl::default();
    sasl.handshake_sent(1, b"PLAIN");
    sasl.handshake_answered(33);
    sasl.token_answered(0, true);
    assert!(!sasl.is_incomplete() && !sasl.has_succeeded());
    let mut sasl = framed(b"PLAIN");
    sasl.token_answered(58, true);
    assert!(!sasl.is_incomplete() && !sasl.has_succeeded());
}

#[test]
fn an_oauthbearer_token_that_is_answered_with_an_error_is_no_success() {
    let mut sasl = framed(b"OAUTHBEARER");
    sasl.token_answered(0, false);
    assert!(!sasl.has_succeeded());
    sasl.token_answered(58, true);
    assert!(!sasl.has_succeeded());

    let mut sasl = granted(b"OAUTHBEARER");
    assert_eq!(next(&mut sasl, b"n,,\x01auth=Bearer old"), ANSWERED);
    sasl.token_answered(0, false);
    assert_eq!(next(&mut sasl, &[1]), MAYBE_ANSWERED, "the broker closes");
    assert!(!sasl.has_succeeded());

    let mut sasl = framed(b"OAUTHBEARER");
    sasl.token_answered(0, true);
    assert!(sasl.has_succeeded());
}

#[test]
fn an_unknown_mechanism_has_succeeded_when_a_request_behind_it_is_answered() {
    let mut sasl = framed(b"AWS_MSK_IAM");
    sasl.request_answered();
    assert!(!sasl.has_succeeded(), "it was sent before any token");
    sasl.token_answered(0, false);
    assert!(!sasl.has_succeeded());
    assert!(!sasl.is_incomplete(), "the next request may be of any size");
    sasl.request_answered();
    assert!(sasl.has_succeeded());
}

#[test]
fn no_request_of_the_table_can_pass_as_a_token() {
    for api in &APIS {
        for version in api.versions.min..=api.versions.max {
            let frame = [api.key.to_be_bytes(), version.to_be_bytes()].concat();
            assert!(could_be_request(&frame), "{} v{version}", api.name);
        }
    }
}

#[test]
fn no_token_of_a_mechanism_in_the_field_is_taken_for_a_request() {
    let tokens: [&[u8]; 15] = [
        AP_REQ,
        WRAP_AES,
        WRAP_RC4,
        &[0x60, 0x81, 0x9f, 6],
        &[5, 4, 0, 0xff],
        b"",
        &[1],
        b"\0a\0 ",
        b"\0alice\0secret",
        b"alice\0alice\0secret",
        "\0ö\0ü".as_bytes(),
        b"n,,n=alice,r=abc",
        b"n,,\x01auth=Bearer abc",
        b"{\"version\":\"2020_10_22\"}",
        b"NTLMSSP\0",
    ];
    for token in tokens {
        assert!(!could_be_request(token), "{token:?}");
    }
}

/// What happens on a connection.
#[derive(Clone, Debug)]
enum Event {
    Frame(Vec<u8>),
    Handshake(i16, usize),
    HandshakeAnswered(i16),
    TokenAnswered(i16, bool),
    RequestAnswered,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let frame = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        (0i16..=200, 0i16..=20).prop_map(|(key, version)| {
            [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 6]].concat()
        }),
        Just(AP_REQ.to_vec()),
        Just(WRAP_RC4.to_vec()),
        Just(b"\0alice\0secret".to_vec()),
    ];
    let error = prop_oneof![Just(0i16), Just(34i16)];
    let event = prop_oneof![
        4 => frame.prop_map(Event::Frame),
        2 => (0i16..=1, 0usize..5).prop_map(|(version, at)| Event::Handshake(version, at)),
        2 => error.clone().prop_map(Event::HandshakeAnswered),
        2 => (error, any::<bool>()).prop_map(|(error, is_empty)| Event::TokenAnswered(error, is_empty)),
        1 => Just(Event::RequestAnswered),
    ];
    prop::collection::vec(event, 0..40)
}

const MECHANISMS: [&[u8]; 5] = [b"PLAIN", b"SCRAM-SHA-256", b"OAUTHBEARER", b"GSSAPI", b"X"];

proptest! {
    /// A broker that has granted nothing takes every frame for a request, and so does one for which
    /// the exchange is over: both may answer with addresses.
    #[test]
    fn no_frame_that_a_broker_could_take_for_a_request_passes_as_a_token(events in events()) {
        let mut sasl = Sasl::default();
        let mut is_granted = false;
        let mut asked = None;
        let mut is_first = true;
        for event in events {
            match event {
                Event::Frame(frame) if !sasl.must_wait() => {
                    let next = sasl.next(&frame, frame.len());
                    if let Some(Next::RawToken { .. }) = next {
                        prop_assert!(!could_be_request(&frame));
                        prop_assert!(is_granted || is_first && frame[0] == GSSAPI_TAG);
                        prop_assert_eq!(asked, None, "an answer is due");
                        is_granted |= is_first;
                    }
                    is_first = false;
                }
                Event::Handshake(version, at) if !sasl.must_wait() => {
                    let frame = [0, 17, 0, version as u8];
                    prop_assert_eq!(sasl.next(&frame, 40), Some(Next::Request));
                    if !sasl.takes_handshake() {
                        continue;
                    }
                    sasl.handshake_sent(version, MECHANISMS[at]);
                    asked = Some(version).filter(|version| *version == 0);
                    is_first = false;
                }
                Event::HandshakeAnswered(error) => {
                    sasl.handshake_answered(error);
                    is_granted = asked.take().is_some() && error == 0;
                }
                Event::TokenAnswered(error, is_empty) => sasl.token_answered(error, is_empty),
                Event::RequestAnswered => sasl.request_answered(),
                Event::Frame(_) | Event::Handshake(..) => {}
            }
            prop_assert!(!sasl.may_be_answered() || asked.is_none());
        }
    }
}
