//! The gates: ratios within one round, each with the interval of its median. A gate is missed only if the whole interval
//! is beyond the limit.

use crate::idle::Idle;
use crate::rounds::{Placement, Sample};
use crate::stats::{self, Estimate};
use crate::syscalls::Count;
use crate::workloads::Metric;
use std::fmt::Write as _;

/// Klamm's number over another relay's.
struct Gate {
    workload: &'static str,
    metric: Metric,
    over: &'static str,
    limit: f64,
    /// The ratio has to be at least the limit, for throughput.
    at_least: bool,
}

const fn at_most(workload: &'static str, metric: Metric, over: &'static str, limit: f64) -> Gate {
    Gate { workload, metric, over, limit, at_least: false }
}

const fn at_least(workload: &'static str, metric: Metric, over: &'static str, limit: f64) -> Gate {
    Gate { workload, metric, over, limit, at_least: true }
}

use Metric::{CpuPerGb, CpuPerRoundTrip, P99, Throughput};
const GATES: [Gate; 29] = [
    at_most("produce-1m", CpuPerGb, "haproxy-splice", 1.08),
    at_most("fetch-1m", CpuPerGb, "haproxy-splice", 1.08),
    at_least("produce-1m", Throughput, "direct", 0.70),
    at_least("fetch-1m", Throughput, "direct", 0.70),
    at_most("fetch-cold-1m", CpuPerGb, "haproxy-splice", 1.08),
    at_most("fetch-cold-1m", CpuPerGb, "haproxy-copy", 0.30),
    at_most("produce-256k", CpuPerGb, "haproxy-splice", 1.10),
    at_most("fetch-256k", CpuPerGb, "haproxy-splice", 1.10),
    at_most("produce-64k", CpuPerGb, "haproxy-splice", 1.12),
    at_most("fetch-64k", CpuPerGb, "haproxy-splice", 1.12),
    at_most("produce-32k", CpuPerGb, "haproxy-splice", 1.20),
    at_most("fetch-32k", CpuPerGb, "haproxy-splice", 1.20),
    at_most("produce-16k", CpuPerGb, "haproxy-splice", 1.15),
    at_most("fetch-16k", CpuPerGb, "haproxy-splice", 1.15),
    at_most("produce-256k", CpuPerGb, "raw-copy", 1.0),
    at_most("fetch-256k", CpuPerGb, "raw-copy", 1.0),
    at_most("produce-64k", CpuPerGb, "raw-copy", 1.0),
    at_most("fetch-64k", CpuPerGb, "raw-copy", 1.0),
    at_most("produce-32k", CpuPerGb, "raw-copy", 1.0),
    at_most("fetch-32k", CpuPerGb, "raw-copy", 1.0),
    at_most("produce-16k", CpuPerGb, "raw-copy", 1.0),
    at_most("fetch-16k", CpuPerGb, "raw-copy", 1.0),
    at_most("small-depth-1", CpuPerRoundTrip, "haproxy-copy", 1.0),
    at_most("small-depth-1", CpuPerRoundTrip, "raw-copy", 1.20),
    at_most("small-depth-16", CpuPerRoundTrip, "nginx", 1.05),
    at_most("small-beside-produce", P99, "haproxy-splice", 1.25),
    at_most("small-beside-fetch", P99, "haproxy-splice", 1.25),
    at_most("storm", CpuPerRoundTrip, "haproxy-copy", 1.25),
    at_most("metadata-10k", CpuPerRoundTrip, "haproxy-splice", 1.5),
];
/// Two in, two out.
const SMALL_CALLS: f64 = 4.0;
/// Connections begin and counting ends in the middle of things.
const SMALL_CALLS_SLACK: f64 = 0.1;
const IDLE_KIB_MAX: f64 = 5.0;
/// What an allocator may keep of a burst and of closed connections, over the memory before.
const BASELINE_SLACK_KIB: u64 = 8 * 1024;

/// The ratio of two relays' numbers in each round, and the interval of its median; `None` without both.
pub fn ratio(
    samples: &[Sample],
    placement: Placement,
    workload: &str,
    metric: Metric,
    relay: &str,
    over: &str,
) -> Option<Estimate> {
    let of = |name: &str, round: u32| {
        let mut found = samples.iter().filter(|sample| {
            sample.relay == name
                && sample.round == round
                && sample.placement == placement
                && sample.workload == workload
        });
        found.next().and_then(|sample| sample.metric(metric))
    };
    let rounds = samples.iter().map(|sample| sample.round).max()?;
    let ratio = |round| Some(of(relay, round)? / of(over, round)?);
    let ratios: Vec<f64> = (0..=rounds).filter_map(ratio).filter(|ratio| ratio.is_finite()).collect();
    stats::estimate(&ratios)
}

