//! From the accept to where Kafka begins: whose connection it is, whom it is meant for, and who
//! speaks TLS with whom.
//!
//! The first bytes are judged before a decoder or TLS library sees them. Where this listener ends
//! TLS, the handshake happens here; where it only passes it through, its hello has said which
//! broker the stream goes to. All of it has one deadline.

use super::binding::{self, Identification};
use super::connection::Connection;
use super::proxy_protocol::Origin;
use crate::net::buffer::Buffer;
use crate::net::hello::{self, Hello};
use crate::net::socket;
use crate::net::stream::Stream;
use crate::net::tls::{self, HandshakeError, ServerTls, TlsStream};
use crate::observe::text::Shown;
use crate::session::{
    self, Cause, DETECTION_BYTES, DetectedProtocol, Entry, FirstBytes, HANDSHAKE_GONE, Incoming,
    IncomingClient, ListenerTls,
};
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Instant;
use tokio::net::TcpStream;

/// Why it came to nothing, and the connection for the last words, if there is one.
#[derive(Debug)]
pub(super) struct Failed(pub(super) Cause, pub(super) Option<TcpStream>);

impl Connection {
    /// Opens a connection: what it has turned out to be, and whom it is meant for. A drain waits
    /// for a handshake that has begun, so that its end can be said in TLS.
    pub(super) async fn open(&mut self, mut tcp: TcpStream) -> Result<Incoming, Failed> {
        let settings = self.binding.session;
        let plain = self.plain_entry();
        let timeout = if plain.is_some() {
            settings.first_frame_timeout
        } else {
            settings.tls_handshake_timeout
        };
        let late = if plain.is_some() {
            Cause::FirstFrameTimeout
        } else {
            Cause::HandshakeTimeout
        };
        if let Some(entry) = plain
            && !self.binding.proxy_protocol.is_expected()
        {
            return Ok(self.incoming(IncomingClient::Kafka(Stream::Plain(tcp), None), entry));
        }
        let deadline = self.accepted_at + timeout;
        let stop = self.stop().clone();
        let first = tokio::select! {
            first = tokio::time::timeout_at(deadline, self.first_bytes(&mut tcp)) => first,
            () = stop.draining() => Ok(Err(Cause::Drained)),
        };
        let (buffer, entry) = match first.unwrap_or(Err(late(timeout))) {
            Ok(first) => first,
            Err(cause) => return Err(Failed(cause, Some(tcp))),
        };
        let client = match &entry.setup.tls {
            None => IncomingClient::Kafka(Stream::Plain(tcp), Some(buffer)),
            Some(ListenerTls::Passthrough { broker_port }) => IncomingClient::Passthrough {
                tcp,
                hello: buffer,
                broker_port: *broker_port,
            },
            Some(ListenerTls::Terminate(tls)) => {
                // In a place of its own, which an idle session does not keep.
                let handshake = Box::pin(self.handshake(tcp, buffer, tls));
                let shaken = tokio::time::timeout_at(deadline, handshake).await;
                let stream = shaken.unwrap_or(Err(Failed(late(timeout), None)))?;
                IncomingClient::Kafka(stream, None)
            }
        };
        Ok(self.incoming(client, entry))
    }

    fn incoming(&mut self, client: IncomingClient, entry: Entry) -> Incoming {
        Incoming {
            client,
            entry,
            source: self.peer.ip(),
            accepted_at: self.accepted_at,
            newcomer: self.newcomer(),
        }
    }

    /// Whom it is meant for, where the port says it and no TLS is spoken.
    fn plain_entry(&self) -> Option<Entry> {
        self.entry.clone().filter(|entry| entry.setup.tls.is_none())
    }

