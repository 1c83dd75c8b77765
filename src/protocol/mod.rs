//! Kafka's protocol as far as a proxy must know it, without I/O.
//!
//! Nothing here has a socket, a clock or randomness, and nothing panics on any bytes or allocates
//! more than the bytes that are there. [`table`] says what is done with each API, [`admission`]
//! whether a request may pass, [`header`] reads the beginning of a request, [`walk`] finds the
//! addresses in a response by its schema, [`rewrite`] replaces them, [`api_versions`] cuts what the
//! broker offers, [`sasl`] follows an authentication that passes through, [`own_requests`] makes
//! Narrows' own requests, [`split`] parts a request that several brokers must serve.
//!
//! # What no response shows
//!
//! Promise 2 says that no response carries a broker's own address. It holds for every field that is
//! an address, or whose value is one by what it is for:
//!
//! * endpoints of brokers become advertised ones, those of controllers are taken out ([`rewrite`]
//!   has the table; `tests/schema_guard/addresses.rs` has every field whose name or type says
//!   address, and who else's addresses they are: clients', applications');
//! * values of configuration keys that are addresses of nodes are masked ([`mask`]), in
//!   DescribeConfigs, the only response that shows values of brokers' keys: CreateTopics shows
//!   those of topics;
//! * what Narrows has not vetted is cut out and refused, unless the operator lets it pass
//!   (`protocol.unvetted: pass`); a SASL token passes unread, and only where the broker can't take
//!   it for a request ([`sasl`]).
//!
//! It does not hold for free text, which is not looked into: messages of errors, what extensions of
//! brokers write, an exception's text that a broker passes on (UNKNOWN_SERVER_ERROR). As far as is
//! known, and no test shows it, the errors of UpdateFeatures, AddRaftVoter, RemoveRaftVoter,
//! UnregisterBroker, ElectLeaders and AlterPartitionReassignments name nodes by their ids alone,
//! and those of AlterConfigs and IncrementalAlterConfigs quote what the client has sent. By their
//! schemas, ListConfigResources names resources, DescribeLogDirs paths, GetTelemetrySubscriptions
//! metrics.

pub mod admission;
pub mod api_versions;
pub mod doctor_requests;
pub(crate) mod errors;
pub mod header;
pub(crate) mod leaders;
pub mod mask;
pub mod own_requests;
pub(crate) mod principal;
pub mod rewrite;
pub(crate) mod sasl;
pub(crate) mod schema;
pub mod split;
pub mod table;
pub(crate) mod walk;
pub mod wire;

#[cfg(test)]
pub(crate) mod samples;
