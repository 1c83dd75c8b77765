//! Interleaved rounds: for each workload every relay, in reverse order in every other round. A
//! sample that others disturbed is taken again, a bounded number of times, and the least disturbed
//! one is kept.

use crate::load::{self, Outcome, Pace, Unwatched, Watch};
use crate::meter::{self, Meter, Used};
use crate::relays::Relay;
use crate::storm;
use crate::sys;
use crate::workloads::{self, Metric, Shape, Workload};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

/// More than this of a core taken by others or by the hypervisor makes a sample worth another try.
pub const FOREIGN_CORES_MAX: f64 = 0.12;
const TRIES_MAX: u32 = 3;
const QUIET_PATIENCE: Duration = Duration::from_secs(1);
const CALIBRATION: Duration = Duration::from_millis(400);

/// Who runs where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Relay, load and simulator on one processor: what moving costs, without wake-ups across
    /// processors. The gates.
    Same,
    /// The relay alone on one processor.
    Split,
    /// Relays with two threads, and the scheduler decides.
    Free,
}

impl Placement {
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Split => "split",
            Self::Free => "free",
        }
    }

    /// The processors of the relay, and those of load and simulator.
    pub fn processors(self) -> (Vec<usize>, Vec<usize>) {
        let last = meter::processors() - 1;
        match self {
            Self::Same => (vec![last], vec![last]),
            Self::Split => (vec![last], vec![0]),
            Self::Free => ((0..=last).collect(), (0..=last).collect()),
        }
    }
}

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    pub rounds: u32,
    pub warm_up: Duration,
    pub measure: Duration,
    /// After this, disturbed samples are kept as they are.
    pub retry_until: Instant,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Sample {
    pub round: u32,
    pub placement: Placement,
    pub workload: &'static str,
    pub relay: String,
    pub used: Used,
    pub tries: u32,
    pub seconds: f64,
    pub bytes: u64,
    pub round_trips: u64,
    pub p50: Option<f64>,
    pub p99: Option<f64>,
}

impl Sample {
    /// `None` where a number has no meaning.
    pub fn metric(&self, metric: Metric) -> Option<f64> {
        let per = |count: u64, scale: f64| {
            (count > 0).then(|| self.used.relay_seconds * scale / count as f64)
        };
        match metric {
            Metric::CpuPerGb => per(self.bytes, 1e9),
            Metric::CpuPerRoundTrip => per(self.round_trips, 1e6),
            Metric::Throughput => (self.bytes > 0).then(|| self.bytes as f64 / 1e9 / self.seconds),
            Metric::P50 => self.p50,
            Metric::P99 => self.p99,
        }
    }

    pub fn is_disturbed(&self) -> bool {
        self.used.foreign_cores + self.used.steal_cores > FOREIGN_CORES_MAX
    }

    fn to_json(&self) -> Value {
        json!({
            "round": self.round, "placement": self.placement.name(), "workload": self.workload, "relay": self.relay,
            "relay_cpu_s": self.used.relay_seconds, "broker_cpu_s": self.used.broker_seconds,
            "load_cpu_s": self.used.load_seconds, "foreign_cores": self.used.foreign_cores,
            "steal_cores": self.used.steal_cores, "tries": self.tries, "seconds": self.seconds, "bytes": self.bytes,
            "round_trips": self.round_trips, "p50_us": self.p50, "p99_us": self.p99,
        })
    }
}

/// Takes samples and writes each one down at once.
pub struct Bench {
    pub broker: Relay,
    pub samples: Vec<Sample>,
    pub raw: File,
    /// Small round trips a second that a relay carries, from its last sample of them.
    capacity: HashMap<(Placement, String), f64>,
}

impl Bench {
    pub fn new(broker: Relay, raw: File) -> Self {
        Self {
            broker,
            samples: Vec::new(),
            raw,
            capacity: HashMap::new(),
        }
    }

    /// All rounds of these workloads over these relays. What can't be measured is an error.
    pub fn run(
        &mut self,
        placement: Placement,
        workloads: &[&Workload],
        relays: &[Relay],
        effort: Effort,
    ) -> Result<()> {
        let (relay_processors, own_processors) = placement.processors();
        sys::pin(0, &own_processors)?;
        meter::pin_all(&self.broker.pids, &own_processors)?;
        for relay in relays {
            meter::pin_all(&relay.pids, &relay_processors)?;
        }
        for round in 0..effort.rounds {
            eprintln!(
                "{}: round {} of {}",
                placement.name(),
                round + 1,
                effort.rounds
            );
            for workload in workloads
                .iter()
                .filter(|workload| round < workload.rounds_max)
            {
                let mut order: Vec<&Relay> = relays
                    .iter()
                    .filter(|relay| workload.is_for(relay))
                    .collect();
                if round % 2 == 1 {
                    order.reverse();
                }
                for relay in order {
                    let taken = self.take(placement, workload, relay, round, effort);
                    let sample = taken.with_context(|| {
                        format!(
                            "{} through {} ({})",
                            workload.name,
                            relay.name,
                            placement.name()
                        )
                    })?;
                    self.note(&sample.to_json())?;
                    self.samples.push(sample);
                }
            }
        }
        Ok(())
    }

