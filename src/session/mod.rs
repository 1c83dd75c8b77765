//! One client connection, from its first byte to its end.
//!
//! The story, top to bottom: learn whose connection it is, if a load balancer says so ([`origin`]); wait for the first
//! complete request; only then dial the broker that the connection is meant
//! for (a health check never reaches a broker); relay until either side closes, the broker leaves, or Klamm drains;
//! say once why it ended. [`requests`] and [`responses`] look at the bytes, [`relay`] moves them, [`conversation`]
//! is what they share, [`cause`] is how it can end.

mod cause;
mod context;
mod conversation;
mod in_flight;
mod lane;
mod origin;
mod relay;
mod requests;
mod responses;
#[cfg(test)]
mod tests;
mod tls;

pub use crate::protocol::admission::Unvetted;
pub use cause::{Cause, Side};
pub use context::Context;
pub use origin::{ProxyMode, ProxyProtocol};
pub use tls::ListenerTls;

use crate::cluster::Connection;
use crate::lifecycle::Stop;
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::observe::metrics::IntGauge;
use crate::types::{NodeId, Target};
use conversation::{Conversation, Lent};
use lane::Scan;
use origin::Origin;
use relay::{Relay, Turn};
use requests::Requests;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tracing::{debug, warn};

/// The limits of every session. A limit that is met ends the session with a counted cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// The largest frame in either direction, in bytes, without its length prefix.
    pub frame_bytes_max: usize,
    /// The largest request between a SaslHandshake and its success, in bytes (Kafka: `sasl.server.max.receive.size`).
    pub sasl_frame_bytes_max: usize,
    /// How many requests may wait for their responses before Klamm stops reading from the client.
    pub in_flight_requests_max: usize,
    /// How long the TLS handshake of a new connection may take, from its accept on.
    pub tls_handshake_timeout: Duration,
    /// How long a new connection may take for its first complete frame.
    pub first_frame_timeout: Duration,
    /// How long the pending responses of a client that has closed its sending side are waited for.
    pub half_close_timeout: Duration,
    /// What to do with API keys and versions that are newer than Klamm's table.
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

/// Carries one client connection to the broker that `target` means. Returns when both sides are closed.
///
/// It counts as active from this call on, so that a drain waits for sessions that have not had their first turn yet.
pub fn run(
    client: TcpStream,
    peer: SocketAddr,
    target: Target,
    context: Arc<Context>,
    stop: Stop,
) -> impl Future<Output = ()> + Send {
    let active = Active::new(context.metrics().active.clone());
    async move {
        let _active = active;
        run_active(client, peer, target, context, stop).await;
    }
}

/// Counts as an active session for as long as it lives, however the session ends.
struct Active(IntGauge);

impl Active {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.dec();
    }
}

async fn run_active(client: TcpStream, peer: SocketAddr, target: Target, context: Arc<Context>, stop: Stop) {
    let (context, stop) = (&context, &stop);
    let mut session = Session { peer, via: None, target, context, stop, broker: None, client: String::new() };
    let cause = tokio::select! {
        cause = session.converse(client) => cause,
        () = stop.aborted() => Cause::Aborted,
    };
    session.say(&cause);
    context.metrics().closed(cause.code());
}

/// One session, and what its last line in the log says.
struct Session<'a> {
    /// The client, as far as it is known.
    peer: SocketAddr,
    /// Who sent the PROXY protocol header that said so.
    via: Option<SocketAddr>,
    target: Target,
    context: &'a Arc<Context>,
    stop: &'a Stop,
    /// Which broker it reached.
    broker: Option<SocketAddr>,
    /// Who the client says to be.
    client: String,
}

