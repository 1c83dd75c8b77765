//! The trials behind the cells.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;

use super::{
    Group, Idempotent, Kip848, LogDirs, NoAcks, Rack, Row, Settings, Share, Static, Streams,
    Transactions, Use,
};
use crate::clients::{FLOW_PATIENCE, Front, metadata, run_within};
use crate::conversations::{ensure_only_advertised, exchange, produce};
use crate::fixture::Fixture;
use crate::oracle::{self, Order, Record};
use crate::single::{Hosts, start};

const RECORDS: usize = 200;
const PARTITIONS: u32 = 6;
/// A client that starts fast, and does not compress: some consumers lack the library for that.
const FAST_PRODUCER: &str = "confluent";
/// Each transaction has ten records, and every other one is committed.
const TRANSACTIONAL_RECORDS: usize = 60;
/// A cell takes a few seconds; this is for a busy machine.
const TIMEOUT: Duration = Duration::from_secs(240);

/// What only some clients have, and how their trials are named.
pub(super) const OF_SOME: [(Use, &str); 9] = [
    (Idempotent, "produces_idempotently"),
    (Transactions, "commits_and_aborts_transactions"),
    (NoAcks, "produces_without_acknowledgements"),
    (Kip848, "consumes_in_a_group_of_the_new_protocol"),
    (Static, "comes_back_as_a_static_member"),
    (Share, "consumes_in_a_share_group"),
    (Streams, "processes_in_a_streams_group"),
    (Settings, "asks_each_broker_by_its_id"),
    (Rack, "fetches_from_the_replica_in_its_rack"),
];

/// Lists, produces with keys over all partitions, and consumes in a group where the client can.
pub(super) fn converse(fixture: &Fixture, row: &Row, hosts: Hosts) -> Result<()> {
    let (narrows, front) = start(fixture, hosts)?;
    let topic = fixture.namespaces.unique(&format!("matrix-{}", row.driver));
    fixture.cluster.admin_client.create(&topic, PARTITIONS)?;
    let asked = [format!("topic={topic}")];
    let metadata = metadata(fixture, row.driver, &front, &front.plain, &asked)?;
    ensure_only_advertised(&metadata, &front.brokers)?;
    if row.is_tried(Group, hosts) {
        exchange(fixture, row.driver, &front, &front.plain, &topic, &[])?;
    } else if row.is_tried(Use::Produce, hosts) {
        produce(fixture, row.driver, &front, &front.plain, &topic, &[])?;
    }
    narrows.ensure_quiet()
}

/// The trial of a use that only some clients have.
pub(super) fn play(fixture: &Fixture, row: &Row, wanted: Use, hosts: Hosts) -> Result<()> {
    let (narrows, front) = start(fixture, hosts)?;
    let case = Case {
        fixture,
        row,
        hosts,
        front: &front,
        topic: fixture.namespaces.unique("matrix"),
    };
    case.play(wanted)?;
    narrows.ensure_quiet()
}

struct Case<'a> {
    fixture: &'a Fixture,
    row: &'a Row,
    hosts: Hosts,
    front: &'a Front,
    topic: String,
}

