//! What a session is told: its limits.

use crate::protocol::admission::{ConfigAddresses, Unvetted};
use std::time::Duration;

/// The limits of every session. A limit that is met ends the session with a counted cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// The largest frame in either direction, in bytes, without its length prefix.
    pub frame_bytes_max: usize,
    /// The largest request between a SaslHandshake and its success, in bytes (Kafka:
    /// `sasl.server.max.receive.size`).
    pub sasl_frame_bytes_max: usize,
    /// The most that is held of one response, in bytes, to replace the addresses in it.
    pub held_response_bytes_max: usize,
    /// How many requests may wait for their responses before Narrows stops reading from the client.
    pub in_flight_requests_max: usize,
    /// How long a new connection may take for its first complete frame, most of it without a byte.
    pub first_frame_timeout: Duration,
    /// How long a frame that has been begun, in either direction, may stand still.
    pub frame_progress_timeout: Duration,
    /// How long it may take for its TLS handshake, from the accept on.
    pub tls_handshake_timeout: Duration,
    /// How long the pending responses of a client that has closed its sending side are waited for.
    pub half_close_timeout: Duration,
    /// How long a connection may stand; without it, as long as both sides want.
    pub connection_age_max: Option<Duration>,
    /// Over how long a drain closes connections, broker by broker.
    pub drain_spread: Duration,
    /// What to do with API keys and versions that are newer than Narrows' table.
    pub unvetted: Unvetted,
    /// What to do with addresses of nodes that DescribeConfigs shows.
    pub config_addresses: ConfigAddresses,
    /// Whether large runs of bytes go through the kernel alone, where both sides are plain TCP.
    pub splice: Splice,
}

/// Whether large runs of bytes go through the kernel alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Splice {
    /// Where both sides are plain TCP and a pipe is to be had.
    Auto,
    /// Never: everything is copied.
    Off,
}
