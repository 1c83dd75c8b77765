//! The rack that a Fetch is from (KIP-392), and how it is taken out of the request.
//!
//! A leader whose brokers choose replicas by rack answers a Fetch that names one with no records
//! and the follower to ask instead. Who routes a Fetch by its partitions' leaders brings it back to
//! the leader, which says the same again, for ever. A leader that is told of no rack serves it
//! itself.

use super::layout::Role;
use super::{Request, keys};
use crate::protocol::table;
use crate::protocol::wire::Malformed;
use std::ops::Range;

/// Some bytes of a frame, and what to put in their place.
pub(crate) type Replacement = (Range<usize>, &'static [u8]);

/// The first version of Fetch that names a rack. None of them lets it be null.
const SINCE: i16 = 11;

impl Request<'_> {
    /// Where in its frame a Fetch names its rack, and what stands there in one that names none;
    /// `None` if it is no such request. Nothing is allocated for one that names none, as nearly
    /// all do.
    pub(crate) fn rack(&self) -> Result<Option<Replacement>, Malformed> {
        if self.api != table::FETCH || self.version < SINCE {
            return Ok(None);
        }
        // The last field; behind it are tags, which consumers don't have.
        let (end, none): (&[u8], &'static [u8]) = match self.form().is_flexible {
            true => (&[1, 0], &[1]),
            false => (&[0, 0], &[0, 0]),
        };
        if self.frame.ends_with(end) {
            return Ok(None);
        }
        let Some((_, layout)) = keys(self.api) else {
            return Ok(None);
        };
        let index = self.index(layout)?;
        let at = index.spot(Role::Rack);
        Ok(at.filter(|at| at.len() > none.len()).map(|at| (at, none)))
    }
}
