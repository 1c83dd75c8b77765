//! Environment variables as configuration: `NARROWS_`, then the levels of a key in upper case,
//! joined by `__`.
//!
//! Kubernetes puts variables of its own beside ours: a Service called `narrows` gives every pod
//! `NARROWS_SERVICE_HOST`, `NARROWS_PORT_9092_TCP_ADDR` and the like. No key of ours has a single
//! level, so none of those can be one.

use super::keys::{KEYS, Key, LOG_LEVEL, PREFIX, is_name};
use super::problem::{Problem, shown};
use crate::types::likeness::{closest, nearest};
use std::path::{Path, PathBuf};

/// What an operator may take for the variable that names the file. There is none, since `check`,
/// `config` and `run` take a flag.
const FILE: &str = "NARROWS_CONFIG";

/// The names that a file has already, which variables are matched to regardless of case, `-` and
/// `_`.
pub(super) struct Names {
    /// Of clusters.
    pub(super) clusters: Vec<String>,
    /// Of listeners.
    pub(super) listeners: Vec<String>,
    /// The file itself, by its flag.
    pub(super) file: Option<PathBuf>,
}

impl Names {
    /// The names that may stand for `*` in `key`.
    pub(super) fn of(&self, key: &Key) -> &[String] {
        if key.path.starts_with("clusters.") {
            &self.clusters
        } else {
            &self.listeners
        }
    }
}

/// Which key's path a variable sets; `None` for one that is not ours.
pub(super) fn path(
    variable: &str,
    value: &str,
    names: &Names,
) -> Option<Result<Vec<String>, Problem>> {
    let rest = variable.strip_prefix(PREFIX)?;
    // A script may hand it on by the flag.
    if variable == FILE && names.file.as_deref() == Some(Path::new(value)) {
        return None;
    }
    // A template that leaves a value empty means "not set".
    if value.is_empty() || is_service_link(rest, value) {
        return None;
    }
    let levels: Vec<String> = rest.to_lowercase().split("__").map(str::to_owned).collect();
    let key = KEYS.iter().find(|key| matches(key, &levels));
    match key {
        Some(key) => Some(Ok(resolve(key, levels, names))),
        None => unknown(variable, value, names).map(Err),
    }
}

/// What Kubernetes and Docker make of a service's name.
fn is_service_link(rest: &str, value: &str) -> bool {
    if rest.contains("__") {
        return false;
    }
    let protocol = |part: &str| matches!(part, "TCP" | "UDP" | "SCTP");
    let parts: Vec<&str> = rest.split('_').collect();
    let is_port = |number: &str| number.parse::<u16>().is_ok();
    match parts.as_slice() {
        [.., "SERVICE", "HOST"] => true,
        [.., "PORT"] if value.contains("://") => true,
        [.., "PORT", number, kind] if is_port(number) && protocol(kind) => true,
        [.., "PORT", number, kind, "PROTO" | "PORT" | "ADDR"]
            if is_port(number) && protocol(kind) =>
        {
            true
        }
        parts => parts.windows(2).any(|pair| pair == ["SERVICE", "PORT"]),
    }
}

fn matches(key: &Key, levels: &[String]) -> bool {
    key.levels().count() == levels.len()
        && key.levels().zip(levels).all(|(want, got)| {
            if want == "*" {
                is_name(got)
            } else {
                want == got
            }
        })
}

fn resolve(key: &Key, levels: Vec<String>, names: &Names) -> Vec<String> {
    if !key.path.contains('*') {
        return levels;
    }
    let known = names
        .of(key)
        .iter()
        .find(|name| name.to_lowercase().replace('-', "_") == levels[1]);
    key.at(known.unwrap_or(&levels[1]))
}

/// A variable with levels that no key has, or one that is nearly a key's. Others that merely begin
/// like ours (`NARROWS_VERSION` in an image, say) are passed over.
fn unknown(variable: &str, value: &str, names: &Names) -> Option<Problem> {
    const ALIKE_MIN: f64 = 0.75;
    let own_name = variable.split("__").nth(1).unwrap_or("NAME").to_lowercase();
    let mut candidates = Vec::new();
    for key in KEYS {
        candidates.push(key.variable(&own_name));
        candidates.extend(names.of(key).iter().map(|name| key.variable(name)));
    }
    let candidates = || candidates.iter().map(String::as_str);
    let is_named = ["CLUSTERS_", "LISTENERS_"]
        .iter()
        .any(|section| variable[PREFIX.len()..].starts_with(section));
    let has_levels = variable.contains("__") || is_named;
    // One underscore for two is the likeliest slip.
    let flat = |name: &str| name.replace("__", "_");
    let slip = candidates().find(|candidate| flat(candidate) == flat(variable));
    // The prefix that all share says nothing about likeness.
    let near = slip.map(str::to_owned).or_else(|| {
        let word = &variable[PREFIX.len()..];
        let candidates = candidates().map(|candidate| &candidate[PREFIX.len()..]);
        let near = match has_levels {
            true => nearest(word, candidates),
            false => closest(word, ALIKE_MIN, candidates),
        };
        near.map(|near| format!("{PREFIX}{near}"))
    });
    let cure = match near {
        _ if variable == FILE => format!("use the flag: --config {}", value.escape_debug()),
        None if short(variable).is_some() => {
            let instead = short(variable).map(|key| match names.of(&key) {
                [only] => key.variable(only),
                _ => key.variable("NAME"),
            });
            let instead = instead.unwrap_or_default();
            format!("write {instead}: levels are joined by two underscores")
        }
        Some(near) => format!("did you mean {near}? Levels are joined by two underscores"),
        None if has_levels => "remove it, or see `narrows config --keys` for every key".to_owned(),
        None => return None,
    };
    let found = Some(format!(
        "{} (environment {variable})",
        shown(variable, value)
    ));
    let reason = "no key belongs to this environment variable".to_owned();
    Some(Problem {
        key: variable.to_owned(),
        found,
        reason,
        cure,
    })
}

