//! One client connection, from its first byte to its end.
//!
//! The story, top to bottom: open it ([`opening`]): learn whose connection it is ([`proxy_protocol`]), whom
//! it is meant for ([`binding`]), and speak TLS where it ends here; wait for the first complete
//! request; only then dial the broker that the connection is meant for (a health check never
//! reaches a broker); relay until either side closes, the broker leaves, or Narrows drains; say
//! once why it ended. [`requests`] and [`responses`] look at the bytes, [`relay`] moves them,
//! [`state`] is what they share, [`tunnel`] moves those of a TLS stream that is not for
//! Narrows, [`cause`] is how it can end.

mod binding;
mod cause;
mod context;
mod first_bytes;
mod in_flight;
mod lane;
mod opening;
mod proxy_protocol;
mod relay;
mod requests;
mod responses;
mod state;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;

pub use crate::protocol::admission::Unvetted;
pub use binding::{Binding, BindingState, Identification};
pub use cause::{Cause, Side};
pub use context::{ListenerContext, ListenerState, Resources};
pub use first_bytes::DetectedProtocol;
pub use proxy_protocol::{ProxyMode, ProxyProtocol};
pub use tls::ListenerTls;

use crate::cluster::Connection;
use crate::lifecycle::Stop;
use crate::net::buffer::{BUFFER_BYTES, Buffer, PARKED_BYTES_MAX};
use crate::net::stream::Stream;
use crate::net::tls::Negotiated;
use crate::observe::metrics::{IntGauge, ListenerMetrics};
use crate::types::{BrokerAddress, NodeId, Target};
use context::SessionObserver;
use lane::Scan;
use opening::{Failed, Opened};
use relay::{Relay, Turn};
use requests::Requests;
use state::{BrokerIdentity, SessionState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tracing::{debug, warn};
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

/// Carries one client connection, which has come in where `behind` stands, to the broker that it is
/// meant for. Returns when both sides are closed.
///
/// It counts as active from this call on, so that a drain waits for sessions that have not had
/// their first turn yet.
pub fn run(
    client: TcpStream,
    peer: SocketAddr,
    behind: Arc<BindingState>,
    stop: Stop,
) -> impl Future<Output = ()> + Send {
    let mut session = Session::new(peer, behind);
    async move {
        let cause = tokio::select! {
            cause = session.converse(client) => cause,
            () = stop.aborted() => Cause::Aborted,
        };
        session.say(&cause);
        if session.entry.is_none() {
            session.metrics().accepted.inc();
        }
        session.metrics().closed(cause.code());
    }
}

/// One session, and what its last line in the log says.
struct Session {
    /// The client, as far as it is known.
    peer: SocketAddr,
    /// Who sent the PROXY protocol header that said so.
    via: Option<SocketAddr>,
    behind: Arc<BindingState>,
    /// Whom it is meant for, once that is known.
    entry: Option<Entry>,
    counted: Counted,
    began: tokio::time::Instant,
    /// What was agreed with the client, and who its certificate says it is.
    tls: Option<(Negotiated, Option<String>)>,
    /// Which broker it reached.
    broker: Option<SocketAddr>,
    /// Who the client says to be.
    client: String,
}

/// The listener that a connection belongs to, with what it was told when the connection came, and
/// the broker that is meant.
#[derive(Clone)]
struct Entry {
    context: Arc<ListenerContext>,
    setup: Arc<ListenerState>,
    target: Target,
}

impl Entry {
    fn new(context: Arc<ListenerContext>, target: Target) -> Self {
        Self {
            setup: context.setup(),
            context,
            target,
        }
    }
}

/// Counts as an active session for as long as it lives, however the session ends.
struct Counted {
    metrics: ListenerMetrics,
    active: IntGauge,
}

impl Counted {
    fn new(metrics: &ListenerMetrics) -> Self {
        let active = metrics.active.clone();
        active.inc();
        Self {
            metrics: metrics.clone(),
            active,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.active.dec();
    }
}

impl Session {
    fn new(peer: SocketAddr, behind: Arc<BindingState>) -> Self {
        let entry = match &behind.way {
            Identification::Port(context, target) => Some(Entry::new(Arc::clone(context), *target)),
            Identification::Sni { .. } => None,
        };
        let counted = Counted::new(behind.metrics());
        if entry.is_some() {
            counted.metrics.accepted.inc();
        }
        let began = tokio::time::Instant::now();
        Self {
            peer,
            via: None,
            behind,
            entry,
            counted,
            began,
            tls: None,
            broker: None,
            client: String::new(),
        }
    }

    /// The connection has said whom it is meant for, and counts there from now on.
    fn enter(&mut self, entry: Entry) {
        self.counted = Counted::new(entry.context.metrics());
        self.metrics().accepted.inc();
        self.entry = Some(entry);
    }

    fn metrics(&self) -> &ListenerMetrics {
        &self.counted.metrics
    }

    /// When it has to end.
    fn stop(&self) -> Stop {
        match (&self.behind.way, &self.entry) {
            (Identification::Sni { .. }, Some(entry)) => entry.context.stop().clone(),
            _ => self.behind.stop.clone(),
        }
    }

    async fn converse(&mut self, client: TcpStream) -> Cause {
        match self.open(client).await {
            Ok((Opened::Kafka(client, first), entry)) => self.serve(client, first, &entry).await,
            Ok((Opened::Tunnel(client, first, port), entry)) => {
                self.tunnel(client, first, port, &entry).await
            }
            Err(Failed(cause, client)) => {
                if let Some(client) = client {
                    relay::linger(Stream::Plain(client), cause.final_bytes()).await;
                }
                cause
            }
        }
    }

    /// Kafka, from the first request on.
    async fn serve(&mut self, mut client: Stream, first: Option<Buffer>, entry: &Entry) -> Cause {
        let context = Arc::clone(&entry.context);
        let cluster = Arc::clone(&entry.setup.cluster);
        let witness = Arc::new(SessionObserver { context, cluster });
        let mut state = SessionState::new(entry.setup.session, witness);
        let mut requests = Requests::default();
        let pools = entry.context.pools(&entry.setup.session);
        let stop = self.stop();
        let first = tokio::select! {
            first = self.first_request(&mut client, first, &pools, &mut requests, &mut state) => first,
            () = stop.draining() => Err(Cause::Drained),
        };
        self.client = state.identity.to_string();
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
        self.broker = Some(connection.peer);
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
        let cause = self.relay(&mut relay, &gone, entry, &stop).await;
        if cause.side() == Side::Broker {
            entry.setup.cluster.forget_verified(peer);
        }
        self.client = relay.state.identity.to_string();
        Box::pin(relay.part()).await;
        cause
    }

    /// TLS that is not for Narrows.
    async fn tunnel(
        &mut self,
        client: TcpStream,
        first: Buffer,
        port: Option<u16>,
        entry: &Entry,
    ) -> Cause {
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
        self.broker = Some(connection.peer);
        let pools = entry.context.pools(&entry.setup.session);
        let metrics = entry.context.metrics();
        let timeout = entry.setup.session.half_close_timeout;
        let sides = (Stream::Plain(client), connection.stream);
        let mut tunnel = Tunnel::new(sides, first, &pools, metrics, timeout);
        let stop = self.stop();
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
        let arrival = async {
            let mut arrived = first.filter(|buffer| !buffer.is_empty());
            loop {
                if let Some(buffer) = &mut arrived {
                    if is_first_request(buffer.filled(), state)?
                        || buffer.filled().len() == BUFFER_BYTES
                    {
                        break;
                    }
                    buffer.park(PARKED_BYTES_MAX);
                }
                std::future::poll_fn(|cx| client.poll_read_ready(cx))
                    .await
                    .map_err(Cause::ClientFailed)?;
                let buffer = arrived.get_or_insert_with(|| pools.buffers.borrow());
                let Some(spare) = buffer.spare(BUFFER_BYTES) else {
                    break;
                };
                match client.read(spare).await.map_err(Cause::ClientFailed)? {
                    0 if buffer.is_empty() => return Err(Cause::Empty),
                    0 => return Err(Cause::ClientClosed),
                    count => buffer.add(count),
                }
            }
            Ok(arrived.unwrap_or_else(|| pools.buffers.borrow()))
        };
        let arrived = tokio::time::timeout_at(self.began + timeout, arrival).await;
        let mut buffer = arrived.unwrap_or(Err(Cause::FirstFrameTimeout(timeout)))?;
        match requests.scan(&mut buffer, state) {
            Err(cause) if requests.cleared() == 0 => Err(cause),
            scanned => Ok((buffer, scanned.err())),
        }
    }

    /// Relays until the session is over, and decides what the relay can't.
    async fn relay(
        &self,
        relay: &mut Relay,
        gone: &tokio_util::sync::CancellationToken,
        entry: &Entry,
        stop: &Stop,
    ) -> Cause {
        let mut is_draining = false;
        loop {
            tokio::select! {
                biased;
                turn = relay.run() => match turn {
                    Turn::Ended(cause) => return cause,
                    Turn::Answered => self.settle(relay, entry).await,
                },
                () = stop.draining(), if !is_draining => {
                    is_draining = true;
                    relay.end(Cause::Drained);
                }
                () = gone.cancelled() => return Cause::BrokerGone(node(entry.target)),
                () = stop.aborted(), if is_draining => return Cause::Aborted,
            }
        }
    }

    /// A lent session knows the broker map now: it goes on if its broker happens to be the one that
    /// was meant.
    async fn settle(&self, relay: &mut Relay, entry: &Entry) {
        let is_right = match (entry.target, self.broker) {
            (Target::Broker(node), Some(peer)) => entry.setup.cluster.is_broker(node, peer).await,
            _ => true,
        };
        if !is_right {
            relay.end(Cause::ProvisionalBrokerWrong(node(entry.target)));
        }
        relay.settle();
    }

    /// The session's last line: for an operator if somebody may have to act, else for whoever
    /// debugs.
    fn say(&self, cause: &Cause) {
        let Self {
            peer,
            broker,
            client,
            ..
        } = self;
        let via = self.via.map(tracing::field::display);
        let listener = match &self.entry {
            Some(entry) => entry.context.listener().to_string(),
            None => self.behind.name(),
        };
        let meant_for = self
            .entry
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), |entry| entry.target.to_string());
        let broker = broker.map_or_else(|| "none".to_owned(), |broker| broker.to_string());
        let tls = self.tls.as_ref().map(|(agreed, _)| agreed.version);
        let certificate = self
            .tls
            .as_ref()
            .and_then(|(_, certificate)| certificate.as_deref());
        let cause_code = cause.code();
        if !cause.is_fault() {
            debug!(%listener, %peer, via, %meant_for, %broker, %client, tls, certificate, cause = cause_code, "session ended: {cause}");
            return;
        }
        let key = (&*listener, cause_code, peer.ip());
        let incidents = &self.behind.shared.incidents;
        if let Some(suppressed) = incidents.note(key, &cause.to_string(), Instant::now()) {
            warn!(%listener, %peer, via, %meant_for, %broker, %client, tls, certificate, cause = cause_code, suppressed, "session ended: {cause}");
        }
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
