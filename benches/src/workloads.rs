//! What is measured. Each workload has a name, for `--only`.

use crate::frames;
use crate::load::{Pace, Work};
use crate::relays::{Kind, Relay};
use crate::storm::Visit;
use crate::wire::Transport;
use anyhow::Result;

const KIB: usize = 1024;
/// As much in flight as keeps every party busy: four connections, three requests each.
const BULK_CONNECTIONS: usize = 4;
const BULK_DEPTH: usize = 3;
/// 1 MiB requests a second beside the small ones: well below what any relay here can carry on one
/// core.
const BESIDE_BULK_PER_SECOND: f64 = 400.0;
const BESIDE_SMALL_PER_SECOND: f64 = 2000.0;
pub const SMALL_BYTES: usize = 200;
pub const METADATA_PARTITIONS: usize = 10_000;
const METADATA_PER_SECOND: f64 = 100.0;
const UNGATED_ROUNDS: u32 = 3;

/// One workload.
#[derive(Clone, Debug)]
pub struct Workload {
    pub name: &'static str,
    /// Only relays of this transport take part.
    pub transport: Transport,
    pub shape: Shape,
    /// What a reader wants to see of it first.
    pub shown: Metric,
    /// In `--quick` too.
    pub quick: bool,
    /// Also with the relay on a processor of its own, and with two threads on all processors.
    pub elsewhere: bool,
    /// Workloads that no gate looks at are repeated less often.
    pub rounds_max: u32,
}

#[derive(Clone, Debug)]
pub enum Shape {
    /// One load.
    Load(Work),
    /// The first is measured while the second runs.
    Beside(Work, Work),
    /// Open loop of small requests at this share of what the relay itself can carry.
    AtCapacity(f64),
    Storm(Visit),
    FirstConnection,
}

/// A number per sample; smaller is better, except for throughput.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    CpuPerGb,
    CpuPerRoundTrip,
    Throughput,
    P50,
    P99,
}

impl Metric {
    pub fn name(self) -> &'static str {
        match self {
            Self::CpuPerGb => "CPU s/GB",
            Self::CpuPerRoundTrip => "CPU µs each",
            Self::Throughput => "GB/s",
            Self::P50 => "p50 µs",
            Self::P99 => "p99 µs",
        }
    }
}

/// The frame sizes of bulk, in KiB: name of producing, name of fetching.
const SIZES: [(usize, &str, &str); 5] = [
    (1024, "produce-1m", "fetch-1m"),
    (256, "produce-256k", "fetch-256k"),
    (64, "produce-64k", "fetch-64k"),
    (32, "produce-32k", "fetch-32k"),
    (16, "produce-16k", "fetch-16k"),
];

/// Every workload, in the order of the report.
pub fn all() -> Result<Vec<Workload>> {
    let mut all = plain()?;
    all.extend(tls()?);
    all.extend(passthrough()?);
    Ok(all)
}

fn plain() -> Result<Vec<Workload>> {
    let mut all = Vec::new();
    for (kib, produce, fetch) in SIZES {
        for (name, request) in [
            (produce, frames::produce_request(kib * KIB)?),
            (fetch, frames::fetch_request(kib * KIB, false)?),
        ] {
            let quick = matches!(kib, 1024 | 64 | 16);
            let elsewhere = kib == 1024;
            all.push(Workload {
                quick,
                elsewhere,
                ..bulk_workload(name, request)
            });
        }
    }
    let cold = bulk_workload("fetch-cold-1m", frames::fetch_request(KIB * KIB, true)?);
    all.push(Workload {
        quick: true,
        elsewhere: true,
        ..cold
    });
    let depth_1 = each("small-depth-1", small_shape(64, 1)?);
    all.push(Workload {
        quick: true,
        elsewhere: true,
        ..depth_1
    });
    all.push(Workload {
        quick: true,
        ..each("small-depth-16", small_shape(16, 16)?)
    });
    all.push(beside(
        "small-beside-produce",
        frames::produce_request(KIB * KIB)?,
        true,
    )?);
    all.push(beside(
        "small-beside-fetch",
        frames::fetch_request(KIB * KIB, false)?,
        false,
    )?);
    for (name, share) in [("open-30", 0.3), ("open-60", 0.6), ("open-80", 0.8)] {
        let shape = Shape::AtCapacity(share);
        let rounds_max = UNGATED_ROUNDS;
        all.push(Workload {
            shown: Metric::P99,
            rounds_max,
            ..each(name, shape)
        });
    }
    let metadata = Work {
        request: frames::metadata_request(METADATA_PARTITIONS)?,
        connections: 4,
        pace: Pace::Open {
            per_second: METADATA_PER_SECOND,
        },
    };
    all.push(Workload {
        quick: true,
        ..each("metadata-10k", Shape::Load(metadata))
    });
    all.push(Workload {
        quick: true,
        elsewhere: true,
        ..each("storm", Shape::Storm(Visit::Ask))
    });
    let first = each("first-connection", Shape::FirstConnection);
    let rounds_max = UNGATED_ROUNDS;
    all.push(Workload {
        shown: Metric::P50,
        rounds_max,
        ..first
    });
    Ok(all)
}

