//! What is counted on one listener.

use super::api::{ApiNames, Apis};
use super::durations::DurationVec;
use super::limits::Limit;
use super::software::Software;
use super::{Metrics, limits};
use crate::types::{ListenerName, Side};
use prometheus::{Counter, Histogram, IntCounter, IntCounterVec, IntGauge};
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

/// The label `listener` of connections that have not said yet which listener of a shared port they
/// are meant for, and of those that ended before they did. No listener can have this name.
pub(crate) const UNIDENTIFIED: &str = "(unidentified)";

/// The handles of one listener; clones count together.
#[derive(Clone, Debug)]
pub struct ListenerMetrics(Arc<Handles>);

/// What is looked up when a handle is made, so that to count costs no look-up.
#[derive(Debug)]
pub struct Handles {
    /// Client connections accepted.
    pub(crate) accepted: IntCounter,
    /// Client connections that are open now.
    pub(crate) active: IntGauge,
    /// Bytes written to brokers. All sessions of the listener share this atomic: add once a write,
    /// not once a frame.
    pub(crate) bytes_to_broker: IntCounter,
    /// Bytes written to clients; shared likewise.
    pub(crate) bytes_to_client: IntCounter,
    /// Large runs of bytes, and how they were carried.
    pub(crate) bulk_transfers: Arc<BulkTransfers>,
    /// How long completed TLS handshakes took.
    pub(crate) handshake_seconds: Histogram,
    unmapped: IntGauge,
    shared: Shared,
}

impl Deref for ListenerMetrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

/// Runs of 16 KiB and more that nobody needed to see: a request's body, a record set.
#[derive(Debug)]
pub(crate) struct BulkTransfers {
    spliced: IntCounter,
    copied_off: IntCounter,
    copied_tls: IntCounter,
    copied_no_pipe: IntCounter,
    copied_small_pipe: IntCounter,
}

/// Why a large run is copied through the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyReason {
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
    pub(crate) fn begun(&self, copied: Option<CopyReason>) {
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

/// Why a connection could not be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AcceptError {
    /// It has gone again.
    ClientGone,
    /// The process or the system has no descriptor left.
    NoFileDescriptors,
    /// Anything else.
    Other,
}

impl AcceptError {
    const ALL: [Self; 3] = [Self::ClientGone, Self::NoFileDescriptors, Self::Other];

    fn label(self) -> &'static str {
        match self {
            Self::ClientGone => "client_gone",
            Self::NoFileDescriptors => "no_file_descriptors",
            Self::Other => "other",
        }
    }
}

/// The way of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the client.
    ToBroker,
    /// From the broker.
    ToClient,
}

impl Direction {
    fn label(self) -> &'static str {
        match self {
            Self::ToBroker => "to_broker",
            Self::ToClient => "to_client",
        }
    }
}

/// What is looked up by a second label.
#[derive(Debug)]
struct Shared {
    listener: ListenerName,
    names: ApiNames,
    software: Arc<Software>,
    closed: IntCounterVec,
    handshakes: IntCounterVec,
    accept_errors: IntCounterVec,
    refused: IntCounterVec,
    client_connections: IntCounterVec,
    kafka_errors: IntCounterVec,
    sasl_logins: IntCounterVec,
    backpressure: [Counter; 2],
    requests: Apis<IntCounterVec>,
    rewritten: Apis<IntCounterVec>,
    added_seconds: Apis<DurationVec>,
    broker_seconds: Apis<DurationVec>,
}

impl ListenerMetrics {
    pub(super) fn new(metrics: &Metrics, name: &ListenerName) -> Self {
        let listener = &*name.0;
        let names = &metrics.api_names;
        let bytes = |direction: Direction| {
            metrics
                .bytes
                .with_label_values(&[listener, direction.label()])
        };
        let backpressure = |direction: Direction| {
            metrics
                .backpressure_seconds
                .with_label_values(&[listener, direction.label()])
        };
        let begun = Self(Arc::new(Handles {
            accepted: metrics.connections_accepted.with_label_values(&[listener]),
            active: metrics.connections_active.with_label_values(&[listener]),
            bytes_to_broker: bytes(Direction::ToBroker),
            bytes_to_client: bytes(Direction::ToClient),
            bulk_transfers: Arc::new(BulkTransfers::new(&metrics.bulk_transfers, listener)),
            handshake_seconds: metrics.handshake_seconds.with_label_values(&[listener]),
            unmapped: metrics.unmapped_nodes.with_label_values(&[listener]),
            shared: Shared {
                listener: name.clone(),
                names: names.clone(),
                software: Arc::clone(&metrics.software),
                closed: metrics.connections_closed.clone(),
                handshakes: metrics.handshakes.clone(),
                accept_errors: metrics.accept_errors.clone(),
                refused: metrics.connections_refused.clone(),
                client_connections: metrics.client_connections.clone(),
                kafka_errors: metrics.kafka_errors.clone(),
                sasl_logins: metrics.sasl_logins.clone(),
                backpressure: [Direction::ToBroker, Direction::ToClient].map(backpressure),
                requests: Apis::new(&metrics.requests, listener, names),
                rewritten: Apis::new(&metrics.responses_rewritten, listener, names),
                added_seconds: Apis::new(&metrics.added_seconds, listener, names),
                broker_seconds: Apis::new(&metrics.broker_seconds, listener, names),
            },
        }));
        begun.begin();
        begun
    }

