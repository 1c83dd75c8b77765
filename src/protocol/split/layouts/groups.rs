//! Requests that name several groups, each of which its coordinator serves.

use super::COORDINATED;
use crate::protocol::split::layout::{
    BYTES, ERROR, INT8, INT16, INT32, INT64, Layout, NAME, NAMES, PARTITION, PARTITION_LIST,
    STRING, THROTTLE, TOPIC_NAME, UUID, array, items, list, nullable, partitions, structure,
    topics,
};

/// OffsetFetch (key 9) v0–v10.
pub(super) static OFFSET_FETCH: Layout = Layout {
    key: 9,
    request: &[
        items(&[
            NAME,            // GroupId
            STRING.since(9), // MemberId
            INT32.since(9),  // MemberEpoch
            array(&[
                UUID.since(10),  // TopicId
                STRING.until(9), // Name
                list(&INT32),    // PartitionIndexes
            ]), // Topics
        ])
        .since(8),
        NAME.until(7), // GroupId
        topics(&[TOPIC_NAME, PARTITION_LIST]).until(7),
    ],
    response: &[
        THROTTLE.since(3),
        items(&[
            NAME, // GroupId
            array(&[
                UUID.since(10),  // TopicId
                STRING.until(9), // Name
                array(&[
                    INT32,  // PartitionIndex
                    INT64,  // CommittedOffset
                    INT32,  // CommittedLeaderEpoch
                    STRING, // Metadata
                    INT16,  // ErrorCode
                ]), // Partitions
            ]), // Topics
            ERROR,
        ])
        .since(8),
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                INT64.minus_one(),          // CommittedOffset
                INT32.since(5).minus_one(), // CommittedLeaderEpoch
                STRING,                     // Metadata
                ERROR,
            ]),
        ])
        .until(7),
        ERROR.since(2).until(7),
    ],
    errors: COORDINATED,
};

/// DescribeGroups (key 15) v0–v6.
pub(super) static DESCRIBE_GROUPS: Layout = Layout {
    key: 15,
    request: &[NAMES],
    response: &[
        THROTTLE.since(1),
        items(&[
            ERROR,
            STRING.since(6).null(), // ErrorMessage
            NAME,                   // GroupId
            STRING,                 // GroupState
            STRING,                 // ProtocolType
            STRING,                 // ProtocolData
            array(&[
                STRING,          // MemberId
                STRING.since(4), // GroupInstanceId
                STRING,          // ClientId
                STRING,          // ClientHost
                BYTES,           // MemberMetadata
                BYTES,           // MemberAssignment
            ]), // Members
            INT32.since(3).lowest(), // AuthorizedOperations
        ]),
    ],
    errors: COORDINATED,
};

/// DeleteGroups (key 42) v0–v3.
pub(super) static DELETE_GROUPS: Layout = Layout {
    key: 42,
    request: &[NAMES],
    response: &[
        THROTTLE,
        items(&[
            NAME, // GroupId
            ERROR,
            STRING.since(3).null(), // ErrorMessage
        ]),
    ],
    errors: COORDINATED,
};

/// ConsumerGroupDescribe (key 69) v0–v1.
pub(super) static CONSUMER_GROUP_DESCRIBE: Layout = Layout {
    key: 69,
    request: &[NAMES],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING.null(), // ErrorMessage
            NAME,          // GroupId
            STRING,        // GroupState
            INT32,         // GroupEpoch
            INT32,         // AssignmentEpoch
            STRING,        // AssignorName
            array(&[
                STRING,        // MemberId
                STRING,        // InstanceId
                STRING,        // RackId
                INT32,         // MemberEpoch
                STRING,        // ClientId
                STRING,        // ClientHost
                list(&STRING), // SubscribedTopicNames
                STRING,        // SubscribedTopicRegex
                structure(&[
                    array(&[
                        UUID,         // TopicId
                        STRING,       // TopicName
                        list(&INT32), // Partitions
                    ]), // TopicPartitions
                ]), // Assignment
                structure(&[
                    array(&[
                        UUID,         // TopicId
                        STRING,       // TopicName
                        list(&INT32), // Partitions
                    ]), // TopicPartitions
                ]), // TargetAssignment
                INT8.since(1), // MemberType
            ]), // Members
            INT32.lowest(), // AuthorizedOperations
        ]),
    ],
    errors: COORDINATED,
};

