//! What clients and brokers say about records, for the judge of the no-loss oracle.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::judge::{self, Journal, Payload, Place, value_of};

pub(crate) use crate::judge::Order;

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

/// Every acknowledged record arrived exactly once, at the place it was acknowledged at, with its
/// value; nothing else arrived; and within each partition the order is the one it was stored in,
/// and if so wished the one it was sent in: see [the judge](crate::judge).
///
/// # Errors
/// Names the first records for which this does not hold, and what became of them.
pub(crate) fn ensure_arrived(
    tag: &str,
    order: Order,
    acked: &[Record],
    arrived: &[Record],
) -> Result<()> {
    let mut journal = Journal::default();
    for record in acked {
        let value = value_of(tag, &record.key)
            .with_context(|| format!("a key that no producer here made: {}", record.key))?;
        journal.note(judged(tag, record, value.as_bytes()));
    }
    let read: Vec<_> = arrived
        .iter()
        .map(|record| {
            judged(
                tag,
                record,
                record.value.as_deref().unwrap_or("").as_bytes(),
            )
        })
        .collect();
    let findings = journal.judge(order, &read);
    let shown: Vec<_> = findings.iter().take(10).map(ToString::to_string).collect();
    ensure!(
        findings.is_empty(),
        "{} harms to {} acknowledged records:\n{}",
        findings.len(),
        journal.len(),
        shown.join("\n")
    );
    Ok(())
}

fn judged(tag: &str, record: &Record, value: &[u8]) -> judge::Record {
    judge::Record {
        topic: format!("the topic of {tag}"),
        place: record
            .place
            .map(|(partition, offset)| Place { partition, offset }),
        key: record.key.clone(),
        payload: Payload::of(value),
    }
}
