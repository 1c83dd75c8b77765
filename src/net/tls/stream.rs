//! TLS over one TCP connection, without a buffer while nothing moves.
//!
//! rustls speaks the protocol and keeps the keys ([`Session`]); here its records are read and
//! written in large pieces, in buffers that are borrowed while bytes are in them. An idle
//! connection holds none; one that has half a record holds that.

use super::error::{HandshakeError, refused};
use super::{ClientTls, ServerTls};
use crate::net::buffer::{Buffer, BufferPool};
use crate::net::socket;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use std::fmt;
use std::io;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// The most that one record carries (RFC 8446, section 5.1).
const RECORD_BYTES: usize = 16 * 1024;
/// A record with its header, its tag, and what old versions put in front of it.
const RECORD_WIRE_BYTES_MAX: usize = RECORD_BYTES + 512;
/// What is encrypted at once: as many whole records as a pooled buffer has room for.
const SENT_BYTES_MAX: usize = 7 * RECORD_BYTES;

/// A TLS connection.
#[derive(Debug)]
pub(crate) struct TlsStream {
    tcp: TcpStream,
    session: Session,
    pool: BufferPool,
    /// Records that have arrived and have not been looked at; the last may be incomplete.
    incoming: Option<Buffer>,
    /// What has been decrypted and has not been read.
    unread: Unread,
    /// Records that have not been sent.
    outgoing: Option<Buffer>,
    /// The other side has closed.
    is_ended: bool,
    /// This side has said that it is done.
    is_closing: bool,
    /// rustls has refused a record. It is asked nothing more: it would look at the same record
    /// again.
    is_refused: bool,
}

/// Either end of the protocol.
enum Session {
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Server(_)) {
            "Server"
        } else {
            "Client"
        })
    }
}

/// What was agreed in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// `TLSv1.2` or `TLSv1.3`.
    pub(crate) version: &'static str,
    /// The handshake was short, since the client has been here before.
    pub(crate) is_resumed: bool,
}

impl TlsStream {
    /// The handshake with a client, of which `first` is what has arrived. Cancelled or failed, it
    /// closes the connection.
    pub(crate) async fn accept(
        tcp: TcpStream,
        first: Buffer,
        tls: &ServerTls,
        pool: &BufferPool,
    ) -> Result<Self, HandshakeError> {
        let session = UnbufferedServerConnection::new(Arc::clone(tls.config()))?;
        let session = Session::Server(Box::new(session));
        Self::new(tcp, session, Some(first), pool).handshake().await
    }

