//! Buffers that are borrowed while bytes move, and held by nobody who is idle.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// The size of a pooled buffer: large enough that bulk costs few system calls, small enough for a
/// core's cache.
pub(crate) const BUFFER_BYTES: usize = 128 * 1024;

/// The beginning of a Kafka frame that is this small is kept in a place of its own while more is
/// waited for.
pub(crate) const PARKED_BYTES_MAX: usize = 1024;

/// A shelf of buffers, shared by all sessions.
#[derive(Clone, Debug)]
pub(crate) struct BufferPool {
    shelf: Arc<Mutex<Vec<Vec<u8>>>>,
    /// How many returned buffers are kept.
    kept_max: usize,
}

impl Default for BufferPool {
    /// For a command or a test: with 8 MiB kept.
    fn default() -> Self {
        Self::keeping(64)
    }
}

impl BufferPool {
    /// A pool that keeps so many buffers that have been returned.
    pub(crate) fn keeping(kept_max: usize) -> Self {
        Self {
            shelf: Arc::default(),
            kept_max,
        }
    }

    /// Takes an empty buffer of [`BUFFER_BYTES`].
    pub(crate) fn borrow(&self) -> Buffer {
        Buffer {
            bytes: self.take(),
            filled: 0..0,
            is_edited: false,
            pool: self.clone(),
        }
    }

    fn take(&self) -> Vec<u8> {
        let kept = self
            .shelf
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        kept.unwrap_or_else(|| vec![0; BUFFER_BYTES])
    }

    fn put(&self, bytes: Vec<u8>) {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if shelf.len() < self.kept_max {
            shelf.push(bytes);
        }
    }
}

/// Bytes that have arrived and not yet gone on. Goes back to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    filled: Range<usize>,
    is_edited: bool,
    pool: BufferPool,
}

