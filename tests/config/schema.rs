//! The JSON schema says what the readers say, as far as a schema can: held by a validator that
//! Narrows does not use itself.

use boon::{Compiler, SchemaIndex, Schemas};
use narrows::config::keys::{Fallback, KEYS};
use narrows::config::kind::Kind;
use narrows::config::schema;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Compiled once a test: unoptimized, the compiler needs a second.
fn compiled() -> (Schemas, SchemaIndex) {
    let mut schemas = Schemas::new();
    let mut compiler = Compiler::new();
    compiler
        .add_resource("narrows.json", schema::schema())
        .unwrap();
    let index = compiler.compile("narrows.json", &mut schemas).unwrap();
    (schemas, index)
}

/// Why the schema refuses the file, if it does.
fn refusal((schemas, index): &(Schemas, SchemaIndex), yaml: &str) -> Option<String> {
    let file: Value = serde_yaml_ng::from_str(yaml).unwrap();
    let refused = schemas.validate(&file, *index).err();
    refused.map(|error| error.to_string())
}

fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

#[test]
fn the_reference_file_and_every_example_are_valid() {
    let schema = compiled();
    let mut files = yaml_files("config/examples");
    files.extend(yaml_files("config"));
    assert!(files.len() > 5, "{files:?}");
    for file in files {
        let yaml = std::fs::read_to_string(&file).unwrap();
        assert_eq!(refusal(&schema, &yaml), None, "{}", file.display());
    }
}

#[test]
fn what_a_schema_can_see_is_refused() {
    let schema = compiled();
    for (name, yaml) in [
        ("an unknown section", "clusterz: {}"),
        ("an unknown key", "limits: {frame_bytes: 1MiB}"),
        ("a name with a blank", "clusters: {'a b': {}}"),
        ("a name with two underscores", "clusters: {a__b: {}}"),
        ("a duration without a unit", "drain: {delay: 30}"),
        ("a duration in days", "drain: {delay: 1d}"),
        ("a size in megabytes", "limits: {frame_bytes_max: 1MB}"),
        (
            "a count out of bounds",
            "limits: {in_flight_requests_max: 0}",
        ),
        ("a choice that there is not", "log: {format: JSON}"),
        ("a bind without a port", "admin: {bind: 127.0.0.1}"),
        ("a bind to a name", "admin: {bind: 'localhost:9190'}"),
        (
            "a section where a value belongs",
            "admin: {bind: {port: 1}}",
        ),
        ("a value where a section belongs", "drain: 30s"),
        (
            "a negative node id",
            "listeners: {x: {address: {node_ids: [-1]}}}",
        ),
        (
            "a node id that is none",
            "clusters: {x: {broker_address: {a: 'a:9092'}}}",
        ),
        ("an empty table", "clusters: {x: {broker_address: {}}}"),
        ("an empty list", "clusters: {x: {bootstrap_servers: []}}"),
    ] {
        assert!(refusal(&schema, yaml).is_some(), "{name}: {yaml}");
    }
}

#[test]
fn what_the_readers_take_is_not_refused() {
    let schema = compiled();
    for yaml in [
        "",
        "drain: {delay: 30s, timeout: '2 m'}",
        "drain:",
        "limits: {frame_bytes_max: 104857600, in_flight_requests_max: '5'}",
        "relay: {splice: false}",
        "listeners: {x-1: {address: {node_ids: '1-3, 7'}, tls: {mode: off}}}",
        "listeners: {x: {address: {node_ids: [1-3, 7, 1000]}}}",
        "clusters: {orders_eu: {bootstrap_servers: 'a:9092,b:9092'}}",
        "clusters: {x: {broker_address: 'kafka-{node_id}.svc:9092'}}",
        "clusters: {x: {broker_address: {'0': 'a:9092', '1000': 'b:9092'}}}",
        "admin: {bind: '[::1]:9190'}",
    ] {
        assert_eq!(refusal(&schema, yaml), None, "{yaml}");
    }
}

/// Each default is within what the schema says of its key, and so is each choice.
#[test]
fn defaults_and_choices_are_valid() {
    let (schemas, index) = compiled();
    let mut checked = 0;
    for key in KEYS {
        let mut texts = Vec::new();
        if let Fallback::Value(text) = key.fallback {
            texts.push(text);
        }
        if let Kind::Choice(words) = key.kind {
            texts.extend(words);
        }
        for text in texts {
            let file = key.at("x").iter().rev().fold(
                serde_json::json!(text),
                |inner, level| serde_json::json!({ level: inner }),
            );
            let refused = schemas.validate(&file, index).err();
            assert!(refused.is_none(), "{}: {text}: {refused:?}", key.path);
            checked += 1;
        }
    }
    assert!(checked > 40, "{checked}");
}
