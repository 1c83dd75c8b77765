//! Client programs that nobody here wrote, started through `tests/clients/run` in the clients'
//! namespace.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::fixture::Fixture;
use crate::logs;
use crate::namespaces::Side;

/// What clients are given: Narrows' addresses, or in direct mode the brokers' own as the control of
/// the experiment.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    pub(crate) side: Side,
    pub(crate) plain: String,
    pub(crate) sasl: String,
    /// As `sasl`, where clients must authenticate again and again.
    pub(crate) reauth: String,
    /// What metadata may show: node id to host and port.
    pub(crate) brokers: BTreeMap<i64, (String, u16)>,
    pub(crate) sasl_brokers: BTreeMap<i64, (String, u16)>,
}

/// For a scenario with an end, on two busy cores.
const SCENARIO_TIMEOUT: Duration = Duration::from_secs(240);
/// For a client that runs until it is stopped.
const FLOW_TIMEOUT: Duration = Duration::from_secs(900);
/// For a flow to show what a test waits for.
pub(crate) const FLOW_PATIENCE: Duration = Duration::from_secs(60);

/// Runs a scenario to its end and returns its lines; the last one says that it is done.
///
/// # Errors
/// When the client fails or does not end in time, with what it said.
pub(crate) fn run(
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    scenario: &str,
    options: &[String],
) -> Result<Vec<Value>> {
    run_within(
        SCENARIO_TIMEOUT,
        fixture,
        client,
        front,
        bootstrap,
        scenario,
        options,
    )
}

/// What a client sees of the cluster.
pub(crate) fn metadata(
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    options: &[String],
) -> Result<Vec<Value>> {
    run(fixture, client, front, bootstrap, "metadata", options)
}

/// As [`run`], for what a client would go on to try.
pub(crate) fn run_within(
    timeout: Duration,
    fixture: &Fixture,
    client: &str,
    front: &Front,
    bootstrap: &str,
    scenario: &str,
    options: &[String],
) -> Result<Vec<Value>> {
    let timeout = format!("timeout={}", timeout.as_secs());
    let options = [options, &[timeout]].concat();
    Flow::start(fixture, client, front, bootstrap, scenario, &options)?.finish()
}

/// A client that runs while the test does something else. Dropped: it is killed.
#[derive(Debug)]
pub(crate) struct Flow {
    child: Child,
    shown: Arc<Shown>,
    reader: Option<JoinHandle<()>>,
    what: String,
    log: PathBuf,
}

#[derive(Debug, Default)]
struct Shown {
    progress: Mutex<Progress>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Progress {
    lines: Vec<Value>,
    /// When the last record was shown, and the longest wait between two since
    /// [`Flow::watch_pauses`].
    last_record: Option<Instant>,
    longest_pause: Duration,
    is_over: bool,
}

impl Flow {
    /// Starts a scenario that goes on until [`Self::stop`], at a pace that leaves the machine to
    /// the others.
    pub(crate) fn endless(
        fixture: &Fixture,
        client: &str,
        front: &Front,
        bootstrap: &str,
        scenario: &str,
        options: &[String],
    ) -> Result<Self> {
        let timeout = format!("timeout={}", FLOW_TIMEOUT.as_secs());
        Self::start(
            fixture,
            client,
            front,
            bootstrap,
            scenario,
            &[options, &[timeout]].concat(),
        )
    }

    fn start(
        fixture: &Fixture,
        client: &str,
        front: &Front,
        bootstrap: &str,
        scenario: &str,
        options: &[String],
    ) -> Result<Self> {
        let what = format!("{client} {bootstrap} {scenario} {}", options.join(" "));
        let name = fixture.namespaces.unique(&format!("{client}-{scenario}"));
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/run");
        let mut child = fixture
            .namespaces
            .command(front.side, program)
            .args([client, bootstrap, scenario])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(logs::open(fixture.cluster.logs(), &name)?)
            .spawn()?;
        let output = child.stdout.take().context("a client without an output")?;
        let shown = Arc::new(Shown::default());
        let reader = thread::spawn({
            let shown = Arc::clone(&shown);
            move || follow(output, &shown)
        });
        let log = logs::path(fixture.cluster.logs(), &name)?;
        Ok(Self {
            child,
            shown,
            reader: Some(reader),
            what,
            log,
        })
    }

    /// How many records it has shown.
    pub(crate) fn count(&self) -> usize {
        let progress = self
            .shown
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        count_of(&progress)
    }

    /// Waits until it has shown so many records in all.
    pub(crate) fn await_count(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + FLOW_PATIENCE;
        let mut progress = self
            .shown
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        while count_of(&progress) < count {
            let left = deadline.saturating_duration_since(Instant::now());
            if progress.is_over || left.is_zero() {
                let stalled = if progress.is_over { "ended" } else { "stalled" };
                bail!(
                    "{}: {stalled} at {} of {count} records\n{}",
                    self.what,
                    count_of(&progress),
                    logs::tail(&self.log)
                );
            }
            progress = self
                .shown
                .changed
                .wait_timeout(progress, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        Ok(())
    }

    /// Forgets the pauses until now.
    pub(crate) fn watch_pauses(&self) {
        self.shown
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .longest_pause = Duration::ZERO;
    }

    /// The longest time between two records.
    pub(crate) fn longest_pause(&self) -> Duration {
        self.shown
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .longest_pause
    }

    /// Waits for so many more records than now: whatever was just done, the flow went on after it.
    pub(crate) fn await_more(&self, count: usize) -> Result<()> {
        self.await_count(self.count() + count)
    }

    /// Asks an endless client to finish properly and returns all its lines.
    pub(crate) fn stop(self) -> Result<Vec<Value>> {
        kill(
            Pid::from_raw(i32::try_from(self.child.id())?),
            Signal::SIGTERM,
        )?;
        self.finish()
    }

    /// Waits for its own end and returns all its lines.
    pub(crate) fn finish(mut self) -> Result<Vec<Value>> {
        let status = self.await_end()?;
        if let Some(reader) = self.reader.take() {
            reader
                .join()
                .map_err(|_| anyhow::anyhow!("the reader of a client panicked"))?;
        }
        let lines = std::mem::take(
            &mut self
                .shown
                .progress
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .lines,
        );
        let is_done = lines
            .last()
            .is_some_and(|line| !line["done"].is_null() || line["key"].is_null());
        if !status.success() || !is_done {
            bail!(
                "{}: {status} after {} lines\n{}",
                self.what,
                lines.len(),
                logs::tail(&self.log)
            );
        }
        Ok(lines)
    }

    fn await_end(&mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + SCENARIO_TIMEOUT + Duration::from_secs(15);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "{}: did not end in time\n{}",
                self.what,
                logs::tail(&self.log)
            );
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Flow {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(output: impl std::io::Read, shown: &Shown) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        let Ok(value) = serde_json::from_str(&line) else {
            continue;
        };
        shown
            .progress
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .note(value);
        shown.changed.notify_all();
    }
    shown
        .progress
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .is_over = true;
    shown.changed.notify_all();
}

impl Progress {
    fn note(&mut self, line: Value) {
        if !line["key"].is_null() {
            let now = Instant::now();
            if let Some(before) = self.last_record.replace(now) {
                self.longest_pause = self.longest_pause.max(now - before);
            }
        }
        self.lines.push(line);
    }
}

fn count_of(progress: &Progress) -> usize {
    progress
        .lines
        .iter()
        .filter(|line| !line["key"].is_null())
        .count()
}
