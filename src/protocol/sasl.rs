//! Follows a SASL authentication that passes through, as far as framing depends on it.
//!
//! SaslHandshake v1 is followed by SaslAuthenticate requests; v0 by raw tokens, frames without any
//! Kafka header, in both directions (KIP-43, KIP-152). Brokers up to 3.9 also take a raw GSSAPI
//! token as the very first frame, without a handshake, as clients of Kafka 0.9 send it and sarama
//! by default. A connection may authenticate again (KIP-368), with requests in flight.
//!
//! A frame that passes as a token is not looked into, and neither is its answer. If the broker took
//! it for a request, a client could send what is refused, and be answered with the brokers' own
//! addresses. Three rules rule that out, whatever a client sends:
//!
//! * Raw tokens begin when the **broker has granted** them by its answer to a handshake v0. Until
//!   that answer is there, no further frame of the client is begun; real clients wait for it too.
//! * A frame that **could be a request** is read as one, also among raw tokens. No token of any
//!   mechanism in the field looks like a request, see [`could_be_request`]. If the broker takes it
//!   for a token all the same, its answer has no right correlation id, and the session ends.
//! * **One token at a time**: until a raw token is answered, the next is not begun. Whether the
//!   last token of an unknown mechanism (GSSAPI) is answered is never known beforehand, so nothing
//!   waits for its answer: the client goes on with a request, and from then on responses have
//!   headers.
//!
//! Success follows from the broker's answers as well: PLAIN, SCRAM and OAUTHBEARER have a known
//! course; any other mechanism has succeeded once a request behind it has been answered.

use super::header;
use super::wire::{Malformed, Reader, Unread};

/// Where the authentication on a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sasl {
    /// The handshake that the broker has yet to answer.
    asked: Option<Asked>,
    /// The exchange that it has granted.
    exchange: Option<Exchange>,
    has_succeeded: bool,
    /// How the broker has answered a login, until somebody asks.
    outcome: Option<(Mechanism, Outcome)>,
    /// No frame of the client has been begun.
    is_first: bool,
    /// A frame has come that is not begun before the broker has answered.
    is_held: bool,
}

/// In what form tokens come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As frames of their own.
    Raw,
    /// In SaslAuthenticate requests and responses.
    Framed,
}

/// A SASL mechanism that is in use in the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 4616.
    Plain,
    /// RFC 5802.
    ScramSha256,
    /// The same with another hash.
    ScramSha512,
    /// RFC 7628.
    OauthBearer,
    /// Kerberos.
    Gssapi,
    /// Amazon's own.
    AwsMskIam,
    /// Any other.
    Other,
}

impl Mechanism {
    fn of(name: &[u8]) -> Self {
        match name {
            b"PLAIN" => Self::Plain,
            b"SCRAM-SHA-256" => Self::ScramSha256,
            b"SCRAM-SHA-512" => Self::ScramSha512,
            b"OAUTHBEARER" => Self::OauthBearer,
            b"GSSAPI" => Self::Gssapi,
            b"AWS_MSK_IAM" => Self::AwsMskIam,
            _ => Self::Other,
        }
    }

    /// Its registered name, or `other`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
            Self::Gssapi => "GSSAPI",
            Self::AwsMskIam => "AWS_MSK_IAM",
            Self::Other => "other",
        }
    }
}

/// How a broker has answered a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The client is in.
    Success,
    /// It is not.
    Failure,
    /// The broker does not have the mechanism.
    Unsupported,
}

impl Outcome {
    /// A word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Unsupported => "unsupported",
        }
    }
}

/// How an exchange goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// So many tokens of the client are to come, each of which the broker answers.
    Known(u8),
    /// One token, answered by nothing; an answer with something in it is an error, which the client
    /// acknowledges with another token (RFC 7628, section 3.2.3).
    OauthBearer,
    /// Nobody knows but the two: GSSAPI, AWS_MSK_IAM, and whatever brokers are extended by.
    Unknown,
}

