//! The process that takes this one's place: the same command line once more, by its name and not
//! by its file, so that a binary that has been replaced is found; with every listening socket
//! passed on, from descriptor 3 as `LISTEN_FDS` says (sd_listen_fds(3)).
//!
//! Both processes accept from the same sockets for a while, so no connection is refused. The last
//! descriptor is a Unix datagram socket, by which the new process says that it is ready
//! ([`tell_predecessor`]). Until it has, this one goes on as if nothing had happened.

use super::notify::READY;
use command_fds::{CommandFdExt, FdMapping};
use std::ffi::OsString;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long the new process may take: it reads its configuration and binds what is new, and does
/// not wait for brokers.
const READY_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the new process is looked at while it has not said anything.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// The first descriptor that is passed: those before it are the standard ones.
const FIRST_DESCRIPTOR: RawFd = 3;

/// Why no other process has taken this one's place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SuccessorError {
    /// Nobody knows what this process was started as.
    #[error("this process was started without a name, so it can't be started again: restart it")]
    NoName,
    /// It could not be started.
    #[error("{} can't be started: {reason}", .program.display())]
    Start {
        /// The program.
        program: OsString,
        /// What the system said.
        reason: io::Error,
    },
    /// It has ended by itself.
    #[error("the new process has ended before it was ready ({0}): its own lines say why")]
    Ended(ExitStatus),
    /// It has not said that it is ready.
    #[error("the new process was not ready within {READY_TIMEOUT:?} and has been ended")]
    Late,
    /// Nobody wants it any more.
    #[error("this process was told to end first")]
    GivenUp,
    /// It can't be asked.
    #[error("the new process can't be waited for: {0}")]
    Lost(io::Error),
}

/// A process that is starting. Dropped before it is ready, it is ended.
#[derive(Debug)]
pub(crate) struct Successor {
    child: Child,
    is_ready: bool,
    says: UnixDatagram,
}

impl Successor {
    /// Starts it with these sockets. Blocks as long as a fork takes.
    pub(crate) fn start(sockets: Vec<OwnedFd>) -> Result<Self, SuccessorError> {
        let mut line = std::env::args_os();
        let program = line.next().ok_or(SuccessorError::NoName)?;
        let failed = |reason| SuccessorError::Start {
            program: program.clone(),
            reason,
        };
        let (says, ready) = UnixDatagram::pair().map_err(failed)?;
        says.set_read_timeout(Some(LOOK_INTERVAL)).map_err(failed)?;
        let passed: Vec<FdMapping> = (FIRST_DESCRIPTOR..)
            .zip(sockets.into_iter().chain([ready.into()]))
            .map(|(child_fd, parent_fd)| FdMapping {
                parent_fd,
                child_fd,
            })
            .collect();
        let mut command = Command::new(&program);
        command
            .args(line)
            .stdin(Stdio::null())
            .env("LISTEN_FDS", passed.len().to_string())
            // The process id is not known before there is the process.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDNAMES");
        command
            .fd_mappings(passed)
            .map_err(|error| failed(io::Error::other(error)))?;
        let child = command.spawn().map_err(failed)?;
        Ok(Self {
            child,
            is_ready: false,
            says,
        })
    }

    /// Waits until it is ready: its process id. Blocks, a minute at the most; ends it when it is
    /// late or `is_given_up`.
    pub(crate) fn ready(mut self, is_given_up: &Arc<AtomicBool>) -> Result<u32, SuccessorError> {
        let began = Instant::now();
        loop {
            match self.says.recv(&mut [0; READY.len()]) {
                Ok(_) => {
                    self.is_ready = true;
                    return Ok(self.child.id());
                }
                Err(error) if is_nothing_yet(&error) => {}
                Err(error) => return Err(SuccessorError::Lost(error)),
            }
            if let Some(status) = self.child.try_wait().map_err(SuccessorError::Lost)? {
                return Err(SuccessorError::Ended(status));
            }
            if is_given_up.load(Relaxed) {
                return Err(SuccessorError::GivenUp);
            }
            if began.elapsed() > READY_TIMEOUT {
                return Err(SuccessorError::Late);
            }
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.is_ready {
            // It may have ended by itself.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

/// Says to the process that this one replaces that it is ready. An error means that nobody listens
/// any more: that process has ended, or been told to, and so must this one.
pub(crate) fn tell_predecessor(predecessor: &UnixDatagram) -> io::Result<()> {
    predecessor.send(READY.as_bytes()).map(drop)
}
