//! What all tests of a run share: the namespaces, the cluster, the leak trap, and one Narrows that
//! stays up.
//!
//! Tests that harm nothing but their own topics share the fixture; those that kill brokers have it
//! alone, and leave it whole: if they can't, that is their failure and not the next one's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::brokers::{Cluster, Kafka, ports};
use crate::clients::Front;
use crate::logs;
use crate::names;
use crate::namespaces::{NODE_IDS, Namespaces, Side, broker_ip};
use crate::narrows::{self, Narrows};
use crate::pki::Pki;
use crate::tls;
use crate::trap::LeakTrap;

/// See the module's text. Fields are dropped in order: the namespaces, and with it every process,
/// goes last.
#[derive(Debug)]
pub(crate) struct Fixture {
    /// None in direct mode.
    narrows: Option<Narrows>,
    /// Set up by the first test that needs it.
    gateway: OnceLock<Result<Narrows, String>>,
    pub(crate) cluster: Cluster,
    pub(crate) trap: LeakTrap,
    pub(crate) pki: Pki,
    pub(crate) namespaces: Namespaces,
    quiet: RwLock<()>,
    slots: AtomicU16,
}

/// Whether clients talk to the brokers themselves (`NARROWS_DIRECT=1`): the control that tells a
/// fault of Narrows' from one of a client's or the harness's. Tests that are about Narrows itself
/// are not listed then.
pub(crate) fn is_direct() -> bool {
    is_set("NARROWS_DIRECT")
}

/// Whether the environment variable says 1.
pub(crate) fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| value == "1")
}

/// The fixture, set up by the first test that needs it.
pub(crate) type LazyFixture = Arc<OnceLock<Result<Fixture, String>>>;

/// A test that shares the fixture with others.
pub(crate) fn sharing(fixture: &LazyFixture, name: &str, test: impl Act) -> Trial {
    trial(fixture, name, move |fixture| {
        let _quiet = fixture.quiet.read().unwrap_or_else(PoisonError::into_inner);
        watched(fixture, &test)
    })
}

/// A test that has the fixture for itself.
pub(crate) fn alone(fixture: &LazyFixture, name: &str, test: impl Act) -> Trial {
    trial(fixture, name, move |fixture| {
        let _quiet = fixture
            .quiet
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let act = || {
            let outcome = watched(fixture, &test);
            let healed = fixture
                .cluster
                .heal(&fixture.namespaces)
                .context("the cluster did not recover after the test");
            outcome.and(healed)
        };
        fixture.forgetting_announcements(act)
    })
}

/// What a test does.
pub(crate) trait Act: Fn(&Fixture) -> Result<()> + Send + 'static {}
impl<F: Fn(&Fixture) -> Result<()> + Send + 'static> Act for F {}

impl Fixture {
    fn set() -> Result<Self> {
        Self::of(Kafka::under_test()?)
    }

    /// Its brokers have this release. A test that does to the cluster what can't be undone has one
    /// of its own, in namespaces of its own.
    pub(crate) fn of(kafka: Kafka) -> Result<Self> {
        let logs = kafka.logs.clone();
        // The last run's logs would be read as this one's.
        let _ = std::fs::remove_dir_all(logs::folder(&logs));
        let namespaces = Namespaces::make()?;
        namespaces.publish(Side::Clients, &names::of_narrows())?;
        if is_direct() {
            namespaces.publish(Side::Narrows, &names::of_brokers())?;
        }
        let trap = LeakTrap::set(&namespaces)?;
        let pki = Pki::make(&namespaces)?;
        let cluster = Cluster::start(&namespaces, kafka)?;
        let narrows = if is_direct() {
            None
        } else {
            Some(Narrows::start(&namespaces, &logs, 0)?)
        };
        Ok(Self {
            narrows,
            gateway: OnceLock::new(),
            cluster,
            trap,
            pki,
            namespaces,
            quiet: RwLock::new(()),
            slots: AtomicU16::new(1),
        })
    }

    /// What clients are given.
    pub(crate) fn front(&self) -> Front {
        self.narrows
            .as_ref()
            .map_or_else(brokers_themselves, Narrows::front)
    }

    /// Whatever Narrows stays up may warn with lines that have one of these texts: from here on,
    /// or, in a test that has the fixture for itself, until its end.
    pub(crate) fn announce(&self, texts: &[&str]) {
        self.staying().for_each(|narrows| narrows.announce(texts));
    }

    fn staying(&self) -> impl Iterator<Item = &Narrows> {
        let gateway = self.gateway.get();
        let gateway = gateway.and_then(|gateway| gateway.as_ref().ok());
        self.narrows.iter().chain(gateway)
    }

