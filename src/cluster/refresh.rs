//! Keeps the broker map fresh by asking bootstrap servers, in Narrows' own name.
//!
//! One task a cluster asks, at a jittered interval and whenever somebody wants to know now; whoever
//! wants to know waits for that one answer. Where the brokers demand a login, Narrows may not ask,
//! and the map is learned from responses that pass.
//!
//! That a login is demanded is believed on a broker's word alone, its answer to a SaslHandshake.
//! Belief switches off every check of who a broker is, and whatever stands in front of a broker
//! that is away (a port forward, a sidecar, a balancer) closes connections just as such a listener
//! does.

use super::view::{Learned, Source};
use super::{Cluster, ConnectError};
use crate::broker::{self, DialError, OwnName};
use crate::lifecycle::Stop;
use crate::observe::text::Shown;
use crate::observe::throttle::Throttle;
use crate::observe::time::now;
use crate::protocol::own_requests::Handshake;
use crate::protocol::rewrite::BrokerList;
use crate::types::BrokerAddress;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

/// Between two refreshes, however many want to know.
const GAP_MIN: Duration = Duration::from_millis(200);
/// After a refresh that failed, doubled each time.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// When a broker is missing from a list: a little more than it takes to be believed.
const SUSPICION_DELAY: Duration = Duration::from_millis(2100);
/// Brokers that demand a login are asked whether they still do ever more seldom, up to this.
const LOGIN_CHECK_MAX: Duration = Duration::from_secs(3600);
/// Between two lines of one kind in the log.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// What a SaslHandshake names before a broker has named its mechanisms.
const FIRST_MECHANISM: &str = "PLAIN";

/// The state of a cluster's refreshes.
#[derive(Debug)]
pub(super) struct Refreshes {
    wanted: Notify,
    restarted: Notify,
    /// How many refreshes have ended, and the last one's result.
    ended: watch::Sender<(u64, Outcome)>,
    requires_authentication: AtomicBool,
    /// A mechanism that the brokers have named.
    mechanism: Mutex<Option<String>>,
    suspicion: Notify,
    lines: Mutex<Lines>,
}

/// How often things have been said.
#[derive(Debug)]
pub(super) struct Lines {
    failed: Throttle,
    wrong_cluster: Throttle,
    map: Throttle,
    pub(super) sharing: Throttle,
    pub(super) moved: Throttle,
    pub(super) flapping: Throttle,
    pub(super) mixed: Throttle,
    pub(super) elsewhere: Throttle,
    pub(super) half_named: Throttle,
}

/// How a refresh ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// None has ended yet.
    #[default]
    None,
    /// The map is what the cluster says.
    Fresh,
    /// The brokers demand a login, which Narrows can't give.
    LoginDemanded,
    /// Nobody could be asked; says why.
    Failed(String),
}

impl Outcome {
    /// Every word that there is.
    pub(super) const CODES: [&'static str; 3] = ["fresh", "authentication_demanded", "failed"];

    /// A word for the metric: a closed set.
    fn code(&self) -> &'static str {
        match self {
            Self::Fresh | Self::None => "fresh",
            Self::LoginDemanded => "authentication_demanded",
            Self::Failed(_) => "failed",
        }
    }
}

impl Default for Refreshes {
    fn default() -> Self {
        Self {
            wanted: Notify::new(),
            restarted: Notify::new(),
            ended: watch::Sender::new((0, Outcome::None)),
            requires_authentication: AtomicBool::new(false),
            mechanism: Mutex::default(),
            suspicion: Notify::new(),
            lines: Mutex::new(Lines {
                failed: Throttle::every(LINE_INTERVAL),
                wrong_cluster: Throttle::every(LINE_INTERVAL),
                map: Throttle::every(Duration::from_secs(10)),
                sharing: Throttle::every(LINE_INTERVAL),
                moved: Throttle::every(Duration::from_secs(10)),
                flapping: Throttle::every(LINE_INTERVAL),
                mixed: Throttle::every(Duration::from_secs(10)),
                elsewhere: Throttle::every(LINE_INTERVAL),
                half_named: Throttle::every(LINE_INTERVAL),
            }),
        }
    }
}

