//! Kafka's error codes: their names (`Errors`), and the one of a whole response where it stands at
//! the beginning, so that it is seen without reading on.

use super::header::response_body;
use super::table::Api;
use super::wire::Reader;

/// The code that says that nothing is wrong.
const NONE: i16 = 0;
const UNKNOWN_SERVER_ERROR: i16 = -1;

/// NOT_LEADER_OR_FOLLOWER: the client asked a broker that does not lead the partition.
pub(crate) const NOT_LEADER: i16 = 6;
/// REQUEST_TIMED_OUT: it may have been carried out.
pub(crate) const REQUEST_TIMED_OUT: i16 = 7;
/// NOT_COORDINATOR: the client asked a broker that does not coordinate the group or transaction.
pub(crate) const NOT_COORDINATOR: i16 = 16;
/// NOT_ENOUGH_REPLICAS: nothing was written, since too few would have it.
pub(crate) const NOT_ENOUGH_REPLICAS: i16 = 19;
/// NOT_ENOUGH_REPLICAS_AFTER_APPEND: it was written, and too few have it.
pub(crate) const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
/// KAFKA_STORAGE_ERROR: a disk of the broker has failed.
pub(crate) const KAFKA_STORAGE_ERROR: i16 = 56;

/// UNSUPPORTED_VERSION: the request is newer than the broker.
pub(crate) const UNSUPPORTED_VERSION: i16 = 35;

/// Every code that has a name, with it.
pub(crate) fn all() -> impl Iterator<Item = (i16, &'static str)> {
    (UNKNOWN_SERVER_ERROR..=i16::MAX)
        .take(NAMES.len() + 2)
        .filter(|code| *code != NONE)
        .map(|code| (code, name(code)))
}

/// The name of an error code, as `Errors` has it; `other` for one that Kafka 4.4 does not have.
pub(crate) fn name(code: i16) -> &'static str {
    if code == UNKNOWN_SERVER_ERROR {
        return "UNKNOWN_SERVER_ERROR";
    }
    let place = usize::try_from(code)
        .ok()
        .and_then(|code| code.checked_sub(1));
    place
        .and_then(|place| NAMES.get(place))
        .copied()
        .unwrap_or("other")
}

/// The error of a whole response, where it has one: `frame` begins with the response's length, and
/// is as much of it as has arrived. `None` where nothing is wrong, or the API says so only further
/// behind, or it has not arrived.
pub(crate) fn of_response(api: &Api, version: i16, frame: &[u8]) -> Option<i16> {
    let place = PLACES.iter().find(|place| place.key == api.key)?;
    if !(place.versions.0..=place.versions.1).contains(&version) {
        return None;
    }
    let mut reader = Reader::whole(response_body(api, version, frame)?);
    if version >= place.throttle_from {
        reader.int32().ok()?;
    }
    reader.int16().ok().filter(|error| *error != NONE)
}

/// Where an API has the error code of the whole response: first, or behind ThrottleTimeMs.
struct Place {
    key: i16,
    /// In which versions, inclusive.
    versions: (i16, i16),
    /// From which version on ThrottleTimeMs stands before it.
    throttle_from: i16,
}

/// No version has ThrottleTimeMs there.
const NEVER: i16 = i16::MAX;

const fn place(key: i16, versions: (i16, i16), throttle_from: i16) -> Place {
    Place {
        key,
        versions,
        throttle_from,
    }
}

#[rustfmt::skip] // Read as a table.
const PLACES: [Place; 19] = [
    place(1,  (7, 18), 1),     // Fetch
    place(10, (0, 3),  1),     // FindCoordinator
    place(11, (0, 9),  2),     // JoinGroup
    place(12, (0, 4),  1),     // Heartbeat
    place(13, (0, 5),  1),     // LeaveGroup
    place(14, (0, 5),  1),     // SyncGroup
    place(16, (0, 5),  1),     // ListGroups
    place(17, (0, 1),  NEVER), // SaslHandshake
    place(18, (0, 5),  NEVER), // ApiVersions
    place(22, (0, 6),  0),     // InitProducerId
    place(24, (4, 5),  0),     // AddPartitionsToTxn
    place(25, (0, 4),  0),     // AddOffsetsToTxn
    place(26, (0, 5),  0),     // EndTxn
    place(36, (0, 2),  NEVER), // SaslAuthenticate
    place(60, (0, 2),  0),     // DescribeCluster
    place(68, (0, 1),  0),     // ConsumerGroupHeartbeat
    place(76, (0, 1),  0),     // ShareGroupHeartbeat
    place(78, (0, 2),  0),     // ShareFetch
    place(79, (0, 2),  0),     // ShareAcknowledge
];

