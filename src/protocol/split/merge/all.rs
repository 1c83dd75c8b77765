//! The response of all brokers, of which each has a part.

use super::{Answer, MergedItem, MergedTopic, Place, Response, code, error_of, numbered};
use crate::protocol::split::index::{Index, Item};
use crate::protocol::split::layout::{Form, Layout};
use crate::protocol::split::{Outcome, Piece};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

impl<'a> Response<'a> {
    /// The response of all brokers: what each has, once. If one fails, there is none.
    pub(in crate::protocol::split) fn of_all(
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
    pub(in crate::protocol::split) fn of_failed_list(
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
fn relative(item: &Item<'_>) -> Range<usize> {
    let from = |at: usize| at.saturating_sub(item.at.start);
    from(item.name_at.start)..from(item.name_at.end)
}

/// AlterReplicaLogDirs, which every broker answers for every partition: one that has no replica
/// says so, which is no news if another one has it; one that failed outweighs one that did not.
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