impl Course {
    fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain => Self::Known(1),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => Self::Known(2),
            Mechanism::OauthBearer => Self::OauthBearer,
            Mechanism::Gssapi | Mechanism::AwsMskIam | Mechanism::Other => Self::Unknown,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    form: Form,
    mechanism: Mechanism,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Exchange {
    form: Form,
    mechanism: Mechanism,
    course: Course,
    /// A raw token has been sent and not been answered.
    is_unanswered: bool,
    /// The broker has accepted a token.
    is_accepted: bool,
}

/// What the next frame of the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A Kafka request.
    Request,
    /// A token without a header.
    RawToken {
        /// The broker answers it, or closes. Else it may answer: see [`Sasl::may_be_answered`].
        is_answered: bool,
    },
    /// Not to be begun before the broker has answered what is in flight.
    Held,
}

/// How GSSAPI tokens begin that establish a context (RFC 2743, section 3.1), as the first frame of
/// a connection without a handshake does.
const GSSAPI_TAG: u8 = 0x60;

impl Default for Sasl {
    fn default() -> Self {
        Self {
            asked: None,
            exchange: None,
            has_succeeded: false,
            outcome: None,
            is_first: true,
            is_held: false,
        }
    }
}

impl Sasl {
    /// Says what the client's next frame is: of `frame_bytes`, of which `bytes` have arrived.
    /// `None`: more are needed. To be asked when [`must_wait`](Self::must_wait) is false.
    pub(crate) fn next(&mut self, bytes: &[u8], frame_bytes: usize) -> Option<Next> {
        if self.is_first {
            if bytes.is_empty() && frame_bytes > 0 {
                return None;
            }
            self.is_first = false;
            if bytes.first() == Some(&GSSAPI_TAG) {
                self.exchange = Some(Exchange::begun(Form::Raw, Mechanism::Gssapi));
            }
        }
        let exchange = self.exchange.as_mut();
        let Some(exchange) = exchange.filter(|exchange| exchange.form == Form::Raw) else {
            return Some(Next::Request);
        };
        if bytes.len() < frame_bytes.min(header::API_BYTES) {
            return None;
        }
        if could_be_request(bytes) {
            // The client has had its last token, answered or not: no raw one may follow.
            exchange.form = Form::Framed;
            exchange.is_accepted |= exchange.is_unanswered;
            exchange.is_unanswered = false;
            return Some(Next::Request);
        }
        if exchange.is_unanswered {
            self.is_held = true;
            return Some(Next::Held);
        }
        exchange.is_unanswered = true;
        Some(Next::RawToken {
            is_answered: exchange.course != Course::Unknown,
        })
    }

    /// Whether no frame of the client may be begun before the broker has answered.
    pub(crate) fn must_wait(&self) -> bool {
        let is_raw_asked = self.asked.is_some_and(|asked| asked.form == Form::Raw);
        // What follows an answer that is sure to come is looked at behind it.
        let is_answer_due = self
            .exchange
            .is_some_and(|exchange| exchange.is_unanswered && exchange.course != Course::Unknown);
        self.is_held || is_raw_asked || is_answer_due
    }

    /// Whether a SaslHandshake may be sent now: one that is not answered says how to read the
    /// frames behind it, so there is one at a time. If not, nothing is begun before the answer.
    pub(crate) fn takes_handshake(&mut self) -> bool {
        self.is_held |= self.asked.is_some();
        self.asked.is_none()
    }

    /// A SaslHandshake of `version` for `mechanism` has been sent.
    pub(crate) fn handshake_sent(&mut self, version: i16, mechanism: &[u8]) {
        self.asked = Some(Asked {
            form: if version == 0 {
                Form::Raw
            } else {
                Form::Framed
            },
            mechanism: Mechanism::of(mechanism),
        });
    }

    /// The broker has answered a SaslHandshake.
    pub(crate) fn handshake_answered(&mut self, error: i16) {
        self.is_held = false;
        let asked = self.asked.take();
        if let Some(asked) = asked.filter(|_| error != 0) {
            self.outcome = Some((asked.mechanism, Outcome::Unsupported));
        }
        let granted = asked.filter(|_| error == 0);
        self.exchange = granted.map(|asked| Exchange::begun(asked.form, asked.mechanism));
    }

    /// Whether the broker's next frame, with nothing else in flight, may be a raw token.
    pub(crate) fn may_be_answered(&self) -> bool {
        self.exchange
            .is_some_and(|exchange| exchange.form == Form::Raw && exchange.is_unanswered)
    }

