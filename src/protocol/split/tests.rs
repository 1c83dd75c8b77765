//! What [`split`](super) promises, on requests and responses as the `kafka-protocol` crate writes
//! them. `tests/oracle/split.rs` asks Kafka's own classes, about every API and version.

mod properties;

use super::*;
use crate::protocol;
use crate::protocol::header;
use crate::protocol::table;
use bytes::{Buf, Bytes};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, GroupId, JoinGroupRequest, JoinGroupResponse, ListGroupsRequest,
    ListGroupsResponse, ProduceRequest, ProduceResponse, RequestHeader, ResponseHeader, TopicName,
    fetch_request as fetch, fetch_response as fetched, list_groups_response as groups,
    produce_request as produce, produce_response as produced,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const JOIN_GROUP: i16 = 11;
const LIST_GROUPS: i16 = 16;
const CORRELATION: i32 = 0x0102_0304;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

/// A request's frame without its length.
fn frame(key: i16, version: i16, body: &impl Encodable) -> Vec<u8> {
    let headers = table::api(key).unwrap().header_versions(version).unwrap();
    let mut frame = Vec::new();
    RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(text("client")))
        .encode(&mut frame, headers.request)
        .unwrap();
    body.encode(&mut frame, version).unwrap();
    frame
}

fn request(frame: &[u8]) -> Request<'_> {
    let header = header::read(frame, frame.len()).unwrap();
    Request {
        api: header.api.unwrap(),
        version: header.version,
        frame,
        body_at: header.body_at,
    }
}

/// What is behind the header of a piece, whose length and header are as they must be.
fn piece<T: Decodable>(of: &Request<'_>, piece: &[u8]) -> T {
    assert_eq!(piece[..4], (piece.len() as u32 - 4).to_be_bytes());
    assert_eq!(piece[4..][..of.body_at], of.frame[..of.body_at]);
    let mut body = Bytes::copy_from_slice(&piece[4 + of.body_at..]);
    let decoded = T::decode(&mut body, of.version).unwrap();
    assert!(body.is_empty(), "bytes behind the piece");
    decoded
}

fn response<T: Decodable>(of: &Request<'_>, response: &[u8]) -> T {
    assert_eq!(response[..4], (response.len() as u32 - 4).to_be_bytes());
    let mut rest = Bytes::copy_from_slice(&response[4..]);
    let headers = of.api.header_versions(of.version).unwrap();
    let header = ResponseHeader::decode(&mut rest, headers.response).unwrap();
    assert_eq!(header.correlation_id, CORRELATION);
    let decoded = T::decode(&mut rest, of.version).unwrap();
    assert!(!rest.has_remaining(), "bytes behind the response");
    decoded
}

fn body(version: i16, body: &impl Encodable) -> Vec<u8> {
    let mut bytes = Vec::new();
    body.encode(&mut bytes, version).unwrap();
    bytes
}

fn answered<'a>(keys: &'a [usize], body: &'a [u8]) -> Piece<'a> {
    Piece {
        node: None,
        keys,
        outcome: Outcome::Answered(body),
    }
}

fn failed(keys: &[usize], why: Failure) -> Piece<'_> {
    Piece {
        node: None,
        keys,
        outcome: Outcome::Failed(why),
    }
}

/// Topics `a` with partitions 0 and 1, `b` with partition 7; by id from v13 on.
fn produce_request(version: i16) -> ProduceRequest {
    let topic = |name: &str, indexes: &[i32]| {
        let partition = |index: &i32| {
            produce::PartitionProduceData::default()
                .with_index(*index)
                .with_records(Some(Bytes::from(format!("records of {name}-{index}"))))
        };
        let topic = produce::TopicProduceData::default()
            .with_partition_data(indexes.iter().map(partition).collect());
        if version >= 13 {
            topic.with_topic_id(id(name).parse().unwrap())
        } else {
            topic.with_name(self::topic(name))
        }
    };
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic("a", &[0, 1]), topic("b", &[7])])
}

/// A topic's id as UUIDs are written; its last byte is the name.
fn id(name: &str) -> String {
    format!(
        "00000000-0000-0000-0000-0000000000{:02x}",
        name.as_bytes()[0]
    )
}

fn topic_ref(name: &str, version: i16) -> TopicRef {
    if version >= 13 {
        let mut id = [0; 16];
        id[15] = name.as_bytes()[0];
        TopicRef::Id(id)
    } else {
        TopicRef::Name(name.into())
    }
}

fn partition_ref(name: &str, partition: i32, version: i16) -> PartitionRef {
    PartitionRef {
        topic: topic_ref(name, version),
        partition,
    }
}

