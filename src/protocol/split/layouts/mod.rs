//! Where keys stand in requests and responses, API by API, from the message schemas of Kafka 3.9.2
//! and 4.4.0, and what is said of a key whose broker gave no answer.
//!
//! WriteTxnMarkers and what any broker serves are not here. The tests of `tests/oracle` read what
//! is written by these layouts with Kafka's own classes, in every version.

mod brokers;
mod group;
mod groups;
mod leaders;
mod transactions;

use super::layout::{Errors, Layout};
use crate::protocol::errors::{NOT_COORDINATOR, NOT_LEADER, REQUEST_TIMED_OUT};

/// The layout of an API, if its requests name keys or go to every broker.
pub(super) fn layout(key: i16) -> Option<&'static Layout> {
    LAYOUTS.iter().copied().find(|layout| layout.key == key)
}

/// All of them.
pub(super) static LAYOUTS: [&Layout; 40] = [
    &leaders::PRODUCE,
    &leaders::FETCH,
    &leaders::LIST_OFFSETS,
    &leaders::DELETE_RECORDS,
    &leaders::OFFSET_FOR_LEADER_EPOCH,
    &leaders::DESCRIBE_PRODUCERS,
    &leaders::SHARE_FETCH,
    &leaders::SHARE_ACKNOWLEDGE,
    &group::OFFSET_COMMIT,
    &group::JOIN_GROUP,
    &group::HEARTBEAT,
    &group::LEAVE_GROUP,
    &group::SYNC_GROUP,
    &group::OFFSET_DELETE,
    &group::CONSUMER_GROUP_HEARTBEAT,
    &group::SHARE_GROUP_HEARTBEAT,
    &group::STREAMS_GROUP_HEARTBEAT,
    &group::STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE,
    &group::ALTER_SHARE_GROUP_OFFSETS,
    &group::DELETE_SHARE_GROUP_OFFSETS,
    &group::TXN_OFFSET_COMMIT,
    &groups::OFFSET_FETCH,
    &groups::DESCRIBE_GROUPS,
    &groups::DELETE_GROUPS,
    &groups::CONSUMER_GROUP_DESCRIBE,
    &groups::SHARE_GROUP_DESCRIBE,
    &groups::STREAMS_GROUP_DESCRIBE,
    &groups::DESCRIBE_SHARE_GROUP_OFFSETS,
    &transactions::INIT_PRODUCER_ID,
    &transactions::ADD_PARTITIONS_TO_TXN,
    &transactions::ADD_OFFSETS_TO_TXN,
    &transactions::END_TXN,
    &transactions::DESCRIBE_TRANSACTIONS,
    &brokers::LIST_GROUPS,
    &brokers::LIST_TRANSACTIONS,
    &brokers::DESCRIBE_LOG_DIRS,
    &brokers::ALTER_REPLICA_LOG_DIRS,
    &brokers::DESCRIBE_CONFIGS,
    &brokers::ALTER_CONFIGS,
    &brokers::INCREMENTAL_ALTER_CONFIGS,
];

const BROKER_NOT_AVAILABLE: i16 = 8;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const SHARE_SESSION_NOT_FOUND: i16 = 122;

/// A batch that was sent may stand in the log: REQUEST_TIMED_OUT says so. NETWORK_EXCEPTION must
/// not be said, which librdkafka takes for "not persisted" and sarama for final.
const PRODUCED: Errors = Errors {
    unanswered: REQUEST_TIMED_OUT,
    ..LED
};

/// Clients look up the leader and ask again. Of the errors of a Fetch, Java takes few for
/// retriable: this is one, LEADER_NOT_AVAILABLE is not.
const LED: Errors = Errors::always(NOT_LEADER);

/// A share session is one broker's, and so is every request of it: the client begins a new one.
const SHARED: Errors = Errors::always(SHARE_SESSION_NOT_FOUND);

/// Clients look up the coordinator and ask again, as they do when its connection is lost.
const COORDINATED: Errors = Errors {
    no_broker: COORDINATOR_NOT_AVAILABLE,
    ..Errors::always(NOT_COORDINATOR)
};

/// A list without what one broker has would be taken for the whole. Clients ask again.
const LISTED_GROUPS: Errors = Errors::always(COORDINATOR_NOT_AVAILABLE);

/// The only error of ListTransactions that Java's admin client takes for retriable.
const LISTED_TRANSACTIONS: Errors = Errors::always(COORDINATOR_LOAD_IN_PROGRESS);

/// It may have been carried out, and can be asked for again.
const ADMINISTERED: Errors = Errors::always(REQUEST_TIMED_OUT);

/// Clients don't ask again. REPLICA_NOT_AVAILABLE would be taken for "moved once it is there".
const MOVED_ON_ONE: Errors = Errors {
    no_broker: BROKER_NOT_AVAILABLE,
    ..ADMINISTERED
};
