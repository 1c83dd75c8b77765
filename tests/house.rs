//! The house rules that a compiler does not check: imports point down the layers of `src/lib.rs`,
//! and each layer leaves alone what is another's.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the result of a test"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Module and layer, as the table in `src/lib.rs` has them.
const LAYERS: [(&str, u8); 15] = [
    ("cli", 6),
    ("app", 5),
    ("config", 5),
    ("listener", 4),
    ("session", 4),
    ("admin", 4),
    ("cluster", 3),
    ("broker", 3),
    ("address", 2),
    ("protocol", 1),
    ("net", 1),
    ("sys", 0),
    ("observe", 1),
    ("lifecycle", 1),
    ("types", 0),
];

/// Imports between modules of one layer: who needs whom there.
const WITHIN_A_LAYER: [(&str, &str); 3] = [
    ("config", "app"),
    ("listener", "session"),
    ("cluster", "broker"),
];

/// Words that only some modules may use, and who. Comments and tests are not looked at.
const KEPT_APART: [(&str, &[&str]); 15] = [
    ("hyper", &["admin"]),
    ("figment", &["config"]),
    ("clap", &["cli"]),
    ("rdkafka", &["cli"]),
    ("socket2", &["net"]),
    ("tokio::spawn", &[]),
    ("unbounded", &[]),
    ("unsafe", &["sys"]),
    ("libc", &["sys"]),
    ("rustix", &["net"]),
    ("anyhow", &["cli"]),
    ("rustls", &["net"]),
    ("rustls_native_certs", &["net"]),
    ("webpki_roots", &["net"]),
    ("x509_parser", &["net"]),
];

/// What the pure modules do without.
const NOT_IN_PURE_MODULES: [&str; 7] = [
    ".await",
    "tokio",
    "Instant",
    "SystemTime",
    "fastrand",
    "TcpStream",
    "std::io",
];
const PURE_MODULES: [&str; 2] = ["protocol", "address"];

struct Source {
    path: PathBuf,
    module: String,
    /// The code without comments and without its tests.
    code: String,
}

impl Source {
    /// `session::context` for src/session/context.rs.
    fn path_of_module(&self) -> String {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let relative = self.path.strip_prefix(root).unwrap().with_extension("");
        let names: Vec<_> = relative
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .filter(|part| part != "mod")
            .collect();
        names.join("::")
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    collect(&root, &root, &mut found);
    assert!(
        found.len() > 30,
        "only {} source files were found",
        found.len()
    );
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let relative = path.strip_prefix(root).unwrap();
            let is_test = relative.file_stem().is_some_and(|stem| stem == "tests");
            let first = relative
                .components()
                .next()
                .unwrap()
                .as_os_str()
                .to_string_lossy();
            let module = first.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            if !is_test {
                found.push(Source {
                    code: code_of(&text),
                    module,
                    path,
                });
            }
        }
    }
}

/// The code before the tests, without comments.
fn code_of(text: &str) -> String {
    let before_tests = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    let lines = before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap_or(""));
    lines.collect::<Vec<_>>().join("\n")
}

fn layer(module: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, layer)| *layer)
}

/// The modules that code names as `crate::module`, also inside braces.
fn imported(code: &str) -> Vec<&'static str> {
    let names = LAYERS.iter().map(|(name, _)| *name);
    names
        .filter(|name| code.contains(&format!("crate::{name}")))
        .collect()
}

#[test]
fn imports_point_down_the_layers() {
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        if matches!(module.as_str(), "main" | "lib") {
            continue;
        }
        let own = layer(&module)
            .unwrap_or_else(|| panic!("module {module} is in no layer: add it to tests/house.rs"));
        for other in imported(&code) {
            let is_down = layer(other).is_some_and(|other| other < own);
            if other != module && !is_down && !WITHIN_A_LAYER.contains(&(&module, other)) {
                wrong.push(format!("{} imports crate::{other}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports that point up:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn each_module_leaves_alone_what_is_anothers() {
    let mut wrong = Vec::new();
    for Source { path, module, code } in sources() {
        for (word, owners) in KEPT_APART {
            if !owners.contains(&module.as_str()) && has_word(&code, word) {
                wrong.push(format!("{} uses {word}", path.display()));
            }
        }
        for word in NOT_IN_PURE_MODULES {
            if PURE_MODULES.contains(&module.as_str()) && code.contains(word) {
                wrong.push(format!(
                    "{} uses {word}, and {module} is pure",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    code.match_indices(word).any(|(at, _)| {
        !is_part(code[..at].chars().next_back()) && !is_part(code[at + word.len()..].chars().next())
    })
}

#[test]
fn every_module_that_logs_can_be_named_in_a_log_filter() {
    const MACROS: [&str; 8] = [
        "error!",
        "warn!",
        "info!",
        "debug!",
        "trace!",
        "info_span!",
        "debug_span!",
        "trace_span!",
    ];
    let logs = |code: &str| MACROS.iter().any(|name| has_word(code, name));
    let mut logging: Vec<String> = sources()
        .iter()
        .filter(|source| logs(&source.code))
        .map(|source| format!("narrows::{}", source.path_of_module()))
        .collect();
    logging.sort();
    assert_eq!(
        logging,
        narrows::observe::filter::MODULES,
        "write the modules that log into src/observe/filter.rs"
    );
}

#[test]
fn no_source_file_is_longer_than_a_chapter() {
    let long: Vec<_> = sources()
        .into_iter()
        .filter(|source| source.code.lines().count() > 800)
        .collect();
    let names: Vec<_> = long
        .iter()
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(names.is_empty(), "longer than 800 lines: {names:?}");
}

#[test]
fn the_page_of_configuration_keys_is_the_key_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/README.md");
    let committed = fs::read_to_string(page).unwrap_or_default();
    assert!(
        committed == narrows::config::keys::markdown(),
        "write it anew: cargo run -- config --keys > config/README.md"
    );
}