/// From code 1 on.
const NAMES: [&str; 136] = [
    "OFFSET_OUT_OF_RANGE",
    "CORRUPT_MESSAGE",
    "UNKNOWN_TOPIC_OR_PARTITION",
    "INVALID_FETCH_SIZE",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "REQUEST_TIMED_OUT",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "MESSAGE_TOO_LARGE",
    "STALE_CONTROLLER_EPOCH",
    "OFFSET_METADATA_TOO_LARGE",
    "NETWORK_EXCEPTION",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "COORDINATOR_NOT_AVAILABLE",
    "NOT_COORDINATOR",
    "INVALID_TOPIC_EXCEPTION",
    "RECORD_LIST_TOO_LARGE",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "INVALID_REQUIRED_ACKS",
    "ILLEGAL_GENERATION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "INVALID_GROUP_ID",
    "UNKNOWN_MEMBER_ID",
    "INVALID_SESSION_TIMEOUT",
    "REBALANCE_IN_PROGRESS",
    "INVALID_COMMIT_OFFSET_SIZE",
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "INVALID_TIMESTAMP",
    "UNSUPPORTED_SASL_MECHANISM",
    "ILLEGAL_SASL_STATE",
    "UNSUPPORTED_VERSION",
    "TOPIC_ALREADY_EXISTS",
    "INVALID_PARTITIONS",
    "INVALID_REPLICATION_FACTOR",
    "INVALID_REPLICA_ASSIGNMENT",
    "INVALID_CONFIG",
    "NOT_CONTROLLER",
    "INVALID_REQUEST",
    "UNSUPPORTED_FOR_MESSAGE_FORMAT",
    "POLICY_VIOLATION",
    "OUT_OF_ORDER_SEQUENCE_NUMBER",
    "DUPLICATE_SEQUENCE_NUMBER",
    "INVALID_PRODUCER_EPOCH",
    "INVALID_TXN_STATE",
    "INVALID_PRODUCER_ID_MAPPING",
    "INVALID_TRANSACTION_TIMEOUT",
    "CONCURRENT_TRANSACTIONS",
    "TRANSACTION_COORDINATOR_FENCED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "SECURITY_DISABLED",
    "OPERATION_NOT_ATTEMPTED",
    "KAFKA_STORAGE_ERROR",
    "LOG_DIR_NOT_FOUND",
    "SASL_AUTHENTICATION_FAILED",
    "UNKNOWN_PRODUCER_ID",
    "REASSIGNMENT_IN_PROGRESS",
    "DELEGATION_TOKEN_AUTH_DISABLED",
    "DELEGATION_TOKEN_NOT_FOUND",
    "DELEGATION_TOKEN_OWNER_MISMATCH",
    "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
    "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
    "DELEGATION_TOKEN_EXPIRED",
    "INVALID_PRINCIPAL_TYPE",
    "NON_EMPTY_GROUP",
    "GROUP_ID_NOT_FOUND",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "LISTENER_NOT_FOUND",
    "TOPIC_DELETION_DISABLED",
    "FENCED_LEADER_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "UNSUPPORTED_COMPRESSION_TYPE",
    "STALE_BROKER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "MEMBER_ID_REQUIRED",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "GROUP_MAX_SIZE_REACHED",
    "FENCED_INSTANCE_ID",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "ELECTION_NOT_NEEDED",
    "NO_REASSIGNMENT_IN_PROGRESS",
    "GROUP_SUBSCRIBED_TO_TOPIC",
    "INVALID_RECORD",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "PRODUCER_FENCED",
    "RESOURCE_NOT_FOUND",
    "DUPLICATE_RESOURCE",
    "UNACCEPTABLE_CREDENTIAL",
    "INCONSISTENT_VOTER_SET",
    "INVALID_UPDATE_VERSION",
    "FEATURE_UPDATE_FAILED",
    "PRINCIPAL_DESERIALIZATION_FAILURE",
    "SNAPSHOT_NOT_FOUND",
    "POSITION_OUT_OF_RANGE",
    "UNKNOWN_TOPIC_ID",
    "DUPLICATE_BROKER_REGISTRATION",
    "BROKER_ID_NOT_REGISTERED",
    "INCONSISTENT_TOPIC_ID",
    "INCONSISTENT_CLUSTER_ID",
    "TRANSACTIONAL_ID_NOT_FOUND",
    "FETCH_SESSION_TOPIC_ID_ERROR",
    "INELIGIBLE_REPLICA",
    "NEW_LEADER_ELECTED",
    "OFFSET_MOVED_TO_TIERED_STORAGE",
    "FENCED_MEMBER_EPOCH",
    "UNRELEASED_INSTANCE_ID",
    "UNSUPPORTED_ASSIGNOR",
    "STALE_MEMBER_EPOCH",
    "MISMATCHED_ENDPOINT_TYPE",
    "UNSUPPORTED_ENDPOINT_TYPE",
    "UNKNOWN_CONTROLLER_ID",
    "UNKNOWN_SUBSCRIPTION_ID",
    "TELEMETRY_TOO_LARGE",
    "INVALID_REGISTRATION",
    "TRANSACTION_ABORTABLE",
    "INVALID_RECORD_STATE",
    "SHARE_SESSION_NOT_FOUND",
    "INVALID_SHARE_SESSION_EPOCH",
    "FENCED_STATE_EPOCH",
    "INVALID_VOTER_KEY",
    "DUPLICATE_VOTER",
    "VOTER_NOT_FOUND",
    "INVALID_REGULAR_EXPRESSION",
    "REBOOTSTRAP_REQUIRED",
    "STREAMS_INVALID_TOPOLOGY",
    "STREAMS_INVALID_TOPOLOGY_EPOCH",
    "STREAMS_TOPOLOGY_FENCED",
    "SHARE_SESSION_LIMIT_REACHED",
    "GROUP_DELETION_FAILED",
    "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED",
    "CONTROLLER_ID_NOT_REGISTERED",
];

