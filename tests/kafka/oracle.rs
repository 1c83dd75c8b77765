//! The judge of what arrived: compares, record by record, what a client was told is stored with
//! what came out.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A record as a client reports it. Kafka's console tools keep the place to themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: String,
    /// Unknown for acknowledgements.
    pub(crate) value: Option<String>,
    /// Partition and offset, where the client tells.
    pub(crate) place: Option<(i64, i64)>,
}

impl Record {
    /// Reads an acknowledgement; `None` for lines that are none.
    ///
    /// # Errors
    /// When the client reports a failed record.
    pub(crate) fn acked(line: &Value) -> Result<Option<Self>> {
        let Some(key) = line["key"].as_str() else {
            return Ok(None);
        };
        ensure!(
            line["error"].is_null(),
            "record {key} failed: {}",
            line["error"]
        );
        Ok(Some(Self {
            key: key.to_owned(),
            value: None,
            place: place(line),
        }))
    }

    /// Reads a consumed record.
    pub(crate) fn consumed(line: &Value) -> Result<Self> {
        let key = line["key"]
            .as_str()
            .with_context(|| format!("a record without a key: {line}"))?;
        let value = line["value"]
            .as_str()
            .with_context(|| format!("a record without a value: {line}"))?;
        Ok(Self {
            key: key.to_owned(),
            value: Some(value.to_owned()),
            place: place(line),
        })
    }
}

fn place(line: &Value) -> Option<(i64, i64)> {
    Some((line["partition"].as_i64()?, line["offset"].as_i64()?))
}

/// The records that a producer's lines acknowledge.
pub(crate) fn acked(lines: &[Value]) -> Result<Vec<Record>> {
    lines
        .iter()
        .map(Record::acked)
        .filter_map(Result::transpose)
        .collect()
}

/// The records in a consumer's lines.
pub(crate) fn consumed(lines: &[Value]) -> Result<Vec<Record>> {
    lines
        .iter()
        .filter(|line| !line["key"].is_null())
        .map(Record::consumed)
        .collect()
}

/// What a client promises about the order within a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    AsSent,
    /// It has many requests on the way at once without a producer's sequence: kafkajs.
    AsStored,
}

/// Every acknowledged record arrived exactly once, at the place it was acknowledged at, with its
/// value; nothing else arrived; and within each partition the order is the one it was stored in,
/// and if so wished the one it was sent in.
///
/// # Errors
/// Names the first record for which this does not hold.
pub(crate) fn ensure_arrived(
    tag: &str,
    order: Order,
    acked: &[Record],
    arrived: &[Record],
) -> Result<()> {
    let mut by_key: HashMap<&str, &Record> = HashMap::new();
    for record in arrived {
        let twice = by_key.insert(&record.key, record);
        ensure!(
            twice.is_none(),
            "record {} arrived twice: at {:?} and {:?}",
            record.key,
            twice,
            record.place
        );
        let expected = value_of(tag, &record.key)?;
        ensure!(
            record.value.as_deref() == Some(&*expected),
            "record {} came with a wrong value",
            record.key
        );
    }
    for record in acked {
        let twin = by_key.remove(record.key.as_str());
        let twin = twin
            .with_context(|| format!("record {} was acknowledged and never arrived", record.key))?;
        let agrees = record.place.is_none() || twin.place.is_none() || record.place == twin.place;
        ensure!(
            agrees,
            "record {} was acknowledged at {:?}, arrived from {:?}",
            record.key,
            record.place,
            twin.place
        );
    }
    ensure!(
        by_key.is_empty(),
        "arrived and never acknowledged: {:?}",
        by_key.keys().take(5).collect::<Vec<_>>()
    );
    ensure_in_order(order, arrived)
}

fn ensure_in_order(order: Order, arrived: &[Record]) -> Result<()> {
    let mut last_by_partition: BTreeMap<i64, (i64, u64)> = BTreeMap::new();
    for record in arrived {
        let Some((partition, offset)) = record.place else {
            continue;
        };
        let index = index_of(&record.key)?;
        if let Some((last_offset, last_index)) =
            last_by_partition.insert(partition, (offset, index))
        {
            ensure!(
                last_offset < offset,
                "partition {partition}: offset {offset} arrived after {last_offset}"
            );
            let is_as_sent = order == Order::AsStored || last_index < index;
            ensure!(
                is_as_sent,
                "partition {partition}: record {index} arrived after {last_index}"
            );
        }
    }
    Ok(())
}

fn index_of(key: &str) -> Result<u64> {
    let index = key
        .rsplit_once('-')
        .and_then(|(_, index)| index.parse().ok());
    index.with_context(|| format!("a key that no producer here made: {key}"))
}

/// `TAG:i:` and then `x` repeated i mod 512 times: every length from nothing to several hundred
/// bytes, and a value that says which record it belongs to.
fn value_of(tag: &str, key: &str) -> Result<String> {
    let index = index_of(key)?;
    Ok(format!(
        "{tag}:{index}:{}",
        "x".repeat(usize::try_from(index % 512)?)
    ))
}

/// The judge judged: each kind of harm is found.
pub(crate) fn the_oracle_finds_every_kind_of_harm() -> Result<()> {
    let record = |index: u64, offset: i64| -> Result<Record> {
        let key = format!("t-{index}");
        Ok(Record {
            value: Some(value_of("t", &key)?),
            key,
            place: Some((0, offset)),
        })
    };
    let sound = vec![record(0, 0)?, record(1, 1)?, record(2, 2)?];
    ensure_arrived("t", Order::AsSent, &sound, &sound)?;
    let lost = vec![record(0, 0)?, record(2, 2)?];
    let doubled = vec![record(0, 0)?, record(1, 1)?, record(1, 2)?, record(2, 3)?];
    let reordered = vec![record(0, 0)?, record(2, 2)?, record(1, 1)?];
    let moved = vec![record(0, 0)?, record(1, 1)?, record(2, 3)?];
    let mut garbled = sound.clone();
    garbled[1].value = Some("t:1:y".to_owned());
    for (harm, arrived) in [
        ("lost", lost),
        ("doubled", doubled),
        ("reordered", reordered),
        ("moved", moved),
        ("garbled", garbled),
    ] {
        ensure!(
            ensure_arrived("t", Order::AsSent, &sound, &arrived).is_err(),
            "a record that was {harm} went unnoticed"
        );
    }
    ensure!(
        ensure_arrived("t", Order::AsSent, &sound[..2], &sound).is_err(),
        "a record from nowhere went unnoticed"
    );
    Ok(())
}
