//! The limits that hold strangers back: how much of each is used, and whom it has kept out.

use super::Metrics;
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

/// What there can be too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Client connections in all.
    Connections,
    /// Client connections of one listener.
    ListenerConnections,
    /// Client connections from one source address.
    SourceConnections,
    /// New connections a second in all.
    Rate,
    /// New connections a second from one source address.
    SourceRate,
    /// Connections that have not sent their first request.
    Newcomers,
    /// The same, from one source address.
    SourceNewcomers,
    /// TLS handshakes that wait to be computed.
    Handshakes,
}

impl Limit {
    /// Every one.
    pub(crate) const ALL: [Self; 8] = [
        Self::Connections,
        Self::ListenerConnections,
        Self::SourceConnections,
        Self::Rate,
        Self::SourceRate,
        Self::Newcomers,
        Self::SourceNewcomers,
        Self::Handshakes,
    ];

    /// The value of the label `limit`, and the cause that a connection ends with.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Connections => "connections_max",
            Self::ListenerConnections => "listener_connections_max",
            Self::SourceConnections => "connections_per_source_max",
            Self::Rate => "connections_rate",
            Self::SourceRate => "connections_per_source_rate",
            Self::Newcomers => "newcomers_max",
            Self::SourceNewcomers => "newcomers_per_source_max",
            Self::Handshakes => "tls_handshakes_waiting_max",
        }
    }

    /// The configuration key.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Connections => "limits.connections_max",
            Self::ListenerConnections => "the listener's connections_max",
            Self::SourceConnections => "limits.connections_per_source_max",
            Self::Rate => "limits.connections_rate",
            Self::SourceRate => "limits.connections_per_source_rate",
            Self::Newcomers => "limits.newcomers_max",
            Self::SourceNewcomers => "half of limits.newcomers_max",
            Self::Handshakes => "limits.tls_handshakes_waiting_max",
        }
    }
}

/// The gauges of the limits that hold for all listeners together.
#[derive(Clone, Debug)]
pub struct LimitMetrics {
    /// Client connections in all.
    pub(crate) connections: IntGauge,
    /// Connections that have not sent their first request.
    pub(crate) newcomers: IntGauge,
    /// TLS handshakes that wait to be computed.
    pub(crate) handshakes: IntGauge,
    metrics: [IntGauge; 4],
    /// For the limit that there may not be.
    max: IntGaugeVec,
}

impl LimitMetrics {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let in_use = |limit: Limit| metrics.limit_in_use.with_label_values(&[limit.label()]);
        let max = |limit: Limit| metrics.limit_max.with_label_values(&[limit.label()]);
        Self {
            connections: in_use(Limit::Connections),
            newcomers: in_use(Limit::Newcomers),
            handshakes: in_use(Limit::Handshakes),
            metrics: [
                max(Limit::Connections),
                max(Limit::SourceConnections),
                max(Limit::Newcomers),
                max(Limit::Handshakes),
            ],
            max: metrics.limit_max.clone(),
        }
    }

    /// Says how much there may be: connections, of one source, newcomers, waiting handshakes.
    pub(crate) fn set_max(&self, maxima: [usize; 4]) {
        for (gauge, max) in self.metrics.iter().zip(maxima) {
            gauge.set(i64::try_from(max).unwrap_or(i64::MAX));
        }
    }

    /// Says how many connections a second there may be of a kind, if that is limited.
    pub(crate) fn set_rate_max(&self, limit: Limit, max: Option<usize>) {
        let label = [limit.label()];
        match max {
            Some(max) => {
                let max = i64::try_from(max).unwrap_or(i64::MAX);
                self.max.with_label_values(&label).set(max);
            }
            // There may be none to remove.
            None => drop(self.max.remove_label_values(&label)),
        }
    }
}

/// Shows that no limit has kept anybody out yet.
pub(super) fn begin(counters: &IntCounterVec, listener: &str) {
    for limit in Limit::ALL {
        counters.with_label_values(&[listener, limit.label()]);
    }
}

/// Counts whom a limit has kept out. A lookup under a lock: once a connection.
pub(super) fn refused(counters: &IntCounterVec, listener: &str, limit: Limit) {
    counters.with_label_values(&[listener, limit.label()]).inc();
}
