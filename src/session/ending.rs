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
//!
//! When its turn has come, a session *leaves*: it goes on until a moment at which everything that
//! the client has sent is answered, and ends then. A consumer's Fetch can wait for minutes, and
//! what was sent behind it has been received: a broker would answer it, too, before it stops. A
//! client that never lets go of the connection, as a producer under load, is cut short after
//! [`LEAVING_MAX`]: what it has sent by then and no broker has seen, it sends anew to whoever is
//! there. That is also how a Kafka broker ends a controlled shutdown (`SocketServer` closes its
//! connections with requests unread), so that every client knows what to do.

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
/// How long a session may go on after its turn in a drain, if it is never idle: half of the time
/// that its turn could take at the most, and no longer than this.
const LEAVING_MAX: Duration = Duration::from_secs(5);
/// Ages differ by a tenth either way, so that connections that came at once don't end at once.
const JITTER: f64 = 0.1;

/// When a session is to end.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Kept only where there is something to wait for: most connections are idle, and have no age.
    timer: Option<Pin<Box<Sleep>>>,
    tries: u8,
    is_draining: bool,
    /// Its turn in a drain has come.
    is_leaving: bool,
}

/// What a session is to do that is to end.
#[derive(Debug)]
pub(super) enum Step {
    /// Go on, until it is asked again.
    GoOn,
    /// End as soon as nothing is in flight and nothing of the client's has arrived.
    Leave,
    /// Begin no further request, and end behind those in flight.
    End(Cause),
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

    /// Ready when [`step`](Self::step) is to be asked. Cancel-safe.
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

    /// What the session does now: where it only has its age, it does not end before it `is_idle` or
    /// has had its chances to be. All turns of a drain are within `spread`.
    pub(super) fn step(&mut self, is_idle: bool, spread: Duration) -> Step {
        if self.is_draining {
            let leaving = (spread / 2).min(LEAVING_MAX);
            if std::mem::replace(&mut self.is_leaving, true) || leaving.is_zero() {
                self.timer = None;
                return Step::End(Cause::Drained);
            }
            self.again_in(leaving);
            return Step::Leave;
        }
        if is_idle || self.tries == IDLE_TRIES {
            self.timer = None;
            return Step::End(Cause::AgeReached);
        }
        self.tries += 1;
        self.again_in(IDLE_PAUSE);
        Step::GoOn
    }

    fn again_in(&mut self, pause: Duration) {
        if let Some(timer) = &mut self.timer {
            timer.as_mut().reset(Instant::now() + pause);
        }
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
        assert!(matches!(idle.step(false, hour), Step::GoOn));
        idle.due().await;
        assert!(matches!(
            idle.step(true, hour),
            Step::End(Cause::AgeReached)
        ));

        let mut busy = Ending::new(Some(hour));
        for _ in 0..IDLE_TRIES {
            busy.due().await;
            assert!(matches!(busy.step(false, hour), Step::GoOn));
        }
        busy.due().await;
        assert!(matches!(
            busy.step(false, hour),
            Step::End(Cause::AgeReached)
        ));
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_overrules_the_age_waits_for_its_turn_and_lets_a_busy_session_leave() {
        let second = Duration::from_secs(1);
        for (spread, leaving) in [
            (60 * second, LEAVING_MAX),
            (3 * second, second.mul_f64(1.5)),
        ] {
            let mut ending = Ending::new(Some(Duration::from_secs(3600)));
            let began = Instant::now();
            ending.drain(2 * second);
            ending.due().await;
            assert!(began.elapsed() < 3 * second);
            let turn = Instant::now();
            assert!(matches!(ending.step(false, spread), Step::Leave));
            ending.due().await;
            let took = turn.elapsed();
            assert!((leaving..leaving + second / 2).contains(&took), "{took:?}");
            assert!(matches!(
                ending.step(false, spread),
                Step::End(Cause::Drained)
            ));
        }
    }
}
