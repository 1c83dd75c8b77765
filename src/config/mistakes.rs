//! Likely mistakes, and the line to write instead: what people bring along from Kafka's own
//! properties, from Helm templates, and from other programs' words.

use super::file::{is_template, unfilled};
use super::keys::{self, Key};
use super::kind::Kind;
use super::parse;
use super::problem::{Fault, shown};
use crate::types::BrokerAddress;
use figment::value::Value;

/// Words for yes and no that other programs take. YAML 1.1 makes `true` of a bare `on`.
const YES: [&str; 6] = ["true", "yes", "on", "1", "enabled", "enable"];
const NO: [&str; 8] = [
    "false", "no", "off", "0", "none", "disabled", "disable", "skip",
];

/// Why `text` is not a value of `key`, where a likely mistake explains it.
pub(super) fn of_value(key: &Key, text: &str) -> Option<Fault> {
    if is_template(text) {
        return Some(unfilled());
    }
    match key.kind {
        Kind::Duration { .. } => bare_number(text).or_else(|| other_duration(key, text)),
        Kind::Bytes { .. } => other_size(key, text),
        Kind::Choice(words) => other_word(key, words, text),
        Kind::Text if *key == keys::LOG_LEVEL => other_level(text),
        Kind::Text => with_protocol(text),
        _ => None,
    }
}

/// Levels that other programs have.
fn other_level(text: &str) -> Option<Fault> {
    const LEVELS: [(&str, &str); 9] = [
        ("warning", "warn"),
        ("notice", "info"),
        ("information", "info"),
        ("verbose", "debug"),
        ("fatal", "error"),
        ("critical", "error"),
        ("severe", "error"),
        ("none", "off"),
        ("false", "off"),
    ];
    let lower = text.to_ascii_lowercase();
    let (_, level) = LEVELS.iter().find(|(word, _)| *word == lower)?;
    Some(Fault::new(
        format!("unknown level {}", shown("", text)),
        format!("write `level: {level}`"),
    ))
}

/// A host as a URL has it.
fn with_protocol(text: &str) -> Option<Fault> {
    let (_, host) = text.split_once("://")?;
    let host = host.trim_end_matches('/');
    let is_host = !host.is_empty() && host.chars().all(|c| c.is_ascii_graphic());
    is_host.then(|| {
        Fault::new(
            "a host has no protocol in front of it",
            format!("write {host}"),
        )
    })
}

fn bare_number(text: &str) -> Option<Fault> {
    let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    is_number.then(|| {
        Fault::new(
            "the unit is missing",
            format!("write {text}s for seconds, {text}ms for milliseconds"),
        )
    })
}

/// `30 seconds`, `1.5s` and `PT30S`.
fn other_duration(key: &Key, text: &str) -> Option<Fault> {
    const UNITS: [(&str, &[&str]); 4] = [
        (
            "ms",
            &["ms", "msec", "msecs", "milli", "millis", "millisecond"],
        ),
        ("s", &["s", "sec", "secs", "second"]),
        ("m", &["m", "min", "mins", "minute"]),
        ("h", &["h", "hr", "hrs", "hour"]),
    ];
    let lower = text.to_ascii_lowercase();
    let (number, unit) = number_and_unit(lower.strip_prefix("pt").unwrap_or(&lower))?;
    let is_named = |names: &&[&str]| {
        names.contains(&unit)
            || unit
                .strip_suffix('s')
                .is_some_and(|one| names.contains(&one))
    };
    let at = UNITS.iter().position(|(_, names)| is_named(names))?;
    let instead = match number.split_once('.') {
        None => format!("{number}{}", UNITS[at].0),
        Some((whole, tenths)) => {
            // A fraction becomes an integer of the next smaller unit.
            let smaller = [1, 1_000, 60, 60][at];
            let scale = 10u64.checked_pow(u32::try_from(tenths.len()).ok()?)?;
            let tenths = tenths.parse::<u64>().ok()?.checked_mul(smaller)?;
            let whole = whole.parse::<u64>().ok()?.checked_mul(smaller)?;
            let is_exact = at > 0 && tenths % scale == 0;
            is_exact.then(|| format!("{}{}", whole + tenths / scale, UNITS[at - 1].0))?
        }
    };
    let is_taken = parse::duration(key.kind.durations())(&instead).is_ok();
    is_taken.then(|| Fault::new("not a duration", format!("write {instead}")))
}

