//! Who is let in: permits for connections, of which each source, each listener and Narrows as a
//! whole have only so many.
//!
//! When a limit is met, the newest stranger is turned away, and connections that stand go on. The
//! defaults follow from two things that Narrows can't get more of while it runs:
//!
//! * **Descriptors.** A connection takes two, its client's socket and its broker's. What the
//!   process may open, less a reserve, halved, is how many there may be. The reserve keeps the
//!   admin port, refreshes, reloads and pipes alive when everything else is taken: a kubelet that
//!   gets no answer from `/livez` would end the clients that are served well.
//! * **Cores.** The first half of a TLS handshake costs a core one to two milliseconds, a hundred
//!   times what it costs a client to ask for it. Only as many are computed at once as there are
//!   cores, each lets everything else have its turn, and no more wait than can be served before
//!   their clients have given up.
//!
//! One source may have most of all connections, since everybody behind a NAT or a balancer is one
//! source, but never all; and newcomers, who have not sent a request yet, can't take the places of
//! those that have.

use super::rate::Rates;
use crate::observe::metrics::{Limit, LimitMetrics, ListenerMetrics};
use crate::session::Cause;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::warn;

/// How many there may be; what is not set follows from what the process may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitsSettings {
    /// Client connections in all.
    pub connections_max: Option<usize>,
    /// Client connections from one source address.
    pub connections_per_source_max: Option<usize>,
    /// New connections a second in all; without it, any number.
    pub connections_rate: Option<usize>,
    /// New connections a second from one source address; without it, any number.
    pub connections_per_source_rate: Option<usize>,
    /// Connections that have not sent their first request.
    pub newcomers_max: Option<usize>,
    /// TLS handshakes that wait to be computed.
    pub tls_handshakes_waiting_max: Option<usize>,
}

/// What the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capacity {
    /// File descriptors that it may have open.
    pub(crate) descriptors: usize,
    /// Cores that it may compute on.
    pub(crate) cores: usize,
}

/// A client's socket and its broker's.
const DESCRIPTORS_PER_CONNECTION: usize = 2;
/// Descriptors for everything but connections: 64 connections of the admin port, 64 pipes with two
/// ends each, listening sockets, files under reload, name lookups and Narrows' own questions.
const DESCRIPTORS_RESERVED: usize = 320;
/// Handshakes that a core computes in one to two seconds: who waits for the last of them is served
/// within every client's own time-out.
const HANDSHAKES_PER_CORE: usize = 1000;

/// How many descriptors so many connections need, with those for everything else.
pub(crate) fn descriptors_for(connections: usize) -> usize {
    connections
        .saturating_mul(DESCRIPTORS_PER_CONNECTION)
        .saturating_add(DESCRIPTORS_RESERVED)
}

/// What holds for a process that may use so much, for people.
pub(crate) fn limits_text(settings: LimitsSettings, capacity: Capacity) -> String {
    Maxima::new(settings, capacity).to_string()
}

/// The numbers that hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Maxima {
    connections: usize,
    per_source: usize,
    newcomers: usize,
    handshakes: usize,
    /// New connections a second in all.
    rate: Option<usize>,
    /// New connections a second of one source.
    source_rate: Option<usize>,
}

impl fmt::Display for Maxima {
    /// A line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            per_source,
            newcomers,
            handshakes,
            rate: in_all,
            source_rate,
        } = self;
        let rate = |max: Option<usize>| max.map_or("no limit".to_owned(), |max| max.to_string());
        write!(
            f,
            "{connections} connections, {per_source} of one source, {newcomers} without a request, \
             {handshakes} handshakes that wait; new connections a second: {}, of one source: {}",
            rate(*in_all),
            rate(*source_rate)
        )
    }
}

