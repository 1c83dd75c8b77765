//! Where brokers are dialled when the operator says it: `clusters.NAME.broker_address`.
//!
//! Brokers that advertise one shared name, such as that of a Kubernetes Service, can't be told
//! apart by it. What tells them apart is their node id: a [rule](BrokerAddressRule) makes an
//! address of it, by a template or by a table, and that one is dialled in the advertised address's
//! place.

use crate::types::{AddressError, BrokerAddress, NodeId};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What stands for the node id in a template; a number may be added or subtracted before the brace.
const PLACEHOLDER: &str = "{node_id";

/// From a node id to the address where that broker is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrokerAddressRule {
    /// One text for all: `kafka-{node_id}.kafka-svc:9092`.
    Template(Template),
    /// One address for each node id.
    Table(BTreeMap<NodeId, BrokerAddress>),
}

/// An address with the node id in it at least once, so that no two brokers have the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Text, and behind each piece but the last the node id plus this number.
    pieces: Vec<(String, i64)>,
    last: String,
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// A single address: all brokers would be dialled at it.
    #[error(
        "{{node_id}} does not stand in it, so that every broker would be dialled at one address: \
         write it where the brokers' addresses differ, as in kafka-{{node_id}}.kafka-svc:9092"
    )]
    NoPlaceholder,
    /// Something else in braces.
    #[error(
        "`{0}` stands for nothing: write {{node_id}}, or with a number added or subtracted \
         {{node_id+100}}, {{node_id-1}}"
    )]
    Placeholder(String),
    /// What comes out is no address.
    #[error("broker {node} would be dialled at `{text}`: {error}")]
    Address {
        /// The broker.
        node: NodeId,
        /// Its address, as the template makes it.
        text: String,
        /// What is wrong with that.
        error: AddressError,
    },
    /// A line of a table is not `ID=host:port`.
    #[error("`{0}` is not a node id with an address: write 0=kafka-0:9092")]
    Line(String),
    /// A broker stands in a table twice.
    #[error("broker {0} has two addresses: keep one of the two")]
    NodeTwice(NodeId),
    /// An address stands in a table twice.
    #[error(
        "brokers {0} and {1} have one address, {2}, by which they can't be told apart: give each \
         its own"
    )]
    AddressTwice(NodeId, NodeId, BrokerAddress),
}

impl BrokerAddressRule {
    /// Where `node` is dialled; `None` where the rule has no address for it.
    pub(crate) fn address(&self, node: NodeId) -> Option<BrokerAddress> {
        match self {
            Self::Template(template) => template.address(node),
            Self::Table(table) => table.get(&node).cloned(),
        }
    }

    /// Reads a template, or the lines of a table, `ID=host:port` each.
    pub fn parse(items: &[&str]) -> Result<Self, RuleError> {
        match items {
            [text] if !text.contains('=') => text.parse().map(Self::Template),
            lines => table(lines).map(Self::Table),
        }
    }
}

impl fmt::Display for BrokerAddressRule {
    /// As one text, which reads back as the same rule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Template(template) => template.fmt(f),
            Self::Table(table) => table
                .iter()
                .enumerate()
                .try_for_each(|(at, (node, address))| {
                    let comma = if at == 0 { "" } else { "," };
                    write!(f, "{comma}{node}={address}")
                }),
        }
    }
}

fn table(lines: &[&str]) -> Result<BTreeMap<NodeId, BrokerAddress>, RuleError> {
    let mut table = BTreeMap::new();
    for line in lines {
        let malformed = || RuleError::Line((*line).to_owned());
        let (id, text) = line.split_once('=').ok_or_else(malformed)?;
        let id = id.trim().parse::<i32>().ok().filter(|id| *id >= 0);
        let node = id.map(NodeId).ok_or_else(malformed)?;
        let text = text.trim();
        let address = text.parse().map_err(|error| RuleError::Address {
            node,
            text: text.to_owned(),
            error,
        })?;
        let is_there = |(_, known): &(&NodeId, &BrokerAddress)| **known == address;
        if let Some((first, _)) = table.iter().find(is_there) {
            return Err(RuleError::AddressTwice(*first, node, address));
        }
        if table.insert(node, address).is_some() {
            return Err(RuleError::NodeTwice(node));
        }
    }
    Ok(table)
}

impl Template {
    fn address(&self, node: NodeId) -> Option<BrokerAddress> {
        self.text(node)?.parse().ok()
    }

    /// `None` where a number would be negative.
    fn text(&self, node: NodeId) -> Option<String> {
        let mut text = String::new();
        for (piece, offset) in &self.pieces {
            let number = i64::from(node.0)
                .checked_add(*offset)
                .filter(|number| *number >= 0)?;
            text += piece;
            text += &number.to_string();
        }
        Some(text + &self.last)
    }
}

