//! Where connections come in: one socket, and what a connection on it can be meant for.
//!
//! The port says it, where each broker has its own; or the server name in the TLS hello says it,
//! and then several listeners may stand behind one door. What stands behind a door is swapped whole
//! by a reload, while the socket stays open.

use super::proxy_protocol::ProxyProtocol;
use crate::address::SniScheme;
use crate::lifecycle::Stop;
use crate::observe::metrics::ListenerMetrics;
use crate::observe::text::Shown;
use crate::session::{Cause, Entry, ListenerContext, Resources, SessionSettings};
use crate::types::Target;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// No DNS name is longer (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// A door.
#[derive(Debug)]
pub struct Binding {
    behind: ArcSwap<BindingState>,
}

/// What stands behind a door.
#[derive(Clone, Debug)]
pub struct BindingState {
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Whom a connection is meant for.
    pub way: Identification,
    /// Where buffers come from, and what went wrong lately.
    pub shared: Resources,
    /// The limits of a session.
    pub session: SessionSettings,
    /// When connections on it end that have not said yet whom they are meant for, or need not say
    /// it.
    pub stop: Stop,
}

/// How a connection says whom it is meant for.
#[derive(Clone, Debug)]
pub enum Identification {
    /// By the port: it is this.
    Port(Arc<ListenerContext>, Target),
    /// By the server name in its TLS hello.
    Sni {
        /// The listeners that have names here; no two have the same.
        listeners: Vec<Arc<ListenerContext>>,
        /// Where connections are counted as long as they have not said a name.
        unnamed: ListenerMetrics,
    },
}

impl Binding {
    /// A door with this behind it.
    pub fn new(behind: BindingState) -> Self {
        Self {
            behind: ArcSwap::from_pointee(behind),
        }
    }

    /// What stands behind it now.
    pub fn behind(&self) -> Arc<BindingState> {
        self.behind.load_full()
    }

    /// From now on this stands behind it.
    pub fn change(&self, behind: BindingState) {
        self.behind.store(Arc::new(behind));
    }
}

impl BindingState {
    /// Where its connections are counted before they have said whom they are meant for.
    pub fn metrics(&self) -> &ListenerMetrics {
        match &self.way {
            Identification::Port(context, _) => context.metrics(),
            Identification::Sni { unnamed, .. } => unnamed,
        }
    }

    /// Where its connections enter, if the port says it.
    pub(super) fn entry(&self) -> Option<Entry> {
        match &self.way {
            Identification::Port(context, target) => {
                Some(Entry::new(Arc::clone(context), *target, self.stop.clone()))
            }
            Identification::Sni { .. } => None,
        }
    }

    /// The names of its listeners, for log lines.
    pub fn name(&self) -> String {
        match &self.way {
            Identification::Port(context, _) => context.listener().to_string(),
            Identification::Sni { listeners, .. } => {
                join(listeners.iter().map(|listener| listener.listener()), ",")
            }
        }
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
