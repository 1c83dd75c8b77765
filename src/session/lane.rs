//! One direction of a session: reads, has the bytes looked at, writes what may go.
//!
//! It reads only when everything that may go has been written: that is all the back-pressure there is. It holds a
//! buffer only while bytes are in it. Large runs of bytes that nobody needs to see (a request's body, a record set)
//! don't enter the process at all: they are spliced through a pipe ([`Pipe`]), and the next read is kept
//! short, so that after one large run the next one is not half copied before it is recognised.

use super::cause::Cause;
use super::conversation::Conversation;
use crate::net::buffer::{BUFFER_BYTES, Buffer, BufferPool};
use crate::net::pipe::{Pipe, PipePool};
use crate::net::{low_mark, socket};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Runs from this size on are spliced; below it two system calls more cost as much as the copy.
const SPLICED_BYTES_MIN: usize = 16 * 1024;
/// The end of a run is not worth a splice: it is read together with what follows it.
const SPLICED_REST_MIN: usize = 4 * 1024;
/// After a run larger than this, the next is expected to be large too.
const LARGE_RUN_BYTES: usize = 30_000;
/// What is read where a large run is expected behind the next header.
const SHORT_READ_BYTES: usize = 1024;
/// Runs from this size on wait for this much to arrive before the process is woken.
const LOW_MARK_BYTES: usize = 256 * 1024;

/// Looks at the bytes of one direction.
pub(super) trait Scan {
    /// Looks at what has arrived. An error means that no later byte may pass; what is cleared may still go.
    fn scan(&mut self, buffer: &mut Buffer, conversation: &mut Conversation) -> Result<(), Cause>;
    /// How many bytes at the front of the buffer may go.
    fn cleared(&self) -> usize;
    /// So many of the cleared bytes are on their way.
    fn sent(&mut self, count: usize);
    /// Whether a frame has been begun and not all of it has been cleared.
    fn is_mid_frame(&self) -> bool;
    /// How many bytes behind those that have been looked at may pass unseen.
    fn unseen(&self) -> usize;
    /// So many of them have passed.
    fn passed(&mut self, count: usize);
    /// The size of the last large thing that could pass unseen: the best guess for the next.
    fn last_run(&self) -> usize;
}

/// Where buffers and pipes come from.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub(super) buffers: BufferPool,
    /// `None` if nothing is to be spliced.
    pub(super) pipes: Option<PipePool>,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane<S> {
    pub(super) scanner: S,
    pools: Pools,
    buffer: Option<Buffer>,
    pipe: Option<Pipe>,
    /// The size of the run that is being spliced.
    splicing: Option<usize>,
    low_mark: u32,
}

/// What came of filling a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// The buffer has more bytes to be looked at; the pipe may have bytes that go before them.
    Bytes,
    /// Bytes have gone into the pipe, and nothing else has arrived.
    Piped,
    /// The sender has closed.
    End,
    /// The buffer is full of bytes that may not go.
    Full,
}

impl<S: Scan> Lane<S> {
    /// A lane; the buffer has what has arrived so far.
    pub(super) fn new(scanner: S, pools: Pools, buffer: Option<Buffer>) -> Self {
        Self { scanner, pools, buffer, pipe: None, splicing: None, low_mark: 1 }
    }

    /// Whether bytes have arrived that have not gone.
    pub(super) fn has_bytes(&self) -> bool {
        self.buffer.is_some()
    }

    /// Whether everything that may go has gone.
    pub(super) fn is_flushed(&self) -> bool {
        self.scanner.cleared() == 0 && self.pipe.as_ref().is_none_or(|pipe| pipe.held() == 0)
    }

    /// Looks at what has arrived.
    pub(super) fn scan(&mut self, conversation: &mut Conversation) -> Result<(), Cause> {
        match &mut self.buffer {
            Some(buffer) => self.scanner.scan(buffer, conversation),
            None => Ok(()),
        }
    }

    /// The scanner and the buffer, for bytes of Klamm's own.
    pub(super) fn parts(&mut self) -> (&mut S, &mut Buffer) {
        (&mut self.scanner, self.buffer.get_or_insert_with(|| self.pools.buffers.borrow()))
    }

