//! Replaces broker addresses in responses by the addresses that Narrows advertises, and touches
//! nothing else.
//!
//! | response | versions | addresses |
//! |---|---|---|
//! | Metadata (3) | 0–13 | `Brokers`, in front of the topics |
//! | FindCoordinator (10) | 0–6 | top level, from v4 an array |
//! | DescribeCluster (60) | 0–2 | `Brokers` |
//! | DescribeQuorum (55) | 2 | `Nodes[].Listeners`, emptied |
//! | Produce (0) | 10–13 | `NodeEndpoints`, tag 0 |
//! | Fetch (1) | 16–18 | `NodeEndpoints`, tag 0, behind the records |
//! | ShareFetch (78), ShareAcknowledge (79) | 0–2 | `NodeEndpoints`, last field |
//! | DescribeConfigs (32) | 0–4 | values of keys such as `listeners`, masked ([`mask`](super::mask)) |
//!
//! A response with its addresses in front ([`Extent::Head`]) is held up to the last address,
//! edited, and its rest flows. One with its addresses at the end ([`Extent::Tail`]) is held whole
//! when it is small, and edited exactly; a larger one flows, so that its length has been sent when
//! its tail arrives: the tail is then edited at unchanged length ([`pad`]). Which of the two
//! depends on the frame's length alone, never on how it arrived. One whose values are masked
//! ([`Extent::InPlace`]) flows when it is larger, too, whatever its size.

mod pad;
mod splice;
#[cfg(test)]
mod tests;

use super::mask::Masked;
use super::schema::{Extent, Schema};
use super::table::{Api, ResponseReading};
use super::walk::{self, Endpoint, Marks, RESPONSE_PREFIX_BYTES, Walker};
use super::wire::Malformed;
use crate::types::{AdvertisedAddress, NodeId};
use splice::Edits;
use std::borrow::Cow;
use std::collections::HashSet;

/// What an address has room for, its group's or topic's name included, where many are held.
const HELD_BYTES_PER_ADDRESS: usize = 64;

/// Frames up to this size are held until they are whole, and so edited exactly. Smaller frames
/// are not spliced anyway, so that holding them costs no copy; and a response that carries
/// addresses because a partition has moved is nearly always smaller.
pub const HELD_WHOLE_BYTES_MAX: usize = 16 * 1024;

/// Says what clients are told in a broker's place.
pub trait Advertise {
    /// The address for `node`; never the broker's own, for any node id.
    fn advertise(&self, node: NodeId) -> AdvertisedAddress;
}

/// A broker as a response names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBroker {
    /// Its node id.
    pub node: NodeId,
    /// Its host, as the broker advertises it.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What a response says about the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerList {
    /// Kafka's cluster id, if the response has it.
    pub cluster_id: Option<String>,
    /// The broker that takes what is for the controller, if the response says it: with KRaft any
    /// broker, drawn anew for each response.
    pub controller: Option<NodeId>,
    /// The brokers that it names.
    pub brokers: Vec<ListedBroker>,
    /// Whether these are all the brokers there are.
    pub(crate) is_complete: bool,
}

/// What is to be done with a response that has been looked at as far as needed.
#[derive(Debug)]
pub struct Edited {
    /// The bytes that take the place of the held ones; `None` when nothing changes.
    pub bytes: Option<Vec<u8>>,
    /// What the response says about the cluster.
    pub sighting: BrokerList,
}

/// One response on its way through.
#[derive(Debug)]
pub struct Rewrite {
    walker: Walker,
    schema: &'static Schema,
    frame_bytes: usize,
}

impl Rewrite {
    /// Begins with a response of `frame_bytes` (its length prefix not counted); `None` if nothing
    /// in it is rewritten.
    pub fn new(api: &Api, version: i16, frame_bytes: usize) -> Option<Self> {
        let schema = schema(api, version)?;
        let walker = Walker::new(schema, (version, api.is_flexible(version)), frame_bytes);
        Some(Self {
            walker,
            schema,
            frame_bytes,
        })
    }

