//! The language in which the [layouts](super::layouts) say where in a message the keys stand.
//!
//! A layout lists fields in wire order. A request is listed as far as its last field that matters
//! here, and what follows it is kept unread; a response is listed whole, because the answer to what
//! could not be asked is written by it, with Kafka's own defaults.

use crate::protocol::wire::put_varint;

/// One API's messages.
#[derive(Debug)]
pub(super) struct Layout {
    /// The api key.
    pub(super) key: i16,
    /// The request, as far as it is looked at.
    pub(super) request: &'static [Field],
    /// The response.
    pub(super) response: &'static [Field],
    /// What is said of what has no answer.
    pub(super) errors: Errors,
}

impl Layout {
    /// Whether responses have a place for each key: else a request is one broker's as a whole.
    pub(super) fn is_splittable(&self) -> bool {
        let mut fields = self.response.iter();
        fields.any(|field| matches!(field.role, Role::Topics | Role::Items))
    }

    /// Whether responses of a version have an error for the whole, which is set instead of one for
    /// each key.
    pub(super) fn has_error(&self, version: i16) -> bool {
        let mut fields = self.response.iter();
        fields.any(|field| field.role == Role::Error && field.is_in(version))
    }
}

/// The error codes of what has no answer. They are retriable in every client, and are what clients
/// take the right consequence from: look up the leader or the coordinator again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Errors {
    /// Nobody knows which broker to ask.
    pub(super) no_broker: i16,
    /// It surely was not sent.
    pub(super) not_sent: i16,
    /// It was sent, and may have been carried out.
    pub(super) unanswered: i16,
}

impl Errors {
    /// The same whatever has happened.
    pub(super) const fn always(code: i16) -> Self {
        Self {
            no_broker: code,
            not_sent: code,
            unanswered: code,
        }
    }
}