#[cfg(test)]
mod tests {
    use super::super::samples::close;
    use super::super::table;
    use super::*;
    use crate::protocol::rewrite::PREFIX_BYTES;
    use kafka_protocol::error::ResponseError;
    use kafka_protocol::messages::*;
    use kafka_protocol::protocol::{Encodable, Message};

    #[test]
    fn the_names_are_those_of_kafka() {
        let words = |name: &str| name.replace('_', "").to_ascii_lowercase();
        for code in -1..=133 {
            let Some(error) = ResponseError::try_from_code(code) else {
                continue;
            };
            assert_eq!(words(name(code)), words(&format!("{error:?}")), "{code}");
        }
        for code in [i16::MIN, -2, 0, 137, i16::MAX] {
            assert_eq!(name(code), "other", "{code}");
        }
    }

    /// Checks every version of an API that both this table and the crate know.
    fn check<T: Encodable + Message>(key: i16, response: &T) {
        let api = table::api(key).unwrap();
        let place = PLACES.iter().find(|place| place.key == key).unwrap();
        for version in T::VERSIONS.min..=T::VERSIONS.max {
            let mut frame = vec![0; PREFIX_BYTES];
            if api.header_versions(version).unwrap().response > 0 {
                frame.extend([1, 0, 2, 9, 9]); // one tag of two bytes
            }
            response.encode(&mut frame, version).unwrap();
            let frame = close(frame);
            let is_there = (place.versions.0..=place.versions.1).contains(&version);
            let expected = is_there.then_some(16);
            assert_eq!(
                of_response(api, version, &frame),
                expected,
                "{key} v{version}"
            );
            // Not one byte too few.
            let arrived: Vec<_> = (0..frame.len())
                .filter_map(|end| of_response(api, version, &frame[..end]))
                .collect();
            assert!(arrived.iter().all(|code| *code == 16), "{key} v{version}");
        }
    }

    #[test]
    fn the_error_of_a_whole_response_is_found_in_every_version() {
        macro_rules! check_all {
            ($($key:literal $response:ident),*) => {
                $(check($key, &$response::default().with_error_code(16));)*
            };
        }
        check_all!(
            1 FetchResponse, 11 JoinGroupResponse, 12 HeartbeatResponse, 13 LeaveGroupResponse,
            14 SyncGroupResponse, 16 ListGroupsResponse, 17 SaslHandshakeResponse,
            18 ApiVersionsResponse, 22 InitProducerIdResponse, 25 AddOffsetsToTxnResponse,
            26 EndTxnResponse, 36 SaslAuthenticateResponse, 60 DescribeClusterResponse,
            68 ConsumerGroupHeartbeatResponse, 76 ShareGroupHeartbeatResponse,
            78 ShareFetchResponse, 79 ShareAcknowledgeResponse
        );
    }

    #[test]
    fn a_response_in_which_nothing_is_wrong_or_nobody_knows_has_no_error() {
        let api = table::api(12).unwrap();
        let mut frame = vec![0; PREFIX_BYTES];
        HeartbeatResponse::default().encode(&mut frame, 3).unwrap();
        assert_eq!(of_response(api, 3, &close(frame)), None);
        let metadata = [0xff; 64];
        assert_eq!(of_response(table::METADATA, 13, &metadata), None);
    }
}
