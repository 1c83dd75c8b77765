//! Byte for byte: the same question to the same broker, once past Narrows and once through it, in
//! every version that both offer. The answers, read by a decoder that is not Narrows' own, differ
//! in addresses and in nothing else.

mod leaders;
mod quorum;
mod share;
mod socket;
mod tokens;
pub(crate) mod versions;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kafka_protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, FindCoordinatorRequest, MetadataRequest,
    MetadataResponse, TopicName, metadata_request::MetadataRequestTopic,
    metadata_response::MetadataResponseTopic,
};
use kafka_protocol::protocol::{Request, StrBytes};
use libtest_mimic::Trial;

use crate::brokers::ports;
use crate::fixture::{Fixture, LazyFixture, sharing};
use crate::namespaces::{NODE_IDS, Side, broker_ip};
use socket::Socket;

pub(crate) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    let mut trials = vec![
        sharing(
            fixture,
            "wire::metadata_differs_only_in_addresses_in_every_version",
            metadata,
        ),
        sharing(
            fixture,
            "wire::find_coordinator_differs_only_in_addresses_in_every_version",
            find_coordinator,
        ),
        sharing(
            fixture,
            "wire::describe_cluster_differs_only_in_addresses_in_every_version",
            describe_cluster,
        ),
    ];
    for list in [
        leaders::list,
        quorum::list,
        share::list,
        tokens::list,
        versions::list,
    ] {
        trials.extend(list(fixture));
    }
    trials
}

/// For all brokers to know what one of them knows.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// The two ways to one broker.
struct Ways {
    direct: Socket,
    front: Socket,
    /// How the front presents each broker.
    advertised: Vec<(SocketAddr, SocketAddr)>,
}

impl Ways {
    fn to_broker(fixture: &Fixture, node_id: u8) -> Result<Self> {
        Self::to_listener(fixture, node_id, ports::PLAIN, &fixture.front().brokers)
    }

    fn to_sasl_listener(fixture: &Fixture, node_id: u8) -> Result<Self> {
        Self::to_listener(fixture, node_id, ports::SASL, &fixture.front().sasl_brokers)
    }

    fn to_listener(
        fixture: &Fixture,
        node_id: u8,
        port: u16,
        at_front: &BTreeMap<i64, (String, u16)>,
    ) -> Result<Self> {
        let mut advertised = Vec::new();
        for id in NODE_IDS {
            let (host, front_port) = at_front
                .get(&i64::from(id))
                .context("a broker without an address")?;
            let own = SocketAddr::from((broker_ip(id), port));
            advertised.push((own, format!("{host}:{front_port}").parse()?));
        }
        let (own, front) = advertised[usize::from(node_id) - 1];
        Ok(Self {
            direct: Socket::dial(&fixture.namespaces, Side::Narrows, own)?,
            front: Socket::dial(&fixture.namespaces, fixture.front().side, front)?,
            advertised,
        })
    }

    /// Replaces a broker's own address as Narrows should have.
    fn advertise(&self, host: &mut StrBytes, port: &mut i32) -> Result<()> {
        if host.is_empty() {
            return Ok(()); // An error's marker, which stays.
        }
        let own = SocketAddr::new(host.parse()?, u16::try_from(*port)?);
        let (_, advertised) = self
            .advertised
            .iter()
            .find(|(broker, _)| *broker == own)
            .context("not a broker's address")?;
        *host = StrBytes::from_string(advertised.ip().to_string());
        *port = advertised.port().into();
        Ok(())
    }

    /// Asks both ways in every version that both offer, and compares what is left after the
    /// addresses and after what differs from one answer to the next.
    fn compare<R: Request>(
        fixture: &Fixture,
        request: impl Fn(i16) -> R,
        normalise: impl Fn(&mut R::Response, &mut R::Response),
        advertise: impl Fn(&Self, &mut R::Response) -> Result<()>,
    ) -> Result<()>
    where
        R::Response: PartialEq + std::fmt::Debug,
    {
        let mut ways = Self::to_broker(fixture, 1)?;
        let versions = ways.front.versions::<R>()?;
        ensure!(
            versions == ways.direct.versions::<R>()?,
            "api key {}: another range of versions is offered",
            R::KEY
        );
        for version in versions {
            let mut expected = ways.direct.ask(version, &request(version))?;
            let mut answer = ways.front.ask(version, &request(version))?;
            normalise(&mut expected, &mut answer);
            advertise(&ways, &mut expected)?;
            ensure!(
                answer == expected,
                "api key {} v{version}: {answer:?} instead of {expected:?}",
                R::KEY
            );
        }
        Ok(())
    }
}

