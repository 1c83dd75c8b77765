//! Storms: connections that come, ask once and go, as after a restart of many clients; or that come
//! with a hello which has to be turned away.

use crate::certificates::UNKNOWN_NAME;
use crate::frames;
use crate::load::{Outcome, Watch};
use crate::sys::{self, Epoll};
use crate::wire::{Binding, STALL, Stream, Wire};
use anyhow::{Context, Result, bail, ensure};
use std::io::ErrorKind;
use std::time::{Duration, Instant};

const WIDTH: usize = 64;
/// An answer, or an alert.
const BUFFER_BYTES: usize = 4096;

/// What every connection of a storm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visit {
    /// Asks for ApiVersions and goes with a reset; over TLS after a full handshake.
    Ask,
    /// The same, with a handshake that resumes an earlier session.
    AskResuming,
    /// In turn: a hello that was cut in the middle, and plain Kafka where TLS is expected. Over
    /// when the relay closes.
    Garble,
    /// A good hello for a name that nobody has. Over when the relay closes.
    AskForNobody,
}

impl Visit {
    /// Where the visitors go in turn.
    fn doors(self, door: &Binding) -> Result<Vec<Binding>> {
        let Wire::Tls(client) = &door.wire else {
            ensure!(self == Self::Ask, "{self:?} needs a relay that ends TLS");
            return Ok(vec![door.clone()]);
        };
        let with = |wire| Binding {
            address: door.address,
            wire,
        };
        Ok(match self {
            Self::Ask => vec![door.clone()],
            Self::AskResuming => {
                let door = with(Wire::Tls(client.resuming()));
                gather_tickets(&door)?;
                vec![door]
            }
            Self::Garble => vec![
                with(Wire::Prefixed(cut_hello(&client.hello()?)?.into())),
                with(Wire::Prefixed(frames::api_versions_request()?.into())),
            ],
            Self::AskForNobody => {
                vec![with(Wire::Prefixed(
                    client.to(UNKNOWN_NAME)?.hello()?.into(),
                ))]
            }
        })
    }

    fn is_turned_away(self) -> bool {
        matches!(self, Self::Garble | Self::AskForNobody)
    }
}

/// Every visitor that resumes needs a ticket, and may get only one in its place. So this many say
/// hello before the first has a ticket to use.
fn gather_tickets(door: &Binding) -> Result<()> {
    let mut streams = (0..WIDTH)
        .map(|_| Ok(door.connect()?))
        .collect::<Result<Vec<_>>>()?;
    for stream in &mut streams {
        stream.establish()?;
        // Tickets come in front of the first answer.
        stream.ask(&frames::api_versions_request()?)?;
    }
    Ok(())
}

/// The first half of a hello, whose lengths say that it is all.
fn cut_hello(hello: &[u8]) -> Result<Vec<u8>> {
    let mut cut = hello[..hello.len() / 2].to_vec();
    let body = u16::try_from(cut.len() - 9).context("a hello that is too long")?;
    cut[3..5].copy_from_slice(&(body + 4).to_be_bytes());
    cut[6..9].copy_from_slice(&u32::from(body).to_be_bytes()[1..]);
    Ok(cut)
}

struct Visitor {
    stream: Stream,
    since: Instant,
    has_asked: bool,
    got: usize,
}

