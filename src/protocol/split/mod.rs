//! One request for several brokers: what a request asks of which broker, its split into a piece for
//! each, and the merge of their answers into the one that the client waits for.
//!
//! A client of the scheme `single` may put into one request what several brokers must serve: the
//! partitions of several leaders, the groups of several coordinators, the settings of named
//! brokers. [`Request::needs`] lists what it asks for, key by key; whoever knows the cluster says
//! which key goes to which piece; [`Request::split`] writes the pieces, and [`Request::merge`] one
//! response in which every key of the request stands exactly once, in the request's order, with
//! what its broker answered or the error that says that it could not be asked.
//!
//! Node ids are the cluster's own, and every piece is of the request's version, as the answers are.
//! What is not understood stays as it is: records are stepped over, fields behind the keys are kept
//! byte for byte. [`layouts`] say where in each API's messages the keys stand; nothing else here
//! knows an API by its number.
//!
//! Nothing here asks a broker, waits, or retries; nothing panics on any bytes.

mod index;
mod layout;
mod layouts;
mod merge;
mod pieces;
mod rack;
mod refusals;
mod sequence;
mod waits;

pub(crate) use rack::Replacement;
pub(crate) use refusals::{Refused, refusals};
pub(crate) use sequence::Sequence;
pub(crate) use waits::{Fetched, Waits, fetched};

use crate::protocol::table::{Api, Route};
use crate::protocol::wire::{Malformed, Reader, Unread};
use crate::types::NodeId;
use index::{Index, Item, TopicKey, Until};
use layout::{Form, Layout, Role};
use merge::{Answer, Response};
use pieces::with_length;
use std::ops::Range;
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
    /// The positions of its keys in what [`Request::needs`] gave; unused where every broker is
    /// asked.
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

/// The first thing that a request needs of one broker only, from the beginning of its frame:
/// `bytes` of `frame_bytes` have arrived, both without the length in front. [`Unread::Incomplete`]
/// says that more are needed; with a whole frame it is never said.
pub fn first_need(
    api: &'static Api,
    version: i16,
    bytes: &[u8],
    frame_bytes: usize,
    body_at: usize,
) -> Result<FirstNeed, Unread> {
    let Some((keys, layout)) = keys(api) else {
        return Ok(FirstNeed::Any);
    };
    let until = match keys {
        Keys::OfAll => return Ok(FirstNeed::All),
        Keys::Resources => Until::FirstNode,
        Keys::Partitions | Keys::Coordinated(_) => Until::FirstKey,
    };
    let mut reader = Reader::new(bytes, frame_bytes);
    reader.take(body_at)?;
    let index = Index::read(reader, layout.request, form(api, version), until)?;
    Ok(match keys {
        Keys::Partitions => {
            let first = index.partitions.first().zip(index.topics.last());
            first.map_or(FirstNeed::Any, |(partition, topic)| {
                FirstNeed::Leader(PartitionRef {
                    topic: topic_ref(topic.key),
                    partition: partition.partition,
                })
            })
        }
        Keys::Coordinated(kind) => index.items.first().map_or(FirstNeed::Any, |item| {
            FirstNeed::Coordinator(kind, text(item.name))
        }),
        Keys::Resources => {
            let node = index.items.last().and_then(Item::node);
            node.map_or(FirstNeed::Any, FirstNeed::Node)
        }
        Keys::OfAll => FirstNeed::All,
    })
}

