//! Share groups (KIP-932): a broker that does not lead a partition says in its answer to ShareFetch
//! who does, with an address.

use anyhow::{Result, ensure};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic as Topic;
use kafka_protocol::messages::share_acknowledge_request::{
    AcknowledgePartition, AcknowledgeTopic, AcknowledgementBatch,
};
use kafka_protocol::messages::share_fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{GroupId, ShareAcknowledgeRequest, ShareFetchRequest};
use kafka_protocol::protocol::StrBytes;
use libtest_mimic::Trial;

use super::leaders::NOT_LEADER_OR_FOLLOWER;
use super::{Ways, topic_of};
use crate::brokers::version_under_test;
use crate::fixture::{Fixture, LazyFixture, sharing};

pub(super) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    // Share groups came with 4.0 and are ready for use since 4.2.
    if version_under_test().starts_with("3.") {
        return Vec::new();
    }
    let name = "wire::a_refused_share_fetch_names_narrows_address_of_the_leader_and_acknowledging_differs_in_nothing";
    vec![sharing(fixture, name, refuse)]
}

/// The first version that is no preview, and the only one that the oracle knows.
const VERSION: i16 = 1;

fn refuse(fixture: &Fixture) -> Result<()> {
    let elsewhere = fixture.namespaces.unique("elsewhere");
    fixture.cluster.admin_client.place(&elsewhere, "2")?;
    let topic = topic_of(fixture, &elsewhere)?;
    let mut ways = Ways::to_broker(fixture, 1)?;
    // A member has one session with a broker, so each way is another member's.
    let members = [(); 2].map(|()| member_id());
    let [to_broker, to_narrows] = members.clone().map(|member| fetch_request(member, &topic));
    let mut expected = ways.direct.ask(VERSION, &to_broker)?;
    let answer = ways.front.ask(VERSION, &to_narrows)?;
    ensure!(
        expected.responses[0].partitions[0].error_code == NOT_LEADER_OR_FOLLOWER
            && expected.node_endpoints.len() == 1,
        "the broker should refuse and name the leader: {expected:?}"
    );
    for node in &mut expected.node_endpoints {
        ways.advertise(&mut node.host, &mut node.port)?;
    }
    ensure!(answer == expected, "{answer:?} instead of {expected:?}");

    // Refused for another reason (4.3.1), with nothing to dial in it: what is not led here was not
    // acquired here.
    let [to_broker, to_narrows] = members.map(|member| acknowledge_request(member, &topic));
    let expected = ways.direct.ask(VERSION, &to_broker)?;
    let answer = ways.front.ask(VERSION, &to_narrows)?;
    ensure!(
        expected.responses.len() == 1,
        "the acknowledgement was not even looked at: {expected:?}"
    );
    ensure!(answer == expected, "{answer:?} instead of {expected:?}");
    Ok(())
}

/// Opens a share session (epoch 0).
fn fetch_request(member: StrBytes, topic: &Topic) -> ShareFetchRequest {
    let topic = FetchTopic::default()
        .with_topic_id(topic.topic_id)
        .with_partitions(vec![FetchPartition::default()]);
    ShareFetchRequest::default()
        .with_group_id(Some(group()))
        .with_member_id(Some(member))
        .with_share_session_epoch(0)
        .with_max_wait_ms(500)
        .with_max_bytes(1_000_000)
        .with_max_records(10)
        .with_batch_size(10)
        .with_topics(vec![topic])
}

/// Accepts the first record, in the session that the fetch opened.
fn acknowledge_request(member: StrBytes, topic: &Topic) -> ShareAcknowledgeRequest {
    let first = AcknowledgementBatch::default().with_acknowledge_types(vec![1]);
    let partition = AcknowledgePartition::default().with_acknowledgement_batches(vec![first]);
    let topic = AcknowledgeTopic::default()
        .with_topic_id(topic.topic_id)
        .with_partitions(vec![partition]);
    ShareAcknowledgeRequest::default()
        .with_group_id(Some(group()))
        .with_member_id(Some(member))
        .with_share_session_epoch(1)
        .with_topics(vec![topic])
}

fn group() -> GroupId {
    GroupId(StrBytes::from_static_str("wire-share"))
}

/// In Kafka's spelling of a UUID: 22 characters of base 64, of which the last stands for two bits.
fn member_id() -> StrBytes {
    let id = std::iter::repeat_with(fastrand::alphanumeric)
        .take(21)
        .collect::<String>();
    StrBytes::from_string(format!("{id}Q"))
}
