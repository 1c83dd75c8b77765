//! `klamm run`: the configuration, then the proxy. Nothing starts before everything is validated.

use super::{ConfigArgs, ended, loaded};
use crate::app::{self, Settings};
use crate::observe::logs;
use anyhow::Context;
use std::process::ExitCode;

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    match loaded(args) {
        Ok(loaded) => ended(run_until_stopped(loaded.settings)),
        Err(code) => code,
    }
}

fn run_until_stopped(settings: Settings) -> anyhow::Result<()> {
    logs::init(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the async runtime can't be started")?.block_on(app::run(settings))?;
    Ok(())
}
