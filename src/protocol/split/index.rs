//! Goes through a request or a response once and notes where its keys stand.

use super::layout::{Field, Form, Kind, Role};
use crate::protocol::wire::{Malformed, Reader, Unread, to_usize};
use crate::types::NodeId;
use std::ops::Range;

/// Where the keys of a message stand. Ranges count from the first byte of what was read.
#[derive(Debug, Default)]
pub(super) struct Index<'a> {
    /// The topics, in the message's order.
    pub(super) topics: Vec<Topic<'a>>,
    /// Their partitions.
    pub(super) partitions: Vec<Partition>,
    /// Groups, transactional ids, resources.
    pub(super) items: Vec<Item<'a>>,
    /// The array that they stand in, its count included; `None` for the one item of a request that
    /// names no more.
    pub(super) array: Option<Range<usize>>,
    /// Single fields outside of that array that have a role.
    pub(super) spots: Vec<(Role, Range<usize>)>,
    /// Strings of which each is told once.
    pub(super) union: Vec<&'a [u8]>,
    /// How many bytes of records it has.
    pub(super) records_bytes: u64,
    /// Whether it says of a partition more than which records there are.
    pub(super) has_news: bool,
    /// The tagged fields at the end of a response.
    pub(super) tags: Vec<(u32, &'a [u8])>,
}

/// How a topic is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TopicKey<'a> {
    Name(&'a [u8]),
    Id([u8; 16]),
}

/// A topic with partitions in it.
#[derive(Debug)]
pub(super) struct Topic<'a> {
    pub(super) key: TopicKey<'a>,
    /// All of it.
    pub(super) at: Range<usize>,
    /// The array of its partitions, the count included.
    pub(super) array: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Partition {
    /// The position of its topic.
    pub(super) topic: u32,
    pub(super) partition: i32,
    /// What went wrong with it, in a response.
    pub(super) error: i16,
    /// Who leads it now, in a response that says so: leader id and epoch.
    pub(super) leader: Option<(i32, i32)>,
    pub(super) at: Range<usize>,
}

#[derive(Debug)]
pub(super) struct Item<'a> {
    /// The type of a resource; else 0.
    pub(super) kind: i8,
    pub(super) name: &'a [u8],
    /// The name with its length.
    pub(super) name_at: Range<usize>,
    /// What went wrong with it, in a response.
    pub(super) error: i16,
    /// Whether another broker's of the same name is another one.
    pub(super) is_of_broker: bool,
    pub(super) at: Range<usize>,
}

/// More keys than a request has, even one that asks for every partition of a large cluster. What is
/// noted of a key is ten times as large as the smallest one on the wire.
const KEYS_MAX: usize = 1 << 18;

/// Types of resources (`ConfigResource.Type`).
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;

/// When to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// At the end of the last field of an open layout: a request's.
    Listed,
    /// At the first key.
    FirstKey,
    /// At the first resource that one broker must serve.
    FirstNode,
    /// Behind the error of the whole message: a response's.
    Error,
    /// At the end of the message, which must be the end of the bytes: a response's.
    End,
}

impl<'a> Index<'a> {
    /// Reads a message whose body begins where the reader is.
    pub(super) fn read(
        reader: Reader<'a>,
        fields: &'static [Field],
        form: Form,
        until: Until,
    ) -> Result<Self, Unread> {
        let mut walk = Walk {
            reader,
            form,
            until,
            is_over: false,
            topic: None,
            partition: Partition::new(0),
            item: Item::new(),
            index: Index::default(),
        };
        walk.fields(fields, Place::Top)?;
        if until == Until::End {
            walk.tags(fields, Place::Top)?;
            if walk.reader.left() > 0 {
                return Err(Malformed::Trailing.into());
            }
        }
        Ok(walk.index)
    }

    /// Whether it is about one group or transactional id, and no list of them: what else is listed
    /// belongs to that.
    pub(super) fn is_of_one(&self) -> bool {
        let starts = self.array.as_ref().map_or(usize::MAX, |array| array.start);
        matches!(self.items.as_slice(), [item] if item.at.end <= starts)
    }

    /// The range of a single field.
    pub(super) fn spot(&self, role: Role) -> Option<Range<usize>> {
        let found = self.spots.iter().find(|(of, _)| *of == role);
        found.map(|(_, at)| at.clone())
    }

