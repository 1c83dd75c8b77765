//! One request for several brokers: what a request asks of which broker, its split into a piece for
//! each, and the merge of their answers into the one that the client waits for.
//!
//! A client of the scheme `single` may put into one request what several brokers must serve: the
//! partitions of several leaders, the groups of several coordinators, the settings of named brokers.
//! [`Request::needs`] lists what it asks for, key by key; whoever knows the cluster says which key
//! goes to which piece; [`Request::split`] writes the pieces, and [`Request::merge`] one response in
//! which every key of the request stands exactly once, in the request's order, with what its broker
//! answered or the error that says that it could not be asked.
//!
//! Node ids are the cluster's own, and every piece is of the request's version, as the answers are.
//! What is not understood stays as it is: records are stepped over, fields behind the keys are kept
//! byte for byte. a table of layouts says where in each API's messages the keys stand; nothing else here
//! knows an API by its number.
//!
//! Nothing here asks a broker, waits, or retries; nothing panics on any bytes.

use crate::protocol::table::Api;
use crate::protocol::wire::{Malformed, Unread};
use crate::types::NodeId;
use std::sync::Arc;

/// A topic as requests name it: by its name, or by its id where the version does (Produce v13,
/// Fetch v13, …).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TopicRef {
    /// Its name. What is not UTF-8 is replaced, as Kafka does.
    Name(Arc<str>),
    /// Its id.
    Id([u8; 16]),
}

/// A partition as requests name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionRef {
    /// Its topic.
    pub topic: TopicRef,
    /// Its index, any number that a client sent.
    pub partition: i32,
}

/// What a coordinator coordinates: the key types of FindCoordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CoordinatorKind {
    /// Groups of any type, by group id.
    Group,
    /// Transactions, by transactional id.
    Transaction,
}

/// What a request needs of brokers. Keys are in the request's order, and stand as often as there:
/// their positions are what [`Request::split`] and [`Request::merge`] count in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any broker can answer it, or the connection's own.
    Any,
    /// The leaders of these partitions.
    Leaders(Vec<PartitionRef>),
    /// The coordinators of these group ids or transactional ids.
    Coordinators(CoordinatorKind, Vec<Arc<str>>),
    /// The named brokers; `None` is what any broker can answer.
    Nodes(Vec<Option<NodeId>>),
    /// Every broker: each gets the whole request, and there are no keys.
    All,
    /// The one broker that keeps the fetch session that a Fetch continues (KIP-227). Without that
    /// broker: [`Request::unknown_session`].
    FetchSession,
}

/// The first thing that a request needs of one broker only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstNeed {
    /// Nothing: any broker will do.
    Any,
    /// The leader of this partition.
    Leader(PartitionRef),
    /// The coordinator of this group id or transactional id.
    Coordinator(CoordinatorKind, Arc<str>),
    /// This broker.
    Node(NodeId),
    /// Every broker.
    All,
}

/// A whole request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its API's row.
    pub api: &'static Api,
    /// Its version, one that the row has.
    pub version: i16,
    /// The frame without its length.
    pub frame: &'a [u8],
    /// Where in the frame the body begins ([`RequestHeader`](super::header::RequestHeader)).
    pub body_at: usize,
}

/// A piece of a request and what came of it.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The broker that it was for, if one was known.
    pub node: Option<NodeId>,
    /// The positions of its keys in what [`Request::needs`] gave; unused where every broker is asked.
    pub keys: &'a [usize],
    /// What came of it.
    pub outcome: Outcome<'a>,
}

/// What came of a piece.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// The body of the broker's response, behind the response header.
    Answered(&'a [u8]),
    /// A Fetch that is not waited for: its partitions are answered without error and records.
    NothingYet,
    /// There is no answer.
    Failed(Failure),
}

/// Why there is no answer to a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Nobody knows which broker to ask.
    NoBroker,
    /// It surely was not sent.
    NotSent,
    /// It was sent, and may have been carried out.
    Unanswered,
}

/// The first thing that a request needs of one broker only, from the beginning of its frame: `bytes`
/// of `frame_bytes` have arrived, both without the length in front. [`Unread::Incomplete`] says that
/// more are needed; with a whole frame it is never said.
pub fn first_need(
    _api: &'static Api,
    _version: i16,
    _bytes: &[u8],
    _frame_bytes: usize,
    _body_at: usize,
) -> Result<FirstNeed, Unread> {
    Ok(FirstNeed::Any)
}

impl Request<'_> {
    /// What it needs of brokers.
    pub fn needs(&self) -> Result<Needs, Malformed> {
        Ok(Needs::Any)
    }

    /// Its pieces, each a frame with its length in front. Key `i` goes to piece `assignment[i]`, and
    /// to none if there is no such piece. Everything else is in every piece, but for what a Fetch
    /// says of sessions: its pieces have none (session id 0, epoch −1), and a share of the bytes
    /// that the client can take.
    pub fn split(&self, _assignment: &[usize], _pieces: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        Ok(Vec::new())
    }

    /// The response to the client, a frame with its length in front: every key once, in the
    /// request's order. A key that no piece has, and one that its broker's answer lacks, count as
    /// failed. Where every broker is asked, one that fails fails the whole response.
    pub fn merge(&self, _pieces: &[Piece<'_>]) -> Result<Vec<u8>, Malformed> {
        Ok(Vec::new())
    }

    /// The response that says of every key that it could not be asked for: a frame with its length
    /// in front.
    pub fn failed(&self, _why: Failure) -> Result<Vec<u8>, Malformed> {
        Ok(Vec::new())
    }

    /// The response to a Fetch that continues a session which no longer is
    /// (FETCH_SESSION_ID_NOT_FOUND): the client begins anew. A frame with its length in front.
    pub fn unknown_session(&self) -> Result<Vec<u8>, Malformed> {
        Ok(Vec::new())
    }
}
