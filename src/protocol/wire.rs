//! Reads and writes Kafka's primitive types, and never past the bytes that are there.
//!
//! A frame arrives in pieces, so reading ends in one of three ways: a value, [`Unread::Incomplete`]
//! (the bytes have not arrived yet) or [`Unread::Malformed`] (they can't be what the sender says
//! they are, however many more arrive).

/// Why a value could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// More bytes of this frame are needed.
    Incomplete,
    /// No more bytes will help.
    Malformed(Malformed),
}

impl Unread {
    /// What is wrong with a frame that is whole: there, what is missing will not come.
    pub(crate) fn in_whole(self) -> Malformed {
        match self {
            Self::Incomplete => Malformed::TooLong,
            Self::Malformed(malformed) => malformed,
        }
    }
}

/// What is wrong with bytes that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A length or count reaches behind the end of the frame.
    #[error("a length or count reaches behind the end of the frame")]
    TooLong,
    /// A length or count below −1, or a null where none may be.
    #[error("a length or count is negative")]
    Negative,
    /// A varint of more than five bytes, or above 2^31 − 1.
    #[error("a varint has more than 32 bits")]
    Varint,
    /// The fields end before the frame does.
    #[error("the frame has bytes behind its last field")]
    Trailing,
    /// A tagged field is not as long as it says.
    #[error("a tagged field is not as long as it says")]
    TagSize,
    /// More addresses than there is room for.
    #[error("it has more addresses than there is room for")]
    TooManyAddresses,
    /// More partitions, groups or resources than there is room for.
    #[error("it names more partitions, groups or resources than there is room for")]
    TooManyKeys,
    /// A request that is one broker's as a whole, or any broker's.
    #[error("the request can't be split")]
    NotSplittable,
}

impl From<Malformed> for Unread {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A cursor over the beginning of a frame of known length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    /// What has arrived of the frame.
    bytes: &'a [u8],
    /// The frame's whole length; at least `bytes.len()`.
    frame_bytes: usize,
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads a frame of `frame_bytes` of which the first `bytes` have arrived.
    pub(crate) fn new(bytes: &'a [u8], frame_bytes: usize) -> Self {
        let bytes = bytes.get(..frame_bytes).unwrap_or(bytes);
        Self {
            bytes,
            frame_bytes,
            at: 0,
        }
    }

    /// Reads a frame that is whole.
    pub(crate) fn whole(bytes: &'a [u8]) -> Self {
        Self::new(bytes, bytes.len())
    }

    /// How many bytes have been read.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// How many bytes of the frame are left, arrived or not.
    pub(crate) fn left(&self) -> usize {
        self.frame_bytes - self.at
    }

    /// The next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Unread> {
        if count > self.left() {
            return Err(Malformed::TooLong.into());
        }
        let taken = self
            .bytes
            .get(self.at..self.at + count)
            .ok_or(Unread::Incomplete)?;
        self.at += count;
        Ok(taken)
    }

    /// An int16, big-endian as everything in Kafka.
    pub(crate) fn int16(&mut self) -> Result<i16, Unread> {
        self.array().map(i16::from_be_bytes)
    }

    /// An int32.
    pub(crate) fn int32(&mut self) -> Result<i32, Unread> {
        self.array().map(i32::from_be_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unread> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Unread::Incomplete)
    }

    /// An unsigned varint of at most 32 bits, as lengths, counts and tags are written in flexible
    /// versions (KIP-482).
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u32, Unread> {
        // Most have one byte.
        if let Some(byte) = self.bytes.get(self.at).filter(|byte| **byte < 0x80) {
            self.at += 1;
            return Ok(u32::from(*byte));
        }
        let mut varint = Varint::default();
        loop {
            let [byte] = self.array()?;
            if let Some(value) = varint.push(byte)? {
                return Ok(value);
            }
        }
    }

    /// A string with an int16 length; −1 is null.
    pub(crate) fn string(&mut self) -> Result<Option<&'a [u8]>, Unread> {
        match self.int16()? {
            -1 => Ok(None),
            length => self
                .take(usize::try_from(length).map_err(|_| Malformed::Negative)?)
                .map(Some),
        }
    }

    /// A string with a varint length plus one; 0 is null.
    pub(crate) fn compact_string(&mut self) -> Result<Option<&'a [u8]>, Unread> {
        match self.varint()? {
            0 => Ok(None),
            length => self.take(to_usize(length - 1)).map(Some),
        }
    }

    /// A string in the form of a version: compact if it is flexible.
    pub(crate) fn string_of(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, Unread> {
        if flexible {
            self.compact_string()
        } else {
            self.string()
        }
    }

    /// Bytes in the form of a version: compact if it is flexible; null is `None`.
    pub(crate) fn bytes_of(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, Unread> {
        if flexible {
            return self.compact_string();
        }
        match self.int32()? {
            -1 => Ok(None),
            length => self
                .take(usize::try_from(length).map_err(|_| Malformed::Negative)?)
                .map(Some),
        }
    }

    /// Steps over a section of tagged fields.
    pub(crate) fn skip_tags(&mut self) -> Result<(), Unread> {
        for _ in 0..self.varint()? {
            self.varint()?;
            let size = self.varint()?;
            self.take(to_usize(size))?;
        }
        Ok(())
    }
}

/// An unsigned varint that arrives byte by byte.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Varint {
    value: u32,
    shift: u32,
}

