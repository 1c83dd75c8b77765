//! Looks after a session while it waits for a peer, so that no wait lasts for ever.
//!
//! A session that can't write does not read either: that is all the back-pressure there is. But who
//! does not read from a connection does not see it end: a client that has gone away would keep the
//! connection of a broker that takes nothing, and the reverse. And behind a frame that has been
//! begun, either side can stop for good. So while something waits, a timer ticks, and at each tick
//! the session looks how long nothing has moved and whether somebody has gone.
//!
//! It costs nothing on the way of bytes: the timer is not armed by frames but by a turn that ends
//! with something waiting, runs on by itself from then on, and is let run out when nothing waits.

use crate::net::stream::Stream;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How often a session that waits looks at how things are. Long enough to cost nothing when many
/// wait at once, short against all limits that it watches.
const TICK: Duration = Duration::from_secs(1);

/// Which limits hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long a frame that has been begun may stand still.
    pub(super) frame_progress: Duration,
    /// How long somebody who has closed is waited for, while nothing moves.
    pub(super) half_close: Duration,
}

/// How things stand in one direction at the end of a turn.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// How many bytes have passed on so far. What is held back does not count: it is memory, not
    /// progress.
    pub(super) moved: u64,
    /// What it waits for, if it is in the middle of something.
    pub(super) waits_for: Option<WaitsFor>,
    /// Whether its sender is read from, so that its end is seen.
    pub(super) is_heard: bool,
}

impl Flow {
    /// `is_waiting` for room at the receiver, or in the middle of what the sender `is_begun`.
    pub(super) fn new(moved: u64, is_heard: bool, is_waiting: bool, is_begun: bool) -> Self {
        let waits_for = if is_waiting {
            Some(WaitsFor::Receiver)
        } else {
            is_begun.then_some(WaitsFor::Sender)
        };
        Self {
            moved,
            waits_for,
            is_heard,
        }
    }
}

/// What a direction waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    /// The rest of a frame that its sender has begun.
    Sender,
    /// Room at its receiver.
    Receiver,
}

/// The two directions of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the broker.
    Up,
    /// From the broker to the client.
    Down,
}

/// Why a session has waited long enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    /// A frame has stood still for as long as it may.
    Stalled(Way, WaitsFor),
    /// The sender of this direction has gone, and nothing moves.
    Gone(Way),
}

/// Waits until somebody has closed, and then for as long as is waited for one who has. For waits in
/// which nobody reads from `stream`. Cancel-safe.
pub(super) async fn gone(stream: &Stream, half_close: Duration) {
    // Most waits are over before the first look.
    loop {
        tokio::time::sleep(TICK).await;
        if stream.is_hung_up() {
            break;
        }
    }
    tokio::time::sleep(half_close).await;
}

/// The watch over one session.
#[derive(Debug)]
pub(super) struct Watch {
    limits: Limits,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the timer runs.
    is_armed: bool,
    up: Progress,
    down: Progress,
}

/// How far a direction was when it moved last, and when that was, to a tick.
#[derive(Clone, Copy, Debug)]
struct Progress {
    moved: u64,
    at: Instant,
}

impl Progress {
    /// How long nothing has moved, if something should have.
    fn note(&mut self, flow: &Flow, now: Instant) -> Duration {
        let is_quiet = flow.moved == self.moved && (flow.waits_for.is_some() || !flow.is_heard);
        if !is_quiet {
            *self = Self {
                moved: flow.moved,
                at: now,
            };
        }
        now - self.at
    }
}

impl Watch {
    pub(super) fn new(limits: Limits) -> Self {
        let progress = Progress {
            moved: 0,
            at: Instant::now(),
        };
        Self {
            limits,
            timer: None,
            is_armed: false,
            up: progress,
            down: progress,
        }
    }

    /// Ready when the session has waited long enough. To be asked at the end of each turn.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (client, up): (&Stream, Flow),
        (broker, down): (&Stream, Flow),
    ) -> Poll<Overdue> {
        let waits = |flow: &Flow| flow.waits_for.is_some() || !flow.is_heard;
        loop {
            if !self.is_armed {
                if !waits(&up) && !waits(&down) {
                    return Poll::Pending;
                }
                self.arm(&up, &down);
            }
            let Some(timer) = &mut self.timer else {
                return Poll::Pending;
            };
            ready!(timer.as_mut().poll(cx));
            self.is_armed = false;
            let now = Instant::now();
            let quiet_up = self.up.note(&up, now);
            let quiet_down = self.down.note(&down, now);
            for (way, flow, quiet) in [(Way::Up, &up, quiet_up), (Way::Down, &down, quiet_down)] {
                if let Some(waits_for) = flow.waits_for
                    && quiet >= self.limits.frame_progress
                {
                    return Poll::Ready(Overdue::Stalled(way, waits_for));
                }
            }
            for (way, flow, quiet, sender) in [
                (Way::Up, &up, quiet_up, client),
                (Way::Down, &down, quiet_down, broker),
            ] {
                if !flow.is_heard && quiet >= self.limits.half_close && sender.is_hung_up() {
                    return Poll::Ready(Overdue::Gone(way));
                }
            }
        }
    }

    /// Starts the timer for the next tick.
    fn arm(&mut self, up: &Flow, down: &Flow) {
        let now = Instant::now();
        if self
            .timer
            .as_ref()
            .is_none_or(|timer| timer.deadline() + TICK < now)
        {
            // Nothing has waited for a while: what has waited so far has waited since now.
            for (progress, flow) in [(&mut self.up, up), (&mut self.down, down)] {
                *progress = Progress {
                    moved: flow.moved,
                    at: now,
                };
            }
        }
        let Limits {
            frame_progress,
            half_close,
        } = self.limits;
        let tick = TICK
            .min(frame_progress)
            .min(half_close.max(Duration::from_millis(1)));
        match &mut self.timer {
            Some(timer) => timer.as_mut().reset(now + tick),
            None => self.timer = Some(Box::pin(tokio::time::sleep_until(now + tick))),
        }
        self.is_armed = true;
    }
}
