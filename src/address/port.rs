//! Scheme `port`: the local port says which broker a connection is meant for.
//!
//! The bootstrap server has a port of its own; the node ids in `node_ids` get `first_port`,
//! `first_port + 1`, … by their position in the ranges, in the order written.

use super::{Advertised, Bind, nowhere};
use crate::types::{AdvertisedAddress, NodeId, Target};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

/// More brokers than any cluster has, and fewer ports than a host has.
pub(crate) const NODE_IDS_MAX: usize = 10_000;

/// Inclusive ranges of node ids, disjoint, in the order written: `1-3, 1000-1002`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdRanges {
    ranges: Vec<(i32, i32)>,
}

/// Why ranges of node ids can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdRangesError {
    /// Neither `7` nor `1-3`.
    #[error("`{0}` is no range of node ids: write one id (7) or an inclusive range (1-3)")]
    Malformed(String),
    /// The first id is above the last.
    #[error("`{0}` runs backwards: write the smaller id first")]
    Backwards(String),
    /// Two ranges hold the same id.
    #[error("node id {0} stands in two ranges: each id gets one port")]
    Twice(i32),
    /// More ids than [`NODE_IDS_MAX`].
    #[error(
        "{0} node ids are more than the {NODE_IDS_MAX} that one listener can have: each needs a \
         port"
    )]
    TooMany(usize),
    /// No id at all.
    #[error("the list is empty: write at least one node id")]
    Empty,
}

impl NodeIdRanges {
    /// Reads ranges as they are written in the configuration.
    pub fn parse<'a>(items: impl IntoIterator<Item = &'a str>) -> Result<Self, NodeIdRangesError> {
        let ranges = items
            .into_iter()
            .map(parse_range)
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(ranges)
    }

    /// Takes inclusive `(first, last)` pairs of non-negative ids.
    pub fn new(ranges: Vec<(i32, i32)>) -> Result<Self, NodeIdRangesError> {
        if let Some((first, last)) = ranges.iter().find(|(first, last)| first > last) {
            return Err(NodeIdRangesError::Backwards(format!("{first}-{last}")));
        }
        if let Some((first, _)) = ranges.iter().find(|(first, _)| *first < 0) {
            return Err(NodeIdRangesError::Malformed(first.to_string()));
        }
        let mut sorted = ranges.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[1].0 <= pair[0].1) {
            return Err(NodeIdRangesError::Twice(pair[1].0));
        }
        let count = ranges
            .iter()
            .map(|range| len(*range))
            .fold(0usize, usize::saturating_add);
        match count {
            0 => Err(NodeIdRangesError::Empty),
            count if count > NODE_IDS_MAX => Err(NodeIdRangesError::TooMany(count)),
            _ => Ok(Self { ranges }),
        }
    }

    /// How many node ids there are.
    pub(crate) fn count(&self) -> usize {
        self.ranges.iter().map(|range| len(*range)).sum()
    }

    /// The node ids in order, which is the order of their ports.
    pub(crate) fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.ranges
            .iter()
            .flat_map(|(first, last)| (*first..=*last).map(NodeId))
    }

    /// The position of `node`, counted from 0.
    pub(crate) fn position(&self, node: NodeId) -> Option<usize> {
        let mut before = 0;
        for (first, last) in &self.ranges {
            if (*first..=*last).contains(&node.0) {
                return Some(before + len((*first, node.0)) - 1);
            }
            before += len((*first, *last));
        }
        None
    }
}

impl Default for NodeIdRanges {
    /// 0–19: enough for most clusters, and within what a load balancer takes.
    fn default() -> Self {
        Self {
            ranges: vec![(0, 19)],
        }
    }
}

impl fmt::Display for NodeIdRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (first, last)) in self.ranges.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            if first == last {
                write!(f, "{comma}{first}")?
            } else {
                write!(f, "{comma}{first}-{last}")?
            }
        }
        Ok(())
    }
}

fn len((first, last): (i32, i32)) -> usize {
    usize::try_from(i64::from(last) - i64::from(first) + 1).unwrap_or(0)
}

fn parse_range(text: &str) -> Result<(i32, i32), NodeIdRangesError> {
    let malformed = || NodeIdRangesError::Malformed(text.to_owned());
    let id = |part: &str| {
        u32::from_str(part.trim())
            .ok()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(malformed)
    };
    match text.split_once('-') {
        None => id(text).map(|id| (id, id)),
        Some((first, last)) => Ok((id(first)?, id(last)?)),
    }
}

/// One listener's ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortScheme {
    bootstrap: SocketAddr,
    first_port: u16,
    node_ids: NodeIdRanges,
    advertised_host: Arc<str>,
    advertised_port_offset: i32,
}

