//! The one response to a request of which several brokers had a piece each: what stands in it, key
//! by key. [`put`] writes it.

mod all;
mod put;

use super::index::{Index, TopicKey, Until};
use super::layout::{Errors, Form, Layout, Role};
use super::{Failure, Outcome, Piece};
use crate::protocol::wire::{Malformed, Reader, Unread};
use std::collections::{BTreeMap, BTreeSet};

/// What came of a piece, read.
pub(super) struct Answer<'a> {
    pub(super) body: &'a [u8],
    pub(super) index: Index<'a>,
}

impl<'a> Answer<'a> {
    pub(super) fn read(body: &'a [u8], layout: &Layout, form: Form) -> Result<Self, Malformed> {
        let index = Index::read(Reader::whole(body), layout.response, form, Until::End)
            .map_err(Unread::in_whole)?;
        Ok(Self { body, index })
    }

    /// What went wrong with the whole; 0 if nothing.
    fn error(&self, role: Role) -> i16 {
        let error = self.index.number(role, self.body).unwrap_or_default();
        error as i16
    }
}

/// What stands in the response in an element's place.
#[derive(Clone, Copy, Debug)]
enum Place<'a> {
    /// What a broker has said.
    Said(&'a [u8]),
    /// An element of which nothing is known but its error.
    Error(i16),
}

/// A response about to be written.
#[derive(Default)]
pub(super) struct Response<'a> {
    throttle_ms: i32,
    error: i16,
    fetch_error: i16,
    topics: Vec<MergedTopic<'a>>,
    items: Vec<MergedItem<'a>>,
    union: BTreeSet<&'a [u8]>,
    tags: BTreeMap<u32, Tag<'a>>,
}

const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;

struct MergedTopic<'a> {
    key: TopicKey<'a>,
    partitions: Vec<(i32, Place<'a>)>,
    /// What stands behind the partitions.
    rest: Option<&'a [u8]>,
}

struct MergedItem<'a> {
    kind: i8,
    name: &'a [u8],
    place: Place<'a>,
    /// What is put in front of the name, and where in the element that stands.
    prefix: Option<(String, std::ops::Range<usize>)>,
}

enum Tag<'a> {
    Unread(&'a [u8]),
    /// Endpoints by node id.
    Endpoints(BTreeMap<i32, &'a [u8]>),
}

/// The code for what has no answer.
pub(super) fn code(errors: Errors, failure: Failure) -> i16 {
    match failure {
        Failure::NoBroker => errors.no_broker,
        Failure::NotSent => errors.not_sent,
        Failure::Unanswered => errors.unanswered,
    }
}

/// What is said of a piece's keys unless its answer says something else.
fn fallback(errors: Errors, outcome: Outcome<'_>) -> i16 {
    match outcome {
        Outcome::NothingYet => 0,
        // A broker that leaves a key out has not said what it did about it.
        Outcome::Answered(_) => errors.unanswered,
        Outcome::Failed(failure) => code(errors, failure),
    }
}

/// Which piece a key belongs to, and what is said of it.
type Slot<'a> = (Option<usize>, Place<'a>);

/// What is said of each of so many keys as long as no answer has been looked at.
fn slots<'a>(keys: usize, pieces: &[Piece<'_>], errors: Errors) -> Vec<Slot<'a>> {
    let mut slots = vec![(None, Place::Error(errors.not_sent)); keys];
    for (number, piece) in pieces.iter().enumerate() {
        let place = Place::Error(fallback(errors, piece.outcome));
        for key in piece.keys {
            if let Some(slot) = slots.get_mut(*key) {
                *slot = (Some(number), place);
            }
        }
    }
    slots
}

impl<'a> Response<'a> {
    /// A response that says of every key of a request the same error.
    pub(super) fn of_error(layout: &Layout, form: Form, request: &Index<'a>, error: i16) -> Self {
        let mut response = Self::default();
        if layout.has_error(form.version) {
            response.error = error;
            return response;
        }
        let places = vec![(None, Place::Error(error)); request.partitions.len()];
        response.topics = by_topic(request, &Asked::of(request), &places);
        let places = vec![(None, Place::Error(error)); request.items.len()];
        response.items = by_item(request, &places);
        response
    }

