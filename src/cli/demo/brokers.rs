//! The cluster behind Narrows: three brokers of librdkafka's mock cluster, or a real one.
//!
//! What is asked here goes to the brokers themselves: it is how the demo knows which addresses must
//! not get out.

use crate::types::BrokerAddress;
use anyhow::{Context, anyhow, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, DefaultProducerContext, Producer};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

const MOCK_BROKERS: i32 = 3;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
const TOPIC_LOOK: Duration = Duration::from_millis(100);

/// A cluster that is up.
pub(super) struct Brokers {
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
    /// `host:port,...`, as Narrows is told.
    pub(super) bootstrap_servers: String,
    /// Node ids and addresses, as the brokers themselves advertise them.
    pub(super) nodes: Vec<(i32, String)>,
}

/// Where the records go.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) partitions: i32,
    /// It stands on a cluster that is not ours, and was created by this run.
    is_to_be_removed: bool,
}

impl Brokers {
    /// Starts the mock cluster, or asks the real one at `given` who its brokers are.
    pub(super) fn start(given: Option<&str>) -> anyhow::Result<Self> {
        let (mock, bootstrap_servers) = match given {
            Some(given) => (None, checked(given)?),
            None => {
                let mock =
                    MockCluster::new(MOCK_BROKERS).context("the brokers can't be started")?;
                let bootstrap_servers = mock.bootstrap_servers();
                (Some(mock), bootstrap_servers)
            }
        };
        let nodes = nodes(&bootstrap_servers)?;
        Ok(Self {
            mock,
            bootstrap_servers,
            nodes,
        })
    }

    /// Whether the brokers run inside this process.
    pub(super) fn is_mock(&self) -> bool {
        self.mock.is_some()
    }

    /// A topic of this run's own. `narrows` is its bootstrap address. On a real cluster it is
    /// created through Narrows; where that is not allowed, the brokers may still create it by
    /// themselves (`auto.create.topics.enable`).
    pub(super) fn create_topic(
        &self,
        narrows: &str,
        partitions: i32,
        runtime: &Runtime,
    ) -> anyhow::Result<Topic> {
        let name = match self.mock {
            Some(_) => "narrows-demo".to_owned(),
            None => format!("narrows-demo-{:08x}", fastrand::u32(..)),
        };
        let created = match &self.mock {
            Some(mock) => spread(mock, &name, partitions).map_err(Into::into),
            None => runtime.block_on(create(narrows, &name, partitions)),
        };
        let is_to_be_removed = created.is_ok() && self.mock.is_none();
        match partitions_of(narrows, &name) {
            Ok(partitions) => Ok(Topic {
                name,
                partitions,
                is_to_be_removed,
            }),
            Err(unseen) => Err(created
                .err()
                .unwrap_or(unseen)
                .context(format!("there is no topic {name}"))),
        }
    }

    /// Removes what [`create_topic`](Self::create_topic) left on a real cluster. Says what became
    /// of it.
    pub(super) fn remove_topic(
        &self,
        narrows: &str,
        topic: &Topic,
        runtime: &Runtime,
    ) -> Option<String> {
        if self.is_mock() {
            return None;
        }
        let name = &topic.name;
        if !topic.is_to_be_removed {
            return Some(format!(
                "The topic {name} stays: the brokers made it by themselves."
            ));
        }
        Some(match runtime.block_on(delete(narrows, name)) {
            Ok(()) => format!("The topic {name} is deleted again."),
            Err(error) => format!("The topic {name} stays, it can't be deleted: {error:#}"),
        })
    }
}

/// A typing error is told as such, not as a broker that does not answer.
fn checked(given: &str) -> anyhow::Result<String> {
    let wrong = |text: &str| format!("--bootstrap-servers {given}: `{text}` is no address");
    for text in given.split(',').map(str::trim) {
        text.parse::<BrokerAddress>().with_context(|| wrong(text))?;
    }
    Ok(given.to_owned())
}

fn nodes(bootstrap_servers: &str) -> anyhow::Result<Vec<(i32, String)>> {
    let asked = client(bootstrap_servers)?.fetch_metadata(None, ANSWER_TIMEOUT);
    let metadata = asked.map_err(|error| {
        anyhow!(
            "no broker answers at {bootstrap_servers} ({error}): is the cluster up, and is this \
             its plaintext listener?"
        )
    })?;
    let brokers = metadata.brokers().iter();
    let mut nodes: Vec<_> = brokers
        .map(|broker| (broker.id(), host_port(broker.host(), broker.port())))
        .collect();
    nodes.sort();
    Ok(nodes)
}

/// The topic's partitions as a client of Narrows sees them, once each has a leader.
fn partitions_of(narrows: &str, topic: &str) -> anyhow::Result<i32> {
    // A producer's question also makes brokers create the topic that may do so.
    let client: BaseProducer = plain(narrows).create()?;
    let deadline = Instant::now() + ANSWER_TIMEOUT;
    loop {
        let metadata = client
            .client()
            .fetch_metadata(Some(topic), ANSWER_TIMEOUT)
            .map_err(|error| anyhow!("no answer comes through Narrows: {error}"))?;
        let partitions = metadata
            .topics()
            .first()
            .map_or(&[][..], |topic| topic.partitions());
        if !partitions.is_empty() && partitions.iter().all(|partition| partition.leader() >= 0) {
            return Ok(i32::try_from(partitions.len())?);
        }
        if Instant::now() > deadline {
            bail!(
                "no partition with a leader appeared within {} s",
                ANSWER_TIMEOUT.as_secs()
            );
        }
        std::thread::sleep(TOPIC_LOOK);
    }
}

/// A mock cluster would let its first broker lead every partition.
fn spread(
    mock: &MockCluster<'static, DefaultProducerContext>,
    topic: &str,
    partitions: i32,
) -> KafkaResult<()> {
    mock.create_topic(topic, partitions, MOCK_BROKERS)?;
    (0..partitions).try_for_each(|partition| {
        mock.partition_leader(topic, partition, Some(partition % MOCK_BROKERS + 1))
    })
}

async fn create(narrows: &str, topic: &str, partitions: i32) -> anyhow::Result<()> {
    // -1: as many replicas as the brokers' default says (KIP-464).
    let topic = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let results = admin(narrows)?.create_topics(&[topic], &options()).await?;
    settled(results)
}

async fn delete(narrows: &str, topic: &str) -> anyhow::Result<()> {
    let results = admin(narrows)?.delete_topics(&[topic], &options()).await?;
    settled(results)
}

fn settled(results: Vec<rdkafka::admin::TopicResult>) -> anyhow::Result<()> {
    for result in results {
        result.map_err(|(_, code)| anyhow!("the brokers answered: {code}"))?;
    }
    Ok(())
}

fn admin(narrows: &str) -> anyhow::Result<AdminClient<DefaultClientContext>> {
    Ok(plain(narrows).create()?)
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(ANSWER_TIMEOUT))
        .operation_timeout(Some(ANSWER_TIMEOUT))
}

fn client(bootstrap_servers: &str) -> anyhow::Result<BaseConsumer> {
    Ok(plain(bootstrap_servers).create()?)
}

fn plain(bootstrap_servers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap_servers)
        .set("client.id", "narrows-demo");
    config
}

/// IPv6 addresses in brackets, as everywhere else.
pub(super) fn host_port(host: &str, port: impl std::fmt::Display) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