/// ShareGroupDescribe (key 77) v0–v1.
pub(super) static SHARE_GROUP_DESCRIBE: Layout = Layout {
    key: 77,
    request: &[NAMES],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING.null(), // ErrorMessage
            NAME,          // GroupId
            STRING,        // GroupState
            INT32,         // GroupEpoch
            INT32,         // AssignmentEpoch
            STRING,        // AssignorName
            array(&[
                STRING,        // MemberId
                STRING,        // RackId
                INT32,         // MemberEpoch
                STRING,        // ClientId
                STRING,        // ClientHost
                list(&STRING), // SubscribedTopicNames
                structure(&[
                    array(&[
                        UUID,         // TopicId
                        STRING,       // TopicName
                        list(&INT32), // Partitions
                    ]), // TopicPartitions
                ]), // Assignment
            ]), // Members
            INT32.lowest(), // AuthorizedOperations
        ]),
    ],
    errors: COORDINATED,
};

/// StreamsGroupDescribe (key 89) v0–v1.
pub(super) static STREAMS_GROUP_DESCRIBE: Layout = Layout {
    key: 89,
    request: &[NAMES],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING.null(), // ErrorMessage
            NAME,          // GroupId
            STRING,        // GroupState
            INT32,         // GroupEpoch
            INT32,         // AssignmentEpoch
            nullable(&[
                INT32, // Epoch
                array(&[
                    STRING,        // SubtopologyId
                    list(&STRING), // SourceTopics
                    list(&STRING), // RepartitionSinkTopics
                    array(&[
                        STRING, // Name
                        INT32,  // Partitions
                        INT16,  // ReplicationFactor
                        array(&[
                            STRING, // Key
                            STRING, // Value
                        ]), // TopicConfigs
                    ]), // StateChangelogTopics
                    array(&[
                        STRING, // Name
                        INT32,  // Partitions
                        INT16,  // ReplicationFactor
                        array(&[
                            STRING, // Key
                            STRING, // Value
                        ]), // TopicConfigs
                    ]), // RepartitionSourceTopics
                ]), // Subtopologies
            ]), // Topology
            array(&[
                STRING, // MemberId
                INT32,  // MemberEpoch
                STRING, // InstanceId
                STRING, // RackId
                STRING, // ClientId
                STRING, // ClientHost
                INT32,  // TopologyEpoch
                STRING, // ProcessId
                nullable(&[
                    STRING, // Host
                    INT16,  // Port
                ]), // UserEndpoint
                array(&[
                    STRING, // Key
                    STRING, // Value
                ]), // ClientTags
                array(&[
                    STRING, // SubtopologyId
                    INT32,  // Partition
                    INT64,  // Offset
                ]), // TaskOffsets
                array(&[
                    STRING, // SubtopologyId
                    INT32,  // Partition
                    INT64,  // Offset
                ]), // TaskEndOffsets
                structure(&[
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
                ]), // Assignment
                structure(&[
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
                ]), // TargetAssignment
                INT8,   // IsClassic
            ]), // Members
            INT32.lowest(), // AuthorizedOperations
            nullable(&[
                array(&[
                    STRING, // SubtopologyId
                    array(&[
                        STRING,        // Name
                        INT8,          // NodeType
                        list(&STRING), // SourceTopics
                        STRING,        // SinkTopic
                        list(&STRING), // Stores
                        list(&STRING), // Successors
                    ]), // Nodes
                ]), // Subtopologies
                array(&[
                    structure(&[
                        STRING,        // Name
                        INT8,          // NodeType
                        list(&STRING), // SourceTopics
                        STRING,        // SinkTopic
                        list(&STRING), // Stores
                        list(&STRING), // Successors
                    ]), // Source
                    structure(&[
                        STRING,        // Name
                        INT8,          // NodeType
                        list(&STRING), // SourceTopics
                        STRING,        // SinkTopic
                        list(&STRING), // Stores
                        list(&STRING), // Successors
                    ]), // Processor
                ]), // GlobalStores
            ])
            .since(1), // TopologyDescription
            INT8.since(1), // TopologyDescriptionStatus
            STRING.since(1).null(), // AssignorName
        ]),
    ],
    errors: COORDINATED,
};

/// DescribeShareGroupOffsets (key 90) v0–v1.
pub(super) static DESCRIBE_SHARE_GROUP_OFFSETS: Layout = Layout {
    key: 90,
    request: &[items(&[
        NAME, // GroupId
        array(&[
            STRING,       // TopicName
            list(&INT32), // Partitions
        ]), // Topics
    ])],
    response: &[
        THROTTLE,
        items(&[
            NAME, // GroupId
            array(&[
                STRING, // TopicName
                UUID,   // TopicId
                array(&[
                    INT32,          // PartitionIndex
                    INT64,          // StartOffset
                    INT32,          // LeaderEpoch
                    INT64.since(1), // Lag
                    INT16,          // ErrorCode
                    STRING,         // ErrorMessage
                ]), // Partitions
            ]), // Topics
            ERROR,
            STRING.null(), // ErrorMessage
        ]),
    ],
    errors: COORDINATED,
};
