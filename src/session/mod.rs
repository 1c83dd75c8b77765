//! One client connection, from its first request to its end.
//!
//! The story, top to bottom: wait for the first complete request ([`arrival`]); only then dial the broker that the connection is meant for (a health check never
//! reaches a broker); relay until either side closes, the broker leaves, or Narrows drains; say
//! once why it ended. [`requests`] and [`responses`] look at the bytes, [`relay`] moves them,
//! [`state`] is what they share, [`tunnel`] moves those of a TLS stream that is not for
//! Narrows, [`cause`] is how it can end.

mod arrival;
mod cause;
mod context;
mod first_bytes;
mod in_flight;
mod lane;
mod relay;
mod requests;
mod responses;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

pub use crate::protocol::admission::Unvetted;
pub use arrival::read_until;
pub use cause::{Cause, Side};
pub use context::{Entry, ListenerContext, ListenerState, Resources};
pub use first_bytes::{DETECTION_BYTES, DetectedProtocol, SHOWN_BYTES, kafka_sender};
pub use relay::linger;
pub use tls::ListenerTls;

use crate::cluster::Connection;
use crate::net::buffer::{BUFFER_BYTES, Buffer, PARKED_BYTES_MAX};
use crate::net::stream::Stream;
use crate::types::{BrokerAddress, NodeId, Target};
use context::SessionObserver;
use lane::Scan;
use relay::{Relay, Turn};
use requests::Requests;
use state::{BrokerIdentity, SessionState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tunnel::Tunnel;

/// The limits of every session. A limit that is met ends the session with a counted cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// The largest frame in either direction, in bytes, without its length prefix.
    pub frame_bytes_max: usize,
    /// The largest request between a SaslHandshake and its success, in bytes (Kafka:
    /// `sasl.server.max.receive.size`).
    pub sasl_frame_bytes_max: usize,
    /// How many requests may wait for their responses before Narrows stops reading from the client.
    pub in_flight_requests_max: usize,
    /// How long a new connection may take for its first complete frame.
    pub first_frame_timeout: Duration,
    /// How long it may take for its TLS handshake, from the accept on.
    pub tls_handshake_timeout: Duration,
    /// How long the pending responses of a client that has closed its sending side are waited for.
    pub half_close_timeout: Duration,
    /// What to do with API keys and versions that are newer than Narrows' table.
    pub unvetted: Unvetted,
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

/// A connection whose client is known, and so is the broker that it is meant for: where a session
/// begins.
#[derive(Debug)]
pub struct Incoming {
    /// The client's side, with the bytes that have arrived.
    pub client: IncomingClient,
    /// Whom it is meant for.
    pub entry: Entry,
    /// When it was accepted: the time for the first request counts from here.
    pub accepted_at: tokio::time::Instant,
}

/// What a client speaks.
#[derive(Debug)]
pub enum IncomingClient {
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
pub struct SessionRecord {
    /// Who the client says to be, safe to print; empty before its first request.
    pub client: String,
    /// The broker that was reached.
    pub broker: Option<SocketAddr>,
}

/// Carries a client's connection to the broker that it is meant for. Returns why it ended, when
/// both sides are closed. Dropped before that, it closes both.
pub async fn run(incoming: Incoming, record: &mut SessionRecord) -> Cause {
    let Incoming {
        client,
        entry,
        accepted_at,
    } = incoming;
    let mut session = Session {
        entry: &entry,
        accepted_at,
        record,
    };
    match client {
        IncomingClient::Kafka(client, first) => session.serve(client, first).await,
        IncomingClient::Passthrough {
            tcp,
            hello,
            broker_port,
        } => session.tunnel(tcp, hello, broker_port).await,
    }
}

struct Session<'a> {
    entry: &'a Entry,
    accepted_at: tokio::time::Instant,
    record: &'a mut SessionRecord,
}

impl Session<'_> {
    /// Kafka, from the first request on.
    async fn serve(&mut self, mut client: Stream, first: Option<Buffer>) -> Cause {
        let entry = self.entry;
        let context = Arc::clone(&entry.context);
        let cluster = Arc::clone(&entry.setup.cluster);
        let witness = Arc::new(SessionObserver { context, cluster });
        let mut state = SessionState::new(entry.setup.session, witness);
        let mut requests = Requests::default();
        let pools = entry.context.pools(&entry.setup.session);
        let stop = &entry.stop;
        let first = tokio::select! {
            first = self.first_request(&mut client, first, &pools, &mut requests, &mut state) => first,
            () = stop.draining() => Err(Cause::Drained),
        };
        self.record.client = state.identity.to_string();
        let (buffer, refused) = match first {
            Ok(first) => first,
            Err(cause) => {
                relay::linger(client, cause.final_bytes()).await;
                return cause;
            }
        };
        let connection = match Box::pin(entry.setup.cluster.connect(entry.target)).await {
            Ok(connection) => connection,
            Err(error) => return Cause::Connect(error),
        };
        self.record.broker = Some(connection.peer);
        if connection.is_provisional {
            state.broker_identity = BrokerIdentity::Provisional;
        }
        let Connection {
            stream, gone, peer, ..
        } = connection;
        let metrics = entry.context.metrics().clone();
        let mut relay = Relay::new((client, stream), (buffer, requests), state, pools, metrics);
        if let Some(cause) = refused {
            relay.end(cause);
        }
        let cause = self.relay(&mut relay, &gone).await;
        if cause.side() == Side::Broker {
            entry.setup.cluster.forget_verified(peer);
        }
        self.record.client = relay.state.identity.to_string();
        Box::pin(relay.part()).await;
        cause
    }

    /// TLS that is not for Narrows.
    async fn tunnel(&mut self, client: TcpStream, hello: Buffer, port: Option<u16>) -> Cause {
        let entry = self.entry;
        let setup = &entry.setup;
        let is_own = |address: &BrokerAddress| {
            setup
                .scheme
                .sni()
                .is_some_and(|scheme| scheme.identify(address.host.as_bytes()).is_some())
        };
        let connection = match setup
            .cluster
            .connect_unseen(entry.target, port, is_own)
            .await
        {
            Ok(connection) => connection,
            Err(error) => return Cause::Connect(error),
        };
        self.record.broker = Some(connection.peer);
        let pools = entry.context.pools(&entry.setup.session);
        let metrics = entry.context.metrics();
        let timeout = entry.setup.session.half_close_timeout;
        let sides = (Stream::Plain(client), connection.stream);
        let mut tunnel = Tunnel::new(sides, hello, &pools, metrics, timeout);
        let stop = &entry.stop;
        let cause = loop {
            let quiet_at = tunnel.quiet_at();
            let quiet = async {
                stop.draining().await;
                tokio::time::sleep_until(quiet_at).await;
            };
            tokio::select! {
                biased;
                cause = tunnel.run() => break cause,
                () = stop.aborted() => break Cause::Aborted,
                () = connection.gone.cancelled() => break Cause::BrokerGone(node(entry.target)),
                () = quiet => if tunnel.quiet_at() == quiet_at { break Cause::Drained },
            }
        };
        relay::linger(tunnel.into_client(), b"").await;
        cause
    }

    /// Waits for the first complete request, or as much of it as a buffer holds, and looks at it.
    /// With the cause why one behind it may not pass, if so: the first is answered all the same.
    async fn first_request(
        &self,
        client: &mut Stream,
        first: Option<Buffer>,
        pools: &lane::Pools,
        requests: &mut Requests,
        state: &mut SessionState,
    ) -> Result<(Buffer, Option<Cause>), Cause> {
        let timeout = state.settings.first_frame_timeout;
        let is_there = |buffer: &mut Buffer| {
            let bytes = buffer.filled();
            let is_enough = is_first_request(bytes, state)? || bytes.len() == BUFFER_BYTES;
            Ok(is_enough.then_some(()))
        };
        let arrival = read_until(client, first, &pools.buffers, PARKED_BYTES_MAX, is_there);
        let arrived = tokio::time::timeout_at(self.accepted_at + timeout, arrival).await;
        let (mut buffer, ()) = arrived.unwrap_or(Err(Cause::FirstFrameTimeout(timeout)))?;
        match requests.scan(&mut buffer, state) {
            Err(cause) if requests.cleared() == 0 => Err(cause),
            scanned => Ok((buffer, scanned.err())),
        }
    }

    /// Relays until the session is over, and decides what the relay can't.
    async fn relay(&self, relay: &mut Relay, gone: &tokio_util::sync::CancellationToken) -> Cause {
        let Entry { target, stop, .. } = self.entry;
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                turn = relay.run() => match turn {
                    Turn::Ended(cause) => return cause,
                    Turn::Answered => self.settle(relay).await,
                },
                () = stop.draining(), if !is_draining => {
                    is_draining = true;
                    relay.end(Cause::Drained);
                }
                () = gone.cancelled() => return Cause::BrokerGone(node(*target)),
                () = stop.aborted(), if is_draining => return Cause::Aborted,
            }
        }
    }

    /// A lent session knows the broker map now: it goes on if its broker happens to be the one that
    /// was meant.
    async fn settle(&self, relay: &mut Relay) {
        let entry = self.entry;
        let is_right = match (entry.target, self.record.broker) {
            (Target::Broker(node), Some(peer)) => entry.setup.cluster.is_broker(node, peer).await,
            _ => true,
        };
        if !is_right {
            relay.end(Cause::ProvisionalBrokerWrong(node(entry.target)));
        }
        relay.settle();
    }
}

fn node(target: Target) -> NodeId {
    match target {
        Target::Broker(node) => node,
        Target::Bootstrap => NodeId(-1),
    }
}

/// Whether the first request is there as a whole.
fn is_first_request(bytes: &[u8], state: &SessionState) -> Result<bool, Cause> {
    let length = requests::frame_length(bytes, state)?;
    Ok(length.is_some_and(|frame_bytes| bytes.len() >= requests::LENGTH_BYTES + frame_bytes))
}
