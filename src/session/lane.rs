//! One direction of a session: reads, has the bytes looked at, writes what may go.
//!
//! It reads only when everything that may go has been written: that is all the back-pressure there
//! is. It holds a buffer only while bytes are in it. Large runs of bytes that nobody needs to see
//! (a request's body, a record set) don't enter the process at all: they are spliced through a pipe
//! ([`Pipe`]). Where the next large run is expected, its header is looked at while it stays in the
//! socket; when all of it may go as it is, it goes through the pipe too, and so do the frames
//! behind it that have arrived: one splice writes them all.

use super::cause::Cause;
use crate::net::buffer::{BUFFER_BYTES, Buffer, BufferPool, PARKED_BYTES_MAX};
use crate::net::pipe::{NoPipe, Pipe, PipePool};
use crate::net::socket;
use crate::net::stream::Stream;
use crate::observe::metrics::{BulkTransfers, CopyReason};
use crate::sys::rcvlowat;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// Runs from this size on are spliced; below it two system calls more cost as much as the copy.
pub(super) const SPLICED_BYTES_MIN: usize = 16 * 1024;
/// The end of a run is not worth a splice: it is read together with what follows it.
pub(super) const SPLICED_REST_MIN: usize = 4 * 1024;
/// After a run larger than this, the next is expected to be large too.
const LARGE_RUN_BYTES: usize = 30_000;
/// What is looked at where a large run is expected behind the next header.
const HEADER_BYTES: usize = socket::PEEKED_BYTES_MAX;
/// Runs from this size on wait for this much to arrive before the process is woken.
pub(super) const LOW_MARK_BYTES: usize = 256 * 1024;

/// Looks at the bytes of one direction.
pub(super) trait Scan {
    /// What it judges by, and where it notes what it has found.
    type With<'a>;
    /// Looks at what has arrived. An error means that no later byte may pass; what is sendable may
    /// still go.
    fn scan(&mut self, buffer: &mut Buffer, with: &mut Self::With<'_>) -> Result<(), Cause>;
    /// How many bytes at the front of the buffer may go.
    fn sendable(&self) -> usize;
    /// So many of the sendable bytes have left the buffer.
    fn consume(&mut self, count: usize);
    /// Whether a frame has been begun and not all of it may go yet.
    fn is_mid_frame(&self) -> bool;
    /// What may pass unseen behind the bytes that have been looked at.
    fn opaque_ahead(&self) -> OpaqueAhead;
    /// So many of the opaque bytes have passed.
    fn skip_opaque(&mut self, count: usize);
    /// The size of the last large thing that could pass unseen: the best guess for the next.
    fn last_run(&self) -> usize;
}

/// Bytes that nobody needs to see, between those that have been looked at and the next that must
/// be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpaqueAhead {
    /// There are none: the next byte must be looked at.
    None,
    /// So many, and one at least.
    Exactly(usize),
    /// Nobody knows how many, as nobody can read them.
    Unknown,
}

/// How much of a run of unknown length is taken at once: what a pipe holds, or more.
const UNKNOWN_RUN_BYTES: usize = 1024 * 1024;

impl OpaqueAhead {
    /// So many bytes, or none.
    pub(super) fn of(bytes: usize) -> Self {
        match bytes {
            0 => Self::None,
            bytes => Self::Exactly(bytes),
        }
    }

    /// How many bytes may be taken at once.
    pub(super) fn bytes_max(self) -> usize {
        match self {
            Self::None => 0,
            Self::Exactly(bytes) => bytes,
            Self::Unknown => UNKNOWN_RUN_BYTES,
        }
    }

    /// For how much to wait before the process is woken. Where nobody knows how much comes, every
    /// byte may be the last for a while, and somebody waits for it.
    fn low_mark(self) -> usize {
        match self {
            Self::Exactly(bytes) => bytes.min(LOW_MARK_BYTES),
            Self::None | Self::Unknown => 1,
        }
    }
}

/// Where buffers and pipes come from, and what is counted of their use.
#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub(super) buffers: BufferPool,
    /// Or why nothing is to be spliced.
    pub(super) pipes: Result<PipePool, CopyReason>,
    pub(super) runs: Arc<BulkTransfers>,
}

impl Pools {
    /// For lanes between these two: the bytes of TLS have to be seen to be encrypted.
    pub(super) fn between(mut self, client: &Stream, broker: &Stream) -> Self {
        if client.plain().is_none() || broker.plain().is_none() {
            self.pipes = self.pipes.and(Err(CopyReason::Tls));
        }
        self
    }

