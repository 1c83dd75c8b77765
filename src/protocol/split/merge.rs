//! Writes the one response to a request of which several brokers had a piece each.

use super::index::{Index, Item, TopicKey, Until};
use super::layout::{Errors, Field, Form, Kind, Layout, Role, put_count, put_string};
use super::{Failure, Outcome, Piece};
use crate::protocol::wire::{Malformed, Reader, Unread, put_varint, varint_bytes};
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

    /// The response of all brokers: what each has, once. If one fails, there is none.
    pub(super) fn of_all(
        layout: &Layout,
        form: Form,
        request: &Index<'a>,
        pieces: &[Piece<'_>],
        answers: &[Option<Answer<'a>>],
    ) -> Self {
        let failed = pieces.iter().find_map(|piece| match piece.outcome {
            Outcome::Failed(failure) => Some(code(layout.errors, failure)),
            Outcome::NothingYet => Some(layout.errors.unanswered),
            Outcome::Answered(_) => None,
        });
        let mut response = Self::default();
        if let Some(error) = error_of(answers).or(failed) {
            response = Self::of_failed_list(layout, form, request, error);
        } else {
            response.items = listed(pieces, answers);
            response.topics = weightiest(answers);
        }
        response.take_rest(answers);
        if response.error != 0 {
            response.union.clear();
        }
        response
    }

    /// What is said when one of all brokers has failed.
    pub(super) fn of_failed_list(
        layout: &Layout,
        form: Form,
        request: &Index<'a>,
        error: i16,
    ) -> Self {
        let mut response = Self::of_error(layout, form, request, error);
        // DescribeLogDirs before v3 has errors of directories alone: this one has no path.
        if response.error == 0 && response.topics.is_empty() {
            response.items.push(MergedItem {
                kind: 0,
                name: b"",
                place: Place::Error(error),
                prefix: None,
            });
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

    /// Gathers the endpoints of brokers that several answers name.
    pub(super) fn join_endpoints(
        &mut self,
        layout: &Layout,
        form: Form,
        answers: &[Option<Answer<'a>>],
    ) -> Result<(), Malformed> {
        let is_endpoints = |field: &&Field| field.role == Role::NodeEndpoints;
        let Some(field) = layout.response.iter().find(is_endpoints) else {
            return Ok(());
        };
        let Some(tag) = field.tag.filter(|_| field.is_in(form.version)) else {
            return Ok(());
        };
        let mut endpoints = BTreeMap::new();
        for (_, answer) in numbered(answers) {
            for (_, value) in answer.index.tags.iter().filter(|(of, _)| *of == tag) {
                read_endpoints(value, &mut endpoints).map_err(Unread::in_whole)?;
            }
        }
        if self.tags.contains_key(&tag) {
            self.tags.insert(tag, Tag::Endpoints(endpoints));
        }
        Ok(())
    }

    /// Appends the body.
    pub(super) fn put(&self, out: &mut Vec<u8>, layout: &Layout, form: Form) {
        let fields = layout.response.iter();
        for field in fields.filter(|field| field.is_plain_in(form.version)) {
            match (field.role, field.kind) {
                (Role::Throttle, _) => out.extend_from_slice(&self.throttle_ms.to_be_bytes()),
                (Role::Error, _) => out.extend_from_slice(&self.error.to_be_bytes()),
                (Role::FetchError, _) => out.extend_from_slice(&self.fetch_error.to_be_bytes()),
                (Role::Topics, Kind::Array(of)) => self.put_topics(out, of, form),
                (Role::Items, Kind::Array(of)) => self.put_items(out, of, form),
                (Role::Union, _) => {
                    put_count(out, self.union.len(), form.is_flexible);
                    for text in &self.union {
                        put_string(out, Some(text), form.is_flexible);
                    }
                }
                _ => field.put_default(out, form),
            }
        }
        if form.is_flexible {
            put_varint(out, self.tags.len() as u32);
            for (tag, value) in &self.tags {
                put_varint(out, *tag);
                put_tag(out, value);
            }
        }
    }

    fn put_topics(&self, out: &mut Vec<u8>, fields: &[Field], form: Form) {
        let inner = fields.iter().find_map(|field| match field.kind {
            Kind::Array(of) if field.role == Role::Partitions => Some(of),
            _ => None,
        });
        put_count(out, self.topics.len(), form.is_flexible);
        for topic in &self.topics {
            match topic.key {
                TopicKey::Name(name) => put_string(out, Some(name), form.is_flexible),
                TopicKey::Id(id) => out.extend_from_slice(&id),
            }
            put_count(out, topic.partitions.len(), form.is_flexible);
            for (partition, place) in &topic.partitions {
                match place {
                    Place::Said(bytes) => out.extend_from_slice(bytes),
                    Place::Error(error) => {
                        let said = |field: &Field, out: &mut Vec<u8>| match field.role {
                            Role::Partition => out.extend_from_slice(&partition.to_be_bytes()),
                            Role::Error => out.extend_from_slice(&error.to_be_bytes()),
                            _ => field.put_default(out, form),
                        };
                        put_element(out, inner.unwrap_or_default(), form, said);
                    }
                }
            }
            match topic.rest {
                Some(rest) => out.extend_from_slice(rest),
                None => form.put_no_tags(out),
            }
        }
    }

    fn put_items(&self, out: &mut Vec<u8>, fields: &[Field], form: Form) {
        put_count(out, self.items.len(), form.is_flexible);
        for item in &self.items {
            match (item.place, &item.prefix) {
                (Place::Said(bytes), None) => out.extend_from_slice(bytes),
                (Place::Said(bytes), Some((prefix, at))) => {
                    let name = [prefix.as_bytes(), item.name].concat();
                    out.extend_from_slice(bytes.get(..at.start).unwrap_or_default());
                    put_string(out, Some(&name), form.is_flexible);
                    out.extend_from_slice(bytes.get(at.end..).unwrap_or_default());
                }
                (Place::Error(error), _) => {
                    let said = |field: &Field, out: &mut Vec<u8>| match field.role {
                        Role::Name | Role::Path => {
                            put_string(out, Some(item.name), form.is_flexible)
                        }
                        Role::ResourceType => out.extend_from_slice(&item.kind.to_be_bytes()),
                        Role::Error => out.extend_from_slice(&error.to_be_bytes()),
                        _ => field.put_default(out, form),
                    };
                    put_element(out, fields, form, said);
                }
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

/// What all brokers list: a group that moves is told by two, and stands there once. Directories of
/// brokers are different ones under equal paths: `broker-2:/data`.
fn listed<'a>(pieces: &[Piece<'_>], answers: &[Option<Answer<'a>>]) -> Vec<MergedItem<'a>> {
    let mut seen = BTreeSet::new();
    let mut listed = Vec::new();
    for (piece, answer) in numbered(answers) {
        let node = pieces.get(piece).and_then(|piece| piece.node);
        for said in &answer.index.items {
            let prefix = node
                .filter(|_| said.is_of_broker && said.name.len() < PATH_BYTES_MAX)
                .map(|node| (format!("broker-{node}:"), relative(said)));
            if prefix.is_some() || seen.insert((said.kind, said.name)) {
                listed.push(MergedItem {
                    kind: said.kind,
                    name: said.name,
                    place: Place::Said(answer.body.get(said.at.clone()).unwrap_or_default()),
                    prefix,
                });
            }
        }
    }
    listed
}

/// Longer than any path; shorter ones with a broker in front it still has an int16 length.
const PATH_BYTES_MAX: usize = 30_000;

/// Where in the element its name stands.
fn relative(item: &Item<'_>) -> std::ops::Range<usize> {
    let from = |at: usize| at.saturating_sub(item.at.start);
    from(item.name_at.start)..from(item.name_at.end)
}

/// AlterReplicaLogDirs, which every broker answers for every partition: one that has no replica says
/// so, which is no news if another one has it; one that failed outweighs one that did not.
fn weightiest<'a>(answers: &[Option<Answer<'a>>]) -> Vec<MergedTopic<'a>> {
    let mut topics = Vec::new();
    let mut numbers = BTreeMap::new();
    let mut weights = BTreeMap::new();
    for (_, answer) in numbered(answers) {
        for said in &answer.index.partitions {
            let Some(topic) = answer.index.topics.get(said.topic as usize) else {
                continue;
            };
            let number = *numbers.entry(topic.key).or_insert_with(|| {
                topics.push(MergedTopic {
                    key: topic.key,
                    partitions: Vec::new(),
                    rest: answer.body.get(topic.array.end..topic.at.end),
                });
                topics.len() - 1
            });
            let Some(MergedTopic { partitions, .. }) = topics.get_mut(number) else {
                continue;
            };
            let bytes = answer.body.get(said.at.clone()).unwrap_or_default();
            let next = (partitions.len(), weight(said.error));
            let heaviest = weights.entry((number, said.partition)).or_insert(next);
            match partitions.get_mut(heaviest.0) {
                None => partitions.push((said.partition, Place::Said(bytes))),
                Some(known) if weight(said.error) > heaviest.1 => {
                    heaviest.1 = weight(said.error);
                    known.1 = Place::Said(bytes);
                }
                Some(_) => {}
            }
        }
    }
    topics
}

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const REPLICA_NOT_AVAILABLE: i16 = 9;

fn weight(error: i16) -> u8 {
    match error {
        UNKNOWN_TOPIC_OR_PARTITION | REPLICA_NOT_AVAILABLE => 0,
        0 => 1,
        _ => 2,
    }
}

/// Reads `NodeEndpoints` (KIP-951), the first of each node.
fn read_endpoints<'a>(
    value: &'a [u8],
    endpoints: &mut BTreeMap<i32, &'a [u8]>,
) -> Result<(), Unread> {
    let mut reader = Reader::whole(value);
    for _ in 1..reader.varint()? {
        let start = reader.position();
        let node = reader.int32()?;
        reader.compact_string()?;
        reader.int32()?;
        reader.compact_string()?;
        reader.skip_tags()?;
        let bytes = value.get(start..reader.position()).unwrap_or_default();
        endpoints.entry(node).or_insert(bytes);
    }
    if reader.left() > 0 {
        return Err(Malformed::TagSize.into());
    }
    Ok(())
}

/// Appends the size and value of a tagged field.
fn put_tag(out: &mut Vec<u8>, tag: &Tag<'_>) {
    match tag {
        Tag::Unread(value) => {
            put_varint(out, value.len() as u32);
            out.extend_from_slice(value);
        }
        Tag::Endpoints(endpoints) => {
            let bytes: usize = endpoints.values().map(|endpoint| endpoint.len()).sum();
            let count = endpoints.len() as u32 + 1;
            put_varint(out, (varint_bytes(count) + bytes) as u32);
            put_varint(out, count);
            for endpoint in endpoints.values() {
                out.extend_from_slice(endpoint);
            }
        }
    }
}

/// Appends a struct whose fields `put` knows.
fn put_element(
    out: &mut Vec<u8>,
    fields: &[Field],
    form: Form,
    put: impl Fn(&Field, &mut Vec<u8>),
) {
    for field in fields
        .iter()
        .filter(|field| field.is_plain_in(form.version))
    {
        put(field, out);
    }
    form.put_no_tags(out);
}
