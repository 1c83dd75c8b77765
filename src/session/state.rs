//! What both directions of a session share: who talks, what is in flight, and how far the
//! authentication is.

use super::SessionSettings;
use super::in_flight::InFlight;
use crate::observe::text::Shown;
use crate::protocol::rewrite::{Advertise, BrokerList};
use crate::protocol::sasl::Sasl;
use std::fmt;
use std::sync::Arc;

/// Whoever sees what passes: says what is advertised, learns where brokers are, counts.
pub(super) trait Observer: Advertise + Send + Sync + fmt::Debug {
    /// A response has said this about the cluster.
    fn brokers_seen(&self, sighting: BrokerList);
    /// A request has passed.
    fn request_forwarded(&self, api_key: i16);
    /// A response has been rewritten.
    fn response_rewritten(&self, api_key: i16);
}

/// The state that requests and responses share.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) settings: SessionSettings,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) in_flight: InFlight,
    pub(super) sasl: Sasl,
    pub(super) identity: Identity,
    pub(super) broker_identity: BrokerIdentity,
    /// No further request is begun.
    pub(super) is_ending: bool,
}

impl SessionState {
    pub(super) fn new(settings: SessionSettings, observer: Arc<dyn Observer>) -> Self {
        Self {
            settings,
            observer,
            in_flight: InFlight::default(),
            sasl: Sasl::default(),
            identity: Identity::default(),
            broker_identity: BrokerIdentity::Confirmed,
            is_ending: false,
        }
    }

    /// Whether the client's next request may be begun now.
    pub(super) fn takes_requests(&self) -> bool {
        !self.is_ending
            && !self.must_ask()
            && !matches!(
                self.broker_identity,
                BrokerIdentity::Asking | BrokerIdentity::Answered
            )
            && self.in_flight.len() < self.settings.in_flight_requests_max
    }

    /// Whether Narrows' own question comes next: the broker is lent, and the client has
    /// authenticated.
    pub(super) fn must_ask(&self) -> bool {
        self.broker_identity == BrokerIdentity::Provisional
            && self.sasl.has_succeeded()
            && !self.is_ending
    }

    /// How large the next request may be, and by which setting.
    pub(super) fn frame_limit(&self) -> (usize, &'static str) {
        if self.sasl.is_under_way() {
            (
                self.settings.sasl_frame_bytes_max,
                "limits.sasl_frame_bytes_max",
            )
        } else {
            (self.settings.frame_bytes_max, "limits.frame_bytes_max")
        }
    }
}

/// Whether the broker of this session is a bootstrap server in the place of one that was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerIdentity {
    /// It is the broker that was meant, or any broker was.
    Confirmed,
    /// It may be another one: ask who the brokers are, once the client has authenticated.
    Provisional,
    /// Narrows has asked; the client's next request waits.
    Asking,
    /// The answer is in the broker map; the session looks whether it has the right broker.
    Answered,
}

impl BrokerIdentity {
    pub(super) fn answered(&mut self) {
        *self = Self::Answered;
    }
}

/// Who the client says to be, for log lines. Nothing here is to be trusted.
#[derive(Debug, Default)]
pub(super) struct Identity {
    client_id: Option<Box<[u8]>>,
    software: Option<Box<[u8]>>,
}

/// No client id or software name that means anything is longer.
const NAME_BYTES_MAX: usize = 128;

impl Identity {
    pub(super) fn note_client_id(&mut self, client_id: Option<&[u8]>) {
        if self.client_id.is_none() {
            self.client_id = client_id.map(shortened);
        }
    }

    pub(super) fn note_software(&mut self, name: &[u8], version: &[u8]) {
        self.software = Some(shortened(&[name, b" ", version].concat()));
    }
}

impl fmt::Display for Identity {
    /// Safe to print, whatever the client sent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.client_id {
            Some(client_id) => write!(f, "{}", Shown::name(client_id))?,
            None => f.write_str("(no client id)")?,
        }
        match &self.software {
            Some(software) => write!(f, " ({})", Shown::name(software)),
            None => Ok(()),
        }
    }
}

fn shortened(name: &[u8]) -> Box<[u8]> {
    name[..name.len().min(NAME_BYTES_MAX + 1)].into()
}
