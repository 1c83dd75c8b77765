//! Every client, unmodified, has its plain conversation: it sees only the addresses it may see,
//! produces, and consumes in a group what was produced, record by record.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::clients::{Front, metadata, run};
use crate::fixture::{Fixture, LazyFixture, sharing};
use crate::oracle::{self, Order, Record};

/// All that `tests/clients/run` knows.
const CLIENTS: [&str; 12] = [
    "java",
    "java-4.3.1",
    "java-3.9.2",
    "kcat",
    "confluent",
    "kafka-python",
    "aiokafka",
    "franz-go",
    "sarama",
    "kafka-go",
    "kafkajs",
    "platformatic",
];

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let trial = |client: &'static str| {
        let name =
            format!("conversations::{client}_sees_no_broker_and_gets_back_every_record_it_sent");
        sharing(fixture, &name, move |fixture| converse(fixture, client))
    };
    CLIENTS.map(trial).into()
}

const RECORDS: usize = 1000;

fn converse(fixture: &Fixture, client: &str) -> Result<()> {
    let topic = fixture.namespaces.unique(&format!("conversation-{client}"));
    fixture.cluster.admin_client.create(&topic, 4)?;
    let front = fixture.front();
    let metadata = metadata(
        fixture,
        client,
        &front,
        &front.plain,
        &[format!("topic={topic}")],
    )?;
    ensure_only_advertised(&metadata, &front.brokers)?;
    exchange(fixture, client, &front, &front.plain, &topic, &[])
}

/// Produces, consumes in a group, and compares, also with what the brokers themselves hold.
pub(crate) fn exchange(
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    topic: &str,
    credentials: &[String],
) -> Result<()> {
    let (tag, acked) = produce(fixture, client, front, bootstrap, topic, credentials)?;
    let consume = [
        &[
            format!("topic={topic}"),
            format!("count={RECORDS}"),
            format!("group=group-{tag}"),
        ],
        credentials,
    ]
    .concat();
    let consumed = oracle::consumed(&run(
        fixture, client, front, bootstrap, "consume", &consume,
    )?)?;
    oracle::ensure_arrived(&tag, order_of(client), &acked, &consumed)
}

/// Produces, compares with what the brokers hold, and returns the records and their tag.
pub(crate) fn produce(
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    topic: &str,
    credentials: &[String],
) -> Result<(String, Vec<Record>)> {
    let tag = fixture.namespaces.unique("t");
    let produce = [
        &[
            format!("topic={topic}"),
            format!("count={RECORDS}"),
            format!("tag={tag}"),
        ],
        credentials,
    ]
    .concat();
    let acked = oracle::acked(&run(
        fixture, client, front, bootstrap, "produce", &produce,
    )?)?;
    ensure!(
        acked.len() == RECORDS,
        "{} of {RECORDS} records were acknowledged",
        acked.len()
    );
    let held = fixture.cluster.admin_client.read(topic)?;
    oracle::ensure_arrived(&tag, order_of(client), &acked, &held)?;
    Ok((tag, acked))
}

/// Two have many requests on the way at once without a producer's sequence.
fn order_of(client: &str) -> Order {
    match client {
        "kafkajs" | "platformatic" => Order::AsStored,
        _ => Order::AsSent,
    }
}

/// All three brokers are there, each at its advertised address and no other.
pub(crate) fn ensure_only_advertised(
    metadata: &[Value],
    advertised: &BTreeMap<i64, (String, u16)>,
) -> Result<()> {
    let seen = brokers_in(metadata)?;
    let expected: BTreeMap<_, _> = advertised
        .iter()
        .filter(|(id, _)| **id <= 3)
        .map(|(id, at)| (*id, at.clone()))
        .collect();
    ensure!(
        seen == expected,
        "metadata shows {seen:?} where {expected:?} is advertised"
    );
    Ok(())
}

/// The broker map of a `metadata` scenario.
pub(crate) fn brokers_in(metadata: &[Value]) -> Result<BTreeMap<i64, (String, u16)>> {
    let brokers = metadata
        .iter()
        .filter_map(|line| line["brokers"].as_array())
        .flatten();
    brokers
        .map(|broker| {
            let id = broker["id"].as_i64();
            let host = broker["host"].as_str().map(str::to_owned);
            let port = broker["port"]
                .as_u64()
                .and_then(|port| u16::try_from(port).ok());
            let (Some(id), Some(host), Some(port)) = (id, host, port) else {
                anyhow::bail!("not a broker: {broker}")
            };
            Ok((id, (host, port)))
        })
        .collect()
}
