//! Log lines on their way to standard error.
//!
//! Nothing that moves bytes may wait for an operator's device: a pipe that nobody reads, a terminal
//! that is paused, a full disk. So a line is put into a queue of bounded size, and one thread
//! writes. When the queue is full, or the device refuses a line, the line is lost and counted.
//!
//! Below WARN there are no more than [`LINES_PER_SECOND_MAX`]: `trace` on a busy port would write a
//! disk full. What is left out is counted as well. Warnings and errors have bounds of their own,
//! where they are logged.

use super::throttle::Throttle;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What may wait to be written: some 4,000 lines.
pub(crate) const QUEUE_BYTES_MAX: usize = 1024 * 1024;

/// How many lines below WARN are taken in a second: 1 MB or so.
pub(crate) const LINES_PER_SECOND_MAX: u32 = 5_000;

/// A device that is not blocking has no room: it is tried again after this.
const DEVICE_PAUSE: Duration = Duration::from_millis(20);
/// Between two lines that say how many were lost.
const LOSS_INTERVAL: Duration = Duration::from_secs(10);

/// The queue; clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct LineQueue(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A line has come, or all have gone.
    changed: Condvar,
    lost: AtomicU64,
    /// Of those, the ones that were too many in a second.
    left_out: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    /// A line has been taken and is not written yet.
    is_writing: bool,
    /// The second that is counted, and how many lines it has had.
    second: Option<Instant>,
    second_lines: u32,
}

impl State {
    fn has_line_left(&mut self, now: Instant) -> bool {
        let is_over = |began: Instant| now.saturating_duration_since(began).as_secs() > 0;
        if self.second.is_none_or(is_over) {
            self.second = Some(now);
            self.second_lines = 0;
        }
        self.second_lines += 1;
        self.second_lines <= LINES_PER_SECOND_MAX
    }
}

impl LineQueue {
    /// Writes what is pushed to `device`, on a thread that lives as long as the process and that
    /// nobody joins.
    pub(crate) fn write_to(&self, device: impl Write + Send + 'static) -> io::Result<()> {
        let queue = self.clone();
        std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || queue.write_for_ever(device))
            .map(drop)
    }

    /// Takes a line that may be one of very many, unless this second, which is the one of `now`,
    /// has had its share.
    pub(crate) fn push_bounded(&self, line: &[u8], now: Instant) {
        if self.lock().has_line_left(now) {
            return self.push(line);
        }
        self.0.left_out.fetch_add(1, Relaxed);
        self.0.lost.fetch_add(1, Relaxed);
    }

    /// Takes a line, which ends with a line feed; never waits for the device.
    pub(crate) fn push(&self, line: &[u8]) {
        let line: Box<[u8]> = line.into();
        let mut state = self.lock();
        if state.bytes + line.len() > QUEUE_BYTES_MAX {
            drop(state);
            self.0.lost.fetch_add(1, Relaxed);
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        drop(state);
        self.0.changed.notify_all();
    }

    /// How many lines have been lost since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.0.lost.load(Relaxed)
    }

    /// Waits until everything has been written, but not for longer than `timeout`; returns whether
    /// it has.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let is_busy = |state: &mut State| state.is_writing || !state.lines.is_empty();
        let waited = self
            .0
            .changed
            .wait_timeout_while(self.lock(), timeout, is_busy);
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !waited.timed_out()
    }

    fn write_for_ever(&self, mut device: impl Write) {
        let mut reported = 0;
        let mut reports = Throttle::every(LOSS_INTERVAL);
        let mut reported_left_out = 0;
        loop {
            let line = self.next();
            let written = write_line(&mut device, &line);
            if written.is_err() {
                self.0.lost.fetch_add(1, Relaxed);
            }
            self.lock().is_writing = false;
            self.0.changed.notify_all();
            let lost = self.lost();
            if written.is_ok() && lost > reported && reports.admit(Instant::now()).is_some() {
                let left_out = self.0.left_out.load(Relaxed) - reported_left_out;
                // Into the queue, as every other line.
                tracing::warn!(
                    lost = lost - reported,
                    left_out,
                    "log lines were lost: standard error was not read fast enough, or refused \
                     them, or, those left out, there were more than {LINES_PER_SECOND_MAX} a second"
                );
                reported = lost;
                reported_left_out += left_out;
            }
        }
    }

    fn next(&self) -> Box<[u8]> {
        let is_empty = |state: &mut State| state.lines.is_empty();
        loop {
            let waited = self.0.changed.wait_while(self.lock(), is_empty);
            let mut state = waited.unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = state.lines.pop_front() {
                state.bytes -= line.len();
                state.is_writing = true;
                return line;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write_line(device: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match device.write(line) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => line = &line[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Whoever shares the device has made it non-blocking.
            #[expect(clippy::disallowed_methods, reason = "a thread that only writes lines")]
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                std::thread::sleep(DEVICE_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// A device that hands each write to a test, and waits until it is taken.
    struct Device(SyncSender<Vec<u8>>);

    impl Write for Device {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.0.send(bytes.to_vec());
            taken.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue() -> (LineQueue, Receiver<Vec<u8>>) {
        let (device, written) = sync_channel(0);
        let queue = LineQueue::default();
        queue.write_to(Device(device)).unwrap();
        (queue, written)
    }

    #[test]
    fn lines_are_written_whole_and_in_their_order() {
        let (queue, written) = queue();
        for line in ["first\n", "second\n", "third\n"] {
            queue.push(line.as_bytes());
        }
        for line in ["first\n", "second\n", "third\n"] {
            assert_eq!(written.recv_timeout(PATIENCE).unwrap(), line.as_bytes());
        }
        assert!(queue.flush(PATIENCE));
        assert_eq!(queue.lost(), 0);
    }

    #[test]
    fn a_device_that_nobody_reads_holds_nobody_up_and_what_does_not_fit_is_counted() {
        let (queue, written) = queue();
        let line = [b'x'; 1024];
        let fits = QUEUE_BYTES_MAX / line.len();
        queue.push(&line);
        while !queue.lock().is_writing {
            std::thread::yield_now();
        }
        for _ in 0..fits + 10 {
            queue.push(&line);
        }
        assert_eq!(queue.lost(), 10);
        assert!(!queue.flush(Duration::from_millis(1)), "nobody has read");
        for _ in 0..=fits {
            assert_eq!(written.recv_timeout(PATIENCE).unwrap(), line);
        }
        assert!(queue.flush(PATIENCE));
    }

    #[test]
    fn more_lines_than_a_second_may_have_are_left_out_and_counted() {
        let queue = LineQueue::default();
        let start = Instant::now();
        for _ in 0..LINES_PER_SECOND_MAX + 10 {
            queue.push_bounded(b"x\n", start);
        }
        assert_eq!(queue.lost(), 10);
        queue.push(b"a warning goes through\n");
        queue.push_bounded(
            b"the next second has its own\n",
            start + Duration::from_secs(1),
        );
        assert_eq!(queue.lost(), 10);
        let taken = queue.lock().lines.len();
        assert_eq!(taken, LINES_PER_SECOND_MAX as usize + 2);
    }

    #[test]
    fn a_device_that_refuses_a_line_loses_that_line() {
        let (queue, written) = queue();
        drop(written);
        queue.push(b"gone\n");
        assert!(queue.flush(PATIENCE));
        assert_eq!(queue.lost(), 1);
    }
}
