//! Brokers that have no address on a listener: clients are told a name that leads nowhere in their
//! place. The broker map says who they are as soon as it has them, before any client has asked.

use crate::observe::throttle::Throttle;
use crate::types::{ListenerName, NodeId};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::error;

/// A hostile response could name any number of nodes.
const NODES_MAX: usize = 1_000;
/// More node ids than this are not in a sentence.
const NODES_SHOWN: usize = 10;
/// Between two lines about them.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The brokers of one listener that have no address.
#[derive(Debug)]
pub(super) struct Unmapped {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    nodes: BTreeSet<NodeId>,
    /// Those of them that the log has had: never others.
    told: BTreeSet<NodeId>,
    lines: Throttle,
}

impl Default for Unmapped {
    fn default() -> Self {
        let state = State {
            nodes: BTreeSet::new(),
            told: BTreeSet::new(),
            lines: Throttle::every(LINE_INTERVAL),
        };
        Self {
            state: Mutex::new(state),
        }
    }
}

impl Unmapped {
    /// These brokers of the map have no address, and no others.
    pub(super) fn are(&self, nodes: BTreeSet<NodeId>) {
        let mut state = self.lock();
        state.told.retain(|node| nodes.contains(node));
        state.nodes = nodes;
    }

    /// A response has named one. How many there are now, if that is news.
    pub(super) fn named(&self, node: NodeId) -> Option<usize> {
        let mut state = self.lock();
        let is_new = state.nodes.len() < NODES_MAX && state.nodes.insert(node);
        is_new.then_some(state.nodes.len())
    }

    /// Says who has come since the last line, if it is time for one.
    pub(super) fn tell(&self, listener: &ListenerName) {
        let mut state = self.lock();
        if state.nodes.len() == state.told.len() {
            return;
        }
        if let Some(suppressed) = state.lines.admit(Instant::now()) {
            let new: BTreeSet<_> = state.nodes.difference(&state.told).copied().collect();
            let text = text(listener, &new);
            state.told.extend(new);
            error!(%listener, suppressed, "{text}");
        }
    }

    /// Who they are.
    pub(super) fn nodes(&self) -> BTreeSet<NodeId> {
        self.lock().nodes.clone()
    }

    /// The sentence about them, if there are any.
    pub(super) fn text(&self, listener: &ListenerName) -> Option<String> {
        let nodes = self.nodes();
        (!nodes.is_empty()).then(|| text(listener, &nodes))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text(listener: &ListenerName, nodes: &BTreeSet<NodeId>) -> String {
    let shown: Vec<_> = nodes
        .iter()
        .take(NODES_SHOWN)
        .map(ToString::to_string)
        .collect();
    let more = match nodes.len().saturating_sub(NODES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (broker, is, it) = match nodes.len() {
        1 => ("broker", "is", "it"),
        _ => ("brokers", "are", "them"),
    };
    format!(
        "{broker} {}{more} {is} outside node_ids, so clients can't reach {it}: add {it} to \
         listeners.{listener}.address.node_ids",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(count: i32) -> Option<String> {
        let unmapped = Unmapped::default();
        unmapped.are((0..count).map(NodeId).collect());
        unmapped.text(&ListenerName("external".into()))
    }

    #[test]
    fn the_sentence_names_the_nodes_and_the_key() {
        assert_eq!(sentence(0), None);
        let one = "broker 0 is outside node_ids, so clients can't reach it: add it to \
                   listeners.external.address.node_ids";
        assert_eq!(sentence(1).as_deref(), Some(one));
        let many = sentence(5_000).unwrap();
        let begin = "brokers 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 4990 more are outside node_ids";
        assert!(many.starts_with(begin), "{many}");
    }

    #[test]
    fn what_responses_name_is_bounded_and_the_map_counts() {
        let unmapped = Unmapped::default();
        let news = (0..5_000).filter_map(|node| unmapped.named(NodeId(node)));
        assert_eq!(news.last(), Some(NODES_MAX));
        assert_eq!(unmapped.nodes().len(), NODES_MAX);
        unmapped.are([NodeId(7)].into());
        assert_eq!(unmapped.nodes(), [NodeId(7)].into());
    }
}
