//! Requests that named brokers serve, or every broker.

use super::{ADMINISTERED, LISTED_GROUPS, LISTED_TRANSACTIONS, MOVED_ON_ONE};
use crate::protocol::split::layout::{
    ERROR, INT8, INT32, INT64, Layout, NAME, PARTITION, PARTITION_LIST, PATH, RESOURCE_TYPE,
    STRING, THROTTLE, TOPIC_NAME, UNION, array, holders, items, list, partitions, topics,
};

/// ListGroups (key 16) v0–v5.
pub(super) static LIST_GROUPS: Layout = Layout {
    key: 16,
    request: &[],
    response: &[
        THROTTLE.since(1),
        ERROR,
        items(&[
            NAME,            // GroupId
            STRING,          // ProtocolType
            STRING.since(4), // GroupState
            STRING.since(5), // GroupType
        ]),
    ],
    errors: LISTED_GROUPS,
};

/// ListTransactions (key 66) v0–v2.
pub(super) static LIST_TRANSACTIONS: Layout = Layout {
    key: 66,
    request: &[],
    response: &[
        THROTTLE,
        ERROR,
        UNION, // UnknownStateFilters
        items(&[
            NAME,   // TransactionalId
            INT64,  // ProducerId
            STRING, // TransactionState
        ]),
    ],
    errors: LISTED_TRANSACTIONS,
};

/// DescribeLogDirs (key 35) v0–v5.
pub(super) static DESCRIBE_LOG_DIRS: Layout = Layout {
    key: 35,
    request: &[],
    response: &[
        THROTTLE,
        ERROR.since(3),
        items(&[
            ERROR,
            PATH,
            array(&[
                STRING, // Name
                array(&[
                    INT32, // PartitionIndex
                    INT64, // PartitionSize
                    INT64, // OffsetLag
                    INT8,  // IsFutureKey
                ]), // Partitions
            ]), // Topics
            INT64.since(4).minus_one(), // TotalBytes
            INT64.since(4).minus_one(), // UsableBytes
            INT8.since(5),              // IsCordoned
        ]),
    ],
    errors: ADMINISTERED,
};

/// AlterReplicaLogDirs (key 34) v0–v2.
pub(super) static ALTER_REPLICA_LOG_DIRS: Layout = Layout {
    key: 34,
    request: &[holders(&[
        STRING, // Path
        topics(&[TOPIC_NAME, PARTITION_LIST]),
    ])],
    response: &[
        THROTTLE,
        topics(&[TOPIC_NAME, partitions(&[PARTITION, ERROR])]),
    ],
    errors: MOVED_ON_ONE,
};

/// DescribeConfigs (key 32) v0–v4.
pub(super) static DESCRIBE_CONFIGS: Layout = Layout {
    key: 32,
    request: &[items(&[
        RESOURCE_TYPE,
        NAME,          // ResourceName
        list(&STRING), // ConfigurationKeys
    ])],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING, // ErrorMessage
            RESOURCE_TYPE,
            NAME, // ResourceName
            array(&[
                STRING,        // Name
                STRING,        // Value
                INT8,          // ReadOnly
                INT8.since(1), // ConfigSource
                INT8.until(0), // IsDefault
                INT8,          // IsSensitive
                array(&[
                    STRING, // Name
                    STRING, // Value
                    INT8,   // Source
                ])
                .since(1), // Synonyms
                INT8.since(3), // ConfigType
                STRING.since(3), // Documentation
            ]), // Configs
        ]),
    ],
    errors: ADMINISTERED,
};

/// AlterConfigs (key 33) v0–v2.
pub(super) static ALTER_CONFIGS: Layout = Layout {
    key: 33,
    request: &[items(&[
        RESOURCE_TYPE,
        NAME, // ResourceName
        array(&[
            STRING, // Name
            STRING, // Value
        ]), // Configs
    ])],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING, // ErrorMessage
            RESOURCE_TYPE,
            NAME, // ResourceName
        ]),
    ],
    errors: ADMINISTERED,
};

/// IncrementalAlterConfigs (key 44) v0–v1.
pub(super) static INCREMENTAL_ALTER_CONFIGS: Layout = Layout {
    key: 44,
    request: &[items(&[
        RESOURCE_TYPE,
        NAME, // ResourceName
        array(&[
            STRING, // Name
            INT8,   // ConfigOperation
            STRING, // Value
        ]), // Configs
    ])],
    response: &[
        THROTTLE,
        items(&[
            ERROR,
            STRING, // ErrorMessage
            RESOURCE_TYPE,
            NAME, // ResourceName
        ]),
    ],
    errors: ADMINISTERED,
};
