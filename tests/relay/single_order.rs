//! Scheme `single`: what a client has on its way to several brokers while one of them closes, and
//! while a leader moves.

use crate::broker::{Arrival, Broker};
use crate::client::{Client, Proxy};
use crate::frames::opaque;
use crate::move_clock;
use crate::single::{
    PRODUCE_VERSION, TOPIC, answer_leaders, begun, header_of, offsets, partitions_of, produce,
    produce_numbered, produced, produced_or_not, refused, two,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use std::time::Duration;

/// What a client reads of an answer to Produce: each partition with its error.
fn errors(frame: &[u8]) -> Vec<(i32, i16)> {
    let mut body = bytes::Bytes::copy_from_slice(&frame[8..]);
    let response = ProduceResponse::decode(&mut body, PRODUCE_VERSION).unwrap();
    let partitions = &response.responses[0].partition_responses;
    let told = partitions.iter();
    told.map(|partition| (partition.index, partition.error_code))
        .collect()
}

const NOT_LEADER: i16 = 6;
/// Nobody knows whether it was written.
const REQUEST_TIMED_OUT: i16 = 7;

/// A client that has sent the first of these requests to node 0, which leads partition 0 (node 1
/// leads the others), and the rest behind it.
async fn sent(proxy: &Proxy, zero: &mut Broker, requests: &[Vec<u8>]) -> (Client, Arrival) {
    let (mut client, mut at_zero) = begun(proxy, zero).await;
    client.send(&requests.concat()).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[0, 1]).await;
    (client, at_zero)
}

/// Such a Produce as is not answered.
fn unanswered(mut produce: Vec<u8>) -> Vec<u8> {
    // Behind the header and the transactional id.
    let acks = 4 + 8 + 2 + "scripted".len() + 2;
    produce[acks..acks + 2].copy_from_slice(&[0, 0]);
    produce
}

#[tokio::test]
async fn all_requests_that_a_broker_leaves_unanswered_in_part_are_answered() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [2, 3, 4].map(|id| produce(id, &[0, 1]));
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    let mut at_one = one.next().await;
    for _ in 0..2 {
        assert_eq!(partitions_of(&at_one.frame().await.unwrap()), [1]);
    }
    drop(at_one);
    for id in [2, 3, 4] {
        assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [0]);
        at_zero.send(&produced(id, &[0], 5)).await;
    }
    for id in [2, 3, 4] {
        let answer = client.frame().await.unwrap();
        assert_eq!(header_of(&answer), id);
        assert_eq!(errors(&answer), [(0, 0), (1, REQUEST_TIMED_OUT)]);
    }
}

#[tokio::test]
async fn parts_that_arrive_together_are_each_of_their_own_answer() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [2, 3, 4].map(|id| produce(id, &[0, 1]));
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    for (arrival, partition) in [(&mut at_zero, 0), (&mut one.next().await, 1)] {
        let answers = [2, 3, 4].map(|id| produced(id, &[partition], i64::from(id)));
        arrival.send(&answers.concat()).await;
    }
    for id in [2, 3, 4] {
        let answer = client.frame().await.unwrap();
        assert_eq!(header_of(&answer), id);
        assert_eq!(offsets(&answer), [(0, id.into()), (1, id.into())]);
    }
}

#[tokio::test]
async fn a_request_that_was_that_brokers_alone_ends_the_connection_in_its_turn() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0, 1]), produce(3, &[1])];
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    let mut at_one = one.next().await;
    assert_eq!(at_one.frame().await, Some(produce(3, &[1])));
    drop(at_one);
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 5)).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(errors(&answer), [(0, 0), (1, REQUEST_TIMED_OUT)]);
    assert_eq!(client.rest().await, b"");
    proxy.until_closed("broker_closed", 1).await;
}

