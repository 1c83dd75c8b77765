//! Copies held bytes and puts other ones in the place of some.

use crate::protocol::walk::{Endpoint, Tagged};
use crate::protocol::wire::{put_string, put_varint};
use crate::types::AdvertisedAddress;
use std::ops::Range;

/// Edits to held bytes.
pub(super) struct Edits<'a> {
    held: &'a [u8],
    /// The offset in the frame at which `held` begins.
    from: usize,
    flexible: bool,
    edits: Vec<(Range<usize>, Vec<u8>)>,
}

impl<'a> Edits<'a> {
    pub(super) fn new(held: &'a [u8], from: usize, flexible: bool) -> Self {
        Self {
            held,
            from,
            flexible,
            edits: Vec::new(),
        }
    }

    /// Empties an array.
    pub(super) fn blank(&mut self, array: &Range<usize>) {
        let mut empty = Vec::new();
        if self.flexible {
            put_varint(&mut empty, 1)
        } else {
            empty.extend_from_slice(&0i32.to_be_bytes())
        }
        self.edits.push((array.clone(), empty));
    }

    /// Replaces host and port.
    pub(super) fn address(&mut self, endpoint: &Endpoint, address: &AdvertisedAddress) {
        let mut host = Vec::with_capacity(address.host.len() + 2);
        put_string(&mut host, &address.host, self.flexible);
        self.edits.push((endpoint.host.clone(), host));
        let port = i32::from(address.port).to_be_bytes();
        self.edits.push((
            endpoint.port_at..endpoint.port_at + port.len(),
            port.to_vec(),
        ));
    }

    /// Has a tagged field say how long its value is after the edits made so far.
    pub(super) fn resize(&mut self, tagged: &Tagged) {
        let value = tagged.size.end..tagged.field.end;
        let inside = self
            .edits
            .iter()
            .filter(|(range, _)| value.start <= range.start && range.end <= value.end);
        let (old, new) = inside.fold((0, 0), |(old, new), (range, bytes)| {
            (old + range.len(), new + bytes.len())
        });
        // The value is a part of what is held, and a frame's length is an int32.
        let bytes = u32::try_from(value.len() - old + new).unwrap_or(u32::MAX);
        let mut size = Vec::new();
        put_varint(&mut size, bytes);
        self.edits.push((tagged.size.clone(), size));
    }

    /// The held bytes with the edits made; `None` if there are none.
    pub(super) fn apply(mut self) -> Option<Vec<u8>> {
        if self.edits.is_empty() {
            return None;
        }
        self.edits.sort_by_key(|(range, _)| range.start);
        let grown: usize = self.edits.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut out = Vec::with_capacity(self.held.len() + grown);
        let mut done = 0;
        for (range, bytes) in self.edits {
            // The walker marks ranges inside what is held, none inside another.
            out.extend_from_slice(self.held.get(done..range.start - self.from).unwrap_or(&[]));
            out.extend_from_slice(&bytes);
            done = range.end - self.from;
        }
        out.extend_from_slice(self.held.get(done..).unwrap_or(&[]));
        Some(out)
    }
}