impl FromStr for Template {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once('{') {
            let (inside, after) = behind.split_once('}').unwrap_or((behind, ""));
            let offset =
                offset(inside).ok_or_else(|| RuleError::Placeholder(format!("{{{inside}}}")))?;
            pieces.push((before.to_owned(), offset));
            rest = after;
        }
        let last = rest.to_owned();
        let least = pieces.iter().map(|(_, offset)| -offset).max();
        let least = least.ok_or(RuleError::NoPlaceholder)?.max(0);
        let template = Self { pieces, last };
        // What is wrong with the smallest id is wrong with all; large ones may leave the ports.
        let node = NodeId(i32::try_from(least).unwrap_or(i32::MAX));
        let text = template.text(node).unwrap_or_default();
        match text.parse::<BrokerAddress>() {
            Ok(_) => Ok(template),
            Err(error) => Err(RuleError::Address { node, text, error }),
        }
    }
}

/// What is added to the node id: `node_id`, `node_id+100` or `node_id-1`, without the braces.
fn offset(inside: &str) -> Option<i64> {
    let rest = inside.trim().strip_prefix(&PLACEHOLDER[1..])?.trim_start();
    if rest.is_empty() {
        return Some(0);
    }
    let digits = rest.strip_prefix(['+', '-'])?.trim_start();
    let number = i64::from(digits.parse::<u32>().ok()?);
    Some(if rest.starts_with('-') {
        -number
    } else {
        number
    })
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (piece, offset) in &self.pieces {
            write!(f, "{piece}{PLACEHOLDER}")?;
            if *offset != 0 {
                write!(f, "{offset:+}")?;
            }
            f.write_str("}")?;
        }
        f.write_str(&self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rule: &[&str], node: i32) -> Option<String> {
        let rule = BrokerAddressRule::parse(rule).unwrap();
        rule.address(NodeId(node))
            .map(|address| address.to_string())
    }

    fn error(rule: &[&str]) -> String {
        BrokerAddressRule::parse(rule).unwrap_err().to_string()
    }

    #[test]
    fn a_template_has_the_node_id_with_its_offset_in_every_place() {
        for (template, node, expected) in [
            ("kafka-{node_id}.svc:9092", 0, Some("kafka-0.svc:9092")),
            ("kafka-{node_id-1}.svc:9092", 1, Some("kafka-0.svc:9092")),
            ("kafka-{node_id-1}.svc:9092", 0, None),
            ("kafka-{ node_id + 100 }:9092", 7, Some("kafka-107:9092")),
            ("a-{node_id}.b-{node_id+1}:92", 1, Some("a-1.b-2:92")),
            ("kafka:{node_id+9092}", 2, Some("kafka:9094")),
            ("kafka:{node_id+9092}", 60_000, None),
            ("[fd00::{node_id}]:9092", 5, Some("[fd00::5]:9092")),
        ] {
            assert_eq!(at(&[template], node).as_deref(), expected, "{template}");
        }
    }

    #[test]
    fn a_template_reads_back_as_it_is_shown() {
        for text in ["a-{node_id-1}.b:92", "{node_id}:92", "a:{node_id+9092}"] {
            assert_eq!(text.parse::<Template>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_what_to_write() {
        for (text, part) in [
            ("kafka-svc:9092", "every broker would be dialled at one"),
            ("kafka-{id}:9092", "`{id}` stands for nothing"),
            ("kafka-{node_id*2}:9092", "`{node_id*2}` stands for nothing"),
            ("kafka-{node_id:9092", "`{node_id:9092}` stands for nothing"),
            ("kafka-{node_id}", "`kafka-0`: the port is missing"),
            (
                "kafka-{node_id-1}:x",
                "broker 1 would be dialled at `kafka-0:x`",
            ),
            ("kafka {node_id}:9092", "is not a character of a host name"),
        ] {
            assert!(error(&[text]).contains(part), "{text}: {}", error(&[text]));
        }
    }

    #[test]
    fn a_table_has_one_address_for_each_broker_that_is_in_it() {
        let table = ["0=a:9092", " 1 = b:9092 "];
        assert_eq!(at(&table, 1).as_deref(), Some("b:9092"));
        assert_eq!(at(&table, 2), None);
        for (lines, part) in [
            (&["0=a:9092", "0=b:9092"][..], "broker 0 has two addresses"),
            (
                &["0=a:9092", "1=a:9092"],
                "brokers 0 and 1 have one address",
            ),
            (&["0=a:9092", "b:9092"], "`b:9092` is not a node id"),
            (&["-1=a:9092"], "`-1=a:9092` is not a node id"),
            (&["0=a"], "the port is missing"),
        ] {
            assert!(error(lines).contains(part), "{lines:?}: {}", error(lines));
        }
    }
}
