//! Walks a response by its schema as the bytes arrive, and notes where the broker addresses are.
//!
//! The walker holds no bytes: it is pushed whatever piece has arrived, steps over what it need not
//! know (record sets above all) and keeps only its place and the marks. So any split of the same
//! bytes gives the same marks. Every length and count is checked against the bytes that the frame
//! has left, and nothing is allocated by them.

mod precheck;

pub(crate) use precheck::has_no_address;

use super::mask::{KeyName, MASK, Masked, TRUE};
use super::schema::{Extent, Field, Kind, Mark, Schema};
use super::wire::{Malformed, Varint};
use crate::types::NodeId;
use std::ops::Range;

/// One broker address in a body. Offsets count from the frame's length prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The broker that the address belongs to; negative for "none".
    pub(crate) node: NodeId,
    /// The host's bytes with their length in front.
    pub(crate) host: Range<usize>,
    /// The host's bytes alone.
    pub(crate) host_text: Range<usize>,
    /// Where the port's four bytes begin.
    pub(crate) port_at: usize,
    /// The port as it stands there.
    pub(crate) port: i32,
}

/// What the walker has found.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// The addresses, in wire order.
    pub(crate) endpoints: Vec<Endpoint>,
    /// The broker that takes what is for the controller; negative for "none".
    pub(crate) controller: Option<NodeId>,
    /// The cluster id's bytes.
    pub(crate) cluster_id: Option<Range<usize>>,
    /// Arrays to be emptied, each from its count to its end.
    pub(crate) blanked: Vec<Range<usize>>,
    /// Where the held tail begins.
    pub(crate) tail: Option<usize>,
    /// Where the body's own section of tagged fields begins, and how many it has.
    pub(crate) tags: Option<(Range<usize>, u32)>,
    /// Tagged fields of the body that hold addresses.
    pub(crate) tagged: Vec<Tagged>,
}

/// A tagged field that holds addresses, so that its size changes with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tagged {
    /// From its tag to its end.
    pub(crate) field: Range<usize>,
    /// The varint that says how many bytes its value has.
    pub(crate) size: Range<usize>,
}

/// An array with one address has its count, a node id, the length of a host and a port. Where fewer
/// bytes than this are left, no address follows, and they need not be looked at: behind the last
/// records of a fetch are three.
const ADDRESSES_BYTES_MIN: usize = 1 + 4 + 1 + 4;

/// Structs in arrays in structs: no response that Narrows walks nests deeper.
const DEPTH_MAX: usize = 6;

/// How many bytes stand before a response's body: length and correlation id.
pub(crate) const RESPONSE_PREFIX_BYTES: usize = 8;

/// One response's walk.
#[derive(Debug)]
pub(crate) struct Walker {
    version: i16,
    flexible: bool,
    extent: Extent,
    /// The frame's end, counted from its length prefix.
    end: usize,
    /// How far the walk has come, counted likewise.
    at: usize,
    step: Step,
    levels: [Level; DEPTH_MAX],
    depth: usize,
    marks: Marks,
    endpoints_max: usize,
    node: NodeId,
    host: (Range<usize>, Range<usize>),
    started: usize,
    largest_run: usize,
    /// Where the array began that is to be emptied.
    blank: Option<Begun<usize>>,
    /// Of the tagged field that is being walked: where it began, where its size began, where its
    /// value did.
    tag: Option<Begun<[usize; 3]>>,
    /// Where the size of the tagged field began that is being read.
    size_started: usize,
    /// The configuration key whose value is walked.
    key: KeyName,
    /// Whether that value has been masked.
    is_masked: bool,
    /// What is to be masked of the bytes that have been pushed.
    masked: Vec<Masked>,
}

/// A struct (or one element of an array) that is being walked.
#[derive(Clone, Copy, Debug)]
struct Level {
    fields: &'static [Field],
    next: usize,
    /// Elements to come after this one.
    more: u32,
    /// Tagged fields to come, once the plain fields are done.
    tags: Option<u32>,
    /// Where the enclosing tagged field ends, or the frame.
    limit: usize,
}

const EMPTY: Level = Level {
    fields: &[],
    next: 0,
    more: 0,
    tags: None,
    limit: 0,
};