/// 64 visitors at a time. Returns how many were served, or turned away, in `measure`.
pub fn run(
    door: &Binding,
    visit: Visit,
    warm_up: Duration,
    measure: Duration,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let doors = visit.doors(door)?;
    let mut storm = Storm {
        visit,
        request: frames::api_versions_request()?,
        epoll: Epoll::new()?,
        next: doors.into_iter().cycle(),
        buffer: [0; BUFFER_BYTES],
    };
    let mut slots = (0..WIDTH)
        .map(|token| storm.come(token).map(Some))
        .collect::<Result<Vec<_>>>()?;
    let mut outcome = Outcome::default();
    let mut begun = None;
    let mut ready = Vec::new();
    let start = Instant::now();
    let mut heard = Instant::now();
    loop {
        let now = Instant::now();
        if begun.is_none() && now >= start + warm_up {
            outcome = Outcome::default();
            watch.begin();
            begun = Some(Instant::now());
        }
        if let Some(begun) = begun
            && now >= begun + measure
        {
            outcome.seconds = begun.elapsed().as_secs_f64();
            watch.end();
            outcome.latencies.sort_unstable();
            return Ok(outcome);
        }
        ensure!(now < heard + STALL, "no answer in a storm for {STALL:?}");
        storm.epoll.wait(&mut ready, Duration::from_millis(20))?;
        for event in &ready {
            let token = event.token as usize;
            let Some(visitor) = slots[token].as_mut() else {
                continue;
            };
            if !storm.hear(visitor)? {
                continue;
            }
            heard = Instant::now();
            outcome.round_trips += 1;
            outcome
                .latencies
                .push(visitor.since.elapsed().as_nanos() as u64);
            slots[token] = None;
            slots[token] = Some(storm.come(token)?);
        }
    }
}

struct Storm {
    visit: Visit,
    request: Vec<u8>,
    epoll: Epoll,
    next: std::iter::Cycle<std::vec::IntoIter<Binding>>,
    buffer: [u8; BUFFER_BYTES],
}

impl Storm {
    fn come(&mut self, token: usize) -> Result<Visitor> {
        let since = Instant::now();
        let stream = self
            .next
            .next()
            .context("a storm without a door")?
            .connect()?;
        self.epoll.add(stream.fd(), token as u64, true, false)?;
        let mut visitor = Visitor {
            stream,
            since,
            has_asked: self.visit.is_turned_away(),
            got: 0,
        };
        self.ask(&mut visitor)?;
        Ok(visitor)
    }

    /// Asks as soon as it may. The request fits into any socket.
    fn ask(&self, visitor: &mut Visitor) -> Result<()> {
        if visitor.has_asked || !visitor.stream.is_established() {
            return Ok(());
        }
        if self.visit == Visit::AskResuming {
            ensure!(
                visitor.stream.is_resumed(),
                "the relay does not resume a session"
            );
        }
        visitor.stream.send(&self.request)?;
        visitor.has_asked = true;
        Ok(())
    }

    /// Whether the visit is over.
    fn hear(&mut self, visitor: &mut Visitor) -> Result<bool> {
        let is_turned_away = self.visit.is_turned_away();
        match visitor.stream.recv(&mut self.buffer[visitor.got..]) {
            Ok(0) if is_turned_away => return Ok(true),
            Ok(0) => bail!("the relay closed a new connection"),
            Ok(_) if is_turned_away => return Ok(false), // the alert
            Ok(count) => visitor.got += count,
            Err(error) if sys::is_later(&error) => {
                self.ask(visitor)?;
                return Ok(false);
            }
            Err(error) if is_turned_away && error.kind() == ErrorKind::ConnectionReset => {
                return Ok(true);
            }
            Err(error) => return Err(error).context("the relay reset a new connection"),
        }
        let length = self
            .buffer
            .first_chunk()
            .map_or(0, |length| u32::from_be_bytes(*length) as usize);
        // Every answer comes whole: it is a hundred bytes, sent at once.
        ensure!(
            visitor.got == 4 + length,
            "an answer of {} bytes that says {length}",
            visitor.got
        );
        Ok(true)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_hello_is_whole_by_its_lengths() {
        let mut hello = vec![22, 3, 1, 0, 104, 1, 0, 0, 100];
        hello.extend([7; 100]);
        let cut = cut_hello(&hello).unwrap();
        assert_eq!(cut.len(), 54);
        assert_eq!(cut[..9], [22, 3, 1, 0, 49, 1, 0, 0, 45]);
    }
}
