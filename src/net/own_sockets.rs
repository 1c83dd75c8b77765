//! The sockets that Narrows itself listens on, so that it never dials one.

use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Every address that a listener is bound to now.
#[derive(Debug, Default)]
pub(crate) struct OwnSockets {
    bound: ArcSwap<BTreeSet<SocketAddr>>,
}

impl OwnSockets {
    /// From now on these are bound.
    pub(crate) fn set(&self, bound: BTreeSet<SocketAddr>) {
        self.bound.store(bound.into());
    }

    /// Whether a connection to `peer` would arrive at one of them. What lies behind a balancer or a
    /// translated address does not show here; see [`own_name`](crate::broker::own_name).
    pub(crate) fn leads_back(&self, peer: SocketAddr) -> bool {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let bound = self.bound.load();
        let is_everywhere = || {
            let v4 = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), peer.port());
            let v6 = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), peer.port());
            // A socket on [::] takes IPv4 as well.
            bound.contains(&v6) || (peer.is_ipv4() && bound.contains(&v4))
        };
        bound.contains(&peer) || (is_everywhere() && is_local(peer.ip()))
    }
}

/// Whether an address is one of this host: the system gives the way to itself that very address as
/// its beginning. No packet is sent.
fn is_local(ip: IpAddr) -> bool {
    if ip.is_loopback() || ip.is_unspecified() {
        return true;
    }
    let any: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    from().is_ok_and(|from| from.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(addresses: &[&str]) -> OwnSockets {
        let own = OwnSockets::default();
        own.set(addresses.iter().map(|text| text.parse().unwrap()).collect());
        own
    }

    #[test]
    fn a_bound_address_leads_back_and_its_neighbours_do_not() {
        let own = bound(&["127.0.0.1:9092"]);
        assert!(own.leads_back("127.0.0.1:9092".parse().unwrap()));
        assert!(own.leads_back("[::ffff:127.0.0.1]:9092".parse().unwrap()));
        for other in ["127.0.0.1:9093", "127.0.0.2:9092", "[::1]:9092"] {
            assert!(!own.leads_back(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn a_port_bound_everywhere_leads_back_from_every_address_of_this_host() {
        let own = bound(&["0.0.0.0:9092"]);
        for address in ["127.0.0.1:9092", "127.3.2.1:9092", "0.0.0.0:9092"] {
            assert!(own.leads_back(address.parse().unwrap()), "{address}");
        }
        // Addresses for documentation (RFC 5737) belong to no host.
        for address in ["127.0.0.1:9093", "192.0.2.1:9092"] {
            assert!(!own.leads_back(address.parse().unwrap()), "{address}");
        }
    }
}