/// `100MB` and `64k`, by which few mean powers of ten.
fn other_size(key: &Key, text: &str) -> Option<Fault> {
    let lower = text.to_ascii_lowercase();
    let (number, unit) = number_and_unit(&lower)?;
    let unit = match unit {
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        _ => return None,
    };
    let instead = format!("{number}{unit}");
    let is_taken = parse::bytes(key.kind.bytes())(&instead).is_ok();
    is_taken.then(|| Fault::new("not a size in bytes", format!("write {instead}")))
}

fn number_and_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    (!number.is_empty()).then_some((number, unit.trim()))
}

fn other_word(key: &Key, words: &[&str], text: &str) -> Option<Fault> {
    let lower = text.to_ascii_lowercase();
    let line = |instead: &str| format!("write `{}: {instead}`", last(key));
    let is_word = words.iter().find(|word| **word == lower);
    if let Some(word) = is_word {
        return Some(Fault::new("words are in lower case here", line(word)));
    }
    let is_meant = |meant: &[&str]| meant.contains(&lower.as_str());
    let off = words.iter().find(|word| matches!(**word, "off" | "none"));
    let cure = match off {
        Some(off) if is_meant(&NO) => line(off),
        _ if !is_meant(&YES) => return None,
        _ => yes(key, words)?,
    };
    Some(Fault::new("not one of the words of this key", cure))
}

/// What to write for "yes".
fn yes(key: &Key, words: &[&str]) -> Option<String> {
    let line = |instead: &str| format!("write `{}: {instead}`", last(key));
    match *key {
        keys::TLS_MODE => Some(
            "write `mode: terminate` with tls.certificate and tls.key, or `mode: passthrough`"
                .to_owned(),
        ),
        keys::PROXY_PROTOCOL_MODE => Some(
            "write `mode: required` with proxy_protocol.trusted: [10.0.0.0/8], the networks of \
             the load balancers"
                .to_owned(),
        ),
        _ => ["on", "required", "full", "auto"]
            .into_iter()
            .find(|word| words.contains(word))
            .map(line),
    }
}

fn last(key: &Key) -> &'static str {
    key.levels().last().unwrap_or_default()
}

/// What to write where a plain value or a list stands in the place of the section at `pattern`, the
/// levels of its path with `*` for names.
pub(super) fn of_section(pattern: &[&str], value: &Value) -> Option<String> {
    let name = pattern.last()?;
    if let Value::Array(_, items) = value {
        return named_items(pattern, items);
    }
    let text = value.as_str()?.trim();
    let lower = text.to_ascii_lowercase();
    let inside = |key: &Key| {
        let is_child = key.levels().count() == pattern.len() + 1;
        is_child && key.levels().take(pattern.len()).eq(pattern.iter().copied())
    };
    let line = |key: &Key, text: &str| format!("write `{name}: {{{}: {text}}}`", last(key));
    let is_yes = YES.contains(&lower.as_str());
    match pattern {
        ["listeners", "*", "tls"] if is_yes => {
            return Some(
                "write `tls: {certificate: tls.crt, key: tls.key}` with the files' paths, or \
                 `tls: {mode: passthrough}`"
                    .to_owned(),
            );
        }
        ["listeners", "*", "proxy_protocol"] if is_yes => {
            return Some(
                "write `proxy_protocol: {mode: required, trusted: [10.0.0.0/8]}` with the \
                 networks of the load balancers"
                    .to_owned(),
            );
        }
        ["listeners", "*", "address"] if is_scheme(&lower) => {
            return Some(line(&keys::SCHEME, &lower));
        }
        ["listeners", "*", "address"] => return Some(line(&keys::ADVERTISED_HOST, text)),
        ["admin"] if text.parse::<u16>().is_ok() => {
            return Some(line(&keys::ADMIN_BIND, &format!("127.0.0.1:{text}")));
        }
        _ => {}
    }
    let of_kind = keys::KEYS.iter().filter(|key| inside(key));
    for key in of_kind {
        match key.kind {
            Kind::Choice(words) => {
                if let Some(word) = words.iter().find(|word| **word == lower) {
                    return Some(line(key, word));
                }
                if let Some(word) = meant(words, &lower) {
                    return Some(line(key, word));
                }
            }
            _ if takes(key, text) => return Some(line(key, text)),
            _ => {}
        }
    }
    None
}

