//! From the start to the end of a process: runs Narrows, reloads it when its files change or a
//! SIGHUP asks for it, and drains it.
//!
//! A reload reads everything anew. Only if all of it is well is it swapped in, and whole; otherwise
//! what runs goes on, and the log, the metric `narrows_reloads_total` and the status page say why.

use super::certificate_checks::unix_seconds;
use super::watch::Watch;
use super::{Narrows, Settings, StartError};
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tracing::{error, info};

/// When to look for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// How often the files are looked at; zero: never, only a SIGHUP reloads.
    pub interval: Duration,
}

/// What has been read.
#[derive(Debug)]
pub struct Reading {
    /// The settings, or every problem in words.
    pub settings: Result<Settings, String>,
    /// Every file that was looked for.
    pub files: Vec<PathBuf>,
}

/// Why a reload has changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// What has been read can't be.
    #[error("{0}")]
    Settings(String),
    /// A key that holds from the start to the end.
    #[error("{} can't be changed while Narrows runs: restart it for that, or put the old value \
             back", .0.join(", "))]
    Fixed(Vec<&'static str>),
    /// The new parts can't be started.
    #[error("{0}")]
    Start(#[from] StartError),
}

impl Narrows {
    /// Becomes what `settings` ask for; returns whether anything has changed. An error means that
    /// nothing has. Must be called inside a tokio runtime.
    pub fn reload(&self, settings: Settings) -> Result<bool, ReloadError> {
        {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.settings == settings {
                return Ok(false);
            }
            let fixed = fixed(&running.settings, &settings);
            if !fixed.is_empty() {
                return Err(ReloadError::Fixed(fixed));
            }
            running.apply(settings, &self.runtime)?;
        }
        self.show();
        Ok(true)
    }

    /// Reloads what has been read, and says how it went.
    fn take(&self, reading: Result<Settings, String>) {
        let reloaded = reading
            .map_err(ReloadError::Settings)
            .and_then(|settings| self.reload(settings));
        let outcome = match &reloaded {
            Ok(true) => "applied",
            Ok(false) => "unchanged",
            Err(_) => "refused",
        };
        match &reloaded {
            Ok(true) => {
                info!("reloaded: new connections go by the new configuration and certificates")
            }
            Ok(false) => info!("reloaded: nothing has changed"),
            Err(problem) => {
                error!(
                    "not reloaded, the old configuration and certificates stay in use: {problem}"
                )
            }
        }
        self.runtime.metrics.reloaded(outcome);
        let problem = reloaded.err().map(|problem| problem.to_string());
        self.overview
            .reloaded(json!({ "outcome": outcome, "at": unix_seconds(), "problem": problem }));
    }
}

/// The keys that differ and can't.
fn fixed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differs = [
        ("admin.bind", old.admin != new.admin),
        ("log.level", old.log.level != new.log.level),
        ("log.format", old.log.format != new.log.format),
    ];
    differs
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}

/// Runs Narrows until a signal ends it: SIGTERM or SIGINT drains, a second one ends at once.
/// SIGHUP, or a change of the `files` that the settings come from, has everything read again by
/// `read`.
pub async fn run(
    settings: Settings,
    files: Vec<PathBuf>,
    read: impl Fn() -> Reading + Send + Sync + 'static,
) -> Result<(), StartError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    // Read once more behind the first look, so that no change falls between the two.
    let (again, mut watch) = read_watched(&read, files);
    let narrows = Narrows::start(again.unwrap_or(settings))?;
    let read = Arc::new(read);
    let mut signalled = async || {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let name = loop {
        let interval = narrows.settings().reload.interval;
        tokio::select! {
            name = signalled() => break name,
            _ = hang_up.recv() => info!("SIGHUP received: reloading"),
            () = watch.changed(interval) => info!("files have changed: reloading"),
        }
        let read = Arc::clone(&read);
        let files = watch.files().to_vec();
        // Not on a thread that moves bytes: the files may be far away, and key pairs take a while
        // to check.
        let reading = tokio::task::spawn_blocking(move || read_watched(&*read, files)).await;
        let Ok((settings, seen)) = reading else {
            continue;
        };
        watch = seen;
        narrows.take(settings);
    };
    info!("{name} received");
    tokio::select! {
        _ = narrows.drain() => {}
        name = signalled() => {
            info!("a second signal ({name}): ending at once");
            narrows.stop().await;
        }
    }
    info!("stopped");
    Ok(())
}

/// Reads, with a look at the files from before: whatever changes while they are read is noticed
/// later.
fn read_watched(
    read: impl Fn() -> Reading,
    files: Vec<PathBuf>,
) -> (Result<Settings, String>, Watch) {
    let watch = Watch::over(files);
    let reading = read();
    if reading.files == watch.files() {
        return (reading.settings, watch);
    }
    let watch = Watch::over(reading.files);
    (read().settings, watch)
}
