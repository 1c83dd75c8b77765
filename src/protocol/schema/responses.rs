//! Where broker addresses stand in responses (KIP-482 layouts; KIP-951 for `NodeEndpoints`), from
//! the message schemas of Kafka 3.9.2, 4.3.1 and 4.4.0. Only what must be known to find the
//! addresses is listed.

use super::{
    Extent, Field, Schema, array, bytes, cluster_id, controller, fixed, host, is_sensitive,
    node_id, port, setting_name, setting_value, string, structure,
};

const INT8: Field = fixed(1);
const INT16: Field = fixed(2);
const INT32: Field = fixed(4);
const INT64: Field = fixed(8);
const UUID: Field = fixed(16);

/// Behind a `NodeEndpoints` entry's address stands the rack.
const NODE_ENDPOINTS: Field = array(&[node_id(), host(), port(), string()]);

/// Metadata (key 3) v0–v13: the brokers, the cluster id and the controller stand before the topics.
pub(in crate::protocol) static METADATA: Schema = Schema {
    extent: Extent::Head,
    is_complete_list: true,
    fields: &[
        INT32.since(3), // ThrottleTimeMs
        array(&[node_id(), host(), port(), string().since(1)]),
        cluster_id().since(2),
        controller().since(1),
    ],
};

/// FindCoordinator (key 10) v0–v3: one coordinator at top level; v4–v6 (KIP-699): an array of them.
pub(in crate::protocol) static FIND_COORDINATOR: Schema = Schema {
    extent: Extent::Head,
    is_complete_list: false,
    fields: &[
        INT32.since(1),             // ThrottleTimeMs
        INT16.until(3),             // ErrorCode
        string().since(1).until(3), // ErrorMessage
        node_id().until(3),
        host().until(3),
        port().until(3),
        array(&[string(), node_id(), host(), port(), INT16, string()]).since(4),
    ],
};

/// DescribeCluster (key 60) v0–v2 (KIP-700).
pub(in crate::protocol) static DESCRIBE_CLUSTER: Schema = Schema {
    extent: Extent::Head,
    is_complete_list: false,
    fields: &[
        INT32,         // ThrottleTimeMs
        INT16,         // ErrorCode
        string(),      // ErrorMessage
        INT8.since(1), // EndpointType
        cluster_id(),
        controller(),
        array(&[node_id(), host(), port(), string(), INT8.since(2)]),
    ],
};

/// DescribeQuorum (key 55) v2 (KIP-853): the controllers' listeners are nobody's business outside.
pub(in crate::protocol) static DESCRIBE_QUORUM: Schema = Schema {
    extent: Extent::Head,
    is_complete_list: false,
    fields: &[
        INT16,             // ErrorCode
        string().since(2), // ErrorMessage
        array(&[
            string(), // TopicName
            array(&[
                INT32,             // PartitionIndex
                INT16,             // ErrorCode
                string().since(2), // ErrorMessage
                INT32,             // LeaderId
                INT32,             // LeaderEpoch
                INT64,             // HighWatermark
                array(REPLICA_STATE),
                array(REPLICA_STATE),
            ]),
        ]),
        // The listeners' hosts and ports (uint16) are no endpoints of brokers: they are emptied,
        // not mapped.
        array(&[INT32, array(&[string(), string(), INT16]).blanked()]).since(2),
    ],
};

/// Voters and observers.
const REPLICA_STATE: &[Field] = &[
    INT32,          // ReplicaId
    UUID.since(2),  // ReplicaDirectoryId
    INT64,          // LogEndOffset
    INT64.since(1), // LastFetchTimestamp
    INT64.since(1), // LastCaughtUpTimestamp
];

