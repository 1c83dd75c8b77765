//! Writes the pieces of a request: the same frame, with the keys of one broker each.

use super::Request;
use super::index::Index;
use super::layout::{Form, Role, put_count, put_string};
use std::ops::Range;

/// Whose session a fetch without one is of, and where in it (`FetchMetadata`): nobody's.
const NO_SESSION_ID: i32 = 0;
const FINAL_EPOCH: i32 = -1;

/// What is written in the place of something else.
enum Edit {
    Number(i32),
    /// An array without elements.
    Empty,
    /// A string without characters.
    Nameless,
    /// The array of keys.
    Keys,
}

/// The pieces of a request, each with its length in front: piece `i` has the keys `chosen[i]`,
/// which are positions in the index, ascending.
pub(super) fn pieces(
    request: &Request<'_>,
    index: &Index<'_>,
    form: Form,
    chosen: &[Vec<usize>],
) -> Vec<Vec<u8>> {
    let edits = edits(request.frame, index, chosen.len());
    let piece = |keys: &Vec<usize>| {
        let mut piece = Piece {
            frame: request.frame,
            copied: 0,
            out: vec![0; LENGTH_BYTES],
            form,
        };
        for (at, edit) in &edits {
            piece.edit(at, edit, index, keys);
        }
        piece.finish()
    };
    chosen.iter().map(piece).collect()
}

const LENGTH_BYTES: usize = 4;

/// What in the frame of a piece is not as it is in the request's, in the frame's order.
fn edits(frame: &[u8], index: &Index<'_>, pieces: usize) -> Vec<(Range<usize>, Edit)> {
    let of_spot = |(role, at): &(Role, Range<usize>)| {
        let edit = match role {
            Role::SessionId => Edit::Number(NO_SESSION_ID),
            Role::SessionEpoch => Edit::Number(FINAL_EPOCH),
            Role::MinBytes | Role::MaxBytes => {
                Edit::Number(share(index.number(*role, frame)?, pieces))
            }
            Role::Forgotten => Edit::Empty,
            Role::Rack => Edit::Nameless,
            _ => return None,
        };
        Some((at.clone(), edit))
    };
    let mut edits: Vec<_> = index.spots.iter().filter_map(of_spot).collect();
    edits.extend(index.array.clone().map(|at| (at, Edit::Keys)));
    edits.sort_by_key(|(at, _)| at.start);
    edits
}

/// What each of so many brokers may send, so that together they stay below what the client can
/// take, and wait for no more than the client does.
fn share(bytes: i32, pieces: usize) -> i32 {
    let pieces = i32::try_from(pieces).unwrap_or(i32::MAX).max(1);
    if bytes > 0 {
        (bytes / pieces).max(1)
    } else {
        bytes
    }
}

struct Piece<'a> {
    frame: &'a [u8],
    /// How far the frame has been copied, or left out.
    copied: usize,
    out: Vec<u8>,
    form: Form,
}

impl Piece<'_> {
    fn edit(&mut self, at: &Range<usize>, edit: &Edit, index: &Index<'_>, keys: &[usize]) {
        self.copy(self.copied..at.start);
        match edit {
            Edit::Number(number) => self.out.extend_from_slice(&number.to_be_bytes()),
            Edit::Empty => self.count(0),
            Edit::Nameless => put_string(&mut self.out, Some(b""), self.form.is_flexible),
            Edit::Keys if index.items.is_empty() => self.topics(index, keys),
            Edit::Keys if index.is_of_one() => self.copy(at.clone()),
            Edit::Keys => {
                self.count(keys.len());
                for item in keys.iter().filter_map(|key| index.items.get(*key)) {
                    self.copy(item.at.clone());
                }
            }
        }
        self.copied = at.end;
    }

    fn topics(&mut self, index: &Index<'_>, keys: &[usize]) {
        let topic_of = |key: &usize| index.partitions.get(*key).map(|found| found.topic);
        let topics = || keys.chunk_by(|a, b| topic_of(a) == topic_of(b));
        self.count(topics().count());
        for keys in topics() {
            let topic = keys.first().and_then(topic_of);
            let Some(topic) = topic.and_then(|topic| index.topics.get(topic as usize)) else {
                continue;
            };
            self.copy(topic.at.start..topic.array.start);
            self.count(keys.len());
            for partition in keys.iter().filter_map(|key| index.partitions.get(*key)) {
                self.copy(partition.at.clone());
            }
            self.copy(topic.array.end..topic.at.end);
        }
    }

    fn count(&mut self, count: usize) {
        put_count(&mut self.out, count, self.form.is_flexible);
    }

    fn copy(&mut self, range: Range<usize>) {
        self.out
            .extend_from_slice(self.frame.get(range).unwrap_or_default());
    }

    fn finish(mut self) -> Vec<u8> {
        self.copy(self.copied..self.frame.len());
        with_length(self.out)
    }
}

/// Writes the frame's length into its first four bytes. A piece is at most a few bytes longer than
/// the frame that it is of, whose length is an int32.
pub(super) fn with_length(mut frame: Vec<u8>) -> Vec<u8> {
    let length = frame.len().saturating_sub(LENGTH_BYTES) as u32;
    if let Some(place) = frame.first_chunk_mut() {
        *place = length.to_be_bytes();
    }
    frame
}
