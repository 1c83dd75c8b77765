//! Every field of a response whose name or type says address, and what becomes of it. When the
//! guard names a field that is not here, a Kafka release has brought an address that nobody looked
//! at: find out whose it is, then add the line, and if it is a broker's or a controller's, the
//! rewrite and the table's row first.

use Class::{BrokerRewritten, ClientsOwn, ControllerRemoved, NotAnAddress, OfApplication, Refused};

/// A field, as the schema writes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// The api key.
    pub(crate) key: i16,
    /// Field names from the top of the response, joined by dots.
    pub(crate) path: &'static str,
    /// The field's `versions`, word for word: a schema that changes them is to be looked at again.
    pub(crate) versions: &'static str,
    /// Whose address it is.
    pub(crate) class: Class,
}

/// Whose address a field is, and so what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A broker's: replaced by the advertised address of its node.
    BrokerRewritten,
    /// A controller's, which no client of a broker dials: taken out.
    ControllerRemoved,
    /// One that an application published for other instances of itself (Kafka Streams): never
    /// touched.
    OfApplication,
    /// The host of a client or in an ACL, as the cluster sees it: never touched.
    ClientsOwn,
    /// A name that only looks like it.
    NotAnAddress,
    /// In a response of an API that is refused.
    Refused,
}

/// The list.
#[rustfmt::skip] // Read as a table, one line per field.
pub(crate) const ADDRESSES: &[Address] = &[
    field(0,  "NodeEndpoints",                             "10+", BrokerRewritten),
    field(0,  "NodeEndpoints.Host",                        "10+", BrokerRewritten),
    field(0,  "NodeEndpoints.Port",                        "10+", BrokerRewritten),
    field(1,  "NodeEndpoints",                             "16+", BrokerRewritten),
    field(1,  "NodeEndpoints.Host",                        "16+", BrokerRewritten),
    field(1,  "NodeEndpoints.Port",                        "16+", BrokerRewritten),
    field(3,  "Brokers.Host",                              "0+",  BrokerRewritten),
    field(3,  "Brokers.Port",                              "0+",  BrokerRewritten),
    field(10, "Host",                                      "0-3", BrokerRewritten),
    field(10, "Port",                                      "0-3", BrokerRewritten),
    field(10, "Coordinators.Host",                         "4+",  BrokerRewritten),
    field(10, "Coordinators.Port",                         "4+",  BrokerRewritten),
    field(15, "Groups.Members.ClientHost",                 "0+",  ClientsOwn),
    field(18, "SupportedFeatures",                         "3+",  NotAnAddress),
    field(29, "Resources.Acls.Host",                       "0+",  ClientsOwn),
    field(31, "FilterResults.MatchingAcls.Host",           "0+",  ClientsOwn),
    field(52, "NodeEndpoints",                             "1+",  Refused),
    field(52, "NodeEndpoints.Host",                        "1+",  Refused),
    field(52, "NodeEndpoints.Port",                        "1+",  Refused),
    field(53, "NodeEndpoints",                             "1+",  Refused),
    field(53, "NodeEndpoints.Host",                        "1+",  Refused),
    field(53, "NodeEndpoints.Port",                        "1+",  Refused),
    field(54, "NodeEndpoints",                             "1+",  Refused),
    field(54, "NodeEndpoints.Host",                        "1+",  Refused),
    field(54, "NodeEndpoints.Port",                        "1+",  Refused),
    field(55, "Topics.Partitions.Observers",               "0+",  NotAnAddress),
    field(55, "Nodes.Listeners",                           "2+",  ControllerRemoved),
    field(55, "Nodes.Listeners.Host",                      "2+",  ControllerRemoved),
    field(55, "Nodes.Listeners.Port",                      "2+",  ControllerRemoved),
    field(59, "NodeEndpoints",                             "1+",  Refused),
    field(59, "NodeEndpoints.Host",                        "1+",  Refused),
    field(59, "NodeEndpoints.Port",                        "1+",  Refused),
    field(60, "EndpointType",                              "1+",  NotAnAddress),
    field(60, "Brokers.Host",                              "0+",  BrokerRewritten),
    field(60, "Brokers.Port",                              "0+",  BrokerRewritten),
    field(69, "Groups.Members.ClientHost",                 "0+",  ClientsOwn),
    field(77, "Groups.Members.ClientHost",                 "0+",  ClientsOwn),
    field(78, "NodeEndpoints",                             "0+",  BrokerRewritten),
    field(78, "NodeEndpoints.Host",                        "0+",  BrokerRewritten),
    field(78, "NodeEndpoints.Port",                        "0+",  BrokerRewritten),
    field(79, "NodeEndpoints",                             "0+",  BrokerRewritten),
    field(79, "NodeEndpoints.Host",                        "0+",  BrokerRewritten),
    field(79, "NodeEndpoints.Port",                        "0+",  BrokerRewritten),
    field(82, "CurrentLeader.Host",                        "0+",  Refused),
    field(82, "CurrentLeader.Port",                        "0+",  Refused),
    field(88, "EndpointInformationEpoch",                  "0+",  NotAnAddress),
    field(88, "PartitionsByUserEndpoint",                  "0+",  OfApplication),
    field(88, "PartitionsByUserEndpoint.UserEndpoint",      "0+", OfApplication),
    field(88, "PartitionsByUserEndpoint.UserEndpoint.Host", "0+", OfApplication),
    field(88, "PartitionsByUserEndpoint.UserEndpoint.Port", "0+", OfApplication),
    field(89, "Groups.Members.ClientHost",                 "0+",  ClientsOwn),
    field(89, "Groups.Members.UserEndpoint",               "0+",  OfApplication),
    field(89, "Groups.Members.UserEndpoint.Host",          "0+",  OfApplication),
    field(89, "Groups.Members.UserEndpoint.Port",          "0+",  OfApplication),
];

const fn field(key: i16, path: &'static str, versions: &'static str, class: Class) -> Address {
    Address {
        key,
        path,
        versions,
        class,
    }
}
