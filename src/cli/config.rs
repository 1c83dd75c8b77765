//! `klamm config`: every value in effect with its origin, as YAML that loads again.

use super::{ConfigCommandArgs, ended, loaded};
use crate::config::keys;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: ConfigCommandArgs) -> ExitCode {
    if args.keys {
        return print(&keys::markdown());
    }
    match loaded(&args.config.sources()) {
        Ok(loaded) => print(&loaded.effective.to_string()),
        Err(code) => code,
    }
}

/// Not `print!`, which panics when the reader (`head`) is gone.
pub(super) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        result => ended(result.map_err(Into::into)),
    }
}
