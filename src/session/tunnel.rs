//! TLS that is not for Narrows: bytes between a client and its broker that nobody here can read.
//!
//! The hello has said which broker is meant; from then on every byte goes as it came, through the
//! kernel where it comes in bulk.

use super::Traffic;
use super::cause::Cause;
use super::lane::{Filled, Lane, OpaqueAhead, Pools, SPLICED_BYTES_MIN, SPLICED_REST_MIN, Scan};
use super::relay::{POLL_BUDGET_BYTES, charge};
use super::watch::{Flow, Limits, Overdue, Watch, Way};
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::net::stream::Stream;
use crate::observe::metrics::{IntCounter, ListenerMetrics};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::AsyncWrite;
use tokio::time::{Instant, Sleep};

/// A tunnel that is asked to end does so at the first pause of this length: requests in flight
/// can't be seen from here.
pub(super) const QUIET: Duration = Duration::from_millis(100);

/// Bytes that mean nothing here.
#[derive(Debug, Default)]
struct Opaque {
    sendable: usize,
    is_bulk: bool,
}

impl Scan for Opaque {
    type With<'a> = ();

    fn scan(&mut self, buffer: &mut Buffer, (): &mut ()) -> Result<(), Cause> {
        let arrived = buffer.filled().len();
        self.is_bulk = arrived - self.sendable >= SPLICED_BYTES_MIN;
        self.sendable = arrived;
        Ok(())
    }

    fn sendable(&self) -> usize {
        self.sendable
    }

    fn consume(&mut self, count: usize) {
        self.sendable -= count;
    }

    fn is_mid_frame(&self) -> bool {
        false
    }

    fn opaque_ahead(&self) -> OpaqueAhead {
        if self.is_bulk {
            OpaqueAhead::Unknown
        } else {
            OpaqueAhead::None
        }
    }

    fn skip_opaque(&mut self, count: usize) {
        self.is_bulk = count >= SPLICED_REST_MIN;
    }

    fn last_run(&self) -> usize {
        0
    }
}

