//! Keeps the broker map fresh by asking bootstrap servers, in Narrows' own name.
//!
//! One task a cluster asks, at a jittered interval and whenever somebody wants to know now; whoever
//! wants to know waits for that one answer. Where the brokers demand SASL, Narrows may not ask: the
//! cluster is *silent*, and the map is learned from responses that pass.

use super::view::{Learned, Source};
use super::{Cluster, ConnectError};
use crate::broker::{self, ProbeError};
use crate::lifecycle::Stop;
use crate::protocol::rewrite::BrokerList;
use crate::types::{BrokerAddress, NodeId};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// Between two refreshes, however many want to know.
const GAP_MIN: Duration = Duration::from_millis(200);
/// After a refresh that failed, doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// When a broker is missing from a list: a little more than it takes to be believed.
const SUSPICION_DELAY: Duration = Duration::from_millis(2100);

/// The state of a cluster's refreshes.
#[derive(Debug)]
pub(super) struct Refreshes {
    wanted: Notify,
    /// How many refreshes have ended, and the last one's result.
    ended: watch::Sender<(u64, Outcome)>,
    requires_authentication: AtomicBool,
    suspicion: Notify,
}

/// How a refresh ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// None has ended yet.
    #[default]
    None,
    /// The map is what the cluster says.
    Fresh,
    /// The brokers demand authentication, which Narrows can't give.
    Silent,
    /// Nobody could be asked; says why.
    Failed(String),
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            wanted: Notify::new(),
            ended: watch::Sender::new((0, Outcome::None)),
            requires_authentication: AtomicBool::new(false),
            suspicion: Notify::new(),
        }
    }
}

impl Cluster {
    /// Whether the brokers demand SASL, so that Narrows learns only from what passes.
    pub fn requires_authentication(&self) -> bool {
        self.refreshes.requires_authentication.load(Relaxed)
    }

    /// How the last refresh ended.
    pub fn last_refresh(&self) -> Outcome {
        self.refreshes.ended.borrow().1.clone()
    }

    /// Asks for a refresh soon, without waiting for it.
    pub fn want_refresh(&self) {
        self.refreshes.wanted.notify_one();
    }

    /// Waits for a refresh that begins now or is under way, or, before the first has ended, for the
    /// first; not longer than `timeout`. Cancel-safe.
    pub(super) async fn refreshed(&self, timeout: Duration) {
        let mut ended = self.refreshes.ended.subscribe();
        let (count, outcome) = ended.borrow_and_update().clone();
        if outcome == Outcome::Silent {
            return;
        }
        self.want_refresh();
        // An error means that the sender is gone, which `self` holds.
        let _ = tokio::time::timeout(timeout, ended.wait_for(|(now, _)| *now > count)).await;
    }

    /// Refreshes the map until Narrows stops. One such task runs beside each cluster.
    pub async fn keep_fresh(&self, stop: &Stop) {
        // Every wait in there may be long: a silent server has a deadline of many seconds.
        tokio::select! {
            () = stop.aborted() => {}
            () = self.refresh_for_ever() => {}
        }
    }

