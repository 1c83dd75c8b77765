//! Logging in at a broker as a client does: SASL PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677)
//! as tokens in and tokens out, without a socket, a clock or randomness of its own.
//!
//! [`Login::begin`] gives the first token; whoever carries tokens hands the broker's answer to
//! [`Login::answer`], and sends what that returns until it says that the login is over. What the
//! broker sends is bounded and never trusted: it must show that it knows the password too.

mod scram;
mod secret;

pub(crate) use scram::NONCE_BYTES;
pub use secret::Secret;

use scram::{Hash, Scram};
use std::fmt;
use std::str::FromStr;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// User and password as they are: safe only inside of TLS.
    Plain,
    /// Salted challenge and response with SHA-256.
    ScramSha256,
    /// The same with SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// All that are spoken here.
    pub(crate) const ALL: [Self; 3] = [Self::Plain, Self::ScramSha256, Self::ScramSha512];

    /// Its name in SaslHandshake and in `sasl.mechanism`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = AuthError;

    /// Reads the name in any case.
    fn from_str(text: &str) -> Result<Self, AuthError> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or(AuthError::UnknownMechanism)
    }
}

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// How.
    pub mechanism: Mechanism,
    /// Who.
    pub user: String,
    /// The proof.
    pub password: Secret,
}

/// Why a login can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Not one of [`Mechanism::ALL`].
    #[error("the mechanism is none of PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")]
    UnknownMechanism,
    /// PLAIN separates user and password by a zero byte (RFC 4616).
    #[error("a user name or a password with a zero byte can't be sent by PLAIN")]
    ZeroByte,
    /// The broker's token is not what RFC 5802 says it is.
    #[error("the broker's answer is not what SCRAM says it must be: {0}")]
    Malformed(&'static str),
    /// More work than any broker may ask for.
    #[error(
        "the broker asks for {0} iterations, more than the {max} that are done here",
        max = scram::ITERATIONS_MAX
    )]
    TooManyIterations(u32),
    /// The broker says no, in its own word.
    #[error("the broker refused the login: {0}")]
    Refused(String),
    /// The broker did not show that it knows the password.
    #[error(
        "the broker did not prove that it knows the password: it may be somebody else, to whom \
         nothing was given away"
    )]
    NotTheBroker,
}

/// What follows from the broker's answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// Send this token and wait for its answer.
    Send(Login, Vec<u8>),
    /// The login is over: it has succeeded.
    Done,
}

/// A login that waits for the broker's next token.
#[derive(Debug)]
pub(crate) struct Login(State);

#[derive(Debug)]
enum State {
    Plain,
    Scram(Box<Scram>),
}

impl Login {
    /// Begins, and gives the first token. `nonce` must never have been used before; PLAIN needs
    /// none.
    pub(crate) fn begin(
        credentials: &Credentials,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<(Self, Vec<u8>), AuthError> {
        let hash = match credentials.mechanism {
            Mechanism::Plain => return Ok((Self(State::Plain), plain(credentials)?)),
            Mechanism::ScramSha256 => Hash::Sha256,
            Mechanism::ScramSha512 => Hash::Sha512,
        };
        let (scram, first) = Scram::begin(hash, &credentials.user, &credentials.password, nonce);
        Ok((Self(State::Scram(Box::new(scram))), first))
    }

    /// What to do about the broker's token.
    pub(crate) fn answer(self, token: &[u8]) -> Result<Step, AuthError> {
        match self.0 {
            // Whatever a broker says to PLAIN beside success does not count.
            State::Plain => Ok(Step::Done),
            State::Scram(scram) => match scram.answer(token)? {
                Some((scram, token)) => Ok(Step::Send(Self(State::Scram(Box::new(scram))), token)),
                None => Ok(Step::Done),
            },
        }
    }
}

/// No authorization identity, user, password (RFC 4616).
fn plain(credentials: &Credentials) -> Result<Vec<u8>, AuthError> {
    let (user, password) = (&credentials.user, credentials.password.expose());
    if user.contains('\0') || password.contains('\0') {
        return Err(AuthError::ZeroByte);
    }
    Ok([b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat())
}

#[cfg(test)]
mod tests;