/// One field of a message, in wire order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) kind: Kind,
    pub(super) role: Role,
    since: i16,
    until: i16,
    /// Its tag, for a tagged field. Only those that have a role are listed.
    pub(super) tag: Option<u32>,
    default: Default,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(u8),
    /// Length and bytes: int16, or a varint when flexible.
    String,
    /// Length and bytes: int32, or a varint when flexible.
    Bytes,
    /// An array of structs.
    Array(&'static [Field]),
    /// An array of plain values.
    List(&'static Field),
    /// A struct in place.
    Struct(&'static [Field]),
    /// A struct in place behind a byte that says whether it is there (−1: it is not).
    Nullable(&'static [Field]),
}

/// What a field is to the one who parts and merges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    None,
    /// The topics that hold the partitions.
    Topics,
    /// Structs of which each has topics.
    Holders,
    /// The partitions of a topic.
    Partitions,
    /// The groups, transactional ids or resources.
    Items,
    TopicName,
    TopicId,
    Partition,
    /// A group id, transactional id, name of a resource.
    Name,
    /// The path of a log directory, of which every broker may have one.
    Path,
    /// The type of the resource whose name follows.
    ResourceType,
    Throttle,
    /// What went wrong with the element, or the whole response.
    Error,
    /// What went wrong with a whole Fetch: its partitions are not there.
    FetchError,
    SessionId,
    SessionEpoch,
    MinBytes,
    MaxBytes,
    /// What a fetch session need not remember.
    Forgotten,
    /// The rack that a Fetch is from (KIP-392).
    Rack,
    /// The replica that a Fetch had better ask (KIP-392).
    PreferredReplica,
    /// What has been fetched.
    Records,
    /// Strings of which each is told once, whoever told it.
    Union,
    CurrentLeader,
    NodeEndpoints,
}

#[derive(Clone, Copy, Debug)]
enum Default {
    /// 0, false, empty.
    Zero,
    MinusOne,
    /// The lowest number: "not asked for" (authorized operations).
    Lowest,
    /// Null from a version on, empty before.
    NullSince(i16),
}

const fn field(kind: Kind) -> Field {
    Field {
        kind,
        role: Role::None,
        since: 0,
        until: i16::MAX,
        tag: None,
        default: Default::Zero,
    }
}

const fn role(kind: Kind, role: Role) -> Field {
    Field {
        role,
        ..field(kind)
    }
}

pub(super) const INT8: Field = field(Kind::Fixed(1));
pub(super) const INT16: Field = field(Kind::Fixed(2));
pub(super) const INT32: Field = field(Kind::Fixed(4));
pub(super) const INT64: Field = field(Kind::Fixed(8));
pub(super) const UUID: Field = field(Kind::Fixed(16));
pub(super) const STRING: Field = field(Kind::String);
/// Bytes or records.
pub(super) const BYTES: Field = field(Kind::Bytes);
/// An array that is written empty, and not read.
pub(super) const EMPTY_ARRAY: Field = field(Kind::Array(&[]));

pub(super) const TOPIC_NAME: Field = role(Kind::String, Role::TopicName);
pub(super) const TOPIC_ID: Field = role(Kind::Fixed(16), Role::TopicId);
pub(super) const PARTITION: Field = role(Kind::Fixed(4), Role::Partition);
/// Partitions of which there is nothing but the index.
pub(super) const PARTITION_LIST: Field = role(Kind::List(&INT32), Role::Partitions);
pub(super) const NAME: Field = role(Kind::String, Role::Name);
/// Groups or transactional ids of which there is nothing but the name.
pub(super) const NAMES: Field = role(Kind::List(&STRING), Role::Items);
pub(super) const PATH: Field = role(Kind::String, Role::Path);
pub(super) const RESOURCE_TYPE: Field = role(Kind::Fixed(1), Role::ResourceType);
pub(super) const THROTTLE: Field = role(Kind::Fixed(4), Role::Throttle);
pub(super) const ERROR: Field = role(Kind::Fixed(2), Role::Error);
pub(super) const FETCH_ERROR: Field = role(Kind::Fixed(2), Role::FetchError);
pub(super) const SESSION_ID: Field = role(Kind::Fixed(4), Role::SessionId);
pub(super) const SESSION_EPOCH: Field = role(Kind::Fixed(4), Role::SessionEpoch);
pub(super) const MIN_BYTES: Field = role(Kind::Fixed(4), Role::MinBytes);
pub(super) const MAX_BYTES: Field = role(Kind::Fixed(4), Role::MaxBytes);
pub(super) const RACK: Field = role(Kind::String, Role::Rack);
pub(super) const PREFERRED_REPLICA: Field = role(Kind::Fixed(4), Role::PreferredReplica);
pub(super) const RECORDS: Field = role(Kind::Bytes, Role::Records);
pub(super) const UNION: Field = role(Kind::List(&STRING), Role::Union);
/// Leader id and leader epoch, a tagged field of a partition (KIP-951).
pub(super) const CURRENT_LEADER: Field = role(Kind::Struct(&[INT32, INT32]), Role::CurrentLeader);
/// Node id, host, port, rack, a tagged field of the response (KIP-951).
pub(super) const NODE_ENDPOINTS: Field = role(
    Kind::Array(&[INT32, STRING, INT32, STRING]),
    Role::NodeEndpoints,
);

pub(super) const fn array(of: &'static [Field]) -> Field {
    field(Kind::Array(of))
}

pub(super) const fn list(of: &'static Field) -> Field {
    field(Kind::List(of))
}

pub(super) const fn structure(of: &'static [Field]) -> Field {
    field(Kind::Struct(of))
}

pub(super) const fn nullable(of: &'static [Field]) -> Field {
    field(Kind::Nullable(of))
}

pub(super) const fn topics(of: &'static [Field]) -> Field {
    role(Kind::Array(of), Role::Topics)
}

pub(super) const fn holders(of: &'static [Field]) -> Field {
    role(Kind::Array(of), Role::Holders)
}

pub(super) const fn partitions(of: &'static [Field]) -> Field {
    role(Kind::Array(of), Role::Partitions)
}

pub(super) const fn items(of: &'static [Field]) -> Field {
    role(Kind::Array(of), Role::Items)
}

pub(super) const fn forgotten(of: &'static [Field]) -> Field {
    role(Kind::Array(of), Role::Forgotten)
}

impl Field {
    pub(super) const fn since(self, since: i16) -> Self {
        Self { since, ..self }
    }

    pub(super) const fn until(self, until: i16) -> Self {
        Self { until, ..self }
    }

    pub(super) const fn tagged(self, tag: u32) -> Self {
        Self {
            tag: Some(tag),
            ..self
        }
    }

    pub(super) const fn minus_one(self) -> Self {
        Self {
            default: Default::MinusOne,
            ..self
        }
    }

    pub(super) const fn lowest(self) -> Self {
        Self {
            default: Default::Lowest,
            ..self
        }
    }

    pub(super) const fn null(self) -> Self {
        self.null_since(0)
    }

    pub(super) const fn null_since(self, version: i16) -> Self {
        Self {
            default: Default::NullSince(version),
            ..self
        }
    }

    pub(super) fn is_in(&self, version: i16) -> bool {
        (self.since..=self.until).contains(&version)
    }

    /// Appends what stands there when there is nothing to say.
    pub(super) fn put_default(&self, out: &mut Vec<u8>, form: Form) {
        match self.kind {
            Kind::Fixed(bytes) => {
                let (first, rest) = match self.default {
                    Default::MinusOne => (0xff, 0xff),
                    Default::Lowest => (0x80, 0),
                    Default::Zero | Default::NullSince(_) => (0, 0),
                };
                let start = out.len();
                out.resize(start + usize::from(bytes), rest);
                if let Some(byte) = out.get_mut(start) {
                    *byte = first;
                }
            }
            Kind::String => match self.default {
                Default::NullSince(version) if form.version >= version => {
                    put_string(out, None, form.is_flexible);
                }
                _ => put_string(out, Some(b""), form.is_flexible),
            },
            Kind::Bytes | Kind::Array(_) | Kind::List(_) => put_count(out, 0, form.is_flexible),
            Kind::Struct(of) => {
                for field in of.iter().filter(|field| field.is_plain_in(form.version)) {
                    field.put_default(out, form);
                }
                form.put_no_tags(out);
            }
            Kind::Nullable(_) => out.push(0xff),
        }
    }

    /// Whether a version has it, and not as a tagged field.
    pub(super) fn is_plain_in(&self, version: i16) -> bool {
        self.tag.is_none() && self.is_in(version)
    }
}

/// In which form a message is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) version: i16,
    /// Whether lengths are varints and structs end with tagged fields (KIP-482).
    pub(super) is_flexible: bool,
}

impl Form {
    /// Ends a struct that has no tagged fields.
    pub(super) fn put_no_tags(self, out: &mut Vec<u8>) {
        if self.is_flexible {
            out.push(0);
        }
    }
}

/// Appends how many elements an array has, or how long bytes are: all come from a frame, whose
/// length is an int32.
pub(super) fn put_count(out: &mut Vec<u8>, count: usize, is_flexible: bool) {
    if is_flexible {
        put_varint(out, count as u32 + 1);
    } else {
        out.extend_from_slice(&(count as i32).to_be_bytes());
    }
}

/// Appends a string of any bytes, which came from a frame in the same form; `None` is null.
pub(super) fn put_string(out: &mut Vec<u8>, text: Option<&[u8]>, is_flexible: bool) {
    let length = text.map(<[u8]>::len);
    if is_flexible {
        put_varint(out, length.map_or(0, |length| length as u32 + 1));
    } else {
        let length = length.map_or(-1, |length| length as i16);
        out.extend_from_slice(&length.to_be_bytes());
    }
    out.extend_from_slice(text.unwrap_or_default());
}
