//! The producer and the consumer, side by side. Both are told Narrows' bootstrap address and
//! nothing else.

use super::brokers::{Topic, host_port};
use super::flow::Flow;
use super::front::Front;
use super::record::{Place, Recipe};
use super::screen::Progress;
use super::tally::Tally;
use super::watch::{STATISTICS_INTERVAL, Watch};
use crate::cli::DemoArgs;
use anyhow::{Context, anyhow};
use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Without any arrival for so long, the run is given up.
const STALL_TIMEOUT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(5);
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What came of a run.
pub(super) struct Outcome {
    /// How many records the brokers acknowledged.
    pub(super) acknowledged: u64,
    pub(super) tally: Tally,
    /// From the first record sent to the last one received.
    pub(super) took: Duration,
    /// Addresses that the two clients dialled, and how often.
    pub(super) dialled: BTreeMap<String, i64>,
    /// Addresses in the metadata of the two clients.
    pub(super) told: BTreeSet<String>,
    /// Client connections that Narrows had open at the end.
    pub(super) connections: u64,
    /// How the commit of the consumer's offsets went; its group's coordinator is found through
    /// Narrows.
    pub(super) committed: Result<(), String>,
    /// The last trouble that a client told of.
    pub(super) trouble: Option<String>,
}

/// What producer and consumer share.
struct Run<'a> {
    records: u64,
    record_bytes: usize,
    topic: &'a Topic,
    recipe: Recipe,
    flow: Flow,
    arrived: AtomicU64,
    sent: Watch,
    received: Watch,
}

/// Sends and receives everything, showing the progress. `Err` only when a client can't even start.
pub(super) fn run(args: &DemoArgs, front: &Front, topic: &Topic) -> anyhow::Result<Outcome> {
    let record_bytes = args.record_bytes as usize;
    let run = Run {
        records: args.records,
        record_bytes,
        topic,
        recipe: Recipe::new(fastrand::u32(..), record_bytes),
        flow: Flow::new(topic.partitions as usize),
        arrived: AtomicU64::new(0),
        sent: Watch::default(),
        received: Watch::default(),
    };
    let producer = run
        .producer(&front.bootstrap)
        .context("the producer can't be started")?;
    let consumer = run
        .consumer(&front.bootstrap)
        .context("the consumer can't be started")?;
    let start = Instant::now();
    let (tally, took) = std::thread::scope(|scope| {
        let sending = scope.spawn(|| run.send(&producer));
        let receiving = scope.spawn(|| (run.receive(&consumer), start.elapsed()));
        let progress = Progress::new(args);
        while !receiving.is_finished() {
            progress.show(run.arrived.load(Relaxed), start.elapsed());
            std::thread::sleep(DRAW_INTERVAL);
        }
        progress.end(run.arrived.load(Relaxed), start.elapsed());
        // A panic aborts a release; in a test build it is one there as well.
        let is_sent = sending.join().is_ok();
        receiving
            .join()
            .ok()
            .filter(|_| is_sent)
            .ok_or_else(|| anyhow!("a thread of the demo panicked"))
    })?;
    if let Err(error) = producer.flush(ANSWER_TIMEOUT) {
        run.sent.note(error.to_string());
    }
    Ok(run.outcome(&producer, &consumer, front, tally, took))
}

