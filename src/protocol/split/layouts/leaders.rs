//! Requests that leaders of partitions serve.

use super::{LED, PRODUCED, SHARED};
use crate::protocol::split::layout::{
    BYTES, CURRENT_LEADER, EMPTY_ARRAY, ERROR, FETCH_ERROR, INT8, INT16, INT32, INT64, Layout,
    MAX_BYTES, MIN_BYTES, NODE_ENDPOINTS, PARTITION, PARTITION_LIST, PREFERRED_REPLICA, RACK,
    RECORDS, SESSION_EPOCH, SESSION_ID, STRING, THROTTLE, TOPIC_ID, TOPIC_NAME, UUID, array,
    forgotten, list, partitions, topics,
};

/// Produce (key 0) v0–v13.
pub(super) static PRODUCE: Layout = Layout {
    key: 0,
    request: &[
        STRING.since(3), // TransactionalId
        INT16,           // Acks
        INT32,           // TimeoutMs
        topics(&[
            TOPIC_ID.since(13),
            TOPIC_NAME.until(12),
            partitions(&[
                PARTITION, BYTES, // Records
            ]),
        ]),
    ],
    response: &[
        topics(&[
            TOPIC_ID.since(13),
            TOPIC_NAME.until(12),
            partitions(&[
                PARTITION,
                ERROR,
                INT64.minus_one(),          // BaseOffset
                INT64.since(2).minus_one(), // LogAppendTimeMs
                INT64.since(5).minus_one(), // LogStartOffset
                array(&[
                    INT32,  // BatchIndex
                    STRING, // BatchIndexErrorMessage
                ])
                .since(8), // RecordErrors
                STRING.since(8).null(),     // ErrorMessage
                CURRENT_LEADER.since(10).tagged(0),
            ]),
        ]),
        THROTTLE.since(1),
        NODE_ENDPOINTS.since(10).tagged(0),
    ],
    errors: PRODUCED,
};

/// Fetch (key 1) v0–v18.
pub(super) static FETCH: Layout = Layout {
    key: 1,
    request: &[
        INT32.until(14), // ReplicaId
        INT32,           // MaxWaitMs
        MIN_BYTES,
        MAX_BYTES.since(3),
        INT8.since(4), // IsolationLevel
        SESSION_ID.since(7),
        SESSION_EPOCH.since(7),
        topics(&[
            TOPIC_ID.since(13),
            TOPIC_NAME.until(12),
            partitions(&[
                PARTITION,
                INT32.since(9),  // CurrentLeaderEpoch
                INT64,           // FetchOffset
                INT32.since(12), // LastFetchedEpoch
                INT64.since(5),  // LogStartOffset
                INT32,           // PartitionMaxBytes
            ]),
        ]),
        forgotten(&[
            UUID.since(13),   // TopicId
            STRING.until(12), // Topic
            list(&INT32),     // Partitions
        ])
        .since(7), // ForgottenTopicsData
        RACK.since(11),
    ],
    response: &[
        THROTTLE.since(1),
        FETCH_ERROR.since(7),
        SESSION_ID.since(7),
        topics(&[
            TOPIC_ID.since(13),
            TOPIC_NAME.until(12),
            partitions(&[
                PARTITION,
                ERROR,
                INT64.minus_one(),          // HighWatermark
                INT64.since(4).minus_one(), // LastStableOffset
                INT64.since(5).minus_one(), // LogStartOffset
                CURRENT_LEADER.since(12).tagged(1),
                array(&[
                    INT64, // ProducerId
                    INT64, // FirstOffset
                ])
                .since(4), // AbortedTransactions
                PREFERRED_REPLICA.since(11).minus_one(),
                RECORDS,
            ]),
        ]),
        NODE_ENDPOINTS.since(16).tagged(0),
    ],
    errors: LED,
};

/// ListOffsets (key 2) v0–v11.
pub(super) static LIST_OFFSETS: Layout = Layout {
    key: 2,
    request: &[
        INT32,         // ReplicaId
        INT8.since(2), // IsolationLevel
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                INT32.since(4), // CurrentLeaderEpoch
                INT64,          // Timestamp
                INT32.until(0), // MaxNumOffsets
            ]),
        ]),
    ],
    response: &[
        THROTTLE.since(2),
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                ERROR,
                INT64.since(1).minus_one(), // Timestamp
                INT64.since(1).minus_one(), // Offset
                INT32.since(4).minus_one(), // LeaderEpoch
                list(&INT64).until(0),      // OldStyleOffsets
            ]),
        ]),
    ],
    errors: LED,
};

