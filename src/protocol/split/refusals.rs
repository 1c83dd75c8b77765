//! What a response says of a request that has come to the wrong broker: which partitions that one
//! does not lead, who leads them where it says that (KIP-951), and that it does not coordinate.

use super::index::{Index, Partition, TopicKey, Until};
use super::{Keys, PartitionRef, Role, form, keys, topic_ref};
use crate::protocol::errors::{
    KAFKA_STORAGE_ERROR, NOT_COORDINATOR, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    NOT_LEADER, REQUEST_TIMED_OUT,
};
use crate::protocol::header::response_body;
use crate::protocol::table::{self, Api, Route};
use crate::protocol::wire::Reader;
use crate::types::NodeId;

/// What a broker has refused to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// The leader of these partitions.
    pub(crate) partitions: Vec<Refused>,
    /// The writer of what a Produce has for these, for now: their producer writes it again.
    pub(crate) unwritten: Vec<PartitionRef>,
    /// The coordinator of what it was asked for.
    pub(crate) is_of_coordinator: bool,
}

/// One that it does not lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// The partition.
    pub(crate) partition: PartitionRef,
    /// Who leads it, and in which epoch, if that is said.
    pub(crate) leader: Option<(NodeId, i32)>,
}

/// What a whole response refuses; `frame` begins with its length. One that can't be read refuses
/// nothing: whether it may pass is judged elsewhere.
pub(crate) fn refusals(api: &Api, version: i16, frame: &[u8]) -> Refusals {
    let codes: &[i16] = match api.route {
        _ if api == table::PRODUCE => &UNWRITTEN,
        Route::PartitionLeader => &[NOT_LEADER],
        Route::GroupCoordinator
        | Route::GroupCoordinators
        | Route::TransactionCoordinator
        | Route::TransactionCoordinators => &[NOT_COORDINATOR],
        Route::Any | Route::Connection | Route::None | Route::Node | Route::All => {
            return Refusals::default();
        }
    };
    match codes.iter().any(|code| may_have(frame, *code)) {
        true => read(api, version, frame).unwrap_or_default(),
        false => Refusals::default(),
    }
}

/// What a leader says that is none any more, or won't be for long.
const UNWRITTEN: [i16; 5] = [
    NOT_LEADER,
    REQUEST_TIMED_OUT,
    NOT_ENOUGH_REPLICAS,
    NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    KAFKA_STORAGE_ERROR,
];

/// Whether the bytes of an error code stand anywhere. Hardly any response refuses something, and
/// this is a fraction of what it takes to read one.
fn may_have(frame: &[u8], code: i16) -> bool {
    let code = code.to_be_bytes();
    let pairs = frame.windows(2);
    // Without a way out in between, so that many are compared at once.
    pairs.fold(false, |found, pair| found | (pair == code))
}

fn read(api: &Api, version: i16, frame: &[u8]) -> Option<Refusals> {
    let (keys, layout) = keys(api)?;
    let body = response_body(api, version, frame)?;
    let form = form(api, version);
    let index = Index::read(Reader::whole(body), layout.response, form, Until::End).ok()?;
    let named = |partition: &Partition| {
        let topic: TopicKey<'_> = index.topics.get(partition.topic as usize)?.key;
        Some(PartitionRef {
            topic: topic_ref(topic),
            partition: partition.partition,
        })
    };
    let refused = |partition: &Partition| {
        let leader = partition.leader.filter(|(leader, _)| *leader >= 0);
        Some(Refused {
            partition: named(partition)?,
            leader: leader.map(|(leader, epoch)| (NodeId(leader), epoch)),
        })
    };
    Some(match keys {
        Keys::Partitions => {
            let wrong = index.partitions.iter();
            let wrong = wrong.filter(|partition| partition.error == NOT_LEADER);
            let is_unwritten = |partition: &&Partition| UNWRITTEN.contains(&partition.error);
            let unwritten = index.partitions.iter().filter(is_unwritten);
            Refusals {
                partitions: wrong.filter_map(refused).collect(),
                unwritten: match api == table::PRODUCE {
                    true => unwritten.filter_map(named).collect(),
                    false => Vec::new(),
                },
                is_of_coordinator: false,
            }
        }
        Keys::Coordinated(_) => {
            let whole = index.number(Role::Error, body).unwrap_or_default();
            let of_partitions = index.partitions.iter().map(|partition| partition.error);
            let of_items = index.items.iter().map(|item| item.error);
            let mut errors = of_partitions.chain(of_items);
            Refusals {
                is_of_coordinator: whole == i32::from(NOT_COORDINATOR)
                    || errors.any(|error| error == NOT_COORDINATOR),
                ..Refusals::default()
            }
        }
        Keys::Resources | Keys::OfAll => Refusals::default(),
    })
}