/// Produce (key 0) v10–v13: `NodeEndpoints` is tag 0 of the body, there when a partition has moved
/// (KIP-951).
pub(in crate::protocol) static PRODUCE: Schema = Schema {
    extent: Extent::Tail,
    is_complete_list: false,
    fields: &[
        array(&[
            string().until(12), // Name
            UUID.since(13),     // TopicId
            array(&[
                INT32,                     // Index
                INT16,                     // ErrorCode
                INT64,                     // BaseOffset
                INT64,                     // LogAppendTimeMs
                INT64,                     // LogStartOffset
                array(&[INT32, string()]), // RecordErrors
                string(),                  // ErrorMessage
            ]),
        ]),
        INT32, // ThrottleTimeMs
        NODE_ENDPOINTS.tagged(0),
    ],
};

/// Fetch (key 1) v16–v18: `NodeEndpoints` is tag 0 of the body, behind all records (KIP-951).
pub(in crate::protocol) static FETCH: Schema = Schema {
    extent: Extent::Tail,
    is_complete_list: false,
    fields: &[
        INT32, // ThrottleTimeMs
        INT16, // ErrorCode
        INT32, // SessionId
        array(&[
            UUID, // TopicId
            array(&[
                INT32,                  // PartitionIndex
                INT16,                  // ErrorCode
                INT64,                  // HighWatermark
                INT64,                  // LastStableOffset
                INT64,                  // LogStartOffset
                array(&[INT64, INT64]), // AbortedTransactions
                INT32,                  // PreferredReadReplica
                bytes(),                // Records
            ]),
        ]),
        NODE_ENDPOINTS.tagged(0),
    ],
};

const LEADER_ID_AND_EPOCH: Field = structure(&[INT32, INT32]);

/// ShareFetch (key 78) v0–v2 (KIP-932): `NodeEndpoints` is the last plain field, behind all
/// records.
pub(in crate::protocol) static SHARE_FETCH: Schema = Schema {
    extent: Extent::Tail,
    is_complete_list: false,
    fields: &[
        INT32,          // ThrottleTimeMs
        INT16,          // ErrorCode
        string(),       // ErrorMessage
        INT32.since(1), // AcquisitionLockTimeoutMs
        array(&[
            UUID, // TopicId
            array(&[
                INT32,    // PartitionIndex
                INT16,    // ErrorCode
                string(), // ErrorMessage
                INT16,    // AcknowledgeErrorCode
                string(), // AcknowledgeErrorMessage
                LEADER_ID_AND_EPOCH,
                bytes(),                       // Records
                array(&[INT64, INT64, INT16]), // AcquiredRecords
            ]),
        ]),
        NODE_ENDPOINTS.tail(),
    ],
};

/// ShareAcknowledge (key 79) v0–v2 (KIP-932): `NodeEndpoints` is the last plain field.
pub(in crate::protocol) static SHARE_ACKNOWLEDGE: Schema = Schema {
    extent: Extent::Tail,
    is_complete_list: false,
    fields: &[
        INT32,          // ThrottleTimeMs
        INT16,          // ErrorCode
        string(),       // ErrorMessage
        INT32.since(2), // AcquisitionLockTimeoutMs
        array(&[
            UUID, // TopicId
            array(&[INT32, INT16, string(), LEADER_ID_AND_EPOCH]),
        ]),
        NODE_ENDPOINTS.tail(),
    ],
};

/// DescribeConfigs (key 32) v0–v4: the values of brokers' keys, and of what they override.
pub(in crate::protocol) static DESCRIBE_CONFIGS: Schema = Schema {
    extent: Extent::InPlace,
    is_complete_list: false,
    fields: &[
        INT32, // ThrottleTimeMs
        array(&[
            INT16,    // ErrorCode
            string(), // ErrorMessage
            INT8,     // ResourceType
            string(), // ResourceName
            array(&[
                setting_name(),
                setting_value(),
                INT8,          // ReadOnly
                INT8.until(0), // IsDefault
                INT8.since(1), // ConfigSource
                is_sensitive(),
                array(&[setting_name(), setting_value(), INT8]).since(1), // Synonyms
                INT8.since(3),                                            // ConfigType
                string().since(3),                                        // Documentation
            ]),
        ]),
    ],
};
