//! The names that operators build on: metrics with their labels and types, the codes that labels
//! and log lines have, the fields of log lines. Dashboards, alerts and log queries break when one
//! changes, so `tests/public_names.txt` lists them all, and each change of it is a decision.

#![expect(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]

use narrows::observe::metrics::{self, FAMILIES, Kind};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// Where codes come from: the file, and the functions in it whose string literals are codes.
const CODES: [(&str, &[&str]); 10] = [
    ("session/cause.rs", &["faces"]),
    ("session/first_bytes.rs", &["code"]),
    ("cluster/connect.rs", &["code"]),
    ("broker/dial.rs", &["code"]),
    ("net/tls/error.rs", &["code"]),
    ("observe/metrics/limits.rs", &["label"]),
    ("observe/metrics/listener.rs", &["label", "new"]),
    ("protocol/sasl.rs", &["name"]),
    ("types/mod.rs", &["label"]),
    ("cluster/refresh.rs", &["code"]),
];

/// Where the status is made.
const STATUS: [&str; 5] = [
    "app/certificates.rs",
    "app/reload.rs",
    "app/status.rs",
    "app/verdict.rs",
    "listener/limits.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn source(path: &str) -> String {
    fs::read_to_string(root().join("src").join(path)).unwrap()
}

fn names() -> String {
    let mut text = "# Write it anew: UPDATE=1 cargo test --test public_names\n".to_owned();
    text.push_str("\n# Metrics: name, type, labels\n");
    for family in FAMILIES {
        let kind = match family.kind {
            Kind::Histogram(buckets) => format!("histogram {buckets:?}"),
            kind => kind.word().to_owned(),
        };
        let labels = family.labels.join(",");
        writeln!(text, "{} {kind} {{{labels}}}", family.name).unwrap();
    }
    for (path, functions) in CODES {
        writeln!(text, "\n# Codes: src/{path}").unwrap();
        let source = source(path);
        let mut codes = BTreeSet::new();
        for function in functions {
            let bodies = bodies(&source, function);
            codes.extend(bodies.iter().flat_map(|body| literals(body)));
        }
        codes.retain(|code| is_code(code));
        assert!(!codes.is_empty(), "src/{path} has no code in {functions:?}");
        codes
            .iter()
            .for_each(|code| writeln!(text, "{code}").unwrap());
    }
    text.push_str("\n# Keys of /api/status\n");
    let keys: BTreeSet<_> = STATUS
        .iter()
        .flat_map(|path| json_keys(&source(path)))
        .collect();
    assert!(keys.contains("connect_p50_ms") && keys.contains("in_use"));
    keys.iter().for_each(|key| writeln!(text, "{key}").unwrap());
    text.push_str("\n# Fields of log lines, beside timestamp, level, message and target\n");
    for field in log_fields() {
        writeln!(text, "{field}").unwrap();
    }
    text
}

/// The bodies of all functions of this name, by their indentation.
fn bodies(source: &str, function: &str) -> Vec<String> {
    let mut bodies = Vec::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if !line.contains(&format!("fn {function}(")) {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let end = format!("{}}}", " ".repeat(indent));
        let body: Vec<_> = lines.by_ref().take_while(|line| *line != end).collect();
        bodies.push(body.join("\n"));
    }
    bodies
}

/// The keys of JSON objects: what stands between quotes before a colon.
fn json_keys(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap();
    let parts: Vec<_> = code.split('"').collect();
    let is_key = |at: &usize| {
        parts
            .get(at + 1)
            .is_some_and(|behind| behind.starts_with(": ") || behind.starts_with("] = "))
    };
    let keys = (1..parts.len()).step_by(2).filter(is_key);
    keys.map(|at| parts[at].to_owned())
        .filter(|key| is_code(key))
        .collect()
}

/// What stands between quotes.
fn literals(code: &str) -> Vec<String> {
    code.split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn is_code(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    !text.is_empty() && text.chars().all(is_part)
}

/// The names that events and spans give to their fields.
fn log_fields() -> BTreeSet<String> {
    let mut fields = BTreeSet::new();
    let mut files = vec![root().join("src")];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(
                fs::read_dir(path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // The command line speaks to people, and tests to nobody.
        if path.to_string_lossy().contains("src/cli") {
            continue;
        }
        let code = text.split("#[cfg(test)]").next().unwrap();
        for of in [
            "error!(", "warn!(", "info!(", "debug!(", "trace!(", "span!(",
        ] {
            for (at, _) in code.match_indices(of) {
                fields.extend(fields_of(&code[at + of.len()..]));
            }
        }
    }
    fields
}

/// The fields of an event, up to its message.
fn fields_of(arguments: &str) -> Vec<String> {
    let mut fields = Vec::new();
    let mut depth = 0;
    let mut argument = String::new();
    for c in arguments.chars() {
        match c {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' if depth == 0 => break,
            ')' | '}' | ']' => depth -= 1,
            ',' if depth == 0 => {
                fields.extend(field(&argument));
                argument.clear();
                continue;
            }
            _ => {}
        }
        argument.push(c);
    }
    fields.extend(field(&argument));
    fields
}

fn field(argument: &str) -> Option<String> {
    let name = argument.split('=').next()?.trim();
    let name = name.trim_start_matches(['%', '?']);
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    (!name.is_empty() && name.chars().all(is_part)).then(|| name.to_owned())
}

#[test]
fn the_public_names_are_those_that_are_written_down() {
    let path = root().join("tests/public_names.txt");
    let names = names();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &names).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (old, new) = (lines(&written), lines(&names));
    let gone: Vec<_> = old.difference(&new).collect();
    let come: Vec<_> = new.difference(&old).collect();
    assert!(
        written == names,
        "public names have changed: {gone:?} are gone, {come:?} are new. If that is meant, say so \
         in CHANGELOG.md and write the list anew: UPDATE=1 cargo test --test public_names"
    );
}

#[test]
fn the_page_of_metrics_is_the_table_of_metrics() {
    let page = fs::read_to_string(root().join("config/metrics.md")).unwrap_or_default();
    assert!(
        page == metrics::markdown(),
        "write it anew: cargo run -- config --metrics > config/metrics.md"
    );
}

#[test]
fn the_fields_of_an_event_are_found() {
    let event = "listener = %name, bind, peer = %client.peer(), ?delay, \"ended: {cause}, x\")";
    assert_eq!(fields_of(event), ["listener", "bind", "peer", "delay"]);
    assert_eq!(
        fields_of("%error, f(a, b), \"x\")"),
        ["error"],
        "an argument of a call is none"
    );
}
