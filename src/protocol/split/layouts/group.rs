//! Requests that name one group, which its coordinator serves.

use super::COORDINATED;
use crate::protocol::split::layout::{
    BYTES, EMPTY_ARRAY, ERROR, INT8, INT16, INT32, INT64, Layout, NAME, PARTITION, STRING,
    THROTTLE, TOPIC_ID, TOPIC_NAME, UUID, array, list, nullable, partitions, topics,
};

/// OffsetCommit (key 8) v0–v10.
pub(super) static OFFSET_COMMIT: Layout = Layout {
    key: 8,
    request: &[
        NAME,                    // GroupId
        INT32.since(1),          // GenerationIdOrMemberEpoch
        STRING.since(1),         // MemberId
        STRING.since(7),         // GroupInstanceId
        INT64.since(2).until(4), // RetentionTimeMs
        topics(&[
            TOPIC_ID.since(10),
            TOPIC_NAME.until(9),
            partitions(&[
                PARTITION,
                INT64,                   // CommittedOffset
                INT32.since(6),          // CommittedLeaderEpoch
                INT64.since(1).until(1), // CommitTimestamp
                STRING,                  // CommittedMetadata
            ]),
        ]),
    ],
    response: &[
        THROTTLE.since(3),
        topics(&[
            TOPIC_ID.since(10),
            TOPIC_NAME.until(9),
            partitions(&[PARTITION, ERROR]),
        ]),
    ],
    errors: COORDINATED,
};

/// JoinGroup (key 11) v0–v9.
pub(super) static JOIN_GROUP: Layout = Layout {
    key: 11,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE.since(2),
        ERROR,
        INT32.minus_one(),      // GenerationId
        STRING.since(7).null(), // ProtocolType
        STRING.null_since(7),   // ProtocolName
        STRING,                 // Leader
        INT8.since(9),          // SkipAssignment
        STRING,                 // MemberId
        EMPTY_ARRAY,            // Members
    ],
    errors: COORDINATED,
};

/// Heartbeat (key 12) v0–v4.
pub(super) static HEARTBEAT: Layout = Layout {
    key: 12,
    request: &[
        NAME, // GroupId
    ],
    response: &[THROTTLE.since(1), ERROR],
    errors: COORDINATED,
};

/// LeaveGroup (key 13) v0–v5.
pub(super) static LEAVE_GROUP: Layout = Layout {
    key: 13,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE.since(1),
        ERROR,
        EMPTY_ARRAY.since(3), // Members
    ],
    errors: COORDINATED,
};

/// SyncGroup (key 14) v0–v5.
pub(super) static SYNC_GROUP: Layout = Layout {
    key: 14,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE.since(1),
        ERROR,
        STRING.since(5).null(), // ProtocolType
        STRING.since(5).null(), // ProtocolName
        BYTES,                  // Assignment
    ],
    errors: COORDINATED,
};

/// OffsetDelete (key 47) v0.
pub(super) static OFFSET_DELETE: Layout = Layout {
    key: 47,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        ERROR,
        THROTTLE,
        EMPTY_ARRAY, // Topics
    ],
    errors: COORDINATED,
};

/// ConsumerGroupHeartbeat (key 68) v0–v1.
pub(super) static CONSUMER_GROUP_HEARTBEAT: Layout = Layout {
    key: 68,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(), // ErrorMessage
        STRING.null(), // MemberId
        INT32,         // MemberEpoch
        INT32,         // HeartbeatIntervalMs
        nullable(&[
            array(&[
                UUID,         // TopicId
                list(&INT32), // Partitions
            ]), // TopicPartitions
        ]), // Assignment
    ],
    errors: COORDINATED,
};

/// ShareGroupHeartbeat (key 76) v0–v1.
pub(super) static SHARE_GROUP_HEARTBEAT: Layout = Layout {
    key: 76,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(), // ErrorMessage
        STRING.null(), // MemberId
        INT32,         // MemberEpoch
        INT32,         // HeartbeatIntervalMs
        nullable(&[
            array(&[
                UUID,         // TopicId
                list(&INT32), // Partitions
            ]), // TopicPartitions
        ]), // Assignment
    ],
    errors: COORDINATED,
};

/// StreamsGroupHeartbeat (key 88) v0–v1.
pub(super) static STREAMS_GROUP_HEARTBEAT: Layout = Layout {
    key: 88,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(),              // ErrorMessage
        STRING,                     // MemberId
        INT32,                      // MemberEpoch
        INT32,                      // HeartbeatIntervalMs
        INT32.until(0),             // AcceptableRecoveryLagLegacy
        INT32,                      // TaskOffsetIntervalMs
        INT64.since(1).minus_one(), // AcceptableRecoveryLag
        EMPTY_ARRAY,                // Status
        array(&[
            STRING,       // SubtopologyId
            list(&INT32), // Partitions
        ]), // ActiveTasks
        array(&[
            STRING,       // SubtopologyId
            list(&INT32), // Partitions
        ]), // StandbyTasks
        array(&[
            STRING,       // SubtopologyId
            list(&INT32), // Partitions
        ]), // WarmupTasks
        INT8.since(1),              // TopologyDescriptionRequired
        INT32,                      // EndpointInformationEpoch
        EMPTY_ARRAY,                // PartitionsByUserEndpoint
    ],
    errors: COORDINATED,
};

/// StreamsGroupTopologyDescriptionUpdate (key 93) v0.
pub(super) static STREAMS_GROUP_TOPOLOGY_DESCRIPTION_UPDATE: Layout = Layout {
    key: 93,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(), // ErrorMessage
    ],
    errors: COORDINATED,
};

/// AlterShareGroupOffsets (key 91) v0.
pub(super) static ALTER_SHARE_GROUP_OFFSETS: Layout = Layout {
    key: 91,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(), // ErrorMessage
        EMPTY_ARRAY,   // Responses
    ],
    errors: COORDINATED,
};

/// DeleteShareGroupOffsets (key 92) v0.
pub(super) static DELETE_SHARE_GROUP_OFFSETS: Layout = Layout {
    key: 92,
    request: &[
        NAME, // GroupId
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(), // ErrorMessage
        EMPTY_ARRAY,   // Responses
    ],
    errors: COORDINATED,
};

/// TxnOffsetCommit (key 28) v0–v6.
pub(super) static TXN_OFFSET_COMMIT: Layout = Layout {
    key: 28,
    request: &[
        STRING,          // TransactionalId
        NAME,            // GroupId
        INT64,           // ProducerId
        INT16,           // ProducerEpoch
        INT32.since(3),  // GenerationIdOrMemberEpoch
        STRING.since(3), // MemberId
        STRING.since(3), // GroupInstanceId
        topics(&[
            TOPIC_ID.since(6),
            TOPIC_NAME.until(5),
            partitions(&[
                PARTITION,
                INT64,          // CommittedOffset
                INT32.since(2), // CommittedLeaderEpoch
                STRING,         // CommittedMetadata
            ]),
        ]),
    ],
    response: &[
        THROTTLE,
        topics(&[
            TOPIC_ID.since(6),
            TOPIC_NAME.until(5),
            partitions(&[PARTITION, ERROR]),
        ]),
    ],
    errors: COORDINATED,
};