    async fn refresh_for_ever(&self) {
        let mut failures = 0u32;
        loop {
            let outcome = self.refresh().await;
            failures = if matches!(outcome, Outcome::Failed(_)) {
                failures.saturating_add(1)
            } else {
                0
            };
            self.note(outcome);
            let pause = self.pause(failures);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.refreshes.suspicion.notified() => tokio::time::sleep(SUSPICION_DELAY).await,
                () = self.refreshes.wanted.notified(), if !self.requires_authentication() => tokio::time::sleep(GAP_MIN).await,
            }
        }
    }

    fn pause(&self, failures: u32) -> Duration {
        let pause = match failures {
            0 => self.settings.metadata_refresh_interval,
            n => RETRY_MIN
                .saturating_mul(1 << n.min(16).saturating_sub(1))
                .min(RETRY_MAX),
        };
        pause.mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    fn note(&self, outcome: Outcome) {
        let before = self.last_refresh();
        let cluster = &self.settings.name;
        self.refreshes
            .requires_authentication
            .store(outcome == Outcome::Silent, Relaxed);
        match &outcome {
            Outcome::Failed(why) if before != outcome => {
                warn!(%cluster, "no broker of the cluster can be asked for metadata, trying \
                                 again: {why}");
            }
            Outcome::Silent if before != outcome => {
                info!(%cluster, "the brokers demand authentication: Narrows learns the broker map \
                                 from responses that pass");
            }
            Outcome::Fresh if matches!(before, Outcome::Failed(_)) => {
                info!(%cluster, "the cluster can be asked again")
            }
            _ => {}
        }
        self.metrics.refresh(match outcome {
            Outcome::Fresh | Outcome::None => "fresh",
            Outcome::Silent => "authentication_demanded",
            Outcome::Failed(_) => "failed",
        });
        self.refreshes.ended.send_modify(|(count, last)| {
            *count += 1;
            *last = outcome;
        });
    }

    /// Asks bootstrap servers in random order, then the brokers that are known, until one answers.
    async fn refresh(&self) -> Outcome {
        let mut failures = Vec::new();
        let mut is_closed = false;
        for address in self.bootstrap_candidates() {
            match self.ask(&address).await {
                Ok(sighting) => match self.learn(&sighting, Source::Own) {
                    Learned::WrongCluster { expected, seen } => {
                        failures.push(format!(
                            "{address} belongs to cluster {seen}, not to {expected}"
                        ));
                    }
                    _ => return Outcome::Fresh,
                },
                Err(failure) => {
                    is_closed |= matches!(
                        failure,
                        ConnectError::Probe {
                            source: ProbeError::Closed,
                            ..
                        }
                    );
                    failures.push(failure.to_string());
                }
            }
        }
        if is_closed {
            Outcome::Silent
        } else {
            Outcome::Failed(failures.join("; "))
        }
    }

    async fn ask(&self, address: &BrokerAddress) -> Result<BrokerList, ConnectError> {
        let dial = &self.settings.dial;
        let (mut stream, _) = self.dial(address).await?;
        let asked = broker::ask(&mut stream, None, dial.probe_timeout).await;
        asked.map_err(|source| ConnectError::Probe {
            address: address.clone(),
            source,
        })
    }

    /// Where a connection to any broker may go: the bootstrap servers in random order, then the
    /// brokers that are known, in case every bootstrap server is down or gone.
    pub(super) fn bootstrap_candidates(&self) -> Vec<BrokerAddress> {
        let mut candidates = self.settings.bootstrap_servers.clone();
        fastrand::shuffle(&mut candidates);
        let mut known: Vec<_> = self
            .view
            .brokers()
            .into_iter()
            .map(|(_, address)| address)
            .collect();
        known.retain(|address| !candidates.contains(address));
        fastrand::shuffle(&mut known);
        candidates.extend(known);
        candidates
    }

    /// Takes in what a response says, and acts on it.
    pub fn learn(&self, sighting: &BrokerList, source: Source) -> Learned {
        let lesson = self.view.learn(sighting, source, Instant::now());
        let cluster = &self.settings.name;
        match &lesson {
            Learned::Nothing => {}
            Learned::Changed => {
                let brokers = self.view.brokers();
                self.metrics
                    .brokers_known
                    .set(i64::try_from(brokers.len()).unwrap_or(i64::MAX));
                let map: Vec<_> = brokers
                    .iter()
                    .map(|(NodeId(node), address)| format!("{node}={address}"))
                    .collect();
                info!(%cluster, brokers = %map.join(" "), "the broker map has changed");
            }
            Learned::Suspicion => self.refreshes.suspicion.notify_one(),
            Learned::WrongCluster { expected, seen } => {
                warn!(
                    %cluster, %expected, %seen,
                    "a broker answered for another cluster id and was not believed: is a \
                     bootstrap server or a pod \
                     address shared by two clusters?"
                );
            }
        }
        lesson
    }
}