impl Refreshes {
    /// The settings are others: ask anew, about logins too.
    pub(super) fn restart(&self) {
        self.login_demanded(None);
        self.restarted.notify_one();
    }

    fn login_demanded(&self, mechanism: Option<String>) {
        let is_demanded = mechanism.is_some();
        *self
            .mechanism
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = mechanism;
        self.requires_authentication.store(is_demanded, Relaxed);
    }

    fn mechanism(&self) -> Option<String> {
        let mechanism = self
            .mechanism
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        mechanism.clone()
    }

    pub(super) fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cluster {
    /// Whether the brokers have said that they demand a login, so that Narrows learns only from
    /// what passes.
    pub(crate) fn requires_authentication(&self) -> bool {
        self.refreshes.requires_authentication.load(Relaxed)
    }

    /// How the last refresh ended.
    pub(crate) fn last_refresh(&self) -> Outcome {
        self.refreshes.ended.borrow().1.clone()
    }

    /// Asks for a refresh soon, without waiting for it.
    pub(crate) fn want_refresh(&self) {
        self.refreshes.wanted.notify_one();
    }

    /// Waits for a refresh that begins now or is under way, or, before the first has ended, for the
    /// first; not longer than `timeout`. Cancel-safe.
    pub(super) async fn refreshed(&self, timeout: Duration) {
        let mut ended = self.refreshes.ended.subscribe();
        let (count, _) = *ended.borrow_and_update();
        if self.requires_authentication() {
            return;
        }
        self.want_refresh();
        // An error means that the sender is gone, which `self` holds.
        let _ = tokio::time::timeout(timeout, ended.wait_for(|(now, _)| *now > count)).await;
    }

    /// Refreshes the map until Narrows stops. One such task runs beside each cluster.
    pub(crate) async fn keep_fresh(&self, stop: &Stop) {
        // Every wait in there may be long: a silent server has a deadline of many seconds.
        tokio::select! {
            () = stop.aborted() => {}
            () = self.refresh_for_ever() => {}
            () = self.settle_claims_for_ever() => {}
            () = self.ask_offers_for_ever() => {}
        }
    }

    async fn refresh_for_ever(&self) {
        let mut failures = 0u32;
        let mut login_checks = 0u32;
        loop {
            let outcome = self.refresh().await;
            let more = |count: u32, is_so| if is_so { count.saturating_add(1) } else { 0 };
            failures = more(failures, matches!(outcome, Outcome::Failed(_)));
            login_checks = more(login_checks, outcome == Outcome::LoginDemanded);
            self.note(outcome);
            let refreshes = &self.refreshes;
            tokio::select! {
                () = tokio::time::sleep(self.pause(failures, login_checks)) => {}
                () = refreshes.restarted.notified() => {}
                () = refreshes.suspicion.notified() => tokio::time::sleep(SUSPICION_DELAY).await,
                () = refreshes.wanted.notified(), if !self.requires_authentication() => {
                    tokio::time::sleep(GAP_MIN).await;
                }
            }
        }
    }

    /// Until the next refresh, by how many in a row have failed, or have found a login demanded.
    pub(super) fn pause(&self, failures: u32, login_checks: u32) -> Duration {
        let interval = self.settings().metadata_refresh_interval;
        let doubled = |first: Duration, count: u32| {
            first.saturating_mul(1 << count.min(16).saturating_sub(1))
        };
        let pause = match (failures, login_checks) {
            (0, 0) => interval,
            (0, checks) => doubled(interval, checks).min(LOGIN_CHECK_MAX.max(interval)),
            (failures, _) => doubled(RETRY_MIN, failures).min(RETRY_MAX),
        };
        pause.mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    fn note(&self, outcome: Outcome) {
        let before = self.last_refresh();
        let cluster = self.name();
        match &outcome {
            Outcome::Failed(why) => {
                if let Some(suppressed) = self.refreshes.lines().failed.admit(now()) {
                    warn!(%cluster, suppressed, "no broker of the cluster can be asked for \
                                                 metadata, trying again: {why}");
                }
            }
            Outcome::LoginDemanded if before != outcome => {
                info!(%cluster, "the brokers demand authentication: Narrows learns the broker map \
                                 from responses that pass");
            }
            Outcome::Fresh if matches!(before, Outcome::Failed(_)) => {
                info!(%cluster, "the cluster can be asked again");
            }
            _ => {}
        }
        self.note_sharing();
        self.metrics.refresh(outcome.code());
        self.refreshes.ended.send_modify(|(count, last)| {
            *count += 1;
            *last = outcome;
        });
    }

    /// Asks bootstrap servers in random order, then the brokers that are known, until one answers.
    async fn refresh(&self) -> Outcome {
        let mut failures = Vec::new();
        if let Some(mechanism) = self.refreshes.mechanism() {
            // A broker that demands a login logs a warning with a stack trace when it is asked
            // anything else (Kafka 2.4 to 4.4), so that it is asked only whether it still does.
            for address in self.bootstrap_candidates() {
                match self.login_at(&address, &mechanism, &OwnName::plain()).await {
                    Ok(Handshake::NotDemanded) => {
                        self.refreshes.login_demanded(None);
                        return Box::pin(self.refresh()).await;
                    }
                    Ok(_) => return Outcome::LoginDemanded,
                    Err(failure) => failures.push(failure.to_string()),
                }
            }
            return Outcome::Failed(failures.join("; "));
        }
        let servers = self.settings().bootstrap_servers.clone();
        let mut stranger: Option<BrokerList> = None;
        let mut is_unanimous = true;
        for address in self.bootstrap_candidates() {
            match self.ask(&address).await {
                Ok(sighting) => match self.learn(&sighting, Source::Own) {
                    Learned::WrongCluster { expected, seen } => {
                        failures.push(self.stranger_text(&address, &expected, &seen));
                        let first = stranger.get_or_insert(sighting);
                        is_unanimous &= first.cluster_id.as_deref() == Some(&*seen);
                    }
                    _ => return Outcome::Fresh,
                },
                Err(failure) => {
                    if failure.is_closed()
                        && let Some(mechanism) = self
                            .mechanism_demanded_at(&address, &OwnName::plain())
                            .await
                    {
                        self.refreshes.login_demanded(Some(mechanism));
                        return Outcome::LoginDemanded;
                    }
                    is_unanimous &= !servers.contains(&address);
                    failures.push(failure.to_string());
                }
            }
        }
        if let Some(stranger) = stranger
            && self.view.insist(&stranger, is_unanimous, now())
        {
            self.map_changed();
            return Outcome::Fresh;
        }
        Outcome::Failed(failures.join("; "))
    }

    fn stranger_text(&self, address: &BrokerAddress, expected: &str, seen: &str) -> String {
        let cluster = self.name();
        let pin = if self.settings().cluster_id.is_some() {
            format!(" (clusters.{cluster}.cluster_id)")
        } else {
            String::new()
        };
        let seen = Shown::name(seen);
        let expected = Shown::name(expected);
        format!("{address} belongs to cluster {seen}, not to {expected}{pin}")
    }

    #[cfg(test)]
    pub(super) async fn refresh_once(&self) -> Outcome {
        let outcome = self.refresh().await;
        self.note(outcome.clone());
        outcome
    }

    async fn ask(&self, address: &BrokerAddress) -> Result<BrokerList, ConnectError> {
        let (mut stream, _) = self.dial(address).await?;
        let timeout = self.settings().dial.probe_timeout;
        let asked = broker::ask(&mut stream, &OwnName::plain(), None, timeout).await;
        asked.map_err(|source| ConnectError::probe(address, source))
    }

    /// One of the mechanisms by which a broker demands a login, if it does. Asked under the same
    /// `name` as whatever has led to the question: a ring of several instances shows by it.
    pub(super) async fn mechanism_demanded_at(
        &self,
        address: &BrokerAddress,
        name: &OwnName,
    ) -> Option<String> {
        match self.login_at(address, FIRST_MECHANISM, name).await {
            Ok(Handshake::Demanded(mechanisms)) => mechanisms.into_iter().next(),
            _ => None,
        }
    }

    /// Asks for a login, whatever the answer is.
    pub(super) async fn answers_handshake(
        &self,
        address: &BrokerAddress,
        name: &OwnName,
    ) -> Result<(), ConnectError> {
        let mechanism = self.refreshes.mechanism();
        let mechanism = mechanism.as_deref().unwrap_or(FIRST_MECHANISM);
        self.login_at(address, mechanism, name).await.map(drop)
    }

    async fn login_at(
        &self,
        address: &BrokerAddress,
        mechanism: &str,
        name: &OwnName,
    ) -> Result<Handshake, ConnectError> {
        let (mut stream, _) = self.dial(address).await?;
        let timeout = self.settings().dial.probe_timeout;
        let asked = broker::ask_for_login(&mut stream, name, mechanism, timeout).await;
        asked.map_err(|source| ConnectError::probe(address, source))
    }

    /// Where a connection to any broker may go: the bootstrap servers in random order, then the
    /// brokers that are known, in case every bootstrap server is down or gone.
    pub(super) fn bootstrap_candidates(&self) -> Vec<BrokerAddress> {
        let mut candidates = self.settings().bootstrap_servers.clone();
        fastrand::shuffle(&mut candidates);
        let mut known: Vec<_> = self
            .view
            .brokers()
            .into_iter()
            .map(|(_, address)| address)
            .collect();
        known.retain(|address| !candidates.contains(address));
        fastrand::shuffle(&mut known);
        candidates.extend(known.into_iter().take(KNOWN_ASKED_MAX));
        candidates
    }

    /// Takes in what a response says, and acts on it.
    pub(crate) fn learn(&self, sighting: &BrokerList, source: Source) -> Learned {
        let lesson = self.view.learn(sighting, source, now());
        match &lesson {
            Learned::Nothing => {}
            Learned::Changed => self.map_changed(),
            Learned::Suspicion => self.refreshes.suspicion.notify_one(),
            Learned::WrongCluster { expected, seen } => self.warn_of_stranger(expected, seen),
        }
        lesson
    }

    /// The broker map is another one, or its brokers are dialled elsewhere.
    pub(super) fn map_changed(&self) {
        let brokers = self.view.brokers();
        let servers = self.settings().bootstrap_servers.clone();
        self.dials.keep(|address| {
            servers.contains(address) || brokers.iter().any(|(_, known)| known == address)
        });
        self.offered
            .left_but(&brokers.iter().map(|(node, _)| *node).collect());
        let count = i64::try_from(brokers.len()).unwrap_or(i64::MAX);
        self.metrics.brokers_known.set(count);
        for (node, _) in brokers.iter().take(BROKERS_BEGUN) {
            self.metrics.dials_begin(Some(*node), &DialError::CODES);
        }
        self.note_sharing();
        let Some(suppressed) = self.refreshes.lines().map.admit(now()) else {
            return;
        };
        let cluster = self.name();
        let mut map: Vec<_> = brokers
            .iter()
            .take(BROKERS_SHOWN)
            .map(|(node, address)| format!("{node}={}", Shown::name(&address.to_string())))
            .collect();
        if brokers.len() > BROKERS_SHOWN {
            map.push(format!("and {} more", brokers.len() - BROKERS_SHOWN));
        }
        info!(%cluster, suppressed, brokers = %map.join(" "), "the broker map has changed");
    }

    fn warn_of_stranger(&self, expected: &str, seen: &str) {
        let line = self.refreshes.lines().wrong_cluster.admit(now());
        let Some(suppressed) = line else { return };
        let cluster = self.name();
        let expected = Shown::name(expected).to_string();
        let seen = Shown::name(seen).to_string();
        if self.settings().cluster_id.is_some() {
            warn!(
                %cluster, expected, seen, suppressed,
                "a broker answered for cluster id {seen}, but clusters.{cluster}.cluster_id is \
                 {expected}: is the key right, and are the bootstrap servers those of this cluster?"
            );
        } else {
            warn!(
                %cluster, expected, seen, suppressed,
                "a broker answered for another cluster id and was not believed: is a bootstrap \
                 server or a pod address shared by two clusters?"
            );
        }
    }
}

/// Of the known brokers, so many are asked when no bootstrap server answers; others the next time.
const KNOWN_ASKED_MAX: usize = 20;

/// So many brokers have series of failed dials from the start, seven each; the others' begin with
/// their first.
const BROKERS_BEGUN: usize = 100;

/// More brokers than this are not in the map's line.
const BROKERS_SHOWN: usize = 50;