/// Whether a text is one of the schemes.
fn is_scheme(text: &str) -> bool {
    matches!(keys::SCHEME.kind, Kind::Choice(words) if words.contains(&text))
}

/// Whether the text can only be meant for this key among its neighbours.
fn takes(key: &Key, text: &str) -> bool {
    match key.kind {
        Kind::Duration { .. } => parse::duration(key.kind.durations())(text).is_ok(),
        Kind::Bind => parse::bind(text).is_ok(),
        Kind::Text => *key == keys::LOG_LEVEL && parse::log_level(text).is_ok(),
        _ => false,
    }
}

/// The word of a choice that stands for another program's yes or no.
fn meant<'a>(words: &[&'a str], lower: &str) -> Option<&'a str> {
    let wanted: &[&str] = if NO.contains(&lower) {
        &["off", "none"]
    } else if YES.contains(&lower) {
        &["on", "required", "full", "auto"]
    } else {
        return None;
    };
    wanted
        .iter()
        .find_map(|word| words.iter().copied().find(|own| own == word))
}

/// `- name: external` under `listeners`, as other programs have it.
fn named_items(pattern: &[&str], items: &[Value]) -> Option<String> {
    if !matches!(pattern, ["clusters" | "listeners"]) {
        return None;
    }
    let first = items.first()?.as_dict()?;
    let name = first.get("name")?.as_str()?;
    keys::is_name(name).then(|| {
        format!("write `{name}:` in the place of `- name: {name}`, and its other keys under it")
    })
}

/// Why these are not bootstrap servers, and the line that they make when protocols are left out and
/// each stands for itself; `None` when that doesn't help.
pub(super) fn of_servers(items: &[&str]) -> Option<Fault> {
    let mut reason = None;
    let mut servers = Vec::new();
    let mut is_tls = false;
    for item in items {
        if is_template(item) {
            return Some(unfilled());
        }
        if item.trim().is_empty() {
            reason.get_or_insert("nothing stands between two commas, or behind the last one");
        }
        let parts = item.split(|c: char| c == ';' || c.is_whitespace());
        let parts: Vec<_> = parts.filter(|part| !part.is_empty()).collect();
        if parts.len() > 1 {
            reason.get_or_insert("servers are separated by commas, not by blanks or semicolons");
        }
        for part in parts {
            let bare = match part.split_once("://") {
                Some((protocol, rest)) => {
                    reason.get_or_insert("a server has no protocol in front of it");
                    let protocol = protocol.to_ascii_lowercase();
                    is_tls |= matches!(&*protocol, "ssl" | "sasl_ssl" | "https" | "tls");
                    rest.trim_end_matches('/')
                }
                None => part,
            };
            servers.push(bare.parse::<BrokerAddress>().ok()?.to_string());
        }
    }
    let reason = reason.filter(|_| !servers.is_empty())?;
    let tls = if is_tls {
        ", and `tls: {mode: on}` beside it"
    } else {
        ""
    };
    let cure = format!("write [{}]{tls}", servers.join(", "));
    Some(Fault::new(reason, cure))
}