    /// The handshake with a broker that was dialled as `host`. Cancelled or failed, it closes the
    /// connection.
    pub(crate) async fn connect(
        tcp: TcpStream,
        host: &str,
        tls: &ClientTls,
        pool: &BufferPool,
    ) -> Result<Self, HandshakeError> {
        let name = tls.server_name().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| HandshakeError::Name(name.to_owned()))?;
        let session = UnbufferedClientConnection::new(Arc::clone(tls.config()), name)?;
        Self::new(tcp, Session::Client(Box::new(session)), None, pool)
            .handshake()
            .await
    }

    fn new(tcp: TcpStream, session: Session, incoming: Option<Buffer>, pool: &BufferPool) -> Self {
        let unread = Unread::default();
        let outgoing = None;
        Self {
            tcp,
            session,
            pool: pool.clone(),
            incoming,
            unread,
            outgoing,
            is_ended: false,
            is_closing: false,
            is_refused: false,
        }
    }

    /// The TCP connection below.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// What was agreed.
    pub(crate) fn agreed(&self) -> Negotiated {
        let version = match self.session.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "unknown",
        };
        Negotiated {
            version,
            is_resumed: self.session.handshake_kind() == Some(HandshakeKind::Resumed),
        }
    }

    /// The other side's certificate, if it has shown one and it was accepted.
    pub(crate) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.session.peer_certificates()?.first()
    }

    /// Reads decrypted bytes: how many, 0 at the end, which a connection that is cut has too:
    /// Kafka's frames say themselves whether they are whole. Cancel-safe.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let count = self.decrypt(bytes)?;
            if count > 0 || self.is_ended || bytes.is_empty() {
                return Poll::Ready(Ok(count));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Waits until a read may find something. Cancel-safe.
    pub(crate) fn poll_read_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What has been taken from the socket does not make it ready again: without this, a record
        // that came in one read with the one before would wait for the next that the peer sends.
        if !self.unread.is_empty()
            || self.is_ended
            || self.incoming.as_ref().is_some_and(has_whole_record)
        {
            return Poll::Ready(Ok(()));
        }
        self.poll_socket_ready(cx)
    }

    /// Encrypts some of `bytes` and sends them, or keeps for [`poll_drain`](Self::poll_drain) what
    /// the socket does not take: how many of `bytes` need not come again. Cancel-safe.
    pub(crate) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Records have an order: nothing is encrypted while earlier records wait for the socket. It
        // also bounds what waits to one send.
        ready!(self.poll_drain(cx))?;
        let taken = &bytes[..bytes.len().min(SENT_BYTES_MAX)];
        self.say(Outgoing::Bytes(taken))?;
        // Taken even where the socket takes nothing: encrypted once more, they would be other
        // records, and come twice.
        match self.poll_drain(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(taken.len())),
        }
    }

    /// Sends what is left of earlier sends. Cancel-safe.
    pub(crate) fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = self.outgoing.as_mut().filter(|buffer| !buffer.is_empty()) {
            let sent = ready!(socket::poll_send(cx, &self.tcp, buffer.filled(), false))?;
            buffer.consume(sent);
        }
        self.outgoing = None;
        Poll::Ready(Ok(()))
    }

    /// Whether everything that was sent has left.
    pub(crate) fn is_drained(&self) -> bool {
        self.outgoing.is_none()
    }

    /// Whether some of a record has come and the rest has not.
    pub(crate) fn is_mid_record(&self) -> bool {
        self.incoming.is_some()
    }

    /// Says that nothing more comes, and closes the sending side. Cancel-safe: it goes on where it
    /// was.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Once, though this is polled again for as long as the socket takes nothing.
        if !std::mem::replace(&mut self.is_closing, true) {
            self.say(Outgoing::Close)?;
        }
        ready!(self.poll_drain(cx))?;
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.tcp), cx)
    }

    async fn handshake(mut self) -> Result<Self, HandshakeError> {
        loop {
            match self.step(Outgoing::Nothing, &mut []) {
                Ok(Step::GoOn) => continue,
                Ok(_) => {}
                Err(error) => {
                    // The alert that tells the other side why. It speaks TLS, so it understands.
                    let _ = std::future::poll_fn(|cx| self.poll_drain(cx)).await;
                    return Err(HandshakeError::Tls(error, self.tcp));
                }
            }
            // Before the end of the handshake is told: the last flight is what the peer waits for.
            std::future::poll_fn(|cx| self.poll_drain(cx)).await?;
            if !self.session.is_handshaking() {
                return Ok(self);
            }
            std::future::poll_fn(|cx| self.poll_receive(cx)).await?;
            if self.is_ended {
                return Err(HandshakeError::Closed);
            }
        }
    }

    /// Moves what has been decrypted to `bytes`, as long as there is room for a whole record.
    fn decrypt(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // rustls decrypts a record whole. With less room than that, its end would go to `unread`,
        // to be copied once more and held.
        let mut count = self.unread.take(bytes);
        while self.incoming.is_some() && (count == 0 || bytes.len() - count >= RECORD_BYTES) {
            match self.step(Outgoing::Nothing, &mut bytes[count..]) {
                Ok(Step::Read(read)) => count += read,
                Ok(Step::GoOn) => {}
                Ok(_) => break,
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(count)
    }

    /// Has something encrypted. What arrived in between waits in `unread`.
    fn say(&mut self, what: Outgoing<'_>) -> io::Result<()> {
        loop {
            match self.step(what, &mut []) {
                Ok(Step::Said) => return Ok(()),
                Ok(Step::Read(_) | Step::GoOn) => {}
                Ok(Step::Blocked) => return Err(io::ErrorKind::NotConnected.into()),
                Err(error) => return Err(refused(error)),
            }
        }
    }

    /// Lets rustls do the next thing that there is to do. When it refuses a record, what is left to
    /// be sent is the alert that says so, and whatever else arrives is thrown away.
    fn step(&mut self, saying: Outgoing<'_>, out: &mut [u8]) -> Result<Step, rustls::Error> {
        // Shown the same record again, rustls refuses it with a second alert: a debug build panics
        // there, and the first alert never left.
        if self.is_refused {
            self.incoming = None;
            return Ok(Step::Said);
        }
        let step = self.process(saying, out);
        if step.is_err() {
            self.is_refused = true;
            if self.session.wants_write() {
                let _ = self.process(Outgoing::Nothing, &mut []);
            }
        }
        step
    }

    fn process(&mut self, saying: Outgoing<'_>, out: &mut [u8]) -> Result<Step, rustls::Error> {
        let Self {
            session,
            incoming,
            unread,
            outgoing,
            is_ended,
            pool,
            ..
        } = self;
        let records = incoming.as_mut().map_or(&mut [][..], Buffer::filled_mut);
        let ends = Ends {
            out,
            unread,
            outgoing,
            is_ended,
            pool,
        };
        let (discard, step) = match session {
            Session::Server(session) => ends.take(session.process_tls_records(records), saying),
            Session::Client(session) => ends.take(session.process_tls_records(records), saying),
        };
        if let Some(buffer) = &mut self.incoming {
            buffer.consume(discard);
            if buffer.is_empty() {
                self.incoming = None;
            }
        }
        step
    }

    /// Whether a client makes Narrows hold more than half a record. rustls waits for the rest of a
    /// handshake message up to 64 KiB, and behind the handshake nobody would wait for it with a
    /// deadline; the only one that a client has to send there has five bytes (RFC 8446, section
    /// 4.6.3).
    fn holds_too_much(&self) -> bool {
        let held = self
            .incoming
            .as_ref()
            .map_or(0, |buffer| buffer.filled().len());
        let is_client_through =
            matches!(self.session, Session::Server(_)) && !self.session.is_handshaking();
        is_client_through && held > RECORD_WIRE_BYTES_MAX
    }

    /// Waits for bytes; half a record waits in no more room than it needs.
    fn poll_socket_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ready = self.tcp.poll_read_ready(cx);
        if ready.is_pending() {
            self.incoming
                .iter_mut()
                .for_each(|buffer| buffer.park(RECORD_WIRE_BYTES_MAX));
        }
        ready
    }

    /// Waits for bytes from the socket, and takes as many as there are.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.holds_too_much() {
            self.is_refused = true;
            let reason = "a handshake message behind the handshake that is larger than a record";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, reason)));
        }
        ready!(self.poll_socket_ready(cx))?;
        let buffer = self.incoming.get_or_insert_with(|| self.pool.borrow());
        let mut spare = ReadBuf::new(buffer.room(RECORD_WIRE_BYTES_MAX));
        let read = Pin::new(&mut self.tcp).poll_read(cx, &mut spare);
        let count = spare.filled().len();
        buffer.add(count);
        if buffer.is_empty() {
            self.incoming = None;
        }
        ready!(read)?;
        // `room` is never empty, so that nothing read means the end.
        self.is_ended |= count == 0;
        Poll::Ready(Ok(()))
    }
}

