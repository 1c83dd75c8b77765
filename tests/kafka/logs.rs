//! What the processes of a run say goes to files that outlive the run: one folder per Kafka version
//! under the build's own folder, written anew by each run.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::Result;

/// Enough lines to see a cause, few enough to read.
const TAIL_LINES: usize = 30;

/// Where a process's log is.
pub(crate) fn path(version: &str, name: &str) -> Result<PathBuf> {
    let folder = folder(version);
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{name}.log")))
}

/// The folder of a version's logs.
pub(crate) fn folder(version: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("kafka-tests")
        .join(version)
}

/// Opens a log at its end: a process that is started again continues it.
pub(crate) fn open(version: &str, name: &str) -> Result<File> {
    Ok(OpenOptions::new()
        .create(true)
        .append(true)
        .open(path(version, name)?)?)
}

/// The last lines of a log, and where the rest of it is.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!(
        "--- the end of {}\n{}\n---",
        path.display(),
        last.join("\n")
    )
}
