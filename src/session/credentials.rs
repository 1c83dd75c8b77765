//! A client's login, kept for as long as it may have to be said once more: to the broker that the
//! client means, when it has logged in at another one (scheme `single`).
//!
//! A client that names its broker does so behind its login (Kafka 4.4.0), and one that doesn't name
//! it asks for something behind its login. By then some broker has proved who it is. A PLAIN or
//! OAUTHBEARER login is the same at every broker, and is said again, once, to the one that is
//! meant. A SCRAM login is made for one connection. Whose login can't be repeated is closed between
//! two requests, and comes again: then the broker is known from the beginning
//! ([`Awaited`](super::awaited::Awaited)).

use std::fmt;
use zeroize::Zeroizing;

/// The frames of a login that any broker takes. Wiped from memory when dropped.
pub(super) struct Credentials {
    frames: [Zeroizing<Vec<u8>>; 2],
}

/// A login that passes.
#[derive(Default)]
pub(super) struct Passing {
    handshake: Option<Vec<u8>>,
    credentials: Option<Credentials>,
}

impl Passing {
    /// The client begins a login by `mechanism`, with this SaslHandshake; the frame without its
    /// length.
    pub(super) fn begins(&mut self, version: i16, mechanism: &[u8], frame: &[u8]) {
        self.credentials = None;
        let is_repeatable = version >= 1 && matches!(mechanism, b"PLAIN" | b"OAUTHBEARER");
        self.handshake = is_repeatable.then(|| framed(frame));
    }

    /// It sends its token, with this SaslAuthenticate.
    pub(super) fn goes_on(&mut self, frame: &[u8]) {
        self.credentials = self.handshake.take().map(|handshake| Credentials {
            frames: [handshake, framed(frame)].map(Zeroizing::new),
        });
    }

    /// What can be said once more. It is gone from here then.
    pub(super) fn take(&mut self) -> Option<Credentials> {
        self.handshake = None;
        self.credentials.take()
    }
}

impl Credentials {
    /// The requests, each with its length in front.
    pub(super) fn requests(&self) -> impl Iterator<Item = &[u8]> {
        self.frames.iter().map(|frame| frame.as_slice())
    }
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
    let mut framed = Vec::with_capacity(4 + frame.len());
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(frame);
    framed
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(masked)")
    }
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passing")
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_by_plain_or_a_token_can_be_said_once_more_and_only_once() {
        for mechanism in [b"PLAIN".as_slice(), b"OAUTHBEARER"] {
            let mut passing = Passing::default();
            passing.begins(1, mechanism, b"handshake");
            assert!(passing.credentials.is_none());
            passing.goes_on(b"token");
            assert!(!format!("{passing:?}").contains("token"));
            let credentials = passing.take().unwrap();
            let requests: Vec<_> = credentials.requests().collect();
            assert_eq!(requests, [&b"\0\0\0\x09handshake"[..], b"\0\0\0\x05token"]);
            assert!(passing.take().is_none());
        }
    }

    #[test]
    fn no_other_login_can() {
        for (version, mechanism) in [
            (1, b"SCRAM-SHA-256".as_slice()),
            (0, b"PLAIN"),
            (1, b"GSSAPI"),
        ] {
            let mut passing = Passing::default();
            passing.begins(version, mechanism, b"handshake");
            passing.goes_on(b"token");
            assert!(passing.take().is_none(), "{mechanism:?} v{version}");
        }
    }
}