impl Buffer {
    /// The bytes that are there.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.bytes[self.filled.clone()]
    }

    /// Whether any of its bytes have been replaced.
    pub(crate) fn is_edited(&self) -> bool {
        self.is_edited
    }

    /// Whether no bytes are there.
    pub(crate) fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// The bytes that are there, to be decrypted in their place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.filled.clone()]
    }

    /// More bytes are waited for, perhaps for ever: those that are there move to a place of their
    /// own size, if they are `bytes_max` at the most, so that whoever stops in the middle of a
    /// header does not keep a whole buffer.
    pub(crate) fn park(&mut self, bytes_max: usize) {
        // One that has grown holds a large frame on purpose, and a parked one is small already.
        if self.bytes.len() != BUFFER_BYTES || self.filled.len() > bytes_max {
            return;
        }
        let few = self.filled().to_vec();
        self.filled = 0..few.len();
        self.pool.put(std::mem::replace(&mut self.bytes, few));
    }

    fn unpark(&mut self) {
        if self.bytes.len() < BUFFER_BYTES {
            let mut bytes = self.pool.take();
            bytes[..self.filled.len()].copy_from_slice(self.filled());
            self.filled = 0..self.filled.len();
            self.bytes = bytes;
        }
    }

    /// Room for more bytes. When the buffer is full of bytes that are still needed, it grows, up to
    /// `bytes_max` in all; `None` when that is reached.
    pub(crate) fn spare(&mut self, bytes_max: usize) -> Option<&mut [u8]> {
        self.unpark();
        // Moved only when the end is reached: moved at every read, the bytes of a frame that
        // arrives in small pieces would be copied once for each.
        if self.filled.end == self.bytes.len() {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        if self.filled.end == self.bytes.len() {
            let grown = (self.bytes.len() * 2).min(bytes_max);
            if grown <= self.bytes.len() {
                return None;
            }
            self.bytes.resize(grown, 0);
        }
        Some(&mut self.bytes[self.filled.end..])
    }

    /// Room for at least `bytes` more, by moving those that are there or by growing. For whoever
    /// bounds what it adds.
    pub(crate) fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.unpark();
        if self.bytes.len() - self.filled.end < bytes {
            self.bytes.copy_within(self.filled.clone(), 0);
            self.filled = 0..self.filled.len();
        }
        let needed = self.filled.end + bytes;
        if self.bytes.len() < needed {
            self.bytes.resize(needed, 0);
        }
        &mut self.bytes[self.filled.end..]
    }

    /// So many bytes have been written into [`spare`](Self::spare) or [`room`](Self::room).
    pub(crate) fn add(&mut self, count: usize) {
        self.filled.end += count;
    }

    /// The first `count` bytes have gone on.
    pub(crate) fn consume(&mut self, count: usize) {
        self.filled.start += count;
        // Back to the front: the next read has the whole buffer, and nothing has to be moved.
        if self.filled.is_empty() {
            self.filled = 0..0;
        }
    }

    /// Puts `bytes` in the place of a range of the filled bytes.
    pub(crate) fn replace(&mut self, range: Range<usize>, bytes: &[u8]) {
        self.is_edited = true;
        let start = self.filled.start + range.start;
        let end = self.filled.start + range.end;
        if bytes.len() == range.len() {
            self.bytes[start..end].copy_from_slice(bytes);
            return;
        }
        let behind = end..self.filled.end;
        let moved_to = start + bytes.len();
        let filled_end = moved_to + behind.len();
        if filled_end > self.bytes.len() {
            self.bytes.resize(filled_end, 0);
        }
        self.bytes.copy_within(behind, moved_to);
        self.bytes[start..moved_to].copy_from_slice(bytes);
        self.filled.end = filled_end;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One that has grown is not kept: its next borrower would hold more than the stated bound.
        if self.bytes.len() == BUFFER_BYTES {
            self.pool.put(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &[u8]) -> Buffer {
        let mut buffer = BufferPool::default().borrow();
        buffer.spare(BUFFER_BYTES).unwrap()[..text.len()].copy_from_slice(text);
        buffer.add(text.len());
        buffer
    }

    #[test]
    fn a_replaced_range_moves_what_is_behind_it() {
        for (with, expected) in [
            ("", "xxEND"),
            ("ab", "xxabEND"),
            ("abcdefgh", "xxabcdefghEND"),
        ] {
            let mut buffer = filled(b"__xx1234END");
            buffer.consume(2);
            buffer.replace(2..6, with.as_bytes());
            assert_eq!(buffer.filled(), expected.as_bytes());
        }
    }

    #[test]
    fn a_full_buffer_makes_room_by_moving_then_by_growing_up_to_the_bound() {
        let mut buffer = filled(&vec![7; BUFFER_BYTES]);
        buffer.consume(1);
        assert_eq!(buffer.spare(BUFFER_BYTES).map(|spare| spare.len()), Some(1));
        buffer.add(1);
        assert_eq!(buffer.spare(BUFFER_BYTES), None);
        assert_eq!(
            buffer.spare(BUFFER_BYTES + 10).map(|spare| spare.len()),
            Some(10)
        );
    }

    #[test]
    fn room_is_made_by_moving_what_is_there_and_by_growing_only_where_that_does_not_do() {
        let mut buffer = filled(&vec![7; BUFFER_BYTES - 10]);
        buffer.consume(BUFFER_BYTES - 20);
        assert_eq!(
            buffer.room(1000).len(),
            BUFFER_BYTES - 10,
            "ten bytes have moved to the front"
        );
        assert_eq!(buffer.filled(), [7; 10]);
        assert_eq!(
            buffer.room(BUFFER_BYTES).len(),
            BUFFER_BYTES,
            "it has grown"
        );
        buffer.filled_mut()[0] = 8;
        assert_eq!(buffer.filled(), [8, 7, 7, 7, 7, 7, 7, 7, 7, 7]);
    }

    #[test]
    fn a_few_bytes_that_are_parked_keep_no_buffer_and_go_on_where_they_were() {
        let mut buffer = filled(b"__header");
        buffer.consume(2);
        buffer.park(PARKED_BYTES_MAX);
        assert_eq!((buffer.filled(), buffer.bytes.len()), (&b"header"[..], 6));
        assert_eq!(buffer.pool.shelf.lock().unwrap().len(), 1);
        buffer.spare(BUFFER_BYTES).unwrap()[..2].copy_from_slice(b"++");
        buffer.add(2);
        assert_eq!(
            (buffer.filled(), buffer.bytes.len()),
            (&b"header++"[..], BUFFER_BYTES)
        );
        let mut many = filled(&[7; PARKED_BYTES_MAX + 1]);
        many.park(PARKED_BYTES_MAX);
        assert_eq!(many.bytes.len(), BUFFER_BYTES);
    }

    #[test]
    fn no_more_buffers_are_kept_than_may_be() {
        let pool = BufferPool::keeping(2);
        drop([pool.borrow(), pool.borrow(), pool.borrow()]);
        assert_eq!(pool.shelf.lock().unwrap().len(), 2);
    }

    #[test]
    fn a_buffer_goes_back_to_its_pool_unless_it_has_grown() {
        let pool = BufferPool::default();
        drop(pool.borrow());
        assert_eq!(pool.shelf.lock().unwrap().len(), 1);
        let mut buffer = pool.borrow();
        buffer.replace(0..0, &vec![0; BUFFER_BYTES + 1]);
        drop(buffer);
        assert_eq!(pool.shelf.lock().unwrap().len(), 0);
    }
}
