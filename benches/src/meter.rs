//! Processor time and memory of processes. Time comes from `/proc/PID/task/*/schedstat`, in
//! nanoseconds: the ticks of `/proc/PID/stat` miscount work that sleeps and wakes.

use crate::load::Watch;
use crate::sys;
use anyhow::{Context, Result};
use std::fs;
use std::time::Instant;

/// Ticks of `/proc/stat`: `sysconf(_SC_CLK_TCK)` is 100 on every Linux that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A process and everything below it, as it is now.
pub fn family(pid: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let behind_name = stat.rsplit(')').next().unwrap_or("");
        let parent = behind_name
            .split_whitespace()
            .nth(1)
            .and_then(|parent| parent.parse().ok());
        parents.push((child, parent.unwrap_or(0)));
    }
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(child, _)| *child),
        );
        at += 1;
    }
    found
}

/// Nanoseconds that all threads of these processes have run.
pub fn cpu_nanos(pids: &[u32]) -> u64 {
    pids.iter()
        .flat_map(|pid| tasks(*pid))
        .map(|task| schedstat(&format!("{task}/schedstat")))
        .sum()
}

fn schedstat(path: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|nanos| nanos.parse().ok())
        .unwrap_or(0)
}

fn tasks(pid: u32) -> Vec<String> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// Lets every thread of these processes run on these processors only.
pub fn pin_all(pids: &[u32], processors: &[usize]) -> Result<()> {
    for task in pids.iter().flat_map(|pid| tasks(*pid)) {
        let Some(id) = task.rsplit('/').next().and_then(|id| id.parse().ok()) else {
            continue;
        };
        match sys::pin(id, processors) {
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {} // a thread that has just ended
            other => other.with_context(|| format!("thread {id} can't be pinned"))?,
        }
    }
    Ok(())
}

/// KiB of memory that these processes hold, shared pages counted in parts (Pss).
pub fn memory_kib(pids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| format!("{path} can't be read"))?;
        let line = text.lines().find(|line| line.starts_with("Pss:"));
        let kib = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kib| kib.parse::<u64>().ok());
        sum += kib.with_context(|| format!("{path} has no Pss"))?;
    }
    Ok(sum)
}

/// Idle and stolen seconds of the whole machine since it started.
fn machine() -> (f64, f64) {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or("");
    let field = |index: usize| {
        line.split_whitespace()
            .nth(index)
            .and_then(|ticks| ticks.parse::<f64>().ok())
            .unwrap_or(0.0)
            / TICKS_PER_SECOND
    };
    (field(4) + field(5), field(8))
}

/// What was used between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    pub relay_seconds: f64,
    pub broker_seconds: f64,
    pub load_seconds: f64,
    /// Cores that others kept busy.
    pub foreign_cores: f64,
    /// Cores that the hypervisor took.
    pub steal_cores: f64,
}

/// Reads the clocks when measuring begins and when it ends.
pub struct Meter {
    relay: Vec<u32>,
    broker: Vec<u32>,
    start: Option<Reading>,
    used: Option<Used>,
}

struct Reading {
    at: Instant,
    relay: u64,
    broker: u64,
    load: u64,
    idle: f64,
    steal: f64,
}

impl Meter {
    pub fn new(relay: &[u32], broker: &[u32]) -> Self {
        Self {
            relay: relay.to_vec(),
            broker: broker.to_vec(),
            start: None,
            used: None,
        }
    }

    pub fn used(&self) -> Result<Used> {
        self.used.context("nothing was measured")
    }

    fn read(&self) -> Reading {
        let (idle, steal) = machine();
        Reading {
            at: Instant::now(),
            relay: cpu_nanos(&self.relay),
            broker: cpu_nanos(&self.broker),
            load: cpu_nanos(&[std::process::id()]),
            idle,
            steal,
        }
    }
}

impl Watch for Meter {
    fn begin(&mut self) {
        self.start = Some(self.read());
    }

    fn end(&mut self) {
        let end = self.read();
        self.used = self.start.as_ref().map(|start| {
            let seconds = (end.at - start.at).as_secs_f64();
            let nanos = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1e9;
            let relay_seconds = nanos(start.relay, end.relay);
            let broker_seconds = nanos(start.broker, end.broker);
            let load_seconds = nanos(start.load, end.load);
            let idle = end.idle - start.idle;
            let steal = end.steal - start.steal;
            let own = relay_seconds + broker_seconds + load_seconds;
            let busy = seconds * processors() as f64 - idle - steal;
            Used {
                relay_seconds,
                broker_seconds,
                load_seconds,
                foreign_cores: ((busy - own) / seconds).max(0.0),
                steal_cores: steal / seconds,
            }
        });
    }
}

/// Waits until others leave the machine alone for 250 ms, but not for long.
pub fn await_quiet(foreign_cores_max: f64, patience: std::time::Duration) {
    let since = Instant::now();
    while since.elapsed() < patience {
        let mut meter = Meter::new(&[], &[]);
        meter.begin();
        std::thread::sleep(std::time::Duration::from_millis(250));
        meter.end();
        if meter
            .used
            .is_some_and(|used| used.foreign_cores <= foreign_cores_max)
        {
            return;
        }
    }
}

/// How many processors the machine has, whatever this process may use of them.
pub fn processors() -> usize {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_processor = |line: &&str| {
        line.strip_prefix("cpu")
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    text.lines().filter(is_processor).count().max(1)
}
