//! Copies held bytes and puts other ones in the place of some.

use crate::protocol::walk::{Endpoint, Tagged};
use crate::protocol::wire::{put_string, put_varint, string_bytes, varint_bytes};
use crate::types::AdvertisedAddress;
use std::ops::Range;
use std::sync::Arc;

/// Edits to held bytes.
pub(super) struct Edits<'a> {
    held: &'a [u8],
    /// The offset in the frame at which `held` begins.
    from: usize,
    flexible: bool,
    edits: Vec<(Range<usize>, Replacement)>,
}

/// What stands there afterwards. A response to a tool that asks for the coordinators of all groups
/// has a hundred thousand of them, so none owns a place of its own.
enum Replacement {
    Host(Arc<str>),
    Port(u16),
    /// An array without elements.
    Empty,
    /// How many bytes a tagged field has.
    Size(u32),
}

impl Replacement {
    fn bytes(&self, flexible: bool) -> usize {
        match self {
            Self::Host(host) => string_bytes(host, flexible),
            Self::Port(_) => 4,
            Self::Empty => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Self::Size(size) => varint_bytes(*size),
        }
    }

    fn put(&self, out: &mut Vec<u8>, flexible: bool) {
        match self {
            Self::Host(host) => put_string(out, host, flexible),
            Self::Port(port) => out.extend_from_slice(&u32::from(*port).to_be_bytes()),
            Self::Empty if flexible => put_varint(out, 1),
            Self::Empty => out.extend_from_slice(&[0; 4]),
            Self::Size(size) => put_varint(out, *size),
        }
    }
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
        self.edits.push((array.clone(), Replacement::Empty));
    }

    /// Replaces host and port.
    pub(super) fn address(&mut self, endpoint: &Endpoint, address: &AdvertisedAddress) {
        let host = Replacement::Host(Arc::clone(&address.host));
        self.edits.push((endpoint.host.clone(), host));
        let port = endpoint.port_at..endpoint.port_at + 4;
        self.edits.push((port, Replacement::Port(address.port)));
    }

    /// Has a tagged field say how long its value is after the edits made so far.
    pub(super) fn resize(&mut self, tagged: &Tagged) {
        let value = tagged.size.end..tagged.field.end;
        let inside = self
            .edits
            .iter()
            .filter(|(range, _)| value.start <= range.start && range.end <= value.end);
        let (old, new) = inside.fold((0, 0), |(old, new), (range, with)| {
            (old + range.len(), new + with.bytes(self.flexible))
        });
        // The value is a part of what is held, and a frame's length is an int32.
        let bytes = u32::try_from(value.len() - old + new).unwrap_or(u32::MAX);
        self.edits
            .push((tagged.size.clone(), Replacement::Size(bytes)));
    }

    /// The held bytes with the edits made; `None` if there are none.
    pub(super) fn apply(mut self) -> Option<Vec<u8>> {
        if self.edits.is_empty() {
            return None;
        }
        self.edits.sort_by_key(|(range, _)| range.start);
        let flexible = self.flexible;
        let put = self.edits.iter().map(|(_, with)| with.bytes(flexible));
        let mut out = Vec::with_capacity(self.held.len() + put.sum::<usize>());
        let mut done = 0;
        for (range, with) in self.edits {
            // The walker marks ranges inside what is held, none inside another.
            out.extend_from_slice(self.held.get(done..range.start - self.from).unwrap_or(&[]));
            with.put(&mut out, flexible);
            done = range.end - self.from;
        }
        out.extend_from_slice(self.held.get(done..).unwrap_or(&[]));
        Some(out)
    }
}
