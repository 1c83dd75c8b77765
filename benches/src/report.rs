//! The report: Markdown with the facts of the run, the gates, and a table for each placement; and
//! the chart.

use crate::chart::{self, Group};
use crate::environment::Environment;
use crate::gates;
use crate::idle::Idle;
use crate::kafka::Lane;
use crate::rounds::{FOREIGN_CORES_MAX, Placement, Sample};
use crate::stats;
use crate::syscalls::Count;
use crate::wire::Transport;
use crate::workloads::{Metric, Workload};
use std::fmt::Write as _;

/// Everything that a run found.
pub struct Findings<'a> {
    pub environment: &'a Environment,
    pub command: &'a str,
    pub workloads: &'a [Workload],
    pub samples: &'a [Sample],
    pub counts: &'a [Count],
    pub idle: &'a [Idle],
    pub lanes: &'a [Lane],
    pub relays: Vec<String>,
}

impl Findings<'_> {
    fn median(
        &self,
        placement: Placement,
        workload: &str,
        relay: &str,
        metric: Metric,
    ) -> Option<f64> {
        let values: Vec<f64> = self
            .samples
            .iter()
            .filter(|s| s.placement == placement && s.workload == workload && s.relay == relay)
            .filter_map(|sample| sample.metric(metric))
            .collect();
        stats::median(&values)
    }

    /// REPORT.md.
    pub fn markdown(&self) -> String {
        let mut text = String::from("# What Narrows costs beside its peers\n\n");
        for (name, value) in &self.environment.facts {
            let _ = writeln!(text, "- {name}: {value}");
        }
        let _ = writeln!(text, "- command: `{}`", self.command);
        text += &self.disturbance();
        text += "\nProcessor time is the relay's, over all its threads, from schedstat; a GB is \
                 10⁹ bytes in both directions. \
                 Medians of the rounds. Compare inside a run only.\n\n## Gates\n\nRatios within a round (placement `same`), \
                 their median and its 95 % bootstrap interval; missed only if the whole interval is beyond the limit.\n\n";
        text += &gates::table(
            self.samples,
            self.counts,
            self.idle,
            &crate::kafka::gates(self.lanes),
        );
        for placement in [Placement::Same, Placement::Split, Placement::Free] {
            text += &self.placement(placement);
        }
        text += &self.calls();
        text += &self.idle();
        text += &self.kafka();
        text
    }

    fn disturbance(&self) -> String {
        let disturbed = self
            .samples
            .iter()
            .filter(|sample| sample.is_disturbed())
            .count();
        let again: u32 = self.samples.iter().map(|sample| sample.tries - 1).sum();
        let foreign: Vec<f64> = self
            .samples
            .iter()
            .map(|sample| sample.used.foreign_cores)
            .collect();
        let steal: Vec<f64> = self
            .samples
            .iter()
            .map(|sample| sample.used.steal_cores)
            .collect();
        format!(
            "- samples: {}; taken again for foreign load or steal: {again}; kept although more \
             than {FOREIGN_CORES_MAX} of a \
             core was taken: {disturbed}; median foreign load {:.3} cores, steal {:.3}\n",
            self.samples.len(),
            stats::median(&foreign).unwrap_or(0.0),
            stats::median(&steal).unwrap_or(0.0),
        )
    }

    fn placement(&self, placement: Placement) -> String {
        let (title, about) = match placement {
            Placement::Same => ("One core", "Relay, load and simulator share one processor."),
            Placement::Split => (
                "The relay on a core of its own",
                "Load and simulator on another one.",
            ),
            Placement::Free => (
                "Two cores",
                "Relays with two threads, nothing pinned. Proxies that came by --peer take no \
                 part.",
            ),
        };
        let measured: Vec<&Workload> = self
            .workloads
            .iter()
            .filter(|w| {
                self.samples
                    .iter()
                    .any(|s| s.placement == placement && s.workload == w.name)
            })
            .collect();
        if measured.is_empty() {
            return String::new();
        }
        let mut text = format!("\n## {title}\n\n{about}\n");
        for (transport, title) in [
            (Transport::Plain, ""),
            (
                Transport::Tls,
                "\n### TLS that ends at the relay (TLS 1.3, AES-128-GCM, X25519, ECDSA P-256)\n",
            ),
            (Transport::Passthrough, "\n### TLS that passes through\n"),
        ] {
            let of: Vec<&Workload> = measured
                .iter()
                .copied()
                .filter(|w| w.transport == transport)
                .collect();
            if !of.is_empty() {
                text += title;
                text += &self.tables(placement, &of);
            }
        }
        text
    }

    /// A table for each metric, with the relays that took part.
    fn tables(&self, placement: Placement, workloads: &[&Workload]) -> String {
        let took_part = |relay: &&String| {
            let is_of = |sample: &Sample| {
                workloads
                    .iter()
                    .any(|workload| workload.name == sample.workload)
            };
            self.samples
                .iter()
                .any(|s| s.placement == placement && s.relay == **relay && is_of(s))
        };
        let relays: Vec<&String> = self.relays.iter().filter(took_part).collect();
        let header = relays
            .iter()
            .map(|relay| relay.as_str())
            .collect::<Vec<_>>()
            .join(" | ");
        let mut text = String::new();
        for metric in [
            Metric::CpuPerGb,
            Metric::CpuPerRoundTrip,
            Metric::Throughput,
            Metric::P50,
            Metric::P99,
        ] {
            let is_shown = |workload: &&&Workload| match metric {
                Metric::CpuPerGb | Metric::Throughput => workload.shown == Metric::CpuPerGb,
                Metric::CpuPerRoundTrip => workload.shown == Metric::CpuPerRoundTrip,
                Metric::P50 | Metric::P99 => true,
            };
            let rows: Vec<_> = workloads.iter().filter(is_shown).collect();
            if rows.is_empty() {
                continue;
            }
            let _ = writeln!(text, "\n| {} | {header} |", metric.name());
            let _ = writeln!(text, "|---|{}", "---|".repeat(relays.len()));
            for workload in rows {
                let cell = |relay: &&String| {
                    let value = self.median(placement, workload.name, relay, metric);
                    let is_free = *relay == "direct"
                        && matches!(metric, Metric::CpuPerGb | Metric::CpuPerRoundTrip);
                    value.filter(|_| !is_free).map_or("–".to_owned(), figure)
                };
                let cells: Vec<String> = relays.iter().map(cell).collect();
                let _ = writeln!(text, "| {} | {} |", workload.name, cells.join(" | "));
            }
        }
        text
    }

    fn calls(&self) -> String {
        if self.counts.is_empty() {
            return String::new();
        }
        let mut text = String::from(
            "\n## Data system calls\n\nCounted by strace, which also slows the relay down.\n\n\
             | relay | a round trip of 200 B | a fetched MiB |\n|---|---|---|\n",
        );
        for count in self.counts {
            let small = count.per_small_round_trip;
            let mib = count.per_fetched_mib;
            let _ = writeln!(text, "| {} | {small:.2} | {mib:.2} |", count.relay);
        }
        text
    }

    fn idle(&self) -> String {
        if self.idle.is_empty() {
            return String::new();
        }
        let mut text = String::from(
            "\n## Memory (Pss)\n\nA fresh process each; after one round trip on every connection, \
             after 200 answers of \
             1 MiB, and after the close of all.\n\n| relay | connections | KiB each | before, KiB | idle | after the burst | \
             after close |\n|---|---|---|---|---|---|---|\n",
        );
        for idle in self.idle {
            let _ = writeln!(
                text,
                "| {} | {} | {:.2} | {} | {} | {} | {} |",
                idle.relay,
                idle.connections,
                idle.kib_per_connection(),
                idle.before,
                idle.idle,
                idle.after_burst,
                idle.after_close
            );
        }
        text
    }

    fn kafka(&self) -> String {
        if self.lanes.is_empty() {
            return String::new();
        }
        let mut text = format!(
            "\n## Real Kafka\n\n{}\n\n| lane | produce MB/s | produce CPU s/GB | consume MB/s | \
             consume CPU s/GB |\n\
             |---|---|---|---|---|\n",
            crate::kafka::ABOUT
        );
        let mut names: Vec<&str> = Vec::new();
        for lane in self.lanes {
            if !names.contains(&lane.name.as_str()) {
                names.push(&lane.name);
            }
        }
        for name in names {
            let of = |value: fn(&Lane) -> f64| {
                let values: Vec<f64> = self
                    .lanes
                    .iter()
                    .filter(|lane| lane.name == name)
                    .map(value)
                    .collect();
                stats::median(&values).map_or("–".to_owned(), figure)
            };
            let _ = writeln!(
                text,
                "| {name} | {} | {} | {} | {} |",
                of(|lane| lane.produce_mb_per_second),
                of(|lane| lane.produce_cpu_per_gb),
                of(|lane| lane.consume_mb_per_second),
                of(|lane| lane.consume_cpu_per_gb)
            );
        }
        text
    }

    /// chart.svg: what bulk costs on one core, without TLS, whose names would not fit under its few
    /// bars.
    pub fn chart(&self) -> String {
        let is_bulk = |workload: &&Workload| {
            workload.shown == Metric::CpuPerGb && workload.transport == Transport::Plain
        };
        let groups: Vec<Group> = self
            .workloads
            .iter()
            .filter(is_bulk)
            .map(|workload| {
                let bar = |relay: &String| {
                    let value =
                        self.median(Placement::Same, workload.name, relay, Metric::CpuPerGb)?;
                    Some((relay.clone(), value))
                };
                let bars = self
                    .relays
                    .iter()
                    .filter(|relay| *relay != "direct")
                    .filter_map(bar)
                    .collect();
                Group {
                    name: workload.name.to_owned(),
                    bars,
                }
            })
            .filter(|group| !group.bars.is_empty())
            .collect();
        let fact = |name| self.environment.fact(name);
        let caption = format!(
            "commit {}, Linux {}, {}; {}",
            fact("commit"),
            fact("kernel"),
            fact("CPU"),
            self.command
        );
        chart::svg(
            "CPU seconds of the relay per GB moved, one core (less is better)",
            &caption,
            &groups,
        )
    }
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        small if small >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
