//! `narrows run`: the configuration, then the proxy. Nothing starts before everything is validated.

use super::{ConfigArgs, EXIT_CONFIGURATION};
use crate::app::{self, ConfiguredValue, Reading, RunError};

use crate::config::{Entry, Loaded, Problems, Sources, keys, load, log_settings};
use crate::net::passed::PassedSockets;
use crate::observe::LogFilter;
use crate::observe::logs::{self, LogFormat, LogSettings};
use std::fmt;
use std::process::ExitCode;
use tracing::error;

pub(super) fn run(args: ConfigArgs) -> ExitCode {
    let sources = args.sources();
    let file = sources.file.clone();
    let mut guess = told_format(&sources);
    // While there is no other thread.
    let passed = match PassedSockets::from_environment() {
        Ok(passed) => passed,
        Err(error) => {
            say(guess, &[error.to_string()]);
            return ExitCode::FAILURE;
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(app::run(file, passed, move || read(&sources)));
            // Its blocking threads may wait for a file system or a resolver that does not answer.
            runtime.shutdown_background();
            ended
        }
        Err(error) => {
            say(
                guess,
                &[format!("the async runtime can't be started: {error}")],
            );
            return ExitCode::FAILURE;
        }
    };
    let Err(error) = ended else {
        return ExitCode::SUCCESS;
    };
    match &error {
        RunError::Settings(Refused { problems, format }) => {
            guess = guess.or(*format);
            say_problems(guess, problems);
            ExitCode::from(EXIT_CONFIGURATION)
        }
        // The log is running by now.
        RunError::Start(_) | RunError::Predecessor(_) | RunError::TaskEnded(_) => {
            error.to_string().lines().for_each(|line| error!("{line}"));
            ExitCode::FAILURE
        }
        _ => {
            say(guess, &[error.to_string()]);
            ExitCode::FAILURE
        }
    }
}

/// A configuration that can't be used, and how its log would have been written.
#[derive(Debug)]
struct Refused {
    problems: Problems,
    format: Option<LogFormat>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.fmt(f)
    }
}

/// Everything again, as at the start: the file may say something else now; the environment and the
/// flags don't.
fn read(sources: &Sources) -> Reading<Refused> {
    match load(sources) {
        Ok(Loaded {
            settings,
            files,
            effective,
            ..
        }) => Reading {
            settings: Ok(settings),
            files,
            configured: effective.entries.iter().map(configured).collect(),
        },
        Err(problems) => {
            let files = problems.files.clone();
            let format = log_settings(sources).map(|log| log.format);
            Reading {
                settings: Err(Refused { problems, format }),
                files,
                configured: Vec::new(),
            }
        }
    }
}

pub(super) fn configured(entry: &Entry) -> ConfiguredValue {
    ConfiguredValue {
        key: entry.path.join("."),
        value: entry.shown(),
        origin: entry.origin.to_string(),
    }
}

/// The format that a flag or the environment asks for: known before any file is read.
fn told_format(sources: &Sources) -> Option<LogFormat> {
    let without_file = Sources {
        file: None,
        ..sources.clone()
    };
    let is_told = |name: &str| {
        let has = |list: &[(String, String)]| list.iter().any(|(given, _)| given == name);
        has(&sources.flags) || has(&sources.environment)
    };
    let key = &keys::LOG_FORMAT;
    let is_told = key.flag.is_some_and(is_told) || is_told(&key.variable(""));
    log_settings(&without_file)
        .filter(|_| is_told)
        .map(|log| log.format)
}

/// Says why nothing runs, where the log has not been started: in JSON where JSON was asked for.
fn say(format: Option<LogFormat>, lines: &[String]) {
    if is_json(format) {
        lines.iter().for_each(|line| error!("{line}"));
    } else {
        lines
            .iter()
            .for_each(|line| logs::tell(&format!("narrows: {line}\n")));
    }
}

fn say_problems(format: Option<LogFormat>, problems: &Problems) {
    if !is_json(format) {
        return logs::tell(&problems.to_string());
    }
    for problem in &problems.list {
        let key = &problem.key;
        let (reason, cure) = (&problem.reason, &problem.cure);
        error!(
            key,
            found = problem.found,
            cure,
            "the configuration can't be used: {key}: {reason}"
        );
    }
}

/// Whether lines are JSON; starts the log if so.
fn is_json(format: Option<LogFormat>) -> bool {
    let is_json = format == Some(LogFormat::Json);
    let settings = LogSettings {
        level: LogFilter::level(tracing::Level::INFO),
        format: LogFormat::Json,
    };
    is_json && logs::init(&settings).is_ok()
}
