//! Data system calls of each relay, counted by strace while a load runs: for each round trip of 200
//! bytes, and for each MiB that is fetched. A count, so it needs no quiet machine; times under
//! strace mean nothing and are not kept.

use crate::load::{self, Unwatched, Work};
use crate::relays::{Relay, Setting};
use crate::sys;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Whatever moves bytes; waiting, accepting and closing is not counted.
const DATA_CALLS: [&str; 12] = [
    "read", "write", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg", "recvmmsg",
    "sendmmsg", "splice", "sendfile",
];
const MEASURE: Duration = Duration::from_secs(1);
const ATTACH_TIMEOUT: Duration = Duration::from_secs(5);

/// What was counted.
#[derive(Clone, Debug)]
pub struct Count {
    pub relay: String,
    pub per_small_round_trip: f64,
    pub per_fetched_mib: f64,
}

impl Count {
    pub fn to_json(&self) -> Value {
        json!({
            "workload": "syscalls", "relay": self.relay, "per_small_round_trip": self.per_small_round_trip,
            "per_fetched_mib": self.per_fetched_mib,
        })
    }
}

pub fn measure(relay: &Relay, setting: &Setting, small: &Work, fetch: &Work) -> Result<Count> {
    let (calls, outcome) = count(relay, setting, small)?;
    let per_small_round_trip = calls / outcome.round_trips as f64;
    let (calls, outcome) = count(relay, setting, fetch)?;
    let per_fetched_mib = calls / (outcome.bytes as f64 / (1 << 20) as f64);
    Ok(Count {
        relay: relay.name.clone(),
        per_small_round_trip,
        per_fetched_mib,
    })
}

fn count(relay: &Relay, setting: &Setting, work: &Work) -> Result<(f64, load::Outcome)> {
    let summary = setting.folder.join("strace.txt");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-o"]).arg(&summary);
    for pid in &relay.pids {
        command.args(["-p", &pid.to_string()]);
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut strace = command
        .spawn()
        .context("strace can't be started: apt-get install strace")?;
    await_traced(&relay.pids)?;
    // The first round trip of each connection is counted among the calls only: one in hundreds.
    let outcome = load::run(&relay.door, work, Duration::ZERO, MEASURE, &mut Unwatched);
    sys::terminate(strace.id());
    strace.wait()?;
    let text = fs::read_to_string(&summary).context("strace left no summary")?;
    Ok((data_calls(&text), outcome?))
}

/// Waits until every process has a tracer.
fn await_traced(pids: &[u32]) -> Result<()> {
    let deadline = Instant::now() + ATTACH_TIMEOUT;
    let is_traced = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let tracer = status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"));
        tracer.is_some_and(|pid| pid.trim() != "0")
    };
    while !pids.iter().all(is_traced) {
        if Instant::now() > deadline {
            bail!("strace does not attach: is ptrace allowed here?");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// The calls of a summary of `strace -c`: the fourth column, by the name in the last.
fn data_calls(summary: &str) -> f64 {
    let calls = |line: &str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let is_data = columns.last().is_some_and(|name| DATA_CALLS.contains(name));
        columns.get(3).filter(|_| is_data)?.parse::<f64>().ok()
    };
    summary.lines().filter_map(calls).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_move_bytes_count() {
        let summary = "% time     seconds  usecs/call     calls    errors syscall\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       \x2050.00    0.010000           1      2000           sendto\n\
                       \x2040.00    0.010000           1      2010        10 recvfrom\n\
                       \x2010.00    0.001000           1       300           epoll_wait\n\
                       ------ ----------- ----------- --------- --------- ----------------\n\
                       100.00    0.021000           1      4310        10 total\n";
        assert_eq!(data_calls(summary), 4010.0);
    }
}