impl Maxima {
    fn new(settings: LimitsSettings, capacity: Capacity) -> Self {
        // Where descriptors are so few that the reserve would leave nothing, half of them are it.
        let reserved = DESCRIPTORS_RESERVED.min(capacity.descriptors / 2);
        let possible = (capacity.descriptors - reserved) / DESCRIPTORS_PER_CONNECTION;
        // More than descriptors allow would take those of the admin port.
        let connections = settings
            .connections_max
            .unwrap_or(possible)
            .min(possible)
            .max(1);
        let three_quarters = connections - connections / 4;
        let half = connections.div_ceil(2);
        let handshakes = HANDSHAKES_PER_CORE * capacity.cores.max(1);
        Self {
            connections,
            per_source: settings
                .connections_per_source_max
                .unwrap_or(three_quarters),
            newcomers: settings.newcomers_max.unwrap_or(half),
            handshakes: settings.tls_handshakes_waiting_max.unwrap_or(handshakes),
            rate: settings.connections_rate,
            source_rate: settings.connections_per_source_rate,
        }
    }

    /// A single source never keeps everybody else from beginning.
    fn newcomers_per_source(&self) -> usize {
        self.newcomers.div_ceil(2)
    }
}

/// The limits of one Narrows, shared by all its listeners.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: Capacity,
    state: Mutex<State>,
    metrics: LimitMetrics,
    computing: Arc<Semaphore>,
}

#[derive(Debug)]
struct State {
    maxima: Maxima,
    connections: usize,
    newcomers: usize,
    /// Those that have no broker yet.
    beginning: usize,
    handshakes: usize,
    sources: HashMap<Source, Counts>,
    /// Of all sources together.
    rate: Rates<()>,
    rates: Rates<Source>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: usize,
    newcomers: usize,
}

/// Who can be told from others: an IPv4 address, or an IPv6 network of 64 bits, since whoever has
/// one IPv6 address has them all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(IpAddr);

impl Source {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Self(IpAddr::V6(network.into()))
            }
            address => Self(address),
        }
    }
}

impl Limits {
    /// The limits of a Narrows that may use so much.
    pub(crate) fn new(settings: LimitsSettings, capacity: Capacity, metrics: LimitMetrics) -> Self {
        let state = State {
            maxima: Maxima::new(settings, capacity),
            connections: 0,
            newcomers: 0,
            beginning: 0,
            handshakes: 0,
            sources: HashMap::new(),
            rate: Rates::default(),
            rates: Rates::default(),
        };
        let shared = Shared {
            capacity,
            state: Mutex::new(state),
            metrics,
            computing: Arc::new(Semaphore::new(capacity.cores.max(1))),
        };
        let limits = Self {
            shared: Arc::new(shared),
        };
        limits.change(settings);
        limits
    }

    /// From now on these hold; whoever is in stays.
    pub(crate) fn change(&self, settings: LimitsSettings) {
        let maxima = Maxima::new(settings, self.shared.capacity);
        self.lock().maxima = maxima;
        if let Some(wanted) = settings.connections_max
            && wanted > maxima.connections
        {
            let Capacity { descriptors, .. } = self.shared.capacity;
            warn!(
                "limits.connections_max = {wanted} holds for {} connections only, since the \
                 process may open {descriptors} files: raise that limit (ulimit -n)",
                maxima.connections
            );
        }
        let Maxima {
            connections,
            per_source,
            newcomers,
            handshakes,
            rate,
            source_rate,
        } = maxima;
        let metrics = &self.shared.metrics;
        metrics.set_max([connections, per_source, newcomers, handshakes]);
        metrics.set_rate_max(Limit::Rate, rate);
        metrics.set_rate_max(Limit::SourceRate, source_rate);
    }

