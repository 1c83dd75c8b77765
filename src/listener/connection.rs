//! The record of one client connection, from its accept to its one line in the log: whose it is,
//! where it is counted, when it has to stop, and why it ended.

use super::binding::BindingState;
use super::limits::Permit;
use crate::lifecycle::Stop;
use crate::net::tls::Negotiated;
use crate::observe::metrics::ListenerMetrics;
use crate::session::{Cause, Entry, Newcomer, SessionRecord};
use crate::types::Severity;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;
use tracing::{debug, warn};

/// Log lines about one connection share its number.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// One connection, and what its last line in the log says.
pub(super) struct Connection {
    pub(super) id: u64,
    /// The client, as far as it is known.
    pub(super) peer: SocketAddr,
    /// Who sent the PROXY protocol header that said so.
    pub(super) via: Option<SocketAddr>,
    pub(super) binding: Arc<BindingState>,
    /// Whom it is meant for, once that is known.
    pub(super) entry: Option<Entry>,
    /// Its place among all connections, unless there was none.
    permit: Option<Permit>,
    is_accepted: bool,
    pub(super) accepted_at: tokio::time::Instant,
    /// What was agreed with the client, and who its certificate says it is.
    pub(super) tls: Option<(Negotiated, Option<String>)>,
    /// The server name in its TLS hello, safe to print.
    pub(super) server_name: Option<Box<str>>,
    pub(super) session: SessionRecord,
}

impl Connection {
    pub(super) fn new(peer: SocketAddr, binding: Arc<BindingState>) -> Self {
        Self {
            id: NEXT_ID.fetch_add(1, Relaxed),
            peer,
            via: None,
            binding,
            entry: None,
            permit: None,
            is_accepted: false,
            accepted_at: tokio::time::Instant::now(),
            tls: None,
            server_name: None,
            session: SessionRecord::default(),
        }
    }

    /// Asks whether there is room for it, and enters where the port says it is meant for.
    pub(super) fn admit(&mut self) -> Result<(), Cause> {
        let binding = Arc::clone(&self.binding);
        let source = binding.proxy_protocol.own_source(self.peer.ip());
        self.permit = Some(binding.limits.admit(binding.metrics(), source)?);
        binding.entry().map_or(Ok(()), |entry| self.enter(entry))
    }

    /// The connection has said whom it is meant for, and counts there from now on.
    pub(super) fn enter(&mut self, entry: Entry) -> Result<(), Cause> {
        let listener = entry.context.metrics().clone();
        let connections_max = entry.setup.connections_max;
        entry.context.entered(entry.target);
        self.entry = Some(entry);
        self.count_accepted();
        match &mut self.permit {
            Some(permit) => permit.enter(&listener, connections_max),
            None => Ok(()),
        }
    }

    /// It is known whose connection it is: this client's, for whom the peer speaks, or the peer's
    /// own.
    pub(super) fn come_from(&mut self, client: Option<SocketAddr>) -> Result<(), Cause> {
        if let Some(client) = client {
            self.via = Some(std::mem::replace(&mut self.peer, client));
        }
        match &mut self.permit {
            Some(permit) => permit.come_from(self.peer.ip()),
            None => Ok(()),
        }
    }

    pub(super) fn newcomer(&mut self) -> Newcomer {
        let mut permit = self.permit.as_mut();
        let beginning = permit.as_mut().and_then(|permit| permit.end_beginning());
        Newcomer::new(permit.and_then(Permit::end_as_newcomer), beginning)
    }

    /// Where it is counted: at its listener, as soon as that is known.
    pub(super) fn metrics(&self) -> &ListenerMetrics {
        match &self.entry {
            Some(entry) => entry.context.metrics(),
            None => self.binding.metrics(),
        }
    }

    /// Counts it as accepted, once: where it is known to belong, or at its end.
    fn count_accepted(&mut self) {
        if !std::mem::replace(&mut self.is_accepted, true) {
            self.metrics().accepted.inc();
        }
    }

    /// When it has to end, as far as that is known.
    pub(super) fn stop(&self) -> &Stop {
        match &self.entry {
            Some(entry) => &entry.stop,
            None => &self.binding.stop,
        }
    }

    pub(super) fn end(&mut self, cause: &Cause) {
        self.say(cause);
        self.count_end(cause);
        if let Some(entry) = self.entry.take() {
            entry.context.left(entry.target);
        }
    }

    fn count_end(&mut self, cause: &Cause) {
        self.count_accepted();
        self.metrics().closed(cause.code(), cause.side());
        if let Cause::LimitReached { limit, .. } = cause {
            self.metrics().refused(*limit);
        }
    }

    /// Its last line in the log: for an operator if somebody may have to act, else for whoever
    /// debugs.
    fn say(&self, cause: &Cause) {
        let Self {
            id, peer, session, ..
        } = self;
        let SessionRecord {
            broker,
            client,
            principal,
            traffic,
        } = session;
        let (principal, server_name) = (principal.as_deref(), self.server_name.as_deref());
        let traffic = traffic.as_deref();
        let requests = traffic.and_then(|traffic| traffic.requests);
        let bytes_to_broker = traffic.map(|traffic| traffic.bytes_to_broker);
        let bytes_to_client = traffic.map(|traffic| traffic.bytes_to_client);
        let seconds = self.accepted_at.elapsed().as_secs_f64();
        let side = cause.side().label();
        let via = self.via.map(tracing::field::display);
        let listener = self.metrics().listener();
        // Which port it was, where that is all that is known.
        let bind = self.entry.is_none().then_some(self.binding.address);
        let bind = bind.map(tracing::field::display);
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
        if cause.severity() == Severity::Routine {
            debug!(
                connection = id, %listener, bind, %peer, via, %meant_for, %broker, %client,
                principal, tls, server_name, certificate,
                requests, bytes_to_broker, bytes_to_client, seconds,
                cause = cause_code, side, "session ended: {cause}"
            );
            return;
        }
        let key = (&*listener.0, cause_code, Some(peer.ip()));
        let incidents = &self.binding.resources.incidents;
        if let Some(suppressed) = incidents.note(key, &cause.to_string(), Instant::now()) {
            warn!(
                connection = id, %listener, bind, %peer, via, %meant_for, %broker, %client,
                principal, tls, server_name, certificate,
                requests, bytes_to_broker, bytes_to_client, seconds,
                cause = cause_code, side, suppressed, "session ended: {cause}"
            );
        }
    }
}