/// Whether the first record is there as a whole: its length stands behind its type and version.
fn has_whole_record(buffer: &Buffer) -> bool {
    let bytes = buffer.filled();
    let Some(&[_, _, _, high, low]) = bytes.first_chunk() else {
        return false;
    };
    bytes.len() >= 5 + usize::from(u16::from_be_bytes([high, low]))
}

impl Deref for Session {
    type Target = CommonState;

    fn deref(&self) -> &CommonState {
        match self {
            Self::Server(session) => session,
            Self::Client(session) => session,
        }
    }
}

/// What is to be encrypted.
#[derive(Clone, Copy)]
enum Outgoing<'a> {
    Nothing,
    Bytes(&'a [u8]),
    Close,
}

/// What rustls has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Something within the protocol: let it go on.
    GoOn,
    /// It has decrypted a record; so much of it found room.
    Read(usize),
    /// It has encrypted what was to be said, if there was anything, and waits for more records.
    Said,
    /// Nothing can be said before more records come.
    Blocked,
}

/// Where the bytes of a step go.
struct Ends<'a> {
    out: &'a mut [u8],
    unread: &'a mut Unread,
    outgoing: &'a mut Option<Buffer>,
    /// Set when the other side has said that it is done.
    is_ended: &'a mut bool,
    pool: &'a BufferPool,
}