    /// Lets one more connection in, which counts at `listener` for as long as the permit lives.
    /// `source` is whose it is, if that is known.
    pub(super) fn admit(
        &self,
        listener: &ListenerMetrics,
        source: Option<IpAddr>,
    ) -> Result<Permit, Cause> {
        let mut state = self.lock();
        let maxima = state.maxima;
        within(Limit::Connections, state.connections, maxima.connections)?;
        within(Limit::Newcomers, state.newcomers, maxima.newcomers)?;
        let source = source.map(Source::of);
        state.enter_source(source, true)?;
        // Last: a source that is too fast itself must not use up what all the others may.
        if let Err(cause) = state.enter_rate() {
            state.leave_source(source, Kind::Connection);
            state.leave_source(source, Kind::Newcomer);
            return Err(cause);
        }
        state.connections += 1;
        state.newcomers += 1;
        state.beginning += 1;
        self.show(&state);
        drop(state);
        let newcomer = Place {
            limits: self.clone(),
            source,
            kind: Kind::Newcomer,
        };
        let place = Place {
            limits: self.clone(),
            source,
            kind: Kind::Connection,
        };
        let beginning = Place {
            limits: self.clone(),
            source: None,
            kind: Kind::Beginning,
        };
        listener.active.inc();
        Ok(Permit {
            place,
            newcomer: Some(newcomer),
            beginning: Some(beginning),
            listener: listener.clone(),
        })
    }

    /// Waits until a handshake may be computed, behind those that wait already.
    pub(super) async fn turn(&self) -> Result<Turn, Cause> {
        let waiting = {
            let mut state = self.lock();
            within(Limit::Handshakes, state.handshakes, state.maxima.handshakes)?;
            state.handshakes += 1;
            self.show(&state);
            Place {
                limits: self.clone(),
                source: None,
                kind: Kind::Handshake,
            }
        };
        let computing = Arc::clone(&self.shared.computing).acquire_owned().await;
        Ok(Turn {
            _waiting: waiting,
            // It is never closed.
            _computing: computing.ok(),
        })
    }

    /// What is used of each limit, for the status page.
    pub(crate) fn to_json(&self) -> Value {
        let state = self.lock();
        let largest = state
            .sources
            .values()
            .map(|counts| counts.connections)
            .max();
        let of = |limit: Limit, in_use: usize, max: usize| json!({ "limit": limit.label(), "in_use": in_use, "max": max });
        let maxima = state.maxima;
        let now = Instant::now();
        let rate = maxima
            .rate
            .map(|max| of(Limit::Rate, state.rate.busiest(max, now), max));
        let source_rate = maxima
            .source_rate
            .map(|max| of(Limit::SourceRate, state.rates.busiest(max, now), max));
        let mut limits = vec![
            of(Limit::Connections, state.connections, maxima.connections),
            // Of the source that has the most.
            of(
                Limit::SourceConnections,
                largest.unwrap_or(0),
                maxima.per_source,
            ),
            of(Limit::Newcomers, state.newcomers, maxima.newcomers),
            of(Limit::Handshakes, state.handshakes, maxima.handshakes),
        ];
        limits.extend(rate.into_iter().chain(source_rate));
        limits.into()
    }

    /// How many connections have no broker yet: either has a first request to come, or to be
    /// carried for the first time.
    pub(crate) fn beginning(&self) -> usize {
        self.lock().beginning
    }

