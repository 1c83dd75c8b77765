//! What an operator sees of a Narrows that has real brokers behind it.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::ports;
use crate::clients::run;
use crate::stage::{LazyStage, Stage, is_direct, sharing};
use crate::world::broker_ip;

pub(crate) fn list(stage: &LazyStage) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![
        sharing(
            stage,
            "operations::the_status_shows_each_broker_with_both_its_addresses",
            status,
        ),
        sharing(
            stage,
            "operations::a_request_for_metadata_is_counted_and_so_is_its_rewriting",
            metrics,
        ),
    ]
}

fn status(stage: &Stage) -> Result<()> {
    let (code, body) = stage.narrows()?.get(&stage.world, "/status")?;
    ensure!(code == 200, "/status answered {code}");
    let text = serde_json::from_str::<serde_json::Value>(&body)?.to_string();
    for (node_id, (host, port)) in stage.front().brokers.iter().filter(|(id, _)| **id <= 3) {
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

fn metrics(stage: &Stage) -> Result<()> {
    let topic = stage.world.unique("counted");
    stage.cluster.steward.create(&topic, 1)?;
    let narrows = stage.own_narrows()?;
    let front = narrows.front();
    run(
        stage,
        "kcat",
        &front,
        &front.plain,
        "metadata",
        &[format!("topic={topic}")],
    )?;
    for name in [
        "narrows_requests_total",
        "narrows_responses_rewritten_total",
    ] {
        let count = narrows.metric(&stage.world, name, "Metadata")?;
        ensure!(
            count >= 1.0,
            "{name} for Metadata is {count} after a client asked for metadata"
        );
    }
    let unmapped = narrows.metric(&stage.world, "narrows_unmapped_nodes", "")?;
    ensure!(
        unmapped == 0.0,
        "{unmapped} nodes are said to have no address"
    );
    Ok(())
}