    /// One line of the raw samples.
    pub fn note(&mut self, value: &Value) -> Result<()> {
        Ok(writeln!(self.raw, "{value}")?)
    }

    fn take(
        &mut self,
        placement: Placement,
        workload: &Workload,
        relay: &Relay,
        round: u32,
        effort: Effort,
    ) -> Result<Sample> {
        let mut best: Option<Sample> = None;
        for tries in 1..=TRIES_MAX {
            if tries > 1 {
                meter::await_quiet(FOREIGN_CORES_MAX, QUIET_PATIENCE);
            }
            let mut watch = Meter::new(&relay.pids, &self.broker.pids);
            let outcome = self.measure(placement, workload, relay, effort, &mut watch)?;
            let used = watch.used()?;
            ensure!(
                outcome.round_trips > 0,
                "nothing came back while it was measured"
            );
            if workload.name == "small-depth-1" {
                let capacity = outcome.round_trips as f64 / outcome.seconds;
                self.capacity
                    .insert((placement, relay.name.clone()), capacity);
            }
            let sample = Sample {
                round,
                placement,
                workload: workload.name,
                relay: relay.name.clone(),
                used,
                tries,
                seconds: outcome.seconds,
                bytes: outcome.bytes,
                round_trips: outcome.round_trips,
                p50: outcome.percentile(50.0),
                p99: outcome.percentile(99.0),
            };
            let disturbance = |sample: &Sample| sample.used.foreign_cores + sample.used.steal_cores;
            if best
                .as_ref()
                .is_none_or(|best| disturbance(&sample) < disturbance(best))
            {
                best = Some(sample);
            }
            let is_good = best.as_ref().is_some_and(|best| !best.is_disturbed());
            if is_good || Instant::now() > effort.retry_until {
                break;
            }
        }
        best.context("no sample")
    }

    fn measure(
        &mut self,
        placement: Placement,
        workload: &Workload,
        relay: &Relay,
        effort: Effort,
        watch: &mut dyn Watch,
    ) -> Result<Outcome> {
        let Effort {
            warm_up, measure, ..
        } = effort;
        match &workload.shape {
            Shape::Load(work) => load::run(&relay.door, work, warm_up, measure, watch),
            Shape::Beside(work, beside) => std::thread::scope(|scope| {
                let whole = warm_up + measure + Duration::from_millis(100);
                let other = scope.spawn(move || {
                    load::run(&relay.door, beside, Duration::ZERO, whole, &mut Unwatched)
                });
                let outcome = load::run(&relay.door, work, warm_up, measure, watch)?;
                other
                    .join()
                    .map_err(|_| anyhow::anyhow!("the load beside it failed"))??;
                Ok(outcome)
            }),
            Shape::AtCapacity(share) => {
                let capacity = self.capacity(placement, relay)?;
                let work = workloads::small(
                    64,
                    Pace::Open {
                        per_second: capacity * share,
                    },
                )?;
                load::run(&relay.door, &work, warm_up, measure, watch)
            }
            Shape::Storm(visit) => storm::run(&relay.door, *visit, warm_up, measure, watch),
            Shape::FirstConnection => {
                watch.begin();
                let outcome = load::first_connections(&relay.door, 300);
                watch.end();
                outcome
            }
        }
    }

    fn capacity(&mut self, placement: Placement, relay: &Relay) -> Result<f64> {
        let key = (placement, relay.name.clone());
        if let Some(capacity) = self.capacity.get(&key) {
            return Ok(*capacity);
        }
        let work = workloads::small(64, Pace::Closed { depth: 1 })?;
        let outcome = load::run(
            &relay.door,
            &work,
            CALIBRATION / 2,
            CALIBRATION,
            &mut Unwatched,
        )?;
        let capacity = outcome.round_trips as f64 / outcome.seconds;
        self.capacity.insert(key, capacity);
        Ok(capacity)
    }
}
