//! Configuration: from a file, the environment and flags to the validated settings of every module.
//!
//! Layers, each above the one before: defaults < file (YAML) < environment (`NARROWS_`, `__`
//! between levels) < flags. Only this module knows what keys are called; [`keys`] is the one table
//! that says so. A load either gives settings that can't be wrong in themselves, or every problem
//! there is, not only the first: the key, the value found, where it came from, the reason and the
//! cure.
//!
//! On the way: `file` reads and `layers` merges, `reader` types single values, `build` assembles
//! settings, `ports` looks at all listeners together. Certificates and keys are read here too, so
//! that what is wrong with them is told like everything else. Nothing here resolves a name or opens
//! a socket, so `narrows check` works anywhere.

mod build;
mod clean;
mod effective;
mod environment;
mod file;
pub mod keys;
pub mod kind;
mod layers;
mod mistakes;
mod origin;
mod parse;
mod ports;
mod problem;
mod reader;
pub mod schema;
mod value;
mod yaml;

use crate::app::Settings;
use crate::observe::LogSettings;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use effective::{Effective, Entry};
pub use origin::Origin;
pub use problem::{Problem, Problems};

/// What the configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The YAML file, if there is one.
    pub file: Option<PathBuf>,
    /// Environment variables, name and value; those without the prefix `NARROWS_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Flags in the spelling of [`keys::Key::flag`], and their values.
    pub flags: Vec<(String, String)>,
    /// Whether certificates and keys stay unread: what the configuration says is checked without
    /// them, and its settings are not good for running.
    pub without_files: bool,
}

/// A configuration without problems.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What the modules are built from.
    pub settings: Settings,
    /// Every value and where it came from.
    pub effective: Effective,
    /// The files that it stands in: the configuration's own, certificates and keys.
    pub files: Vec<PathBuf>,
}

impl Sources {
    /// The `file`, the `flags`, and the environment of this process.
    pub(crate) fn of_process(file: Option<PathBuf>, flags: Vec<(String, String)>) -> Self {
        // A value that isn't UTF-8 keeps a replacement character, which no key takes: it is refused
        // where it is read.
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let environment = std::env::vars_os()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        Self {
            file,
            environment,
            flags,
            without_files: false,
        }
    }
}

/// How to log, as far as that can be read, whatever is wrong with the rest: for saying what is.
/// `None` where the sources themselves can't be read.
pub(crate) fn log_settings(sources: &Sources) -> Option<LogSettings> {
    let is_pipe = |file: &PathBuf| file.metadata().is_ok_and(|file| !file.is_file());
    if sources.file.as_ref().is_some_and(is_pipe) {
        // What it held has been read.
        return None;
    }
    let (layers, problems) = layers::collect(sources).ok()?;
    build::log(&mut reader::Reader::new(layers, problems, Vec::new()))
}

/// Reads a duration as keys have it, for flags that are no keys; `Err` says what may be written.
pub(crate) fn duration(text: &str, bounds: RangeInclusive<Duration>) -> Result<Duration, String> {
    let read = parse::duration(bounds)(text);
    read.map_err(|fault| format!("{}: {}", fault.reason, fault.cure))
}

/// Reads and validates everything; `Err` holds every problem found.
pub fn load(sources: &Sources) -> Result<Loaded, Problems> {
    let (layers, problems) = layers::collect(sources)?;
    let files = sources.file.iter().cloned().collect();
    let mut reader = reader::Reader::new(layers, problems, files);
    if sources.without_files {
        reader.leave_files();
    }
    let settings = build::settings(&mut reader);
    reader.finish(settings)
}
