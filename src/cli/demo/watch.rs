//! Listens to what librdkafka says of itself while producer and consumer run.

use rdkafka::client::ClientContext;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::statistics::Statistics;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often librdkafka gives statistics: `statistics.interval.ms`.
pub(super) const STATISTICS_INTERVAL: Duration = Duration::from_millis(100);
const STATISTICS_TIMEOUT: Duration = Duration::from_secs(2);

/// What one client did, as it tells itself. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Watch(Arc<Shared>);

#[derive(Default)]
struct Shared {
    acknowledged: AtomicU64,
    failed: AtomicU64,
    statistics: AtomicU64,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    /// Broker addresses that the client knows, and how often it dialled each.
    dialled: BTreeMap<String, i64>,
    trouble: Option<String>,
}

impl Watch {
    /// How many records the brokers acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Relaxed)
    }

    /// How many records the client gave up.
    pub(super) fn failed(&self) -> u64 {
        self.0.failed.load(Relaxed)
    }

    /// The last thing that went wrong, if anything did.
    pub(super) fn trouble(&self) -> Option<String> {
        self.said().trouble.clone()
    }

    pub(super) fn note(&self, trouble: String) {
        self.said().trouble = Some(trouble);
    }

    /// Every address that the client dialled so far, and how often. `poll` gives librdkafka a
    /// chance to say it.
    pub(super) fn dialled(&self, poll: impl Fn()) -> BTreeMap<String, i64> {
        let before = self.0.statistics.load(Relaxed);
        let deadline = Instant::now() + STATISTICS_TIMEOUT;
        while self.0.statistics.load(Relaxed) == before && Instant::now() < deadline {
            poll();
        }
        self.said().dialled.clone()
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.0.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn stats(&self, statistics: Statistics) {
        let mut dialled = BTreeMap::new();
        for broker in statistics.brokers.into_values() {
            let connects = broker.connects.unwrap_or(0);
            if connects > 0 {
                *dialled.entry(broker.nodename).or_default() += connects;
            }
        }
        self.said().dialled = dialled;
        self.0.statistics.fetch_add(1, Relaxed);
    }

    fn error(&self, _error: KafkaError, reason: &str) {
        self.note(reason.to_owned());
    }
}

impl ConsumerContext for Watch {}

impl ProducerContext for Watch {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, _: ()) {
        match result {
            Ok(_) => self.0.acknowledged.fetch_add(1, Relaxed),
            Err((error, _)) => {
                self.note(error.to_string());
                self.0.failed.fetch_add(1, Relaxed)
            }
        };
    }
}