/// A level whose beginning must be remembered for its end. No schema has one inside another.
#[derive(Clone, Copy, Debug)]
struct Begun<T> {
    depth: usize,
    at: T,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Look what comes next.
    Next,
    /// Step over so many bytes.
    Skip(usize),
    /// Take so many bytes for the name of a configuration key.
    Name(usize),
    /// Have so many bytes become this one.
    Mask(usize, u8),
    /// Read a big-endian integer of so many more bytes.
    Int {
        left: u8,
        value: u64,
        bytes: u8,
        then: Then,
    },
    /// Read a varint.
    Varint { varint: Varint, then: Then },
    /// What is left does not matter.
    Done,
}

/// What a number that is being read is.
#[derive(Clone, Copy, Debug)]
enum Then {
    Length(Mark),
    Count(&'static [Field], Mark),
    Controller,
    NodeId,
    Port,
    Tags,
    Tag,
    TagSize(u32),
}

impl Walker {
    /// Begins a walk behind the correlation id of a frame of `frame_bytes`, its length prefix not
    /// counted, in a version that may be flexible.
    pub(crate) fn new(
        schema: &'static Schema,
        (version, flexible): (i16, bool),
        frame_bytes: usize,
    ) -> Self {
        let end = frame_bytes + 4;
        let mut walker = Self {
            version,
            flexible,
            extent: schema.extent,
            end,
            at: RESPONSE_PREFIX_BYTES,
            step: Step::Next,
            levels: [EMPTY; DEPTH_MAX],
            depth: 1,
            marks: Marks::default(),
            endpoints_max: usize::MAX,
            node: NodeId(-1),
            host: (0..0, 0..0),
            started: 0,
            largest_run: 0,
            blank: None,
            tag: None,
            size_started: 0,
            key: KeyName::default(),
            is_masked: false,
            masked: Vec::new(),
        };
        walker.levels[0] = Level {
            fields: schema.fields,
            limit: end,
            ..EMPTY
        };
        if flexible {
            // The response header's own tagged fields stand before the body: a struct without plain
            // fields, so that one loop reads both. ApiVersions, whose header has none, isn't
            // walked.
            walker.levels[1] = Level {
                limit: end,
                ..EMPTY
            };
            walker.depth = 2;
        }
        walker
    }

    /// The walk gives up at more addresses than these.
    pub(crate) fn set_endpoints_max(&mut self, endpoints_max: usize) {
        self.endpoints_max = endpoints_max;
    }

    /// Takes the next bytes of the frame. Returns how many it used: fewer than given only when it
    /// is done.
    pub(crate) fn push(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let mut rest = input;
        loop {
            match self.step {
                Step::Done => break,
                Step::Next => self.next()?,
                Step::Skip(0) | Step::Name(0) | Step::Mask(0, _) => self.step = Step::Next,
                _ if rest.is_empty() => break,
                Step::Skip(count) => {
                    let skipped = count.min(rest.len());
                    rest = &rest[skipped..];
                    self.at += skipped;
                    self.step = Step::Skip(count - skipped);
                }
                Step::Name(count) => {
                    let (name, others) = rest.split_at(count.min(rest.len()));
                    self.key.push(name);
                    rest = others;
                    self.at += name.len();
                    self.step = Step::Name(count - name.len());
                }
                Step::Mask(count, with) => {
                    let masked = count.min(rest.len());
                    let range = self.at..self.at + masked;
                    self.masked.push(Masked { range, with });
                    rest = &rest[masked..];
                    self.at += masked;
                    self.step = Step::Mask(count - masked, with);
                }
                Step::Int {
                    left,
                    value,
                    bytes,
                    then,
                } => {
                    let value = value << 8 | u64::from(self.byte(&mut rest)?);
                    self.step = Step::Int {
                        left: left - 1,
                        value,
                        bytes,
                        then,
                    };
                    if left == 1 {
                        self.number(signed(value, bytes), then)?;
                    }
                }
                Step::Varint { mut varint, then } => {
                    let byte = self.byte(&mut rest)?;
                    let read = varint.push(byte)?;
                    self.step = Step::Varint { varint, then };
                    if let Some(value) = read {
                        self.number(i64::from(value), then)?;
                    }
                }
            }
        }
        Ok(input.len() - rest.len())
    }

