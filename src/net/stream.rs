//! One connection, with TLS or without: what a session and a probe read from and write to.

use super::socket;
use super::tls::TlsStream;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP alone. Its bytes can pass through the kernel.
    Plain(TcpStream),
    /// TLS, which ends here.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// The TCP connection, if it is nothing more: only then are its bytes those that the other side
    /// means.
    pub(crate) fn plain(&self) -> Option<&TcpStream> {
        if let Self::Plain(tcp) = self {
            Some(tcp)
        } else {
            None
        }
    }

    /// The TCP connection below, whatever its bytes mean.
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.tcp(),
        }
    }

    /// Whether the other side has closed or reset the connection: see [`socket::is_hung_up`].
    pub(crate) fn is_hung_up(&self) -> bool {
        socket::is_hung_up(self.tcp())
    }

    /// Whether some of a TLS record has come and the rest has not.
    pub(crate) fn is_mid_record(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.is_mid_record(),
        }
    }

    /// Waits until a read may find something, or registers to be woken. Cancel-safe.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => tcp.poll_read_ready(cx),
            Self::Tls(tls) => tls.poll_read_ready(cx),
        }
    }

    /// Sends some of `bytes`; `has_more` says that more follows at once. Cancel-safe.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        has_more: bool,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => socket::poll_send(cx, tcp, bytes, has_more),
            Self::Tls(tls) => tls.poll_send(cx, bytes),
        }
    }

    /// Sends what an earlier send has kept. Cancel-safe.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(tls) => tls.poll_drain(cx),
        }
    }

    /// Whether everything that was sent has left.
    pub(crate) fn is_drained(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => tls.is_drained(),
        }
    }
}

/// What can be asked whether a read may find something, before a buffer is borrowed for it.
pub(crate) trait ReadReady: AsyncRead + Unpin {
    /// Waits until a read may find something, or registers to be woken. Cancel-safe.
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl ReadReady for TcpStream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }
}

impl ReadReady for Stream {
    fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Self::poll_read_ready(self, cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, into),
            Self::Tls(tls) => tls
                .poll_read(cx, into.initialize_unfilled())
                .map_ok(|count| into.advance(count)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_send(cx, bytes, false)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_drain(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => tls.poll_shutdown(cx),
        }
    }
}
