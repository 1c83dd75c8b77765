//! KIP-951: a broker that does not lead a partition says in its refusal who does, with an address.
//! Produce from v10, Fetch from v16, each in every version.

use anyhow::{Result, ensure};
use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic as Topic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{BrokerId, FetchRequest, ProduceRequest};
use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, Record,
    RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use libtest_mimic::Trial;

use super::{Ways, topic_of};
use crate::fixture::{Fixture, LazyFixture, sharing};

pub(super) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    vec![
        sharing(
            fixture,
            "wire::a_refused_produce_names_narrows_address_of_the_leader_from_v10_on",
            produce,
        ),
        sharing(
            fixture,
            "wire::a_refused_fetch_names_narrows_address_of_the_leader_from_v16_on",
            fetch,
        ),
        sharing(
            fixture,
            "wire::a_refusal_behind_a_megabyte_of_records_leaks_no_address",
            fetch_behind_records,
        ),
    ]
}

pub(super) const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const PRODUCE_WITH_ENDPOINTS: i16 = 10;
const FETCH_WITH_ENDPOINTS: i16 = 16;
const RECORDS_BYTES: usize = 1_000_000;

fn produce(fixture: &Fixture) -> Result<()> {
    let elsewhere = fixture.namespaces.unique("elsewhere");
    // Broker 1 follows: one that does not even have a replica answers v13 with UNKNOWN_TOPIC_ID
    // (4.3.1).
    fixture.cluster.admin_client.place(&elsewhere, "2,1")?;
    let batch = batch_of(10)?;
    let elsewhere = topic_of(fixture, &elsewhere)?;
    let request = |_| produce_request(&elsewhere, &batch);
    Ways::compare(
        fixture,
        request,
        |_, _| {},
        |ways, answer| {
            let refusal = answer.responses[0].partition_responses[0].error_code;
            ensure!(
                refusal == NOT_LEADER_OR_FOLLOWER,
                "the produce should be refused, not {refusal}"
            );
            answer
                .node_endpoints
                .iter_mut()
                .try_for_each(|node| ways.advertise(&mut node.host, &mut node.port))
        },
    )?;
    let mut ways = Ways::to_broker(fixture, 1)?;
    let newest = *ways.front.versions::<ProduceRequest>()?.end();
    let answer = ways
        .front
        .ask(newest, &produce_request(&elsewhere, &batch))?;
    ensure!(
        newest < PRODUCE_WITH_ENDPOINTS || answer.node_endpoints.len() == 1,
        "no leader is named: {answer:?}"
    );
    Ok(())
}

fn fetch(fixture: &Fixture) -> Result<()> {
    let elsewhere = fixture.namespaces.unique("elsewhere");
    fixture.cluster.admin_client.place(&elsewhere, "2")?;
    let elsewhere = topic_of(fixture, &elsewhere)?;
    let request = |_| fetch_request(&[&elsewhere]);
    Ways::compare(
        fixture,
        request,
        |_, _| {},
        |ways, answer| {
            let refusal = answer.responses[0].partitions[0].error_code;
            ensure!(
                refusal == NOT_LEADER_OR_FOLLOWER,
                "the fetch should be refused, not {refusal}"
            );
            answer
                .node_endpoints
                .iter_mut()
                .try_for_each(|node| ways.advertise(&mut node.host, &mut node.port))
        },
    )
}

/// The endpoints stand behind the records, in a response whose length is already on its way:
/// Narrows may replace them or take them out, which makes the client ask for metadata, but must let
/// nothing else change.
fn fetch_behind_records(fixture: &Fixture) -> Result<()> {
    let [here, elsewhere] = ["here", "elsewhere"].map(|name| fixture.namespaces.unique(name));
    fixture.cluster.admin_client.place(&here, "1")?;
    fixture.cluster.admin_client.place(&elsewhere, "2")?;
    let here = topic_of(fixture, &here)?;
    let elsewhere = topic_of(fixture, &elsewhere)?;
    let mut ways = Ways::to_broker(fixture, 1)?;
    let written = ways
        .direct
        .ask(9, &produce_request(&here, &batch_of(RECORDS_BYTES / 2)?))?;
    ensure!(
        written.responses[0].partition_responses[0].error_code == 0,
        "the produce failed: {written:?}"
    );
    ways.direct
        .ask(9, &produce_request(&here, &batch_of(RECORDS_BYTES / 2)?))?;

    let request = fetch_request(&[&here, &elsewhere]);
    for version in FETCH_WITH_ENDPOINTS..=*ways.front.versions::<FetchRequest>()?.end() {
        let mut expected = ways.direct.ask(version, &request)?;
        ensure!(
            expected.node_endpoints.len() == 1,
            "the broker should name the leader: {version}"
        );
        let mut answer = ways.front.ask(version, &request)?;
        let fetched = answer.responses[0].partitions[0]
            .records
            .as_ref()
            .map_or(0, Bytes::len);
        ensure!(
            fetched >= RECORDS_BYTES,
            "only {fetched} bytes of records were fetched"
        );
        // Narrows' host is shorter than the broker's by one byte, which no padding fills where the
        // length was sent: the endpoints are left out.
        ensure!(
            answer.node_endpoints.is_empty(),
            "v{version}: {:?} where nothing fits",
            answer.node_endpoints
        );
        expected.node_endpoints.clear();
        answer.unknown_tagged_fields.clear();
        ensure!(
            answer == expected,
            "v{version}: the response differs in more than the endpoints"
        );
    }
    Ok(())
}

fn produce_request(topic: &Topic, batch: &Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(batch.clone()));
    let topic = TopicProduceData::default()
        .with_name(topic.name.clone().unwrap_or_default())
        .with_topic_id(topic.topic_id)
        .with_partition_data(vec![partition]);
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(5000)
        .with_topic_data(vec![topic])
}

/// From offset 0, at once, without a fetch session.
fn fetch_request(topics: &[&Topic]) -> FetchRequest {
    let topic = |topic: &&Topic| {
        let partition = FetchPartition::default().with_partition_max_bytes(10_000_000);
        FetchTopic::default()
            .with_topic(topic.name.clone().unwrap_or_default())
            .with_topic_id(topic.topic_id)
            .with_partitions(vec![partition])
    };
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(1000)
        .with_min_bytes(0)
        .with_max_bytes(10_000_000)
        .with_session_epoch(-1)
        .with_topics(topics.iter().map(topic).collect())
}

/// One uncompressed batch of one record with a value of so many bytes.
fn batch_of(value_bytes: usize) -> Result<Bytes> {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: NO_SEQUENCE,
        timestamp: 1,
        key: None,
        value: Some(vec![b'v'; value_bytes].into()),
        headers: IndexMap::new(),
    };
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    RecordBatchEncoder::encode(&mut batch, [&record], &options)?;
    Ok(batch.freeze())
}