/// One direction.
#[derive(Debug)]
struct Half {
    lane: Lane<Opaque>,
    bytes: IntCounter,
    state: State,
    /// How many bytes have passed on.
    moved: u64,
    /// Whether its sender was asked for more in this turn, so that its end is seen.
    is_heard: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Its sender has closed: the receiver has to be told.
    Ended,
    Closed,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Tunnel {
    client: Stream,
    broker: Stream,
    up: Half,
    down: Half,
    limits: Limits,
    watch: Watch,
    /// When one side that has closed is not waited for any more.
    deadline: Option<Pin<Box<Sleep>>>,
    last_moved: Instant,
}

impl Tunnel {
    /// What has been carried so far.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: None,
            bytes_to_broker: self.up.moved,
            bytes_to_client: self.down.moved,
        }
    }

    /// Begins with what has arrived from the client, which nobody has sent on yet.
    pub(super) fn new(
        (client, broker): (Stream, Stream),
        first: Buffer,
        pools: &Pools,
        metrics: &ListenerMetrics,
        limits: Limits,
    ) -> Self {
        let half = |first, bytes: &IntCounter| {
            let mut lane = Lane::new(Opaque::default(), pools.clone(), first);
            // Nothing is ever refused here.
            let _ = lane.scan(&mut ());
            Half {
                lane,
                bytes: bytes.clone(),
                state: State::Open,
                moved: 0,
                is_heard: false,
            }
        };
        let up = half(Some(first), &metrics.bytes_to_broker);
        let down = half(None, &metrics.bytes_to_client);
        Self {
            client,
            broker,
            up,
            down,
            limits,
            watch: Watch::new(limits),
            deadline: None,
            last_moved: Instant::now(),
        }
    }

    /// Moves bytes until both sides have closed. Cancel-safe: everything is in `self`.
    pub(super) async fn run(&mut self) -> Cause {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// When nothing will have moved for [`QUIET`], unless something does.
    pub(super) fn quiet_at(&self) -> Instant {
        self.last_moved + QUIET
    }

    /// The client's connection, for its last words.
    pub(super) fn into_client(self) -> Stream {
        self.client
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let mut poll_budget = POLL_BUDGET_BYTES;
        let down = self
            .down
            .poll(cx, &mut self.broker, &mut self.client, &mut poll_budget);
        let up = self
            .up
            .poll(cx, &mut self.client, &mut self.broker, &mut poll_budget);
        if poll_budget < POLL_BUDGET_BYTES {
            self.last_moved = Instant::now();
        }
        if let Poll::Ready(overdue) = self.poll_watch(cx) {
            return Poll::Ready(overdue);
        }
        match (down, up) {
            (Poll::Ready(Err(Failure::Read(error))), _)
            | (_, Poll::Ready(Err(Failure::Write(error)))) => {
                return Poll::Ready(Cause::BrokerFailed(error));
            }
            (Poll::Ready(Err(Failure::Write(error))), _)
            | (_, Poll::Ready(Err(Failure::Read(error)))) => {
                return Poll::Ready(Cause::ClientFailed(error));
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => {}
            (Poll::Pending, Poll::Pending) => return Poll::Pending,
            // One side has closed; the other may still have something to say, but not for ever.
            (down, _) => {
                let timeout = self.limits.half_close;
                let deadline = self
                    .deadline
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
                ready!(deadline.as_mut().poll(cx));
                let is_client = down.is_pending();
                return Poll::Ready(if is_client {
                    Cause::HalfCloseTimeout(timeout)
                } else {
                    Cause::BrokerClosed
                });
            }
        }
        Poll::Ready(Cause::ClientClosed)
    }
}

impl Tunnel {
    /// Whether it has waited long enough for one of its sides. What its senders have begun can't be
    /// seen; what its receivers don't take can.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Poll<Cause> {
        let up = (&self.client, self.up.flow(&self.broker));
        let down = (&self.broker, self.down.flow(&self.client));
        self.watch.poll(cx, up, down).map(|overdue| match overdue {
            Overdue::Gone(Way::Up) => Cause::ClientClosed,
            Overdue::Gone(Way::Down) => Cause::BrokerClosed,
            Overdue::Stalled(way, waits_for) => {
                Cause::stalled(way, waits_for, self.limits.frame_progress)
            }
        })
    }
}

/// What failed.
enum Failure {
    Read(std::io::Error),
    Write(std::io::Error),
}

impl Half {
    fn flow(&self, to: &Stream) -> Flow {
        // Whose sender has closed has been heard.
        let is_heard = self.is_heard || self.state != State::Open;
        let is_waiting = !self.lane.is_flushed() || !to.is_drained();
        Flow::new(self.moved, is_heard, is_waiting, false)
    }

    /// `Ok` when its sender has closed and its receiver has been told.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Stream,
        to: &mut Stream,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Failure>> {
        self.is_heard = false;
        loop {
            if self.state == State::Closed {
                return Poll::Ready(Ok(()));
            }
            let sent = ready!(self.lane.poll_flush(cx, to)).map_err(Failure::Write)?;
            if sent > 0 {
                self.moved += sent as u64;
                self.bytes.inc_by(sent as u64);
                ready!(charge(cx, poll_budget, sent));
                continue;
            }
            if self.state == State::Ended {
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Failure::Write)?;
                self.state = State::Closed;
                continue;
            }
            self.is_heard = true;
            match ready!(self.lane.poll_fill(cx, from, BUFFER_BYTES, &mut ()))
                .map_err(Failure::Read)?
            {
                Filled::End => self.state = State::Ended,
                // Whatever arrives may go, so the buffer is never full.
                Filled::Bytes(_) | Filled::Full => {}
            }
        }
    }
}