impl Session<'_> {
    async fn converse(&mut self, client: TcpStream) -> Cause {
        let beholder: Arc<Context> = Arc::clone(self.context);
        let mut conversation = Conversation::new(*self.context.settings(), beholder);
        let mut requests = Requests::default();
        let stop = self.stop;
        let first = tokio::select! {
            first = self.first_request(&client, &mut requests, &mut conversation) => first,
            () = stop.draining() => Err(Cause::Drained),
        };
        self.client = conversation.identity.to_string();
        let (buffer, refused) = match first {
            Ok(first) => first,
            Err(cause) => {
                relay::linger(client, cause.last_words()).await;
                return cause;
            }
        };
        let connection = match self.context.cluster().connect(self.target).await {
            Ok(connection) => connection,
            Err(error) => return Cause::Connect(error),
        };
        self.broker = Some(connection.peer);
        if connection.is_lent {
            conversation.lent = Lent::Yes;
        }
        let Connection { stream, gone, peer, .. } = connection;
        let metrics = self.context.metrics().clone();
        let pools = self.context.pools().clone();
        let mut relay = Relay::new((client, stream), (buffer, requests), conversation, pools, metrics);
        if let Some(cause) = refused {
            relay.end(cause);
        }
        let cause = self.relay(&mut relay, &gone).await;
        if cause.side() == Side::Broker {
            self.context.cluster().doubt(peer);
        }
        self.client = relay.conversation.identity.to_string();
        relay::linger(relay.into_client(), b"").await;
        cause
    }

    /// Waits for the first complete request, or as much of it as a buffer holds, and looks at it. With the cause why
    /// one behind it may not pass, if so: the first is answered all the same.
    async fn first_request(
        &mut self,
        client: &TcpStream,
        requests: &mut Requests,
        conversation: &mut Conversation,
    ) -> Result<(Buffer, Option<Cause>), Cause> {
        let timeout = conversation.settings.first_frame_timeout;
        let arrival = async {
            client.readable().await.map_err(Cause::ClientFailed)?;
            let mut buffer = self.context.pools().buffers.borrow();
            let mut is_begun = false;
            loop {
                is_begun = is_begun || self.is_begun(&mut buffer)?;
                let is_there = is_begun && is_first_request(buffer.filled(), conversation)?;
                if is_there || buffer.filled().len() == BUFFER_BYTES {
                    break;
                }
                buffer.park();
                client.readable().await.map_err(Cause::ClientFailed)?;
                let Some(spare) = buffer.spare(BUFFER_BYTES) else { break };
                match client.try_read(spare) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(Cause::ClientFailed(error)),
                    Ok(0) if buffer.is_empty() => return Err(Cause::Empty),
                    Ok(0) => return Err(Cause::ClientClosed),
                    Ok(count) => buffer.add(count),
                }
            }
            Ok(buffer)
        };
        let arrived = tokio::time::timeout(timeout, arrival).await;
        let mut buffer = arrived.unwrap_or(Err(Cause::FirstFrameTimeout(timeout)))?;
        match requests.scan(&mut buffer, conversation) {
            Err(cause) if requests.cleared() == 0 => Err(cause),
            scanned => Ok((buffer, scanned.err())),
        }
    }

    /// Whether it is known whose connection this is; a header that said so is taken off.
    fn is_begun(&mut self, buffer: &mut Buffer) -> Result<bool, Cause> {
        match self.context.proxy_protocol().origin(self.peer.ip(), buffer.filled())? {
            Origin::Unclear => Ok(false),
            Origin::Known { client, bytes } => {
                buffer.consume(bytes);
                if let Some(client) = client {
                    self.via = Some(std::mem::replace(&mut self.peer, client));
                }
                Ok(true)
            }
        }
    }

    /// Relays until the session is over, and decides what the relay can't.
    async fn relay(&self, relay: &mut Relay, gone: &tokio_util::sync::CancellationToken) -> Cause {
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                turn = relay.run() => match turn {
                    Turn::Ended(cause) => return cause,
                    Turn::Answered => self.settle(relay).await,
                },
                () = self.stop.draining(), if !is_draining => {
                    is_draining = true;
                    relay.end(Cause::Drained);
                }
                () = gone.cancelled() => return Cause::BrokerGone(self.node()),
            }
        }
    }

    /// A lent session knows the broker map now: it goes on if its broker happens to be the one that was meant.
    async fn settle(&self, relay: &mut Relay) {
        let is_right = match (self.target, self.broker) {
            (Target::Broker(node), Some(peer)) => self.context.cluster().is_broker(node, peer).await,
            _ => true,
        };
        if !is_right {
            relay.end(Cause::LentWrongBroker(self.node()));
        }
        relay.settle();
    }

    fn node(&self) -> NodeId {
        match self.target {
            Target::Broker(node) => node,
            Target::Bootstrap => NodeId(-1),
        }
    }

    /// The session's last line: for an operator if somebody may have to act, else for whoever debugs.
    fn say(&self, cause: &Cause) {
        let Self { peer, target, broker, client, context, .. } = self;
        let via = self.via.map(tracing::field::display);
        let listener = context.listener();
        let broker = broker.map_or_else(|| "none".to_owned(), |broker| broker.to_string());
        let cause_code = cause.code();
        if !cause.is_fault() {
            debug!(%listener, %peer, via, meant_for = %target, %broker, %client, cause = cause_code, "session ended: {cause}");
        } else if let Some(suppressed) = context.may_warn(cause_code) {
            warn!(%listener, %peer, via, meant_for = %target, %broker, %client, cause = cause_code, suppressed, "session ended: {cause}");
        }
    }
}

/// Whether the first request is there as a whole.
fn is_first_request(bytes: &[u8], conversation: &Conversation) -> Result<bool, Cause> {
    let length = requests::frame_length(bytes, conversation)?;
    Ok(length.is_some_and(|frame_bytes| bytes.len() >= requests::LENGTH_BYTES + frame_bytes))
}
