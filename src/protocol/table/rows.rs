//! The rows, in the order of their keys. Versions are those valid in any of Kafka 3.9.2, 4.3.1 and
//! 4.4.0, from the lowest to the highest, with the ones flagged `latestVersionUnstable`: a broker
//! serves those when told to, and their schemas were looked at too. `tests/schema_guard.rs`
//! compares every row with the schemas inside the kafka-clients jars.
//!
//! What is not plain from the row:
//! * Produce begins at 0 although Kafka 4 refuses 0–2: brokers go on advertising 0 (KAFKA-18659),
//!   because older librdkafka turns compression off when it finds no overlap. An intersection with
//!   this row keeps the broker's 0.
//! * WriteTxnMarkers is between brokers by nature, yet `kafka-transactions abort` sends it; brokers
//!   guard it with CLUSTER_ACTION. AddPartitionsToTxn 4 and 5 are for brokers alone and guarded
//!   likewise; clients stop at 3 by themselves.
//! * The share group state APIs (83–87) stand on the broker listener, but only share coordinators
//!   and leaders use them.
//! * 4–7 died with ZooKeeper (Kafka 4.0); brokers up to 3.9 still have them.
//! * AlterReplicaLogDirs and DescribeLogDirs name no broker: whichever gets them acts on the
//!   replicas that it holds.
//! * Telemetry (KIP-714) is state of one broker about one connection.
//! * OffsetFetch up to 7 names one group, from 8 on a list.

use super::Route::{
    All, Any, Connection, GroupCoordinator, GroupCoordinators, Node, PartitionLeader,
    TransactionCoordinator, TransactionCoordinators,
};
use super::Treatment::{Authenticate, Handshake, Negotiate, Opaque, Refuse};
use super::{Api, Route, Treatment, Versions};
use crate::protocol::schema::Schema;
use crate::protocol::schema::responses::{
    DESCRIBE_CLUSTER, DESCRIBE_CONFIGS, DESCRIBE_QUORUM, FETCH, FIND_COORDINATOR, METADATA,
    PRODUCE, SHARE_ACKNOWLEDGE, SHARE_FETCH,
};