/// A partition's answer: its offset shows who answered.
fn produce_response(version: i16, throttle_ms: i32, said: &[(&str, i32, i64)]) -> ProduceResponse {
    let mut response = ProduceResponse::default().with_throttle_time_ms(throttle_ms);
    for (name, index, offset) in said {
        let partition = produced::PartitionProduceResponse::default()
            .with_index(*index)
            .with_base_offset(*offset);
        let topic =
            produced::TopicProduceResponse::default().with_partition_responses(vec![partition]);
        response.responses.push(if version >= 13 {
            topic.with_topic_id(id(name).parse().unwrap())
        } else {
            topic.with_name(self::topic(name))
        });
    }
    response
}

/// Topic, partition, error and offset of each.
fn produced_partitions(response: &ProduceResponse) -> Vec<(String, i32, i16, i64)> {
    let mut said = Vec::new();
    for topic in &response.responses {
        let name = if topic.name.0.is_empty() {
            char::from(topic.topic_id.as_bytes()[15]).to_string()
        } else {
            topic.name.0.to_string()
        };
        for partition in &topic.partition_responses {
            let of = (partition.index, partition.error_code, partition.base_offset);
            said.push((name.clone(), of.0, of.1, of.2));
        }
    }
    said
}

#[test]
fn a_produce_goes_to_the_leaders_of_its_partitions_in_every_version() {
    for version in 3..=13 {
        let frame = frame(PRODUCE, version, &produce_request(version));
        let request = request(&frame);
        let expected = [("a", 0), ("a", 1), ("b", 7)];
        let expected = expected.map(|(name, index)| partition_ref(name, index, version));
        assert_eq!(
            request.needs(),
            Ok(Needs::Leaders(expected.to_vec())),
            "{version}"
        );

        let pieces = request.split(&[1, 0, 1], 2).unwrap();
        let [first, second] = pieces.as_slice() else {
            panic!("two pieces were wanted");
        };
        let mut whole = produce_request(version);
        let b = whole.topic_data.pop().unwrap();
        let mut a = whole.topic_data.pop().unwrap();
        let a_1 = a.partition_data.pop().unwrap();
        let with = |topics: Vec<produce::TopicProduceData>| whole.clone().with_topic_data(topics);
        let only_1 = a.clone().with_partition_data(vec![a_1]);
        assert_eq!(piece::<ProduceRequest>(&request, first), with(vec![only_1]));
        assert_eq!(piece::<ProduceRequest>(&request, second), with(vec![a, b]));
    }
}

#[test]
fn a_merged_produce_has_every_partition_once_in_order_and_the_longest_throttle() {
    for version in 3..=13 {
        let frame = frame(PRODUCE, version, &produce_request(version));
        let request = request(&frame);
        // The second broker also speaks of a partition that it was not asked for.
        let first = body(version, &produce_response(version, 5, &[("a", 1, 11)]));
        let said = [("b", 7, 27), ("a", 1, 99), ("a", 0, 20), ("c", 0, 99)];
        let second = body(version, &produce_response(version, 9, &said));
        let merged = request.merge(&[answered(&[1], &first), answered(&[0, 2], &second)]);
        let merged: ProduceResponse = response(&request, &merged.unwrap());
        assert_eq!(merged.throttle_time_ms, 9);
        let of = |name: &str, index, offset| (name.to_owned(), index, 0, offset);
        let expected = [of("a", 0, 20), of("a", 1, 11), of("b", 7, 27)];
        assert_eq!(produced_partitions(&merged), expected, "{version}");
    }
}

#[test]
fn a_batch_that_was_sent_may_be_there_and_one_that_was_not_is_not() {
    let frame = frame(PRODUCE, 9, &produce_request(9));
    let request = request(&frame);
    let pieces = [
        failed(&[0], Failure::Unanswered),
        failed(&[1], Failure::NotSent),
        failed(&[2], Failure::NoBroker),
    ];
    let merged: ProduceResponse = response(&request, &request.merge(&pieces).unwrap());
    let errors: Vec<_> = produced_partitions(&merged).iter().map(|of| of.2).collect();
    assert_eq!(errors, [7, 6, 6]);
}

#[test]
fn what_no_piece_has_was_not_sent_and_what_an_answer_lacks_may_have_been_done() {
    let frame = frame(PRODUCE, 9, &produce_request(9));
    let request = request(&frame);
    let empty = body(9, &produce_response(9, 0, &[]));
    let merged = request.merge(&[answered(&[0, 1], &empty)]).unwrap();
    let merged: ProduceResponse = response(&request, &merged);
    let errors: Vec<_> = produced_partitions(&merged).iter().map(|of| of.2).collect();
    assert_eq!(errors, [7, 7, 6]);
}

