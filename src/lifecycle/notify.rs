//! What a service manager is told of the process: sd_notify(3), for systemd's `Type=notify`.
//!
//! The manager names a datagram socket in `NOTIFY_SOCKET`; a path, or an abstract name behind `@`.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// That all is bound; also what a process says to the one that it replaces.
pub(super) const READY: &str = "READY=1";

/// What the process has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServiceState {
    /// Every port is bound: what waits for this service may start.
    Ready,
    /// It goes down because it was told to.
    Stopping,
    /// From now on this process is the service.
    MainProcess(u32),
}

/// Tells the service manager, where there is one that wants to know. Never waits: an error is that
/// it can't be told, which the process need not mind.
pub(crate) fn notify(state: ServiceState) -> io::Result<()> {
    match std::env::var_os("NOTIFY_SOCKET") {
        Some(socket) => notify_at(&socket, state),
        None => Ok(()),
    }
}

fn notify_at(socket: &OsStr, state: ServiceState) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let text = match state {
        ServiceState::Ready => READY.to_owned(),
        ServiceState::Stopping => "STOPPING=1".to_owned(),
        ServiceState::MainProcess(id) => format!("MAINPID={id}"),
    };
    let datagrams = UnixDatagram::unbound()?;
    datagrams.set_nonblocking(true)?;
    datagrams.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(manager: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_manager_at_a_path_is_told_that_all_is_ready() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify_at(path.as_os_str(), ServiceState::Ready).unwrap();
        assert_eq!(received(&manager), "READY=1");
    }

    #[test]
    fn a_manager_with_an_abstract_name_is_told_of_the_end() {
        let name = format!("narrows-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let at = format!("@{name}");
        notify_at(OsStr::new(&at), ServiceState::Stopping).unwrap();
        assert_eq!(received(&manager), "STOPPING=1");
        notify_at(OsStr::new(&at), ServiceState::MainProcess(77)).unwrap();
        assert_eq!(received(&manager), "MAINPID=77");
    }

    #[test]
    fn a_manager_that_is_not_there_is_an_error_and_no_wait() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = folder.path().join("notify");
        assert!(notify_at(nobody.as_os_str(), ServiceState::Ready).is_err());
    }
}
