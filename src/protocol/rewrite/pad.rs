//! Edits a tail at unchanged length, because the frame's length has been sent already.
//!
//! The body ends with its own section of tagged fields, and clients step over tags that they don't
//! know (KIP-482): an edited tail that is shorter is filled up with such a tag. One that is longer,
//! or shorter by a single byte, can't be: then the addresses are left out, and clients learn by a
//! metadata refresh what they would have learned here.

use crate::protocol::walk::{Marks, Tagged};
use crate::protocol::wire::{put_varint, varint_bytes};

/// Tags that no version of Produce, Fetch, ShareFetch or ShareAcknowledge has; of one and of two
/// bytes, since a gap of 130 bytes can be filled only with the second.
const PADDING_TAGS: [u32; 2] = [127, 128];

/// `edited` (with other addresses) or else `held` (without any), as long as `held`, which begins at
/// the frame's offset `from` and ends with the frame.
pub(super) fn to_length(edited: &[u8], held: &[u8], from: usize, marks: &Marks) -> Option<Vec<u8>> {
    let (tags, count) = marks.tags.as_ref()?;
    let tags_start = tags.start.checked_sub(from)?;
    let tags_end = tags.end.checked_sub(from)?;
    let are_tagged = !marks.tagged.is_empty();
    // Tagged addresses (Produce, Fetch) stand behind the count of the tags, plain ones (ShareFetch,
    // ShareAcknowledge) in front of it: there the edit has moved the tags themselves. The
    // difference may be negative, so it wraps, and so do the sums; a range out of bounds ends in
    // `None`.
    let grown = if are_tagged {
        0
    } else {
        edited.len().wrapping_sub(held.len())
    };
    let with = Tail {
        front: edited.get(..tags_start.wrapping_add(grown))?,
        count: *count,
        tags: edited.get(tags_end.wrapping_add(grown)..)?.to_vec(),
    };
    with.padded_to(held.len()).or_else(|| {
        let dropped = u32::try_from(marks.tagged.len()).ok()?;
        let without = Tail {
            front: if are_tagged {
                held.get(..tags_start)?
            } else {
                &NO_ENDPOINTS
            },
            count: count.checked_sub(dropped)?,
            tags: without_addresses(held, from, tags_end, marks)?,
        };
        without.padded_to(held.len())
    })
}

/// A compact array of no elements.
const NO_ENDPOINTS: [u8; 1] = [1];

/// The end of a body, taken apart.
struct Tail<'a> {
    /// Everything before the number of tagged fields.
    front: &'a [u8],
    /// The number of tagged fields.
    count: u32,
    /// The tagged fields.
    tags: Vec<u8>,
}

impl Tail<'_> {
    /// Puts it together again, with one more tag if that is needed to get `length` bytes; `None` if
    /// no tag fits.
    fn padded_to(&self, length: usize) -> Option<Vec<u8>> {
        // One more tag can make its count a byte longer, so what is left to fill is counted anew.
        let exact = self.front.len() + varint_bytes(self.count) + self.tags.len();
        let (count, padding) = if exact == length {
            (self.count, Vec::new())
        } else {
            let count = self.count + 1;
            let gap =
                length.checked_sub(self.front.len() + varint_bytes(count) + self.tags.len())?;
            (
                count,
                PADDING_TAGS.iter().find_map(|tag| padding_tag(*tag, gap))?,
            )
        };
        let mut out = Vec::with_capacity(length);
        out.extend_from_slice(self.front);
        put_varint(&mut out, count);
        out.extend_from_slice(&self.tags);
        out.extend_from_slice(&padding);
        Some(out)
    }
}

/// A tagged field of exactly `bytes` bytes, its value all zero.
fn padding_tag(tag: u32, bytes: usize) -> Option<Vec<u8>> {
    let around = varint_bytes(tag);
    // The size is a varint, whose own length depends on the size: try each length.
    let size = (1..=5).find_map(|size_bytes| {
        let size = u32::try_from(bytes.checked_sub(around + size_bytes)?).ok()?;
        (varint_bytes(size) == size_bytes).then_some(size)
    })?;
    let mut out = Vec::with_capacity(bytes);
    put_varint(&mut out, tag);
    put_varint(&mut out, size);
    out.resize(bytes, 0);
    Some(out)
}

/// The tagged fields, less those that hold addresses.
fn without_addresses(held: &[u8], from: usize, tags_end: usize, marks: &Marks) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut done = tags_end;
    for Tagged { field, .. } in &marks.tagged {
        kept.extend_from_slice(held.get(done..field.start.checked_sub(from)?)?);
        done = field.end - from;
    }
    kept.extend_from_slice(held.get(done..)?);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::wire::Reader;

    #[test]
    fn a_padding_tag_fills_every_gap_but_a_single_byte() {
        assert_eq!(padding_tag(PADDING_TAGS[0], 1), None);
        for gap in 2..20_000 {
            let tag = PADDING_TAGS
                .iter()
                .find_map(|tag| padding_tag(*tag, gap))
                .expect("a tag fits");
            assert_eq!(tag.len(), gap);
            let mut reader = Reader::whole(&tag);
            assert!(PADDING_TAGS.contains(&reader.varint().unwrap()));
            let size = reader.varint().unwrap() as usize;
            assert_eq!(reader.left(), size);
        }
    }
}
