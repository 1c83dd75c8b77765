//! When a session ends though nothing is wrong: it is old enough, or Narrows drains.
//!
//! **Age** (`limits.connection_age_max`) spreads clients over replicas that have come later. It is
//! taken at a moment at which nothing is in flight, so that no client sees an error; one that has
//! something in flight all the time, as a consumer that waits for records, is given
//! [`IDLE_TRIES`] chances and then ends as in a drain, behind its last response.
//!
//! **A drain** closes broker by broker, with a pause in between: an application on librdkafka that
//! loses all its brokers at once may take that for an outage (ALL_BROKERS_DOWN) and give up. The
//! connections of the bootstrap port come first. All turns come within half of `drain.timeout`.

use super::cause::Cause;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How often a connection that is old enough is looked at for a moment without anything in flight.
const IDLE_TRIES: u8 = 40;
/// Between two looks.
const IDLE_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause between two brokers.
pub(super) const TURN_MAX: Duration = Duration::from_secs(1);
/// Ages differ by a tenth either way, so that connections that came at once don't end at once.
const JITTER: f64 = 0.1;

/// When a session is to end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Kept only where there is something to wait for: most connections are idle, and have no age.
    timer: Option<Pin<Box<Sleep>>>,
    tries: u8,
    is_draining: bool,
}

impl Ending {
    /// Of a session that begins now.
    pub(super) fn new(age_max: Option<Duration>) -> Self {
        let jittered = |age: Duration| age.mul_f64(1.0 - JITTER + 2.0 * JITTER * fastrand::f64());
        Self {
            timer: age_max.map(|age| Box::pin(tokio::time::sleep(jittered(age)))),
            ..Self::default()
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// A drain has begun, in which the session's turn is after `turn`.
    pub(super) fn drain(&mut self, turn: Duration) {
        self.is_draining = true;
        self.timer = Some(Box::pin(tokio::time::sleep(turn)));
    }

    /// Ready when [`why`](Self::why) is to be asked. Cancel-safe.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.timer {
            Some(timer) => timer.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }

    /// Waits for that. Cancel-safe.
    pub(super) async fn due(&mut self) {
        std::future::poll_fn(|cx| self.poll_due(cx)).await;
    }

    /// Why the session ends now, if it does: where it only has its age, not before it `is_idle` or
    /// has had its chances to be.
    pub(super) fn why(&mut self, is_idle: bool) -> Option<Cause> {
        if self.is_draining {
            self.timer = None;
            return Some(Cause::Drained);
        }
        if is_idle || self.tries == IDLE_TRIES {
            self.timer = None;
            return Some(Cause::AgeReached);
        }
        self.tries += 1;
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + IDLE_PAUSE);
        }
        None
    }
}

/// When it is the turn of connections to one of so many brokers, of which it is the one at `place`;
/// those that are for any broker have none. Every turn is within `spread`.
pub(super) fn turn(place: Option<usize>, brokers: usize, spread: Duration) -> Duration {
    let turns = u32::try_from(brokers).unwrap_or(u32::MAX).max(1);
    let pause = (spread / turns).min(TURN_MAX);
    let place = place.map_or(0, |place| place + 1);
    pause * u32::try_from(place).unwrap_or(u32::MAX).min(turns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_take_their_turns_one_after_the_other_within_the_spread() {
        let second = Duration::from_secs(1);
        assert_eq!(turn(None, 3, 15 * second), Duration::ZERO);
        let places = [0, 1, 2].map(|place| turn(Some(place), 3, 15 * second));
        assert_eq!(places, [second, 2 * second, 3 * second]);
        let many = [0, 59].map(|place| turn(Some(place), 60, 15 * second));
        assert_eq!(many, [second / 4, 15 * second]);
        assert_eq!(turn(Some(7), 0, 15 * second), second, "the map has changed");
        assert_eq!(turn(Some(2), 3, Duration::ZERO), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_session_ends_when_it_is_idle_and_a_busy_one_after_its_chances() {
        let hour = Duration::from_secs(3600);
        let began = Instant::now();
        let mut idle = Ending::new(Some(hour));
        idle.due().await;
        let took = began.elapsed();
        assert!(
            (hour.mul_f64(0.9)..=hour.mul_f64(1.1) + IDLE_PAUSE).contains(&took),
            "{took:?}"
        );
        assert!(idle.why(false).is_none());
        idle.due().await;
        assert!(matches!(idle.why(true), Some(Cause::AgeReached)));

        let mut busy = Ending::new(Some(hour));
        for _ in 0..IDLE_TRIES {
            busy.due().await;
            assert!(busy.why(false).is_none());
        }
        busy.due().await;
        assert!(matches!(busy.why(false), Some(Cause::AgeReached)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_overrules_the_age_and_waits_for_its_turn() {
        let mut ending = Ending::new(Some(Duration::from_secs(3600)));
        let began = Instant::now();
        ending.drain(Duration::from_secs(2));
        ending.due().await;
        assert!(began.elapsed() < Duration::from_secs(3));
        assert!(matches!(ending.why(false), Some(Cause::Drained)));
    }
}