fn tls() -> Result<Vec<Workload>> {
    let storm = |name, visit| each(name, Shape::Storm(visit));
    let mut all = vec![
        bulk_workload("tls-produce-1m", frames::produce_request(KIB * KIB)?),
        Workload {
            quick: true,
            ..bulk_workload("tls-fetch-1m", frames::fetch_request(KIB * KIB, false)?)
        },
        bulk_workload("tls-produce-64k", frames::produce_request(64 * KIB)?),
        bulk_workload("tls-fetch-64k", frames::fetch_request(64 * KIB, false)?),
        bulk_workload("tls-fetch-16k", frames::fetch_request(16 * KIB, false)?),
        Workload {
            quick: true,
            ..each("tls-small-depth-1", small_shape(64, 1)?)
        },
        Workload {
            quick: true,
            ..storm("tls-storm-full", Visit::Ask)
        },
        storm("tls-storm-resumed", Visit::AskResuming),
        storm("tls-storm-bad", Visit::Garble),
        storm("tls-storm-unknown-name", Visit::AskForNobody),
    ];
    for workload in &mut all {
        workload.transport = Transport::Tls;
    }
    Ok(all)
}

fn passthrough() -> Result<Vec<Workload>> {
    let transport = Transport::Passthrough;
    let produce = bulk_workload(
        "passthrough-produce-1m",
        frames::produce_request(KIB * KIB)?,
    );
    let fetch = bulk_workload(
        "passthrough-fetch-1m",
        frames::fetch_request(KIB * KIB, false)?,
    );
    Ok(vec![
        Workload {
            transport,
            ..produce
        },
        Workload { transport, ..fetch },
    ])
}

fn bulk_workload(name: &'static str, request: Vec<u8>) -> Workload {
    Workload {
        shown: Metric::CpuPerGb,
        ..each(name, Shape::Load(bulk(request)))
    }
}

/// Plain, on one core, in full runs only, and what matters is what each round trip costs.
fn each(name: &'static str, shape: Shape) -> Workload {
    Workload {
        name,
        transport: Transport::Plain,
        shape,
        shown: Metric::CpuPerRoundTrip,
        quick: false,
        elsewhere: false,
        rounds_max: u32::MAX,
    }
}

fn small_shape(connections: usize, depth: usize) -> Result<Shape> {
    Ok(Shape::Load(small(connections, Pace::Closed { depth })?))
}

fn bulk(request: Vec<u8>) -> Work {
    Work {
        request,
        connections: BULK_CONNECTIONS,
        pace: Pace::Closed { depth: BULK_DEPTH },
    }
}

/// The bulk that system calls are counted with.
pub fn fetch_1m() -> Result<Work> {
    Ok(bulk(frames::fetch_request(KIB * KIB, false)?))
}

/// Produce requests of 200 bytes: their answers are as small.
pub fn small(connections: usize, pace: Pace) -> Result<Work> {
    Ok(Work {
        request: frames::produce_request(SMALL_BYTES)?,
        connections,
        pace,
    })
}

fn beside(name: &'static str, request: Vec<u8>, quick: bool) -> Result<Workload> {
    let bulk = Work {
        request,
        connections: BULK_CONNECTIONS,
        pace: Pace::Open {
            per_second: BESIDE_BULK_PER_SECOND,
        },
    };
    let small = small(
        16,
        Pace::Open {
            per_second: BESIDE_SMALL_PER_SECOND,
        },
    )?;
    Ok(Workload {
        shown: Metric::P99,
        quick,
        ..each(name, Shape::Beside(small, bulk))
    })
}

impl Workload {
    /// Whether a relay can do what is measured, and is worth it: nginx turns no name away, and
    /// HAProxy's buffers matter to bulk only.
    pub fn is_for(&self, relay: &Relay) -> bool {
        let asks_for_nobody = matches!(self.shape, Shape::Storm(Visit::AskForNobody));
        let is_left_out = (asks_for_nobody && relay.name == Kind::NginxTls.name())
            || (self.shown != Metric::CpuPerGb && relay.name == Kind::HaproxyTls64k.name());
        self.transport == relay.door.transport() && !is_left_out
    }
}
