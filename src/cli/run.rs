//! `narrows run`: the configuration, then the proxy. Nothing starts before everything is validated.

use super::{ConfigArgs, ended, loaded};
use crate::app::{self, Reading, Settings};
use crate::config::{Loaded, Sources, load};
use crate::observe::logs;
use anyhow::Context;
use std::path::PathBuf;
use std::process::ExitCode;

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    let sources = args.sources();
    match loaded(&sources) {
        Ok(Loaded {
            settings, files, ..
        }) => ended(run_until_stopped(settings, files, sources)),
        Err(code) => code,
    }
}

fn run_until_stopped(
    settings: Settings,
    files: Vec<PathBuf>,
    sources: Sources,
) -> anyhow::Result<()> {
    logs::init(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("the async runtime can't be started")?;
    runtime.block_on(app::run(settings, files, move || read(&sources)))?;
    Ok(())
}

/// Everything again, as at the start: the file may say something else now; the environment and the
/// flags don't.
fn read(sources: &Sources) -> Reading {
    match load(sources) {
        Ok(Loaded {
            settings, files, ..
        }) => Reading {
            settings: Ok(settings),
            files,
        },
        Err(problems) => Reading {
            settings: Err(problems.to_string()),
            files: problems.files,
        },
    }
}
