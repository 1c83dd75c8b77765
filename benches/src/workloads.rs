//! What is measured. Each workload has a name, for `--only`.

use crate::frames;
use crate::load::{Pace, Work};
use anyhow::Result;

const KIB: usize = 1024;
/// As much in flight as keeps every party busy: four connections, three requests each.
const BULK_CONNECTIONS: usize = 4;
const BULK_DEPTH: usize = 3;
/// 1 MiB requests a second beside the small ones: well below what any relay here can carry on one core.
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
    Storm,
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

/// Every workload, in the order of the report.
pub fn all() -> Result<Vec<Workload>> {
    let (mut all, rounds_max) = (Vec::new(), u32::MAX);
    let sizes = [
        (1024, "produce-1m", "fetch-1m"),
        (256, "produce-256k", "fetch-256k"),
        (64, "produce-64k", "fetch-64k"),
        (32, "produce-32k", "fetch-32k"),
        (16, "produce-16k", "fetch-16k"),
    ];
    for (kib, produce, fetch) in sizes {
        let (quick, elsewhere) = (matches!(kib, 1024 | 64 | 16), kib == 1024);
        let load = |request| Shape::Load(bulk(request));
        let shown = Metric::CpuPerGb;
        let shape = load(frames::produce_request(kib * KIB)?);
        all.push(Workload { name: produce, shape, shown, quick, elsewhere, rounds_max });
        let shape = load(frames::fetch_request(kib * KIB, false)?);
        all.push(Workload { name: fetch, shape, shown, quick, elsewhere, rounds_max });
    }
    let cold = Shape::Load(bulk(frames::fetch_request(KIB * KIB, true)?));
    all.push(Workload {
        name: "fetch-cold-1m",
        shape: cold,
        shown: Metric::CpuPerGb,
        quick: true,
        elsewhere: true,
        rounds_max,
    });
    let small = |name, connections, depth, elsewhere| -> Result<Workload> {
        let shape = Shape::Load(small(connections, Pace::Closed { depth })?);
        Ok(Workload { name, shape, shown: Metric::CpuPerRoundTrip, quick: true, elsewhere, rounds_max })
    };
    all.push(small("small-depth-1", 64, 1, true)?);
    all.push(small("small-depth-16", 16, 16, false)?);
    all.push(beside("small-beside-produce", frames::produce_request(KIB * KIB)?, true)?);
    all.push(beside("small-beside-fetch", frames::fetch_request(KIB * KIB, false)?, false)?);
    for (name, share) in [("open-30", 0.3), ("open-60", 0.6), ("open-80", 0.8)] {
        let (shape, rounds_max) = (Shape::AtCapacity(share), UNGATED_ROUNDS);
        all.push(Workload { name, shape, shown: Metric::P99, quick: false, elsewhere: false, rounds_max });
    }
    let metadata = Work {
        request: frames::metadata_request(METADATA_PARTITIONS)?,
        connections: 4,
        pace: Pace::Open { per_second: METADATA_PER_SECOND },
    };
    let shape = Shape::Load(metadata);
    all.push(Workload {
        name: "metadata-10k",
        shape,
        shown: Metric::CpuPerRoundTrip,
        quick: true,
        elsewhere: false,
        rounds_max,
    });
    let (shape, shown) = (Shape::Storm, Metric::CpuPerRoundTrip);
    all.push(Workload { name: "storm", shape, shown, quick: true, elsewhere: true, rounds_max });
    let (shape, shown, rounds_max) = (Shape::FirstConnection, Metric::P50, UNGATED_ROUNDS);
    all.push(Workload { name: "first-connection", shape, shown, quick: false, elsewhere: false, rounds_max });
    Ok(all)
}

fn bulk(request: Vec<u8>) -> Work {
    Work { request, connections: BULK_CONNECTIONS, pace: Pace::Closed { depth: BULK_DEPTH } }
}

/// The bulk that system calls are counted with.
pub fn fetch_1m() -> Result<Work> {
    Ok(bulk(frames::fetch_request(KIB * KIB, false)?))
}

/// Produce requests of 200 bytes: their answers are as small.
pub fn small(connections: usize, pace: Pace) -> Result<Work> {
    Ok(Work { request: frames::produce_request(SMALL_BYTES)?, connections, pace })
}

fn beside(name: &'static str, request: Vec<u8>, quick: bool) -> Result<Workload> {
    let bulk = Work {
        request,
        connections: BULK_CONNECTIONS,
        pace: Pace::Open { per_second: BESIDE_BULK_PER_SECOND },
    };
    let small = small(16, Pace::Open { per_second: BESIDE_SMALL_PER_SECOND })?;
    Ok(Workload {
        name,
        shape: Shape::Beside(small, bulk),
        shown: Metric::P99,
        quick,
        elsewhere: false,
        rounds_max: u32::MAX,
    })
}
