//! What all tests of a run share: the namespaces, the cluster, the leak trap, and one Narrows that
//! stays up.
//!
//! Tests that harm nothing but their own topics share the stage; those that kill brokers have it
//! alone, and leave it whole: if they can't, that is their failure and not the next one's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Failed, Trial};
use serde_json::Value;

use crate::brokers::{Cluster, Kafka, ports};
use crate::clients::Front;
use crate::logs;
use crate::names;
use crate::narrows::Narrows;
use crate::pki::Pki;
use crate::tls;
use crate::trap::LeakTrap;
use crate::world::{NODE_IDS, Side, World, broker_ip};

/// See the module's text. Fields are dropped in order: the world, and with it every process, goes
/// last.
#[derive(Debug)]
pub(crate) struct Stage {
    /// None in direct mode.
    narrows: Option<Narrows>,
    /// Set up by the first test that needs it.
    gateway: OnceLock<Result<Narrows, String>>,
    pub(crate) cluster: Cluster,
    pub(crate) trap: LeakTrap,
    pub(crate) pki: Pki,
    pub(crate) world: World,
    quiet: RwLock<()>,
    slots: AtomicU16,
}

/// Whether clients talk to the brokers themselves (`NARROWS_DIRECT=1`): the control that tells a
/// fault of Narrows' from one of a client's or the harness's. Tests that are about Narrows itself
/// are not listed then.
pub(crate) fn is_direct() -> bool {
    std::env::var_os("NARROWS_DIRECT").is_some_and(|value| value == "1")
}

/// The stage, set up by the first test that needs it.
pub(crate) type LazyStage = Arc<OnceLock<Result<Stage, String>>>;

/// A test that shares the stage with others.
pub(crate) fn sharing(stage: &LazyStage, name: &str, test: impl Act) -> Trial {
    trial(stage, name, move |stage| {
        let _quiet = stage.quiet.read().unwrap_or_else(PoisonError::into_inner);
        watched(stage, &test)
    })
}

/// A test that has the stage for itself.
pub(crate) fn alone(stage: &LazyStage, name: &str, test: impl Act) -> Trial {
    trial(stage, name, move |stage| {
        let _quiet = stage.quiet.write().unwrap_or_else(PoisonError::into_inner);
        let outcome = watched(stage, &test);
        let healed = stage
            .cluster
            .heal(&stage.world)
            .context("the cluster did not recover after the test");
        outcome.and(healed)
    })
}

/// What a test does.
pub(crate) trait Act: Fn(&Stage) -> Result<()> + Send + 'static {}
impl<F: Fn(&Stage) -> Result<()> + Send + 'static> Act for F {}

impl Stage {
    fn set() -> Result<Self> {
        let kafka = Kafka::under_test()?;
        let version = kafka.version.clone();
        // The last run's logs would be read as this one's.
        let _ = std::fs::remove_dir_all(logs::folder(&version));
        let world = World::make()?;
        world.publish(Side::Clients, &names::of_narrows())?;
        if is_direct() {
            world.publish(Side::Narrows, &names::of_brokers())?;
        }
        let trap = LeakTrap::set(&world)?;
        let pki = Pki::make(&world)?;
        let cluster = Cluster::start(&world, kafka)?;
        let narrows = if is_direct() {
            None
        } else {
            Some(Narrows::start(&world, &version, 0)?)
        };
        Ok(Self {
            narrows,
            gateway: OnceLock::new(),
            cluster,
            trap,
            pki,
            world,
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
        Narrows::start(&self.world, self.cluster.version(), self.slot())
    }

    /// A Narrows of the test's own with clusters and listeners for its slot.
    pub(crate) fn own_narrows_with(
        &self,
        configure: impl FnOnce(u16) -> Result<Value>,
    ) -> Result<Narrows> {
        let slot = self.slot();
        Narrows::start_with(&self.world, self.cluster.version(), slot, configure(slot)?)
    }

    fn slot(&self) -> u16 {
        self.slots.fetch_add(1, Ordering::Relaxed)
    }
}

fn trial(
    stage: &LazyStage,
    name: &str,
    act: impl FnOnce(&Stage) -> Result<()> + Send + 'static,
) -> Trial {
    let stage = Arc::clone(stage);
    Trial::test(name, move || {
        let stage = stage.get_or_init(|| Stage::set().map_err(|error| format!("{error:#}")));
        let stage = stage
            .as_ref()
            .map_err(|error| Failed::from(format!("the stage could not be set: {error}")))?;
        act(stage).map_err(|error| Failed::from(format!("{error:#}")))
    })
}

/// Whatever a test is about, no client may dial a broker meanwhile and Narrows must not have
/// panicked.
fn watched(stage: &Stage, test: &impl Act) -> Result<()> {
    let mark = stage.trap.mark();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(stage)));
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow!("the test panicked")));
    let gateway = stage
        .gateway
        .get()
        .and_then(|gateway| gateway.as_ref().ok());
    let sound = stage
        .narrows
        .iter()
        .chain(gateway)
        .try_for_each(Narrows::ensure_sound);
    outcome.and(stage.trap.ensure_silent_since(mark)).and(sound)
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
