//! Scheme `single`: every broker behind one `host:port`, without TLS and without server names.
//!
//! The address says nothing about the broker: the session finds out by what the client asks
//! ([`crate::session`]). Node ids stay the brokers' own, so that clients, which tell connections
//! apart by node id, open one for each broker. Some tell them apart by `host:port` instead: for
//! them the host can be a pattern with `{node_id}`, names under one wildcard record that all lead
//! here.

use super::sni::PLACEHOLDER;
use super::{Advertised, Bind};
use crate::types::{AdvertisedAddress, NodeId, Target};
use std::net::SocketAddr;
use std::sync::Arc;

/// What stands in a pattern's place for the node id in the name that clients begin with: no node
/// has it, so that a client never takes its first connection for one to a broker.
const BOOTSTRAP: &str = "bootstrap";

/// One listener's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleScheme {
    bind: SocketAddr,
    host: Host,
    advertised_port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// The same for every broker.
    One(Arc<str>),
    /// A name for each broker: what stands before the node id, and behind it.
    Each(Arc<str>, Arc<str>),
}

/// Why this address can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SingleSchemeError {
    /// The pattern has the placeholder more than once.
    #[error("{PLACEHOLDER} stands {0} times in it: write it once, or leave it out")]
    Placeholder(usize),
    /// Nobody can dial port 0.
    #[error(
        "0 is no port that a client can dial: set advertised_port to the one that clients reach"
    )]
    AdvertisedPort,
}

impl SingleScheme {
    /// `advertised_host` is a host, or a pattern with one [`PLACEHOLDER`].
    pub fn new(
        bind: SocketAddr,
        advertised_host: &str,
        advertised_port: u16,
    ) -> Result<Self, SingleSchemeError> {
        let host = match (
            advertised_host.matches(PLACEHOLDER).count(),
            advertised_host.split_once(PLACEHOLDER),
        ) {
            (1, Some((before, after))) => Host::Each(before.into(), after.into()),
            (0, _) => Host::One(advertised_host.into()),
            (count, _) => return Err(SingleSchemeError::Placeholder(count)),
        };
        if advertised_port == 0 {
            return Err(SingleSchemeError::AdvertisedPort);
        }
        Ok(Self {
            bind,
            host,
            advertised_port,
        })
    }

    /// The host that clients are told, with the placeholder if each broker has its own.
    pub(crate) fn pattern(&self) -> String {
        self.host_for(PLACEHOLDER)
    }

    /// Whether every broker is called the same.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.host, Host::One(_))
    }

    pub(super) fn advertise(&self, node: NodeId) -> Advertised {
        Advertised::Mapped(self.address(&node.to_string()))
    }

    /// What clients have in `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> AdvertisedAddress {
        self.address(BOOTSTRAP)
    }

    pub(super) fn binds(&self) -> Vec<Bind> {
        vec![Bind {
            address: self.bind,
            target: Some(Target::Bootstrap),
        }]
    }

    fn address(&self, node: &str) -> AdvertisedAddress {
        AdvertisedAddress {
            host: self.host_for(node).into(),
            port: self.advertised_port,
        }
    }

    fn host_for(&self, node: &str) -> String {
        match &self.host {
            Host::One(host) => host.to_string(),
            Host::Each(before, after) => format!("{before}{node}{after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scheme(host: &str) -> Result<SingleScheme, SingleSchemeError> {
        SingleScheme::new(SocketAddr::from(([0, 0, 0, 0], 9092)), host, 19092)
    }

    #[test]
    fn every_broker_has_the_one_address() {
        let scheme = scheme("kafka.example.com").unwrap();
        for node in [0, 7, i32::MAX] {
            let address = scheme.advertise(NodeId(node));
            assert_eq!(address.address().to_string(), "kafka.example.com:19092");
        }
        assert_eq!(scheme.bootstrap().to_string(), "kafka.example.com:19092");
        assert!(scheme.is_shared());
    }

    #[test]
    fn a_pattern_gives_each_broker_a_name_and_the_bootstrap_one_that_no_broker_has() {
        let scheme = scheme("b{node_id}.kafka.example.com").unwrap();
        let address = scheme.advertise(NodeId(12));
        assert_eq!(address.address().to_string(), "b12.kafka.example.com:19092");
        let bootstrap = scheme.bootstrap().to_string();
        assert_eq!(bootstrap, "bbootstrap.kafka.example.com:19092");
        assert!(!scheme.is_shared());
    }

    #[test]
    fn an_address_that_can_not_be_is_refused() {
        let twice = scheme("b{node_id}.{node_id}.example.com");
        assert_eq!(twice, Err(SingleSchemeError::Placeholder(2)));
        let bind = SocketAddr::from(([0, 0, 0, 0], 0));
        let no_port = SingleScheme::new(bind, "kafka", 0);
        assert_eq!(no_port, Err(SingleSchemeError::AdvertisedPort));
    }

    #[test]
    fn it_binds_one_port_on_which_any_broker_may_be_meant() {
        let binds = scheme("kafka").unwrap().binds();
        let bind = Bind {
            address: SocketAddr::from(([0, 0, 0, 0], 9092)),
            target: Some(Target::Bootstrap),
        };
        assert_eq!(binds, [bind]);
    }
}
