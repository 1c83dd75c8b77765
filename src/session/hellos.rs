//! The TLS hellos of the connections that are carried on unread, to recognise one that comes back.
//!
//! Nobody can add a name to such a connection, as Narrows does to what it asks
//! ([`own_name`](crate::broker::own_name)). But every hello has 32 bytes of its own (RFC 8446,
//! section 4.1.2): one that comes in while it is being carried out has gone round through a
//! balancer or through another Narrows, and would do so until no descriptor is left.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where the random bytes stand: behind the header of the record, type and length of the message,
/// and the version.
const RANDOM_AT: usize = 5 + 4 + 2;
const RANDOM_BYTES: usize = 32;

type Random = [u8; RANDOM_BYTES];

/// The hellos; clones are the same ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct CarriedHellos(Arc<Mutex<HashSet<Random>>>);

/// One of them, for as long as this lives.
#[derive(Debug)]
pub(super) struct CarriedHello {
    random: Random,
    of: CarriedHellos,
}

impl CarriedHellos {
    /// Notes the hello that a connection begins with; `None` if it is being carried already.
    pub(super) fn carry(&self, hello: &[u8]) -> Option<CarriedHello> {
        let random = hello.get(RANDOM_AT..)?.first_chunk::<RANDOM_BYTES>()?;
        self.lock().insert(*random).then(|| CarriedHello {
            random: *random,
            of: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Random>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CarriedHello {
    fn drop(&mut self) {
        self.of.lock().remove(&self.random);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_is_known_as_long_as_it_is_carried_and_by_its_random_bytes_alone() {
        let hellos = CarriedHellos::default();
        let hello = |random: u8, rest: &[u8]| {
            let random = [random; RANDOM_BYTES];
            [b"\x16\x03\x01\0\x50\x01\0\0\x4c\x03\x03", &random[..], rest].concat()
        };
        let first = hellos.carry(&hello(1, b"rest"));
        assert!(first.is_some());
        assert!(hellos.carry(&hello(1, b"another")).is_none());
        assert!(hellos.carry(&hello(2, b"rest")).is_some());
        drop(first);
        assert!(hellos.carry(&hello(1, b"rest")).is_some());
        assert!(hellos.lock().is_empty());
    }
}
