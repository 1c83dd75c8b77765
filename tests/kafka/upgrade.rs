//! A cluster grows and is upgraded, node by node, under producers that must not notice more than
//! past Narrows: three nodes of Kafka 4.3.1, a fourth that joins as 4.4.0, then each of the three
//! stops and returns as 4.4.0, and the upgrade is finalized. All of it behind scheme `single`,
//! where clients are offered what all brokers have in common.
//!
//! The cluster is one of the trial's own, since there is no way back.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::ApiVersionsResponse;
use libtest_mimic::Trial;

use crate::arms::Arms;
use crate::brokers::{FOURTH, Kafka, ports, version_under_test};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::namespaces::{Side, broker_ip};
use crate::outages;
use crate::single::{self, Hosts};
use crate::wire::versions;

const BEFORE: &str = "4.3.1";
const AFTER: &str = "4.4.0";
const FOUNDERS: [u8; 3] = [1, 2, 3];

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() || version_under_test() != AFTER {
        return Vec::new();
    }
    let name =
        "upgrade::a_cluster_grows_and_goes_from_4_3_1_to_4_4_0_and_nothing_is_lost_or_doubled";
    // Beside those that share the other fixture, and not beside those that have it alone.
    vec![sharing(fixture, name, |_| upgrade())]
}

/// Records of each client between two steps.
const BETWEEN: usize = 100;
/// A broker that could not be asked is asked again within ten seconds.
const LEARN_TIMEOUT: Duration = Duration::from_secs(90);

fn upgrade() -> Result<()> {
    let logs = "upgrade";
    let after = Kafka::fetched(AFTER, logs)?;
    let fixture = Fixture::of(Kafka::fetched(BEFORE, logs)?)?;
    let (narrows, front) = single::start(&fixture, Hosts::Equal)?;
    for node_id in [1, 2, 3, FOURTH] {
        let absent = outages::absent(node_id);
        let texts = absent.each_ref().map(String::as_str);
        fixture.announce(&texts);
        narrows.announce(&texts);
    }
    let at: SocketAddr = front.plain.parse()?;
    let is_offered = |expected: &ApiVersionsResponse| await_offer(&fixture, at, expected);
    // One that says which broker it means (KIP-1242), and one that does not.
    let named = Arms::start(&fixture, "franz-go", front.clone(), "1,2,3")?;
    let unnamed = Arms::start(&fixture, "confluent", front, "1,2,3")?;
    let go_on = || named.await_more(BETWEEN).and(unnamed.await_more(BETWEEN));
    go_on()?;
    let old = offer_of(&fixture, 1)?;
    is_offered(&old).context("before the upgrade")?;

    let Fixture {
        cluster,
        namespaces,
        ..
    } = &fixture;
    cluster.change_release(after);
    cluster.join_fourth(namespaces)?;
    for topic in unnamed.topics() {
        let replicas = format!("replicas {topic} 0 {FOURTH},1,2");
        cluster.admin_client.ask(&replicas)?;
        cluster.admin_client.move_leader(topic, FOURTH)?;
    }
    go_on().context("a broker has joined, and leads")?;
    let new = offer_of(&fixture, FOURTH)?;
    ensure!(old != new, "{BEFORE} and {AFTER} offer the same");
    let both = common(&old, &new);
    is_offered(&both).context("a newer broker has joined")?;

    for node_id in FOUNDERS {
        cluster.stop(node_id)?;
        go_on().with_context(|| format!("node {node_id} is away"))?;
        cluster.start_again(namespaces, node_id)?;
        cluster.await_whole()?;
        go_on().with_context(|| format!("node {node_id} is upgraded"))?;
        let offered = if node_id < 3 { &both } else { &new };
        is_offered(offered).with_context(|| format!("node {node_id} is upgraded"))?;
    }
    cluster.admin_client.ask("finish-upgrade")?;
    go_on().context("the upgrade is finalized")?;
    named.finish(&fixture)?;
    unnamed.finish(&fixture)?;
    narrows.ensure_sound()?;
    fixture.trap.ensure_silent_since(0)
}

/// What a broker offers to clients, by itself, as far as Narrows knows it.
fn offer_of(fixture: &Fixture, node_id: u8) -> Result<ApiVersionsResponse> {
    let address = SocketAddr::from((broker_ip(node_id), ports::PLAIN));
    let mut offer = versions::offered(&fixture.namespaces, Side::Narrows, address)?;
    versions::cut(&mut offer);
    Ok(offer)
}

/// What two brokers offer both.
fn common(one: &ApiVersionsResponse, other: &ApiVersionsResponse) -> ApiVersionsResponse {
    let others: BTreeMap<_, _> = other
        .api_keys
        .iter()
        .map(|api| (api.api_key, (api.min_version, api.max_version)))
        .collect();
    let mut common = one.clone();
    common.api_keys.retain_mut(|api| {
        let Some((min, max)) = others.get(&api.api_key) else {
            return false;
        };
        api.min_version = api.min_version.max(*min);
        api.max_version = api.max_version.min(*max);
        api.min_version <= api.max_version
    });
    common
}

/// Narrows' bootstrap servers are nodes 1 and 2: so many connections in a row come to both.
const ASKED: usize = 8;

/// Waits until this is what clients are offered through Narrows, whichever broker answers them.
fn await_offer(fixture: &Fixture, at: SocketAddr, expected: &ApiVersionsResponse) -> Result<()> {
    let of = |offer: &ApiVersionsResponse| -> BTreeMap<i16, (i16, i16)> {
        let apis = offer.api_keys.iter();
        apis.map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect()
    };
    let deadline = Instant::now() + LEARN_TIMEOUT;
    let mut left = ASKED;
    loop {
        let offered = versions::offered(&fixture.namespaces, Side::Clients, at)?;
        if of(&offered) == of(expected) {
            left -= 1;
            if left == 0 {
                return Ok(());
            }
            continue;
        }
        left = ASKED;
        ensure!(
            Instant::now() < deadline,
            "{:?} is offered, and not {:?}",
            of(&offered),
            of(expected)
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}
