//! One record to a topic and back, from the leader of its first partition: the proof that a client
//! can work. Only where a topic was named.

use super::brokers::address;
use super::reach::{Reach, Reached};
use super::steps::enter;
use super::{Code, Report, Stage, Target, Trouble, errors, record};
use crate::app::unix_seconds;
use crate::broker::ExchangeError;
use crate::observe::text::Shown;
use crate::protocol::doctor_requests::{self, Partition, Topology};
use crate::protocol::wire::Malformed;
use crate::types::BrokerAddress;

/// What a consumer of the topic sees whose record this is.
const KEY: &[u8] = b"narrows-doctor";
const FETCH_BYTES_MAX: i32 = 64 * 1024;
/// UNKNOWN_TOPIC_OR_PARTITION.
const UNKNOWN_TOPIC: i16 = 3;

pub(super) async fn examine(
    target: &Target,
    reach: &Reach,
    topic: &str,
    topology: &Topology,
    report: &mut Report,
) {
    match go(target, reach, topic, topology).await {
        Ok(text) => report.fine(Stage::Record, text),
        Err(trouble) => report.problem(Stage::Record, &trouble),
    }
}

async fn go(
    target: &Target,
    reach: &Reach,
    topic: &str,
    topology: &Topology,
) -> Result<String, Trouble> {
    let partition = partition(topic, topology)?;
    let index = partition.index;
    let leader = topology
        .brokers
        .iter()
        .find(|broker| Some(broker.node) == partition.leader);
    let Some(leader) = leader else {
        let fact = format!(
            "nobody leads partition {index} of topic {}",
            Shown::name(topic)
        );
        return Err(Trouble::new(Code::TOPIC_NO_LEADER, fact));
    };
    let address = address(leader)?;
    let mut reached = reach.open(&address).await?;
    if let Some(credentials) = &target.credentials {
        enter(reach, &address, &mut reached, credentials).await?;
    }
    let trip = Trip {
        reach,
        address: &address,
        topic,
        index,
    };
    let value = format!("narrows-doctor {:016x}", fastrand::u64(..));
    let offset = trip.produce(&mut reached, value.as_bytes()).await?;
    trip.consume(&mut reached, value.as_bytes(), offset).await?;
    let (node, topic) = (leader.node, Shown::name(topic));
    Ok(format!(
        "one record to {topic}[{index}] at offset {offset} and back, by broker {node}"
    ))
}

fn partition<'a>(topic: &str, topology: &'a Topology) -> Result<&'a Partition, Trouble> {
    let name = Shown::name(topic);
    let found = topology.topics.iter().find(|found| found.name == topic);
    let Some(found) = found.filter(|found| found.error != UNKNOWN_TOPIC) else {
        let fact = format!("there is no topic {name}");
        return Err(Trouble::new(Code::TOPIC_NOT_FOUND, fact));
    };
    if found.error != 0 {
        let error = errors::name(found.error);
        let fact = format!("the broker refuses topic {name} ({error})");
        return Err(Trouble::new(Code::TOPIC_REFUSED, fact));
    }
    let led = found
        .partitions
        .iter()
        .find(|partition| partition.leader.is_some());
    led.ok_or_else(|| {
        let fact = format!("nobody leads any partition of topic {name}");
        Trouble::new(Code::TOPIC_NO_LEADER, fact)
    })
}

/// Where the record goes.
struct Trip<'a> {
    reach: &'a Reach,
    address: &'a BrokerAddress,
    topic: &'a str,
    index: i32,
}

impl Trip<'_> {
    async fn produce(&self, reached: &mut Reached, value: &[u8]) -> Result<i64, Trouble> {
        let batch = record::batch(KEY, value, unix_seconds() * 1_000);
        let (name, wait) = (self.reach.name.as_bytes(), self.wait_ms());
        let request = doctor_requests::produce_request(name, self.topic, self.index, wait, &batch);
        let answer = self.reach.ask(&mut reached.stream, &request).await;
        let read = |answer: Vec<u8>| doctor_requests::read_produced(&answer);
        let (error, offset) = self.read(Code::PRODUCE_FAILED, answer, read)?;
        self.refused(Code::PRODUCE_FAILED, "writes", error)?;
        Ok(offset)
    }

    async fn consume(
        &self,
        reached: &mut Reached,
        value: &[u8],
        offset: i64,
    ) -> Result<(), Trouble> {
        let request = doctor_requests::fetch_request(
            self.reach.name.as_bytes(),
            self.topic,
            self.index,
            offset,
            self.wait_ms(),
            FETCH_BYTES_MAX,
        );
        let answer = self.reach.ask(&mut reached.stream, &request).await;
        let read = |answer: Vec<u8>| doctor_requests::read_fetched(&answer);
        let (error, batches) = self.read(Code::CONSUME_FAILED, answer, read)?;
        self.refused(Code::CONSUME_FAILED, "reads", error)?;
        if record::holds(&batches, value) {
            return Ok(());
        }
        let (address, bytes) = (self.address, batches.len());
        let fact = format!("{address} gives {bytes} bytes at offset {offset}, not that record");
        Err(Trouble::new(Code::RECORD_DIFFERS, fact))
    }

    /// Half the time, so that the broker's own answer comes in time.
    fn wait_ms(&self) -> i32 {
        i32::try_from(self.reach.timeout.as_millis() / 2).unwrap_or(i32::MAX)
    }

    fn read<T>(
        &self,
        code: Code,
        answer: Result<Vec<u8>, ExchangeError>,
        read: impl Fn(Vec<u8>) -> Result<T, Malformed>,
    ) -> Result<T, Trouble> {
        let address = self.address;
        let answer = answer.map_err(|error| Trouble::new(code, format!("{address}: {error}")))?;
        let malformed = |error| Trouble::new(code, format!("{address}: {error}"));
        read(answer).map_err(malformed)
    }

    fn refused(&self, code: Code, what: &str, error: i16) -> Result<(), Trouble> {
        if error == 0 {
            return Ok(());
        }
        let (address, error) = (self.address, errors::name(error));
        let (topic, index) = (Shown::name(self.topic), self.index);
        let fact = format!("{address} refuses {what} of {topic}[{index}] ({error})");
        Err(Trouble::new(code, fact))
    }
}