    /// Whether every address has been seen, or none can follow.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    /// How many of the next bytes are opaque: they can be passed on without being looked at.
    pub(crate) fn skippable(&self) -> usize {
        if let Step::Skip(count) = self.step {
            count
        } else {
            0
        }
    }

    /// So many bytes, of those that are [`skippable`](Self::skippable), have been passed on without
    /// being pushed.
    pub(crate) fn skip_passed(&mut self, count: usize) {
        if let Step::Skip(left) = &mut self.step {
            let count = count.min(*left);
            *left -= count;
            self.at += count;
        }
    }

    /// The largest run of opaque bytes so far.
    pub(crate) fn largest_run(&self) -> usize {
        self.largest_run
    }

    /// Whether the body is of a flexible version.
    pub(crate) fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// What is to be masked of the bytes that have been pushed since this was last asked.
    pub(crate) fn take_masked(&mut self) -> Vec<Masked> {
        std::mem::take(&mut self.masked)
    }

    /// What has been found so far.
    pub(crate) fn marks(&self) -> &Marks {
        &self.marks
    }

    fn byte(&mut self, rest: &mut &[u8]) -> Result<u8, Malformed> {
        let (first, others) = rest.split_first().ok_or(Malformed::TooLong)?;
        // Numbers are read byte by byte past any check of their length: without this one, a varint
        // in a tagged field could run on into the next field, or out of the frame.
        if self.at >= self.limit() {
            return Err(Malformed::TooLong);
        }
        *rest = others;
        self.at += 1;
        Ok(*first)
    }

    fn limit(&self) -> usize {
        self.levels[self.depth - 1].limit
    }

    /// The next field of the innermost struct, or its end.
    fn next(&mut self) -> Result<(), Malformed> {
        let version = self.version;
        let level = &mut self.levels[self.depth - 1];
        // Plain numbers in a row are one step: a partition of a Fetch has 30 bytes of them, and
        // stepping field by field showed in the benchmark.
        let mut plain_bytes = 0;
        while let Some(field) = level.fields.get(level.next) {
            if field.is_in(version) && field.tag.is_none() {
                match (field.kind, field.mark) {
                    (Kind::Fixed(count), Mark::None) => plain_bytes += usize::from(count),
                    _ if plain_bytes > 0 => break,
                    _ => {
                        level.next += 1;
                        return self.begin(field);
                    }
                }
            }
            level.next += 1;
        }
        if plain_bytes > 0 {
            return self.skip(plain_bytes);
        }
        // What stands behind the last address flows: the topics of a Metadata response can be
        // megabytes. It isn't checked, since it doesn't matter to where addresses are.
        if self.depth == 1 && self.extent != Extent::Tail {
            self.step = Step::Done;
            return Ok(());
        }
        match level.tags {
            None if self.flexible => {
                self.started = self.at;
                self.note_tail(self.depth == 1);
                self.read(Then::Tags)
            }
            None | Some(0) => self.close(),
            Some(left) => {
                level.tags = Some(left - 1);
                self.started = self.at;
                self.read(Then::Tag)
            }
        }
    }

    /// A body's own tagged fields are always in the held tail, which may have begun before.
    fn note_tail(&mut self, is_body: bool) {
        if is_body && self.marks.tail.is_none() {
            self.marks.tail = Some(self.at);
        }
    }

    fn begin(&mut self, field: &'static Field) -> Result<(), Malformed> {
        self.started = self.at;
        match (field.kind, field.mark) {
            (Kind::Fixed(_), Mark::Controller) => self.read(Then::Controller),
            (Kind::Fixed(_), Mark::NodeId) => self.read(Then::NodeId),
            (Kind::Fixed(_), Mark::Port) => self.read(Then::Port),
            (Kind::Fixed(count), Mark::IsSensitive) if self.is_masked => {
                self.step = Step::Mask(usize::from(count), TRUE);
                self.within_limit(usize::from(count))
            }
            (Kind::Fixed(count), _) => self.skip(usize::from(count)),
            (Kind::String, mark) => self.read_sized(Then::Length(mark), 2),
            (Kind::Bytes, mark) => self.read_sized(Then::Length(mark), 4),
            (Kind::Array(of), mark) => {
                self.note_tail(mark == Mark::Tail);
                self.read_sized(Then::Count(of, mark), 4)
            }
            (Kind::Struct(of), _) => self.enter(of, 0, self.limit()),
        }
    }