#[tokio::test]
async fn a_broker_that_takes_nothing_any_more_fails_its_parts_and_nothing_else() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0, 1]), produce(3, &[0]), produce(4, &[0, 1])];
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    let mut at_one = one.next().await;
    assert_eq!(partitions_of(&at_one.frame().await.unwrap()), [1]);
    at_one.send(&produced(2, &[1], 5)).await;
    assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [0]);
    at_zero.send(&produced(2, &[0], 5)).await;
    assert_eq!(errors(&client.frame().await.unwrap()), [(0, 0), (1, 0)]);
    // Its answers are not looked at before node 0 has given the one that comes first.
    at_one.reset();
    client.send(&produce(5, &[0, 1])).await;
    for id in [3, 4, 5] {
        assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [0]);
        at_zero.send(&produced(id, &[0], 5)).await;
    }
    assert_eq!(client.frame().await, Some(produced(3, &[0], 5)));
    for id in [4, 5] {
        let answer = client.frame().await.unwrap();
        assert_eq!(header_of(&answer), id);
        assert_eq!(errors(&answer), [(0, 0), (1, REQUEST_TIMED_OUT)]);
    }
}

#[tokio::test]
async fn a_broker_that_closes_over_what_has_no_answer_ends_the_clients_connection() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0])];
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 5)).await;
    client.frame().await.unwrap();
    client.send(&unanswered(produce(3, &[1]))).await;
    let at_one = one.next().await;
    assert_eq!(at_one.first, unanswered(produce(3, &[1])));
    // Another broker is at hand by then.
    client.send(&produce(4, &[0])).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(4, &[0], 5)).await;
    client.frame().await.unwrap();
    drop(at_one);
    assert_eq!(client.rest().await, b"");
    proxy.until_closed("broker_closed", 1).await;
}

/// Narrows learns, by another client, that node 0 leads partition 1 now. That client, and its
/// connection at node 0.
async fn move_to_zero(proxy: &Proxy, (zero, one): (&mut Broker, &mut Broker)) -> (Client, Arrival) {
    let (mut other, _any) = begun(proxy, zero).await;
    other.send(&produce(2, &[1])).await;
    let mut at_one = one.next().await;
    at_one.send(&refused(2, &[1])).await;
    other.frame().await.unwrap();
    other.send(&produce(3, &[1])).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
    let mut at_zero = zero.next().await;
    assert_eq!(at_zero.first, produce(3, &[1]));
    at_zero.send(&produced(3, &[1], 0)).await;
    other.frame().await.unwrap();
    (other, at_zero)
}

/// Time enough for others to go the wrong way.
async fn round_trips(client: &mut Client, at_zero: &mut Arrival) {
    for id in 10..20 {
        client.send(&produce(id, &[0])).await;
        at_zero.frame().await.unwrap();
        at_zero.send(&produced(id, &[0], 0)).await;
        client.frame().await.unwrap();
    }
}

#[tokio::test]
async fn records_of_a_partition_whose_leader_moves_wait_for_those_before_them() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0]), produce(3, &[1])];
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 0)).await;
    client.frame().await.unwrap();
    let mut at_one = one.next().await;
    assert_eq!(at_one.first, produce(3, &[1]));
    let (mut other, mut other_at_zero) = move_to_zero(&proxy, (&mut zero, &mut one)).await;
    client.send(&produce(4, &[0, 1])).await;
    round_trips(&mut other, &mut other_at_zero).await;
    let gone_ahead = at_zero.stream.try_read(&mut [0]);
    assert!(gone_ahead.is_err(), "request 3 is not answered yet");
    at_one.send(&produced(3, &[1], 1)).await;
    assert_eq!(client.frame().await, Some(produced(3, &[1], 1)));
    assert_eq!(at_zero.frame().await, Some(produce(4, &[0, 1])));
}

#[tokio::test]
async fn records_of_other_partitions_wait_for_nobody() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0]), produce(3, &[1]), produce(4, &[0])];
    let (_client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    assert_eq!(at_zero.frame().await, Some(produce(2, &[0])));
    assert_eq!(one.next().await.first, produce(3, &[1]));
    assert_eq!(at_zero.frame().await, Some(produce(4, &[0])));
}

/// Node 0 has written what is for partition 0, and does not lead partition 1.
fn half_refused(correlation_id: i32) -> Vec<u8> {
    let of = |index, error| {
        PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(error)
    };
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(StrBytes::from_static_str(TOPIC)))
        .with_partition_responses(vec![of(0, 0), of(1, 6)]);
    let mut body = Vec::new();
    let response = ProduceResponse::default().with_responses(vec![topic]);
    response.encode(&mut body, PRODUCE_VERSION).unwrap();
    opaque(correlation_id, &body)
}

