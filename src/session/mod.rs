//! One client connection, from its first request to its end.
//!
//! The story, top to bottom ([`serve`]): wait for the first complete request ([`arrival`]); only
//! then dial the broker that the connection is meant for (a health check never reaches a broker);
//! relay until either side closes, the broker leaves, or Narrows drains; say once why it ended.
//! [`requests`] and [`responses`] look at the bytes, [`relay`] moves them between the client and a
//! [`link`] to its broker, [`owed`] says whose answer comes next, [`state`] is what they share.
//! Where the client's address does not say which broker it means, [`routing`] finds out by what it
//! asks; a session then can have several [`links`], and a request for several brokers is split and
//! its answers are merged ([`routed`], [`merge`]); [`polls`] waits for what is fetched of several,
//! [`order`] keeps what a partition is sent in order.
//! [`watch`] sees to it that no wait lasts for ever, and [`close`] ends both connections.
//! [`passthrough`] and [`tunnel`] carry a TLS stream that is not for Narrows, and [`hellos`] knows
//! one that comes back; [`cause`] is how any of it can end.

mod arrival;
mod awaited;
mod cause;
mod close;
mod context;
mod credentials;
mod ending;
mod first_bytes;
mod hellos;
mod in_flight;
mod lane;
mod link;
mod link_id;
mod links;
mod login;
mod merge;
mod order;
mod owed;
mod passthrough;
mod polls;
mod provisional;
mod reach;
mod relay;
mod requests;
mod responses;
mod routed;
mod routing;
mod serve;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod unmapped;
mod watch;
mod zeros;

pub use crate::protocol::admission::{ConfigAddresses, Unvetted};
pub(crate) use arrival::read_until;
pub(crate) use cause::Cause;
pub(crate) use close::linger;
pub(crate) use context::{Entry, ListenerContext, ListenerState, Resources};
pub use first_bytes::{DETECTION_BYTES, DetectedProtocol, FirstBytes, kafka_sender};
pub use settings::{SessionSettings, Splice};
pub use tls::ListenerTls;
pub(crate) use zeros::{HANDSHAKE_GONE, begin as begin_at_zero};

use crate::net::buffer::Buffer;
use crate::net::stream::Stream;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use tokio::net::TcpStream;

/// A connection whose client is known, and so is the broker that it is meant for: where a session
/// begins.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// The client's side, with the bytes that have arrived.
    pub(crate) client: IncomingClient,
    /// Whom it is meant for.
    pub(crate) entry: Entry,
    /// Where it comes from, as far as that is known.
    pub(crate) source: IpAddr,
    /// When it was accepted: the time for the first request counts from here.
    pub(crate) accepted_at: tokio::time::Instant,
    /// Told when the first request is there, and dropped when its broker is.
    pub(crate) newcomer: Newcomer,
}

/// A connection counts as a newcomer until it has asked: whoever accepted it has so many places for
/// those that have not sent a request yet. It counts as beginning for as long as this lives.
pub(crate) struct Newcomer {
    place: Option<Box<dyn Send + Sync>>,
    _beginning: Box<dyn Send + Sync>,
}

impl Newcomer {
    /// Holds `place` until the first request, and `beginning` until a broker has been reached.
    pub(crate) fn new(
        place: impl Send + Sync + 'static,
        beginning: impl Send + Sync + 'static,
    ) -> Self {
        Self {
            place: Some(Box::new(place)),
            _beginning: Box::new(beginning),
        }
    }

    fn has_asked(&mut self) {
        self.place = None;
    }
}

impl fmt::Debug for Newcomer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newcomer")
    }
}

/// What a client speaks.
#[derive(Debug)]
pub(crate) enum IncomingClient {
    /// Kafka, from the next byte on.
    Kafka(Stream, Option<Buffer>),
    /// TLS that does not end at Narrows, from its hello on.
    Passthrough {
        /// The connection.
        tcp: TcpStream,
        /// The hello, with what has arrived behind it.
        hello: Buffer,
        /// The brokers' TLS port, where it is another than the one in the broker map.
        broker_port: Option<u16>,
    },
}

/// What a session finds out about its two sides, for the connection's last line in the log. It is
/// filled in as soon as something is known, so that it also holds when the session is cut off.
#[derive(Debug, Default)]
pub(crate) struct SessionRecord {
    /// Who the client says to be, safe to print; empty before its first request.
    pub(crate) client: String,
    /// The user name that it has logged in with, or has tried to, safe to print.
    pub(crate) principal: Option<Box<str>>,
    /// The broker that was reached.
    pub(crate) broker: Option<SocketAddr>,
    /// What was carried, unless it was cut off.
    pub(crate) traffic: Option<Box<Traffic>>,
}

/// What a session has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// How many requests of the client; unknown where TLS passes through.
    pub(crate) requests: Option<u64>,
    /// Bytes written to the broker.
    pub(crate) bytes_to_broker: u64,
    /// Bytes written to the client.
    pub(crate) bytes_to_client: u64,
}

/// Carries a client's connection to the broker that it is meant for. Returns why it ended, when
/// both sides are closed. Dropped before that, it closes both.
pub(crate) async fn run(incoming: Incoming, record: &mut SessionRecord) -> Cause {
    let Incoming {
        client,
        entry,
        source,
        accepted_at,
        newcomer,
    } = incoming;
    let mut session = Session {
        entry: &entry,
        source,
        accepted_at,
        newcomer: Some(newcomer),
        record,
    };
    match client {
        IncomingClient::Kafka(client, first) => session.serve(client, first).await,
        IncomingClient::Passthrough {
            tcp,
            hello,
            broker_port,
        } => Box::pin(session.tunnel(tcp, hello, broker_port)).await,
    }
}

struct Session<'a> {
    entry: &'a Entry,
    source: IpAddr,
    accepted_at: tokio::time::Instant,
    newcomer: Option<Newcomer>,
    record: &'a mut SessionRecord,
}