/// The key that a variable without levels is likely meant for: its name is that of a flag.
fn short(variable: &str) -> Option<Key> {
    let rest = &variable[PREFIX.len()..];
    if rest == "LOG" {
        return Some(LOG_LEVEL);
    }
    let flag = format!("--{}", rest.to_lowercase().replace('_', "-"));
    let key = KEYS.iter().find(|key| key.flag == Some(flag.as_str()));
    key.copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            clusters: vec!["orders-EU".into()],
            listeners: vec!["external".into()],
            file: None,
        }
    }

    fn path_of(variable: &str) -> Option<Result<String, String>> {
        let path = path(variable, "tcp://10.0.0.1:9092", &names())?;
        Some(
            path.map(|path| path.join("."))
                .map_err(|problem| problem.cure),
        )
    }

    #[test]
    fn levels_are_joined_by_two_underscores() {
        assert_eq!(path_of("NARROWS_LOG__LEVEL"), Some(Ok("log.level".into())));
        assert_eq!(
            path_of("NARROWS_LISTENERS__EXTERNAL__ADDRESS__FIRST_PORT"),
            Some(Ok("listeners.external.address.first_port".into()))
        );
    }

    #[test]
    fn a_name_in_the_file_is_met_regardless_of_case_and_hyphens() {
        assert_eq!(
            path_of("NARROWS_CLUSTERS__ORDERS_EU__DNS_TIMEOUT"),
            Some(Ok("clusters.orders-EU.dns_timeout".into()))
        );
        assert_eq!(
            path_of("NARROWS_CLUSTERS__NEW__DNS_TIMEOUT"),
            Some(Ok("clusters.new.dns_timeout".into()))
        );
    }

    #[test]
    fn what_kubernetes_sets_for_a_service_called_narrows_is_passed_over() {
        for variable in [
            "NARROWS_SERVICE_HOST",
            "NARROWS_SERVICE_PORT",
            "NARROWS_SERVICE_PORT_KAFKA_TLS",
            "NARROWS_PORT",
            "NARROWS_PORT_9092_TCP",
            "NARROWS_PORT_9092_TCP_PROTO",
            "NARROWS_PORT_9092_TCP_PORT",
            "NARROWS_PORT_9092_TCP_ADDR",
            "NARROWS_ADMIN_SERVICE_HOST",
            "NARROWS_ADMIN_PORT_9190_TCP_ADDR",
        ] {
            assert_eq!(path_of(variable), None, "{variable}");
        }
    }

    #[test]
    fn a_variable_that_only_begins_like_ours_is_passed_over() {
        for variable in [
            "NARROWS_VERSION",
            "NARROWS_HOME",
            "NARROWS_KAFKA_VERSION",
            "NARROWS_",
            "NARROWSER__X",
            "PATH",
        ] {
            assert_eq!(path_of(variable), None, "{variable}");
        }
    }

    #[test]
    fn a_single_underscore_between_levels_is_explained() {
        let cure = "did you mean NARROWS_LOG__LEVEL? Levels are joined by two underscores";
        assert_eq!(path_of("NARROWS_LOG_LEVEL"), Some(Err(cure.into())));
    }

    #[test]
    fn a_misspelt_variable_is_told_the_nearest_one() {
        let Some(Err(cure)) = path_of("NARROWS_CLUSTERS__NEW__BOOSTRAP_SERVERS") else {
            panic!("it has a key")
        };
        assert!(
            cure.contains("NARROWS_CLUSTERS__NEW__BOOTSTRAP_SERVERS"),
            "{cure}"
        );
        assert!(matches!(
            path("NARROWS_LISTENERS_X_ADDRESS_FIRST_PORT", "9093", &names()),
            Some(Err(_))
        ));
        assert!(matches!(path_of("NARROWS_LOG_LEVL"), Some(Err(_))));
        let Some(Err(cure)) = path_of("NARROWS_WEATHER__IN__PRAGUE") else {
            panic!("it has a key")
        };
        assert!(cure.starts_with("remove it"), "{cure}");
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        assert!(path("NARROWS_LOG__LEVEL", "", &names()).is_none());
    }
}
