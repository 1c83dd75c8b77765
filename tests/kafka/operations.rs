//! What an operator sees of a Narrows that has real brokers behind it.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::brokers::ports;
use crate::clients::metadata;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::namespaces::broker_ip;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            fixture,
            "operations::the_status_shows_each_broker_with_both_its_addresses",
            status,
        ),
        sharing(
            fixture,
            "operations::a_request_for_metadata_is_counted_and_so_is_its_rewriting",
            metrics,
        ),
    ]
}

/// A broker that was slow to tell the controller that it is alive is not in the first list that is
/// read; it is in the next one.
const REFRESHED: Duration = Duration::from_secs(75);

fn status(fixture: &Fixture) -> Result<()> {
    let mut addresses = Vec::new();
    for (node_id, (host, port)) in fixture.front().brokers.iter().filter(|(id, _)| **id <= 3) {
        addresses.push(format!("{host}:{port}"));
        let own = broker_ip(u8::try_from(*node_id)?);
        addresses.push(format!("{own}:{}", ports::PLAIN));
    }
    let narrows = fixture.narrows()?;
    let deadline = Instant::now() + REFRESHED;
    loop {
        let (code, body) = narrows.get(&fixture.namespaces, "/status")?;
        ensure!(code == 200, "/status answered {code}");
        let status: Value = serde_json::from_str(&body)?;
        let listeners = status["listeners"].to_string();
        let missing: Vec<_> = addresses
            .iter()
            .filter(|address| !listeners.contains(*address))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "{missing:?} are not in the status after {REFRESHED:?}: {listeners}\n{}",
            narrows.log_tail()
        );
        thread::sleep(Duration::from_millis(200));
    }
}

fn metrics(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("counted");
    fixture.cluster.admin_client.create(&topic, 1)?;
    let narrows = fixture.own_narrows()?;
    let front = narrows.front();
    metadata(
        fixture,
        "kcat",
        &front,
        &front.plain,
        &[format!("topic={topic}")],
    )?;
    for name in [
        "narrows_requests_total",
        "narrows_responses_rewritten_total",
    ] {
        let count = narrows.metric(&fixture.namespaces, name, "Metadata")?;
        ensure!(
            count >= 1.0,
            "{name} for Metadata is {count} after a client asked for metadata"
        );
    }
    let unmapped = narrows.metric(&fixture.namespaces, "narrows_unmapped_nodes", "")?;
    ensure!(
        unmapped == 0.0,
        "{unmapped} nodes are said to have no address"
    );
    Ok(())
}