#[tokio::test]
async fn a_client_that_goes_on_to_ask_one_broker_for_what_two_lead_has_its_requests_split() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [produce(2, &[0])];
    let (mut client, mut at_zero) = sent(&proxy, &mut zero, &requests).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 0)).await;
    client.frame().await.unwrap();
    // Whoever has one connection for each broker looks up who leads, and does not do it again.
    for id in [3, 4, 5] {
        client.send(&produce(id, &[0, 1])).await;
        assert_eq!(at_zero.frame().await, Some(produce(id, &[0, 1])));
        at_zero.send(&half_refused(id)).await;
        assert_eq!(client.frame().await, Some(half_refused(id)));
        if id == 4 {
            move_clock(Duration::from_secs(1)).await;
        }
    }
    client.send(&produce(6, &[0, 1])).await;
    assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [0]);
    assert_eq!(partitions_of(&one.next().await.first), [1]);
}

#[tokio::test]
async fn what_a_producer_numbered_behind_a_refused_batch_is_refused_by_the_same_broker() {
    let (mut zero, mut one, proxy) = two().await;
    let [first, second, third] =
        [(2, 0), (3, 5), (4, 10)].map(|(id, sequence)| produce_numbered(id, &[(1, sequence)]));
    let (mut client, _at_zero) = sent(&proxy, &mut zero, &[first, second]).await;
    let mut at_one = one.next().await;
    at_one.frame().await.unwrap();
    at_one.send(&refused(2, &[1])).await;
    client.frame().await.unwrap();
    // The client had sent it before it read the answer.
    client.send(&third).await;
    assert_eq!(at_one.frame().await, Some(third));
    for id in [3, 4] {
        at_one.send(&refused(id, &[1])).await;
        client.frame().await.unwrap();
    }
    // It begins with the first again, and all go to the new leader.
    let again =
        [(5, 0), (6, 5), (7, 10)].map(|(id, sequence)| produce_numbered(id, &[(1, sequence)]));
    client.send(&again.concat()).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
    let mut at_zero = zero.next().await;
    assert_eq!(at_zero.first, again[0]);
    assert_eq!(at_zero.frame().await.as_ref(), Some(&again[1]));
    assert_eq!(at_zero.frame().await.as_ref(), Some(&again[2]));
}

#[tokio::test]
async fn what_nobody_numbered_goes_to_the_new_leader_at_once() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, _at_zero) = sent(&proxy, &mut zero, &[produce(2, &[1])]).await;
    let mut at_one = one.next().await;
    at_one.send(&refused(2, &[1])).await;
    client.frame().await.unwrap();
    client.send(&produce(3, &[1])).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
    assert_eq!(zero.next().await.first, produce(3, &[1]));
}

/// A connection that is for both brokers, node 0 for partition 0 and node 1 for partition 1; and
/// its two at them. It has sent a batch to each, numbered 0, and read that they are written.
async fn for_both(
    proxy: &Proxy,
    (zero, one): (&mut Broker, &mut Broker),
) -> (Client, Arrival, Arrival) {
    let first = produce_numbered(2, &[(0, 0), (1, 0)]);
    let (mut client, mut at_zero) = sent(proxy, zero, &[first]).await;
    let mut at_one = one.next().await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(2, &[0], 0)).await;
    at_one.send(&produced(2, &[1], 0)).await;
    client.frame().await.unwrap();
    (client, at_zero, at_one)
}