    /// From the first scrape on, so that `rate()` sees the first event.
    fn begin(&self) {
        let Shared {
            listener,
            accept_errors,
            refused,
            ..
        } = &self.shared;
        for error in AcceptError::ALL {
            accept_errors.with_label_values(&[&*listener.0, error.label()]);
        }
        limits::begin(refused, &listener.0);
    }

    /// Connections can end by these causes, of which each is a series from now on.
    pub(crate) fn closings_begin(&self, causes: impl Iterator<Item = (&'static str, Side)>) {
        for (cause, side) in causes {
            self.shared
                .closed
                .with_label_values(&[&*self.shared.listener.0, cause, side.label()]);
        }
    }

    /// Handshakes can end so, by version and outcome: each is a series from now on.
    pub(crate) fn handshakes_begin(
        &self,
        ends: impl Iterator<Item = (&'static str, &'static str)>,
    ) {
        for (version, outcome) in ends {
            self.shared
                .handshakes
                .with_label_values(&[&*self.shared.listener.0, version, outcome]);
        }
    }

    /// The label that all this is counted under.
    pub(crate) fn listener(&self) -> &ListenerName {
        &self.shared.listener
    }

    /// Counts a client connection that ended. A lookup under a lock: once a connection.
    pub(crate) fn closed(&self, cause: &'static str, side: Side) {
        self.shared
            .closed
            .with_label_values(&[&*self.shared.listener.0, cause, side.label()])
            .inc();
    }

    /// Counts a TLS handshake. A lookup under a lock: once a connection.
    pub(crate) fn handshake(&self, version: &'static str, outcome: &'static str) {
        self.shared
            .handshakes
            .with_label_values(&[&*self.shared.listener.0, version, outcome])
            .inc();
    }

    /// Counts a connection that could not be accepted. A lookup under a lock.
    pub(crate) fn accept_error(&self, error: AcceptError) {
        self.shared
            .accept_errors
            .with_label_values(&[&*self.shared.listener.0, error.label()])
            .inc();
    }

    /// Counts a connection that a limit has kept out. A lookup under a lock.
    pub(crate) fn refused(&self, limit: Limit) {
        limits::refused(&self.shared.refused, &self.shared.listener.0, limit);
    }

    /// Counts so many requests. Any key may come; unknown ones count as `other`.
    pub fn requests(&self, api_key: i16, count: u64) {
        self.shared.requests.of(api_key).inc_by(count);
    }

    /// Counts a response in which addresses were replaced.
    pub(crate) fn rewritten(&self, api_key: i16) {
        self.shared.rewritten.of(api_key).inc();
    }

    /// Counts so many round trips: what Narrows has added to each, and what the broker took.
    pub(crate) fn round_trips(&self, api_key: i16, added: Duration, broker: Duration, count: u64) {
        let Shared {
            added_seconds,
            broker_seconds,
            ..
        } = &self.shared;
        added_seconds.of(api_key).observe(added, count);
        broker_seconds.of(api_key).observe(broker, count);
    }

    /// Counts a response that says `error`, which is one of a closed set of names. A lookup under
    /// a lock that readers share.
    pub(crate) fn kafka_error(&self, api_key: i16, error: &'static str) {
        let Shared {
            listener, names, ..
        } = &self.shared;
        self.shared
            .kafka_errors
            .with_label_values(&[&*listener.0, names.name(api_key), error])
            .inc();
    }

    /// Counts the answer to a login. A lookup under a lock: once a login.
    pub(crate) fn sasl_login(&self, mechanism: &'static str, outcome: &'static str) {
        self.shared
            .sasl_logins
            .with_label_values(&[&*self.shared.listener.0, mechanism, outcome])
            .inc();
    }

    /// Counts a connection whose client has said which library it uses; any bytes may come. A
    /// lookup under a lock: once a connection.
    pub(crate) fn client_software(&self, name: &[u8], version: &[u8]) {
        let (name, version) = self.shared.software.labels(name, version);
        self.shared
            .client_connections
            .with_label_values(&[&*self.shared.listener.0, name, version])
            .inc();
    }

    /// A side that took no bytes for so long takes some again.
    pub(crate) fn held_back(&self, direction: Direction, waited: Duration) {
        self.shared.backpressure[direction as usize].inc_by(waited.as_secs_f64());
    }

    /// Says how many brokers have no address on this listener now.
    pub(crate) fn unmapped(&self, node_count: usize) {
        self.unmapped
            .set(i64::try_from(node_count).unwrap_or(i64::MAX));
    }
}
