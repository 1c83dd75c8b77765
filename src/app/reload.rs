//! Takes in what has changed in the configuration's files while Klamm runs.

use std::time::Duration;

/// When the files of the configuration are looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReloadSettings {
    /// How often; zero: only on SIGHUP.
    pub interval: Duration,
}