    /// The response in which every partition of a request stands once.
    pub(super) fn of_partitions(
        errors: Errors,
        request: &Index<'a>,
        pieces: &[Piece<'_>],
        answers: &[Option<Answer<'a>>],
    ) -> Self {
        let mut slots = slots(request.partitions.len(), pieces, errors);
        let asked = Asked::of(request);
        let mut rests = vec![None; asked.topics.len()];
        for (piece, answer) in numbered(answers) {
            // Its partitions are not there: what the whole lacks, a client would take for lost.
            let is_wrong = answer.error(Role::FetchError) != 0;
            let topics = asked.topics_of(&answer.index);
            for said in answer.index.partitions.iter().filter(|_| !is_wrong) {
                let Some(topic) = topics.get(said.topic as usize).copied().flatten() else {
                    continue;
                };
                let key = asked.first(topic, said.partition);
                let slot = key.and_then(|key| slots.get_mut(key));
                // No broker speaks for another one's partitions.
                let Some(slot) = slot.filter(|(of, _)| *of == Some(piece)) else {
                    continue;
                };
                let bytes = answer.body.get(said.at.clone()).unwrap_or_default();
                slot.1 = Place::Said(bytes);
                let in_answer = answer.index.topics.get(said.topic as usize);
                if let (Some(rest @ None), Some(of)) = (rests.get_mut(topic), in_answer) {
                    *rest = answer.body.get(of.array.end..of.at.end);
                }
            }
        }
        let mut response = Self::default();
        response.take_rest(answers);
        response.topics = by_topic(request, &asked, &slots);
        for (topic, rest) in response.topics.iter_mut().zip(rests) {
            topic.rest = rest;
        }
        response
    }

    /// The response in which every group, transactional id or resource of a request stands once.
    pub(super) fn of_items(
        layout: &Layout,
        form: Form,
        request: &Index<'a>,
        pieces: &[Piece<'_>],
        answers: &[Option<Answer<'a>>],
    ) -> Self {
        let mut response = Self::default();
        response.take_rest(answers);
        let failed = pieces.iter().find_map(|piece| match piece.outcome {
            Outcome::Failed(failure) => Some(failure),
            _ => None,
        });
        let mut slots = slots(request.items.len(), pieces, layout.errors);
        let mut keys = BTreeMap::new();
        for (key, item) in request.items.iter().enumerate() {
            keys.entry((item.kind, item.name)).or_insert(key);
        }
        for (piece, answer) in numbered(answers) {
            for said in &answer.index.items {
                let key = keys.get(&(said.kind, said.name));
                let slot = key.and_then(|key| slots.get_mut(*key));
                if let Some(slot) = slot.filter(|(of, _)| *of == Some(piece)) {
                    let bytes = answer.body.get(said.at.clone()).unwrap_or_default();
                    slot.1 = Place::Said(bytes);
                }
            }
        }
        // AddPartitionsToTxn alone has an error for the whole, instead of its items.
        if layout.has_error(form.version) {
            let failed = failed.map(|failure| code(layout.errors, failure));
            response.error = error_of(answers).or(failed).unwrap_or_default();
        }
        if response.error == 0 {
            response.items = by_item(request, &slots);
        }
        response
    }

    /// The answer to a Fetch of a session that no longer is.
    pub(super) fn of_unknown_session() -> Self {
        Self {
            fetch_error: FETCH_SESSION_ID_NOT_FOUND,
            ..Self::default()
        }
    }

    /// What brokers say beside keys: the longest throttle, and tagged fields.
    fn take_rest(&mut self, answers: &[Option<Answer<'a>>]) {
        for (_, answer) in numbered(answers) {
            let throttle = answer.index.number(Role::Throttle, answer.body);
            self.throttle_ms = self.throttle_ms.max(throttle.unwrap_or_default());
            self.union.extend(&answer.index.union);
            for (tag, value) in &answer.index.tags {
                self.tags.entry(*tag).or_insert(Tag::Unread(value));
            }
        }
    }
}

/// The answers, each with the number of its piece.
fn numbered<'r, 'a>(
    answers: &'r [Option<Answer<'a>>],
) -> impl Iterator<Item = (usize, &'r Answer<'a>)> {
    let answers = answers.iter().enumerate();
    answers.filter_map(|(piece, answer)| answer.as_ref().map(|answer| (piece, answer)))
}

/// The first error of a whole response.
fn error_of(answers: &[Option<Answer<'_>>]) -> Option<i16> {
    let mut errors = numbered(answers).map(|(_, answer)| answer.error(Role::Error));
    errors.find(|error| *error != 0)
}

/// The partitions that a request asks for, by numbers of their topics.
struct Asked<'a> {
    /// The different topics, in the order of the partitions.
    topics: Vec<TopicKey<'a>>,
    numbers: BTreeMap<TopicKey<'a>, usize>,
    /// Topic, partition and position, ascending, of each partition where it stands first.
    firsts: Vec<(usize, i32, usize)>,
}

impl<'a> Asked<'a> {
    fn of(request: &Index<'a>) -> Self {
        let mut asked = Self {
            topics: Vec::new(),
            numbers: BTreeMap::new(),
            firsts: Vec::with_capacity(request.partitions.len()),
        };
        // A topic's partitions stand side by side.
        let runs = request.partitions.chunk_by(|a, b| a.topic == b.topic);
        let mut position = 0;
        for run in runs {
            let topic = run.first().map(|partition| partition.topic as usize);
            let Some(topic) = topic.and_then(|topic| request.topics.get(topic)) else {
                continue;
            };
            let topics = &mut asked.topics;
            let number = *asked.numbers.entry(topic.key).or_insert_with(|| {
                topics.push(topic.key);
                topics.len() - 1
            });
            for partition in run {
                asked.firsts.push((number, partition.partition, position));
                position += 1;
            }
        }
        asked.firsts.sort_unstable();
        asked
            .firsts
            .dedup_by_key(|(topic, partition, _)| (*topic, *partition));
        asked
    }

    /// The numbers of another message's topics.
    fn topics_of(&self, other: &Index<'_>) -> Vec<Option<usize>> {
        let topics = other.topics.iter();
        topics
            .map(|topic| self.numbers.get(&topic.key).copied())
            .collect()
    }

    /// Where a partition stands first.
    fn first(&self, topic: usize, partition: i32) -> Option<usize> {
        let key = |(topic, partition, _): &(usize, i32, usize)| (*topic, *partition);
        let found = self
            .firsts
            .binary_search_by_key(&(topic, partition), key)
            .ok()?;
        self.firsts.get(found).map(|(_, _, position)| *position)
    }
}

/// The partitions of a request, each once, by topic, with what is said of them.
fn by_topic<'a>(
    request: &Index<'a>,
    asked: &Asked<'a>,
    slots: &[Slot<'a>],
) -> Vec<MergedTopic<'a>> {
    let of_key = |key: &TopicKey<'a>| MergedTopic {
        key: *key,
        partitions: Vec::new(),
        rest: None,
    };
    let mut merged: Vec<_> = asked.topics.iter().map(of_key).collect();
    let numbers = asked.topics_of(request);
    for (position, (partition, (_, place))) in request.partitions.iter().zip(slots).enumerate() {
        let Some(topic) = numbers.get(partition.topic as usize).copied().flatten() else {
            continue;
        };
        let is_first = asked.first(topic, partition.partition) == Some(position);
        if let Some(topic) = merged.get_mut(topic).filter(|_| is_first) {
            topic.partitions.push((partition.partition, *place));
        }
    }
    merged
}

/// The items of a request, each once, with what is said of them.
fn by_item<'a>(request: &Index<'a>, slots: &[Slot<'a>]) -> Vec<MergedItem<'a>> {
    let mut seen = BTreeSet::new();
    let items = request.items.iter().zip(slots);
    let once = items.filter(|(item, _)| seen.insert((item.kind, item.name)));
    once.map(|(item, (_, place))| MergedItem {
        kind: item.kind,
        name: item.name,
        place: *place,
        prefix: None,
    })
    .collect()
}
