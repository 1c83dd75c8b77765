//! How a listener's addresses stand for brokers, in both directions, as a pure function of its
//! configuration.
//!
//! `identify(advertise(node)) == node` for every node id that has an address: every replica of
//! Narrows gives the same answer, before the first client connects. (With `single` nothing but what
//! a client asks says which broker it means.) One file per scheme.

pub(crate) mod port;
pub(crate) mod single;
pub(crate) mod sni;

use crate::types::{AdvertisedAddress, NodeId, Target};
use std::net::SocketAddr;

pub use port::{NodeIdRanges, PortScheme};
pub use single::SingleScheme;
pub use sni::SniScheme;

/// How the brokers of one listener are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// One port per broker.
    Port(PortScheme),
    /// One TLS server name per broker.
    Sni(SniScheme),
    /// One address for all brokers: what a client asks says which one it means.
    Single(SingleScheme),
}

/// What clients are told for one node id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// The address that leads to this broker.
    Mapped(AdvertisedAddress),
    /// The node id has no address here: this one leads nowhere, so that the broker's own does not
    /// get out.
    Unmapped(AdvertisedAddress),
}

impl Advertised {
    /// The address to write on the wire.
    pub(crate) fn address(&self) -> &AdvertisedAddress {
        match self {
            Self::Mapped(address) | Self::Unmapped(address) => address,
        }
    }
}

/// One socket that a listener needs, and whom the connections on it are meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bind {
    /// Where to listen.
    pub address: SocketAddr,
    /// Which broker a connection to it is meant for; `None` where its TLS server name says it.
    pub(crate) target: Option<Target>,
}

impl Scheme {
    /// The address that clients are told for `node`.
    pub fn advertise(&self, node: NodeId) -> Advertised {
        match self {
            Self::Port(scheme) => scheme.advertise(node),
            Self::Sni(scheme) => scheme.advertise(node),
            Self::Single(scheme) => scheme.advertise(node),
        }
    }

    /// Whether a connection's address says nothing about the broker that it is meant for.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self, Self::Single(_))
    }

    /// The names, where they tell brokers apart.
    pub(crate) fn sni(&self) -> Option<&SniScheme> {
        if let Self::Sni(scheme) = self {
            Some(scheme)
        } else {
            None
        }
    }

    /// Where clients begin: what they have in `bootstrap.servers`, unless something in front of
    /// Narrows has another name or port.
    pub(crate) fn bootstrap(&self) -> AdvertisedAddress {
        match self {
            Self::Port(scheme) => scheme.bootstrap(),
            Self::Sni(scheme) => AdvertisedAddress {
                host: scheme.bootstrap_host().into(),
                port: scheme.advertised_port(),
            },
            Self::Single(scheme) => scheme.bootstrap(),
        }
    }

    /// Every socket that this listener binds, the bootstrap one first.
    pub fn binds(&self) -> Vec<Bind> {
        match self {
            Self::Port(scheme) => scheme.binds(),
            Self::Sni(scheme) => scheme.binds(),
            Self::Single(scheme) => scheme.binds(),
        }
    }
}

/// The address of a node id that the configuration has no place for: a name that never resolves
/// (RFC 6761, section 6.4) and that says in the client's own log what is wrong.
pub(crate) fn nowhere(node: NodeId) -> AdvertisedAddress {
    AdvertisedAddress {
        host: format!("node-{node}-is-not-in-node-ids.narrows.invalid").into(),
        port: 1,
    }
}