impl Ends<'_> {
    /// Does what the status asks for: how many bytes of the incoming records are done with, and
    /// what has happened.
    fn take<D>(
        mut self,
        status: UnbufferedStatus<'_, '_, D>,
        saying: Outgoing<'_>,
    ) -> (usize, Result<Step, rustls::Error>) {
        let UnbufferedStatus {
            mut discard, state, ..
        } = status;
        let step = state.and_then(|state| match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                let mut read = 0;
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard += record.discard;
                    read += self.put(record.payload, read);
                }
                Ok(Step::Read(read))
            }
            ConnectionState::EncodeTlsData(mut data) => {
                match data.encode(self.room()) {
                    Ok(count) => self.add(count),
                    Err(EncodeError::InsufficientSize(_) | EncodeError::AlreadyEncoded) => {
                        return Err(rustls::Error::General(
                            "a record larger than its bound".into(),
                        ));
                    }
                }
                Ok(Step::GoOn)
            }
            ConnectionState::TransmitTlsData(data) => {
                // It leaves in order with everything else that is outgoing.
                data.done();
                Ok(Step::GoOn)
            }
            ConnectionState::WriteTraffic(mut traffic) => {
                let said = match saying {
                    Outgoing::Nothing => return Ok(Step::Said),
                    Outgoing::Bytes(bytes) => traffic.encrypt(bytes, self.room()),
                    Outgoing::Close => traffic.queue_close_notify(self.room()),
                };
                self.add(said.map_err(|error| match error {
                    EncryptError::EncryptExhausted => rustls::Error::EncryptError,
                    EncryptError::InsufficientSize(_) => {
                        rustls::Error::General("too much at once".into())
                    }
                })?);
                Ok(Step::Said)
            }
            ConnectionState::PeerClosed => {
                *self.is_ended = true;
                Ok(Step::GoOn)
            }
            ConnectionState::Closed => Ok(Step::Said),
            // No early data is ever offered, and nothing else is known.
            _ => Ok(Step::Blocked),
        });
        (discard, step)
    }

    /// Decrypted bytes behind `read` others: how many found room.
    fn put(&mut self, payload: &[u8], read: usize) -> usize {
        let room = &mut self.out[read..];
        // Behind bytes that are unread, everything is: else a later record would come first.
        let count = if self.unread.is_empty() {
            payload.len().min(room.len())
        } else {
            0
        };
        room[..count].copy_from_slice(&payload[..count]);
        self.unread.add(&payload[count..]);
        count
    }

    fn room(&mut self) -> &mut [u8] {
        let pool = self.pool;
        self.outgoing
            .get_or_insert_with(|| pool.borrow())
            .room(SENT_BYTES_MAX + RECORD_BYTES)
    }

    fn add(&mut self, count: usize) {
        self.outgoing
            .iter_mut()
            .for_each(|buffer| buffer.add(count));
    }
}

/// Decrypted bytes that nobody has read yet: of one record that found no room, and of those that
/// came in between.
#[derive(Debug, Default)]
struct Unread {
    bytes: Vec<u8>,
    start: usize,
}

impl Unread {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn take(&mut self, to: &mut [u8]) -> usize {
        let left = &self.bytes[self.start..];
        let count = left.len().min(to.len());
        to[..count].copy_from_slice(&left[..count]);
        self.start += count;
        // Not only cleared: its memory would stay with an idle connection.
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
        count
    }
}