impl Request<'_> {
    /// What it needs of brokers.
    pub fn needs(&self) -> Result<Needs, Malformed> {
        Ok(self.needs_and_sequences()?.0)
    }

    /// The same, and of each key of a Produce its number; of any other request none.
    pub(crate) fn needs_and_sequences(&self) -> Result<(Needs, Vec<Option<Sequence>>), Malformed> {
        let Some((keys, layout)) = keys(self.api) else {
            return Ok((Needs::Any, Vec::new()));
        };
        if keys == Keys::OfAll {
            return Ok((Needs::All, Vec::new()));
        }
        let index = self.index(layout)?;
        Ok((self.needs_in(keys, &index), self.sequences(&index)))
    }

    fn needs_in(&self, keys: Keys, index: &Index<'_>) -> Needs {
        let epoch = index.number(Role::SessionEpoch, self.frame);
        if epoch.is_some_and(|epoch| epoch > 0) {
            return Needs::FetchSession;
        }
        match keys {
            Keys::Partitions if index.partitions.is_empty() => Needs::Any,
            Keys::Partitions => Needs::Leaders(partitions(index)),
            _ if index.items.is_empty() => Needs::Any,
            Keys::Resources => Needs::Nodes(index.items.iter().map(Item::node).collect()),
            Keys::Coordinated(kind) => {
                let names = index.items.iter().map(|item| text(item.name));
                Needs::Coordinators(kind, names.collect())
            }
            Keys::OfAll => Needs::All,
        }
    }

    /// Its pieces, each a frame with its length in front. Key `i` goes to piece `assignment[i]`,
    /// and to none if there is no such piece. Everything else is in every piece, but for what a
    /// Fetch says of sessions and of its rack: its pieces have none (session id 0, epoch −1; the
    /// rack is [cleared](Self::rack)), and a share of the bytes that the client can take.
    ///
    /// Where every broker is asked, and where there is one key, all pieces are the request.
    ///
    /// `Err` for what has no keys, or is one broker's as a whole: ShareFetch and ShareAcknowledge.
    pub fn split(&self, assignment: &[usize], pieces: usize) -> Result<Vec<Vec<u8>>, Malformed> {
        let (keys, layout) = keys(self.api).ok_or(Malformed::NotSplittable)?;
        let index = self.index(layout)?;
        if keys == Keys::OfAll || keys.is_of_one(&index) {
            let whole = || with_length([&[0; 4], self.frame].concat());
            return Ok((0..pieces).map(|_| whole()).collect());
        }
        if !layout.is_splittable() {
            return Err(Malformed::NotSplittable);
        }
        let mut chosen = vec![Vec::new(); pieces];
        let count = index.items.len().max(index.partitions.len());
        for (key, piece) in assignment.iter().enumerate().take(count) {
            if let Some(keys) = chosen.get_mut(*piece) {
                keys.push(key);
            }
        }
        Ok(pieces::pieces(self, &index, self.form(), &chosen))
    }

    /// The response to the client, a frame with its length in front: every key once, in the
    /// request's order. A key that no piece has counts as not sent, and one that its broker's
    /// answer lacks as unanswered. Where every broker is asked, one that fails fails the whole
    /// response.
    ///
    /// `Err` if an answer can't be read: it is no broker's, or the broker's fault.
    pub fn merge(&self, pieces: &[Piece<'_>]) -> Result<Vec<u8>, Malformed> {
        let (keys, layout) = keys(self.api).ok_or(Malformed::NotSplittable)?;
        let index = self.index(layout)?;
        if keys.is_of_one(&index) {
            return match pieces.first().map(|piece| piece.outcome) {
                Some(Outcome::Answered(body)) => Ok(self.answer(|out| out.extend(body))),
                Some(Outcome::Failed(why)) => self.failed(why),
                Some(Outcome::NothingYet) | None => self.failed(Failure::NotSent),
            };
        }
        let form = self.form();
        let mut answers = Vec::with_capacity(pieces.len());
        for piece in pieces {
            answers.push(match piece.outcome {
                Outcome::Answered(body) => Some(Answer::read(body, layout, form)?),
                Outcome::NothingYet | Outcome::Failed(_) => None,
            });
        }
        let errors = layout.errors;
        let mut response = match keys {
            Keys::OfAll => Response::of_all(layout, form, &index, pieces, &answers),
            Keys::Partitions => Response::of_partitions(errors, &index, pieces, &answers),
            Keys::Coordinated(_) | Keys::Resources => {
                Response::of_items(layout, form, &index, pieces, &answers)
            }
        };
        response.join_endpoints(layout, form, &answers)?;
        Ok(self.answer(|out| response.put(out, layout, form)))
    }

    /// The response that says of every key that there is no answer: a frame with its length in
    /// front.
    ///
    /// `Err` for what has no keys: any broker can be asked.
    pub fn failed(&self, why: Failure) -> Result<Vec<u8>, Malformed> {
        let (keys, layout) = keys(self.api).ok_or(Malformed::NotSplittable)?;
        let index = self.index(layout)?;
        let error = merge::code(layout.errors, why);
        let form = self.form();
        let response = match keys {
            Keys::OfAll => Response::of_failed_list(layout, form, &index, error),
            _ => Response::of_error(layout, form, &index, error),
        };
        Ok(self.answer(|out| response.put(out, layout, form)))
    }

    /// The response to a Fetch that continues a session which no longer is
    /// (FETCH_SESSION_ID_NOT_FOUND): the client begins anew. A frame with its length in front.
    pub(crate) fn unknown_session(&self) -> Result<Vec<u8>, Malformed> {
        let (_, layout) = keys(self.api).ok_or(Malformed::NotSplittable)?;
        let response = Response::of_unknown_session();
        Ok(self.answer(|out| response.put(out, layout, self.form())))
    }

    fn form(&self) -> Form {
        form(self.api, self.version)
    }

    fn index(&self, layout: &'static Layout) -> Result<Index<'_>, Malformed> {
        let mut reader = Reader::whole(self.frame);
        let read = reader
            .take(self.body_at)
            .and_then(|_| Index::read(reader, layout.request, self.form(), Until::Listed));
        read.map_err(Unread::in_whole)
    }

    /// A response's frame with its length in front, whose body `put` appends.
    fn answer(&self, put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(self.frame.get(CORRELATION_ID).unwrap_or(&[0; 4]));
        let headers = self.api.header_versions(self.version);
        if headers.is_some_and(|headers| headers.response >= 1) {
            out.push(0); // no header tags
        }
        put(&mut out);
        with_length(out)
    }
}

/// Where in a request's frame it stands, behind api key and version.
const CORRELATION_ID: Range<usize> = 4..8;

/// What keys an API's requests have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    Partitions,
    Coordinated(CoordinatorKind),
    Resources,
    /// None: every broker is asked for all.
    OfAll,
}

