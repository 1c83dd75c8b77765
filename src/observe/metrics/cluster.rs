//! What is counted for one cluster.

use super::Metrics;
use crate::types::{ClusterName, NodeId};
use prometheus::{Histogram, IntCounterVec, IntGauge};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// So many brokers get a label of their own: a hostile one could name any number.
const NODES_MAX: usize = 1000;

/// The handles of one cluster; clones count together.
#[derive(Clone, Debug)]
pub(crate) struct ClusterMetrics {
    /// Brokers whose address is known.
    pub(crate) brokers_known: IntGauge,
    /// Brokers that can't be told apart by their address.
    pub(crate) brokers_sharing_address: IntGauge,
    /// How long it took to reach a broker.
    pub(crate) dial_seconds: Histogram,
    cluster: ClusterName,
    dial_failures: IntCounterVec,
    nodes: Arc<Mutex<HashSet<NodeId>>>,
    refreshes: IntCounterVec,
}

impl ClusterMetrics {
    pub(super) fn new(metrics: &Metrics, name: &ClusterName) -> Self {
        let sharing = &metrics.brokers_sharing_address;
        Self {
            brokers_known: metrics.brokers_known.with_label_values(&[&*name.0]),
            brokers_sharing_address: sharing.with_label_values(&[&*name.0]),
            dial_seconds: metrics.broker_dial_seconds.with_label_values(&[&*name.0]),
            cluster: name.clone(),
            dial_failures: metrics.broker_dial_failures.clone(),
            nodes: Arc::default(),
            refreshes: metrics.metadata_refreshes.clone(),
        }
    }

    /// Connections to this broker, or to any, can fail for these reasons: each is a series from now
    /// on, so that `rate()` sees the first failure.
    pub(crate) fn dials_begin(&self, node: Option<NodeId>, reasons: &[&'static str]) {
        let node = self.node_label(node);
        for reason in reasons {
            self.dial_failures
                .with_label_values(&[&*self.cluster.0, &node, reason]);
        }
    }

    /// Attempts to learn the brokers can end so: each is a series from now on.
    pub(crate) fn refreshes_begin(&self, outcomes: &[&'static str]) {
        for outcome in outcomes {
            self.refreshes
                .with_label_values(&[&*self.cluster.0, outcome]);
        }
    }

    /// Counts a connection that could not be made: to this broker, or to any. A lookup under a
    /// lock: once a dial.
    pub(crate) fn dial_failed(&self, node: Option<NodeId>, reason: &'static str) {
        let node = self.node_label(node);
        self.dial_failures
            .with_label_values(&[&*self.cluster.0, &node, reason])
            .inc();
    }

    fn node_label(&self, node: Option<NodeId>) -> String {
        let Some(node) = node else {
            return "bootstrap".to_owned();
        };
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.len() < NODES_MAX {
            nodes.insert(node);
        }
        if nodes.contains(&node) {
            node.0.to_string()
        } else {
            "other".to_owned()
        }
    }

    /// Counts an attempt to learn the cluster's brokers. A lookup under a lock.
    pub(crate) fn refresh(&self, outcome: &'static str) {
        self.refreshes
            .with_label_values(&[&*self.cluster.0, outcome])
            .inc();
    }
}
