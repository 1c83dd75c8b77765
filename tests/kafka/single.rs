//! Scheme `single`: the whole cluster behind one plaintext `host:port`, and nothing said to the
//! clients but `bootstrap.servers`: logins, leaders that move, brokers that are killed. What each
//! client does with it when nothing happens is in [`matrix`](crate::matrix).

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::arms::Arms;
use crate::brokers::{PASSWORD, ports};
use crate::clients::Front;
use crate::conversations::exchange;
use crate::doctor;
use crate::fixture::{Fixture, LazyFixture, alone, is_direct, sharing};
use crate::leadership;
use crate::names;
use crate::namespaces::{NARROWS_FOR_CLIENTS, NODE_IDS, Side, broker_ip};
use crate::narrows::{Narrows, own_port};
use crate::outages;
use crate::sasl::credentials;

/// What clients are told of a broker's host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// The same for all.
    Equal,
    /// A name for each.
    Named,
}

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    let mut trials = Vec::new();
    let name = "single::doctor_sees_no_trouble_in_one_address_for_all_brokers";
    trials.push(sharing(fixture, name, be_examined));
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        for client in ["java", "confluent", "franz-go"] {
            let name = format!("single::{client}_logs_in_with_{mechanism}_behind_one_port");
            trials.push(sharing(fixture, &name, move |fixture| {
                log_in(fixture, client, mechanism)
            }));
        }
    }
    for client in ["java", "confluent", "franz-go"] {
        let name =
            format!("single::{client}_loses_and_doubles_nothing_while_the_leader_moves_behind_it");
        trials.push(sharing(fixture, &name, move |fixture| {
            let (narrows, front) = start(fixture, Hosts::Equal)?;
            leadership::follow(fixture, client, &front, &front.plain, &[])
                .with_context(|| narrows.refusals(&fixture.namespaces))?;
            narrows.ensure_quiet()
        }));
        let name =
            format!("single::{client}_loses_and_doubles_nothing_when_a_broker_behind_it_is_killed");
        trials.push(alone(fixture, &name, move |fixture| {
            let (narrows, front) = start(fixture, Hosts::Equal)?;
            narrows.announce(&outages::absent(2).each_ref().map(String::as_str));
            outages::kill_the_leader(fixture, client, front)?;
            narrows.ensure_quiet()
        }));
    }
    let name = "single::java_loses_and_doubles_nothing_when_narrows_is_killed_and_restarted";
    trials.push(sharing(fixture, name, restart));
    trials
}

fn log_in(fixture: &Fixture, client: &str, mechanism: &str) -> Result<()> {
    let (narrows, front) = start(fixture, Hosts::Equal)?;
    let topic = fixture.namespaces.unique("single-sasl");
    fixture.cluster.admin_client.create(&topic, 6)?;
    let credentials = credentials(mechanism, PASSWORD);
    exchange(fixture, client, &front, &front.sasl, &topic, &credentials)?;
    narrows.ensure_sound()
}

/// Doctor sees one address for all brokers, and no trouble.
fn be_examined(fixture: &Fixture) -> Result<()> {
    let (narrows, front) = start(fixture, Hosts::Equal)?;
    // Before Kafka 4.4 brokers with one address may be one address by mistake: doctor asks by HTTP
    // whether a Narrows stands there.
    narrows.announce(&[r#""cause":"http""#]);
    let (exit, text) = doctor::examine(fixture, &front, &front.plain, &[])?;
    ensure!(exit == Some(0) && text.contains("all advertise"), "{text}");
    narrows.ensure_sound()
}

fn restart(fixture: &Fixture) -> Result<()> {
    let (narrows, front) = start(fixture, Hosts::Equal)?;
    let arms = Arms::start(fixture, "java", front, "2,3,1")?;
    for _ in 0..2 {
        arms.await_more(200)?;
        narrows.kill()?;
        narrows.start_again(&fixture.namespaces)?;
    }
    arms.await_more(200)?;
    arms.finish(fixture).map(drop)
}

/// A Narrows of the trial's own with one port for a cluster, and what its clients are given.
pub(crate) fn start(fixture: &Fixture, hosts: Hosts) -> Result<(Narrows, Front)> {
    let narrows = fixture.own_narrows_with(|slot| {
        let cluster = |port: u16| {
            let servers = [1, 2].map(|node| format!("{}:{port}", broker_ip(node)));
            json!({"bootstrap_servers": servers})
        };
        let host = match hosts {
            Hosts::Equal => NARROWS_FOR_CLIENTS.to_string(),
            Hosts::Named => names::pattern(names::SINGLE),
        };
        let listener = |cluster: &str, port: u16| {
            json!({
                "cluster": cluster,
                "bind": format!("{NARROWS_FOR_CLIENTS}:{port}"),
                "address": {"scheme": "single", "advertised_host": host},
            })
        };
        Ok(json!({
            "clusters": {"plain": cluster(ports::PLAIN), "sasl": cluster(ports::SASL)},
            "listeners": {
                "plain": listener("plain", own_port(slot)),
                "sasl": listener("sasl", own_port(slot) + 1),
            },
        }))
    })?;
    let port = own_port(narrows.slot());
    let (bootstrap, brokers): (String, BTreeMap<_, _>) = match hosts {
        Hosts::Equal => {
            let host = NARROWS_FOR_CLIENTS.to_string();
            let at = |id: u8| (i64::from(id), (host.clone(), port));
            (host.clone(), NODE_IDS.map(at).into())
        }
        Hosts::Named => (
            names::bootstrap(names::SINGLE),
            names::brokers(names::SINGLE, port),
        ),
    };
    let front = Front {
        side: Side::Clients,
        plain: format!("{bootstrap}:{port}"),
        sasl: format!("{bootstrap}:{}", port + 1),
        reauth: String::new(),
        sasl_brokers: brokers.clone(),
        brokers,
    };
    Ok((narrows, front))
}
