//! Log filters: what an operator may write as `log.level`. Checked once, here, and then a type.
//!
//! A filter is a level (`info`), or several parts with commas, each a level or a module with one:
//! `info,narrows::session=debug`. tracing takes whatever looks like a module for one, and a
//! misspelt one silences lines without a word; so modules of Narrows are held against those that
//! log. Modules of libraries (`hyper=off`) are taken as they are.

use crate::types::likeness::{guess, nearest};
use std::fmt;
use tracing_subscriber::EnvFilter;

/// The words that stand for a level.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// What the modules of Narrows begin with.
const OWN: &str = env!("CARGO_PKG_NAME");

/// Every module that logs. `tests/house` holds it against the source.
pub const MODULES: &[&str] = &[
    "narrows::admin::server",
    "narrows::app",
    "narrows::app::reload",
    "narrows::app::run",
    "narrows::app::running",
    "narrows::app::upgrade",
    "narrows::cli::run",
    "narrows::cluster::misled",
    "narrows::cluster::moves",
    "narrows::cluster::offers",
    "narrows::cluster::refresh",
    "narrows::cluster::sharing",
    "narrows::listener",
    "narrows::listener::carry",
    "narrows::listener::connection",
    "narrows::listener::limits",
    "narrows::observe::logs",
    "narrows::observe::metrics",
    "narrows::observe::queue",
    "narrows::session::context",
    "narrows::session::requests",
    "narrows::session::responses",
    "narrows::session::routed",
    "narrows::session::serve",
    "narrows::session::unmapped",
];

/// A filter that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {cure}")]
pub struct FilterError {
    /// What is wrong.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) cure: String,
}

impl LogFilter {
    /// Reads a filter as operators write it.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        parts.iter().try_for_each(|part| check_part(part))?;
        let text = parts.join(",");
        match EnvFilter::builder().parse(&text) {
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(FilterError {
                reason: error.to_string(),
                cure: "write a level, or a filter such as info,narrows::session=debug".to_owned(),
            }),
        }
    }

    /// Everything from this level on.
    pub(crate) fn level(level: tracing::Level) -> Self {
        Self(level.as_str().to_ascii_lowercase())
    }

    pub(super) fn to_env_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_part(part: &str) -> Result<(), FilterError> {
    let is_module = part == OWN || part.contains(['=', '[', ':']);
    if !is_module {
        return check_level(part);
    }
    // What stands in brackets, a span and its fields, is left to tracing.
    let (module, level) = match part.split_once('=') {
        Some((module, level)) if !part.contains('[') => (module, Some(level)),
        _ => (part.split('[').next().unwrap_or(part), None),
    };
    check_module(module)?;
    level.map_or(Ok(()), check_level)
}

fn check_level(word: &str) -> Result<(), FilterError> {
    let lower = word.to_ascii_lowercase();
    if LEVELS.contains(&lower.as_str()) {
        return Ok(());
    }
    Err(FilterError {
        reason: format!("unknown level `{word}`"),
        cure: guess(&lower, LEVELS) + &format!("write one of {}", LEVELS.join(", ")),
    })
}

fn check_module(module: &str) -> Result<(), FilterError> {
    let refused = |near: Option<String>| {
        let cure = match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("write one of {}", rooms().join(", ")),
        };
        Err(FilterError {
            reason: format!("no module of Narrows that logs is called `{module}`"),
            cure,
        })
    };
    let (root, inner) = module.split_once("::").unwrap_or((module, ""));
    if root == OWN {
        let is_above = |known: &str| {
            let rest = known.strip_prefix(module);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        // The beginning that all share says nothing about likeness.
        return match MODULES.iter().any(|known| is_above(known)) {
            true => Ok(()),
            false => refused(nearest(inner, inner_names()).map(|near| format!("{OWN}::{near}"))),
        };
    }
    if nearest(root, [OWN]).is_some() {
        let rest = module.strip_prefix(root).unwrap_or_default();
        return refused(Some(format!("{OWN}{rest}")));
    }
    match inner_names().any(|own| own == module) {
        true => refused(Some(format!("{OWN}::{module}"))),
        false => Ok(()),
    }
}

/// Each module that logs and each that holds one, without what all begin with.
fn inner_names() -> impl Iterator<Item = &'static str> {
    MODULES.iter().flat_map(|module| {
        let inner = &module[OWN.len() + 2..];
        let ends = inner.match_indices("::").map(|(at, _)| at);
        ends.chain([inner.len()]).map(move |end| &inner[..end])
    })
}

/// The modules right below the root.
fn rooms() -> Vec<String> {
    let mut rooms: Vec<String> = inner_names()
        .filter(|inner| !inner.contains("::"))
        .map(|inner| format!("{OWN}::{inner}"))
        .collect();
    rooms.dedup();
    rooms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_that_operators_write_are_taken() {
        for text in [
            "info",
            "WARN",
            "off",
            "narrows",
            "narrows::session",
            "narrows=debug",
            "narrows::session=trace",
            "narrows::session::context=DEBUG",
            "info,hyper=off",
            "info, narrows::cluster=debug",
            "warn,narrows[session{peer=10.0.0.1:4321}]=trace",
        ] {
            assert!(LogFilter::parse(text).is_ok(), "{text}");
        }
        let spaced = LogFilter::parse("info, narrows=debug").unwrap();
        assert_eq!(spaced.to_string(), "info,narrows=debug");
    }

    #[test]
    fn a_misspelt_filter_is_told_what_was_meant() {
        for (text, reason, cure) in [
            (
                "inof",
                "unknown level `inof`",
                "did you mean info? write one",
            ),
            ("info,debg", "unknown level `debg`", "did you mean debug?"),
            ("narrows=loud", "unknown level `loud`", "write one of off,"),
            ("", "unknown level ``", "write one of off,"),
            ("info,", "unknown level ``", "write one of off,"),
            ("verbose", "unknown level `verbose`", "write one of off,"),
            (
                "narrows=info=debug",
                "unknown level `info=debug`",
                "write one",
            ),
            (
                "info,narrows::sesion=debug",
                "no module of Narrows that logs is called `narrows::sesion`",
                "did you mean narrows::session?",
            ),
            (
                "narrows::session::contxt=debug",
                "no module of Narrows that logs is called `narrows::session::contxt`",
                "did you mean narrows::session::context?",
            ),
            (
                "narows::session=debug",
                "no module of Narrows that logs is called `narows::session`",
                "did you mean narrows::session?",
            ),
            (
                "cluster::refresh=debug",
                "no module of Narrows that logs is called `cluster::refresh`",
                "did you mean narrows::cluster::refresh?",
            ),
            (
                "narrows::weather=debug",
                "no module of Narrows that logs is called `narrows::weather`",
                "write one of narrows::admin, narrows::app, narrows::cli, narrows::cluster,",
            ),
        ] {
            let error = LogFilter::parse(text).unwrap_err();
            assert_eq!(error.reason, reason, "{text}");
            assert!(error.cure.starts_with(cure), "{text}: {}", error.cure);
        }
    }

    #[test]
    fn what_only_tracing_can_judge_is_refused_with_an_example() {
        let error = LogFilter::parse("narrows[session=trace").unwrap_err();
        assert!(
            error.cure.contains("info,narrows::session=debug"),
            "{error}"
        );
    }
}
