//! What an operator sees of a Narrows that has real brokers behind it.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

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

fn status(fixture: &Fixture) -> Result<()> {
    let (code, body) = fixture.narrows()?.get(&fixture.namespaces, "/status")?;
    ensure!(code == 200, "/status answered {code}");
    let text = serde_json::from_str::<serde_json::Value>(&body)?.to_string();
    for (node_id, (host, port)) in fixture.front().brokers.iter().filter(|(id, _)| **id <= 3) {
        let own = format!("{}:{}", broker_ip(u8::try_from(*node_id)?), ports::PLAIN);
        for address in [format!("{host}:{port}"), own] {
            ensure!(
                text.contains(&address),
                "broker {node_id}: {address} is not in the status: {text}"
            );
        }
    }
    Ok(())
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
