//! Follows a SASL authentication that passes through, as far as framing depends on it.
//!
//! SaslHandshake v1 is followed by SaslAuthenticate requests; v0 by raw tokens, frames without any
//! Kafka header, in both directions (KIP-43, KIP-152). Nobody says when raw tokens end: for PLAIN,
//! SCRAM and OAUTHBEARER their number is known; for any other mechanism (GSSAPI) the first frame
//! that is a Kafka request ends them, as no GSSAPI token begins like one. A connection may
//! authenticate again (KIP-368), with requests in flight.

use super::header;
use super::table;

/// How many tokens a client sends with this mechanism; `None` if it depends.
fn rounds(mechanism: &[u8]) -> Option<u8> {
    match mechanism {
        b"PLAIN" | b"OAUTHBEARER" => Some(1),
        b"SCRAM-SHA-256" | b"SCRAM-SHA-512" => Some(2),
        _ => None,
    }
}

/// Where the authentication on a connection is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sasl {
    exchange: Option<Exchange>,
    has_succeeded: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exchange {
    /// Tokens are frames of their own, without a Kafka header.
    is_raw: bool,
    /// Tokens of the client to come; `None` if their number is not known.
    tokens_left: Option<u8>,
    /// Accepted tokens to come.
    answers_left: Option<u8>,
}

/// What the next frame of the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A Kafka request.
    Request,
    /// A token without a header, and whether the broker answers it.
    RawToken {
        /// The last GSSAPI token (RFC 4121 Wrap) gets no answer.
        is_answered: bool,
    },
}

impl Sasl {
    /// A SaslHandshake of `version` for `mechanism` has been sent.
    pub fn handshake_sent(&mut self, version: i16, mechanism: &[u8]) {
        let rounds = rounds(mechanism);
        self.exchange = Some(Exchange {
            is_raw: version == 0,
            tokens_left: rounds,
            answers_left: rounds,
        });
    }

    /// The broker has answered a SaslHandshake.
    pub fn handshake_answered(&mut self, error: i16) {
        if error != 0 {
            self.exchange = None;
        }
    }

    /// The broker has answered a token, in a SaslAuthenticate or raw.
    pub fn token_answered(&mut self, error: i16) {
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        if error != 0 {
            self.exchange = None;
            return;
        }
        match &mut exchange.answers_left {
            None => {}
            Some(left) if *left > 1 => *left -= 1,
            Some(_) => self.succeed(),
        }
    }

    /// A request has been sent that is no part of an authentication.
    pub fn request_sent(&mut self) {
        if self
            .exchange
            .is_some_and(|exchange| exchange.answers_left.is_none())
        {
            self.succeed();
        }
    }

    fn succeed(&mut self) {
        self.exchange = None;
        self.has_succeeded = true;
    }

    /// Whether an exchange is under way: requests are limited in size until it ends.
    pub fn is_under_way(&self) -> bool {
        self.exchange.is_some()
    }

    /// Whether the client has authenticated at least once.
    pub fn has_succeeded(&self) -> bool {
        self.has_succeeded
    }

    /// Says what the client's next frame is: of `frame_bytes`, of which `bytes` have arrived.
    /// `None`: more are needed.
    pub fn next(&mut self, bytes: &[u8], frame_bytes: usize) -> Option<Next> {
        let Some(exchange) = self.exchange.as_mut().filter(|exchange| exchange.is_raw) else {
            return Some(Next::Request);
        };
        match &mut exchange.tokens_left {
            Some(0) => return Some(Next::Request),
            Some(left) => *left -= 1,
            None if bytes.len() < frame_bytes.min(header::API_BYTES) => return None,
            None if is_request(bytes) => return Some(Next::Request),
            None => {}
        }
        Some(Next::RawToken {
            is_answered: exchange.tokens_left.is_some() || !bytes.starts_with(&[5, 4]),
        })
    }
}

/// Whether a frame begins with an api key and a version that exist. GSSAPI tokens begin with 0x60
/// or 0x0504.
fn is_request(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.first_chunk::<{ header::API_BYTES }>() else {
        return false;
    };
    let version = i16::from_be_bytes([c, d]);
    table::api(i16::from_be_bytes([a, b]))
        .is_some_and(|api| (0..=api.versions.max).contains(&version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: [u8; 10] = [0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff];

    #[test]
    fn plain_after_a_v0_handshake_is_one_raw_token() {
        let mut sasl = Sasl::default();
        sasl.handshake_sent(0, b"PLAIN");
        sasl.handshake_answered(0);
        assert_eq!(
            sasl.next(b"\0alice\0secret", 13),
            Some(Next::RawToken { is_answered: true })
        );
        assert!(sasl.is_under_way());
        sasl.token_answered(0);
        assert_eq!((sasl.is_under_way(), sasl.has_succeeded()), (false, true));
        assert_eq!(sasl.next(&METADATA, METADATA.len()), Some(Next::Request));
    }

    #[test]
    fn scram_succeeds_with_the_second_answer_and_not_with_the_first() {
        let mut sasl = Sasl::default();
        sasl.handshake_sent(1, b"SCRAM-SHA-256");
        sasl.handshake_answered(0);
        assert_eq!(sasl.next(&METADATA, METADATA.len()), Some(Next::Request));
        sasl.token_answered(0);
        assert!(!sasl.has_succeeded());
        sasl.token_answered(0);
        assert!(sasl.has_succeeded());
    }

    #[test]
    fn gssapi_tokens_end_with_the_first_kafka_request() {
        let mut sasl = Sasl::default();
        sasl.handshake_sent(0, b"GSSAPI");
        sasl.handshake_answered(0);
        assert_eq!(sasl.next(&[0x60, 0x82], 500), None);
        assert_eq!(
            sasl.next(&[0x60, 0x82, 1, 1], 500),
            Some(Next::RawToken { is_answered: true })
        );
        assert_eq!(
            sasl.next(&[], 0),
            Some(Next::RawToken { is_answered: true })
        );
        assert_eq!(
            sasl.next(&[5, 4, 4, 0xff], 60),
            Some(Next::RawToken { is_answered: false })
        );
        assert_eq!(sasl.next(&METADATA, METADATA.len()), Some(Next::Request));
        sasl.request_sent();
        assert!(sasl.has_succeeded());
    }

    #[test]
    fn a_refused_mechanism_or_token_ends_the_exchange_without_success() {
        let mut sasl = Sasl::default();
        sasl.handshake_sent(1, b"PLAIN");
        sasl.handshake_answered(33);
        assert!(!sasl.is_under_way());
        sasl.handshake_sent(1, b"PLAIN");
        sasl.handshake_answered(0);
        sasl.token_answered(58);
        assert_eq!((sasl.is_under_way(), sasl.has_succeeded()), (false, false));
    }
}
