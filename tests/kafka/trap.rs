//! The leak trap: in the clients' namespace it listens on every address and port that belongs to a
//! broker, and notes each connection. A client that was told a broker's own address is caught in
//! the act, with the address named.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result, ensure};

use crate::brokers::ports;
use crate::namespaces::{NODE_IDS, Namespaces, Side, broker_ip};

/// Where clients dialled that they must never have heard of, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeakTrap {
    dialled: Arc<Mutex<Vec<SocketAddr>>>,
}

impl LeakTrap {
    /// Sets the trap on all ports of all brokers, present or future. Its threads end with the
    /// process.
    pub(crate) fn set(namespaces: &Namespaces) -> Result<Self> {
        let trap = Self::default();
        let addresses = NODE_IDS
            .iter()
            .flat_map(|id| ports::ALL.map(|port| SocketAddr::from((broker_ip(*id), port))));
        for address in addresses {
            let listener = namespaces
                .inside(Side::Clients, || TcpListener::bind(address))?
                .with_context(|| format!("the leak trap could not listen on {address}"))?;
            let dialled = Arc::clone(&trap.dialled);
            thread::spawn(move || {
                // Accepted, noted, then closed: the client sees an end, never a Kafka answer.
                while let Ok(_caught) = listener.accept() {
                    dialled
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(address);
                }
            });
        }
        Ok(trap)
    }

    /// How many dials were caught so far: hand it to [`Self::ensure_silent_since`].
    pub(crate) fn mark(&self) -> usize {
        self.dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    /// What was dialled since the mark.
    pub(crate) fn since(&self, mark: usize) -> Vec<SocketAddr> {
        self.dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .skip(mark)
            .copied()
            .collect()
    }

    /// Forgets everything: for the test that sets it off on purpose, with the fixture for itself.
    pub(crate) fn forget(&self) {
        self.dialled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// # Errors
    /// When a client dialled a broker's own address since the mark.
    pub(crate) fn ensure_silent_since(&self, mark: usize) -> Result<()> {
        let mut caught = self.since(mark);
        let times = caught.len();
        caught.sort_unstable();
        caught.dedup();
        ensure!(
            caught.is_empty(),
            "a broker's own address leaked: a client dialled {caught:?} ({times} times in all)"
        );
        Ok(())
    }
}