    /// Edits a response that is there as a whole, `frame` with its length in front.
    pub(crate) fn edit_whole(
        mut self,
        frame: &[u8],
        advertise: &dyn Advertise,
    ) -> Result<Edited, Malformed> {
        let body = frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)?;
        let walked = PREFIX_BYTES + self.push(body)?;
        if !self.is_ready() {
            return Err(Malformed::TooLong);
        }
        let mut frame = Cow::Borrowed(frame);
        for Masked { range, with } in self.take_masked() {
            let value = frame.to_mut().get_mut(range).ok_or(Malformed::TooLong)?;
            value.fill(with);
        }
        let (held, rest) = frame.split_at(walked);
        let Edited { bytes, sighting } = self.finish(held, 0, advertise)?;
        let bytes = match (bytes, &frame) {
            (Some(mut bytes), _) => {
                bytes.extend_from_slice(rest);
                Some(bytes)
            }
            (None, Cow::Owned(masked)) => Some(masked.clone()),
            (None, Cow::Borrowed(_)) => None,
        };
        Ok(Edited { bytes, sighting })
    }

    /// The same for a session that holds so many bytes of one response: an address may take 64 of
    /// them on average.
    pub(crate) fn holding(mut self, bytes_max: usize) -> Self {
        self.walker
            .set_endpoints_max(bytes_max / HELD_BYTES_PER_ADDRESS);
        self
    }

    /// Whether a whole frame, its length prefix in front, can pass as it is: a quick look, which
    /// need not find out. A larger frame is not looked at twice: it flows as it arrives.
    pub fn passes(api: &Api, version: i16, frame: &[u8]) -> bool {
        frame.len() <= HELD_WHOLE_BYTES_MAX
            && api.is_flexible(version)
            && schema(api, version)
                .is_some_and(|schema| walk::has_no_address(schema, version, frame))
    }

    /// Takes the next bytes of the frame, from behind its correlation id on. Returns how many it
    /// looked at: fewer than given only when [`is_ready`](Self::is_ready).
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        self.walker.push(bytes)
    }

    /// Whether the held bytes can be edited now.
    pub fn is_ready(&self) -> bool {
        self.walker.is_done()
    }

    /// The offset in the frame, counted from its length prefix, from which on its bytes must be
    /// held back; everything before it may go out. `None` while nothing needs to be held.
    pub fn held_from(&self) -> Option<usize> {
        match self.schema.extent {
            Extent::Tail if self.frame_bytes > HELD_WHOLE_BYTES_MAX => self.walker.marks().tail,
            Extent::InPlace if self.frame_bytes > HELD_WHOLE_BYTES_MAX => None,
            Extent::Tail | Extent::Head | Extent::InPlace => Some(0),
        }
    }

    /// What is to be masked of the bytes that have been pushed since this was last asked, before
    /// any of them goes out.
    pub fn take_masked(&mut self) -> Vec<Masked> {
        self.walker.take_masked()
    }

    /// How many of the next bytes need not be pushed: records. See
    /// [`skip_passed`](Self::skip_passed).
    pub(crate) fn skippable(&self) -> usize {
        self.walker.skippable()
    }

    /// The largest run of bytes so far that need not be pushed.
    pub(crate) fn largest_run(&self) -> usize {
        self.walker.largest_run()
    }

    /// So many of the [`skippable`](Self::skippable) bytes have been passed on without being
    /// pushed.
    pub(crate) fn skip_passed(&mut self, count: usize) {
        self.walker.skip_passed(count);
    }

    /// Edits what is held: the frame's bytes from `from` (see [`held_from`](Self::held_from)) to
    /// where the walk ended.
    pub fn finish(
        &self,
        held: &[u8],
        from: usize,
        advertise: &dyn Advertise,
    ) -> Result<Edited, Malformed> {
        let marks = self.walker.marks();
        let text = |range: &std::ops::Range<usize>| {
            held.get(range.start - from..range.end - from)
                .unwrap_or(&[])
        };
        let sighting = self.sighting(marks, &text);
        let mut edits = Edits::new(held, from, self.walker.is_flexible());
        for range in &marks.blanked {
            edits.blank(range);
        }
        // Also a node that has no address here gets one, which leads nowhere: whatever is left as
        // it is, a client dials.
        for endpoint in marks
            .endpoints
            .iter()
            .filter(|endpoint| !is_marker(endpoint))
        {
            edits.address(endpoint, &advertise.advertise(endpoint.node));
        }
        // Last, since a tagged field's size counts the edits inside of it.
        for tagged in &marks.tagged {
            edits.resize(tagged);
        }
        let bytes = edits.apply().map(|mut edited| {
            // The frame's length has been sent: the tail must not change its own.
            if from > 0 {
                return pad::to_length(&edited, held, from, marks).ok_or(Malformed::TagSize);
            }
            set_length(&mut edited, self.frame_bytes, held.len());
            Ok(edited)
        });
        let bytes = bytes.transpose()?;
        Ok(Edited { bytes, sighting })
    }

    fn sighting<'a>(
        &self,
        marks: &Marks,
        text: &impl Fn(&std::ops::Range<usize>) -> &'a [u8],
    ) -> BrokerList {
        let brokers = marks
            .endpoints
            .iter()
            .filter(|endpoint| endpoint.node.0 >= 0);
        // Many groups have one coordinator: it would be learnt once for each, with the map locked.
        let mut seen = HashSet::new();
        let brokers = brokers.filter(|endpoint| {
            seen.insert((endpoint.node, text(&endpoint.host_text), endpoint.port))
        });
        let brokers = brokers.filter_map(|endpoint| {
            let host = std::str::from_utf8(text(&endpoint.host_text))
                .ok()
                .filter(|host| !host.is_empty())?;
            // A broker says what it likes: what can't be dialled is not learnt, and is still
            // replaced.
            let port = u16::try_from(endpoint.port).ok().filter(|port| *port > 0)?;
            Some(ListedBroker {
                node: endpoint.node,
                host: host.to_owned(),
                port,
            })
        });
        let cluster_id = marks
            .cluster_id
            .as_ref()
            .and_then(|range| std::str::from_utf8(text(range)).ok());
        BrokerList {
            brokers: brokers.collect(),
            cluster_id: cluster_id.map(str::to_owned),
            controller: marks.controller.filter(|node| node.0 >= 0),
            is_complete: self.schema.is_complete_list,
        }
    }
}

/// The schema by which a response is rewritten, if it is.
fn schema(api: &Api, version: i16) -> Option<&'static Schema> {
    match api.response(version) {
        ResponseReading::BySchema(schema) => Some(schema),
        ResponseReading::Unread | ResponseReading::Whole => None,
    }
}

/// "No node" is written as id −1 with an empty host; the error stands beside it, and clients look
/// at that.
fn is_marker(endpoint: &Endpoint) -> bool {
    endpoint.node.0 < 0 && endpoint.host_text.is_empty()
}

/// The length prefix, after the held part has changed its size.
fn set_length(edited: &mut [u8], frame_bytes: usize, held_bytes: usize) {
    let length = frame_bytes + edited.len() - held_bytes;
    if let (Some(prefix), Ok(length)) = (edited.get_mut(..4), i32::try_from(length)) {
        prefix.copy_from_slice(&length.to_be_bytes());
    }
}

/// The bytes that are there before any walk begins.
pub const PREFIX_BYTES: usize = RESPONSE_PREFIX_BYTES;