#[tokio::test]
async fn what_is_numbered_behind_a_refused_part_is_refused_and_the_rest_is_written() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero, mut at_one) = for_both(&proxy, (&mut zero, &mut one)).await;
    client.send(&produce_numbered(3, &[(0, 5), (1, 5)])).await;
    at_zero.frame().await.unwrap();
    at_zero.send(&produced(3, &[0], 5)).await;
    at_one.frame().await.unwrap();
    at_one.send(&refused(3, &[1])).await;
    assert_eq!(
        errors(&client.frame().await.unwrap()),
        [(0, 0), (1, NOT_LEADER)]
    );
    // The client had sent these before it read the answer. Node 0 leads both now.
    let behind = [(4, 10), (5, 15)];
    let behind = behind.map(|(id, sequence)| produce_numbered(id, &[(0, sequence), (1, sequence)]));
    client.send(&behind[0]).await;
    let asked = at_zero.frame().await.unwrap();
    answer_leaders(&mut at_zero, &asked, &[0, 0]).await;
    client.send(&behind[1]).await;
    for id in [4, 5] {
        assert_eq!(partitions_of(&at_zero.frame().await.unwrap()), [0]);
        at_zero.send(&produced(id, &[0], 10)).await;
        let answer = client.frame().await.unwrap();
        assert_eq!(errors(&answer), [(0, 0), (1, NOT_LEADER)]);
    }
    client.send(&produce_numbered(6, &[(1, 20)])).await;
    assert_eq!(errors(&client.frame().await.unwrap()), [(1, NOT_LEADER)]);
    // It begins with what was refused.
    for (id, sequence) in [(7, 5), (8, 10), (9, 15), (10, 20), (11, 25)] {
        let again = produce_numbered(id, &[(1, sequence)]);
        client.send(&again).await;
        assert_eq!(at_zero.frame().await, Some(again));
        at_zero.send(&produced(id, &[1], sequence.into())).await;
        client.frame().await.unwrap();
    }
}

/// Such a connection, whose second request has batches numbered 5; node 1 has closed with its own
/// unanswered.
async fn with_a_lost_part(
    proxy: &Proxy,
    (zero, one): (&mut Broker, &mut Broker),
) -> (Client, Arrival) {
    let (mut client, mut at_zero, mut at_one) = for_both(proxy, (zero, one)).await;
    client.send(&produce_numbered(3, &[(0, 5), (1, 5)])).await;
    at_zero.frame().await.unwrap();
    at_one.frame().await.unwrap();
    drop(at_one);
    (client, at_zero)
}

#[tokio::test]
async fn what_is_numbered_behind_a_part_without_an_answer_is_refused() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero) = with_a_lost_part(&proxy, (&mut zero, &mut one)).await;
    at_zero.send(&produced(3, &[0], 5)).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(errors(&answer), [(0, 0), (1, REQUEST_TIMED_OUT)]);
    client.send(&produce_numbered(4, &[(1, 10)])).await;
    assert_eq!(errors(&client.frame().await.unwrap()), [(1, NOT_LEADER)]);
    let again = produce_numbered(5, &[(1, 5)]);
    client.send(&again).await;
    assert_eq!(one.next().await.first, again);
}

#[tokio::test]
async fn a_producer_that_counts_anew_waits_for_nothing() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero, mut at_one) = for_both(&proxy, (&mut zero, &mut one)).await;
    client.send(&produce_numbered(3, &[(1, 5)])).await;
    at_one.frame().await.unwrap();
    at_one.send(&refused(3, &[1])).await;
    client.frame().await.unwrap();
    let mut anew = produce_numbered(4, &[(1, 30)]);
    // The producer's epoch, before the number that the batch ends with.
    let at = anew.len() - 6;
    anew[at..at + 2].copy_from_slice(&[0, 1]);
    client.send(&anew).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
    assert_eq!(at_zero.frame().await, Some(anew));
}

#[tokio::test]
async fn an_answer_in_two_halves_refuses_as_much_as_one_that_is_whole() {
    let (mut zero, mut one, proxy) = two().await;
    let requests = [2, 3].map(|id| produce_numbered(id, &[(1, id)]));
    let (mut client, _at_zero) = sent(&proxy, &mut zero, &requests).await;
    let mut at_one = one.next().await;
    at_one.frame().await.unwrap();
    let refusal = refused(2, &[1]);
    let (half, rest) = refusal.split_at(20);
    at_one.send(half).await;
    // Whatever asks for another turn has had it.
    let (_other, _any) = begun(&proxy, &mut zero).await;
    at_one.send(rest).await;
    assert_eq!(client.frame().await, Some(refusal.clone()));
    client.send(&produce(4, &[1])).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
}