impl Case<'_> {
    fn play(&self, wanted: Use) -> Result<()> {
        let is_java = self.row.driver == "java";
        match wanted {
            // Which creates its own topic.
            Settings => return self.administer(),
            Rack => self
                .fixture
                .cluster
                .admin_client
                .place(&self.topic, "2,3,1")?,
            _ => self
                .fixture
                .cluster
                .admin_client
                .create(&self.topic, PARTITIONS)?,
        }
        match wanted {
            Transactions if is_java => self.judge_itself("transaction", &[]),
            Transactions if self.row.driver.starts_with("java-") => {
                self.judge_itself("perf", &[format!("transactional_id=t-{}", self.topic)])
            }
            Kip848 if is_java => self.judge_itself("kip848", &[]),
            Share if is_java => self.judge_itself("share", &[]),
            Streams => self.judge_itself("streams", &[]),
            Idempotent => {
                let options = ["idempotent=true".to_owned()];
                self.produce(self.row.driver, &options).map(drop)
            }
            Transactions => self.transact(),
            NoAcks => self.produce_without_acknowledgements(),
            Kip848 => self.produce_and_consume(&["protocol=consumer"]),
            Static => self.come_back(),
            Share => self.share(),
            Rack => self.fetch_from_the_rack(),
            other => bail!("no trial is made for {other:?}"),
        }
    }

    fn run(&self, scenario: &str, options: &[String]) -> Result<Vec<Value>> {
        self.run_by(self.row.driver, scenario, options)
    }

    fn run_by(&self, driver: &str, scenario: &str, options: &[String]) -> Result<Vec<Value>> {
        let options = [
            &[
                format!("topic={}", self.topic),
                format!("tag={}", self.topic),
                format!("group=g-{}", self.topic),
            ],
            options,
        ]
        .concat();
        run_within(
            TIMEOUT,
            self.fixture,
            driver,
            self.front,
            &self.front.plain,
            scenario,
            &options,
        )
    }

    fn judge_itself(&self, scenario: &str, options: &[String]) -> Result<()> {
        let count = match scenario {
            "perf" => 5_000,
            "transaction" => TRANSACTIONAL_RECORDS,
            _ => RECORDS,
        };
        let options = [&[format!("count={count}")], options].concat();
        self.run(scenario, &options).map(drop)
    }

    fn count() -> String {
        format!("count={RECORDS}")
    }

    fn produce(&self, driver: &str, options: &[String]) -> Result<Vec<Record>> {
        let options = [options, &[Self::count()]].concat();
        let acked = oracle::acked(&self.run_by(driver, "produce", &options)?)?;
        ensure!(
            acked.len() == RECORDS,
            "{} of {RECORDS} records were acknowledged",
            acked.len()
        );
        let held = self.fixture.cluster.admin_client.read(&self.topic)?;
        oracle::ensure_arrived(&self.topic, Order::AsStored, &acked, &held)?;
        Ok(acked)
    }

    /// What a consumer finds. That its client can produce is shown elsewhere.
    fn fill(&self) -> Result<Vec<Record>> {
        self.produce(FAST_PRODUCER, &[])
    }

    fn consume(&self, count: usize, options: &[&str]) -> Result<Vec<Record>> {
        let options: Vec<_> = options
            .iter()
            .map(ToString::to_string)
            .chain([format!("count={count}")])
            .collect();
        oracle::consumed(&self.run("consume", &options)?)
    }

    fn produce_and_consume(&self, options: &[&str]) -> Result<()> {
        let acked = self.fill()?;
        let consumed = self.consume(RECORDS, options)?;
        oracle::ensure_arrived(&self.topic, Order::AsStored, &acked, &consumed)
    }

    /// The committed records are there once, and none of the others. Markers take offsets too,
    /// which the judge would call gaps: it is not told of places.
    fn transact(&self) -> Result<()> {
        let committed =
            oracle::acked(&self.run("transaction", &[format!("count={TRANSACTIONAL_RECORDS}")])?)?;
        ensure!(
            committed.len() == TRANSACTIONAL_RECORDS / 2,
            "{} records were committed",
            committed.len()
        );
        let held = self.fixture.cluster.admin_client.read(&self.topic)?;
        oracle::ensure_arrived(&self.topic, Order::AsStored, &committed, &unplaced(held))
    }

    /// Nobody says when the last one is there.
    fn produce_without_acknowledgements(&self) -> Result<()> {
        let sent = oracle::acked(&self.run("produce", &[Self::count(), "acks=0".to_owned()])?)?;
        ensure!(
            sent.len() == RECORDS,
            "{} of {RECORDS} records were sent",
            sent.len()
        );
        let deadline = Instant::now() + FLOW_PATIENCE;
        let mut held = Vec::new();
        while held.len() < RECORDS && Instant::now() < deadline {
            held = self.fixture.cluster.admin_client.read(&self.topic)?;
        }
        oracle::ensure_arrived(&self.topic, Order::AsStored, &unplaced(sent), &held)
    }

    /// Twice the same member, who does not leave in between: each time half of the records.
    fn come_back(&self) -> Result<()> {
        let acked = self.fill()?;
        let halves = [0, 1].map(|_| self.consume(RECORDS / 2, &["static=one"]));
        let consumed: Vec<_> = halves.into_iter().collect::<Result<Vec<_>>>()?.concat();
        oracle::ensure_arrived(&self.topic, Order::AsStored, &acked, &consumed)
    }

    /// A share group promises no order.
    fn share(&self) -> Result<()> {
        let acked = self.fill()?;
        let mut shared = oracle::consumed(&self.run("share", &[Self::count()])?)?;
        shared.sort_by_key(|record| record.place);
        oracle::ensure_arrived(&self.topic, Order::AsStored, &acked, &shared)
    }

    /// The second broker leads; the third one's rack is asked for. Some clients say who served
    /// them.
    fn fetch_from_the_rack(&self) -> Result<()> {
        let acked = self.fill()?;
        let options = ["rack=rack-3".to_owned(), Self::count()];
        let lines = self.run("consume", &options)?;
        let consumed = oracle::consumed(&lines)?;
        oracle::ensure_arrived(&self.topic, Order::AsStored, &acked, &consumed)?;
        let from = lines.iter().find_map(|line| line["read_from"].as_i64());
        if self.row.is_tried(Rack, self.hosts) {
            ensure!(
                from == Some(3),
                "records in another rack than the client's: broker {from:?}"
            );
        }
        Ok(())
    }

    /// Only the broker itself answers for its settings, and each has one directory.
    fn administer(&self) -> Result<()> {
        let lines = self.run("admin", &[])?;
        if self.row.is_tried(LogDirs, self.hosts) {
            for dirs in lines.iter().filter_map(|line| line["dirs"].as_array()) {
                ensure!(
                    dirs.len() == 1,
                    "a broker with the directories of others: {dirs:?}"
                );
            }
        }
        Ok(())
    }
}

fn unplaced(records: Vec<Record>) -> Vec<Record> {
    let unplaced = |record| Record {
        place: None,
        ..record
    };
    records.into_iter().map(unplaced).collect()
}