fn metadata(fixture: &Fixture) -> Result<()> {
    let topic = fixture.namespaces.unique("wire");
    fixture.cluster.admin_client.create(&topic, 3)?;
    topic_of(fixture, &topic)?;
    let missing = fixture.namespaces.unique("missing");
    let request = |_| {
        let topics = [&topic, &missing]
            .map(|name| MetadataRequestTopic::default().with_name(Some(topic_name(name))));
        MetadataRequest::default()
            .with_topics(Some(topics.into()))
            .with_allow_auto_topic_creation(false)
    };
    // Version 4 is the first that can forbid to create the missing topic: it must not come to be
    // meanwhile.
    let settled = |version: i16| {
        if version < 4 {
            request_of(&topic)
        } else {
            request(version)
        }
    };
    // With KRaft a broker names any broker as the controller, another one each time.
    let any_controller = |expected: &mut MetadataResponse, answer: &mut MetadataResponse| {
        expected.controller_id = answer.controller_id;
    };
    Ways::compare(fixture, settled, any_controller, |ways, answer| {
        answer
            .brokers
            .iter_mut()
            .try_for_each(|broker| ways.advertise(&mut broker.host, &mut broker.port))
    })
}

fn request_of(topic: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    MetadataRequest::default().with_topics(Some(vec![topic]))
}

/// A topic as broker 1 describes it: newer versions ask for it by id. Waits until this broker, too,
/// has heard of it.
fn topic_of(fixture: &Fixture, name: &str) -> Result<MetadataResponseTopic> {
    let mut broker = Ways::to_broker(fixture, 1)?.direct;
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let topic = broker.ask(12, &request_of(name))?.topics.pop();
        let topic = topic.with_context(|| format!("no topic {name}"))?;
        if topic.error_code == 0
            && topic
                .partitions
                .iter()
                .all(|partition| partition.error_code == 0)
        {
            return Ok(topic);
        }
        ensure!(
            Instant::now() < deadline,
            "broker 1 does not come to know {name}: {topic:?}"
        );
        std::thread::sleep(POLL);
    }
}

fn find_coordinator(fixture: &Fixture) -> Result<()> {
    // The first question creates the internal topics; whoever asks before they stand gets an
    // error's marker.
    for key_type in [0, 1] {
        settle_coordinators(fixture, key_type)?;
        let request = |version| coordinator_request(version, key_type);
        Ways::compare(
            fixture,
            request,
            |_, _| {},
            |ways, answer| {
                ways.advertise(&mut answer.host, &mut answer.port)?;
                answer
                    .coordinators
                    .iter_mut()
                    .filter(|coordinator| coordinator.error_code == 0)
                    .try_for_each(|coordinator| {
                        ways.advertise(&mut coordinator.host, &mut coordinator.port)
                    })
            },
        )?;
    }
    Ok(())
}

/// Groups (0) and transactions (1). From version 4 on several keys in one question.
fn coordinator_request(version: i16, key_type: i8) -> FindCoordinatorRequest {
    let keys = ["wire-a", "wire-b", "wire-c"].map(StrBytes::from_static_str);
    let request = FindCoordinatorRequest::default();
    match version {
        // Version 0 knows groups only.
        0 => request.with_key(keys[0].clone()),
        1..4 => request.with_key(keys[0].clone()).with_key_type(key_type),
        _ => request
            .with_coordinator_keys(keys.into())
            .with_key_type(key_type),
    }
}

fn settle_coordinators(fixture: &Fixture, key_type: i8) -> Result<()> {
    let mut ways = Ways::to_broker(fixture, 1)?;
    let deadline = Instant::now() + SETTLE_TIMEOUT;
    loop {
        let group_answer = ways
            .direct
            .ask(3, &coordinator_request(0, 0).with_key_type(0))?;
        let answer = ways.direct.ask(4, &coordinator_request(4, key_type))?;
        if group_answer.error_code == 0
            && answer
                .coordinators
                .iter()
                .all(|coordinator| coordinator.error_code == 0)
        {
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the coordinators did not come up: {answer:?}"
        );
        std::thread::sleep(POLL);
    }
}

fn describe_cluster(fixture: &Fixture) -> Result<()> {
    let request =
        |_| DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
    let any_controller = |expected: &mut DescribeClusterResponse,
                          answer: &mut DescribeClusterResponse| {
        expected.controller_id = answer.controller_id;
    };
    Ways::compare(fixture, request, any_controller, |ways, answer| {
        answer
            .brokers
            .iter_mut()
            .try_for_each(|broker| ways.advertise(&mut broker.host, &mut broker.port))
    })
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}