impl Run<'_> {
    fn producer(&self, narrows: &str) -> anyhow::Result<ThreadedProducer<Watch>> {
        let mut config = config(narrows);
        // Idempotent, so that neither a retry nor a lost response changes order or count.
        config
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", "30000");
        config.set("linger.ms", "5").set("batch.size", "500000");
        Ok(config.create_with_context(self.sent.clone())?)
    }

    /// Assigned by hand: a group's first rebalance takes three seconds in which there is nothing to
    /// see.
    fn consumer(&self, narrows: &str) -> anyhow::Result<BaseConsumer<Watch>> {
        let mut config = config(narrows);
        config
            .set("group.id", &self.topic.name)
            .set("enable.auto.commit", "false");
        // A mock broker that has nothing to give sleeps this long, whatever comes in meanwhile.
        config.set("fetch.wait.max.ms", "10");
        let consumer: BaseConsumer<Watch> = config.create_with_context(self.received.clone())?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..self.topic.partitions {
            partitions.add_partition_offset(&self.topic.name, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        Ok(consumer)
    }

    fn send(&self, producer: &ThreadedProducer<Watch>) {
        let partitions = u64::from(self.topic.partitions.unsigned_abs());
        let mut value = Vec::with_capacity(self.record_bytes);
        for number in 0..self.records {
            let partition = number % partitions;
            let place = Place {
                partition: partition as i32,
                index: number / partitions,
            };
            self.recipe.value(place, &mut value);
            if !self.flow.enter(partition as usize, self.record_bytes) {
                return;
            }
            if let Err(error) = self.send_one(producer, place, &value) {
                self.sent.note(error.to_string());
                return;
            }
        }
    }

    fn send_one(
        &self,
        producer: &ThreadedProducer<Watch>,
        place: Place,
        value: &[u8],
    ) -> Result<(), KafkaError> {
        let key = Recipe::key(place);
        let mut record = BaseRecord::to(&self.topic.name)
            .partition(place.partition)
            .key(&key)
            .payload(value);
        loop {
            match producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back
                }
                result => return result.map_err(|(error, _)| error),
            }
            std::thread::sleep(QUEUE_FULL_PAUSE);
        }
    }

    /// Receives until everything has arrived, or nothing does any more.
    fn receive(&self, consumer: &BaseConsumer<Watch>) -> Tally {
        let mut tally = Tally::new(self.topic.partitions as usize);
        let mut expected = Vec::with_capacity(self.record_bytes);
        let mut last = Instant::now();
        while tally.arrived < self.records.saturating_sub(self.sent.failed())
            && !self.flow.is_over()
        {
            match consumer.poll(POLL) {
                Some(Ok(message)) => {
                    self.take(&message, &mut expected, &mut tally);
                    last = Instant::now();
                }
                Some(Err(error)) => self.received.note(error.to_string()),
                None => {}
            }
            if last.elapsed() > STALL_TIMEOUT {
                break;
            }
        }
        self.flow.end();
        tally
    }

    fn take(&self, message: &impl Message, expected: &mut Vec<u8>, tally: &mut Tally) {
        let partition = message.partition();
        let place = message.key().and_then(Recipe::place);
        let is_as_sent = place.is_some_and(|place| {
            self.recipe.value(place, expected);
            message.payload() == Some(expected.as_slice())
        });
        tally.take(partition, place, is_as_sent);
        self.flow
            .leave(partition.unsigned_abs() as usize, self.record_bytes);
        self.arrived.store(tally.arrived, Relaxed);
    }

    fn outcome(
        &self,
        producer: &ThreadedProducer<Watch>,
        consumer: &BaseConsumer<Watch>,
        front: &Front,
        tally: Tally,
        took: Duration,
    ) -> Outcome {
        let committed = consumer
            .commit_consumer_state(CommitMode::Sync)
            .map_err(|error| error.to_string());
        let connections = front.connections();
        let mut told = self::told(producer.client(), &self.topic.name);
        told.extend(self::told(consumer.client(), &self.topic.name));
        let mut dialled = self.sent.dialled(|| std::thread::sleep(POLL));
        for (address, times) in self.received.dialled(|| drop(consumer.poll(POLL))) {
            *dialled.entry(address).or_default() += times;
        }
        Outcome {
            acknowledged: self.sent.acknowledged(),
            tally,
            took,
            dialled,
            told,
            connections,
            committed,
            trouble: self.sent.trouble().or_else(|| self.received.trouble()),
        }
    }
}

/// The broker addresses in a client's metadata.
fn told(client: &Client<Watch>, topic: &str) -> BTreeSet<String> {
    let metadata = client.fetch_metadata(Some(topic), ANSWER_TIMEOUT);
    let brokers = metadata.iter().flat_map(|metadata| metadata.brokers());
    brokers
        .map(|broker| host_port(broker.host(), broker.port()))
        .collect()
}

fn config(narrows: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", narrows)
        .set("client.id", "narrows-demo");
    config.set(
        "statistics.interval.ms",
        STATISTICS_INTERVAL.as_millis().to_string(),
    );
    config
}
