//! ApiVersions (key 18) v0–v5: cuts what the broker offers to what Narrows has vetted, and where
//! requests may be carried to any broker (scheme `single`) to what all brokers offer.
//!
//! The response header is v0 in every version (KIP-511). A version that the broker does not know is
//! answered in the form of v0 with error 35, so the error decides how the rest is read. Features,
//! their epochs and all other tagged fields pass as they are (KIP-584): the finalized ones are the
//! cluster's, and the supported ones are said of one broker by intent (KIP-1160). So does
//! everything in the request, v5's cluster id and node id too (KIP-1242).

use super::admission::{self, Unvetted};
use super::errors::UNSUPPORTED_VERSION;
use super::table::{self, Versions};
use super::wire::{Malformed, Reader, Unread, put_varint, to_usize};
use std::collections::BTreeMap;

/// A version that no broker has, so that it answers in the form of v0 with the versions that it
/// does have.
pub(crate) const TOO_NEW: i16 = i16::MAX;
/// A broker has some 90 APIs; a list that is much longer is not remembered.
const APIS_MAX: usize = 1000;

/// The versions of each API that a broker offers, or several have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers(BTreeMap<i16, Versions>);

impl Offers {
    /// What the response `body` (behind its header) to a request of `version` says that the broker
    /// offers; `None` where that can't be read, or is not all of it, as with every error.
    pub(crate) fn read(body: &[u8], version: i16) -> Option<Self> {
        let (offers, _, _) = read(body, version).ok()?;
        if !body.starts_with(&[0, 0]) || offers.len() > APIS_MAX {
            return None;
        }
        let offers = offers
            .into_iter()
            .map(|offer| (offer.api_key, offer.versions));
        let offers = Self(offers.collect());
        // Whoever answers ApiVersions has it.
        offers
            .0
            .contains_key(&table::API_VERSIONS.key)
            .then_some(offers)
    }

    /// What two brokers offer both.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let both = |(api_key, versions): (&i16, &Versions)| {
            let common = versions.intersection(*other.0.get(api_key)?)?;
            Some((*api_key, common))
        };
        Self(self.0.iter().filter_map(both).collect())
    }
}

/// One API as a broker offers it.
struct Offer<'a> {
    api_key: i16,
    versions: Versions,
    /// Its tagged fields, with their count in front; empty before v3.
    tags: &'a [u8],
}

/// The response `body` (behind its header) to a request of `version`, cut to the table and, if
/// other brokers count, to what is `common` to all.
pub fn cut(
    body: &[u8],
    version: i16,
    unvetted: Unvetted,
    common: Option<&Offers>,
) -> Result<Vec<u8>, Malformed> {
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
        .filter_map(|offer| match common {
            Some(common) => shared(offer, common),
            None => Some(offer),
        })
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

/// The part of an offer that other brokers make too; `None` if there is none.
fn shared<'a>(offer: Offer<'a>, common: &Offers) -> Option<Offer<'a>> {
    let others = common.0.get(&offer.api_key)?;
    let versions = offer.versions.intersection(*others)?;
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
