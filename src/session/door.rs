//! Where connections come in: one socket, and what a connection on it can be meant for.
//!
//! The port says it, where each broker has its own; or the server name in the TLS hello says it,
//! and then several listeners may stand behind one door. What stands behind a door is swapped whole
//! by a reload, while the socket stays open.

use super::cause::Cause;
use super::origin::ProxyProtocol;
use super::{Context, SessionSettings, Shared};
use crate::address::SniScheme;
use crate::lifecycle::Stop;
use crate::observe::metrics::ListenerMetrics;
use crate::observe::text::Shown;
use crate::types::Target;
use arc_swap::ArcSwap;
use std::sync::Arc;

/// No DNS name is longer (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 255;

/// A door.
#[derive(Debug)]
pub struct Door {
    behind: ArcSwap<Behind>,
}

/// What stands behind a door.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Whether connections begin with a PROXY protocol header.
    pub proxy_protocol: ProxyProtocol,
    /// Whom a connection is meant for.
    pub way: Way,
    /// Where buffers come from, and what went wrong lately.
    pub shared: Shared,
    /// The limits of a session.
    pub session: SessionSettings,
    /// When connections on it end that have not said yet whom they are meant for, or need not say
    /// it.
    pub stop: Stop,
}

/// How a connection says whom it is meant for.
#[derive(Clone, Debug)]
pub enum Way {
    /// By the port: it is this.
    Port(Arc<Context>, Target),
    /// By the server name in its TLS hello.
    Name {
        /// The listeners that have names here; no two have the same.
        listeners: Vec<Arc<Context>>,
        /// Where connections are counted as long as they have not said a name.
        unnamed: ListenerMetrics,
    },
}

impl Door {
    /// A door with this behind it.
    pub fn new(behind: Behind) -> Self {
        Self {
            behind: ArcSwap::from_pointee(behind),
        }
    }

    /// What stands behind it now.
    pub fn behind(&self) -> Arc<Behind> {
        self.behind.load_full()
    }

    /// From now on this stands behind it.
    pub fn change(&self, behind: Behind) {
        self.behind.store(Arc::new(behind));
    }
}

impl Behind {
    /// Where its connections are counted before they have said whom they are meant for.
    pub fn metrics(&self) -> &ListenerMetrics {
        match &self.way {
            Way::Port(context, _) => context.metrics(),
            Way::Name { unnamed, .. } => unnamed,
        }
    }

    /// The names of its listeners, for log lines.
    pub fn name(&self) -> String {
        match &self.way {
            Way::Port(context, _) => context.listener().to_string(),
            Way::Name { listeners, .. } => {
                join(listeners.iter().map(|listener| listener.listener()), ",")
            }
        }
    }
}

/// The listener and the broker that have `name`, which is whatever a hello said. It is a key into
/// the configured names, and nothing else: it is never resolved or dialled.
pub(super) fn named(
    listeners: &[Arc<Context>],
    name: Option<&[u8]>,
) -> Result<(Arc<Context>, Target), Cause> {
    let setups: Vec<_> = listeners
        .iter()
        .map(|listener| (listener, listener.setup()))
        .collect();
    let found = setups.iter().find_map(|(listener, setup)| {
        let target = setup.scheme.sni()?.identify(name?)?;
        Some((Arc::clone(listener), target))
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
