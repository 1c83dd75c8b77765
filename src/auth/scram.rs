//! The client's side of SCRAM (RFC 5802) with SHA-256 (RFC 7677) or SHA-512, as Kafka speaks it:
//! no channel binding, no SASLprep, `,` and `=` in user names escaped.

use super::{AuthError, Secret};
use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// The length of a nonce before it is written in base64.
pub(crate) const NONCE_BYTES: usize = 18;

/// Kafka's own default is 4,096 and its maximum 16,384; what is far above would keep this side busy
/// for minutes.
pub(super) const ITERATIONS_MAX: u32 = 1_000_000;

/// More than a broker's token ever has: it holds a nonce, a salt and a number.
const TOKEN_BYTES_MAX: usize = 4_096;

/// How much of the broker's own word for an error is kept.
const REASON_CHARS_MAX: usize = 200;

/// The header of a client that binds no channel, and the same in base64.
const GS2_HEADER: &str = "n,,";
const GS2_HEADER_BASE64: &str = "biws";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        hmac::sign(&hmac::Key::new(self.hmac(), key), text)
    }
}

/// Where the exchange is.
pub(super) enum Scram {
    /// The first token is out; the broker's challenge is to come.
    Challenge {
        hash: Hash,
        password: Secret,
        nonce: String,
        /// The first token without its header: a part of what both sides sign.
        first: String,
    },
    /// The proof is out; the broker's own proof is to come.
    Verdict {
        hash: Hash,
        /// Signs `signed` as the broker has to.
        server_key: Zeroizing<Vec<u8>>,
        signed: String,
    },
}

impl fmt::Debug for Scram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Challenge { .. } => "Challenge",
            Self::Verdict { .. } => "Verdict",
        })
    }
}

impl Scram {
    pub(super) fn begin(
        hash: Hash,
        user: &str,
        password: &Secret,
        nonce: [u8; NONCE_BYTES],
    ) -> (Self, Vec<u8>) {
        Self::begin_with(hash, user, password, BASE64.encode(nonce))
    }

    /// With a nonce as it is written: any printable text without a comma.
    pub(super) fn begin_with(
        hash: Hash,
        user: &str,
        password: &Secret,
        nonce: String,
    ) -> (Self, Vec<u8>) {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        let token = format!("{GS2_HEADER}{first}").into_bytes();
        let password = password.clone();
        let scram = Self::Challenge {
            hash,
            password,
            nonce,
            first,
        };
        (scram, token)
    }

    /// The next state and token; `None` when the broker has proved itself and all is over.
    pub(super) fn answer(self, token: &[u8]) -> Result<Option<(Self, Vec<u8>)>, AuthError> {
        let text = Some(token)
            .filter(|token| token.len() <= TOKEN_BYTES_MAX)
            .and_then(|token| std::str::from_utf8(token).ok())
            .ok_or(AuthError::Malformed("it is no short text"))?;
        if let Some(reason) = text.strip_prefix("e=") {
            let reason = reason.chars().filter(|c| !c.is_control());
            return Err(AuthError::Refused(reason.take(REASON_CHARS_MAX).collect()));
        }
        match self {
            Self::Challenge {
                hash,
                password,
                nonce,
                first,
            } => {
                let challenge = Challenge::read(text, &nonce)?;
                prove(hash, &password, &first, text, &challenge).map(Some)
            }
            Self::Verdict {
                hash,
                server_key,
                signed,
            } => {
                let given = attribute(text.split(',').next(), "v=")
                    .and_then(|value| BASE64.decode(value).ok())
                    .ok_or(AuthError::Malformed("it has no signature"))?;
                let key = hmac::Key::new(hash.hmac(), &server_key);
                hmac::verify(&key, signed.as_bytes(), &given)
                    .map_err(|_| AuthError::NotTheBroker)?;
                Ok(None)
            }
        }
    }
}

/// What the broker sets: `r=NONCE,s=SALT,i=ITERATIONS`, extensions behind it.
struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: NonZeroU32,
}

impl<'a> Challenge<'a> {
    fn read(text: &'a str, own_nonce: &str) -> Result<Self, AuthError> {
        let mut attributes = text.split(',');
        let nonce = attribute(attributes.next(), "r=").ok_or(AuthError::Malformed("no nonce"))?;
        // A nonce that does not go on from ours is an answer to somebody else.
        if nonce.len() <= own_nonce.len() || !nonce.starts_with(own_nonce) {
            return Err(AuthError::Malformed("its nonce does not go on from ours"));
        }
        let salt = attribute(attributes.next(), "s=")
            .and_then(|value| BASE64.decode(value).ok())
            .ok_or(AuthError::Malformed("no salt"))?;
        let iterations = attribute(attributes.next(), "i=")
            .and_then(|value| value.parse::<NonZeroU32>().ok())
            .ok_or(AuthError::Malformed("no number of iterations"))?;
        if iterations.get() > ITERATIONS_MAX {
            return Err(AuthError::TooManyIterations(iterations.get()));
        }
        Ok(Self {
            nonce,
            salt,
            iterations,
        })
    }
}

fn attribute<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part.and_then(|part| part.strip_prefix(name))
}

/// The client's proof, and what the broker's has to be (RFC 5802, section 3).
fn prove(
    hash: Hash,
    password: &Secret,
    first: &str,
    challenge_text: &str,
    challenge: &Challenge<'_>,
) -> Result<(Scram, Vec<u8>), AuthError> {
    let mut salted = Zeroizing::new(vec![0; hash.digest().output_len()]);
    pbkdf2::derive(
        hash.pbkdf2(),
        challenge.iterations,
        &challenge.salt,
        password.expose().as_bytes(),
        &mut salted,
    );
    let without_proof = format!("c={GS2_HEADER_BASE64},r={}", challenge.nonce);
    let signed = format!("{first},{challenge_text},{without_proof}");
    let client_key = hash.sign(&salted, b"Client Key");
    let stored_key = digest::digest(hash.digest(), client_key.as_ref());
    let signature = hash.sign(stored_key.as_ref(), signed.as_bytes());
    let pairs = client_key.as_ref().iter().zip(signature.as_ref());
    let proof: Vec<u8> = pairs.map(|(key, signature)| key ^ signature).collect();
    let token = format!("{without_proof},p={}", BASE64.encode(proof));
    let server_key = Zeroizing::new(hash.sign(&salted, b"Server Key").as_ref().to_vec());
    let verdict = Scram::Verdict {
        hash,
        server_key,
        signed,
    };
    Ok((verdict, token.into_bytes()))
}
