//! Sessions from both ends: Narrows in this process, between scripted clients and a scripted
//! cluster of brokers.
//!
//! What real clients and brokers never do: lie about lengths, stop in the middle, answer what
//! nobody asked, stay silent, close at the worst moment. Each promise is told apart from its
//! neighbour by the cause that Narrows counts.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests may fail as tests do"
)]

mod alloc;
mod broker;
mod bulk;
mod child;
mod client;
mod cluster;
mod configs;
mod cost;
mod counts;
mod flow;
mod frames;
mod hello;
mod hostile_broker;
mod hostile_client;
mod life;
mod limits;
mod lines;
mod logins;
mod memory;
mod mixed;
mod names;
mod page;
#[path = "../pki/mod.rs"]
mod pki;
mod plain;
#[path = "../life/process.rs"]
#[expect(dead_code, reason = "tests/life needs more of it")]
mod process;
mod proxy_protocol;
mod reach;
mod reload;
#[path = "../../src/protocol/samples.rs"]
mod samples;
mod sasl;
mod shared_address;
mod single;
mod single_fetch;
mod single_logins;
mod single_moves;
mod single_order;
mod tls;
mod tls_hostile;
mod tls_memory;
mod tls_peers;
mod trace;
mod trust;
mod tunnel;
mod upgrade;
mod versions;
mod waits;
mod warnings;

use std::future::Future;
use std::time::Duration;

/// Longer than anything here takes on a busy machine; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits, but not for ever.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// Looks again and again until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let look = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(what, look).await
}

/// Lets time pass without waiting for it: whatever in this runtime waits for a moment within `by`
/// goes on.
async fn move_clock(by: Duration) {
    tokio::time::pause();
    tokio::time::advance(by).await;
    tokio::time::resume();
}
