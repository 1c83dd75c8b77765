//! Where connections come in: one socket, and what a connection on it can be meant for.
//!
//! The port says it, where each broker has its own; or the server name in the TLS hello says it,
//! and then several listeners may share one port. A reload swaps the state of a binding whole,
//! while its socket stays open.

use super::limits::Limits;
use super::proxy_protocol::ProxyProtocol;
use crate::address::SniScheme;
use crate::lifecycle::Stop;
use crate::observe::metrics::ListenerMetrics;
use crate::observe::text::Shown;
use crate::session::{Cause, Entry, ListenerContext, Resources, SessionSettings};
use crate::types::Target;
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;

/// No DNS name is longer (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// One socket's meaning.
#[derive(Debug)]
pub(crate) struct Binding {
    state: ArcSwap<BindingState>,
}

/// What a connection on a binding needs to know.
#[derive(Clone, Debug)]
pub(crate) struct BindingState {
    /// The address of its socket, for log lines.
    pub(crate) address: SocketAddr,
    /// Whether connections begin with a PROXY protocol header.
    pub(crate) proxy_protocol: ProxyProtocol,
    /// Whom a connection is meant for.
    pub(crate) identification: Identification,
    /// What all listeners share.
    pub(crate) resources: Resources,
    /// Who is let in.
    pub(crate) limits: Limits,
    /// The limits of a session.
    pub(crate) session: SessionSettings,
    /// When its connections end, as long as they have not named a listener of their own to end
    /// with.
    pub(crate) stop: Stop,
}

/// How a connection says whom it is meant for.
#[derive(Clone, Debug)]
pub(crate) enum Identification {
    /// By the port: it is this.
    Port(Arc<ListenerContext>, Target),
    /// By the server name in its TLS hello.
    Sni {
        /// The listeners that have names here; no two have the same.
        listeners: Vec<Arc<ListenerContext>>,
        /// Where connections are counted as long as they have not said a name: at the listener, if
        /// there is one only, else under [`UNIDENTIFIED`](crate::observe::metrics::UNIDENTIFIED).
        unidentified: ListenerMetrics,
    },
}

impl Binding {
    /// A binding in this state.
    pub(crate) fn new(state: BindingState) -> Self {
        Self {
            state: ArcSwap::from_pointee(state),
        }
    }

    /// Its state now.
    pub(crate) fn state(&self) -> Arc<BindingState> {
        self.state.load_full()
    }

    /// New connections find this state; those that stand keep what they found.
    pub(crate) fn change(&self, state: BindingState) {
        self.state.store(Arc::new(state));
    }
}

impl BindingState {
    /// Where its connections are counted before they have said whom they are meant for.
    pub(crate) fn metrics(&self) -> &ListenerMetrics {
        match &self.identification {
            Identification::Port(context, _) => context.metrics(),
            Identification::Sni { unidentified, .. } => unidentified,
        }
    }

    /// Where its connections enter, if the port says it.
    pub(super) fn entry(&self) -> Option<Entry> {
        match &self.identification {
            Identification::Port(context, target) => {
                Some(Entry::new(Arc::clone(context), *target, self.stop.clone()))
            }
            Identification::Sni { .. } => None,
        }
    }

    /// The listener of its connections before they have said whom they are meant for, for log
    /// lines: the same as the metrics have.
    pub(crate) fn name(&self) -> String {
        self.metrics().listener().to_string()
    }
}

/// The listener and the broker that have `name`, which is whatever a hello said. It is a key into
/// the configured names, and nothing else: it is never resolved or dialled.
pub(super) fn named(
    listeners: &[Arc<ListenerContext>],
    name: Option<&[u8]>,
) -> Result<Entry, Cause> {
    let setups: Vec<_> = listeners
        .iter()
        .map(|listener| (listener, listener.setup()))
        .collect();
    let found = setups.iter().find_map(|(listener, setup)| {
        let target = setup.scheme.sni()?.identify(name?)?;
        // The port may stay while the listener goes: its connections go with it.
        let stop = listener.stop().clone();
        Some(Entry::new(Arc::clone(listener), target, stop))
    });
    found.ok_or_else(|| {
        nobody(
            setups.iter().filter_map(|(_, setup)| setup.scheme.sni()),
            name,
        )
    })
}

/// Why `name` leads nowhere.
fn nobody<'a>(schemes: impl Iterator<Item = &'a SniScheme> + Clone, name: Option<&[u8]>) -> Cause {
    let names = schemes
        .clone()
        .map(|scheme| format!("{}, {}", scheme.bootstrap_host(), scheme.pattern()));
    let configured = join(names, ", ");
    let Some(name) = name else {
        return Cause::ServerNameMissing { configured };
    };
    let text = String::from_utf8_lossy(&name[..name.len().min(NAME_BYTES_MAX)]);
    let nearest = schemes
        .map(|scheme| scheme.alike(&text))
        .max_by(|a, b| a.1.total_cmp(&b.1));
    let nearest = nearest.map_or_else(String::new, |(nearest, _)| nearest);
    Cause::ServerNameUnknown {
        came: Shown::name(name).to_string(),
        configured,
        nearest,
    }
}

fn join<T: ToString>(items: impl Iterator<Item = T>, between: &str) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(between)
}