impl Varint {
    /// Takes the next byte; `Some` when it was the last. Values above 2^31 − 1 are refused: no
    /// length, count or tag is that large, and decoders that read them as signed go wrong.
    pub(crate) fn push(&mut self, byte: u8) -> Result<Option<u32>, Malformed> {
        let bits = u32::from(byte & 0x7f);
        if self.shift > 28 || (self.shift == 28 && bits > 0x07) {
            return Err(Malformed::Varint);
        }
        self.value |= bits << self.shift;
        self.shift += 7;
        Ok((byte & 0x80 == 0).then_some(self.value))
    }
}

/// Widens a length. Narrows runs where `usize` has at least 32 bits.
pub(crate) fn to_usize(length: u32) -> usize {
    length as usize
}

/// Appends an unsigned varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes [`put_varint`] would append.
pub(crate) fn varint_bytes(value: u32) -> usize {
    let bits = 32 - (value | 1).leading_zeros();
    to_usize(bits.div_ceil(7))
}

/// Appends a host name in the form of a version. Names longer than DNS allows can't come from the
/// configuration.
pub(crate) fn put_string(out: &mut Vec<u8>, text: &str, flexible: bool) {
    let length = text.len().min(STRING_BYTES_MAX);
    if flexible {
        put_varint(out, length as u32 + 1);
    } else {
        out.extend_from_slice(&(length as i16).to_be_bytes());
    }
    out.extend_from_slice(&text.as_bytes()[..length]);
}

/// How many bytes [`put_string`] appends.
pub(crate) fn string_bytes(text: &str, flexible: bool) -> usize {
    let length = text.len().min(STRING_BYTES_MAX);
    if flexible {
        varint_bytes(length as u32 + 1) + length
    } else {
        2 + length
    }
}

const STRING_BYTES_MAX: usize = i16::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_varint_above_31_bits_is_refused() {
        for bytes in [
            &[0xff, 0xff, 0xff, 0xff, 0x08][..],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        ] {
            assert_eq!(
                Reader::whole(bytes).varint(),
                Err(Unread::Malformed(Malformed::Varint))
            );
        }
        assert_eq!(
            Reader::whole(&[0xff, 0xff, 0xff, 0xff, 0x07]).varint(),
            Ok(0x7fff_ffff)
        );
    }

    #[test]
    fn a_length_behind_the_frame_is_malformed_and_one_behind_the_arrived_bytes_is_incomplete() {
        let bytes = [0, 5, b'a', b'b'];
        assert_eq!(Reader::new(&bytes, 7).string(), Err(Unread::Incomplete));
        assert_eq!(
            Reader::new(&bytes, 6).string(),
            Err(Unread::Malformed(Malformed::TooLong))
        );
        assert_eq!(
            Reader::whole(&[0xff, 0xfe]).string(),
            Err(Unread::Malformed(Malformed::Negative))
        );
        assert_eq!(Reader::whole(&[0xff, 0xff]).string(), Ok(None));
    }

    proptest! {
        #[test]
        fn a_varint_reads_back_as_it_was_written(value in 0..=0x7fff_ffffu32) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            prop_assert_eq!(bytes.len(), varint_bytes(value));
            prop_assert_eq!(Reader::whole(&bytes).varint(), Ok(value));
        }
    }
}
