//! Which client libraries there are, within a bound: whoever connects can name any.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// So many libraries, each in a version, get labels of their own.
const SOFTWARE_MAX: usize = 100;
/// The longest name that means anything: `apache-kafka-java` has 17 characters.
const NAME_BYTES_MAX: usize = 64;
/// The label of all others.
pub(super) const OTHER: &str = "other";

/// What has been seen, of all listeners together.
#[derive(Debug, Default)]
pub(super) struct Software {
    seen: Mutex<HashSet<(Box<str>, Box<str>)>>,
}

impl Software {
    /// The labels of a library and its version as a client has sent them.
    pub(super) fn labels<'a>(&self, name: &'a [u8], version: &'a [u8]) -> (&'a str, &'a str) {
        let (Some(name), Some(version)) = (legal(name), legal(version)) else {
            return (OTHER, OTHER);
        };
        let key = (name.into(), version.into());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SOFTWARE_MAX {
            seen.insert(key);
            return (name, version);
        }
        if seen.contains(&key) {
            (name, version)
        } else {
            (OTHER, OTHER)
        }
    }
}

/// What brokers take (KIP-511): letters, digits, dots and dashes, a letter or digit at both ends.
fn legal(name: &[u8]) -> Option<&str> {
    let is_inner = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let is_legal = name.len() <= NAME_BYTES_MAX
        && name.iter().all(is_inner)
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.last().is_some_and(u8::is_ascii_alphanumeric);
    str::from_utf8(name).ok().filter(|_| is_legal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_libraries_have_a_label_and_the_rest_is_other() {
        let software = Software::default();
        for number in 0..SOFTWARE_MAX {
            let version = number.to_string();
            let labels = software.labels(b"librdkafka", version.as_bytes());
            assert_eq!(labels, ("librdkafka", &*version));
        }
        assert_eq!(software.labels(b"librdkafka", b"100"), (OTHER, OTHER));
        assert_eq!(software.labels(b"librdkafka", b"7"), ("librdkafka", "7"));
    }

    #[test]
    fn a_name_that_no_broker_takes_is_other() {
        let software = Software::default();
        let long = [b'a'; NAME_BYTES_MAX + 1];
        for name in [&b""[..], b"-x", b"x-", b"a b", b"a\n", b"\xff", &long] {
            assert_eq!(software.labels(name, b"1"), (OTHER, OTHER), "{name:?}");
        }
        assert_eq!(
            software.labels(b"apache-kafka-java", b"4.4.0"),
            ("apache-kafka-java", "4.4.0")
        );
    }
}
