//! A reload: other settings for a Narrows that runs.
//!
//! A reload reads everything anew. Only if all of it is valid is it swapped in, and whole;
//! otherwise what runs goes on, and the log, the metrics `narrows_reloads_total` and
//! `narrows_last_reload_success`, and the status page say why.

use super::{Narrows, Settings, StartError};
use crate::net::passed::PassedSockets;
use crate::observe::logs;
use crate::observe::time::{rfc3339, unix_seconds};
use serde_json::json;
use std::fmt;
use std::sync::PoisonError;
use std::time::Duration;
use tracing::{error, info};

/// When to look for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// How often the files are looked at; zero: never, only a SIGHUP reloads.
    pub interval: Duration,
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
            let filter = settings.log.level.clone();
            running.apply(settings, &mut PassedSockets::default(), &self.runtime)?;
            logs::set_filter(&filter);
        }
        self.show();
        Ok(true)
    }

    /// Reloads what has been read, and says how it went; whether it is what runs now.
    pub(super) fn take(&self, reading: Result<Settings, impl fmt::Display>) -> bool {
        let reloaded = reading
            .map_err(|problems| ReloadError::Settings(problems.to_string()))
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
        let now = unix_seconds();
        self.runtime
            .metrics
            .reloaded(outcome, reloaded.is_ok(), now);
        let is_taken = reloaded.is_ok();
        let problem = reloaded.err().map(|problem| problem.to_string());
        self.overview
            .reloaded(json!({ "state": outcome, "at": rfc3339(now), "problem": problem }));
        is_taken
    }
}

/// The keys that differ and can't.
fn fixed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let differs = [
        ("admin.bind", old.admin != new.admin),
        ("log.format", old.log.format != new.log.format),
    ];
    differs
        .into_iter()
        .filter(|(_, differs)| *differs)
        .map(|(key, _)| key)
        .collect()
}
