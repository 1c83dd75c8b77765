//! What connections that do nothing cost: a fresh relay, N connections after one round trip each, a
//! burst over all of them, and the close of all of them.

use crate::frames;
use crate::load;
use crate::meter;
use crate::relays::{Kind, Relay, Setting};
use crate::wire::Stream;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// Answers of 1 MiB in a burst, one connection after the other.
const BURST: usize = 200;
/// Allocators and kernels take their time.
const SETTLE: Duration = Duration::from_millis(500);
/// After the close: a relay may give memory back only now and then.
const SETTLE_CLOSED: Duration = Duration::from_secs(3);

/// Memory of a relay, in KiB.
#[derive(Clone, Debug)]
pub struct Idle {
    pub relay: String,
    pub connections: usize,
    pub before: u64,
    pub idle: u64,
    pub after_burst: u64,
    pub after_close: u64,
}

impl Idle {
    pub fn kib_per_connection(&self) -> f64 {
        (self.idle as f64 - self.before as f64) / self.connections as f64
    }

    pub fn to_json(&self) -> Value {
        json!({
            "workload": "idle", "relay": self.relay, "connections": self.connections, "before_kib": self.before,
            "idle_kib": self.idle, "after_burst_kib": self.after_burst, "after_close_kib": self.after_close,
        })
    }
}

/// Measures a relay of its own, started for this at `port`.
pub fn measure(kind: Kind, setting: &Setting, port: u16, connections: usize) -> Result<Idle> {
    let mut relay = Relay::start(kind, setting, port, 1)?;
    // What a relay needs once, it has before the count begins.
    drop(load::open(&relay.door)?);
    std::thread::sleep(SETTLE);
    relay.look_again();
    let before = meter::memory_kib(&relay.pids)?;
    let mut streams = (0..connections)
        .map(|_| load::open(&relay.door))
        .collect::<Result<Vec<_>>>()?;
    std::thread::sleep(SETTLE);
    let idle = meter::memory_kib(&relay.pids)?;
    burst(&mut streams)?;
    std::thread::sleep(SETTLE);
    let after_burst = meter::memory_kib(&relay.pids)?;
    drop(streams);
    std::thread::sleep(SETTLE_CLOSED);
    let after_close = meter::memory_kib(&relay.pids)?;
    Ok(Idle {
        relay: relay.name.clone(),
        connections,
        before,
        idle,
        after_burst,
        after_close,
    })
}

fn burst(streams: &mut [Stream]) -> Result<()> {
    let request = frames::fetch_request(1024 * 1024, false)?;
    for stream in streams.iter_mut().take(BURST) {
        stream.set_blocking(true)?;
        stream.send_all(&request)?;
    }
    for stream in streams.iter_mut().take(BURST) {
        stream.frame().context("in the burst")?;
    }
    Ok(())
}
