//! `narrows config`: every value in effect with its origin, as YAML that loads again; or what
//! follows from them for Strimzi.

use super::{ConfigCommandArgs, EXIT_CONFIGURATION, ended, loaded, strimzi};
use crate::app::Settings;
use crate::config::{keys, schema};
use crate::observe::metrics;
use std::io::Write;
use std::process::ExitCode;

pub(super) fn run(args: ConfigCommandArgs) -> ExitCode {
    if args.keys {
        return print(&keys::markdown());
    }
    if args.schema {
        return print(&schema::text());
    }
    if args.metrics {
        return print(&metrics::markdown());
    }
    match loaded(&args.config.sources()) {
        Ok(loaded) if args.strimzi => strimzi(&loaded.settings),
        Ok(loaded) => print(&loaded.effective.to_string()),
        Err(code) => code,
    }
}

fn strimzi(settings: &Settings) -> ExitCode {
    if let Some(listeners) = strimzi::listeners(settings) {
        return print(&listeners);
    }
    eprintln!(
        "narrows: no listener has tls.mode passthrough, and all others need nothing special from \
         Strimzi: \
         its internal listeners will do"
    );
    ExitCode::from(EXIT_CONFIGURATION)
}

/// Not `print!`, which panics when the reader (`head`) is gone.
pub(super) fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        result => ended(result.map_err(Into::into)),
    }
}
