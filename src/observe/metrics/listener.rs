//! What is counted on one listener.

use super::api::ApiCounters;
use super::limits::Limit;
use super::{Metrics, limits};
use crate::types::{ListenerName, Side};
use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};
use std::sync::Arc;

/// The label `listener` of connections that have not said yet which listener of a shared port they
/// are meant for, and of those that ended before they did. No listener can have this name.
pub const UNIDENTIFIED: &str = "(unidentified)";

/// The handles of one listener; clones count together.
#[derive(Clone, Debug)]
pub struct ListenerMetrics {
    /// Client connections accepted.
    pub accepted: IntCounter,
    /// Client connections that are open now.
    pub active: IntGauge,
    /// Bytes written to brokers. All sessions of the listener share this atomic: add once a write,
    /// not once a frame.
    pub bytes_to_broker: IntCounter,
    /// Bytes written to clients; shared likewise.
    pub bytes_to_client: IntCounter,
    /// Large runs of bytes, and how they were carried.
    pub bulk_transfers: Arc<BulkTransfers>,
    /// How long completed TLS handshakes took.
    pub handshake_seconds: Histogram,
    unmapped: IntGauge,
    shared: Arc<Shared>,
}

/// Runs of 16 KiB and more that nobody needed to see: a request's body, a record set.
#[derive(Debug)]
pub struct BulkTransfers {
    spliced: IntCounter,
    copied_off: IntCounter,
    copied_tls: IntCounter,
    copied_no_pipe: IntCounter,
    copied_small_pipe: IntCounter,
}

/// Why a large run is copied through the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyReason {
    /// `relay.splice` is off.
    Off,
    /// One side, or both, speaks TLS.
    Tls,
    /// All pipes are in use, or the system has none.
    NoPipe,
    /// The system makes pipes below 64 KiB only: the user's pipe pages are used up.
    SmallPipe,
}

impl BulkTransfers {
    fn new(family: &IntCounterVec, listener: &str) -> Self {
        let counter = |mode, reason| family.with_label_values(&[listener, mode, reason]);
        Self {
            spliced: counter("spliced", "none"),
            copied_off: counter("copied", "off"),
            copied_tls: counter("copied", "tls"),
            copied_no_pipe: counter("copied", "no_pipe"),
            copied_small_pipe: counter("copied", "small_pipe"),
        }
    }

    /// Counts a run; it is copied if there is a reason to.
    pub fn begun(&self, copied: Option<CopyReason>) {
        let counter = match copied {
            None => &self.spliced,
            Some(CopyReason::Off) => &self.copied_off,
            Some(CopyReason::Tls) => &self.copied_tls,
            Some(CopyReason::NoPipe) => &self.copied_no_pipe,
            Some(CopyReason::SmallPipe) => &self.copied_small_pipe,
        };
        counter.inc();
    }
}

/// What is looked up by a second label.
#[derive(Debug)]
struct Shared {
    listener: ListenerName,
    closed: IntCounterVec,
    handshakes: IntCounterVec,
    accept_errors: IntCounterVec,
    refused: IntCounterVec,
    requests: ApiCounters,
    rewritten: ApiCounters,
}

impl ListenerMetrics {
    pub(super) fn new(metrics: &Metrics, name: &ListenerName) -> Self {
        let listener = &*name.0;
        Self {
            accepted: metrics.connections_accepted.with_label_values(&[listener]),
            active: metrics.connections_active.with_label_values(&[listener]),
            bytes_to_broker: metrics.bytes.with_label_values(&[listener, "to_broker"]),
            bytes_to_client: metrics.bytes.with_label_values(&[listener, "to_client"]),
            bulk_transfers: Arc::new(BulkTransfers::new(&metrics.bulk_transfers, listener)),
            handshake_seconds: metrics.handshake_seconds.with_label_values(&[listener]),
            unmapped: metrics.unmapped_nodes.with_label_values(&[listener]),
            shared: Arc::new(Shared {
                listener: name.clone(),
                closed: metrics.connections_closed.clone(),
                handshakes: metrics.handshakes.clone(),
                accept_errors: metrics.accept_errors.clone(),
                refused: metrics.connections_refused.clone(),
                requests: ApiCounters::new(&metrics.requests, listener, &metrics.api_names),
                rewritten: ApiCounters::new(
                    &metrics.responses_rewritten,
                    listener,
                    &metrics.api_names,
                ),
            }),
        }
    }

    /// The label that all this is counted under.
    pub fn listener(&self) -> &ListenerName {
        &self.shared.listener
    }

    /// Counts a client connection that ended. A lookup under a lock: once a connection.
    pub fn closed(&self, cause: &'static str, side: Side) {
        self.shared
            .closed
            .with_label_values(&[&*self.shared.listener.0, cause, side.label()])
            .inc();
    }

    /// Counts a TLS handshake. A lookup under a lock: once a connection.
    pub fn handshake(&self, version: &'static str, outcome: &'static str) {
        self.shared
            .handshakes
            .with_label_values(&[&*self.shared.listener.0, version, outcome])
            .inc();
    }

    /// Counts a connection that could not be accepted. A lookup under a lock.
    pub fn accept_error(&self, reason: &'static str) {
        self.shared
            .accept_errors
            .with_label_values(&[&*self.shared.listener.0, reason])
            .inc();
    }

    /// Counts a connection that a limit has kept out. A lookup under a lock.
    pub fn refused(&self, limit: Limit) {
        limits::refused(&self.shared.refused, &self.shared.listener.0, limit);
    }

    /// Counts a request. Any key may come; unknown ones count as `other`.
    pub fn request(&self, api_key: i16) {
        self.shared.requests.inc(api_key);
    }

    /// Counts a response in which addresses were replaced.
    pub fn rewritten(&self, api_key: i16) {
        self.shared.rewritten.inc(api_key);
    }

    /// Says how many brokers have no address on this listener now.
    pub fn unmapped(&self, node_count: usize) {
        self.unmapped
            .set(i64::try_from(node_count).unwrap_or(i64::MAX));
    }
}