#[test]
fn the_first_partition_of_a_produce_is_known_before_its_records_are_there() {
    for version in 3..=13 {
        let frame = frame(PRODUCE, version, &produce_request(version));
        let of = request(&frame);
        let mut known_from = None;
        for arrived in 0..=frame.len() {
            let first = first_need(of.api, version, &frame[..arrived], frame.len(), of.body_at);
            match first {
                Ok(need) => {
                    assert_eq!(need, FirstNeed::Leader(partition_ref("a", 0, version)));
                    known_from = known_from.or(Some(arrived));
                }
                Err(unread) => assert_eq!(unread, Unread::Incomplete, "{version} {arrived}"),
            }
        }
        let records = frame
            .windows(7)
            .position(|bytes| bytes == b"records")
            .unwrap();
        assert!(known_from.unwrap() < records, "{version}: {known_from:?}");
    }
}

#[test]
fn the_pieces_of_a_fetch_have_no_session_and_share_what_the_client_can_take() {
    for version in 4..=17 {
        let topic = |name: &str| {
            let partition = fetch::FetchPartition::default().with_partition(3);
            let topic = fetch::FetchTopic::default().with_partitions(vec![partition]);
            if version >= 13 {
                topic.with_topic_id(id(name).parse().unwrap())
            } else {
                topic.with_topic(self::topic(name))
            }
        };
        let mut whole = FetchRequest::default()
            .with_min_bytes(1)
            .with_max_bytes(1000)
            .with_max_wait_ms(500)
            .with_topics(vec![topic("a"), topic("b")]);
        if version >= 7 {
            whole.session_epoch = 0;
            let forgotten = fetch::ForgottenTopic::default().with_partitions(vec![9]);
            whole.forgotten_topics_data = vec![forgotten];
        }
        let frame = frame(FETCH, version, &whole);
        let request = request(&frame);
        let expected = ["a", "b"].map(|name| partition_ref(name, 3, version));
        assert_eq!(request.needs(), Ok(Needs::Leaders(expected.to_vec())));
        let pieces = request.split(&[0, 1], 2).unwrap();
        for (name, bytes) in ["a", "b"].into_iter().zip(&pieces) {
            let mut expected = whole
                .clone()
                .with_max_bytes(500)
                .with_topics(vec![topic(name)]);
            expected.session_epoch = -1;
            expected.forgotten_topics_data = Vec::new();
            assert_eq!(
                piece::<FetchRequest>(&request, bytes),
                expected,
                "{version}"
            );
        }
    }
}

#[test]
fn a_fetch_that_continues_a_session_needs_the_broker_that_keeps_it() {
    let whole = FetchRequest::default()
        .with_session_id(77)
        .with_session_epoch(1);
    let frame = frame(FETCH, 12, &whole);
    let request = request(&frame);
    assert_eq!(request.needs(), Ok(Needs::FetchSession));
    let answer: FetchResponse = response(&request, &request.unknown_session().unwrap());
    assert_eq!(answer.error_code, 70);
    assert_eq!((answer.session_id, answer.responses.len()), (0, 0));
}

#[test]
fn a_fetched_partition_that_is_not_waited_for_has_neither_error_nor_records() {
    let topic = |name: &str| {
        let partition = fetch::FetchPartition::default().with_partition(0);
        fetch::FetchTopic::default()
            .with_topic(self::topic(name))
            .with_partitions(vec![partition])
    };
    let whole = FetchRequest::default().with_topics(vec![topic("a"), topic("b")]);
    let frame = frame(FETCH, 11, &whole);
    let request = request(&frame);
    let partition = fetched::PartitionData::default()
        .with_high_watermark(5)
        .with_records(Some(Bytes::from_static(b"records")));
    let said = fetched::FetchableTopicResponse::default()
        .with_topic(self::topic("b"))
        .with_partitions(vec![partition]);
    let said = FetchResponse::default()
        .with_session_id(9)
        .with_responses(vec![said]);
    let said = body(11, &said);
    let waiting = Piece {
        node: None,
        keys: &[0],
        outcome: Outcome::NothingYet,
    };
    let merged = request.merge(&[waiting, answered(&[1], &said)]).unwrap();
    let merged: FetchResponse = response(&request, &merged);
    assert_eq!((merged.error_code, merged.session_id), (0, 0));
    let [a, b] = merged.responses.as_slice() else {
        panic!("two topics were asked for");
    };
    assert_eq!(a.partitions[0].error_code, 0);
    assert_eq!(a.partitions[0].high_watermark, -1);
    assert_eq!(a.partitions[0].records.as_deref(), Some(&b""[..]));
    assert_eq!(b.partitions[0].high_watermark, 5);
    assert_eq!(b.partitions[0].records.as_deref(), Some(&b"records"[..]));
}