    /// The number in a single field of four bytes, or of two.
    pub(super) fn number(&self, role: Role, bytes: &[u8]) -> Option<i32> {
        let at = bytes.get(self.spot(role)?)?;
        match *at {
            [a, b] => Some(i32::from(i16::from_be_bytes([a, b]))),
            [a, b, c, d] => Some(i32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

impl Partition {
    fn new(topic: u32) -> Self {
        Self {
            topic,
            partition: 0,
            error: 0,
            leader: None,
            at: 0..0,
        }
    }
}

impl Item<'_> {
    /// The broker that alone can serve it, if it is the settings or loggers of a named one. Without
    /// a name, it is what holds for all brokers.
    pub(super) fn node(&self) -> Option<NodeId> {
        if !matches!(self.kind, BROKER | BROKER_LOGGER) {
            return None;
        }
        let name = std::str::from_utf8(self.name).ok()?;
        name.parse().ok().map(NodeId)
    }

    fn new() -> Self {
        Self {
            kind: 0,
            name: b"",
            name_at: 0..0,
            error: 0,
            is_of_broker: false,
            at: 0..0,
        }
    }
}

/// In what the walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Top,
    Topic,
    Partition,
    Item,
}

/// The way through a message. It is as deep as its layout, which is constant.
struct Walk<'a> {
    reader: Reader<'a>,
    form: Form,
    until: Until,
    /// What was sought is found.
    is_over: bool,
    /// The name of the topic that it is in.
    topic: Option<TopicKey<'a>>,
    /// The partition that it is in, as far as it is known.
    partition: Partition,
    /// The item that it is in, as far as it is known.
    item: Item<'a>,
    index: Index<'a>,
}

impl<'a> Walk<'a> {
    fn fields(&mut self, fields: &'static [Field], place: Place) -> Result<(), Unread> {
        let version = self.form.version;
        for field in fields.iter().filter(|field| field.is_plain_in(version)) {
            self.field(field, place)?;
            if self.is_over {
                return Ok(());
            }
        }
        Ok(())
    }

    /// An element of an array that holds keys: struct or plain value.
    fn element(&mut self, kind: Kind, place: Place) -> Result<(), Unread> {
        match kind {
            Kind::Array(of) => {
                self.fields(of, place)?;
                if self.is_over {
                    return Ok(());
                }
                self.tags(of, place)
            }
            // What has nothing but its key is that key.
            _ if place == Place::Partition => self.partition_index(),
            _ => self.name(place),
        }
    }

    fn field(&mut self, field: &'static Field, place: Place) -> Result<(), Unread> {
        let start = self.reader.position();
        match field.role {
            Role::Topics | Role::Items => {
                self.array(field, place)?;
                self.index.array = Some(start..self.reader.position());
            }
            Role::Partitions => {
                self.partitions(field.kind)?;
            }
            Role::TopicName => self.topic = Some(TopicKey::Name(self.string()?.unwrap_or(b""))),
            Role::TopicId => {
                let id = self.reader.take(16)?.try_into();
                self.topic = id.ok().map(TopicKey::Id);
            }
            Role::Partition => self.partition_index()?,
            Role::Name => self.name(place)?,
            Role::Path => {
                self.name(place)?;
                self.item.is_of_broker = true;
            }
            Role::Holders => self.holders(field.kind)?,
            Role::ResourceType => {
                let byte = self.reader.take(1)?.first().copied().unwrap_or_default();
                self.item.kind = i8::from_be_bytes([byte]);
            }
            Role::Error => {
                let error = self.reader.int16()?;
                match place {
                    Place::Partition => {
                        self.partition.error = error;
                        self.index.has_news |= error != 0;
                    }
                    Place::Item => self.item.error = error,
                    _ => {
                        self.index.spots.push((Role::Error, start..start + 2));
                        self.is_over = self.until == Until::Error;
                    }
                }
            }
            Role::Union => {
                for _ in 0..self.count()? {
                    let text = self.string()?.unwrap_or(b"");
                    bounded(&self.index.union)?;
                    self.index.union.push(text);
                }
            }
            Role::Records => {
                let records = self.reader.bytes_of(self.form.is_flexible)?;
                self.index.records_bytes += records.map_or(0, |bytes| bytes.len() as u64);
            }
            Role::PreferredReplica => self.index.has_news |= self.reader.int32()? >= 0,
            Role::None => self.skip(field)?,
            role => {
                self.skip(field)?;
                self.index.spots.push((role, start..self.reader.position()));
            }
        }
        Ok(())
    }

    fn array(&mut self, field: &'static Field, place: Place) -> Result<(), Unread> {
        let is_topics = field.role == Role::Topics;
        debug_assert_eq!(place, Place::Top, "keys stand in one array");
        for _ in 0..self.count()? {
            let start = self.reader.position();
            if is_topics {
                self.topic = None;
                self.element(field.kind, Place::Topic)?;
            } else {
                self.item = Item::new();
                self.element(field.kind, Place::Item)?;
            }
            if self.is_over {
                return Ok(());
            }
            let at = start..self.reader.position();
            if !is_topics {
                bounded(&self.index.items)?;
                let item = std::mem::replace(&mut self.item, Item::new());
                self.index.items.push(Item { at, ..item });
            } else if let Some(topic) = self.index.topics.last_mut() {
                topic.at = at;
            }
        }
        Ok(())
    }

    /// Structs of which each has topics.
    fn holders(&mut self, kind: Kind) -> Result<(), Unread> {
        let Kind::Array(of) = kind else {
            return Ok(());
        };
        for _ in 0..self.count()? {
            self.fields(of, Place::Top)?;
            if self.is_over {
                break;
            }
            if self.form.is_flexible {
                self.reader.skip_tags()?;
            }
        }
        Ok(())
    }

