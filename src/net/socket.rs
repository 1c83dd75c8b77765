//! Socket options that every connection gets, on both sides, and the one way to send.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Below the shortest idle timeout of the usual load balancers (Azure: 240 s), so that idle
/// clients, many of which send no keepalives themselves, are not cut off in silence.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 6;

/// Connections that wait to be accepted; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: u32 = 4096;

/// How long what was sent may stay unacknowledged, and a peer without room for more, before the
/// system ends the connection: as long as keepalive gives a peer that is silent. Without it a peer
/// that vanished with unread bytes outlives keepalive, which does not probe while something is in
/// flight, by a quarter of an hour (`tcp_retries2`). The system takes a peer that reads nothing for
/// one that is gone, so this must not be shorter than what a reader may take its time for.
pub(crate) const USER_TIMEOUT: Duration = Duration::from_secs(120);

/// TCP_NODELAY, as requests and responses wait for each other; keepalive every minute;
/// [`USER_TIMEOUT`]. What is accepted from a socket that listens has its options from the
/// beginning: tcp(7).
pub(crate) fn tune<'a>(socket: impl Into<SockRef<'a>>) -> io::Result<()> {
    let socket = socket.into();
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}

/// Whether the other side has closed or reset the connection, be there bytes before that or not.
/// For whoever does not read from it now: a reader finds the end by itself.
pub(crate) fn is_hung_up(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec::default();
    // HUP and ERR are always told. A poll that fails says nothing; the next one will.
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Binds and listens, for connections that are [tuned](tune).
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    socket.set_reuseaddr(true)?;
    tune(&socket)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Sends what the socket takes of `bytes`; `has_more` keeps a last segment that is not full for
/// what follows at once. Cancel-safe.
pub(crate) fn poll_send(
    cx: &mut Context<'_>,
    to: &TcpStream,
    bytes: &[u8],
    has_more: bool,
) -> Poll<io::Result<usize>> {
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, has_more);
    loop {
        ready!(to.poll_write_ready(cx))?;
        match to.try_io(Interest::WRITABLE, || Ok(send(to, bytes, flags)?)) {
            Err(error) if is_transient(&error) => {}
            Ok(0) if !bytes.is_empty() => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            sent => return Poll::Ready(sent),
        }
    }
}

/// Copies what the socket has next, up to the size of `bytes`, and leaves it there: how much, 0 at
/// the end of the stream. Cancel-safe.
///
/// When it is less than asked for, there was no more: the socket then counts as not ready until
/// something new arrives. Whoever has peeked takes the bytes without asking whether it is ready.
pub(crate) fn poll_peek(
    cx: &mut Context<'_>,
    from: &TcpStream,
    bytes: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        ready!(from.poll_read_ready(cx))?;
        let mut short = None;
        let peeked = from.try_io(Interest::READABLE, || {
            let (_, count) = recv(from, &mut *bytes, RecvFlags::PEEK)?;
            if 0 < count && count < bytes.len() {
                short = Some(count);
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        });
        match (short, peeked) {
            (Some(count), _) => return Poll::Ready(Ok(count)),
            (None, Err(error)) if is_transient(&error) => {}
            (None, peeked) => return Poll::Ready(peeked),
        }
    }
}

/// The most that [`discard`] takes.
pub(crate) const PEEKED_BYTES_MAX: usize = 1024;

/// Takes `count` bytes out of a socket and drops them: they have been peeked at, so they are there.
pub(crate) fn discard(from: &TcpStream, count: usize) -> io::Result<()> {
    // With MSG_TRUNC, TCP drops the bytes and writes nothing: tcp(7).
    let mut nothing = [0; PEEKED_BYTES_MAX];
    let (_, dropped) = recv(
        from,
        &mut nothing[..count],
        RecvFlags::TRUNC | RecvFlags::DONTWAIT,
    )?;
    if dropped == count {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Tokio has noted that the socket is not ready, or a signal came: poll again.
pub(super) fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_system_ends_a_connection_whose_peer_has_vanished_with_unread_bytes_or_without() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let at = listener.local_addr().unwrap();
        let dialled = TcpStream::connect(at).await.unwrap();
        tune(&dialled).unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        let silence = KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES;
        assert_eq!(silence, USER_TIMEOUT, "either is noticed equally soon");
        for (side, stream) in [("dialled", dialled), ("accepted", accepted)] {
            let socket = SockRef::from(&stream);
            let timeout = socket.tcp_user_timeout().unwrap();
            assert_eq!(timeout, Some(USER_TIMEOUT), "{side}");
            assert!(socket.tcp_nodelay().unwrap(), "{side}");
            assert!(socket.keepalive().unwrap(), "{side}");
            let time = socket.tcp_keepalive_time().unwrap();
            assert_eq!(time, KEEPALIVE_IDLE, "{side}");
            let interval = socket.tcp_keepalive_interval().unwrap();
            assert_eq!(interval, KEEPALIVE_INTERVAL, "{side}");
            let probes = socket.tcp_keepalive_retries().unwrap();
            assert_eq!(probes, KEEPALIVE_PROBES, "{side}");
        }
    }
}
