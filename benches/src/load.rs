//! The load generator: valid requests over many connections, in a closed loop (a request for each
//! response) or an open one (a fixed rate; latency counts from when a request was due, not from
//! when it was sent).
//!
//! One thread, one epoll. Received bytes are copied into a buffer, as a client does it, and
//! dropped. Every response is checked: its correlation id must be the oldest one in flight.

use crate::frames::{self, REQUEST_CORRELATION_AT, RESPONSE_CORRELATION_AT};
use crate::sys::{self, Epoll, Timer};
use crate::wire::{Binding, STALL, Stream};
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

const TIMER: u64 = u64::MAX;
const BUFFER_BYTES: usize = 256 * 1024;
/// Small requests that wait together leave together, up to this much.
const BATCH_BYTES: usize = 64 * 1024;
const CLOSED: &str = "the relay closed a connection of the load";

/// What is sent, and how.
#[derive(Clone, Debug)]
pub struct Work {
    /// The request, with its length; its correlation id is patched.
    pub request: Vec<u8>,
    pub connections: usize,
    pub pace: Pace,
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As many requests of a connection in flight as this, always.
    Closed { depth: usize },
    /// Requests a second over all connections, whatever comes back.
    Open { per_second: f64 },
}

/// What happened while it was measured.
#[derive(Debug, Default)]
pub struct Outcome {
    pub round_trips: u64,
    /// In both directions.
    pub bytes: u64,
    pub seconds: f64,
    /// In nanoseconds, sorted.
    pub latencies: Vec<u64>,
}

impl Outcome {
    /// In microseconds; `None` when nothing came back.
    pub fn percentile(&self, percent: f64) -> Option<f64> {
        let last = self.latencies.len().checked_sub(1)?;
        let at = (last as f64 * percent / 100.0).round() as usize;
        self.latencies.get(at).map(|nanos| *nanos as f64 / 1000.0)
    }
}

/// Called when measuring begins and when it ends.
pub trait Watch {
    fn begin(&mut self) {}
    fn end(&mut self) {}
}

/// Nobody watches.
pub struct Unwatched;
impl Watch for Unwatched {}

struct Connection {
    stream: Stream,
    /// Requests that are not sent yet, the one that is partly sent included.
    pending: usize,
    /// Bytes of the first pending one that are sent.
    offset: usize,
    /// The correlation id of the first pending one.
    next_id: u32,
    /// The correlation id of the oldest in flight.
    oldest_id: u32,
    /// Since when each one in flight counts.
    in_flight: VecDeque<Instant>,
    head: Vec<u8>,
    left: usize,
    waits_to_write: bool,
}

/// Connects as a client does: ApiVersions v3 first, and its answer.
pub fn open(door: &Binding) -> Result<Stream> {
    let mut stream = door.connect_blocking()?;
    stream.ask(&frames::api_versions_request()?)?;
    stream.set_blocking(false)?;
    Ok(stream)
}

/// Runs `work` against `door` for `warm_up`, then for `measure`, of which it tells.
pub fn run(
    door: &Binding,
    work: &Work,
    warm_up: Duration,
    measure: Duration,
    watch: &mut dyn Watch,
) -> Result<Outcome> {
    let mut load = Load::new(door, work)?;
    load.work_until(Instant::now() + warm_up)?;
    load.forget();
    watch.begin();
    let begun = Instant::now();
    load.work_until(begun + measure)?;
    let seconds = begun.elapsed().as_secs_f64();
    watch.end();
    load.outcome.seconds = seconds;
    load.outcome.latencies.sort_unstable();
    Ok(load.outcome)
}

struct Load {
    epoll: Epoll,
    timer: Timer,
    connections: Vec<Connection>,
    pace: Pace,
    /// The request, as often as fits into a batch.
    batch: Vec<u8>,
    request_bytes: usize,
    buffer: Vec<u8>,
    outcome: Outcome,
    due: Instant,
    turn: usize,
    heard: Instant,
}

impl Load {
    fn new(door: &Binding, work: &Work) -> Result<Self> {
        let epoll = Epoll::new()?;
        let timer = Timer::new()?;
        epoll.add(timer.fd(), TIMER, true, false)?;
        let mut connections = Vec::with_capacity(work.connections);
        for token in 0..work.connections {
            let stream = open(door)?;
            epoll.add(stream.fd(), token as u64, true, false)?;
            connections.push(Connection {
                stream,
                pending: 0,
                offset: 0,
                next_id: 1,
                oldest_id: 1,
                in_flight: VecDeque::new(),
                head: Vec::new(),
                left: 0,
                waits_to_write: false,
            });
        }
        let now = Instant::now();
        Ok(Self {
            epoll,
            timer,
            connections,
            pace: work.pace,
            batch: work
                .request
                .repeat((BATCH_BYTES / work.request.len()).max(1)),
            request_bytes: work.request.len(),
            buffer: vec![0; BUFFER_BYTES],
            outcome: Outcome::default(),
            due: now,
            turn: 0,
            heard: now,
        })
    }

    /// What came before does not count.
    fn forget(&mut self) {
        self.outcome = Outcome::default();
    }