    /// The partitions of a topic. Its name stands in front of them.
    fn partitions(&mut self, kind: Kind) -> Result<(), Unread> {
        let start = self.reader.position();
        bounded(&self.index.topics)?;
        let topic = self.index.topics.len();
        self.index.topics.push(Topic {
            key: self.topic.unwrap_or(TopicKey::Name(b"")),
            at: start..start,
            array: start..start,
        });
        for _ in 0..self.count()? {
            let start = self.reader.position();
            self.partition = Partition::new(topic as u32);
            self.element(kind, Place::Partition)?;
            let at = start..self.reader.position();
            bounded(&self.index.partitions)?;
            let partition = std::mem::replace(&mut self.partition, Partition::new(0));
            self.index.partitions.push(Partition { at, ..partition });
            if self.is_over {
                return Ok(());
            }
        }
        let end = self.reader.position();
        if let Some(topic) = self.index.topics.last_mut() {
            topic.array = start..end;
        }
        Ok(())
    }

    fn partition_index(&mut self) -> Result<(), Unread> {
        self.partition.partition = self.reader.int32()?;
        self.is_over = self.until == Until::FirstKey;
        Ok(())
    }

    /// The name of an item, or of the one thing that the request is about.
    fn name(&mut self, place: Place) -> Result<(), Unread> {
        let start = self.reader.position();
        let name = self.string()?;
        let at = start..self.reader.position();
        self.item.name = name.unwrap_or(b"");
        self.item.name_at = at.clone();
        let is_key = place == Place::Item || name.is_some();
        self.is_over = match self.until {
            Until::FirstKey => is_key,
            Until::FirstNode => self.item.node().is_some(),
            Until::Listed | Until::Error | Until::End => false,
        };
        if (place == Place::Top || self.is_over) && is_key {
            let item = std::mem::replace(&mut self.item, Item::new());
            self.index.items.push(Item { at, ..item });
        }
        Ok(())
    }

    /// The tagged fields at the end of a struct.
    fn tags(&mut self, fields: &[Field], place: Place) -> Result<(), Unread> {
        if !self.form.is_flexible {
            return Ok(());
        }
        for _ in 0..self.reader.varint()? {
            let tag = self.reader.varint()?;
            let size = self.reader.varint()?;
            let value = self.reader.take(to_usize(size))?;
            match place {
                Place::Top => {
                    bounded(&self.index.tags)?;
                    self.index.tags.push((tag, value));
                }
                Place::Partition => {
                    self.index.has_news = true;
                    let is_leader = |field: &&Field| {
                        field.tag == Some(tag) && field.role == Role::CurrentLeader
                    };
                    if fields.iter().any(|field| is_leader(&field)) {
                        let mut value = Reader::whole(value);
                        let leader = value.int32().and_then(|id| Ok((id, value.int32()?)));
                        self.partition.leader = Some(leader.map_err(Unread::in_whole)?);
                    }
                }
                Place::Topic | Place::Item => {}
            }
        }
        Ok(())
    }

    /// Steps over a field in which no key stands.
    fn skip(&mut self, field: &'static Field) -> Result<(), Unread> {
        let is_flexible = self.form.is_flexible;
        match field.kind {
            Kind::Fixed(bytes) => self.reader.take(usize::from(bytes)).map(drop),
            Kind::String => self.string().map(drop),
            Kind::Bytes => self.reader.bytes_of(is_flexible).map(drop),
            Kind::Struct(of) => self.skip_struct(of),
            Kind::Nullable(of) => match self.reader.take(1)? {
                [byte] if i8::from_be_bytes([*byte]) < 0 => Ok(()),
                _ => self.skip_struct(of),
            },
            Kind::Array(of) => {
                for _ in 0..self.count()? {
                    self.skip_struct(of)?;
                }
                Ok(())
            }
            Kind::List(of) => {
                for _ in 0..self.count()? {
                    self.skip(of)?;
                }
                Ok(())
            }
        }
    }

    fn skip_struct(&mut self, fields: &'static [Field]) -> Result<(), Unread> {
        let version = self.form.version;
        for field in fields.iter().filter(|field| field.is_plain_in(version)) {
            self.skip(field)?;
        }
        if self.form.is_flexible {
            self.reader.skip_tags()?;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Option<&'a [u8]>, Unread> {
        self.reader.string_of(self.form.is_flexible)
    }

    /// How many elements an array has; null and empty are 0. Every element takes at least a byte of
    /// what is left, so that a count promises no work that the sender has not paid for in bytes.
    fn count(&mut self) -> Result<usize, Unread> {
        let count = if self.form.is_flexible {
            to_usize(self.reader.varint()?.saturating_sub(1))
        } else {
            match self.reader.int32()? {
                -1 => 0,
                count => usize::try_from(count).map_err(|_| Malformed::Negative)?,
            }
        };
        if count > self.reader.left() {
            return Err(Malformed::TooLong.into());
        }
        Ok(count)
    }
}

/// Whether one more may be noted.
fn bounded<T>(noted: &[T]) -> Result<(), Malformed> {
    if noted.len() < KEYS_MAX {
        Ok(())
    } else {
        Err(Malformed::TooManyKeys)
    }
}
