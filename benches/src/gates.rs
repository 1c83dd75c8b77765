//! The gates: ratios within one round, each with the interval of its median. A gate is missed only
//! if the whole interval is beyond the limit.

use crate::idle::Idle;
use crate::rounds::{Placement, Sample};
use crate::stats::{self, Estimate};
use crate::syscalls::Count;
use crate::workloads::Metric;
use std::fmt::Write as _;

/// A relay's number over another one's.
struct Gate {
    metric: Metric,
    of: Side,
    over: Side,
    limit: f64,
    /// The ratio has to be at least the limit, for throughput.
    at_least: bool,
}

/// Workload and relay.
type Side = (&'static str, &'static str);

/// Narrows' number over another relay's.
const fn at_most(workload: &'static str, metric: Metric, over: &'static str, limit: f64) -> Gate {
    across(metric, (workload, "narrows"), (workload, over), limit)
}

const fn at_least(workload: &'static str, metric: Metric, over: &'static str, limit: f64) -> Gate {
    Gate {
        at_least: true,
        ..at_most(workload, metric, over, limit)
    }
}

/// The number of Narrows that ends TLS over HAProxy's.
const fn tls_at_most(workload: &'static str, metric: Metric, limit: f64) -> Gate {
    across(
        metric,
        (workload, "narrows-tls"),
        (workload, "haproxy-tls"),
        limit,
    )
}

const fn across(metric: Metric, of: Side, over: Side, limit: f64) -> Gate {
    Gate {
        metric,
        of,
        over,
        limit,
        at_least: false,
    }
}

use Metric::{CpuPerGb, CpuPerRoundTrip, P99, Throughput};
const GATES: [Gate; 42] = [
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
    tls_at_most("tls-produce-1m", CpuPerGb, 1.15),
    tls_at_most("tls-fetch-1m", CpuPerGb, 1.15),
    tls_at_most("tls-produce-64k", CpuPerGb, 1.15),
    tls_at_most("tls-fetch-64k", CpuPerGb, 1.15),
    tls_at_most("tls-fetch-16k", CpuPerGb, 1.15),
    across(
        CpuPerRoundTrip,
        ("tls-small-depth-1", "narrows-tls"),
        ("small-depth-1", "narrows"),
        1.3,
    ),
    tls_at_most("tls-storm-full", CpuPerRoundTrip, 1.25),
    tls_at_most("tls-storm-resumed", CpuPerRoundTrip, 1.25),
    across(
        CpuPerRoundTrip,
        ("tls-storm-bad", "narrows-tls"),
        ("tls-storm-full", "narrows-tls"),
        1.0,
    ),
    across(
        CpuPerRoundTrip,
        ("tls-storm-unknown-name", "narrows-tls"),
        ("tls-storm-full", "narrows-tls"),
        1.0,
    ),
    across(
        CpuPerGb,
        ("passthrough-produce-1m", "narrows-passthrough"),
        ("produce-1m", "narrows"),
        1.08,
    ),
    across(
        CpuPerGb,
        ("passthrough-fetch-1m", "narrows-passthrough"),
        ("fetch-1m", "narrows"),
        1.08,
    ),
    across(
        CpuPerGb,
        ("passthrough-fetch-1m", "narrows-passthrough"),
        ("passthrough-fetch-1m", "haproxy-passthrough"),
        1.08,
    ),
];
/// Two in, two out.
const SMALL_CALLS: f64 = 4.0;
/// Connections begin and counting ends in the middle of things.
const SMALL_CALLS_SLACK: f64 = 0.1;
/// A relay's idle connections: KiB each.
const IDLE_KIB_MAX: [(&str, f64); 2] = [("narrows", 5.0), ("narrows-tls", 24.0)];
/// What an allocator may keep of a burst and of closed connections, over the memory before.
const BASELINE_SLACK_KIB: u64 = 8 * 1024;

/// The ratio of two relays' numbers in each round, and the interval of its median; `None` without
/// both.
pub fn ratio(
    samples: &[Sample],
    placement: Placement,
    metric: Metric,
    of: (&str, &str),
    over: (&str, &str),
) -> Option<Estimate> {
    let number = |(workload, relay): (&str, &str), round: u32| {
        let mut found = samples.iter().filter(|sample| {
            sample.relay == relay
                && sample.round == round
                && sample.placement == placement
                && sample.workload == workload
        });
        found.next().and_then(|sample| sample.metric(metric))
    };
    let rounds = samples.iter().map(|sample| sample.round).max()?;
    let ratio = |round| Some(number(of, round)? / number(over, round)?);
    let ratios: Vec<f64> = (0..=rounds)
        .filter_map(ratio)
        .filter(|ratio| ratio.is_finite())
        .collect();
    stats::estimate(&ratios)
}