/// Why these ports can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortSchemeError {
    /// The last broker port would be above 65535.
    #[error(
        "{count} node ids from port {first_port} on end at port {last}, above 65535: lower \
         first_port, or list fewer node_ids"
    )]
    PortsEnd {
        /// The first broker port.
        first_port: u16,
        /// How many node ids there are.
        count: usize,
        /// The port that the last one would get.
        last: usize,
    },
    /// The bootstrap port is one of the broker ports.
    #[error("the bootstrap port {port} is also the port of broker {node}: move first_port or bind")]
    BootstrapClash {
        /// The port that both want.
        port: u16,
        /// The broker whose port it is.
        node: NodeId,
    },
    /// An advertised port would leave 1–65535.
    #[error("advertised_port_offset {offset} turns port {port} into {result}, which is no port")]
    Offset {
        /// The configured offset.
        offset: i32,
        /// The bound port.
        port: u16,
        /// Their sum.
        result: i64,
    },
}

impl PortScheme {
    /// `advertised_port_offset` is added to a broker's bound port to get the advertised one.
    pub fn new(
        bootstrap: SocketAddr,
        first_port: u16,
        node_ids: NodeIdRanges,
        advertised_host: Arc<str>,
        advertised_port_offset: i32,
    ) -> Result<Self, PortSchemeError> {
        let count = node_ids.count();
        let last = usize::from(first_port) + count - 1;
        if last > usize::from(u16::MAX) || first_port == 0 {
            return Err(PortSchemeError::PortsEnd {
                first_port,
                count,
                last,
            });
        }
        let scheme = Self {
            bootstrap,
            first_port,
            node_ids,
            advertised_host,
            advertised_port_offset,
        };
        if let Some(Target::Broker(node)) = scheme.identify_broker(bootstrap.port()) {
            return Err(PortSchemeError::BootstrapClash {
                port: bootstrap.port(),
                node,
            });
        }
        for port in [usize::from(first_port), last] {
            let result =
                i64::try_from(port).unwrap_or(i64::MAX) + i64::from(advertised_port_offset);
            if !(1..=i64::from(u16::MAX)).contains(&result) {
                let port = u16::try_from(port).unwrap_or(u16::MAX);
                return Err(PortSchemeError::Offset {
                    offset: advertised_port_offset,
                    port,
                    result,
                });
            }
        }
        Ok(scheme)
    }

    /// The node ids that have a port.
    pub(crate) fn node_ids(&self) -> &NodeIdRanges {
        &self.node_ids
    }

    pub(super) fn advertise(&self, node: NodeId) -> Advertised {
        let Some(position) = self.node_ids.position(node) else {
            return Advertised::Unmapped(nowhere(node));
        };
        let port = i64::from(self.first_port)
            + i64::try_from(position).unwrap_or(i64::MAX)
            + i64::from(self.advertised_port_offset);
        // `new` checked both ends of the range.
        let port = u16::try_from(port).unwrap_or(1);
        Advertised::Mapped(AdvertisedAddress {
            host: self.advertised_host.clone(),
            port,
        })
    }

    /// The bootstrap port, shifted as those of brokers are, where it can be.
    pub(super) fn bootstrap(&self) -> AdvertisedAddress {
        let bound = self.bootstrap.port();
        let port = i64::from(bound) + i64::from(self.advertised_port_offset);
        AdvertisedAddress {
            host: self.advertised_host.clone(),
            port: u16::try_from(port)
                .ok()
                .filter(|port| *port > 0)
                .unwrap_or(bound),
        }
    }

    fn identify_broker(&self, port: u16) -> Option<Target> {
        let position = usize::from(port.checked_sub(self.first_port)?);
        self.node_ids.iter().nth(position).map(Target::Broker)
    }

