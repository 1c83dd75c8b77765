//! What Narrows is made of, as `deny.toml` says it: licences, crates that must not come in, and
//! where crates come from. `cargo deny check` reads the same file, and takes minutes to install;
//! this takes a second.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Two of one of these would not see each other's types, or would double what is dear.
const ONE_VERSION: [&str; 6] = [
    "aws-lc-rs",
    "bytes",
    "hyper",
    "rustls",
    "rustls-pki-types",
    "tokio",
];

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Everything in the lock file that a Linux build uses, with every feature, tests included.
fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args([
            "--all-features",
            "--filter-platform",
            "x86_64-unknown-linux-gnu",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().expect("a list")
}

/// What `Cargo.toml` depends on, tests aside, as the code names it.
pub(crate) fn direct() -> Vec<String> {
    let metadata = metadata();
    let own = packages(&metadata)
        .iter()
        .find(|package| package["name"] == env!("CARGO_PKG_NAME"));
    let dependencies = own.expect("this package")["dependencies"].as_array();
    dependencies
        .expect("a list")
        .iter()
        .filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| text(&dependency["name"]).replace('-', "_"))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn deny() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml");
    fs::read_to_string(path).expect("deny.toml")
}

/// The texts of a list in `deny.toml`: `key = [ … ]`, or of one field of its tables.
fn list(key: &str, field: Option<&str>) -> Vec<String> {
    let deny = deny();
    let (_, rest) = deny
        .split_once(&format!("\n{key} = [\n"))
        .expect("the list");
    let (items, _) = rest.split_once("\n]").expect("its end");
    let items: Vec<String> = items
        .lines()
        .filter_map(|line| {
            let value = match field {
                Some(field) => line.split_once(&format!("{field} = "))?.1,
                None => line,
            };
            value.split('"').nth(1).map(str::to_owned)
        })
        .collect();
    assert!(!items.is_empty(), "deny.toml has no {key}");
    items
}

#[test]
fn every_licence_is_one_that_narrows_may_be_made_of() {
    let allowed = list("allow", None);
    let metadata = metadata();
    let refused: Vec<String> = packages(&metadata)
        .iter()
        .filter(|package| !is_allowed(text(&package["license"]), &allowed))
        .map(|package| format!("{} has {}", package["name"], package["license"]))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn nothing_comes_in_that_deny_toml_keeps_out() {
    let denied = list("deny", Some("crate"));
    let metadata = metadata();
    let mut wrong = Vec::new();
    for package in packages(&metadata) {
        let name = text(&package["name"]);
        let is_own = package["source"].is_null() && name == env!("CARGO_PKG_NAME");
        if denied.iter().any(|denied| denied == name) {
            wrong.push(format!("{name} is denied"));
        }
        if !is_own && package["source"] != CRATES_IO {
            wrong.push(format!("{name} comes from {}", package["source"]));
        }
    }
    for name in ONE_VERSION {
        let is_it = |package: &&Value| package["name"] == name;
        let count = packages(&metadata).iter().filter(is_it).count();
        if count != 1 {
            wrong.push(format!("{name} is there {count} times"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether one of the choices that an SPDX expression leaves has allowed licences only. The slash
/// is what it was before SPDX: "or".
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let is_allowed = any(&mut words, allowed);
    is_allowed && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Not `||`, which would leave the rest unread.
        result |= all(words, allowed);
    }
    result
}

fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut result = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        result &= one(words, allowed);
    }
    result
}

fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let result = any(words, allowed);
        return words.next() == Some(")") && result;
    }
    let mut licence = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

#[test]
fn an_expression_is_allowed_where_one_of_its_choices_is() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for expression in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "MIT AND (GPL-3.0 OR ISC)",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_allowed(expression, &allowed), "{expression}");
    }
    for expression in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR ISC) AND GPL-3.0",
        "Apache-2.0",
        "MIT MIT",
        "(MIT",
    ] {
        assert!(!is_allowed(expression, &allowed), "{expression}");
    }
}
