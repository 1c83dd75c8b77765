//! What is counted for one cluster.

use super::Metrics;
use crate::types::ClusterName;
use prometheus::{IntCounterVec, IntGauge};

/// The handles of one cluster; clones count together.
#[derive(Clone, Debug)]
pub struct ClusterMetrics {
    /// Brokers whose address is known.
    pub brokers_known: IntGauge,
    cluster: ClusterName,
    dial_failures: IntCounterVec,
    refreshes: IntCounterVec,
}

impl ClusterMetrics {
    pub(super) fn new(metrics: &Metrics, name: &ClusterName) -> Self {
        Self {
            brokers_known: metrics.brokers_known.with_label_values(&[&*name.0]),
            cluster: name.clone(),
            dial_failures: metrics.broker_dial_failures.clone(),
            refreshes: metrics.metadata_refreshes.clone(),
        }
    }

    /// Counts a connection to a broker that could not be made. A lookup under a lock: once a dial.
    pub fn dial_failed(&self, reason: &'static str) {
        self.dial_failures
            .with_label_values(&[&*self.cluster.0, reason])
            .inc();
    }

    /// Counts an attempt to learn the cluster's brokers. A lookup under a lock.
    pub fn refresh(&self, outcome: &'static str) {
        self.refreshes
            .with_label_values(&[&*self.cluster.0, outcome])
            .inc();
    }
}
