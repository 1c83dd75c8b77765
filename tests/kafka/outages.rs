//! Brokers die, return, join and leave, each under clients that must not notice more than they
//! would without Narrows.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::arms::Arms;
use crate::brokers::{FOURTH, ports};
use crate::clients::{Flow, Front, metadata};
use crate::conversations::{brokers_in, ensure_only_advertised};
use crate::fixture::{Fixture, LazyFixture, alone, is_direct};
use crate::namespaces::broker_ip;
use crate::oracle::{self, Order};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = Vec::new();
    for client in ["java", "confluent", "franz-go"] {
        let name = format!(
            "outages::{client}_loses_and_doubles_nothing_when_a_broker_is_killed_and_returns"
        );
        trials.push(alone(fixture, &name, move |fixture| {
            kill_the_leader(fixture, client, fixture.front())
        }));
    }
    trials.push(alone(
        fixture,
        "outages::a_fourth_broker_joins_is_used_and_leaves_without_a_restart",
        come_and_go,
    ));
    if !is_direct() {
        let name = "outages::narrows_started_before_the_brokers_serves_once_they_are_up";
        trials.push(alone(fixture, name, start_before_the_brokers));
    }
    trials
}

const BETWEEN: usize = 200;
const FORGET_TIMEOUT: Duration = Duration::from_secs(30);

/// What Narrows says of a broker that clients dial and that is down, goes down while it is asked who
/// it is, or has left the cluster.
pub(crate) fn absent(node_id: u8) -> [String; 3] {
    let address = format!("{}:{}", broker_ip(node_id), ports::PLAIN);
    [
        format!("{address} can't be reached"),
        format!("{address}: the connection was closed before an answer came"),
        format!("has no broker {node_id} now"),
    ]
}

/// The broker that leads, node 2, is killed and returns, under a producer and a consumer.
pub(crate) fn kill_the_leader(fixture: &Fixture, client: &'static str, front: Front) -> Result<()> {
    fixture.announce(&absent(2).each_ref().map(String::as_str));
    let arms = Arms::start(fixture, client, front.clone(), "2,3,1")?;
    let topic = arms.topic().to_owned();
    let consume = [format!("topic={topic}"), format!("group=g-{topic}")];
    let consumer = Flow::endless(fixture, client, &front, &front.plain, "consume", &consume)?;
    arms.await_more(BETWEEN)?;
    consumer.await_more(BETWEEN)?;
    fixture.cluster.kill(2)?;
    arms.await_more(BETWEEN)?;
    fixture.cluster.start_again(&fixture.namespaces, 2)?;
    fixture.cluster.await_whole()?;
    // Its old leadership, under the same id and at the same address, with new connections.
    for topic in arms.topics() {
        fixture.cluster.admin_client.move_leader(topic, 2)?;
    }
    arms.await_more(BETWEEN)?;
    let acked = arms.finish(fixture)?;
    consumer.await_count(acked.len())?;
    // The group's coordinator may have been the broker that died, and then consuming begins again
    // at the last commit: the brokers' own content, which was judged, has each record once.
    let mut consumed = oracle::consumed(&consumer.stop()?)?;
    consumed.sort_by_key(|record| record.place);
    consumed.dedup();
    oracle::ensure_arrived("n", Order::AsSent, &acked, &consumed)
}

fn come_and_go(fixture: &Fixture) -> Result<()> {
    fixture.announce(&absent(FOURTH).each_ref().map(String::as_str));
    let topic = fixture.namespaces.unique("fourth");
    let admin_client = &fixture.cluster.admin_client;
    admin_client.place(&topic, "1,2,3")?;
    let front = fixture.front();
    let metadata_of = |topic: &str| {
        let options = [format!("topic={topic}")];
        metadata(fixture, "java", &front, &front.plain, &options)
    };
    let options = [
        format!("topic={topic}"),
        "tag=f".to_owned(),
        "rate=300".to_owned(),
    ];
    let producer = Flow::endless(fixture, "java", &front, &front.plain, "produce", &options)?;
    producer.await_more(BETWEEN)?;

    fixture.cluster.join_fourth(&fixture.namespaces)?;
    admin_client.ask(&format!("replicas {topic} 0 {FOURTH},1,2"))?;
    admin_client.move_leader(&topic, FOURTH)?;
    producer.await_more(BETWEEN)?;
    let seen = brokers_in(&metadata_of(&topic)?)?;
    ensure!(
        seen == front.brokers,
        "metadata shows {seen:?} where {:?} is advertised",
        front.brokers
    );

    admin_client.ask(&format!("replicas {topic} 0 1,2,3"))?;
    admin_client.move_leader(&topic, 1)?;
    fixture.cluster.remove_fourth()?;
    producer.await_more(BETWEEN)?;
    ensure_only_advertised(&metadata_of(&topic)?, &front.brokers)?;
    if !is_direct() {
        forget_the_fourth(fixture)?;
    }
    let acked = oracle::acked(&producer.stop()?)?;
    oracle::ensure_arrived("f", Order::AsSent, &acked, &admin_client.read(&topic)?)
}

/// A broker that has left the cluster leaves Narrows' map too, with the next metadata at the
/// latest.
fn forget_the_fourth(fixture: &Fixture) -> Result<()> {
    let address = broker_ip(FOURTH).to_string();
    let deadline = Instant::now() + FORGET_TIMEOUT;
    while fixture
        .narrows()?
        .get(&fixture.namespaces, "/status")?
        .1
        .contains(&address)
    {
        ensure!(
            Instant::now() < deadline,
            "{address} is still in Narrows' map {FORGET_TIMEOUT:?} after it left"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn start_before_the_brokers(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("early");
    fixture.cluster.admin_client.place(&topic, "3,2,1")?;
    let unreachable = ["can't be reached", "no broker of the cluster can be asked"];
    fixture.announce(&unreachable);
    for node_id in [1, 2, 3] {
        fixture.cluster.kill(node_id)?;
    }
    let narrows = fixture.own_narrows()?;
    narrows.announce(&unreachable);
    let front = narrows.front();
    let options = [
        format!("topic={topic}"),
        "tag=e".to_owned(),
        "rate=300".to_owned(),
    ];
    let producer = Flow::endless(
        fixture,
        "confluent",
        &front,
        &front.plain,
        "produce",
        &options,
    )?;
    for node_id in [1, 2, 3] {
        fixture.cluster.start_again(&fixture.namespaces, node_id)?;
    }
    fixture.cluster.await_whole()?;
    producer.await_count(BETWEEN)?;
    let acked = oracle::acked(&producer.stop()?)?;
    narrows.ensure_sound()?;
    oracle::ensure_arrived(
        "e",
        Order::AsSent,
        &acked,
        &fixture.cluster.admin_client.read(&topic)?,
    )
}
