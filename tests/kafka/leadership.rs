//! Leadership moves under producers and consumers, on topics of one partition: with several, a
//! client is connected to every broker already, and an address that leaks with the new leader would
//! never be dialled.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::clients::{Flow, Front};
use crate::fixture::{Fixture, LazyFixture, alone, brokers_themselves, is_direct, sharing};
use crate::oracle::{self, Order};

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let trial = |client: &'static str| {
        let name = format!("leadership::{client}_loses_and_doubles_nothing_while_the_leader_moves");
        sharing(fixture, &name, move |fixture| {
            follow_the_leader(fixture, client)
        })
    };
    let mut trials: Vec<_> = ["java", "confluent", "franz-go"].map(trial).into();
    if !is_direct() {
        let name = "leadership::a_move_pauses_a_producer_no_longer_than_it_does_past_narrows";
        trials.push(alone(fixture, name, pause_no_longer));
    }
    trials
}

/// Records between two moves.
const BETWEEN_MOVES: usize = 150;

fn follow_the_leader(fixture: &Fixture, client: &str) -> Result<()> {
    let front = fixture.front();
    follow(fixture, client, &front, &front.plain, &[])
}

/// A producer and a consumer go on while the leader moves, and nothing is lost or doubled. They may
/// have credentials.
pub(crate) fn follow(
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    credentials: &[String],
) -> Result<()> {
    let topic = fixture.namespaces.unique("leadership");
    fixture.cluster.admin_client.place(&topic, "1,2,3")?;
    let options = |more: &[&str]| -> Vec<String> {
        let own = std::iter::once(format!("topic={topic}"))
            .chain(more.iter().map(|&option| option.to_owned()));
        own.chain(credentials.iter().cloned()).collect()
    };
    let producer = Flow::endless(
        fixture,
        client,
        front,
        bootstrap,
        "produce",
        &options(&["tag=l", "rate=300"]),
    )?;
    let group = format!("group=g-{topic}");
    let consumer = Flow::endless(
        fixture,
        client,
        front,
        bootstrap,
        "consume",
        &options(&[&group]),
    )?;
    producer.await_more(BETWEEN_MOVES)?;
    consumer.await_more(BETWEEN_MOVES)?;
    for leader in [2, 3, 1, 3] {
        fixture.cluster.admin_client.move_leader(&topic, leader)?;
        producer.await_more(BETWEEN_MOVES)?;
        consumer.await_more(BETWEEN_MOVES)?;
    }
    let acked = oracle::acked(&producer.stop()?)?;
    ensure!(
        acked.len() >= 5 * BETWEEN_MOVES,
        "only {} records were acknowledged",
        acked.len()
    );
    consumer.await_count(acked.len())?;
    let consumed = oracle::consumed(&consumer.stop()?)?;
    fixture
        .cluster
        .ensure_holds("l", Order::AsSent, &acked, &topic)?;
    oracle::ensure_arrived("l", Order::AsSent, &acked, &consumed)
}

/// What a busy machine may add. A client that is led to the new leader by KIP-951 pauses for tens
/// of milliseconds; one that must time out on an address that leaked or that nobody listens on
/// waits for seconds.
const PAUSE_GRACE: Duration = Duration::from_secs(1);

fn pause_no_longer(fixture: &Fixture) -> Result<()> {
    let mut pauses = Vec::new();
    for front in [fixture.front(), brokers_themselves()] {
        let topic = fixture.namespaces.unique("pause");
        fixture.cluster.admin_client.place(&topic, "1,2,3")?;
        let options = [
            format!("topic={topic}"),
            "tag=p".to_owned(),
            "rate=300".to_owned(),
        ];
        let producer = Flow::endless(fixture, "java", &front, &front.plain, "produce", &options)?;
        producer.await_more(BETWEEN_MOVES)?;
        // The shortest of several: one pause may be the machine's, all of them are not.
        let mut shortest = Duration::MAX;
        for leader in [2, 3, 1, 2] {
            producer.watch_pauses();
            fixture.cluster.admin_client.move_leader(&topic, leader)?;
            producer.await_more(BETWEEN_MOVES)?;
            shortest = shortest.min(producer.longest_pause());
        }
        pauses.push(shortest);
        producer.stop()?;
    }
    let [through, past] = pauses[..] else {
        unreachable!("there are two ways")
    };
    ensure!(
        through <= past + PAUSE_GRACE,
        "a move paused a producer for {through:?}, and {past:?} past Narrows"
    );
    Ok(())
}