/// DeleteRecords (key 21) v0–v2.
pub(super) static DELETE_RECORDS: Layout = Layout {
    key: 21,
    request: &[topics(&[
        TOPIC_NAME,
        partitions(&[
            PARTITION, INT64, // Offset
        ]),
    ])],
    response: &[
        THROTTLE,
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                INT64.minus_one(), // LowWatermark
                ERROR,
            ]),
        ]),
    ],
    errors: LED,
};

/// OffsetForLeaderEpoch (key 23) v0–v4.
pub(super) static OFFSET_FOR_LEADER_EPOCH: Layout = Layout {
    key: 23,
    request: &[
        INT32.since(3), // ReplicaId
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                INT32.since(2), // CurrentLeaderEpoch
                INT32,          // LeaderEpoch
            ]),
        ]),
    ],
    response: &[
        THROTTLE.since(2),
        topics(&[
            TOPIC_NAME,
            partitions(&[
                ERROR,
                PARTITION,
                INT32.since(1).minus_one(), // LeaderEpoch
                INT64.minus_one(),          // EndOffset
            ]),
        ]),
    ],
    errors: LED,
};

/// DescribeProducers (key 61) v0.
pub(super) static DESCRIBE_PRODUCERS: Layout = Layout {
    key: 61,
    request: &[topics(&[TOPIC_NAME, PARTITION_LIST])],
    response: &[
        THROTTLE,
        topics(&[
            TOPIC_NAME,
            partitions(&[
                PARTITION,
                ERROR,
                STRING.null(), // ErrorMessage
                array(&[
                    INT64, // ProducerId
                    INT32, // ProducerEpoch
                    INT32, // LastSequence
                    INT64, // LastTimestamp
                    INT32, // CoordinatorEpoch
                    INT64, // CurrentTxnStartOffset
                ]), // ActiveProducers
            ]),
        ]),
    ],
    errors: LED,
};

/// ShareFetch (key 78) v0–v2.
pub(super) static SHARE_FETCH: Layout = Layout {
    key: 78,
    request: &[
        STRING,         // GroupId
        STRING,         // MemberId
        INT32,          // ShareSessionEpoch
        INT32,          // MaxWaitMs
        INT32,          // MinBytes
        INT32,          // MaxBytes
        INT32.since(1), // MaxRecords
        INT32.since(1), // BatchSize
        INT8.since(2),  // ShareAcquireMode
        INT8.since(2),  // IsRenewAck
        topics(&[
            TOPIC_ID,
            partitions(&[
                PARTITION,
                INT32.until(0), // PartitionMaxBytes
                array(&[
                    INT64,       // FirstOffset
                    INT64,       // LastOffset
                    list(&INT8), // AcknowledgeTypes
                ]), // AcknowledgementBatches
            ]),
        ]),
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(),  // ErrorMessage
        INT32.since(1), // AcquisitionLockTimeoutMs
        EMPTY_ARRAY,    // Responses
        EMPTY_ARRAY,    // NodeEndpoints
    ],
    errors: SHARED,
};

/// ShareAcknowledge (key 79) v0–v2.
pub(super) static SHARE_ACKNOWLEDGE: Layout = Layout {
    key: 79,
    request: &[
        STRING,        // GroupId
        STRING,        // MemberId
        INT32,         // ShareSessionEpoch
        INT8.since(2), // IsRenewAck
        topics(&[
            TOPIC_ID,
            partitions(&[
                PARTITION,
                array(&[
                    INT64,       // FirstOffset
                    INT64,       // LastOffset
                    list(&INT8), // AcknowledgeTypes
                ]), // AcknowledgementBatches
            ]),
        ]),
    ],
    response: &[
        THROTTLE,
        ERROR,
        STRING.null(),  // ErrorMessage
        INT32.since(2), // AcquisitionLockTimeoutMs
        EMPTY_ARRAY,    // Responses
        EMPTY_ARRAY,    // NodeEndpoints
    ],
    errors: SHARED,
};