    fn show(&self, state: &State) {
        let metrics = &self.shared.metrics;
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        metrics.connections.set(count(state.connections));
        metrics.newcomers.set(count(state.newcomers));
        metrics.handshakes.set(count(state.handshakes));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enter_rate(&mut self) -> Result<(), Cause> {
        match self.maxima.rate {
            Some(max) if !self.rate.admit((), max, Instant::now()) => {
                let limit = Limit::Rate;
                Err(Cause::LimitReached { limit, max })
            }
            _ => Ok(()),
        }
    }

    fn enter_source(&mut self, source: Option<Source>, is_newcomer: bool) -> Result<(), Cause> {
        let Some(source) = source else { return Ok(()) };
        let maxima = self.maxima;
        let known = self.sources.get(&source);
        let connections = known.map_or(0, |counts| counts.connections);
        within(Limit::SourceConnections, connections, maxima.per_source)?;
        if is_newcomer {
            let newcomers = known.map_or(0, |counts| counts.newcomers);
            within(
                Limit::SourceNewcomers,
                newcomers,
                maxima.newcomers_per_source(),
            )?;
        }
        if let Some(max) = maxima.source_rate
            && !self.rates.admit(source, max, Instant::now())
        {
            let limit = Limit::SourceRate;
            return Err(Cause::LimitReached { limit, max });
        }
        // Nothing is noted of a source that has no connection: there are too many addresses.
        let counts = self.sources.entry(source).or_default();
        counts.connections += 1;
        counts.newcomers += usize::from(is_newcomer);
        Ok(())
    }

    fn leave_source(&mut self, source: Option<Source>, kind: Kind) {
        let Some(source) = source else { return };
        let Some(counts) = self.sources.get_mut(&source) else {
            return;
        };
        match kind {
            Kind::Connection => counts.connections -= 1,
            Kind::Newcomer => counts.newcomers -= 1,
            Kind::Beginning | Kind::Handshake => {}
        }
        if counts.connections == 0 && counts.newcomers == 0 {
            self.sources.remove(&source);
        }
    }
}

fn within(limit: Limit, in_use: usize, max: usize) -> Result<(), Cause> {
    if in_use < max {
        Ok(())
    } else {
        Err(Cause::LimitReached { limit, max })
    }
}

/// One that counts, until it is dropped.
#[derive(Debug)]
struct Place {
    limits: Limits,
    source: Option<Source>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Newcomer,
    Beginning,
    Handshake,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.limits.lock();
        match self.kind {
            Kind::Connection => state.connections -= 1,
            Kind::Newcomer => state.newcomers -= 1,
            Kind::Beginning => state.beginning -= 1,
            Kind::Handshake => state.handshakes -= 1,
        }
        state.leave_source(self.source, self.kind);
        self.limits.show(&state);
    }
}

/// A connection may be here, and counts at its listener, for as long as this lives.
#[derive(Debug)]
pub(super) struct Permit {
    place: Place,
    newcomer: Option<Place>,
    beginning: Option<Place>,
    listener: ListenerMetrics,
}

impl Permit {
    /// It is known now whose connection it is.
    pub(super) fn come_from(&mut self, source: IpAddr) -> Result<(), Cause> {
        if self.place.source.is_some() {
            return Ok(());
        }
        let source = Some(Source::of(source));
        let mut state = self.place.limits.lock();
        let is_newcomer = self.newcomer.is_some();
        state.enter_source(source, is_newcomer)?;
        if let Some(newcomer) = &mut self.newcomer {
            newcomer.source = source;
        }
        drop(state);
        self.place.source = source;
        Ok(())
    }

    /// It counts at this listener from now on, which takes so many.
    pub(super) fn enter(
        &mut self,
        listener: &ListenerMetrics,
        connections_max: Option<usize>,
    ) -> Result<(), Cause> {
        // The lock makes the look and the step one.
        let _state = self.place.limits.lock();
        self.listener.active.dec();
        let in_use = usize::try_from(listener.active.get()).unwrap_or(0);
        listener.active.inc();
        self.listener = listener.clone();
        connections_max.map_or(Ok(()), |max| {
            within(Limit::ListenerConnections, in_use, max)
        })
    }

    /// Its place among the newcomers, for its session to give back when a request has come.
    pub(super) fn end_as_newcomer(&mut self) -> Option<impl Send + Sync + use<>> {
        self.newcomer.take()
    }

    /// Its place among those that have no broker yet, for its session to give back.
    pub(super) fn end_beginning(&mut self) -> Option<impl Send + Sync + use<>> {
        self.beginning.take()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.listener.active.dec();
    }
}

