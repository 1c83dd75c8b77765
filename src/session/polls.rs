//! A Fetch of several brokers waits here, and not at the brokers: one that has nothing must not
//! keep back what another one has.
//!
//! First each broker is asked for what it has, without a wait. If that is enough, it is the answer.
//! Else all are asked again, each for a short wait, until one has enough or the client's own wait
//! is over. Whoever has not answered by then has its last answer told; the one that is to come is
//! dropped, and nothing with it: these requests have no session, and the client asks again from
//! where it is. The client's next Fetch asks each broker without a wait again, so none is left out,
//! and waits for no more than what is left of a short wait.

use crate::protocol::split::{Fetched, Waits};
use bytes::Bytes;
use std::time::{Duration, Instant};

/// How long a broker waits at the most when it is asked again: what it may keep the client's next
/// Fetch back. An idle consumer asks that often.
const STEP: Duration = Duration::from_millis(50);

/// How a Fetch is asked for again and again.
#[derive(Debug)]
pub(super) struct Polls {
    waits: Waits,
    ends_at: Instant,
    /// The first one asks for what there is.
    is_first: bool,
    /// What each broker is asked.
    pieces: Vec<Bytes>,
}

impl Polls {
    /// For these pieces, which are written for the first round; `None` if the client does not wait.
    pub(super) fn new(waits: Waits, pieces: &mut [Vec<u8>], now: Instant) -> Option<Self> {
        let wait = u64::try_from(waits.max_wait_ms).ok().filter(|ms| *ms > 0)?;
        for piece in &mut *pieces {
            waits.put(piece, 0, waits.min_bytes);
        }
        Some(Self {
            waits,
            ends_at: now + Duration::from_millis(wait),
            is_first: true,
            pieces: pieces
                .iter()
                .map(|piece| Bytes::copy_from_slice(piece))
                .collect(),
        })
    }

    /// Whether the first round is under way, in which everybody is heard.
    pub(super) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Whether the client need not wait for more than this.
    pub(super) fn is_enough(&self, fetched: impl Iterator<Item = Fetched> + Clone) -> bool {
        fetched.clone().any(|of_part| of_part.is_final)
            || bytes(fetched) >= i64::from(self.waits.min_bytes)
    }

    /// What each broker is asked in the next round, after these answers; `None` when the client has
    /// waited for long enough.
    pub(super) fn next(
        &mut self,
        fetched: impl Iterator<Item = Fetched> + Clone,
        now: Instant,
    ) -> Option<Vec<Bytes>> {
        let left = self.ends_at.checked_duration_since(now)?;
        let wait = i32::try_from(left.min(STEP).as_millis())
            .ok()
            .filter(|ms| *ms > 0)?;
        self.is_first = false;
        // What is missing, on top of what the broker has: with less it would answer at once what it
        // has answered before.
        let missing = i64::from(self.waits.min_bytes) - bytes(fetched.clone());
        let of_part = |(piece, has): (&Bytes, Fetched)| {
            let enough = missing
                .max(1)
                .saturating_add(i64::try_from(has.bytes).unwrap_or(i64::MAX));
            let mut piece = piece.to_vec();
            self.waits
                .put(&mut piece, wait, i32::try_from(enough).unwrap_or(i32::MAX));
            Bytes::from(piece)
        };
        Some(self.pieces.iter().zip(fetched).map(of_part).collect())
    }
}

fn bytes(fetched: impl Iterator<Item = Fetched>) -> i64 {
    let all: u64 = fetched.map(|of_part| of_part.bytes).sum();
    i64::try_from(all).unwrap_or(i64::MAX)
}