/// Every api key of Kafka up to 4.4; the row of key `k` is `APIS[k]`.
#[rustfmt::skip] // Read as a table, one line per API.
pub static APIS: [Api; 95] = [
    //  key name                                     versions  flexible  treatment
    //  route
    row(0,  "Produce",                               v(0, 13), flex(9),  rewrite(10, &PRODUCE),           PartitionLeader),
    row(1,  "Fetch",                                 v(0, 18), flex(12), rewrite(16, &FETCH),             PartitionLeader),
    row(2,  "ListOffsets",                           v(0, 11), flex(6),  Opaque,                          PartitionLeader),
    row(3,  "Metadata",                              v(0, 13), flex(9),  rewrite(0, &METADATA),           Any),
    row(4,  "LeaderAndIsr",                          v(0, 7),  flex(4),  Refuse,                          Route::None),
    row(5,  "StopReplica",                           v(0, 4),  flex(2),  Refuse,                          Route::None),
    row(6,  "UpdateMetadata",                        v(0, 8),  flex(6),  Refuse,                          Route::None),
    row(7,  "ControlledShutdown",                    v(0, 3),  flex(3),  Refuse,                          Route::None),
    row(8,  "OffsetCommit",                          v(0, 10), flex(8),  Opaque,                          GroupCoordinator),
    row(9,  "OffsetFetch",                           v(0, 10), flex(6),  Opaque,                          GroupCoordinators),
    row(10, "FindCoordinator",                       v(0, 6),  flex(3),  rewrite(0, &FIND_COORDINATOR),   Any),
    row(11, "JoinGroup",                             v(0, 9),  flex(6),  Opaque,                          GroupCoordinator),
    row(12, "Heartbeat",                             v(0, 4),  flex(4),  Opaque,                          GroupCoordinator),
    row(13, "LeaveGroup",                            v(0, 5),  flex(4),  Opaque,                          GroupCoordinator),
    row(14, "SyncGroup",                             v(0, 5),  flex(4),  Opaque,                          GroupCoordinator),
    row(15, "DescribeGroups",                        v(0, 6),  flex(5),  Opaque,                          GroupCoordinators),
    row(16, "ListGroups",                            v(0, 5),  flex(3),  Opaque,                          All),
    row(17, "SaslHandshake",                         v(0, 1),  NEVER,    Handshake,                       Connection),
    row(18, "ApiVersions",                           v(0, 5),  flex(3),  Negotiate,                       Connection),
    row(19, "CreateTopics",                          v(0, 7),  flex(5),  Opaque,                          Any),
    row(20, "DeleteTopics",                          v(0, 6),  flex(4),  Opaque,                          Any),
    row(21, "DeleteRecords",                         v(0, 2),  flex(2),  Opaque,                          PartitionLeader),
    row(22, "InitProducerId",                        v(0, 6),  flex(2),  Opaque,                          TransactionCoordinator),
    row(23, "OffsetForLeaderEpoch",                  v(0, 4),  flex(4),  Opaque,                          PartitionLeader),
    row(24, "AddPartitionsToTxn",                    v(0, 5),  flex(3),  Opaque,                          TransactionCoordinator),
    row(25, "AddOffsetsToTxn",                       v(0, 4),  flex(3),  Opaque,                          TransactionCoordinator),
    row(26, "EndTxn",                                v(0, 5),  flex(3),  Opaque,                          TransactionCoordinator),
    row(27, "WriteTxnMarkers",                       v(0, 2),  flex(1),  Opaque,                          PartitionLeader),
    row(28, "TxnOffsetCommit",                       v(0, 6),  flex(3),  Opaque,                          GroupCoordinator),
    row(29, "DescribeAcls",                          v(0, 3),  flex(2),  Opaque,                          Any),
    row(30, "CreateAcls",                            v(0, 3),  flex(2),  Opaque,                          Any),
    row(31, "DeleteAcls",                            v(0, 3),  flex(2),  Opaque,                          Any),
    row(32, "DescribeConfigs",                       v(0, 4),  flex(4),  mask(&DESCRIBE_CONFIGS),         Node),
    row(33, "AlterConfigs",                          v(0, 2),  flex(2),  Opaque,                          Node),
    row(34, "AlterReplicaLogDirs",                   v(0, 2),  flex(2),  Opaque,                          All),
    row(35, "DescribeLogDirs",                       v(0, 5),  flex(2),  Opaque,                          All),
    row(36, "SaslAuthenticate",                      v(0, 2),  flex(2),  Authenticate,                    Connection),
    row(37, "CreatePartitions",                      v(0, 3),  flex(2),  Opaque,                          Any),
    row(38, "CreateDelegationToken",                 v(0, 3),  flex(2),  Opaque,                          Any),
    row(39, "RenewDelegationToken",                  v(0, 2),  flex(2),  Opaque,                          Any),
    row(40, "ExpireDelegationToken",                 v(0, 2),  flex(2),  Opaque,                          Any),
    row(41, "DescribeDelegationToken",               v(0, 3),  flex(2),  Opaque,                          Any),
    row(42, "DeleteGroups",                          v(0, 3),  flex(2),  Opaque,                          GroupCoordinators),
    row(43, "ElectLeaders",                          v(0, 2),  flex(2),  Opaque,                          Any),
    row(44, "IncrementalAlterConfigs",               v(0, 1),  flex(1),  Opaque,                          Node),
    row(45, "AlterPartitionReassignments",           v(0, 1),  flex(0),  Opaque,                          Any),
    row(46, "ListPartitionReassignments",            v(0, 0),  flex(0),  Opaque,                          Any),
    row(47, "OffsetDelete",                          v(0, 0),  NEVER,    Opaque,                          GroupCoordinator),
    row(48, "DescribeClientQuotas",                  v(0, 1),  flex(1),  Opaque,                          Any),
    row(49, "AlterClientQuotas",                     v(0, 1),  flex(1),  Opaque,                          Any),
    row(50, "DescribeUserScramCredentials",          v(0, 0),  flex(0),  Opaque,                          Any),
    row(51, "AlterUserScramCredentials",             v(0, 0),  flex(0),  Opaque,                          Any),
    row(52, "Vote",                                  v(0, 2),  flex(0),  Refuse,                          Route::None),
    row(53, "BeginQuorumEpoch",                      v(0, 1),  flex(1),  Refuse,                          Route::None),
    row(54, "EndQuorumEpoch",                        v(0, 1),  flex(1),  Refuse,                          Route::None),
    row(55, "DescribeQuorum",                        v(0, 2),  flex(0),  rewrite(2, &DESCRIBE_QUORUM),    Any),
    row(56, "AlterPartition",                        v(0, 3),  flex(0),  Refuse,                          Route::None),
    row(57, "UpdateFeatures",                        v(0, 2),  flex(0),  Opaque,                          Any),
    row(58, "Envelope",                              v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(59, "FetchSnapshot",                         v(0, 1),  flex(0),  Refuse,                          Route::None),
    row(60, "DescribeCluster",                       v(0, 2),  flex(0),  rewrite(0, &DESCRIBE_CLUSTER),   Any),
    row(61, "DescribeProducers",                     v(0, 0),  flex(0),  Opaque,                          PartitionLeader),
    row(62, "BrokerRegistration",                    v(0, 4),  flex(0),  Refuse,                          Route::None),
    row(63, "BrokerHeartbeat",                       v(0, 2),  flex(0),  Refuse,                          Route::None),
    row(64, "UnregisterBroker",                      v(0, 0),  flex(0),  Opaque,                          Any),
    row(65, "DescribeTransactions",                  v(0, 0),  flex(0),  Opaque,                          TransactionCoordinators),
    row(66, "ListTransactions",                      v(0, 2),  flex(0),  Opaque,                          All),
    row(67, "AllocateProducerIds",                   v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(68, "ConsumerGroupHeartbeat",                v(0, 1),  flex(0),  Opaque,                          GroupCoordinator),
    row(69, "ConsumerGroupDescribe",                 v(0, 1),  flex(0),  Opaque,                          GroupCoordinators),
    row(70, "ControllerRegistration",                v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(71, "GetTelemetrySubscriptions",             v(0, 0),  flex(0),  Opaque,                          Connection),
    row(72, "PushTelemetry",                         v(0, 0),  flex(0),  Opaque,                          Connection),
    row(73, "AssignReplicasToDirs",                  v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(74, "ListConfigResources",                   v(0, 1),  flex(0),  Opaque,                          Any),
    row(75, "DescribeTopicPartitions",               v(0, 0),  flex(0),  Opaque,                          Any),
    row(76, "ShareGroupHeartbeat",                   v(0, 1),  flex(0),  Opaque,                          GroupCoordinator),
    row(77, "ShareGroupDescribe",                    v(0, 1),  flex(0),  Opaque,                          GroupCoordinators),
    row(78, "ShareFetch",                            v(0, 2),  flex(0),  rewrite(0, &SHARE_FETCH),        PartitionLeader),
    row(79, "ShareAcknowledge",                      v(0, 2),  flex(0),  rewrite(0, &SHARE_ACKNOWLEDGE),  PartitionLeader),
    row(80, "AddRaftVoter",                          v(0, 1),  flex(0),  Opaque,                          Any),
    row(81, "RemoveRaftVoter",                       v(0, 0),  flex(0),  Opaque,                          Any),
    row(82, "UpdateRaftVoter",                       v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(83, "InitializeShareGroupState",             v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(84, "ReadShareGroupState",                   v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(85, "WriteShareGroupState",                  v(0, 1),  flex(0),  Refuse,                          Route::None),
    row(86, "DeleteShareGroupState",                 v(0, 0),  flex(0),  Refuse,                          Route::None),
    row(87, "ReadShareGroupStateSummary",            v(0, 1),  flex(0),  Refuse,                          Route::None),
    row(88, "StreamsGroupHeartbeat",                 v(0, 1),  flex(0),  Opaque,                          GroupCoordinator),
    row(89, "StreamsGroupDescribe",                  v(0, 1),  flex(0),  Opaque,                          GroupCoordinators),
    row(90, "DescribeShareGroupOffsets",             v(0, 1),  flex(0),  Opaque,                          GroupCoordinators),
    row(91, "AlterShareGroupOffsets",                v(0, 0),  flex(0),  Opaque,                          GroupCoordinator),
    row(92, "DeleteShareGroupOffsets",               v(0, 0),  flex(0),  Opaque,                          GroupCoordinator),
    row(93, "StreamsGroupTopologyDescriptionUpdate", v(0, 0),  flex(0),  Opaque,                          GroupCoordinator),
    row(94, "UnregisterController",                  v(0, 0),  flex(0),  Opaque,                          Any),
];

const NEVER: Option<i16> = None;

const fn row(
    key: i16,
    name: &'static str,
    versions: Versions,
    flexible_from: Option<i16>,
    treatment: Treatment,
    route: Route,
) -> Api {
    Api {
        key,
        name,
        versions,
        flexible_from,
        treatment,
        route,
    }
}

const fn rewrite(from: i16, schema: &'static Schema) -> Treatment {
    Treatment::Rewrite { from, schema }
}

const fn mask(schema: &'static Schema) -> Treatment {
    Treatment::Mask { schema }
}

const fn v(min: i16, max: i16) -> Versions {
    Versions { min, max }
}

const fn flex(from: i16) -> Option<i16> {
    Some(from)
}
