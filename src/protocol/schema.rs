//! The language in which the API table says where broker addresses stand in a response.
//!
//! A schema lists fields in wire order, as far as Narrows must know them to find the addresses. The
//! [walker](super::walk) reads a response by it; [`responses`] has the schemas themselves.

pub(super) mod responses;

/// One field of a message, in wire order. Nullability needs no mention: null is always the empty
/// case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(super) kind: Kind,
    pub(super) mark: Mark,
    /// The first version that has it.
    since: i16,
    /// The last version that has it.
    until: i16,
    /// Its tag, for a tagged field. Tagged fields that hold no address need not be listed.
    pub(super) tag: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(u8),
    /// Length and bytes: int16, or a varint when flexible.
    String,
    /// Length and bytes: int32, or a varint when flexible.
    Bytes,
    Array(&'static [Field]),
    Struct(&'static [Field]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    None,
    NodeId,
    Host,
    Port,
    ClusterId,
    /// The node id of the controller, or with KRaft of any broker.
    Controller,
    /// An array that must not get out.
    Blank,
    /// From here on the body must be held: the addresses follow.
    Tail,
    /// The name of a configuration key; the next values belong to it.
    SettingName,
    /// The value of that key, which may be addresses.
    SettingValue,
    /// Whether that value is hidden.
    IsSensitive,
}

const fn field(kind: Kind) -> Field {
    Field {
        kind,
        mark: Mark::None,
        since: 0,
        until: i16::MAX,
        tag: None,
    }
}

/// A field of `bytes` bytes: bool and int8 have 1, uuid has 16.
const fn fixed(bytes: u8) -> Field {
    field(Kind::Fixed(bytes))
}

/// A string, null or not.
const fn string() -> Field {
    field(Kind::String)
}

/// Bytes or records, null or not.
const fn bytes() -> Field {
    field(Kind::Bytes)
}

/// An array of structs.
const fn array(of: &'static [Field]) -> Field {
    field(Kind::Array(of))
}

/// A struct in place.
const fn structure(of: &'static [Field]) -> Field {
    field(Kind::Struct(of))
}

/// The node id that the next host and port belong to.
const fn node_id() -> Field {
    Field {
        mark: Mark::NodeId,
        ..field(Kind::Fixed(4))
    }
}

/// A broker's host.
const fn host() -> Field {
    Field {
        mark: Mark::Host,
        ..field(Kind::String)
    }
}

/// A broker's port, int32.
const fn port() -> Field {
    Field {
        mark: Mark::Port,
        ..field(Kind::Fixed(4))
    }
}

/// Kafka's cluster id.
const fn cluster_id() -> Field {
    Field {
        mark: Mark::ClusterId,
        ..field(Kind::String)
    }
}

/// The node id of the broker that takes what is for the controller.
const fn controller() -> Field {
    Field {
        mark: Mark::Controller,
        ..field(Kind::Fixed(4))
    }
}

/// The name of a configuration key.
const fn setting_name() -> Field {
    Field {
        mark: Mark::SettingName,
        ..field(Kind::String)
    }
}

/// The value of the key whose name came last.
const fn setting_value() -> Field {
    Field {
        mark: Mark::SettingValue,
        ..field(Kind::String)
    }
}

/// Whether the broker hides the value that came last.
const fn is_sensitive() -> Field {
    Field {
        mark: Mark::IsSensitive,
        ..field(Kind::Fixed(1))
    }
}

impl Field {
    const fn since(self, since: i16) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: i16) -> Self {
        Self { until, ..self }
    }

    const fn tagged(self, tag: u32) -> Self {
        Self {
            tag: Some(tag),
            ..self
        }
    }

    /// The array is emptied on its way to the client.
    const fn blanked(self) -> Self {
        Self {
            mark: Mark::Blank,
            ..self
        }
    }

    /// The body is held from this array on.
    const fn tail(self) -> Self {
        Self {
            mark: Mark::Tail,
            ..self
        }
    }

    pub(super) fn is_in(&self, version: i16) -> bool {
        (self.since..=self.until).contains(&version)
    }
}

/// A response's fields, as far as Narrows must know them.
#[derive(Debug, PartialEq, Eq)]
pub struct Schema {
    /// The fields in wire order.
    pub(super) fields: &'static [Field],
    /// Where the addresses are.
    pub(super) extent: Extent,
    /// Whether the brokers that it names are all there are.
    pub(super) is_complete_list: bool,
}

/// Where in a response the addresses are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// In front: `fields` ends behind the last address, and what follows it flows unread.
    Head,
    /// At the end, behind records: `fields` is complete. The body must end where it ends, or so
    /// shortly before that no address fits.
    Tail,
    /// Anywhere, in values of configuration keys: they are masked in their place, at unchanged
    /// length, while the response flows.
    InPlace,
}