    /// Waits for the bytes that come first, until they say whose connection it is, and where TLS is
    /// spoken, whom it is meant for.
    async fn first_bytes(&mut self, client: &mut TcpStream) -> Result<(Buffer, Entry), Cause> {
        let buffers = self.binding.resources.buffers.clone();
        let mut is_begun = false;
        let look = |buffer: &mut Buffer| {
            is_begun = is_begun || self.is_begun(buffer)?;
            if is_begun {
                self.meant_for(buffer.filled())
            } else {
                Ok(None)
            }
        };
        session::read_until(client, None, &buffers, hello::HELLO_BYTES_MAX, look).await
    }

    /// Whether it is known whose connection this is; a header that said so is taken off.
    fn is_begun(&mut self, buffer: &mut Buffer) -> Result<bool, Cause> {
        match self
            .binding
            .proxy_protocol
            .origin(self.peer.ip(), buffer.filled())?
        {
            Origin::Unclear => Ok(false),
            Origin::Known { client, bytes } => {
                buffer.consume(bytes);
                self.come_from(client)?;
                Ok(true)
            }
        }
    }

    /// Whom it is meant for, once a whole hello is there: its name says it where the port does not.
    fn meant_for(&mut self, bytes: &[u8]) -> Result<Option<Entry>, Cause> {
        if let Some(entry) = self.plain_entry() {
            return Ok(Some(entry));
        }
        let hello: Hello<'_> = match hello::read(bytes) {
            Ok(hello::Beginning::Hello(hello)) => hello,
            Ok(hello::Beginning::Incomplete) => return Ok(None),
            Ok(hello::Beginning::Other) if bytes.len() < DETECTION_BYTES => return Ok(None),
            Ok(hello::Beginning::Other) => return Err(not_tls(bytes)),
            Err(error) => return Err(Cause::HelloMalformed(error)),
        };
        let shown = |name: &[u8]| Shown::name(name).to_string().into_boxed_str();
        self.server_name = hello.server_name.as_deref().map(shown);
        if let Identification::Sni { listeners, .. } = &self.binding.identification {
            let entry = binding::named(listeners, hello.server_name.as_deref())?;
            self.enter(entry)?;
        }
        Ok(self.entry.clone())
    }

    async fn handshake(
        &mut self,
        client: TcpStream,
        hello: Buffer,
        settings: &ServerTls,
    ) -> Result<Stream, Failed> {
        let began = Instant::now();
        let turn = self.binding.limits.turn().await;
        let turn = turn.map_err(|cause| Failed(cause, None))?;
        if socket::is_hung_up(&client) {
            // A flood of hellos from clients that are gone again costs no more than this look.
            self.metrics().handshake("none", HANDSHAKE_GONE);
            return Err(Failed(Cause::from(&HandshakeError::Closed), None));
        }
        let buffers = &self.binding.resources.buffers;
        let mut accept = pin!(TlsStream::accept(client, hello, settings, buffers));
        // What is dear, the signature, happens in the first poll: the hello is here as a whole.
        let first = poll_fn(|cx| Poll::Ready(accept.as_mut().poll(cx))).await;
        // Whatever else is ready comes first, connections that stand among it, while the next
        // handshake still waits for this turn. Without it, all that wait would be computed in one
        // go.
        tokio::task::yield_now().await;
        drop(turn);
        let shaken = match first {
            Poll::Ready(shaken) => shaken,
            Poll::Pending => accept.await,
        };
        let metrics = self.metrics();
        match shaken {
            Ok(stream) => {
                let agreed = stream.agreed();
                metrics.handshake(
                    agreed.version,
                    if agreed.is_resumed { "resumed" } else { "full" },
                );
                metrics
                    .handshake_seconds
                    .observe(began.elapsed().as_secs_f64());
                self.tls = Some((
                    agreed,
                    stream
                        .peer_certificate()
                        .map(|certificate| tls::describe(certificate)),
                ));
                Ok(Stream::Tls(Box::new(stream)))
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
    let speech = DetectedProtocol::detect(bytes);
    let sender = if speech == DetectedProtocol::Kafka {
        format!(", {}", session::kafka_sender(bytes))
    } else {
        String::new()
    };
    Cause::NotTls {
        speech,
        sender,
        first: FirstBytes::of(bytes),
    }
}
