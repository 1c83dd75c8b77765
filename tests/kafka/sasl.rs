//! SASL passes through untouched: the client logs in to the broker itself, with a password that
//! Narrows never learns.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::{PASSWORD, USER};
use crate::clients::{Flow, metadata, run};
use crate::conversations::{ensure_only_advertised, exchange};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::oracle::{self, Order};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = Vec::new();
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        for client in ["java", "confluent", "franz-go", "kafkajs"] {
            let name =
                format!("sasl::{client}_logs_in_with_{mechanism}_and_gets_back_every_record");
            trials.push(sharing(fixture, &name, move |fixture| {
                converse(fixture, client, mechanism)
            }));
        }
        let name =
            format!("sasl::a_wrong_password_for_{mechanism}_is_refused_in_the_brokers_words");
        trials.push(sharing(fixture, &name, move |fixture| {
            be_refused(fixture, mechanism)
        }));
    }
    if !is_direct() {
        let name = "sasl::clients_that_hold_broker_addresses_survive_a_restart_of_narrows";
        trials.push(sharing(fixture, name, outlive_a_restart));
    }
    trials
}

fn converse(fixture: &Fixture, client: &str, mechanism: &str) -> Result<()> {
    let topic = fixture.namespaces.unique("sasl");
    fixture.cluster.admin_client.create(&topic, 4)?;
    let front = fixture.front();
    let options = [
        &credentials(mechanism, PASSWORD)[..],
        &[format!("topic={topic}")],
    ]
    .concat();
    let metadata = metadata(fixture, client, &front, &front.sasl, &options)?;
    ensure_only_advertised(&metadata, &front.sasl_brokers)?;
    exchange(
        fixture,
        client,
        &front,
        &front.sasl,
        &topic,
        &credentials(mechanism, PASSWORD),
    )
}

fn be_refused(fixture: &Fixture, mechanism: &str) -> Result<()> {
    fixture.announce(&[r#""cause":"sasl_failed""#]);
    let topic = fixture.namespaces.unique("refused");
    fixture.cluster.admin_client.create(&topic, 1)?;
    let front = fixture.front();
    let options = [
        &credentials(mechanism, "wrong")[..],
        &[format!("topic={topic}")],
    ]
    .concat();
    let outcome = run(fixture, "java", &front, &front.sasl, "metadata", &options);
    let refusal = outcome
        .err()
        .map(|error| format!("{error:#}"))
        .unwrap_or_default();
    // Kafka's own text for both mechanisms: "Authentication failed[: Invalid username or
    // password]".
    ensure!(
        refusal.contains("uthentication failed"),
        "a wrong password should be refused: {refusal:?}"
    );
    Ok(())
}

/// Narrows has no credentials, so after a restart it knows no broker but the bootstrap servers,
/// while clients come back to the ports of brokers.
fn outlive_a_restart(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("sasl-restart");
    fixture.cluster.admin_client.place(&topic, "3,1,2")?;
    let narrows = fixture.own_narrows()?;
    let front = narrows.front();
    let options = [
        &credentials("SCRAM-SHA-256", PASSWORD)[..],
        &[format!("topic={topic}"), "tag=r".into(), "rate=200".into()],
    ]
    .concat();
    let producer = Flow::endless(fixture, "java", &front, &front.sasl, "produce", &options)?;
    for _ in 0..2 {
        producer.await_more(200)?;
        narrows.kill()?;
        narrows.start_again(&fixture.namespaces)?;
    }
    producer.await_more(200)?;
    let acked = oracle::acked(&producer.stop()?)?;
    narrows.ensure_sound()?;
    oracle::ensure_arrived(
        "r",
        Order::AsSent,
        &acked,
        &fixture.cluster.admin_client.read(&topic)?,
    )
}

/// A client's options.
pub(crate) fn credentials(mechanism: &str, password: &str) -> [String; 4] {
    [
        "security=SASL_PLAINTEXT".to_owned(),
        format!("mechanism={mechanism}"),
        format!("username={USER}"),
        format!("password={password}"),
    ]
}
