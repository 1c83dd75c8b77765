//! Which configuration values are addresses of the cluster's own nodes: DescribeConfigs shows them
//! to whoever may describe a broker, and no client needs them.
//!
//! A value is masked in its place: every byte becomes `*`, so that its length and the frame's stay,
//! and a response of any size flows. It is flagged as sensitive, as brokers flag what they hide, so
//! that tools don't take it for the value.

use std::ops::Range;

/// What takes the place of each byte of a masked value.
pub(super) const MASK: u8 = b'*';
/// True, as Kafka writes it.
pub(super) const TRUE: u8 = 1;

/// Bytes of a frame, counted from its length prefix, each of which is to become another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masked {
    /// Which bytes.
    pub range: Range<usize>,
    /// What each of them becomes.
    pub with: u8,
}

/// No name of a key that brokers have is longer, those of a listener's own keys included.
const NAME_BYTES_MAX: usize = 128;

/// The name of a configuration key, as it arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyName {
    bytes: [u8; NAME_BYTES_MAX],
    length: usize,
}

impl Default for KeyName {
    fn default() -> Self {
        Self {
            bytes: [0; NAME_BYTES_MAX],
            length: 0,
        }
    }
}

impl KeyName {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let end = self.length.saturating_add(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(bytes);
        }
        self.length = end;
    }

    /// Whether the key's value is an address of a node. Of a name that is too long to be looked at,
    /// nobody can say that it is not.
    pub(super) fn is_address(&self) -> bool {
        self.bytes.get(..self.length).is_none_or(is_address)
    }
}

/// Keys of Kafka 3.9 to 4.4, of brokers with ZooKeeper before that, and of what brokers are
/// extended by: their own clients (`remote.log.metadata.common.client.bootstrap.servers`) lead to
/// brokers.
fn is_address(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 8] = [
        b"listeners",
        b"advertised.listeners",
        b"controller.quorum.voters",
        b"controller.quorum.bootstrap.servers",
        b"host.name",
        b"advertised.host.name",
        b"zookeeper.connect",
        b"bootstrap.servers",
    ];
    NAMES.contains(&name) || name.ends_with(b".bootstrap.servers") || name.ends_with(b".listeners")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str, piece: usize) -> KeyName {
        let mut name = KeyName::default();
        text.as_bytes()
            .chunks(piece)
            .for_each(|bytes| name.push(bytes));
        name
    }

    #[test]
    fn keys_whose_values_are_addresses_of_nodes_are_these() {
        let addresses = [
            "listeners",
            "advertised.listeners",
            "controller.quorum.voters",
            "controller.quorum.bootstrap.servers",
            "remote.log.metadata.common.client.bootstrap.servers",
            "zookeeper.connect",
        ];
        let others = [
            "",
            "listener.security.protocol.map",
            "inter.broker.listener.name",
            "controller.listener.names",
            "early.start.listener",
            "log.retention.ms",
            "broker.rack",
            "controller.quorum.voters.x",
        ];
        for piece in [1, 7, 200] {
            for key in addresses {
                assert!(name(key, piece).is_address(), "{key}");
            }
            for key in others {
                assert!(!name(key, piece).is_address(), "{key}");
            }
        }
    }

    #[test]
    fn a_name_that_is_too_long_to_be_looked_at_counts_as_an_address() {
        let length = |length| name(&"x".repeat(length), 50).is_address();
        assert!(!length(NAME_BYTES_MAX));
        assert!(length(NAME_BYTES_MAX + 1));
    }
}
