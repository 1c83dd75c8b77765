//! Sockets that were opened before this process began, and are passed to it (`LISTEN_FDS`,
//! sd_listen_fds(3)): by a service manager, whose sockets outlive a restart, or by the process that
//! this one replaces. Each is used by whoever would bind exactly its address.
//!
//! A socket that nobody takes up must not stay open: clients would connect, and nobody would ever
//! accept them.

use super::socket;
use listenfd::ListenFd;
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;

/// What was passed to the process. Empty by default.
#[derive(Debug, Default)]
pub(crate) struct PassedSockets {
    listening: BTreeMap<SocketAddr, TcpListener>,
    predecessor: Option<UnixDatagram>,
}

/// A passed descriptor that is of no use here.
#[derive(Debug, thiserror::Error)]
#[error(
    "descriptor {descriptor} of those passed by LISTEN_FDS is not a TCP socket that listens: pass \
     only such (in a systemd socket unit ListenStream=IP:PORT, without Accept=yes)"
)]
pub(crate) struct PassedError {
    descriptor: usize,
}

impl PassedSockets {
    /// Takes what the environment speaks of. Changes the environment: to be called before there is
    /// a second thread.
    pub(crate) fn from_environment() -> Result<Self, PassedError> {
        let mut descriptors = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..descriptors.len() {
            if let Ok(Some(socket)) = descriptors.take_unix_datagram(index) {
                passed.predecessor = Some(socket);
                continue;
            }
            let useless = PassedError {
                descriptor: index + 3,
            };
            match descriptors.take_tcp_listener(index) {
                Ok(Some(socket)) if is_listening(&socket) => {
                    let Ok(address) = socket.local_addr() else {
                        return Err(useless);
                    };
                    passed.listening.insert(address, socket);
                }
                _ => return Err(useless),
            }
        }
        Ok(passed)
    }

    /// Listens on the socket that was passed for this address, or binds one.
    pub(crate) fn listen(&mut self, address: SocketAddr) -> io::Result<tokio::net::TcpListener> {
        let Some(socket) = self.listening.remove(&address) else {
            return socket::listen(address);
        };
        socket.set_nonblocking(true)?;
        socket::tune(&socket)?;
        tokio::net::TcpListener::from_std(socket)
    }

    /// Closes the sockets whose address is not `wanted`, and returns their addresses.
    pub(crate) fn close_unwanted(
        &mut self,
        wanted: impl Fn(&SocketAddr) -> bool,
    ) -> Vec<SocketAddr> {
        let unwanted = |(address, _): (&SocketAddr, _)| (!wanted(address)).then_some(*address);
        let closed: Vec<_> = self.listening.iter().filter_map(unwanted).collect();
        self.listening.retain(|address, _| wanted(address));
        closed
    }

    /// How many have not been taken.
    pub(crate) fn count(&self) -> usize {
        self.listening.len()
    }

    /// Whether the process that this one replaces has passed them.
    pub(crate) fn is_from_predecessor(&self) -> bool {
        self.predecessor.is_some()
    }

    /// Where the process that this one replaces waits to hear that all is bound.
    pub(crate) fn take_predecessor(&mut self) -> Option<UnixDatagram> {
        self.predecessor.take()
    }
}

fn is_listening(socket: &TcpListener) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}
