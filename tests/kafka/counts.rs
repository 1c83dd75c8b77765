//! How idempotent producers count in what a broker has written of a partition: why records are
//! there twice.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// A record batch, as its head describes it.
#[derive(Clone, Debug)]
struct Batch {
    first_offset: i64,
    last_offset: i64,
    producer: i64,
    epoch: i16,
    /// The number of its first record.
    first: i32,
    /// That of its last one.
    last: i32,
}

/// Where in a segment a producer's count begins or does not go on: each such batch, and the same
/// producer's before it.
///
/// # Errors
/// When there is no such file.
pub(crate) fn breaks(segment: &Path) -> Result<String> {
    let bytes = fs::read(segment).with_context(|| segment.display().to_string())?;
    let mut last: HashMap<i64, Batch> = HashMap::new();
    let mut breaks = Vec::new();
    let mut rest = &bytes[..];
    while let Some((batch, behind)) = Batch::read(rest) {
        rest = behind;
        let before = last.insert(batch.producer, batch.clone());
        match before {
            Some(before) if before.epoch == batch.epoch && before.last + 1 == batch.first => {}
            Some(before) => breaks.push(format!("{batch} behind {before}")),
            None => breaks.push(batch.to_string()),
        }
    }
    Ok(breaks.join("; "))
}

impl Batch {
    /// The batch that the bytes begin with, and what is behind it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let first_offset = i64::from_be_bytes(*bytes.first_chunk()?);
        let int = |at: usize| Some(i32::from_be_bytes(*bytes.get(at..)?.first_chunk()?));
        let length = usize::try_from(int(8)?).ok()?;
        let more = int(23)?;
        let first = int(53)?;
        let batch = Self {
            first_offset,
            last_offset: first_offset + i64::from(more),
            producer: i64::from_be_bytes(*bytes.get(43..)?.first_chunk()?),
            epoch: i16::from_be_bytes(*bytes.get(51..)?.first_chunk()?),
            first,
            last: first.wrapping_add(more),
        };
        Some((batch, bytes.get(12 + length..)?))
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            first_offset,
            last_offset,
            producer,
            epoch,
            first,
            ..
        } = self;
        write!(
            f,
            "offsets {first_offset} to {last_offset} of producer {producer}, epoch {epoch}, from \
             number {first}"
        )
    }
}
