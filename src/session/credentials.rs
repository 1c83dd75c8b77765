//! A client's login, kept for as long as it may have to be said once more: to the broker that the
//! client means, when it has logged in at another one (scheme `single`).
//!
//! A client that names its broker does so behind its login (Kafka 4.4.0), and one that doesn't name
//! it asks for something behind its login. By then some broker has proved who it is. A PLAIN or
//! OAUTHBEARER login is the same at every broker, and is said again, once, to the one that is
//! meant. A SCRAM login is made for one connection. Whose login can't be repeated is closed between
//! two requests, and comes again: then the broker is known from the beginning ([`Expected`]).

use crate::types::NodeId;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
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

/// How long a client may take to come again: librdkafka waits up to 10 s between two attempts.
const COMES_WITHIN: Duration = Duration::from_secs(15);
/// More sources are not remembered, and not more brokers for one of them.
const SOURCES_MAX: usize = 10_000;
const WANTED_MAX: usize = 100;

/// Which brokers the next connections of a source are meant for, as far as closed ones have said.
///
/// A client has several connections, and nothing tells which one comes again. The one that was
/// closed last is the likeliest. What it is given may be wrong; then it is closed again, says anew
/// what it wants, and the others' wishes still stand.
#[derive(Debug, Default)]
pub(super) struct Awaited {
    sources: Mutex<HashMap<IpAddr, VecDeque<(NodeId, Instant)>>>,
}

impl Awaited {
    /// A connection from `source` for this broker is about to come again.
    pub(super) fn note(&self, source: IpAddr, node: NodeId, now: Instant) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= SOURCES_MAX {
            sources.retain(|_, wanted| wanted.iter().any(|(_, since)| is_due(*since, now)));
        }
        if sources.len() >= SOURCES_MAX && !sources.contains_key(&source) {
            return;
        }
        let wanted = sources.entry(source).or_default();
        wanted.retain(|(other, _)| *other != node);
        wanted.push_front((node, now));
        wanted.truncate(WANTED_MAX);
    }

    /// The broker that a new connection from `source` is probably meant for. The next one is given
    /// another, if there is one.
    pub(super) fn take(&self, source: IpAddr, now: Instant) -> Option<NodeId> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = sources.get_mut(&source)?;
        wanted.retain(|(_, since)| is_due(*since, now));
        let Some(first) = wanted.pop_front() else {
            sources.remove(&source);
            return None;
        };
        wanted.push_back(first);
        Some(first.0)
    }
}

fn is_due(since: Instant, now: Instant) -> bool {
    now.duration_since(since) < COMES_WITHIN
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

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

    #[test]
    fn who_was_closed_last_is_expected_first_and_the_others_behind() {
        let awaited = Awaited::default();
        let start = Instant::now();
        awaited.note(SOURCE, NodeId(2), start);
        awaited.note(SOURCE, NodeId(3), start);
        let take = |now| awaited.take(SOURCE, now);
        assert_eq!(take(start), Some(NodeId(3)));
        assert_eq!(take(start), Some(NodeId(2)));
        awaited.note(SOURCE, NodeId(2), start);
        assert_eq!(take(start), Some(NodeId(2)), "it has said so again");
    }

    #[test]
    fn who_does_not_come_in_time_is_forgotten() {
        let awaited = Awaited::default();
        let start = Instant::now();
        awaited.note(SOURCE, NodeId(2), start);
        awaited.note(SOURCE, NodeId(3), start + COMES_WITHIN / 2);
        let later = start + COMES_WITHIN;
        assert_eq!(awaited.take(SOURCE, later), Some(NodeId(3)));
        assert_eq!(
            awaited.take(SOURCE, later),
            Some(NodeId(3)),
            "2 is too late"
        );
        assert_eq!(awaited.take(SOURCE, later + COMES_WITHIN), None);
        assert!(awaited.sources.lock().unwrap().is_empty());
    }
}