/// A handshake may be computed for as long as this lives.
#[derive(Debug)]
pub(super) struct Turn {
    _waiting: Place,
    _computing: Option<OwnedSemaphorePermit>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;
    use crate::types::ListenerName;

    const CAPACITY: Capacity = Capacity {
        descriptors: 1024,
        cores: 1,
    };

    fn limits(settings: LimitsSettings) -> (Limits, ListenerMetrics) {
        let metrics = Metrics::new(std::iter::empty());
        let listener = metrics.listener(&ListenerName("external".into()));
        (Limits::new(settings, CAPACITY, metrics.limits()), listener)
    }

    fn source(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    fn code<T>(admitted: &Result<T, Cause>) -> &'static str {
        admitted.as_ref().err().map_or("", Cause::code)
    }

    #[test]
    fn what_is_not_set_follows_from_descriptors_and_cores() {
        let none = LimitsSettings::default();
        let of = |settings, descriptors, cores| {
            let Maxima {
                connections,
                per_source,
                newcomers,
                handshakes,
                rate: _,
                source_rate: _,
            } = Maxima::new(settings, Capacity { descriptors, cores });
            [connections, per_source, newcomers, handshakes]
        };
        assert_eq!(of(none, 1024, 2), [352, 264, 176, 2000]);
        assert_eq!(of(none, 1 << 20, 64), [524_128, 393_096, 262_064, 64_000]);
        assert_eq!(of(none, 64, 0), [16, 12, 8, 1000], "half is held back");
        assert_eq!(of(none, 0, 0), [1, 1, 1, 1000], "never none at all");
        let above = LimitsSettings {
            connections_max: Some(1_000_000),
            ..none
        };
        assert_eq!(of(above, 1024, 2)[0], 352, "the reserve stays");
        let below = LimitsSettings {
            connections_max: Some(10),
            ..none
        };
        assert_eq!(of(below, 1024, 2), [10, 8, 5, 2000]);
    }

