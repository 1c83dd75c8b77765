//! Moves bytes between the client and the broker: two directions, each with an owner of its own, in one task.
//!
//! A direction reads only when everything it has cleared is written: that is all the back-pressure there is. It holds a
//! buffer only while bytes are in it. The directions meet in the [`Conversation`] alone; responses go first in every
//! turn, since they open the way for requests.

use super::cause::Cause;
use super::conversation::{Conversation, Lent};
use super::in_flight::{Reply, Waiting};
use super::requests::Requests;
use super::responses::{HELD_BYTES_MAX, Responses};
use crate::net::buffer::{BUFFER_BYTES, Buffer, BufferPool};
use crate::observe::metrics::ListenerMetrics;
use crate::protocol::own;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// What a connection may move before others get their turn.
const TURN_BYTES: usize = 1024 * 1024;

/// Klamm's own correlation id: its answer is taken out before the client could see it.
const OWN_CORRELATION_ID: i32 = i32::MAX;

/// Both sides of a session.
#[derive(Debug)]
pub(super) struct Relay {
    client: TcpStream,
    broker: TcpStream,
    pool: BufferPool,
    metrics: ListenerMetrics,
    pub(super) conversation: Conversation,
    requests: Requests,
    request_buffer: Option<Buffer>,
    responses: Responses,
    response_buffer: Option<Buffer>,
    /// Why the session ends, once everything in flight has been answered.
    ending: Option<Cause>,
    /// Why it ends once what has been cleared for the client is written.
    broken: Option<Cause>,
    /// The client's half-close does not wait for ever.
    deadline: Option<Pin<Box<Sleep>>>,
}

/// Why the relay has stopped for its owner.
#[derive(Debug)]
pub(super) enum Turn {
    /// The session is over.
    Ended(Cause),
    /// The broker of a lent connection has answered who is who: see [`Relay::settle`].
    Answered,
}

impl Relay {
    /// Begins with the bytes that have arrived from the client, looked at by `requests`.
    pub(super) fn new(
        (client, broker): (TcpStream, TcpStream),
        (first, requests): (Buffer, Requests),
        conversation: Conversation,
        pool: BufferPool,
        metrics: ListenerMetrics,
    ) -> Self {
        Self {
            client,
            broker,
            pool,
            metrics,
            conversation,
            requests,
            request_buffer: Some(first),
            responses: Responses::default(),
            response_buffer: None,
            ending: None,
            broken: None,
            deadline: None,
        }
    }

    /// Moves bytes until the session ends or needs a decision. Cancel-safe: everything is in `self`.
    pub(super) async fn run(&mut self) -> Turn {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Begins no further request, and ends the session once those in flight have been answered.
    pub(super) fn end(&mut self, cause: Cause) {
        self.conversation.is_ending = true;
        self.ending.get_or_insert(cause);
    }

    /// The owner has decided on [`Turn::Answered`]: requests may go on, unless it has ended the session.
    pub(super) fn settle(&mut self) {
        self.conversation.lent = Lent::No;
    }

    /// The client's socket, for the last words.
    pub(super) fn into_client(self) -> TcpStream {
        self.client
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        let mut turn_bytes = TURN_BYTES;
        let responses = self.poll_responses(cx, &mut turn_bytes);
        if let Poll::Ready(Err(cause)) = responses {
            return Poll::Ready(Turn::Ended(cause));
        }
        if self.conversation.lent == Lent::Answered {
            return Poll::Ready(Turn::Answered);
        }
        if let Poll::Ready(Err(cause)) = self.poll_requests(cx, &mut turn_bytes) {
            return Poll::Ready(Turn::Ended(cause));
        }
        if let Some(cause) = self.poll_end(cx) {
            return Poll::Ready(Turn::Ended(cause));
        }
        Poll::Pending
    }

    /// Whether an ending session has nothing left to do.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        self.ending.as_ref()?;
        let is_through = !self.requests.is_mid_frame()
            && self.requests.cleared() == 0
            && self.conversation.in_flight.is_empty()
            && self.responses.is_at_boundary()
            && self.responses.cleared() == 0;
        let is_late = self.deadline.as_mut().is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        match (is_through, is_late) {
            (true, _) => self.ending.take(),
            (false, true) => Some(Cause::HalfCloseTimeout(self.conversation.settings.half_close_timeout)),
            (false, false) => None,
        }
    }

    /// Client to broker. `Ok` when there is nothing more to do until the other direction has done something.
    fn poll_requests(&mut self, cx: &mut Context<'_>, turn_bytes: &mut usize) -> Poll<Result<(), Cause>> {
        loop {
            if let Some(buffer) = &mut self.request_buffer {
                let cleared = self.requests.cleared();
                if cleared > 0 {
                    let sent = ready!(write(cx, &mut self.broker, &buffer.filled()[..cleared]));
                    let sent = sent.map_err(Cause::BrokerFailed)?;
                    buffer.consume(sent);
                    self.requests.sent(sent);
                    self.metrics.bytes_to_broker.inc_by(sent as u64);
                    ready!(spend(cx, turn_bytes, sent));
                    continue;
                }
                if buffer.is_empty() {
                    self.request_buffer = None;
                }
            }
            if self.conversation.must_ask() && !self.requests.is_mid_frame() {
                self.ask();
                continue;
            }
            if !self.requests.is_mid_frame() && !self.conversation.takes_requests() {
                return Poll::Ready(Ok(()));
            }
            // What had to wait for the other direction may be in the buffer already.
            if self.request_buffer.is_some() {
                self.scan_requests();
                if self.requests.cleared() > 0 || self.conversation.is_ending {
                    continue;
                }
            }
            match ready!(self.poll_read_client(cx))? {
                0 => self.client_closed()?,
                _ => self.scan_requests(),
            }
        }
    }

    fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Cause>> {
        let read = read(cx, &mut self.client, &mut self.request_buffer, &self.pool, BUFFER_BYTES);
        match ready!(read).map_err(Cause::ClientFailed)? {
            Some(count) => Poll::Ready(Ok(count)),
            // `scan` gives up on a beginning that is longer than half a buffer.
            None => Poll::Ready(Err(Cause::RequestHeaderTooLarge(BUFFER_BYTES))),
        }
    }

    /// Looks at what has arrived; a request that may not pass ends the session behind those that did.
    fn scan_requests(&mut self) {
        let Some(buffer) = &mut self.request_buffer else { return };
        if let Err(cause) = self.requests.scan(buffer, &mut self.conversation) {
            self.end(cause);
        }
    }

    /// The client has closed its sending side. Whatever it has asked is answered; half a request goes nowhere.
    fn client_closed(&mut self) -> Result<(), Cause> {
        if self.requests.is_mid_frame() {
            return Err(Cause::ClientClosed);
        }
        self.end(Cause::ClientClosed);
        let timeout = self.conversation.settings.half_close_timeout;
        self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        Ok(())
    }

    /// Klamm's own question, between two requests of the client.
    fn ask(&mut self) {
        let buffer = self.request_buffer.get_or_insert_with(|| self.pool.borrow());
        self.requests.put_own(buffer, &own::metadata_request(OWN_CORRELATION_ID));
        let waiting = Waiting {
            correlation_id: OWN_CORRELATION_ID,
            api_key: own::METADATA,
            version: 0,
            reply: Reply::ToKlamm,
        };
        self.conversation.in_flight.push(waiting);
        self.conversation.lent = Lent::Asked;
    }

    /// Broker to client.
    fn poll_responses(&mut self, cx: &mut Context<'_>, turn_bytes: &mut usize) -> Poll<Result<(), Cause>> {
        loop {
            if let Some(buffer) = &mut self.response_buffer {
                let cleared = self.responses.cleared();
                if cleared > 0 {
                    let sent = ready!(write(cx, &mut self.client, &buffer.filled()[..cleared]));
                    let sent = sent.map_err(Cause::ClientFailed)?;
                    buffer.consume(sent);
                    self.responses.sent(sent);
                    self.metrics.bytes_to_client.inc_by(sent as u64);
                    ready!(spend(cx, turn_bytes, sent));
                    continue;
                }
                if buffer.is_empty() {
                    self.response_buffer = None;
                }
            }
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(broken));
            }
            let read = read(cx, &mut self.broker, &mut self.response_buffer, &self.pool, HELD_BYTES_MAX);
            match ready!(read).map_err(Cause::BrokerFailed)? {
                Some(0) => return Poll::Ready(Err(Cause::BrokerClosed)),
                Some(_) => self.scan_responses(),
                None => return Poll::Ready(Err(self.responses.too_large())),
            }
            if self.conversation.lent == Lent::Answered {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Looks at what has arrived; a response that may not pass ends the session behind those that did.
    fn scan_responses(&mut self) {
        let Some(buffer) = &mut self.response_buffer else { return };
        if let Err(cause) = self.responses.scan(buffer, &mut self.conversation) {
            self.broken = Some(cause);
        }
    }
}

/// Counts what was moved; when the turn is over, asks for the next one and lets others go first.
fn spend(cx: &mut Context<'_>, turn_bytes: &mut usize, moved: usize) -> Poll<()> {
    *turn_bytes = turn_bytes.saturating_sub(moved);
    if *turn_bytes > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn write(cx: &mut Context<'_>, to: &mut TcpStream, bytes: &[u8]) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        sent => Poll::Ready(Ok(sent)),
    }
}

/// Reads into the buffer, which is borrowed only once there is something to read. 0 at the end of the stream; `None` if
/// the buffer is full and may not grow.
fn read(
    cx: &mut Context<'_>,
    from: &mut TcpStream,
    buffer: &mut Option<Buffer>,
    pool: &BufferPool,
    bytes_max: usize,
) -> Poll<io::Result<Option<usize>>> {
    if from.poll_read_ready(cx)?.is_pending() {
        buffer.iter_mut().for_each(Buffer::park);
        return Poll::Pending;
    }
    let held = buffer.get_or_insert_with(|| pool.borrow());
    let Some(spare) = held.spare(bytes_max) else { return Poll::Ready(Ok(None)) };
    let mut spare = ReadBuf::new(spare);
    let read = Pin::new(from).poll_read(cx, &mut spare);
    let count = spare.filled().len();
    if read.is_ready() {
        held.add(count);
    }
    if held.is_empty() {
        *buffer = None;
    }
    ready!(read)?;
    Poll::Ready(Ok(Some(count)))
}

/// How long a client may take to close after Klamm has; it may still be reading its last responses.
const LINGER: Duration = Duration::from_secs(1);

/// Ends a connection so that what has been sent is not lost: a socket that is closed with unread bytes is reset, and
/// the client's side may forget what it has not read yet.
pub(super) async fn linger(mut client: TcpStream) {
    let discard = async {
        client.shutdown().await?;
        tokio::io::copy(&mut client, &mut tokio::io::sink()).await
    };
    // Whether the client closed in time changes nothing any more.
    let _ = tokio::time::timeout(LINGER, discard).await;
}
