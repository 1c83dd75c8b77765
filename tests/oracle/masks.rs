//! Masking changes the values that are addresses of nodes and nothing else, as Kafka's own message
//! classes see it, in every version of DescribeConfigs.

use anyhow::{Context, Result, ensure};
use narrows::protocol::mask::Masked;
use narrows::protocol::rewrite::{PREFIX_BYTES, Rewrite};
use narrows::protocol::table;
use serde_json::{Value, json};

use crate::driver::{What, oracles};
use crate::expect::difference;
use crate::samples::{DESCRIBE_CONFIGS, describe_configs};

const HIDDEN: [&str; 4] = [
    "listeners",
    "advertised.listeners",
    "controller.quorum.voters",
    "remote.log.metadata.common.client.bootstrap.servers",
];
const SHOWN: [&str; 3] = [
    "log.retention.ms",
    "listener.security.protocol.map",
    "controller.listener.names",
];

/// A setting as Kafka reads it, masked.
fn mask(setting: &mut Value) {
    let Some(name) = setting["name"].as_str() else {
        return;
    };
    if !HIDDEN.contains(&name) {
        return;
    }
    if let Some(value) = setting["value"].as_str() {
        setting["value"] = json!("*".repeat(value.len()));
    }
    if let Some(is_sensitive) = setting.get_mut("isSensitive") {
        *is_sensitive = json!(true);
    }
}

fn masked(original: &Value) -> Value {
    let mut expected = original.clone();
    let results = expected["body"]["results"].as_array_mut();
    for result in results.into_iter().flatten() {
        for setting in result["configs"].as_array_mut().into_iter().flatten() {
            mask(setting);
            let synonyms = setting.get_mut("synonyms").and_then(Value::as_array_mut);
            synonyms.into_iter().flatten().for_each(mask);
        }
    }
    expected
}

#[test]
fn a_masked_response_says_what_it_said_but_for_the_values_that_are_addresses() -> Result<()> {
    let names = HIDDEN.iter().chain(&SHOWN);
    let settings: Vec<_> = names
        .map(|name| (*name, "kafka-0.internal:9092", false))
        .collect();
    for version in 0..=4 {
        let frame = describe_configs(version, 7, &settings);
        let api = table::api(DESCRIBE_CONFIGS).context("in the table")?;
        let mut rewrite = Rewrite::new(api, version, frame.len() - 4).context("not read")?;
        rewrite.push(&frame[PREFIX_BYTES..])?;
        let mut out = frame.clone();
        for Masked { range, with } in rewrite.take_masked() {
            out[range].fill(with);
        }
        let mut oracles = oracles();
        let oracle = oracles.of(DESCRIBE_CONFIGS, version)?;
        let original = oracle.json(What::Response, DESCRIBE_CONFIGS, version, &frame[4..])?;
        let says = oracle.json(What::Response, DESCRIBE_CONFIGS, version, &out[4..])?;
        let expected = masked(&original);
        ensure!(
            expected != original,
            "v{version}: something is to be masked"
        );
        let differs = difference(&expected, &says);
        ensure!(
            differs.is_none(),
            "v{version}: {}",
            differs.unwrap_or_default()
        );
    }
    Ok(())
}
