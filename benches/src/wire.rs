//! What a client speaks at a relay: plain Kafka, TLS, or a TLS hello with plain Kafka behind it.

use crate::sys;
use crate::tls;
use anyhow::{Context, Result, ensure};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Nothing takes longer than this unless it fails.
pub const STALL: Duration = Duration::from_secs(5);
/// What a blocking stream reads at once: decrypted bytes come as many as there are.
const PLAIN_BLOCK_BYTES: usize = 16 * 1024;
const TLS_BLOCK_BYTES: usize = 256 * 1024;

/// Where a client comes in.
#[derive(Clone, Debug)]
pub struct Binding {
    pub address: SocketAddr,
    pub wire: Wire,
}

#[derive(Clone, Debug)]
pub enum Wire {
    Plain,
    Tls(tls::Client),
    /// These bytes first, then plain Kafka.
    Prefixed(Arc<[u8]>),
    /// A TLS hello like this one first, then plain Kafka. A relay that passes TLS through reads the
    /// hello and nothing after it, so both ends save themselves the cipher.
    Hello(Arc<[u8]>),
}

/// What a relay does with TLS, and what a workload needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Plain,
    /// The relay ends TLS.
    Tls,
    Passthrough,
}

impl Binding {
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            wire: Wire::Plain,
        }
    }

    pub fn transport(&self) -> Transport {
        match self.wire {
            Wire::Plain => Transport::Plain,
            Wire::Tls(_) => Transport::Tls,
            Wire::Prefixed(_) | Wire::Hello(_) => Transport::Passthrough,
        }
    }

    /// A new connection that does not block and is reset when closed, so that no port waits. A
    /// hello is sent.
    pub fn connect(&self) -> io::Result<Stream> {
        let socket = sys::connect(self.address)?;
        sys::reset_on_close(&socket)?;
        match &self.wire {
            Wire::Plain => Ok(Stream::Plain(socket)),
            Wire::Tls(client) => Ok(Stream::Tls(Box::new(tls::Stream::begin(client, socket)?))),
            Wire::Prefixed(bytes) => prefixed(socket, bytes),
            Wire::Hello(hello) => prefixed(socket, &made_anew(hello)),
        }
    }

    /// The same, but it blocks, and its handshake is through.
    pub fn connect_blocking(&self) -> Result<Stream> {
        let mut stream = self
            .connect()
            .with_context(|| format!("no connection to {}", self.address))?;
        stream.establish()?;
        Ok(stream)
    }
}

fn prefixed(socket: TcpStream, bytes: &[u8]) -> io::Result<Stream> {
    match sys::send(socket.as_raw_fd(), bytes, false)? {
        sent if sent == bytes.len() => Ok(Stream::Plain(socket)),
        _ => Err(io::Error::other("a new connection takes no hello")),
    }
}

/// Where a hello's random is: behind the heads of record and message, and the version.
const RANDOM: Range<usize> = 11..43;

/// The hello with another random: none is sent twice, and by the same one again Narrows would know
/// a connection that has come back to it.
fn made_anew(hello: &[u8]) -> Vec<u8> {
    let mut hello = hello.to_vec();
    if let Some(random) = hello.get_mut(RANDOM) {
        fastrand::fill(random);
    }
    hello
}

/// A connection.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<tls::Stream>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.socket(),
        }
    }

    pub fn fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }

    /// Takes what it can of `bytes`. It may keep some of what it takes: see [`Stream::has_unsent`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => sys::send(socket.as_raw_fd(), bytes, false),
            Self::Tls(stream) => stream.send(bytes),
        }
    }

    /// Reads once. 0 at the end.
    pub fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => sys::recv(socket.as_raw_fd(), buffer),
            Self::Tls(stream) => stream.recv(buffer),
        }
    }

    pub fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(stream) => stream.flush(),
        }
    }

    pub fn has_unsent(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.has_unsent())
    }

    /// Whether Kafka may be spoken; [`Stream::recv`] leads there.
    pub fn is_established(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(stream) => stream.is_established(),
        }
    }

    /// Makes it block, and goes through the handshake.
    pub fn establish(&mut self) -> Result<()> {
        self.set_blocking(true)?;
        let began = Instant::now();
        while !self.is_established() {
            ensure!(began.elapsed() < STALL, "no TLS handshake in {STALL:?}");
            match self.recv(&mut []) {
                Ok(0) => anyhow::bail!("closed in the TLS handshake"),
                Err(error) if !sys::is_later(&error) => {
                    return Err(error).context("the TLS handshake");
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub fn is_resumed(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.is_resumed())
    }

    /// Whether calls wait; not longer than [`STALL`] for bytes.
    pub fn set_blocking(&self, blocks: bool) -> io::Result<()> {
        self.socket().set_nonblocking(!blocks)?;
        self.socket().set_read_timeout(Some(STALL))
    }

    /// All of it, on a stream that blocks.
    pub fn send_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = self.send(bytes)?;
            bytes = &bytes[sent..];
        }
        self.flush()
    }

    /// The next frame without its length, on a stream that blocks and on which nothing follows that
    /// frame.
    pub fn frame(&mut self) -> Result<Vec<u8>> {
        let block_bytes = if matches!(self, Self::Tls(_)) {
            TLS_BLOCK_BYTES
        } else {
            PLAIN_BLOCK_BYTES
        };
        let mut frame = Vec::new();
        let mut block = vec![0; block_bytes];
        let began = Instant::now();
        loop {
            let length = frame
                .first_chunk()
                .map(|length| u32::from_be_bytes(*length) as usize);
            if length.is_some_and(|length| frame.len() >= 4 + length) {
                return Ok(frame.split_off(4));
            }
            ensure!(began.elapsed() < STALL, "no answer in {STALL:?}");
            match self.recv(&mut block) {
                Ok(0) => anyhow::bail!("the connection ended in front of its answer"),
                Ok(count) => frame.extend_from_slice(&block[..count]),
                Err(error) if sys::is_later(&error) => {}
                Err(error) => return Err(error).context("no answer"),
            }
        }
    }

    /// One request and its answer, on a stream that blocks.
    pub fn ask(&mut self, request: &[u8]) -> Result<Vec<u8>> {
        self.send_all(request)?;
        self.frame()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hellos_differ_by_their_random_alone() {
        let hello: Vec<u8> = (0..100).collect();
        let (one, other) = (made_anew(&hello), made_anew(&hello));
        assert_ne!(one[RANDOM], other[RANDOM]);
        for made in [one, other] {
            assert_eq!(made[..RANDOM.start], hello[..RANDOM.start]);
            assert_eq!(made[RANDOM.end..], hello[RANDOM.end..]);
        }
        assert_eq!(made_anew(b"no hello"), b"no hello");
    }
}
