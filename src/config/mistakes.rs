//! Likely mistakes, and the line to write instead: what people bring along from Kafka's own
//! properties, from Helm templates, and from other programs' words.

use super::file::{is_template, unfilled};
use super::keys::{self, Key};
use super::kind::Kind;
use super::parse;
use super::problem::{Fault, shown};
use figment::value::Value;
use std::net::IpAddr;

mod servers;

pub(super) use servers::of_servers;

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
    if is_variable(text) {
        return Some(unset());
    }
    if let Some(inner) = unquoted(text) {
        return Some(quoted(inner));
    }
    match key.kind {
        Kind::Duration { .. } => bare_number(text).or_else(|| other_duration(key, text)),
        Kind::Integer { .. } => other_integer(key, text),
        Kind::Bind if *key == keys::ADMIN_BIND => other_admin(text),
        Kind::Bytes { .. } => other_size(key, text),
        Kind::Choice(words) => other_word(key, words, text),
        Kind::Text if *key == keys::LOG_LEVEL => other_level(text),
        Kind::Text => with_protocol(text),
        _ => None,
    }
}

/// Whether a variable of a shell or of Kubernetes stands in the text: `${HOST}`, `$(HOST)`.
fn is_variable(text: &str) -> bool {
    let ends = [("${", '}'), ("$(", ')')];
    ends.iter().any(|(begin, end)| {
        let behind = text.split_once(begin);
        behind.is_some_and(|(_, rest)| rest.contains(*end))
    })
}

/// A variable that came here as it was written.
fn unset() -> Fault {
    Fault::new(
        "a variable stands here that nobody has filled in, and Narrows fills in none",
        "write the value itself, or leave the key out and set its own variable (NARROWS_..., see \
         narrows config --keys)",
    )
}

/// What quotes surround that came along with the value: Docker's `--env-file` keeps them, and
/// editors make typographic ones.
fn unquoted(text: &str) -> Option<&str> {
    const QUOTES: [(char, char); 4] = [('"', '"'), ('\'', '\''), ('“', '”'), ('‘', '’')];
    let strip = |(open, close): &(char, char)| text.strip_prefix(*open)?.strip_suffix(*close);
    let inner = QUOTES.iter().find_map(strip)?.trim();
    (!inner.is_empty()).then_some(inner)
}

fn quoted(inner: &str) -> Fault {
    Fault::new(
        "the quotes are a part of the value",
        format!("write {inner}, without these quotes"),
    )
}

/// `10k`, `1_000` and `1,000`.
fn other_integer(key: &Key, text: &str) -> Option<Fault> {
    let digits = text.replace(['_', ','], "").to_ascii_lowercase();
    let (digits, zeros) = match digits.strip_suffix('k') {
        Some(digits) => (digits, "000"),
        None => (&*digits, ""),
    };
    let instead = format!("{digits}{zeros}");
    let is_other = instead != text;
    let is_taken = parse::integer::<i64>(key.kind.integers())(&instead).is_ok();
    (is_other && is_taken)
        .then(|| Fault::new("not written as a plain integer", format!("write {instead}")))
}

/// The admin port's own usual port, not the one of clients; or no admin port.
fn other_admin(text: &str) -> Option<Fault> {
    if NO.contains(&&*text.to_ascii_lowercase()) {
        return Some(no_admin());
    }
    let ip = text.trim_matches(['[', ']']).parse::<IpAddr>().ok()?;
    let bind = std::net::SocketAddr::new(ip, ADMIN_PORT);
    Some(Fault::new("the port is missing", format!("write {bind}")))
}

fn no_admin() -> Fault {
    Fault::new(
        "an admin port that is not wanted is left out",
        "remove `admin`: without it there is none",
    )
}

/// As in the examples.
const ADMIN_PORT: u16 = 9190;

/// Levels that other programs have.
fn other_level(text: &str) -> Option<Fault> {
    const LEVELS: [(&str, &str); 11] = [
        ("true", "info"),
        ("yes", "info"),
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

/// `1m30s`, as Go and Prometheus have it.
fn several_units(text: &str) -> Option<String> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    let mut rest = text;
    let mut millis = 0u64;
    let mut count = 0;
    while !rest.is_empty() {
        let (number, behind) = number_and_unit(rest)?;
        let end = behind.find(|c: char| c.is_ascii_digit());
        let (unit, behind) = behind.split_at(end.unwrap_or(behind.len()));
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit.trim())?;
        millis = millis.checked_add(number.parse::<u64>().ok()?.checked_mul(*scale)?)?;
        (rest, count) = (behind, count + 1);
    }
    let in_seconds = millis.is_multiple_of(1_000);
    (count > 1).then(|| match in_seconds {
        true => format!("{}s", millis / 1_000),
        false => format!("{millis}ms"),
    })
}

/// `30 seconds`, `1.5s`, `1m30s` and `PT30S`.
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
    let lower = lower.strip_prefix("pt").unwrap_or(&lower);
    let is_taken = |text: &String| parse::duration(key.kind.durations())(text).is_ok();
    if let Some(instead) = several_units(lower).filter(is_taken) {
        return Some(Fault::new(
            "it has several units",
            format!("write {instead}"),
        ));
    }
    let (number, unit) = number_and_unit(lower)?;
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
    is_taken(&instead).then(|| Fault::new("not a duration", format!("write {instead}")))
}

/// `100MB` and `64k`, by which few mean powers of ten.
fn other_size(key: &Key, text: &str) -> Option<Fault> {
    let lower = text.to_ascii_lowercase().replace(['_', ','], "");
    let (number, unit) = number_and_unit(&lower).unwrap_or((&lower, ""));
    let unit = match unit {
        "" if lower != text => "",
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
    let off = words
        .iter()
        .find(|word| matches!(**word, "off" | "none" | "hide"));
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
        _ => ["on", "required", "full", "auto", "pass"]
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
        ["admin"] if is_yes => {
            return Some(line(&keys::ADMIN_BIND, &format!("127.0.0.1:{ADMIN_PORT}")));
        }
        ["admin"] if NO.contains(&lower.as_str()) => return Some(no_admin().cure),
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