    #[test]
    fn an_ipv6_network_is_one_source_and_a_mapped_address_is_its_ipv4_one() {
        let of = |text: &str| Source::of(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    #[test]
    fn a_permit_gives_back_all_that_it_took() {
        let (limits, listener) = limits(LimitsSettings {
            connections_per_source_max: Some(1),
            ..LimitsSettings::default()
        });
        let mut first = limits.admit(&listener, source("192.0.2.1")).unwrap();
        let again = limits.admit(&listener, source("192.0.2.1"));
        assert_eq!(code(&again), "connections_per_source_max");
        let mut second = limits.admit(&listener, None).unwrap();
        let same = second.come_from("192.0.2.1".parse().unwrap());
        assert_eq!(code(&same), "connections_per_source_max");
        second.come_from("192.0.2.2".parse().unwrap()).unwrap();
        drop(first.end_as_newcomer());
        assert_eq!(listener.active.get(), 2);
        let in_use = |limits: &Limits| {
            let state = limits.lock();
            [state.connections, state.newcomers, state.sources.len()]
        };
        assert_eq!(in_use(&limits), [2, 1, 2]);
        drop((first, second));
        assert_eq!(in_use(&limits), [0, 0, 0]);
        assert_eq!(listener.active.get(), 0);
        assert!(limits.admit(&listener, source("192.0.2.1")).is_ok());
    }

    #[test]
    fn newcomers_of_many_sources_together_are_no_more_than_may_be() {
        let (limits, listener) = limits(LimitsSettings {
            newcomers_max: Some(3),
            ..LimitsSettings::default()
        });
        let admit = |last: u8| limits.admit(&listener, source(&format!("192.0.2.{last}")));
        let mut newcomers: Vec<_> = (1..=3).map(|last| admit(last).unwrap()).collect();
        assert_eq!(code(&admit(4)), "newcomers_max");
        // Who has asked for something is none any more.
        drop(newcomers[0].end_as_newcomer());
        let fourth = admit(4);
        assert_eq!(code(&fourth), "");
        assert_eq!(code(&admit(5)), "newcomers_max");
    }

    #[test]
    fn a_source_that_dials_too_often_is_turned_away_and_others_are_not() {
        let (limits, listener) = limits(LimitsSettings {
            connections_per_source_rate: Some(1),
            ..LimitsSettings::default()
        });
        let fast = source("192.0.2.1");
        let refused = std::iter::repeat_with(|| limits.admit(&listener, fast))
            .take(100)
            .find_map(Result::err)
            .unwrap();
        assert_eq!(refused.code(), "connections_per_source_rate");
        assert!(limits.admit(&listener, source("192.0.2.2")).is_ok());
        let shown = limits.to_json();
        assert_eq!(shown[4]["limit"], "connections_per_source_rate");
        assert_eq!(shown[4]["max"], 1);
        limits.change(LimitsSettings::default());
        assert!(limits.admit(&listener, fast).is_ok());
        assert!(limits.to_json().get(4).is_none(), "no limit, no row");
    }

    #[test]
    fn all_together_may_dial_only_so_fast_and_who_is_too_fast_alone_takes_nothing_from_them() {
        let (limits, listener) = limits(LimitsSettings {
            connections_rate: Some(3),
            connections_per_source_rate: Some(1),
            ..LimitsSettings::default()
        });
        let admitted = |from: &str| {
            let admit = || limits.admit(&listener, source(from));
            let ends: Vec<_> = std::iter::repeat_with(admit).take(50).collect();
            let refused = ends.iter().map(code).find(|code| !code.is_empty());
            (ends.iter().filter(|end| end.is_ok()).count(), refused)
        };
        let alone = (10, Some("connections_per_source_rate"));
        assert_eq!(admitted("192.0.2.1"), alone);
        assert_eq!(admitted("192.0.2.2"), alone);
        assert_eq!(admitted("192.0.2.3"), alone);
        assert_eq!(admitted("192.0.2.4"), (0, Some("connections_rate")));
        let state = limits.lock();
        assert!(state.sources.is_empty() && state.connections == 0);
        drop(state);
        let shown = limits.to_json();
        assert_eq!(
            (&shown[4]["limit"], &shown[4]["max"], &shown[4]["in_use"]),
            (&json!("connections_rate"), &json!(3), &json!(2)),
        );
        limits.change(LimitsSettings::default());
        assert_eq!(admitted("192.0.2.5").0, 50);
    }

    #[test]
    fn a_limit_that_is_lowered_ends_nobody_and_lets_nobody_in() {
        let (limits, listener) = limits(LimitsSettings::default());
        let permits: Vec<_> = (0..3)
            .map(|_| limits.admit(&listener, None).unwrap())
            .collect();
        limits.change(LimitsSettings {
            connections_max: Some(2),
            newcomers_max: Some(10),
            ..LimitsSettings::default()
        });
        assert_eq!(code(&limits.admit(&listener, None)), "connections_max");
        drop(permits);
        assert!(limits.admit(&listener, None).is_ok());
    }

    #[tokio::test]
    async fn handshakes_are_computed_one_behind_the_other_and_no_more_wait_than_may() {
        let (limits, _) = limits(LimitsSettings {
            tls_handshakes_waiting_max: Some(2),
            ..LimitsSettings::default()
        });
        let first = limits.turn().await.unwrap();
        let mut second = Box::pin(limits.turn());
        assert!(at_once(&mut second).await.is_none(), "it waits");
        let third = limits.turn().await;
        assert_eq!(code(&third), "tls_handshakes_waiting_max");
        drop(first);
        let second = second.await.unwrap();
        drop(second);
        assert_eq!(limits.lock().handshakes, 0);
    }

    /// What comes of a future at once.
    async fn at_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        tokio::select! {
            biased;
            output = future => Some(output),
            () = std::future::ready(()) => None,
        }
    }
}
