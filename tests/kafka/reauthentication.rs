//! KIP-368: a broker can demand that a client authenticates again on the connection that it has.
//! Then handshakes and tokens come in the middle of the traffic, and must pass as they do at its
//! beginning.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use crate::brokers::{PASSWORD, REAUTH_AFTER};
use crate::clients::Flow;
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};
use crate::narrows::Narrows;
use crate::oracle::{self, Order};
use crate::sasl::credentials;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    let trial = |(client, mechanism): (&'static str, &'static str)| {
        let name = format!(
            "reauthentication::{client}_authenticates_again_with_{mechanism}_on_its_connection_and_loses_nothing"
        );
        sharing(fixture, &name, move |fixture| {
            stay(fixture, client, mechanism)
        })
    };
    let cases = [
        ("java", "PLAIN"),
        ("java", "SCRAM-SHA-256"),
        ("confluent", "PLAIN"),
        ("confluent", "SCRAM-SHA-256"),
        ("franz-go", "SCRAM-SHA-256"),
    ];
    cases.map(trial).into()
}

/// Of the producer and the consumer together, beyond the first authentication of each connection.
const TIMES: f64 = 6.0;
/// Clients come back a little before their time is over; this is for both of them, with room for a
/// busy machine.
const PATIENCE: Duration = REAUTH_AFTER.saturating_mul(12);
const POLL: Duration = Duration::from_millis(100);

fn stay(fixture: &Fixture, client: &str, mechanism: &str) -> Result<()> {
    let topic = fixture.namespaces.unique("reauth");
    fixture.cluster.admin_client.place(&topic, "2,3,1")?;
    let narrows = fixture.own_narrows()?;
    let front = narrows.front();
    let with = |options: &[String]| [&credentials(mechanism, PASSWORD)[..], options].concat();
    let produce = with(&[
        format!("topic={topic}"),
        "tag=a".to_owned(),
        "rate=300".to_owned(),
    ]);
    let producer = Flow::endless(fixture, client, &front, &front.reauth, "produce", &produce)?;
    let consume = with(&[format!("topic={topic}"), format!("group=g-{topic}")]);
    let consumer = Flow::endless(fixture, client, &front, &front.reauth, "consume", &consume)?;
    producer.await_more(200)?;
    consumer.await_more(200)?;

    let before = Seen::now(fixture, &narrows)?;
    let deadline = Instant::now() + PATIENCE;
    let after = loop {
        let now = Seen::now(fixture, &narrows)?;
        if now.again() - before.again() >= TIMES {
            break now;
        }
        ensure!(
            Instant::now() < deadline,
            "few authenticate again: {now:?}, at the beginning {before:?}"
        );
        std::thread::sleep(POLL);
    };
    ensure!(
        after.closed == before.closed,
        "a connection ended: {after:?}, at the beginning {before:?}"
    );
    producer.await_more(200)?;
    let acked = oracle::acked(&producer.stop()?)?;
    consumer.await_count(acked.len())?;
    let consumed = oracle::consumed(&consumer.stop()?)?;
    narrows.ensure_sound()?;
    oracle::ensure_arrived(
        "a",
        Order::AsSent,
        &acked,
        &fixture.cluster.admin_client.read(&topic)?,
    )?;
    oracle::ensure_arrived("a", Order::AsSent, &acked, &consumed)
}

/// What Narrows has counted on the listener.
#[derive(Debug)]
struct Seen {
    handshakes: f64,
    accepted: f64,
    closed: f64,
}

impl Seen {
    fn now(fixture: &Fixture, narrows: &Narrows) -> Result<Self> {
        // In this order: a connection that is accepted meanwhile does not count as one that
        // authenticates again.
        let handshakes = narrows.metric(
            &fixture.namespaces,
            "narrows_requests_total",
            r#"api="SaslHandshake",listener="reauth""#,
        )?;
        let accepted = narrows.metric(
            &fixture.namespaces,
            "narrows_connections_accepted_total",
            r#"listener="reauth""#,
        )?;
        let closed = narrows.metric(
            &fixture.namespaces,
            "narrows_connections_closed_total",
            r#"listener="reauth""#,
        )?;
        Ok(Self {
            handshakes,
            accepted,
            closed,
        })
    }

    /// How often a connection has authenticated beyond its first time.
    fn again(&self) -> f64 {
        self.handshakes - self.accepted
    }
}
