//! What went wrong lately, by cause and source: keeps the log readable and the status page full.
//!
//! Whoever can reach a port can provoke a warning at will. So each source gets one line of a kind
//! in [`SOURCE_INTERVAL`], all sources together [`LINES_PER_SECOND`] of a kind, and no more is
//! remembered than [`INCIDENTS_MAX`]; what is held back is counted, and said with the next line.

use super::throttle::Throttle;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two log lines of one kind about one source.
pub(crate) const SOURCE_INTERVAL: Duration = Duration::from_secs(10);
/// Log lines of one kind in a second, whoever provokes them.
pub(crate) const LINES_PER_SECOND: u32 = 5;
/// What is remembered. The oldest is forgotten first.
pub(crate) const INCIDENTS_MAX: usize = 256;

/// One kind of thing that went wrong with one source.
#[derive(Clone, Debug)]
pub(crate) struct Incident {
    /// Where it came in.
    pub(crate) listener: String,
    /// The code of the cause.
    pub(crate) cause: &'static str,
    /// Whose connections they were, if one client's.
    pub(crate) source: Option<IpAddr>,
    /// How often.
    pub(crate) count: u64,
    /// The last one's sentence.
    pub(crate) text: String,
    /// When it happened last.
    pub(crate) last: Instant,
    throttle: Throttle,
}

/// What went wrong lately.
#[derive(Debug, Default)]
pub(crate) struct Incidents {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    seen: HashMap<(String, &'static str, Option<IpAddr>), Incident>,
    /// By cause: how many lines the current second has had, and when it began.
    lines: HashMap<&'static str, (u32, Instant)>,
}

impl Incidents {
    /// Notes one more. `Some(n)`: log it, `n` of its kind and source were not since the last line;
    /// `None`: hold it back.
    pub(crate) fn note(
        &self,
        (listener, cause, source): (&str, &'static str, Option<IpAddr>),
        text: &str,
        now: Instant,
    ) -> Option<u64> {
        let mut state = self.lock();
        let key = (listener.to_owned(), cause, source);
        if !state.seen.contains_key(&key) {
            state.make_room();
        }
        let incident = state.seen.entry(key).or_insert_with(|| Incident {
            listener: listener.to_owned(),
            cause,
            source,
            count: 0,
            text: String::new(),
            last: now,
            throttle: Throttle::every(SOURCE_INTERVAL),
        });
        incident.count += 1;
        text.clone_into(&mut incident.text);
        incident.last = now;
        let admitted = incident.throttle.admit(now)?;
        state.has_line_left(cause, now).then_some(admitted)
    }

    /// The latest `most`, the latest first.
    pub(crate) fn latest(&self, most: usize) -> Vec<Incident> {
        let mut all: Vec<_> = self.lock().seen.values().cloned().collect();
        all.sort_by_key(|incident| std::cmp::Reverse(incident.last));
        all.truncate(most);
        all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn make_room(&mut self) {
        if self.seen.len() < INCIDENTS_MAX {
            return;
        }
        let oldest = self
            .seen
            .iter()
            .min_by_key(|(_, incident)| incident.last)
            .map(|(key, _)| key.clone());
        oldest.and_then(|key| self.seen.remove(&key));
    }

    fn has_line_left(&mut self, cause: &'static str, now: Instant) -> bool {
        let (lines, began) = self.lines.entry(cause).or_insert((0, now));
        if now.saturating_duration_since(*began) >= Duration::from_secs(1) {
            (*lines, *began) = (0, now);
        }
        *lines += 1;
        *lines <= LINES_PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_source_gets_one_line_of_a_kind_and_what_was_held_back_is_said_with_the_next() {
        let incidents = Incidents::default();
        let start = Instant::now();
        let note =
            |cause, from, at| incidents.note(("external", cause, Some(source(from))), "text", at);
        assert_eq!(note("http", 1, start), Some(0));
        assert_eq!(note("http", 1, start), None);
        assert_eq!(note("ssh", 1, start), Some(0), "another kind");
        assert_eq!(note("http", 2, start), Some(0), "another source");
        assert_eq!(note("http", 1, start + SOURCE_INTERVAL), Some(1));
    }

    #[test]
    fn many_sources_together_get_a_few_lines_a_second() {
        let incidents = Incidents::default();
        let start = Instant::now();
        let lines = |at| {
            (0..100)
                .filter(|from| {
                    incidents
                        .note(("l", "http", Some(source(*from))), "t", at)
                        .is_some()
                })
                .count()
        };
        assert_eq!(lines(start), LINES_PER_SECOND as usize);
        assert_eq!(lines(start + SOURCE_INTERVAL), LINES_PER_SECOND as usize);
    }

    #[test]
    fn no_more_is_remembered_than_the_bound_and_the_oldest_goes_first() {
        let incidents = Incidents::default();
        let start = Instant::now();
        for number in 0..1000u32 {
            let source = IpAddr::from(number.to_be_bytes());
            incidents.note(
                ("l", "http", Some(source)),
                &number.to_string(),
                start + Duration::from_millis(number.into()),
            );
        }
        let latest = incidents.latest(usize::MAX);
        assert_eq!(latest.len(), INCIDENTS_MAX);
        assert_eq!(
            (&*latest[0].text, &*latest[INCIDENTS_MAX - 1].text),
            ("999", "744")
        );
        assert_eq!(incidents.latest(3).len(), 3);
    }
}