impl Keys {
    /// Whether the request is one broker's as a whole: it is about one group or transactional id,
    /// or names none.
    fn is_of_one(self, index: &Index<'_>) -> bool {
        let is_listed = matches!(self, Self::Coordinated(_) | Self::Resources);
        is_listed && (index.items.is_empty() || index.is_of_one())
    }
}

/// The keys of an API and where they stand; `None` if any broker can answer it.
fn keys(api: &Api) -> Option<(Keys, &'static Layout)> {
    let keys = match api.route {
        Route::Any | Route::Connection | Route::None => return None,
        Route::PartitionLeader => Keys::Partitions,
        Route::GroupCoordinator | Route::GroupCoordinators => {
            Keys::Coordinated(CoordinatorKind::Group)
        }
        Route::TransactionCoordinator | Route::TransactionCoordinators => {
            Keys::Coordinated(CoordinatorKind::Transaction)
        }
        Route::Node => Keys::Resources,
        Route::All => Keys::OfAll,
    };
    Some((keys, layouts::layout(api.key)?))
}

/// Whether the requests of an API are of a share session: one broker has it, and with it all of
/// its requests.
pub(crate) fn is_of_share_session(api: &Api) -> bool {
    keys(api).is_some_and(|(keys, layout)| keys == Keys::Partitions && !layout.is_splittable())
}

fn form(api: &Api, version: i16) -> Form {
    Form {
        version,
        is_flexible: api.is_flexible(version),
    }
}

/// The partitions of a request; those of a topic share its name.
fn partitions(index: &Index<'_>) -> Vec<PartitionRef> {
    let topics: Vec<_> = index
        .topics
        .iter()
        .map(|topic| topic_ref(topic.key))
        .collect();
    let of = |partition: &index::Partition| {
        let topic = topics.get(partition.topic as usize)?.clone();
        let partition = partition.partition;
        Some(PartitionRef { topic, partition })
    };
    index.partitions.iter().filter_map(of).collect()
}

fn topic_ref(key: TopicKey<'_>) -> TopicRef {
    match key {
        TopicKey::Name(name) => TopicRef::Name(text(name)),
        TopicKey::Id(id) => TopicRef::Id(id),
    }
}

fn text(bytes: &[u8]) -> Arc<str> {
    String::from_utf8_lossy(bytes).into()
}

#[cfg(test)]
mod tests;
