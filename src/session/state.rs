//! What both directions of a session share: who talks, what the client is owed, and how far the
//! authentication is.

use super::SessionSettings;
use super::cause::Cause;
use super::login::Login;
use super::owed::Owed;
use super::routing::Routing;
use crate::observe::text::Shown;
use crate::protocol::principal;
use crate::protocol::rewrite::{Advertise, BrokerList};
use crate::protocol::sasl::{Mechanism, Outcome, Sasl};
use std::fmt;
use std::sync::Arc;

/// Whoever sees what passes: says what is advertised, learns where brokers are, counts.
pub(super) trait Observer: Advertise + Send + Sync + fmt::Debug {
    /// A response has said this about the cluster.
    fn brokers_seen(&self, sighting: BrokerList);
    /// So many requests have passed.
    fn requests_forwarded(&self, api_key: i16, count: u64);
    /// A response has been rewritten.
    fn response_rewritten(&self, api_key: i16);
    /// A response says that something is wrong; the name of the error is one of a closed set.
    fn kafka_error(&self, _api_key: i16, _error: &'static str) {}
    /// The broker has answered a login.
    fn login_answered(&self, _mechanism: Mechanism, _outcome: Outcome) {}
    /// The client has said which library it uses; any bytes.
    fn client_software(&self, _name: &[u8], _version: &[u8]) {}
}

/// The state that requests and responses share.
#[derive(Debug)]
pub(super) struct SessionState {
    pub(super) settings: SessionSettings,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) owed: Owed,
    pub(super) sasl: Sasl,
    /// Why the client is not let in, if so.
    pub(super) login: Login,
    pub(super) identity: Identity,
    /// How the broker of each request is found, where the address does not say it.
    pub(super) routing: Option<Box<Routing>>,
    /// How many requests have been read.
    pub(super) requests: u64,
    /// No further request is begun.
    pub(super) is_ending: bool,
}

impl SessionState {
    pub(super) fn new(settings: SessionSettings, observer: Arc<dyn Observer>) -> Self {
        Self {
            settings,
            observer,
            owed: Owed::default(),
            sasl: Sasl::default(),
            login: Login::default(),
            identity: Identity::default(),
            routing: None,
            requests: 0,
            is_ending: false,
        }
    }

    /// Whether a frame may be so large, which is part of an authentication or not.
    pub(super) fn check_size(&self, frame_bytes: usize, is_of_login: bool) -> Result<(), Cause> {
        let (limit, limit_name) = if is_of_login || self.sasl.is_incomplete() {
            (
                self.settings.sasl_frame_bytes_max,
                "limits.sasl_frame_bytes_max",
            )
        } else {
            (self.settings.frame_bytes_max, "limits.frame_bytes_max")
        };
        if frame_bytes <= limit {
            return Ok(());
        }
        Err(Cause::RequestTooLarge {
            bytes: frame_bytes,
            limit,
            limit_name,
        })
    }
}

/// Who the client says to be, for log lines. Nothing here is to be trusted.
#[derive(Debug, Default)]
pub(super) struct Identity {
    client_id: Option<Box<[u8]>>,
    software: Option<Box<[u8]>>,
    principal: Option<Box<[u8]>>,
}

/// No client id or software name that means anything is longer.
const NAME_BYTES_MAX: usize = 128;

impl Identity {
    /// What the client's first request said, shortened; not to be trusted.
    pub(super) fn client_id(&self) -> Option<&[u8]> {
        self.client_id.as_deref()
    }

    pub(super) fn note_client_id(&mut self, client_id: Option<&[u8]>) {
        if self.client_id.is_none() {
            self.client_id = client_id.map(shortened);
        }
    }

    /// The client sends `token` for a login by `mechanism`, which may say who it is.
    pub(super) fn note_token(&mut self, mechanism: Option<Mechanism>, token: &[u8]) {
        let claimed = mechanism.and_then(|mechanism| principal::claimed(mechanism, token));
        if let Some(name) = claimed {
            self.principal = Some(shortened(name));
        }
    }

    /// Who it says to be when it logs in, safe to print.
    pub(super) fn principal(&self) -> Option<Box<str>> {
        let principal = self.principal.as_ref()?;
        Some(Shown::name(principal).to_string().into_boxed_str())
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