    /// Reads a number in its fixed width, or as a varint in flexible versions.
    fn read_sized(&mut self, then: Then, fixed_bytes: u8) -> Result<(), Malformed> {
        self.step = if self.flexible {
            Step::Varint {
                varint: Varint::default(),
                then,
            }
        } else {
            Step::Int {
                left: fixed_bytes,
                value: 0,
                bytes: fixed_bytes,
                then,
            }
        };
        Ok(())
    }

    fn read(&mut self, then: Then) -> Result<(), Malformed> {
        self.step = match then {
            Then::Tags | Then::Tag | Then::TagSize(_) => Step::Varint {
                varint: Varint::default(),
                then,
            },
            _ => Step::Int {
                left: 4,
                value: 0,
                bytes: 4,
                then,
            },
        };
        Ok(())
    }

    fn skip(&mut self, count: usize) -> Result<(), Malformed> {
        self.within_limit(count)?;
        self.largest_run = self.largest_run.max(count);
        let behind = self.end - self.at - count;
        // Behind the last records of most fetches nothing follows that could be an address. To end
        // here lets the whole record set be spliced, instead of holding its last bytes back for a
        // tail that has nothing to edit.
        let is_last = self.extent == Extent::Tail
            && self.marks.tail.is_none()
            && behind < ADDRESSES_BYTES_MIN;
        self.step = if is_last {
            Step::Done
        } else {
            Step::Skip(count)
        };
        Ok(())
    }

    /// A number has been read: act on it.
    fn number(&mut self, value: i64, then: Then) -> Result<(), Malformed> {
        self.step = Step::Next;
        match then {
            Then::Length(mark) => self.text(self.length(value)?, mark),
            Then::Count(of, mark) => self.elements(of, mark, self.length(value)?),
            Then::NodeId => {
                self.node = NodeId(to_i32(value));
                Ok(())
            }
            Then::Controller => {
                self.marks.controller = Some(NodeId(to_i32(value)));
                Ok(())
            }
            Then::Port => {
                let (host, host_text) = self.host.clone();
                let node = self.node;
                let port_at = self.started;
                let port = to_i32(value);
                // The host stands in front of its port in every schema, and the node id in front of
                // both: the port ends an address.
                //
                // The smallest address takes twelve bytes of the frame, and ten times as many here
                // and in the edits: without this bound, what is held would cost a multiple of
                // itself.
                if self.marks.endpoints.len() == self.endpoints_max {
                    return Err(Malformed::TooManyAddresses);
                }
                self.marks.endpoints.push(Endpoint {
                    node,
                    host,
                    host_text,
                    port_at,
                    port,
                });
                Ok(())
            }
            Then::Tags => {
                let count = self.bounded(value)?;
                let count = u32::try_from(count).map_err(|_| Malformed::TooLong)?;
                if self.depth == 1 {
                    self.marks.tags = Some((self.started..self.at, count));
                }
                self.levels[self.depth - 1].tags = Some(count);
                Ok(())
            }
            Then::Tag => {
                self.size_started = self.at;
                self.read(Then::TagSize(
                    u32::try_from(value).map_err(|_| Malformed::Varint)?,
                ))
            }
            Then::TagSize(tag) => self.tagged(tag, self.bounded(value)?),
        }
    }

    /// A length or count: null and empty are 0.
    fn length(&self, value: i64) -> Result<usize, Malformed> {
        match if self.flexible { value - 1 } else { value } {
            -1 => Ok(0),
            value => self.bounded(value),
        }
    }

    /// Every element and every byte takes at least a byte of what is left. So a count is no promise
    /// of memory or time that the sender has not paid for in bytes.
    fn bounded(&self, value: i64) -> Result<usize, Malformed> {
        let value = usize::try_from(value).map_err(|_| Malformed::Negative)?;
        if value > self.limit() - self.at {
            Err(Malformed::TooLong)
        } else {
            Ok(value)
        }
    }