    fn forgetting_announcements(&self, act: impl FnOnce() -> Result<()>) -> Result<()> {
        let announced: Vec<_> = self.staying().map(Narrows::announced).collect();
        let outcome = act();
        let quiet = self.staying().try_for_each(Narrows::ensure_quiet);
        for (narrows, announced) in self.staying().zip(announced) {
            narrows.forget_announced_since(announced);
        }
        outcome.and(quiet)
    }

    /// The Narrows that stays up for all tests.
    pub(crate) fn narrows(&self) -> Result<&Narrows> {
        self.narrows
            .as_ref()
            .context("there is no Narrows in direct mode")
    }

    /// The Narrows that stays up for TLS clients, with one port for all of them.
    pub(crate) fn gateway(&self) -> Result<&Narrows> {
        let gateway = self
            .gateway
            .get_or_init(|| tls::gateway(self).map_err(|error| format!("{error:#}")));
        gateway.as_ref().map_err(|error| anyhow!("{error}"))
    }

    /// A Narrows of the test's own, to do to it what others must not suffer from.
    pub(crate) fn own_narrows(&self) -> Result<Narrows> {
        Narrows::start(&self.namespaces, self.cluster.logs(), self.slot())
    }

    /// A Narrows of the test's own with clusters and listeners for its slot.
    pub(crate) fn own_narrows_with(
        &self,
        configure: impl FnOnce(u16) -> Result<Value>,
    ) -> Result<Narrows> {
        let slot = self.slot();
        Narrows::start_with(
            &self.namespaces,
            self.cluster.logs(),
            slot,
            configure(slot)?,
        )
    }

    fn slot(&self) -> u16 {
        self.slots.fetch_add(1, Ordering::Relaxed)
    }
}

fn trial(
    fixture: &LazyFixture,
    name: &str,
    act: impl FnOnce(&Fixture) -> Result<()> + Send + 'static,
) -> Trial {
    let fixture = Arc::clone(fixture);
    let own_name = name.to_owned();
    Trial::test(name, move || {
        let _timed = Timed {
            name: own_name,
            begun: Instant::now(),
        };
        let fixture = fixture.get_or_init(|| Fixture::set().map_err(|error| format!("{error:#}")));
        let fixture = fixture
            .as_ref()
            .map_err(|error| Failed::from(format!("the fixture could not be set: {error}")))?;
        act(fixture).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// How long each test took, waiting for its turn included.
static TIMES: Mutex<Vec<(Duration, String)>> = Mutex::new(Vec::new());

struct Timed {
    name: String,
    begun: Instant,
}

impl Drop for Timed {
    fn drop(&mut self) {
        let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
        times.push((self.begun.elapsed(), std::mem::take(&mut self.name)));
    }
}

/// The slowest tests so far, slowest first, a line each: where the minutes of a run went.
pub(crate) fn slowest(count: usize) -> String {
    let mut times = TIMES.lock().unwrap_or_else(PoisonError::into_inner);
    times.sort_by(|one, other| other.cmp(one));
    let lines = times.iter().take(count);
    lines
        .map(|(took, name)| format!("{:6.1} s  {name}\n", took.as_secs_f64()))
        .collect()
}

/// Whatever a test is about, no client may dial a broker meanwhile, and no Narrows may have
/// panicked or warned of what was not announced. The warning of a Narrows that several tests share
/// is the failure of whichever looks first.
fn watched(fixture: &Fixture, test: &impl Act) -> Result<()> {
    let mark = fixture.trap.mark();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(fixture)));
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("the test panicked")));
    let sound = fixture
        .staying()
        .try_for_each(|narrows| narrows.ensure_sound().and(narrows.ensure_quiet()));
    outcome
        .and(fixture.trap.ensure_silent_since(mark))
        .and(sound)
        .and(narrows::ensure_ended_quietly())
}

/// The way past Narrows.
pub(crate) fn brokers_themselves() -> Front {
    let brokers = |port: u16| -> BTreeMap<i64, (String, u16)> {
        NODE_IDS
            .iter()
            .map(|id| (i64::from(*id), (broker_ip(*id).to_string(), port)))
            .collect()
    };
    let bootstrap = |port: u16| format!("{}:{port}", broker_ip(1));
    Front {
        side: Side::Narrows,
        plain: bootstrap(ports::PLAIN),
        sasl: bootstrap(ports::SASL),
        reauth: bootstrap(ports::REAUTH),
        brokers: brokers(ports::PLAIN),
        sasl_brokers: brokers(ports::SASL),
    }
}