    fn borrow_pipe(&self) -> Result<Pipe, CopyReason> {
        let pipes = self.pipes.as_ref().map_err(|reason| *reason)?;
        pipes.borrow().map_err(|why| match why {
            NoPipe::Exhausted => CopyReason::NoPipe,
            NoPipe::TooSmall => CopyReason::SmallPipe,
        })
    }
}

/// One direction.
#[derive(Debug)]
pub(super) struct Lane<S> {
    pub(super) scanner: S,
    pools: Pools,
    buffer: Option<Buffer>,
    /// How many bytes have been looked at, may go, and are still in the socket.
    ahead: usize,
    pipe: Option<Pipe>,
    /// The large run that is passing, as it was when it began.
    run: Option<OpaqueAhead>,
    low_mark: u32,
}

/// What came of filling a lane.
#[derive(Debug)]
pub(super) enum Filled {
    /// Bytes have arrived and have been looked at. An error means that no later byte may pass; what
    /// is sendable, or in the pipe, may still go.
    Bytes(Result<(), Cause>),
    /// The sender has closed.
    End,
    /// The buffer is full of bytes that may not go.
    Full,
}

impl<S: Scan> Lane<S> {
    /// A lane; the buffer has what has arrived so far.
    pub(super) fn new(scanner: S, pools: Pools, buffer: Option<Buffer>) -> Self {
        Self {
            scanner,
            pools,
            buffer,
            ahead: 0,
            pipe: None,
            run: None,
            low_mark: 1,
        }
    }

    /// Where its buffers and pipes come from.
    pub(super) fn pools(&self) -> &Pools {
        &self.pools
    }

    /// Whether bytes have been taken that have not gone.
    pub(super) fn has_bytes(&self) -> bool {
        self.buffer.is_some()
    }

    /// Whether everything that may go has gone.
    pub(super) fn is_flushed(&self) -> bool {
        self.scanner.sendable() == 0 && self.ahead == 0 && self.piped() == 0
    }

    /// Whether a frame has been begun and not all of it has been taken.
    pub(super) fn is_mid_frame(&self) -> bool {
        self.scanner.is_mid_frame() || self.ahead > 0
    }

    /// Looks at what has been taken.
    pub(super) fn scan(&mut self, with: &mut S::With<'_>) -> Result<(), Cause> {
        match &mut self.buffer {
            Some(buffer) => self.scanner.scan(buffer, with),
            None => Ok(()),
        }
    }

    /// The scanner and the buffer, for bytes of Narrows' own.
    pub(super) fn parts(&mut self) -> (&mut S, &mut Buffer) {
        (
            &mut self.scanner,
            self.buffer
                .get_or_insert_with(|| self.pools.buffers.borrow()),
        )
    }

