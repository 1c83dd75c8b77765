//! The name under which Narrows asks brokers, by which it recognises itself.
//!
//! A broker that advertises an address of Narrows', or a balancer that leads back to it, makes
//! Narrows its own client: each connection opens another one until no descriptor is left. No list
//! of addresses shows that (balancers, wildcard names, a second Narrows in between), so that the
//! name is in the client id of everything that Narrows asks: `narrows-` and what was drawn when
//! this process started. Whoever asks for a client that is a Narrows itself appends that one's name
//! to its own, as HTTP does with `Via`: in a ring of several, each sees its own name come back.

use std::sync::LazyLock;

const PREFIX: &str = "narrows-";
/// More instances of Narrows than this in a row are taken for a ring.
const NAMES_MAX: usize = 4;

static INSTANCE: LazyLock<String> =
    LazyLock::new(|| format!("{PREFIX}{:012x}", fastrand::u64(..1 << 48)));

/// The client id of Narrows' own requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OwnName(Vec<u8>);

impl OwnName {
    /// For what Narrows asks on its own account.
    pub(crate) fn plain() -> Self {
        Self(INSTANCE.as_bytes().to_vec())
    }

    /// For what Narrows asks to serve a client that says to be `client_id`.
    pub(crate) fn on_behalf_of(client_id: Option<&[u8]>) -> Self {
        let mut name = Self::plain();
        if let Some(other) = client_id.filter(|id| id.starts_with(PREFIX.as_bytes())) {
            name.0.push(b',');
            name.0.extend_from_slice(other);
        }
        name
    }

    /// As it stands in a request's header.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether a request with this client id is one of this process, or has passed so many instances of
/// Narrows that it goes round in a ring.
pub(crate) fn is_own(client_id: &[u8]) -> bool {
    client_id.starts_with(PREFIX.as_bytes())
        && (client_id.split(|byte| *byte == b',').count() > NAMES_MAX
            || client_id
                .split(|byte| *byte == b',')
                .any(|name| name == INSTANCE.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrows_knows_its_own_name_alone_and_behind_those_of_others() {
        assert!(is_own(OwnName::plain().as_bytes()));
        let other = b"narrows-000000000000x";
        assert!(!is_own(other));
        let behind = [other, &b","[..], OwnName::plain().as_bytes()].concat();
        assert!(is_own(&behind));
    }

    #[test]
    fn clients_of_other_names_are_not_own_and_leave_no_trace_in_the_name() {
        for client_id in [
            &b"narrows"[..],
            b"rdkafka",
            b"",
            b"my-narrows-000000000000",
            b"narrows-",
        ] {
            assert!(!is_own(client_id), "{client_id:?}");
        }
        assert_eq!(OwnName::on_behalf_of(Some(b"rdkafka")), OwnName::plain());
        assert_eq!(OwnName::on_behalf_of(None), OwnName::plain());
    }

    #[test]
    fn a_chain_of_more_instances_than_anybody_builds_is_a_ring() {
        let mut name = b"narrows-0".to_vec();
        for _ in 1..NAMES_MAX {
            name.extend_from_slice(b",narrows-0");
        }
        assert!(!is_own(&name));
        assert!(is_own(OwnName::on_behalf_of(Some(&name)).as_bytes()));
        assert!(is_own(&[&name[..], b",narrows-0"].concat()));
    }
}
