//! Requests that name transactional ids, which their coordinators serve.

use super::COORDINATED;
use crate::protocol::split::layout::{
    ERROR, INT8, INT16, INT32, INT64, Layout, NAME, NAMES, PARTITION, PARTITION_LIST, STRING,
    THROTTLE, TOPIC_NAME, array, items, list, partitions, topics,
};

/// InitProducerId (key 22) v0–v6.
pub(super) static INIT_PRODUCER_ID: Layout = Layout {
    key: 22,
    request: &[
        NAME, // TransactionalId
    ],
    response: &[
        THROTTLE,
        ERROR,
        INT64.minus_one(),          // ProducerId
        INT16,                      // ProducerEpoch
        INT64.since(6).minus_one(), // OngoingTxnProducerId
        INT16.since(6).minus_one(), // OngoingTxnProducerEpoch
    ],
    errors: COORDINATED,
};

/// AddPartitionsToTxn (key 24) v0–v5.
pub(super) static ADD_PARTITIONS_TO_TXN: Layout = Layout {
    key: 24,
    request: &[
        items(&[
            NAME,  // TransactionalId
            INT64, // ProducerId
            INT16, // ProducerEpoch
            INT8,  // VerifyOnly
            array(&[
                STRING,       // Name
                list(&INT32), // Partitions
            ]), // Topics
        ])
        .since(4),
        NAME.until(3),  // V3AndBelowTransactionalId
        INT64.until(3), // V3AndBelowProducerId
        INT16.until(3), // V3AndBelowProducerEpoch
        topics(&[TOPIC_NAME, PARTITION_LIST]).until(3),
    ],
    response: &[
        THROTTLE,
        ERROR.since(4),
        items(&[
            NAME, // TransactionalId
            array(&[
                STRING, // Name
                array(&[
                    INT32, // PartitionIndex
                    INT16, // PartitionErrorCode
                ]), // ResultsByPartition
            ]), // TopicResults
        ])
        .since(4),
        topics(&[TOPIC_NAME, partitions(&[PARTITION, ERROR])]).until(3),
    ],
    errors: COORDINATED,
};

/// AddOffsetsToTxn (key 25) v0–v4.
pub(super) static ADD_OFFSETS_TO_TXN: Layout = Layout {
    key: 25,
    request: &[
        NAME, // TransactionalId
    ],
    response: &[THROTTLE, ERROR],
    errors: COORDINATED,
};

/// EndTxn (key 26) v0–v5.
pub(super) static END_TXN: Layout = Layout {
    key: 26,
    request: &[
        NAME, // TransactionalId
    ],
    response: &[
        THROTTLE,
        ERROR,
        INT64.since(5).minus_one(), // ProducerId
        INT16.since(5).minus_one(), // ProducerEpoch
    ],
    errors: COORDINATED,
};

/// DescribeTransactions (key 65) v0.
pub(super) static DESCRIBE_TRANSACTIONS: Layout = Layout {
    key: 65,
    request: &[NAMES],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            NAME,   // TransactionalId
            STRING, // TransactionState
            INT32,  // TransactionTimeoutMs
            INT64,  // TransactionStartTimeMs
            INT64,  // ProducerId
            INT16,  // ProducerEpoch
            array(&[
                STRING,       // Topic
                list(&INT32), // Partitions
            ]), // Topics
        ]),
    ],
    errors: COORDINATED,
};
