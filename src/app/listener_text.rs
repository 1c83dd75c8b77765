//! A listener in words: where it listens and what clients are told, for the log and the status
//! page.

use crate::address::{NodeIdRanges, Scheme};
use crate::listener::ListenerSettings;
use crate::session::ListenerTls;
use crate::types::NodeId;

/// Of ranges with more gaps only the first are told.
const RANGES_TOLD_MAX: usize = 10;

/// What an operator wants to see of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListenerText {
    /// Where the bootstrap port, or the one port, is bound.
    pub(super) bind: String,
    /// How brokers are told apart.
    pub(super) scheme: &'static str,
    /// What clients put into `bootstrap.servers`, as far as Narrows is told.
    pub(super) bootstrap: String,
    /// The ports that stand for brokers, or the names.
    pub(super) brokers: String,
    /// What becomes of TLS.
    pub(super) tls: &'static str,
}

impl ListenerText {
    pub(super) fn of(settings: &ListenerSettings) -> Self {
        let scheme = &settings.scheme;
        let binds = scheme.binds();
        let ports: Vec<_> = binds.iter().map(|bind| bind.address.port()).collect();
        let (name, brokers) = match scheme {
            Scheme::Port(scheme) => ("port", ports_text(&ports, scheme.node_ids())),
            Scheme::Sni(scheme) => {
                let ids = scheme
                    .node_ids()
                    .map_or_else(|| "all node ids".to_owned(), node_ids_text);
                ("sni", format!("{} for {ids}", scheme.pattern()))
            }
            Scheme::Single(scheme) => ("single", format!("{} for all node ids", scheme.pattern())),
        };
        Self {
            bind: binds
                .first()
                .map_or_else(String::new, |bind| bind.address.to_string()),
            scheme: name,
            bootstrap: scheme.bootstrap().to_string(),
            brokers,
            tls: match settings.tls {
                None => "off",
                Some(ListenerTls::Terminate(_)) => "terminate",
                Some(ListenerTls::Passthrough { .. }) => "passthrough",
            },
        }
    }
}

/// The first port is that of the bootstrap; those of brokers follow each other.
fn ports_text(ports: &[u16], node_ids: &NodeIdRanges) -> String {
    let ids = node_ids_text(node_ids);
    match ports {
        [_, only] => format!("{only} for {ids}"),
        [_, first, .., last] => format!("{first}-{last} for {ids}"),
        _ => "none".to_owned(),
    }
}

/// As in the configuration: `node ids 0-2,100`.
fn node_ids_text(node_ids: &NodeIdRanges) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for NodeId(node) in node_ids.iter() {
        match ranges.last_mut() {
            Some((_, last)) if *last == node - 1 => *last = node,
            _ => ranges.push((node, node)),
        }
    }
    let range = |(first, last): &(i32, i32)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    };
    let told: Vec<_> = ranges.iter().take(RANGES_TOLD_MAX).map(range).collect();
    let more = match ranges.len() - told.len() {
        0 => String::new(),
        more => format!(" and {more} more ranges"),
    };
    format!("node ids {}{more}", told.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(text: &str) -> NodeIdRanges {
        NodeIdRanges::parse(text.split(',')).unwrap()
    }

    #[test]
    fn ports_and_node_ids_are_told_as_they_are_configured() {
        assert_eq!(ports_text(&[9092, 9093], &ids("7")), "9093 for node ids 7");
        assert_eq!(
            ports_text(&[9092, 9093, 9094, 9095, 9096], &ids("0-2,100")),
            "9093-9096 for node ids 0-2,100"
        );
    }

    #[test]
    fn of_many_ranges_the_first_are_told() {
        let many: Vec<_> = (0..12).map(|node| (node * 10).to_string()).collect();
        assert_eq!(
            node_ids_text(&ids(&many.join(","))),
            "node ids 0,10,20,30,40,50,60,70,80,90 and 2 more ranges"
        );
    }
}