impl Gate {
    /// `fetch-1m CPU s/GB, narrows / nginx`; the second workload is named if it is another one.
    fn name(&self) -> String {
        let ((workload, of), (other, over)) = (self.of, self.over);
        let metric = self.metric.name();
        match workload == other {
            true => format!("{workload} {metric}, {of} / {over}"),
            false => format!("{workload} {metric}, {of} / {over} in {other}"),
        }
    }
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

/// All gates that this run has numbers for, as a Markdown table; one line says which it has none
/// for.
pub fn table(
    samples: &[Sample],
    counts: &[Count],
    idle: &[Idle],
    kafka: &[(String, f64, Estimate)],
) -> String {
    let mut text = String::from("| gate | limit | measured [95 %] | |\n|---|---|---|---|\n");
    let mut unmeasured = Vec::new();
    for gate in &GATES {
        let name = gate.name();
        let ratio = ratio(samples, Placement::Same, gate.metric, gate.of, gate.over);
        match ratio {
            Some(ratio) => row(&mut text, &name, gate.limit, gate.at_least, ratio),
            None => unmeasured.push(name),
        }
    }
    match counts.iter().find(|count| count.relay == "narrows") {
        Some(count) => {
            let calls = count.per_small_round_trip;
            let is_met = if calls <= SMALL_CALLS + SMALL_CALLS_SLACK {
                "met"
            } else {
                "**missed**"
            };
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
    for (relay, kib_max) in IDLE_KIB_MAX {
        let found: Vec<&Idle> = idle.iter().filter(|idle| idle.relay == relay).collect();
        if found.is_empty() {
            unmeasured.push(format!("idle memory of {relay}"));
        }
        for idle in found {
            idle_rows(&mut text, idle, kib_max);
        }
    }
    if !unmeasured.is_empty() {
        let _ = writeln!(
            text,
            "\nNot measured in this run: {}.",
            unmeasured.join("; ")
        );
    }
    text
}

fn idle_rows(text: &mut String, idle: &Idle, kib_max: f64) {
    let kib = idle.kib_per_connection();
    let exact = Estimate {
        median: kib,
        low: kib,
        high: kib,
    };
    let relay = &idle.relay;
    let connections = idle.connections;
    let name = format!("idle KiB a connection, {connections} connections, {relay}");
    row(text, &name, kib_max, false, exact);
    let kept = idle.after_close.saturating_sub(idle.before);
    let is_back = if kept <= BASELINE_SLACK_KIB {
        "met"
    } else {
        "**missed**"
    };
    let _ = writeln!(
        text,
        "| memory kept after burst and close of {connections}, KiB, {relay} | ≤ \
         {BASELINE_SLACK_KIB} | {kept} | {is_back} |"
    );
}

fn row(text: &mut String, name: &str, limit: f64, at_least: bool, measured: Estimate) {
    let sign = if at_least { "≥" } else { "≤" };
    let Estimate { median, low, high } = measured;
    let verdict = verdict(measured, limit, at_least);
    let _ = writeln!(
        text,
        "| {name} | {sign} {limit} | {median:.3} [{low:.3}, {high:.3}] | {verdict} |"
    );
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;

    #[test]
    fn every_gate_is_about_workloads_and_relays_that_there_are() {
        let workloads = crate::workloads::all().unwrap();
        for (workload, relay) in GATES.iter().flat_map(|gate| [gate.of, gate.over]) {
            let workload = workloads
                .iter()
                .find(|found| found.name == workload)
                .unwrap();
            let kind = crate::relays::KINDS
                .iter()
                .find(|kind| kind.name() == relay)
                .unwrap();
            assert_eq!(
                workload.transport,
                kind.transport(),
                "{} through {relay}",
                workload.name
            );
        }
    }

    #[test]
    fn a_gate_is_missed_only_if_the_whole_interval_is_beyond_it() {
        let estimate = |low, median, high| Estimate { median, low, high };
        assert_eq!(
            verdict(estimate(1.09, 1.10, 1.2), 1.08, false),
            "**missed**"
        );
        assert_eq!(
            verdict(estimate(1.05, 1.10, 1.2), 1.08, false),
            "met (the interval reaches the limit)"
        );
        assert_eq!(verdict(estimate(0.9, 1.0, 1.2), 1.08, false), "met");
        assert_eq!(verdict(estimate(0.5, 0.6, 0.69), 0.7, true), "**missed**");
        assert_eq!(verdict(estimate(0.7, 0.8, 0.9), 0.7, true), "met");
    }
}
