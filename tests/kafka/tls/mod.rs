//! TLS clients, mutual and not, at one port of Narrows: the name in the hello says which cluster
//! and which broker they mean. In direct mode they talk to the brokers' own TLS listeners.

mod configuration;
mod refusals;
mod reloads;
mod secret;
mod socket;
mod way;

use anyhow::{Context, Result};
use libtest_mimic::Trial;

use crate::brokers::version_under_test;
use crate::clients::metadata;
use crate::conversations::{ensure_only_advertised, exchange};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::leadership;
use crate::names;
use crate::narrows::Narrows;
use way::Way;

const CLIENTS: [&str; 6] = [
    "java",
    "confluent",
    "franz-go",
    "kafka-python",
    "kafkajs",
    "kcat",
];
/// Those that need more time or differ little from others have one way only, the one with the most
/// to set up.
const CLIENTS_ONCE: [&str; 2] = ["java-4.3.1", "aiokafka"];

/// An old cluster has to show only that its own TLS and Narrows' understand each other: the rest is
/// the clients' and Narrows' matter, and the same in front of any cluster.
fn clients() -> &'static [&'static str] {
    if version_under_test().starts_with("3.") {
        &CLIENTS[..1]
    } else {
        &CLIENTS
    }
}

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = Vec::new();
    for client in clients() {
        for way in [Way::ToPlain, Way::ToMtls, Way::Passthrough] {
            trials.push(conversation(fixture, client, way));
        }
    }
    if clients().len() < CLIENTS.len() {
        return trials;
    }
    trials.extend(CLIENTS_ONCE.map(|client| conversation(fixture, client, Way::ToMtls)));
    trials.extend(["java", "confluent"].map(|client| conversation(fixture, client, Way::ToSasl)));
    let name = "tls::java_loses_and_doubles_nothing_while_the_leader_moves";
    trials.push(sharing(fixture, name, follow_the_leader));
    if !is_direct() {
        let name = "tls::clients_are_told_the_port_that_the_configuration_advertises";
        trials.push(sharing(fixture, name, advertise_another_port));
    }
    trials.extend(refusals::list(fixture));
    trials.extend(reloads::list(fixture));
    trials
}

/// The Narrows that all of these share.
pub(crate) fn gateway(fixture: &Fixture) -> Result<Narrows> {
    let gateway = fixture
        .own_narrows_with(|_| configuration::everything(fixture, way::PORT))
        .context("Narrows with TLS")?;
    // Brokers that Narrows must not trust: it says so whenever it asks them, or a client comes.
    for untrusted in [names::TO_WRONG_NAME, names::TO_EXPIRED] {
        gateway.announce(&[
            &format!(r#""cluster":"{untrusted}""#),
            &format!(r#""listener":"{untrusted}""#),
        ]);
    }
    Ok(gateway)
}

fn conversation(fixture: &LazyFixture, client: &'static str, way: Way) -> Trial {
    let name = format!("tls::{client}_{}", way.promise());
    sharing(fixture, &name, move |fixture| {
        converse(fixture, client, way)
    })
}

fn converse(fixture: &Fixture, client: &str, way: Way) -> Result<()> {
    let topic = fixture.namespaces.unique(&format!("tls-{client}"));
    fixture.cluster.admin_client.create(&topic, 4)?;
    let road = way.road(fixture)?;
    let options = road.with(&[format!("topic={topic}")]);
    let metadata = metadata(fixture, client, &road.front, &road.bootstrap, &options)?;
    ensure_only_advertised(&metadata, &road.brokers)?;
    exchange(
        fixture,
        client,
        &road.front,
        &road.bootstrap,
        &topic,
        &road.options,
    )
}

/// KIP-951 leads the producer to a name that it has not dialled yet.
fn follow_the_leader(fixture: &Fixture) -> Result<()> {
    let road = Way::ToPlain.road(fixture)?;
    leadership::follow(fixture, "java", &road.front, &road.bootstrap, &road.options)
}

/// As behind a load balancer on another port.
fn advertise_another_port(fixture: &Fixture) -> Result<()> {
    let road = Way::ToPlain.road(fixture)?;
    let bootstrap = format!("{}:{}", names::bootstrap(names::ELSEWHERE), way::PORT);
    let metadata = metadata(fixture, "kcat", &road.front, &bootstrap, &road.options)?;
    ensure_only_advertised(
        &metadata,
        &names::brokers(names::ELSEWHERE, configuration::ELSEWHERE_PORT),
    )
}
