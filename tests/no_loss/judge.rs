//! The no-loss oracle: compares every record that was acknowledged with what is read back.
//!
//! Whoever runs clients against Kafka, through Narrows or past it, notes each acknowledgement in a
//! [`Journal`] and gives [`Journal::judge`] what came out of a topic, read from the brokers
//! themselves or through Narrows. The judge knows no client, no cluster and no Narrows, so that the
//! same one judges the arm under test and the control arm.
//!
//! Records are those of `tests/clients`: the key ends with the index at which the record was sent,
//! and index and tag give the value.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) partition: i64,
    pub(crate) offset: i64,
}

/// What was sent, by length and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) bytes: usize,
    pub(crate) hash: u64,
}

impl Payload {
    /// FNV-1a, 64 bits: the same in every process and on every machine.
    pub(crate) fn of(value: &[u8]) -> Self {
        let hash = value.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self {
            bytes: value.len(),
            hash,
        }
    }
}

/// One record, as it was acknowledged or as it was read. Kafka's console tools tell no place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) place: Option<Place>,
    pub(crate) key: String,
    pub(crate) payload: Payload,
}

/// What can become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Harm {
    /// Acknowledged, and read nowhere.
    Lost,
    /// Read at two places.
    Duplicated,
    /// Read behind a record of its partition that was sent after it.
    Reordered,
    /// Read from another partition or offset than was acknowledged, or from another topic.
    Moved,
    /// As long as it was sent, with other bytes.
    Changed,
    /// Shorter than it was sent.
    Truncated,
    /// Read, and acknowledged by nobody.
    Foreign,
    /// Read where another key was acknowledged, with that record's value.
    WrongKey,
    /// No record at an offset between two that were read.
    Gap,
}

/// A harm, and to which record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) harm: Harm,
    pub(crate) what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.harm, self.what)
    }
}

/// Which order within a partition the client promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    AsSent,
    /// It has many requests on the way at once without a producer's sequence: kafkajs.
    AsStored,
}

/// Every acknowledgement of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    acknowledged: Vec<Record>,
}

impl Journal {
    pub(crate) fn note(&mut self, record: Record) {
        self.acknowledged.push(record);
    }

    /// How many records were acknowledged.
    pub(crate) fn len(&self) -> usize {
        self.acknowledged.len()
    }

    /// All harm that was done to the records on their way to `read`, in the order of its kinds;
    /// empty when each was read once, where it was acknowledged, as it was sent.
    ///
    /// `read` is in the order in which it was read; offsets must not be missing in between, so that
    /// topics with transactions, whose markers take offsets, are not for this judge.
    pub(crate) fn judge(&self, order: Order, read: &[Record]) -> Vec<Finding> {
        let mut findings = Findings::default();
        let mut unread: HashMap<&str, &Record> = self
            .acknowledged
            .iter()
            .map(|record| (&*record.key, record))
            .collect();
        let mut seen: HashMap<&str, &Record> = HashMap::new();
        for record in read {
            if let Some(twin) = seen.insert(&record.key, record) {
                findings.add(
                    Harm::Duplicated,
                    record,
                    &format!("and at {}", shown(twin.place)),
                );
                continue;
            }
            let Some(sent) = unread.remove(&*record.key) else {
                self.name_foreign(record, &mut findings);
                continue;
            };
            compare(sent, record, &mut findings);
        }
        for record in unread.into_values() {
            findings.add(Harm::Lost, record, "is read nowhere");
        }
        look_at_order(order, read, &mut findings);
        findings.0.sort_by_key(|finding| finding.harm);
        findings.0
    }

    /// A key that nobody was told of: the record of another key's, or nobody's at all.
    fn name_foreign(&self, record: &Record, findings: &mut Findings) {
        let is_there = |sent: &&Record| {
            sent.place.is_some() && sent.place == record.place && sent.payload == record.payload
        };
        match self.acknowledged.iter().find(is_there) {
            Some(sent) => findings.add(
                Harm::WrongKey,
                record,
                &format!("was acknowledged as {}", sent.key),
            ),
            None => findings.add(Harm::Foreign, record, "was acknowledged by nobody"),
        }
    }
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, harm: Harm, record: &Record, text: &str) {
        let place = shown(record.place);
        let what = format!("{} of {} at {place} {text}", record.key, record.topic);
        self.0.push(Finding { harm, what });
    }
}

fn shown(place: Option<Place>) -> String {
    place.map_or("no known place".to_owned(), |place| {
        format!("partition {} offset {}", place.partition, place.offset)
    })
}

fn compare(sent: &Record, read: &Record, findings: &mut Findings) {
    let is_moved = sent.place.is_some() && read.place.is_some() && sent.place != read.place;
    if is_moved || sent.topic != read.topic {
        let from = format!("was acknowledged at {} {}", sent.topic, shown(sent.place));
        findings.add(Harm::Moved, read, &from);
    }
    if sent.payload == read.payload {
        return;
    }
    let (was, is) = (sent.payload.bytes, read.payload.bytes);
    if is < was {
        findings.add(
            Harm::Truncated,
            read,
            &format!("has {is} of {was} bytes of its value"),
        );
    } else {
        findings.add(
            Harm::Changed,
            read,
            &format!("has {is} bytes that are not the {was} sent"),
        );
    }
}

/// The last record of each partition is compared with the next one.
fn look_at_order(order: Order, read: &[Record], findings: &mut Findings) {
    let mut last: BTreeMap<(&str, i64), (i64, u64)> = BTreeMap::new();
    for record in read {
        let Some(Place { partition, offset }) = record.place else {
            continue;
        };
        let index = index_of(&record.key).unwrap_or(u64::MAX);
        let Some((last_offset, last_index)) =
            last.insert((&record.topic, partition), (offset, index))
        else {
            continue;
        };
        if offset <= last_offset || order == Order::AsSent && index < last_index {
            findings.add(
                Harm::Reordered,
                record,
                &format!("comes behind record {last_index} at offset {last_offset}"),
            );
        } else if offset > last_offset + 1 {
            findings.add(
                Harm::Gap,
                record,
                &format!("comes behind offset {last_offset}, nothing between"),
            );
        }
    }
}

/// At which place a record was sent: what its key ends with.
pub(crate) fn index_of(key: &str) -> Option<u64> {
    key.rsplit_once('-')?.1.parse().ok()
}

/// The value that the clients send under a key: `TAG:i:` and then `x` repeated i mod 512 times,
/// every length from nothing to several hundred bytes.
pub(crate) fn value_of(tag: &str, key: &str) -> Option<String> {
    let index = index_of(key)?;
    let filling = usize::try_from(index % 512).ok()?;
    Some(format!("{tag}:{index}:{}", "x".repeat(filling)))
}
