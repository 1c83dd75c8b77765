//! DescribeQuorum (key 55): from v2 on it carries the controllers' listeners, which no client can
//! dial and none needs; Narrows takes them out.

use anyhow::{Result, ensure};
use kafka_protocol::messages::describe_quorum_request::{PartitionData, TopicData};
use kafka_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use libtest_mimic::Trial;

use super::{Ways, topic_name};
use crate::fixture::{Fixture, LazyFixture, is_direct, sharing};

pub(super) fn list(fixture: &LazyFixture) -> Vec<Trial> {
    if is_direct() {
        return Vec::new();
    }
    vec![sharing(
        fixture,
        "wire::describe_quorum_differs_only_in_the_controllers_listeners",
        hide_controllers,
    )]
}

const WITH_LISTENERS: i16 = 2;

fn hide_controllers(fixture: &Fixture) -> Result<()> {
    let mut ways = Ways::to_broker(fixture, 1)?;
    let answer = ways.direct.ask(WITH_LISTENERS, &request())?;
    ensure!(
        answer.nodes.len() == 3 && answer.nodes.iter().all(|node| !node.listeners.is_empty()),
        "there is nothing to hide: {answer:?}"
    );
    let answer = ways.front.ask(WITH_LISTENERS, &request())?;
    ensure!(
        answer.nodes.len() == 3 && answer.nodes.iter().all(|node| node.listeners.is_empty()),
        "the nodes should stay, without listeners: {answer:?}"
    );
    let settle = |expected: &mut DescribeQuorumResponse, answer: &mut DescribeQuorumResponse| {
        settle(expected);
        settle(answer);
    };
    Ways::compare(
        fixture,
        |_| request(),
        settle,
        |_, expected| {
            expected
                .nodes
                .iter_mut()
                .for_each(|node| node.listeners.clear());
            Ok(())
        },
    )
}

fn request() -> DescribeQuorumRequest {
    let topic = TopicData::default()
        .with_topic_name(topic_name("__cluster_metadata"))
        .with_partitions(vec![PartitionData::default()]);
    DescribeQuorumRequest::default().with_topics(vec![topic])
}

/// The log of a quorum grows all the time; and its members come from a map without an order.
fn settle(answer: &mut DescribeQuorumResponse) {
    answer.nodes.sort_by_key(|node| node.node_id);
    for partition in answer
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
    {
        partition.high_watermark = 0;
        for replicas in [&mut partition.current_voters, &mut partition.observers] {
            replicas.sort_by_key(|replica| replica.replica_id);
            for replica in replicas {
                replica.log_end_offset = 0;
                replica.last_fetch_timestamp = 0;
                replica.last_caught_up_timestamp = 0;
            }
        }
    }
}
