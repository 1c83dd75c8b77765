//! A quick check of a response that is there as a whole: does it surely name no broker?
//!
//! Nearly every small Produce and Fetch response names none, and the [walk](super::Walker) pays for
//! being able to stop at any byte. The precheck goes through the fields once. Whatever is not plain
//! is left to the walk: tagged fields, addresses, and whatever the walk would refuse.

use super::RESPONSE_PREFIX_BYTES;
use crate::protocol::schema::{Extent, Field, Kind, Mark, Schema};
use crate::protocol::wire::{Reader, to_usize};

/// Whether a whole frame of a flexible version, its length prefix in front, surely has no address.
/// False says nothing.
pub(crate) fn has_no_address(schema: &Schema, version: i16, frame: &[u8]) -> bool {
    // With the addresses in front the walk is short anyway.
    if schema.extent != Extent::Tail {
        return false;
    }
    let Some(body) = frame.get(RESPONSE_PREFIX_BYTES..) else {
        return false;
    };
    let mut precheck = Precheck {
        reader: Reader::whole(body),
        version,
    };
    let is_plain = precheck
        .no_tags()
        .and_then(|()| precheck.fields(schema.fields));
    is_plain.is_some() && precheck.reader.left() == 0
}

struct Precheck<'a> {
    reader: Reader<'a>,
    version: i16,
}

impl Precheck<'_> {
    /// A struct of a flexible version, its tagged fields at the end. `None` if it is not plain, as
    /// below.
    fn fields(&mut self, fields: &[Field]) -> Option<()> {
        let version = self.version;
        for field in fields
            .iter()
            .filter(|field| field.tag.is_none() && field.is_in(version))
        {
            match field.kind {
                Kind::Fixed(count) => self.skip(usize::from(count))?,
                Kind::String | Kind::Bytes => {
                    let length = self.length()?;
                    self.skip(length)?;
                }
                Kind::Array(of) => {
                    let count = self.length()?;
                    if count > 0 && field.mark != Mark::None {
                        return None;
                    }
                    // Every element has at least the count of its tagged fields, so bytes run out
                    // before patience does.
                    for _ in 0..count {
                        self.fields(of)?;
                    }
                }
                Kind::Struct(of) => self.fields(of)?,
            }
        }
        self.no_tags()
    }

    fn no_tags(&mut self) -> Option<()> {
        (self.number()? == 0).then_some(())
    }

    /// Null and empty are 0.
    fn length(&mut self) -> Option<usize> {
        Some(to_usize(self.number()?.saturating_sub(1)))
    }

    fn number(&mut self) -> Option<u32> {
        self.reader.varint().ok()
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.reader.take(count).ok().map(drop)
    }
}