    /// Writes some of what may go; how much, 0 when all has gone. Cancel-safe.
    pub(super) fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut Stream,
    ) -> Poll<io::Result<usize>> {
        let sendable = self.scanner.sendable();
        let will_splice = self.will_splice();
        let is_mid_frame = self.is_mid_frame();
        if let Some((pipe, to)) = self
            .pipe
            .as_mut()
            .filter(|pipe| pipe.held() > 0)
            .zip(to.plain())
        {
            // What is in the pipe came first. Whatever follows at once goes out in one packet with
            // its end.
            return pipe.poll_drain(cx, to, sendable > 0 || is_mid_frame);
        }
        if let Some(buffer) = &mut self.buffer {
            if sendable > 0 {
                // MSG_MORE keeps the last segment back for what follows, so that a response's end
                // is not a packet of its own. Said only where the splice does follow: with bytes in
                // between that may not go yet, it would keep back what somebody waits for.
                let has_more = will_splice && sendable == buffer.filled().len();
                let sent = ready!(to.poll_send(cx, &buffer.filled()[..sendable], has_more))?;
                buffer.consume(sent);
                self.scanner.consume(sent);
                return Poll::Ready(Ok(sent));
            }
            // Back to the pool at once: thousands of idle connections hold none.
            if buffer.is_empty() {
                self.buffer = None;
            }
        }
        // TLS may have taken bytes that its socket has not: they have not gone yet.
        to.poll_drain(cx).map_ok(|()| 0)
    }

    /// Takes what has arrived, once everything that may go has gone, and looks at it: into the pipe
    /// inside a large run, else into the buffer, which may hold `bytes_max` in all. Cancel-safe.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        bytes_max: usize,
        with: &mut S::With<'_>,
    ) -> Poll<io::Result<Filled>> {
        // Not past a buffer: what is in it came before whatever is in the socket.
        if self.buffer.is_none()
            && self.will_splice()
            && self.take_pipe()
            && let Some(from) = from.plain()
        {
            return self.poll_splice(cx, from, with);
        }
        self.leave_run(from)?;
        if self.buffer.is_none()
            && self.scanner.opaque_ahead() == OpaqueAhead::None
            && self.is_large_expected()
            && let Some(from) = from.plain()
        {
            return self.poll_peek(cx, from, with);
        }
        self.poll_read(cx, from, bytes_max, with)
    }

    /// Whether the bytes that come next are worth a splice.
    fn will_splice(&self) -> bool {
        let bytes_min = if self.run.is_some() {
            SPLICED_REST_MIN
        } else {
            SPLICED_BYTES_MIN
        };
        self.ahead > 0 || self.opaque_bytes() >= bytes_min
    }

    /// Whether there is a pipe; says why not, once a run.
    fn take_pipe(&mut self) -> bool {
        let mut copied = None;
        if self.pipe.is_none() {
            match self.pools.borrow_pipe() {
                Ok(pipe) => self.pipe = Some(pipe),
                Err(reason) => copied = Some(reason),
            }
        }
        // Once a run, and not once a pipe: in the middle of a run the pipe goes back whenever
        // nothing has arrived.
        if self.run.is_none() {
            self.run = Some(self.scanner.opaque_ahead());
            self.pools.runs.begun(copied);
        }
        self.pipe.is_some()
    }

    /// Large runs need what other frames must not have: with the mark left up, a small response
    /// would arrive and wake nobody.
    fn leave_run(&mut self, from: &Stream) -> io::Result<()> {
        if self.opaque_bytes() < SPLICED_REST_MIN {
            self.run = None;
        }
        self.pipe = None;
        from.plain()
            .map_or(Ok(()), |from| self.set_low_mark(from, 1))
    }

    /// How many of the next bytes may be taken unseen at once.
    fn opaque_bytes(&self) -> usize {
        self.scanner.opaque_ahead().bytes_max()
    }

    /// How many bytes are in the pipe.
    fn piped(&self) -> usize {
        self.pipe.as_ref().map_or(0, Pipe::held)
    }

    /// Fills the empty pipe.
    fn poll_splice(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        with: &mut S::With<'_>,
    ) -> Poll<io::Result<Filled>> {
        let is_there = self.ahead > 0;
        let opaque = self.scanner.opaque_ahead();
        let Some(pipe) = &mut self.pipe else {
            return Poll::Ready(Ok(Filled::Bytes(Ok(()))));
        };
        let moved = match is_there {
            // A peek that came back short has had the socket count as not ready, and nothing new
            // may ever come: what was looked at is taken without asking.
            true => Poll::Ready(pipe.try_add(from, self.ahead + opaque.bytes_max())),
            false => pipe.poll_fill(cx, from, opaque.bytes_max()),
        };
        match moved {
            Poll::Ready(Ok(0)) => Poll::Ready(Ok(Filled::End)),
            Poll::Ready(moved) => {
                self.skip(moved?);
                Poll::Ready(Ok(Filled::Bytes(self.gather(cx, from, with))))
            }
            Poll::Pending => {
                // Empty pipes are for those who have something to move.
                self.pipe = None;
                // Only runs that are larger than the mark: with smaller ones, the two system calls
                // that set it and take it back cost more than the wake-ups that it saves.
                if matches!(self.run, Some(OpaqueAhead::Exactly(bytes)) if bytes >= LOW_MARK_BYTES)
                {
                    self.set_low_mark(from, opaque.low_mark())?;
                }
                Poll::Pending
            }
        }
    }

    /// So many bytes have left the socket for the pipe.
    fn skip(&mut self, count: usize) {
        let looked_at = count.min(self.ahead);
        self.ahead -= looked_at;
        if count > looked_at {
            self.scanner.skip_opaque(count - looked_at);
        }
        if self.ahead == 0 && self.scanner.opaque_ahead() == OpaqueAhead::None {
            self.run = None;
        }
    }

    /// At the end of a run, takes along what has arrived behind it and may go as it is, until the
    /// pipe is full: it need not go out in a packet of its own. An end or a failure is left to be
    /// found once the pipe is empty.
    fn gather(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        with: &mut S::With<'_>,
    ) -> Result<(), Cause> {
        // Not while the mark is up, which only `leave_run` takes down: a smaller run could begin
        // here, for whose bytes it would wake nobody.
        while self.ahead == 0
            && self.scanner.opaque_ahead() == OpaqueAhead::None
            && self.low_mark == 1
        {
            let Poll::Ready(Ok(Filled::Bytes(looked))) = self.poll_peek(cx, from, with) else {
                break;
            };
            looked?;
            let wanted = self.ahead + self.opaque_bytes();
            let Some(pipe) = self.pipe.as_mut().filter(|_| self.ahead > 0) else {
                break;
            };
            // A full pipe is no failure: what is ahead goes first once it is empty.
            let Ok(moved) = pipe.try_add(from, wanted) else {
                break;
            };
            self.skip(moved);
        }
        Ok(())
    }

    /// Looks at what comes next and leaves it in the socket, if it may go as it is and there is
    /// something to go with: a large run behind it or what is in the pipe before it.
    fn poll_peek(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        with: &mut S::With<'_>,
    ) -> Poll<io::Result<Filled>> {
        // Before a buffer is borrowed: whoever waits here may wait for hours.
        ready!(from.poll_read_ready(cx))?;
        let mut buffer = self.pools.buffers.borrow();
        let Some(spare) = buffer.spare(BUFFER_BYTES) else {
            return Poll::Ready(Ok(Filled::Full));
        };
        let count = ready!(socket::poll_peek(cx, from, &mut spare[..HEADER_BYTES]))?;
        if count == 0 {
            return Poll::Ready(Ok(Filled::End));
        }
        buffer.add(count);
        let looked = self.scanner.scan(&mut buffer, with);
        // An edited header differs from the one in the socket, and one of which only a part may go
        // could not be split there.
        let may_go = looked.is_ok() && !buffer.is_edited() && self.scanner.sendable() == count;
        let is_large = self.opaque_bytes() >= SPLICED_BYTES_MIN;
        if may_go && (is_large && self.take_pipe() || self.piped() > 0) {
            self.scanner.consume(count);
            self.ahead = count;
        } else {
            // It goes on from the buffer; left in the socket as well, it would come twice.
            self.buffer = Some(buffer);
            socket::discard(from, count)?;
        }
        Poll::Ready(Ok(Filled::Bytes(looked)))
    }

    /// A read in plain sight. The buffer is borrowed only once there is something to read.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        bytes_max: usize,
        with: &mut S::With<'_>,
    ) -> Poll<io::Result<Filled>> {
        if from.poll_read_ready(cx)?.is_pending() {
            // What can't be looked at yet waits in no more room than it needs.
            self.buffer
                .iter_mut()
                .for_each(|buffer| buffer.park(PARKED_BYTES_MAX));
            return Poll::Pending;
        }
        let expected = self.expected();
        let buffer = self
            .buffer
            .get_or_insert_with(|| self.pools.buffers.borrow());
        let Some(spare) = buffer.spare(bytes_max) else {
            return Poll::Ready(Ok(Filled::Full));
        };
        // Not as much as there is: the next large run must still be in the socket to be spliced.
        let length = spare.len().min(expected);
        let mut spare = ReadBuf::new(&mut spare[..length]);
        let read = Pin::new(from).poll_read(cx, &mut spare);
        let count = spare.filled().len();
        buffer.add(count);
        if buffer.is_empty() {
            self.buffer = None;
        }
        ready!(read)?;
        // The run is over with this read, and what follows begins another.
        if count >= self.opaque_bytes() {
            self.run = None;
        }
        Poll::Ready(Ok(if count == 0 {
            Filled::End
        } else {
            Filled::Bytes(self.scan(with))
        }))
    }

    fn is_large_expected(&self) -> bool {
        self.pools.pipes.is_ok() && self.scanner.last_run() > LARGE_RUN_BYTES
    }

    /// How much to read at once: after a large run just the rest of it and the next header.
    fn expected(&self) -> usize {
        if self.is_large_expected() {
            self.opaque_bytes() + HEADER_BYTES
        } else {
            BUFFER_BYTES
        }
    }

    fn set_low_mark(&mut self, from: &TcpStream, bytes: usize) -> io::Result<()> {
        let bytes = u32::try_from(bytes).unwrap_or(1);
        if self.low_mark != bytes {
            rcvlowat::set(from, bytes)?;
            self.low_mark = bytes;
        }
        Ok(())
    }
}