    pub(super) fn binds(&self) -> Vec<Bind> {
        let ip: IpAddr = self.bootstrap.ip();
        let brokers = (self.first_port..=u16::MAX).zip(self.node_ids.iter());
        let brokers = brokers.map(|(port, node)| Bind {
            address: SocketAddr::new(ip, port),
            target: Some(Target::Broker(node)),
        });
        std::iter::once(Bind {
            address: self.bootstrap,
            target: Some(Target::Bootstrap),
        })
        .chain(brokers)
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bind(port: u16) -> SocketAddr {
        SocketAddr::from(([0, 0, 0, 0], port))
    }

    fn scheme(
        first_port: u16,
        node_ids: NodeIdRanges,
        offset: i32,
    ) -> Result<PortScheme, PortSchemeError> {
        PortScheme::new(
            bind(1000),
            first_port,
            node_ids,
            "kafka.example.com".into(),
            offset,
        )
    }

    #[test]
    fn node_ids_get_ports_in_the_order_of_their_ranges() {
        let ranges = NodeIdRanges::parse(["1-3", "1000-1002", "0"]).unwrap();
        let scheme = scheme(19093, ranges, 0).unwrap();
        let port = |id| scheme.advertise(NodeId(id)).address().port;
        assert_eq!(
            [1, 2, 3, 1000, 1001, 1002, 0].map(port),
            [19093, 19094, 19095, 19096, 19097, 19098, 19099]
        );
    }

    #[test]
    fn a_node_outside_the_ranges_is_sent_nowhere_and_by_name() {
        let scheme = scheme(19093, NodeIdRanges::default(), 0).unwrap();
        let Advertised::Unmapped(address) = scheme.advertise(NodeId(20)) else {
            panic!("node 20 has a port")
        };
        assert_eq!(
            address.to_string(),
            "node-20-is-not-in-node-ids.narrows.invalid:1"
        );
    }

    #[test]
    fn an_offset_moves_what_is_advertised_and_not_what_is_bound() {
        let scheme = scheme(19093, NodeIdRanges::default(), -10_000).unwrap();
        assert_eq!(scheme.advertise(NodeId(0)).address().port, 9093);
        assert_eq!(
            scheme.binds()[1],
            Bind {
                address: bind(19093),
                target: Some(Target::Broker(NodeId(0)))
            }
        );
    }

    #[test]
    fn ports_that_can_not_be_are_refused_with_the_numbers() {
        assert_eq!(
            scheme(65530, NodeIdRanges::default(), 0),
            Err(PortSchemeError::PortsEnd {
                first_port: 65530,
                count: 20,
                last: 65549
            })
        );
        assert_eq!(
            scheme(990, NodeIdRanges::default(), 0),
            Err(PortSchemeError::BootstrapClash {
                port: 1000,
                node: NodeId(10)
            })
        );
        assert_eq!(
            scheme(2000, NodeIdRanges::default(), -2000),
            Err(PortSchemeError::Offset {
                offset: -2000,
                port: 2000,
                result: 0
            })
        );
    }

    #[test]
    fn malformed_ranges_are_refused_by_name() {
        let parse = |items: &[&str]| {
            NodeIdRanges::parse(items.iter().copied()).map(|ranges| ranges.to_string())
        };
        assert_eq!(parse(&["1-3", "7"]), Ok("1-3, 7".to_owned()));
        assert_eq!(
            parse(&["3-1"]),
            Err(NodeIdRangesError::Backwards("3-1".to_owned()))
        );
        assert_eq!(parse(&["1-3", "2"]), Err(NodeIdRangesError::Twice(2)));
        assert_eq!(
            parse(&["-1"]),
            Err(NodeIdRangesError::Malformed("-1".to_owned()))
        );
        assert_eq!(
            parse(&["x"]),
            Err(NodeIdRangesError::Malformed("x".to_owned()))
        );
        assert_eq!(
            parse(&["0-2147483647"]),
            Err(NodeIdRangesError::TooMany(2_147_483_648))
        );
        assert_eq!(parse(&[]), Err(NodeIdRangesError::Empty));
    }

    proptest! {
        #[test]
        fn a_port_identifies_the_node_that_it_was_advertised_for(
            gaps in proptest::collection::vec((0..5_000i32, 0..40i32), 1..8),
            first_port in 1001..60_000u16,
            offset in -1000..1000i32,
            stranger in any::<i32>(),
        ) {
            let mut next = 0;
            let ranges = gaps.iter().map(|(gap, more)| {
                let first = next + gap;
                next = first + more + 1;
                (first, first + more)
            });
            let ranges = NodeIdRanges::new(ranges.collect()).unwrap();
            let scheme = scheme(first_port, ranges.clone(), offset).unwrap();
            let targets: std::collections::BTreeMap<u16, Option<Target>> = scheme
                .binds()
                .into_iter()
                .map(|bind| (bind.address.port(), bind.target))
                .collect();
            let mut ports = std::collections::BTreeSet::new();
            for node in ranges.iter() {
                let advertised = i32::from(scheme.advertise(node).address().port);
                let bound = u16::try_from(advertised - offset).unwrap();
                prop_assert_eq!(targets.get(&bound), Some(&Some(Target::Broker(node))));
                prop_assert!(ports.insert(bound));
            }
            let is_mapped = matches!(scheme.advertise(NodeId(stranger)), Advertised::Mapped(_));
            prop_assert_eq!(is_mapped, ranges.position(NodeId(stranger)).is_some());
        }
    }
}