    fn text(&mut self, length: usize, mark: Mark) -> Result<(), Malformed> {
        let text = self.at..self.at + length;
        match mark {
            Mark::Host => self.host = (self.started..text.end, text),
            Mark::ClusterId if length > 0 => self.marks.cluster_id = Some(text),
            Mark::SettingName => {
                self.key = KeyName::default();
                self.is_masked = false;
                self.step = Step::Name(length);
                return Ok(());
            }
            // It must not pass unseen, as what is skipped may.
            Mark::SettingValue if length > 0 && self.key.is_address() => {
                self.is_masked = true;
                self.step = Step::Mask(length, MASK);
                return Ok(());
            }
            _ => {}
        }
        self.skip(length)
    }

    fn within_limit(&self, count: usize) -> Result<(), Malformed> {
        if count > self.limit() - self.at {
            return Err(Malformed::TooLong);
        }
        Ok(())
    }

    fn elements(
        &mut self,
        of: &'static [Field],
        mark: Mark,
        count: usize,
    ) -> Result<(), Malformed> {
        let Some(more) = u32::try_from(count)
            .ok()
            .and_then(|count| count.checked_sub(1))
        else {
            return Ok(());
        };
        if mark == Mark::Blank {
            self.blank = Some(Begun {
                depth: self.depth,
                at: self.started,
            });
        }
        self.enter(of, more, self.limit())
    }

    fn enter(
        &mut self,
        fields: &'static [Field],
        more: u32,
        limit: usize,
    ) -> Result<(), Malformed> {
        self.levels[self.depth] = Level {
            fields,
            more,
            limit,
            ..EMPTY
        };
        self.depth += 1;
        self.step = Step::Next;
        Ok(())
    }

    /// A tagged field begins: one that holds addresses is an array to walk, any other is stepped
    /// over.
    fn tagged(&mut self, tag: u32, size: usize) -> Result<(), Malformed> {
        let version = self.version;
        let at = [self.started, self.size_started, self.at];
        let limit = self.at + size;
        let level = &self.levels[self.depth - 1];
        let known = level
            .fields
            .iter()
            .find(|field| field.tag == Some(tag) && field.is_in(version));
        let Some(Field {
            kind: Kind::Array(_),
            ..
        }) = known
        else {
            return self.skip(size);
        };
        // The array's count is read inside a level of its own, so that it can't reach behind the
        // tagged field.
        self.tag = Some(Begun {
            depth: self.depth,
            at,
        });
        self.enter(known.map_or(&[], std::slice::from_ref), 0, limit)?;
        // The level stands for the tagged field, which is no struct: it has no tags of its own, and
        // its only field is begun here, since `next` passes over fields with a tag.
        let level = &mut self.levels[self.depth - 1];
        level.tags = Some(0);
        let field = &level.fields[0];
        level.next = 1;
        self.begin(field)
    }

    /// The innermost struct is complete.
    fn close(&mut self) -> Result<(), Malformed> {
        let level = &mut self.levels[self.depth - 1];
        if level.more > 0 {
            level.more -= 1;
            level.next = 0;
            level.tags = None;
            return Ok(());
        }
        let limit = level.limit;
        self.depth -= 1;
        if let Some(Begun {
            at: [field, size, value],
            ..
        }) = ended(&mut self.tag, self.depth)
        {
            // An edit writes the size anew, from where the walk came to: bytes behind the array
            // would not be counted, and be read as the next field.
            if self.at != limit {
                return Err(Malformed::TagSize);
            }
            self.marks.tagged.push(Tagged {
                field: field..self.at,
                size: size..value,
            });
        }
        if let Some(Begun { at: from, .. }) = ended(&mut self.blank, self.depth) {
            self.marks.blanked.push(from..self.at);
        }
        if self.depth == 0 {
            // `levels[depth - 1]` is looked at by whoever asks for the limit, also when all is
            // done.
            self.depth = 1;
            self.step = Step::Done;
            if self.at != self.end {
                return Err(Malformed::Trailing);
            }
        }
        Ok(())
    }
}

/// What began at this depth, if it has ended.
fn ended<T: Copy>(begun: &mut Option<Begun<T>>, depth: usize) -> Option<Begun<T>> {
    begun.take_if(|begun| begun.depth == depth)
}

fn signed(value: u64, bytes: u8) -> i64 {
    let unused = 64 - 8 * u32::from(bytes);
    ((value << unused) as i64) >> unused
}

/// Node ids and ports are four bytes wide.
fn to_i32(value: i64) -> i32 {
    value as i32
}
