//! ApiVersions (key 18) v0–v5: cuts what the broker offers to what Narrows has vetted.
//!
//! The response header is v0 in every version (KIP-511). A version that the broker does not know is
//! answered in the form of v0 with error 35, so the error decides how the rest is read. Features,
//! their epochs and all other tagged fields pass as they are (KIP-584); so does everything in the
//! request, v5's cluster id and node id too (KIP-1242).

use super::admission::{self, Unvetted};
use super::table::{self, Versions};
use super::wire::{Malformed, Reader, Unread, put_varint, to_usize};

/// UNSUPPORTED_VERSION.
const UNSUPPORTED_VERSION: i16 = 35;
/// A version that no broker has, so that it answers in the form of v0 with the versions that it
/// does have.
pub const TOO_NEW: i16 = i16::MAX;
/// One API as a broker offers it.
struct Offer<'a> {
    api_key: i16,
    versions: Versions,
    /// Its tagged fields, with their count in front; empty before v3.
    tags: &'a [u8],
}

/// The response `body` (behind its header) to a request of `version`, cut to the table.
pub fn cut(body: &[u8], version: i16, unvetted: Unvetted) -> Result<Vec<u8>, Malformed> {
    let (offers, rest, is_flexible) = match read(body, version) {
        Ok(read) => read,
        // librdkafka's mock cluster (2.12) says error 35 in neither form. Nothing of it is passed
        // on: an empty list in the form of v0 tells every client to ask again with v0 (KIP-511).
        Err(_) if body.starts_with(&UNSUPPORTED_VERSION.to_be_bytes()) => {
            (Vec::new(), &[][..], false)
        }
        Err(unread) => return Err(unread.in_whole()),
    };
    let kept: Vec<_> = offers
        .into_iter()
        .filter_map(|offer| vetted(offer, unvetted))
        .collect();
    let mut out = Vec::with_capacity(body.len());
    out.extend_from_slice(&body[..2]);
    put_count(&mut out, kept.len(), is_flexible);
    for offer in kept {
        for number in [offer.api_key, offer.versions.min, offer.versions.max] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        out.extend_from_slice(offer.tags);
    }
    out.extend_from_slice(rest);
    Ok(out)
}

/// The offers, what stands behind them, and whether the form is flexible.
fn read(body: &[u8], version: i16) -> Result<(Vec<Offer<'_>>, &[u8], bool), Unread> {
    let mut reader = Reader::whole(body);
    let error = reader.int16()?;
    let is_flexible = error != UNSUPPORTED_VERSION && version >= 3;
    let count = match is_flexible {
        true => to_usize(reader.varint()?.saturating_sub(1)),
        false => usize::try_from(reader.int32()?.max(0)).map_err(|_| Malformed::Negative)?,
    };
    let mut offers = Vec::new();
    for _ in 0..count {
        let api_key = reader.int16()?;
        let min = reader.int16()?;
        let max = reader.int16()?;
        let tags_at = reader.position();
        if is_flexible {
            reader.skip_tags()?;
        }
        let tags = &body[tags_at..reader.position()];
        offers.push(Offer {
            api_key,
            versions: Versions { min, max },
            tags,
        });
    }
    Ok((offers, &body[reader.position()..], is_flexible))
}

/// The part of an offer that the table has; `None` if there is none.
fn vetted(offer: Offer<'_>, unvetted: Unvetted) -> Option<Offer<'_>> {
    let Some(api) = table::api(offer.api_key) else {
        return (unvetted == Unvetted::Pass).then_some(offer);
    };
    let versions = offer
        .versions
        .intersection(admission::admitted(api, unvetted)?)?;
    Some(Offer { versions, ..offer })
}

fn put_count(out: &mut Vec<u8>, count: usize, is_flexible: bool) {
    // There were as many offers at least in the frame, whose length is an int32.
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    if is_flexible {
        put_varint(out, count + 1)
    } else {
        out.extend_from_slice(&count.to_be_bytes())
    }
}

#[cfg(test)]
mod tests;
