//! `klamm run`: the configuration, then the proxy. Nothing starts before everything is validated.

use super::{ConfigArgs, ended, loaded};
use std::process::ExitCode;

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match loaded(args) {
        Ok(loaded) => ended(crate::app::run(loaded.settings)),
        Err(code) => code,
    }
}