#[test]
fn what_a_group_asks_goes_to_its_coordinator_whole_and_fails_whole() {
    let join = JoinGroupRequest::default()
        .with_group_id(GroupId(text("shoppers")))
        .with_protocol_type(text("consumer"));
    let frame = frame(JOIN_GROUP, 7, &join);
    let request = request(&frame);
    let group = CoordinatorKind::Group;
    let expected = Needs::Coordinators(group, vec!["shoppers".into()]);
    assert_eq!(request.needs(), Ok(expected));
    let first = first_need(request.api, 7, &frame, frame.len(), request.body_at);
    assert_eq!(first, Ok(FirstNeed::Coordinator(group, "shoppers".into())));
    let pieces = request.split(&[0], 1).unwrap();
    assert_eq!(piece::<JoinGroupRequest>(&request, &pieces[0]), join);

    let failed = request.failed(Failure::NoBroker).unwrap();
    let failed: JoinGroupResponse = response(&request, &failed);
    assert_eq!((failed.error_code, failed.generation_id), (15, -1));
    let said = JoinGroupResponse::default().with_generation_id(4);
    let bytes = body(7, &said);
    let merged = request.merge(&[answered(&[0], &bytes)]).unwrap();
    assert_eq!(response::<JoinGroupResponse>(&request, &merged), said);
}

#[test]
fn a_list_of_all_brokers_has_each_group_once_and_is_an_error_if_one_fails() {
    for version in 0..=5 {
        let frame = frame(LIST_GROUPS, version, &ListGroupsRequest::default());
        let request = request(&frame);
        assert_eq!(request.needs(), Ok(Needs::All));
        let list = |names: &[&str]| {
            let group =
                |name: &&str| groups::ListedGroup::default().with_group_id(GroupId(text(name)));
            let listed = names.iter().map(group).collect();
            body(version, &ListGroupsResponse::default().with_groups(listed))
        };
        let [one, two] = [list(&["x", "y"]), list(&["y", "z"])];
        let merged = request.merge(&[answered(&[], &one), answered(&[], &two)]);
        let merged: ListGroupsResponse = response(&request, &merged.unwrap());
        let names: Vec<_> = merged
            .groups
            .iter()
            .map(|of| of.group_id.0.as_str())
            .collect();
        assert_eq!((merged.error_code, names), (0, vec!["x", "y", "z"]));

        let down = failed(&[], Failure::Unanswered);
        let merged = request.merge(&[answered(&[], &one), down]).unwrap();
        let merged: ListGroupsResponse = response(&request, &merged);
        assert_eq!(
            (merged.error_code, merged.groups.len()),
            (15, 0),
            "{version}"
        );
    }
}

#[test]
fn a_request_with_more_keys_than_there_is_room_for_is_refused() {
    let partitions = |count: i32| {
        let topic = produce::TopicProduceData::default().with_partition_data(
            (0..count)
                .map(|index| produce::PartitionProduceData::default().with_index(index))
                .collect(),
        );
        frame(
            PRODUCE,
            9,
            &ProduceRequest::default().with_topic_data(vec![topic]),
        )
    };
    let most = 1 << 18;
    assert!(request(&partitions(most)).needs().is_ok());
    let frame = partitions(most + 1);
    assert_eq!(request(&frame).needs(), Err(Malformed::TooManyKeys));
}

/// A frame that begins as a request of an API and version does.
fn headed(key: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let headers = table::api(key).unwrap().header_versions(version).unwrap();
    let mut frame = [&key.to_be_bytes()[..], &version.to_be_bytes(), &[0; 6]].concat();
    if headers.request >= 2 {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame
}

/// Bytes that are often lengths and counts.
fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => 0..4u8, 1 => any::<u8>()];
    prop::collection::vec(byte, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_bytes_upset_it(
        (key, version) in (0..95i16).prop_flat_map(|key| {
            let versions = table::api(key).unwrap().versions;
            // ControlledShutdown 0 has a header of its own.
            (Just(key), versions.min.max(i16::from(key == 7))..=versions.max)
        }),
        request in any_bytes(),
        answer in any_bytes(),
    ) {
        properties::check(&headed(key, version, &request), &answer);
    }

    #[test]
    fn no_change_to_a_valid_request_upsets_it(
        version in 3..=13i16,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        in_answer in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut frame = frame(PRODUCE, version, &produce_request(version));
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let said = [("a", 0, 20), ("a", 1, 11), ("b", 7, 27)];
        let mut answer = body(version, &produce_response(version, 5, &said));
        for (at, byte) in in_answer {
            let at = at.index(answer.len());
            answer[at] = byte;
        }
        properties::check(&frame, &answer);
    }
}
