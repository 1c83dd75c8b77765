//! The house rules that a compiler does not check: imports point down the layers of `src/lib.rs`,
//! each room leaves alone what is another's, and the package is made of what `deny.toml` allows.
//! What a compiler can check is in `.clippy.toml`.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failed expectation is the result of a test"
)]

mod dependencies;
mod source;

use source::{Source, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Room and layer, as the table in `src/lib.rs` has them.
const LAYERS: [(&str, u8); 17] = [
    ("cli", 6),
    ("app", 5),
    ("config", 5),
    ("doctor", 5),
    ("listener", 4),
    ("session", 4),
    ("admin", 4),
    ("cluster", 3),
    ("broker", 3),
    ("address", 2),
    ("auth", 2),
    ("protocol", 1),
    ("net", 1),
    ("observe", 1),
    ("lifecycle", 1),
    ("types", 0),
    ("sys", 0),
];

/// Imports between rooms of one layer: who needs whom there.
const WITHIN_A_LAYER: [(&str, &str); 4] = [
    ("config", "app"),
    ("doctor", "app"),
    ("listener", "session"),
    ("cluster", "broker"),
];

/// Every library that Narrows stands on, and the rooms that know it. A library that one room knows
/// can be exchanged there.
const LIBRARIES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli"]),
    (
        "arc_swap",
        &["app", "cluster", "listener", "net", "session"],
    ),
    ("aws_lc_rs", &["app", "auth", "net"]),
    ("base64", &["auth"]),
    ("bytes", &["doctor", "protocol", "session"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("command_fds", &["lifecycle"]),
    ("crc32c", &["doctor"]),
    (
        "fastrand",
        &["broker", "cli", "cluster", "doctor", "session"],
    ),
    ("figment", &["config"]),
    ("futures_util", &["doctor"]),
    ("http_body_util", &["admin"]),
    ("hyper", &["admin"]),
    ("hyper_util", &["admin"]),
    ("indicatif", &["cli"]),
    ("ipnet", &["config", "listener"]),
    ("libc", &["sys"]),
    ("listenfd", &["net"]),
    ("prometheus", &["observe"]),
    ("rdkafka", &["cli"]),
    ("rustix", &["net"]),
    ("rustls", &["net"]),
    ("rustls_native_certs", &["net"]),
    ("saphyr_parser", &["config"]),
    (
        "serde_json",
        &[
            "admin", "app", "cli", "config", "doctor", "listener", "observe",
        ],
    ),
    ("socket2", &["net"]),
    ("strsim", &["types"]),
    ("thiserror", EVERYWHERE),
    ("tokio", EVERYWHERE),
    ("tokio_util", &["admin", "cluster", "lifecycle", "session"]),
    ("tracing", EVERYWHERE),
    ("tracing_subscriber", &["observe"]),
    ("webpki_roots", &["net"]),
    ("x509_parser", &["net"]),
    ("zeroize", &["auth", "session"]),
];
const EVERYWHERE: &[&str] = &[];

/// What is one room's although no library is called so.
const KEPT_APART: [(&str, &[&str]); 2] = [("unsafe", &["sys"]), ("unbounded", &[])];

/// What the pure rooms do without.
const NOT_IN_PURE_ROOMS: [&str; 9] = [
    ".await",
    "async ",
    "tokio",
    "tracing",
    "Instant",
    "SystemTime",
    "fastrand",
    "TcpStream",
    "std::io",
];
const PURE_ROOMS: [&str; 4] = ["protocol", "address", "auth", "types"];

fn layer(room: &str) -> Option<u8> {
    let found = LAYERS.iter().find(|(name, _)| *name == room);
    found.map(|(_, layer)| *layer)
}

fn is_root(source: &Source) -> bool {
    matches!(source.room(), "main" | "lib")
}

#[test]
fn imports_point_down_the_layers() {
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !is_root(source)) {
        let room = source.room();
        let own = layer(room)
            .unwrap_or_else(|| panic!("{room} is in no layer: add it to tests/house/main.rs"));
        for other in source.rooms_named() {
            let Some(others) = layer(&other) else {
                continue;
            };
            let is_beside = WITHIN_A_LAYER.contains(&(room, &other));
            if other != room && others >= own && !is_beside {
                wrong.push(format!("{} imports crate::{other}", source.path.display()));
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
fn no_files_import_each_other_in_a_circle() {
    let sources = sources();
    let modules: BTreeSet<String> = sources.iter().map(Source::module).collect();
    let mut imports: BTreeMap<String, BTreeSet<String>> = sources
        .iter()
        .map(|source| (source.module(), source.modules_named(&modules)))
        .collect();
    // Whoever imports nothing that is left is in no circle.
    loop {
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        for named in imports.values_mut() {
            named.retain(|module| left.contains(module));
        }
        imports.retain(|_, named| !named.is_empty());
        if imports.len() == left.len() {
            break;
        }
    }
    assert!(
        imports.is_empty(),
        "in a circle, or above one: {imports:#?}"
    );
}

#[test]
fn each_room_leaves_alone_what_is_anothers() {
    let mut wrong = Vec::new();
    for source in &sources() {
        let room = source.room();
        let is_others = |owners: &[&str]| owners != EVERYWHERE && !owners.contains(&room);
        for (library, owners) in LIBRARIES {
            if is_others(owners) && source.names_library(library) {
                wrong.push(format!("{} uses {library}", source.path.display()));
            }
        }
        for (word, owners) in KEPT_APART {
            if !owners.contains(&room) && source.has_word(word) {
                wrong.push(format!("{} uses {word}", source.path.display()));
            }
        }
        for word in NOT_IN_PURE_ROOMS {
            if PURE_ROOMS.contains(&room) && source.code.contains(word) {
                let path = source.path.display();
                wrong.push(format!("{path} uses {word}, and {room} is pure"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_library_says_which_rooms_know_it_and_they_do() {
    let mut dependencies = dependencies::direct();
    dependencies.sort();
    let told: Vec<_> = LIBRARIES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    assert_eq!(
        dependencies, told,
        "add it to LIBRARIES in tests/house/main.rs"
    );
    let sources = sources();
    for (library, owners) in LIBRARIES {
        for owner in *owners {
            let knows = |source: &&Source| source.room() == *owner && source.names_library(library);
            assert!(
                sources.iter().any(|source| knows(&source)),
                "{owner} does not know {library} any more"
            );
        }
    }
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
    let mut logging: Vec<String> = sources()
        .iter()
        .filter(|source| MACROS.iter().any(|name| source.has_word(name)))
        .map(|source| format!("narrows::{}", source.module()))
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
    let long: Vec<String> = sources()
        .iter()
        .filter(|source| source.code.lines().count() > 800)
        .map(|source| source.path.display().to_string())
        .collect();
    assert!(long.is_empty(), "longer than 800 lines: {long:?}");
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