#[tokio::test]
async fn a_failure_of_long_ago_holds_nothing_back() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero, mut at_one) = for_both(&proxy, (&mut zero, &mut one)).await;
    client.send(&produce_numbered(3, &[(1, 5)])).await;
    at_one.frame().await.unwrap();
    at_one.send(&refused(3, &[1])).await;
    client.frame().await.unwrap();
    move_clock(Duration::from_secs(60)).await;
    // What failed has come again by another connection.
    let next = produce_numbered(4, &[(1, 10)]);
    client.send(&next).await;
    let asked = at_one.frame().await.unwrap();
    answer_leaders(&mut at_one, &asked, &[0, 0]).await;
    assert_eq!(at_zero.frame().await, Some(next));
}

#[tokio::test]
async fn what_is_numbered_behind_a_part_that_is_lost_waits_until_that_is_known() {
    let (mut zero, mut one, proxy) = two().await;
    let (mut client, mut at_zero) = with_a_lost_part(&proxy, (&mut zero, &mut one)).await;
    // Node 0 takes its time with its own part, and meanwhile comes what is behind the lost one.
    let (mut other, mut other_at_zero) = begun(&proxy, &mut zero).await;
    round_trips(&mut other, &mut other_at_zero).await;
    client.send(&produce_numbered(4, &[(1, 10)])).await;
    round_trips(&mut other, &mut other_at_zero).await;
    assert!(!one.has_arrivals(), "request 3 is not answered yet");
    at_zero.send(&produced(3, &[0], 5)).await;
    let answer = client.frame().await.unwrap();
    assert_eq!(errors(&answer), [(0, 0), (1, REQUEST_TIMED_OUT)]);
    assert_eq!(errors(&client.frame().await.unwrap()), [(1, NOT_LEADER)]);
    let again = produce_numbered(5, &[(1, 5)]);
    client.send(&again).await;
    assert_eq!(one.next().await.first, again);
}

#[tokio::test]
async fn what_is_numbered_behind_what_a_leader_could_not_write_in_time_goes_to_no_other() {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    for error in [REQUEST_TIMED_OUT, KAFKA_STORAGE_ERROR] {
        let (mut zero, mut one, proxy) = two().await;
        let (mut client, _at_zero, mut at_one) = for_both(&proxy, (&mut zero, &mut one)).await;
        let [first, second, third] =
            [(3, 5), (4, 10), (5, 15)].map(|(id, sequence)| produce_numbered(id, &[(1, sequence)]));
        client.send(&first).await;
        at_one.frame().await.unwrap();
        at_one.send(&produced_or_not(3, &[1], -1, error)).await;
        client.frame().await.unwrap();
        client.send(&second).await;
        assert_eq!(at_one.frame().await, Some(second), "it leads");
        at_one.send(&produced_or_not(4, &[1], -1, error)).await;
        client.frame().await.unwrap();
        move_to_zero(&proxy, (&mut zero, &mut one)).await;
        client.send(&third).await;
        let answer = client.frame().await.unwrap();
        assert_eq!(errors(&answer), [(1, NOT_LEADER)], "{error}");
    }
}

#[tokio::test]
async fn a_refusal_among_many_partitions_is_seen() {
    let (mut zero, mut one, proxy) = two().await;
    let many: Vec<_> = (1..600).map(|partition| (partition, 0)).collect();
    let partitions: Vec<_> = (1..600).collect();
    let (mut client, _at_zero) = sent(&proxy, &mut zero, &[produce_numbered(2, &[(1, 0)])]).await;
    let mut at_one = one.next().await;
    at_one.send(&produced(2, &[1], 0)).await;
    client.frame().await.unwrap();
    client.send(&produce_numbered(3, &many)).await;
    assert_eq!(partitions_of(&at_one.frame().await.unwrap()), partitions);
    at_one.send(&refused(3, &partitions)).await;
    client.frame().await.unwrap();
    // Another client has Narrows learn that node 0 leads it now.
    let (mut other, mut other_at_zero) = begun(&proxy, &mut zero).await;
    other.send(&produce(2, &[1])).await;
    let asked = other_at_zero.frame().await.unwrap();
    answer_leaders(&mut other_at_zero, &asked, &[0, 0]).await;
    assert_eq!(other_at_zero.frame().await, Some(produce(2, &[1])));
    let behind = produce_numbered(4, &[(1, 5)]);
    client.send(&behind).await;
    assert_eq!(at_one.frame().await, Some(behind));
}