    /// The broker has answered a token, in a SaslAuthenticate or raw; the answer's own token may be
    /// empty.
    pub(crate) fn token_answered(&mut self, error: i16, is_empty: bool) {
        self.is_held = false;
        let Some(exchange) = &mut self.exchange else {
            return;
        };
        exchange.is_unanswered = false;
        exchange.is_accepted = true;
        match &mut exchange.course {
            _ if error != 0 => {
                self.outcome = Some((exchange.mechanism, Outcome::Failure));
                self.exchange = None;
            }
            Course::Known(left) if *left > 1 => *left -= 1,
            Course::Known(_) => self.succeed(),
            Course::OauthBearer if is_empty => self.succeed(),
            // The token was refused: one more comes, and then the broker closes.
            Course::OauthBearer => exchange.course = Course::Unknown,
            Course::Unknown => {}
        }
    }

    /// The broker has answered a request that is no part of an authentication.
    pub(crate) fn request_answered(&mut self) {
        if self.exchange.is_some_and(|exchange| {
            exchange.form == Form::Framed
                && exchange.course == Course::Unknown
                && exchange.is_accepted
        }) {
            self.succeed();
        }
    }

    fn succeed(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            self.outcome = Some((exchange.mechanism, Outcome::Success));
        }
        self.has_succeeded = true;
    }

    /// Whether an authentication has begun that can't be over: then brokers take no other request,
    /// and none as large as usual.
    pub(crate) fn is_incomplete(&self) -> bool {
        let is_known = |exchange: Exchange| exchange.course != Course::Unknown;
        self.asked.is_some() || self.exchange.is_some_and(is_known)
    }

    /// The mechanism of the exchange that is under way.
    pub(crate) fn mechanism(&self) -> Option<Mechanism> {
        self.exchange.map(|exchange| exchange.mechanism)
    }

    /// How the broker has answered a login, once for each.
    pub(crate) fn take_outcome(&mut self) -> Option<(Mechanism, Outcome)> {
        self.outcome.take()
    }

    /// Whether the client has authenticated at least once.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.has_succeeded
    }
}

impl Exchange {
    fn begun(form: Form, mechanism: Mechanism) -> Self {
        Self {
            form,
            mechanism,
            course: Course::of(mechanism),
            is_unanswered: false,
            is_accepted: false,
        }
    }
}

/// The error code in the body of an answer to SaslHandshake.
pub(crate) fn read_error(body: &[u8]) -> Result<i16, Malformed> {
    Reader::whole(body).int16().map_err(Unread::in_whole)
}

/// The error code in an answer to SaslAuthenticate, and whether the broker's token is empty. Of a
/// flexible version, `body` begins with the header's tagged fields.
pub(crate) fn read_answer(body: &[u8], is_flexible: bool) -> Result<(i16, bool), Malformed> {
    let mut reader = Reader::whole(body);
    let mut read = || -> Result<_, Unread> {
        if is_flexible {
            reader.skip_tags()?;
        }
        let error = reader.int16()?;
        reader.string_of(is_flexible)?; // ErrorMessage
        let token = reader.bytes_of(is_flexible)?;
        Ok((error, token.is_none_or(<[u8]>::is_empty)))
    };
    read().map_err(Unread::in_whole)
}

/// The token in the body of a SaslAuthenticate request, if all of it has arrived.
pub(crate) fn read_token(body: &[u8], is_flexible: bool) -> Option<&[u8]> {
    Reader::whole(body).bytes_of(is_flexible).ok().flatten()
}

/// No version of any API is as high, and no third and fourth byte of a token as low.
const VERSIONS_END: i16 = 0x20;

/// Whether a broker could take a frame for a request: by an api key, also one that nobody knows
/// yet, and by a version. Shorter frames than that have no header.
///
/// What tokens have there instead: text (PLAIN, SCRAM, OAUTHBEARER, JSON), of which no byte is
/// below 0x20 but the one NUL in front of PLAIN's user or password; the length or the object
/// identifier of a GSSAPI token (`60 82 ll ll`, `60 ll 06 09`, RFC 2743); flags and a filler of
/// 0xff (`05 04 ff`, RFC 4121).
fn could_be_request(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.first_chunk::<{ header::API_BYTES }>() else {
        return false;
    };
    let api_key = i16::from_be_bytes([a, b]);
    let version = i16::from_be_bytes([c, d]);
    api_key >= 0 && (0..VERSIONS_END).contains(&version)
}

#[cfg(test)]
mod tests;