fn verdict(estimate: Estimate, limit: f64, at_least: bool) -> &'static str {
    let (is_good, is_beyond) = match at_least {
        true => (estimate.median >= limit, estimate.high < limit),
        false => (estimate.median <= limit, estimate.low > limit),
    };
    match (is_good, is_beyond) {
        (true, _) => "met",
        (false, false) => "met (the interval reaches the limit)",
        (false, true) => "**missed**",
    }
}

/// All gates that this run has numbers for, as a Markdown table; one line says which it has none for.
pub fn table(
    samples: &[Sample],
    counts: &[Count],
    idle: &[Idle],
    kafka: &[(String, f64, Estimate)],
) -> String {
    let mut text = String::from("| gate | limit | measured [95 %] | |\n|---|---|---|---|\n");
    let mut unmeasured = Vec::new();
    for gate in &GATES {
        let name = format!("{} {}, klamm / {}", gate.workload, gate.metric.name(), gate.over);
        let ratio = ratio(samples, Placement::Same, gate.workload, gate.metric, "klamm", gate.over);
        match ratio {
            Some(ratio) => row(&mut text, &name, gate.limit, gate.at_least, ratio),
            None => unmeasured.push(name),
        }
    }
    match counts.iter().find(|count| count.relay == "klamm") {
        Some(count) => {
            let calls = count.per_small_round_trip;
            let is_met = if calls <= SMALL_CALLS + SMALL_CALLS_SLACK { "met" } else { "**missed**" };
            let name = "data system calls a round trip of 200 B";
            let _ = writeln!(text, "| {name} | {SMALL_CALLS} | {calls:.2} | {is_met} |");
        }
        None => unmeasured.push("system calls".to_owned()),
    }
    for (name, limit, ratio) in kafka {
        row(&mut text, name, *limit, false, *ratio);
    }
    if kafka.is_empty() {
        unmeasured.push("real Kafka".to_owned());
    }
    let klamm: Vec<&Idle> = idle.iter().filter(|idle| idle.relay == "klamm").collect();
    for idle in &klamm {
        let kib = idle.kib_per_connection();
        let exact = Estimate { median: kib, low: kib, high: kib };
        row(
            &mut text,
            &format!("idle KiB a connection, {} connections", idle.connections),
            IDLE_KIB_MAX,
            false,
            exact,
        );
        let kept = idle.after_close.saturating_sub(idle.before);
        let is_back = if kept <= BASELINE_SLACK_KIB { "met" } else { "**missed**" };
        let _ = writeln!(
            text,
            "| memory kept after burst and close of {}, KiB | ≤ {BASELINE_SLACK_KIB} | {kept} | {is_back} |",
            idle.connections
        );
    }
    if klamm.is_empty() {
        unmeasured.push("idle memory".to_owned());
    }
    if !unmeasured.is_empty() {
        let _ = writeln!(text, "\nNot measured in this run: {}.", unmeasured.join("; "));
    }
    text
}

fn row(text: &mut String, name: &str, limit: f64, at_least: bool, measured: Estimate) {
    let sign = if at_least { "≥" } else { "≤" };
    let Estimate { median, low, high } = measured;
    let verdict = verdict(measured, limit, at_least);
    let _ = writeln!(text, "| {name} | {sign} {limit} | {median:.3} [{low:.3}, {high:.3}] | {verdict} |");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_missed_only_if_the_whole_interval_is_beyond_it() {
        let estimate = |low, median, high| Estimate { median, low, high };
        assert_eq!(verdict(estimate(1.09, 1.10, 1.2), 1.08, false), "**missed**");
        assert_eq!(verdict(estimate(1.05, 1.10, 1.2), 1.08, false), "met (the interval reaches the limit)");
        assert_eq!(verdict(estimate(0.9, 1.0, 1.2), 1.08, false), "met");
        assert_eq!(verdict(estimate(0.5, 0.6, 0.69), 0.7, true), "**missed**");
        assert_eq!(verdict(estimate(0.7, 0.8, 0.9), 0.7, true), "met");
    }
}
