//! One client connection, from its first byte to its end.

use std::time::Duration;

/// The limits of every session. A limit that is met ends the session with a counted cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// The largest frame in either direction, in bytes, without its length prefix.
    pub frame_bytes_max: usize,
    /// The largest request between a SaslHandshake and its success, in bytes (Kafka: `sasl.server.max.receive.size`).
    pub sasl_frame_bytes_max: usize,
    /// How many requests may wait for their responses before Klamm stops reading from the client.
    pub in_flight_requests_max: usize,
    /// How long a new connection may take for its first complete frame.
    pub first_frame_timeout: Duration,
    /// How long the pending responses of a client that has closed its sending side are waited for.
    pub half_close_timeout: Duration,
    /// What to do with API keys and versions that are newer than Klamm's table.
    pub unvetted: Unvetted,
}

/// What to do with API keys and versions that are newer than Klamm's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unvetted {
    /// Cut them out of ApiVersions, refuse them when used: nothing that was not looked at can carry an address.
    Hide,
    /// Let them through unread, except in APIs whose responses carry broker addresses.
    Pass,
}