    fn work_until(&mut self, end: Instant) -> Result<()> {
        if let Pace::Closed { depth } = self.pace {
            for token in 0..self.connections.len() {
                let missing = depth - self.connections[token].in_flight.len();
                self.enqueue(token, missing, Instant::now());
                self.write(token)?;
            }
        }
        let mut ready = Vec::new();
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            self.send_what_is_due(now)?;
            ensure!(
                now < self.heard + STALL,
                "no response for {STALL:?}: the relay or the simulator stalls"
            );
            self.epoll
                .wait(&mut ready, (end - now).min(Duration::from_millis(100)))?;
            for event in &ready {
                if event.token == TIMER {
                    continue;
                }
                let token = event.token as usize;
                if event.readable {
                    self.read(token)?;
                }
                if event.writable || event.readable {
                    self.write(token)?;
                }
            }
        }
    }

    /// In an open loop: everything that is due by now, connection after connection, and the timer
    /// for the next.
    fn send_what_is_due(&mut self, now: Instant) -> Result<()> {
        let Pace::Open { per_second } = self.pace else {
            return Ok(());
        };
        let gap = Duration::from_secs_f64(1.0 / per_second);
        while self.due <= now {
            let token = self.turn % self.connections.len();
            self.turn += 1;
            self.enqueue(token, 1, self.due);
            self.write(token)?;
            self.due += gap;
        }
        if self
            .connections
            .iter()
            .all(|connection| connection.in_flight.is_empty())
        {
            self.heard = now;
        }
        Ok(self
            .timer
            .set(self.due.saturating_duration_since(Instant::now()))?)
    }

    fn enqueue(&mut self, token: usize, count: usize, since: Instant) {
        let connection = &mut self.connections[token];
        connection.pending += count;
        connection
            .in_flight
            .extend(std::iter::repeat_n(since, count));
    }

    fn write(&mut self, token: usize) -> Result<()> {
        let connection = &mut self.connections[token];
        let request_bytes = self.request_bytes;
        match connection.stream.flush() {
            Err(error) if !sys::is_later(&error) => return Err(error).context(CLOSED),
            _ => {}
        }
        while connection.pending > 0 {
            let count = connection.pending.min(self.batch.len() / request_bytes);
            for i in 0..count {
                let at = i * request_bytes + REQUEST_CORRELATION_AT;
                let id = connection.next_id.wrapping_add(i as u32);
                self.batch[at..at + 4].copy_from_slice(&id.to_be_bytes());
            }
            let bytes = &self.batch[connection.offset..count * request_bytes];
            match connection.stream.send(bytes) {
                Ok(sent) => {
                    self.outcome.bytes += sent as u64;
                    let sent = sent + connection.offset;
                    connection.pending -= sent / request_bytes;
                    connection.next_id = connection
                        .next_id
                        .wrapping_add((sent / request_bytes) as u32);
                    connection.offset = sent % request_bytes;
                }
                Err(error) if sys::is_later(&error) => break,
                Err(error) => return Err(error).context(CLOSED),
            }
        }
        let waits = connection.pending > 0 || connection.stream.has_unsent();
        if waits != connection.waits_to_write {
            connection.waits_to_write = waits;
            self.epoll
                .change(connection.stream.fd(), token as u64, true, waits)?;
        }
        Ok(())
    }

    fn read(&mut self, token: usize) -> Result<()> {
        let connection = &mut self.connections[token];
        let count = match connection.stream.recv(&mut self.buffer) {
            Ok(0) => anyhow::bail!(CLOSED),
            Ok(count) => count,
            Err(error) if sys::is_later(&error) => return Ok(()),
            Err(error) => return Err(error).context("the relay reset a connection of the load"),
        };
        let now = Instant::now();
        self.heard = now;
        self.outcome.bytes += count as u64;
        let mut input = &self.buffer[..count];
        let mut finished = 0;
        while !input.is_empty() {
            if connection.left == 0 {
                let (head, rest) = input.split_at((8 - connection.head.len()).min(input.len()));
                connection.head.extend_from_slice(head);
                input = rest;
                if connection.head.len() < 8 {
                    break;
                }
                connection.left = connection.body_bytes()?;
                connection.head.clear();
            }
            let skipped = connection.left.min(input.len());
            connection.left -= skipped;
            input = &input[skipped..];
            if connection.left == 0 {
                let since = connection
                    .in_flight
                    .pop_front()
                    .context("a response that nobody asked for")?;
                self.outcome
                    .latencies
                    .push(now.saturating_duration_since(since).as_nanos() as u64);
                finished += 1;
            }
        }
        self.outcome.round_trips += finished as u64;
        if let Pace::Closed { .. } = self.pace {
            self.enqueue(token, finished, now);
        }
        Ok(())
    }
}

impl Connection {
    /// Checks the head of a response and returns how many bytes follow it.
    fn body_bytes(&mut self) -> Result<usize> {
        let number = |at: usize| {
            self.head
                .get(at..)
                .and_then(|bytes| bytes.first_chunk())
                .map_or(0, |four| u32::from_be_bytes(*four))
        };
        let length = number(0);
        let id = number(RESPONSE_CORRELATION_AT);
        ensure!(
            id == self.oldest_id,
            "response {id} came where {} was due",
            self.oldest_id
        );
        ensure!(length > 4, "a response without a body");
        self.oldest_id = self.oldest_id.wrapping_add(1);
        Ok(length as usize - 4)
    }
}

/// Connect, ApiVersions, Metadata, first Produce, one connection after the other: the latencies of
/// the whole.
pub fn first_connections(door: &Binding, count: usize) -> Result<Outcome> {
    let requests = [
        frames::api_versions_request()?,
        frames::metadata_request(1)?,
        frames::produce_request(200)?,
    ];
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    for _ in 0..count {
        let since = Instant::now();
        let mut stream = door.connect_blocking()?;
        for request in &requests {
            stream.ask(request)?;
        }
        outcome.latencies.push(since.elapsed().as_nanos() as u64);
        outcome.round_trips += 1;
    }
    outcome.seconds = begun.elapsed().as_secs_f64();
    outcome.latencies.sort_unstable();
    Ok(outcome)
}