    /// Writes some of what may go; how much, 0 when all has gone. Cancel-safe.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>, to: &TcpStream) -> Poll<io::Result<usize>> {
        let will_splice = self.will_splice();
        let cleared = self.scanner.cleared();
        if let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.held() > 0) {
            // What is in the pipe came first. Whatever follows at once goes out in one packet with its end.
            return pipe.poll_drain(cx, to, cleared > 0 || self.scanner.is_mid_frame());
        }
        let Some(buffer) = &mut self.buffer else { return Poll::Ready(Ok(0)) };
        if cleared > 0 {
            let has_more = will_splice && cleared == buffer.filled().len();
            let sent = ready!(socket::poll_send(cx, to, &buffer.filled()[..cleared], has_more))?;
            buffer.consume(sent);
            self.scanner.sent(sent);
            return Poll::Ready(Ok(sent));
        }
        if buffer.is_empty() {
            self.buffer = None;
        }
        Poll::Ready(Ok(0))
    }

    /// Reads, once everything that may go has gone: into the pipe inside a large run, else into the buffer, which may
    /// hold `bytes_max` in all. Cancel-safe.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        bytes_max: usize,
    ) -> Poll<io::Result<Filled>> {
        if self.buffer.is_none() && self.will_splice() && self.take_pipe() {
            return self.poll_splice(cx, from);
        }
        self.splicing = None;
        self.pipe = None;
        self.set_low_mark(from, 1)?;
        self.poll_read(cx, from, bytes_max)
    }

    /// Whether the bytes that come next are worth a splice.
    fn will_splice(&self) -> bool {
        let bytes_min = if self.splicing.is_some() { SPLICED_REST_MIN } else { SPLICED_BYTES_MIN };
        self.pools.pipes.is_some() && self.scanner.unseen() >= bytes_min
    }

    fn take_pipe(&mut self) -> bool {
        if self.pipe.is_none() {
            self.pipe = self.pools.pipes.as_ref().and_then(PipePool::borrow);
        }
        self.pipe.is_some()
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, from: &mut TcpStream) -> Poll<io::Result<Filled>> {
        let unseen = self.scanner.unseen();
        let run = *self.splicing.get_or_insert(unseen);
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(Filled::Bytes)) };
        match pipe.poll_fill(cx, from, unseen) {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Filled::End)),
            Poll::Ready(moved) => {
                self.scanner.passed(moved?);
                Poll::Ready(Ok(self.read_ahead(cx, from)))
            }
            Poll::Pending => {
                // Empty pipes are for those who have something to move.
                self.pipe = None;
                if run >= LOW_MARK_BYTES {
                    self.set_low_mark(from, unseen.min(LOW_MARK_BYTES))?;
                }
                Poll::Pending
            }
        }
    }

    /// At the end of a run, looks whether what follows has arrived, so that it need not go out in a packet of its own. An
    /// end or a failure is left to be found once the pipe is empty.
    fn read_ahead(&mut self, cx: &mut Context<'_>, from: &mut TcpStream) -> Filled {
        let is_at_end = self.scanner.unseen() == 0 && self.low_mark == 1;
        match is_at_end.then(|| self.poll_read(cx, from, BUFFER_BYTES)) {
            Some(Poll::Ready(Ok(Filled::Bytes))) => Filled::Bytes,
            _ => Filled::Piped,
        }
    }

    /// A read in plain sight. The buffer is borrowed only once there is something to read.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut TcpStream,
        bytes_max: usize,
    ) -> Poll<io::Result<Filled>> {
        if from.poll_read_ready(cx)?.is_pending() {
            // What can't be looked at yet waits in no more room than it needs.
            self.buffer.iter_mut().for_each(Buffer::park);
            return Poll::Pending;
        }
        let expected = self.expected();
        let buffer = self.buffer.get_or_insert_with(|| self.pools.buffers.borrow());
        let Some(spare) = buffer.spare(bytes_max) else { return Poll::Ready(Ok(Filled::Full)) };
        let length = spare.len().min(expected);
        let mut spare = ReadBuf::new(&mut spare[..length]);
        let read = Pin::new(from).poll_read(cx, &mut spare);
        let count = spare.filled().len();
        buffer.add(count);
        if buffer.is_empty() {
            self.buffer = None;
        }
        ready!(read)?;
        Poll::Ready(Ok(if count == 0 { Filled::End } else { Filled::Bytes }))
    }

    /// How much to read at once: after a large run just the next header, and the rest of this run.
    fn expected(&self) -> usize {
        let is_large_expected = self.pools.pipes.is_some() && self.scanner.last_run() > LARGE_RUN_BYTES;
        if is_large_expected { self.scanner.unseen() + SHORT_READ_BYTES } else { BUFFER_BYTES }
    }

    fn set_low_mark(&mut self, from: &TcpStream, bytes: usize) -> io::Result<()> {
        let bytes = u32::try_from(bytes).unwrap_or(1);
        if self.low_mark != bytes {
            low_mark::set(from, bytes)?;
            self.low_mark = bytes;
        }
        Ok(())
    }
}
