//! From the accept to where Kafka begins: whose connection it is, whom it is meant for, and who speaks TLS with whom.
//!
//! The first bytes are judged before a decoder or TLS library sees them. Where this listener ends TLS, the handshake happens here;
//! where it only passes it through, its hello has said which broker the stream goes to. All of it has one deadline.

use super::cause::Cause;
use super::door::{self, Way};
use super::first_bytes::{self, Speech, TELLING_BYTES};
use super::origin::Origin;
use super::{Entry, ListenerTls, Session};
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::net::hello::{self, Hello};
use crate::net::stream::Stream;
use crate::net::tls::{self, ServerTls, TlsStream};
use std::io;
use std::time::Instant;
use tokio::net::TcpStream;

/// A PROXY protocol header has 64 KiB at the most, and a hello behind it 16.
const OPENING_BYTES_MAX: usize = BUFFER_BYTES;

/// What a connection has turned out to be.
#[derive(Debug)]
pub(super) enum Opened {
    /// Kafka begins here, with the bytes that have arrived.
    Kafka(Stream, Option<Buffer>),
    /// TLS that is not for Klamm: it goes to the broker's TLS port, if that is another than the one in the map.
    Tunnel(TcpStream, Buffer, Option<u16>),
}

/// Why it came to nothing, and the connection for the last words, if there is one.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Cause, pub(super) Option<TcpStream>);

impl Session {
    /// Opens a connection.
    pub(super) async fn open(&mut self, client: TcpStream) -> Result<Opened, Failed> {
        let Some(settings) = self.behind.any().map(|context| context.setup().session) else {
            return Err(Failed(Cause::Drained, None));
        };
        let timeout =
            if self.is_plain() { settings.first_frame_timeout } else { settings.tls_handshake_timeout };
        let deadline = self.began + timeout;
        if self.is_plain() && !self.behind.proxy_protocol.is_expected() {
            return Ok(Opened::Kafka(Stream::Plain(client), None));
        }
        let first = tokio::time::timeout_at(deadline, self.first_bytes(&client)).await;
        let late = if self.is_plain() { Cause::FirstFrameTimeout } else { Cause::HandshakeTimeout };
        let buffer = match first.unwrap_or(Err(late(timeout))) {
            Ok(buffer) => buffer,
            Err(cause) => return Err(Failed(cause, Some(client))),
        };
        match self.entry.as_ref().and_then(|entry| entry.setup.tls.clone()) {
            None => Ok(Opened::Kafka(Stream::Plain(client), Some(buffer))),
            Some(ListenerTls::Passthrough { broker_port }) => Ok(Opened::Tunnel(client, buffer, broker_port)),
            Some(ListenerTls::Terminate(tls)) => {
                let shaken = tokio::time::timeout_at(deadline, self.shake_hands(client, buffer, &tls)).await;
                shaken.unwrap_or(Err(Failed(Cause::HandshakeTimeout(timeout), None)))
            }
        }
    }

    /// Whether no TLS is spoken on this port.
    fn is_plain(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.setup.tls.is_none())
    }

    /// Waits for the bytes that come first, until they say whose connection it is, and where TLS is spoken, whom it is meant for.
    async fn first_bytes(&mut self, client: &TcpStream) -> Result<Buffer, Cause> {
        let Some(pool) = self.behind.any().map(|context| context.shared().buffers.clone()) else {
            return Err(Cause::Drained);
        };
        client.readable().await.map_err(Cause::ClientFailed)?;
        let (mut buffer, mut is_begun) = (pool.borrow(), false);
        loop {
            is_begun = is_begun || self.is_begun(&mut buffer)?;
            if is_begun && (self.is_plain() || self.is_named(buffer.filled())?) {
                return Ok(buffer);
            }
            buffer.park(hello::HELLO_BYTES_MAX);
            client.readable().await.map_err(Cause::ClientFailed)?;
            let Some(spare) = buffer.spare(OPENING_BYTES_MAX) else {
                // Both a header and a hello are refused before they are so long.
                return Err(Cause::RequestHeaderTooLarge(OPENING_BYTES_MAX));
            };
            match client.try_read(spare) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(Cause::ClientFailed(error)),
                Ok(0) if buffer.is_empty() => return Err(Cause::Empty),
                Ok(0) => return Err(Cause::ClientClosed),
                Ok(count) => buffer.add(count),
            }
        }
    }

    /// Whether it is known whose connection this is; a header that said so is taken off.
    fn is_begun(&mut self, buffer: &mut Buffer) -> Result<bool, Cause> {
        match self.behind.proxy_protocol.origin(self.peer.ip(), buffer.filled())? {
            Origin::Unclear => Ok(false),
            Origin::Known { client, bytes } => {
                buffer.consume(bytes);
                if let Some(client) = client {
                    self.via = Some(std::mem::replace(&mut self.peer, client));
                }
                Ok(true)
            }
        }
    }

    /// Whether a whole hello is there; its name says which listener and broker it is meant for, where the port does not.
    fn is_named(&mut self, bytes: &[u8]) -> Result<bool, Cause> {
        let hello: Hello<'_> = match hello::read(bytes) {
            Ok(hello::Beginning::Hello(hello)) => hello,
            Ok(hello::Beginning::Incomplete) => return Ok(false),
            Ok(hello::Beginning::Other) if bytes.len() < TELLING_BYTES.min(4) => return Ok(false),
            Ok(hello::Beginning::Other) => return Err(not_tls(bytes)),
            Err(error) => return Err(Cause::HelloMalformed(error)),
        };
        if let Way::Name { listeners, .. } = &self.behind.way {
            let (context, target) = door::named(listeners, hello.server_name.as_deref())?;
            self.enter(Entry::new(context, target));
        }
        Ok(true)
    }

    async fn shake_hands(
        &mut self,
        client: TcpStream,
        hello: Buffer,
        settings: &ServerTls,
    ) -> Result<Opened, Failed> {
        let began = Instant::now();
        let pool = self.behind.any().map(|context| context.shared().buffers.clone()).unwrap_or_default();
        let shaken = TlsStream::accept(client, hello, settings, &pool).await;
        let metrics = self.metrics();
        match shaken {
            Ok(stream) => {
                let agreed = stream.agreed();
                metrics.handshake(agreed.version, if agreed.is_resumed { "resumed" } else { "full" });
                metrics.handshake_seconds.observe(began.elapsed().as_secs_f64());
                self.tls =
                    Some((agreed, stream.peer_certificate().map(|certificate| tls::describe(certificate))));
                Ok(Opened::Kafka(Stream::Tls(Box::new(stream)), None))
            }
            Err(error) => {
                metrics.handshake("none", error.code());
                Err(Failed(Cause::from(&error), error.into_connection()))
            }
        }
    }
}

/// What came in the place of a hello.
fn not_tls(bytes: &[u8]) -> Cause {
    let speech = Speech::of(bytes);
    let sender =
        if speech == Speech::Kafka { format!(", {}", first_bytes::sender(bytes)) } else { String::new() };
    Cause::NotTls { speech, sender, first: bytes[..bytes.len().min(TELLING_BYTES)].to_vec() }
}
