//! Reads who leads partitions and who coordinates groups.
//!
//! Metadata (key 3) v0–v13: each topic's name, id (v10, KIP-516) and partitions with their leader
//! and leader epoch (v7, KIP-320). FindCoordinator (key 10) v0–v6: one coordinator, from v4 on
//! (KIP-699) one for each key.

use super::split::CoordinatorKind;
use super::walk::RESPONSE_PREFIX_BYTES;
use super::wire::{Malformed, Reader, Unread, to_usize};
use crate::types::NodeId;
use std::sync::Arc;

/// What is known of one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicLeaders {
    /// Its name; `None` where a topic was asked for by an id that the broker does not know.
    pub(crate) name: Option<Arc<str>>,
    /// Its id, where the answer has it.
    pub(crate) id: Option<[u8; 16]>,
    /// Each partition's leader.
    pub(crate) partitions: Vec<PartitionLeader>,
}

/// Who leads a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionLeader {
    /// The partition's index.
    pub(crate) partition: i32,
    /// Its leader; `None` while it has none.
    pub(crate) leader: Option<NodeId>,
    /// Of which leadership this is said, if it is said.
    pub(crate) epoch: Option<i32>,
}

/// Who coordinates a group or transactional id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Coordinator {
    /// The group id or transactional id; `None` before v4, where it is the one that was asked for.
    pub(crate) key: Option<Arc<str>>,
    /// Its coordinator; `None` where nobody is it now.
    pub(crate) node: Option<NodeId>,
}

/// The topics of a Metadata response; `frame` begins with its length.
pub(crate) fn read_leaders(version: i16, frame: &[u8]) -> Result<Vec<TopicLeaders>, Malformed> {
    let mut fields = Fields::of_response(frame, version >= 9)?;
    let mut read = || {
        if version >= 3 {
            fields.reader.int32()?; // throttle time
        }
        for _ in 0..fields.count()? {
            fields.reader.int32()?; // node id
            fields.text()?;
            fields.reader.int32()?; // port
            if version >= 1 {
                fields.text()?; // rack
            }
            fields.skip_tags()?;
        }
        if version >= 2 {
            fields.text()?; // cluster id
        }
        if version >= 1 {
            fields.reader.int32()?; // controller
        }
        let mut topics = Vec::new();
        for _ in 0..fields.count()? {
            topics.push(fields.topic(version)?);
        }
        Ok(topics)
    };
    read().map_err(Unread::in_whole)
}

/// The coordinators of a FindCoordinator response; `frame` begins with its length.
pub(crate) fn read_coordinators(version: i16, frame: &[u8]) -> Result<Vec<Coordinator>, Malformed> {
    let mut fields = Fields::of_response(frame, version >= 3)?;
    let mut read = || {
        if version >= 1 {
            fields.reader.int32()?; // throttle time
        }
        if version < 4 {
            let error = fields.reader.int16()?;
            if version >= 1 {
                fields.text()?; // error message
            }
            let node = fields.node()?;
            return Ok(vec![Coordinator {
                key: None,
                node: node.filter(|_| error == 0),
            }]);
        }
        let mut coordinators = Vec::new();
        for _ in 0..fields.count()? {
            let key = fields.text()?;
            let node = fields.node()?;
            fields.text()?; // host
            fields.reader.int32()?; // port
            let error = fields.reader.int16()?;
            fields.text()?; // error message
            fields.skip_tags()?;
            coordinators.push(Coordinator {
                key,
                node: node.filter(|_| error == 0),
            });
        }
        Ok(coordinators)
    };
    read().map_err(Unread::in_whole)
}

/// What the body of a FindCoordinator request before v4 asks for; `None` if it is something else
/// than a group or a transactional id, or can't be read.
pub(crate) fn read_coordinator_key(
    version: i16,
    body: &[u8],
) -> Option<(CoordinatorKind, Arc<str>)> {
    let mut fields = Fields {
        reader: Reader::whole(body),
        is_flexible: version >= 3,
    };
    if version >= 4 {
        return None;
    }
    let key = fields.text().ok()??;
    let kind = match version {
        0 => 0,
        _ => fields.reader.take(1).ok()?[0],
    };
    Some((kind_of(kind)?, key))
}

/// The kind that a FindCoordinator request from v4 on asks for.
pub(crate) fn read_coordinator_kind(body: &[u8]) -> Option<CoordinatorKind> {
    kind_of(*body.first()?)
}

fn kind_of(key_type: u8) -> Option<CoordinatorKind> {
    match key_type {
        0 => Some(CoordinatorKind::Group),
        1 => Some(CoordinatorKind::Transaction),
        _ => None,
    }
}

/// Fields one after the other, in the form of a version.
struct Fields<'a> {
    reader: Reader<'a>,
    is_flexible: bool,
}

impl<'a> Fields<'a> {
    fn of_response(frame: &'a [u8], is_flexible: bool) -> Result<Self, Malformed> {
        let body = frame
            .get(RESPONSE_PREFIX_BYTES..)
            .ok_or(Malformed::TooLong)?;
        let mut fields = Self {
            reader: Reader::whole(body),
            is_flexible,
        };
        fields.skip_tags().map_err(Unread::in_whole)?;
        Ok(fields)
    }

    fn topic(&mut self, version: i16) -> Result<TopicLeaders, Unread> {
        self.reader.int16()?; // error
        let name = self.text()?;
        let id = match version >= 10 {
            true => Some(self.id()?),
            false => None,
        };
        if version >= 1 {
            self.reader.take(1)?; // is internal
        }
        let mut partitions = Vec::new();
        for _ in 0..self.count()? {
            partitions.push(self.partition(version)?);
        }
        if version >= 8 {
            self.reader.int32()?; // authorized operations
        }
        self.skip_tags()?;
        Ok(TopicLeaders {
            name,
            id: id.filter(|id| *id != [0; 16]),
            partitions,
        })
    }

    fn partition(&mut self, version: i16) -> Result<PartitionLeader, Unread> {
        self.reader.int16()?; // error
        let partition = self.reader.int32()?;
        let leader = self.node()?;
        let epoch = match version >= 7 {
            true => Some(self.reader.int32()?),
            false => None,
        };
        let lists = if version >= 5 { 3 } else { 2 }; // replicas, in sync, offline
        for _ in 0..lists {
            for _ in 0..self.count()? {
                self.reader.int32()?;
            }
        }
        self.skip_tags()?;
        Ok(PartitionLeader {
            partition,
            leader,
            epoch: epoch.filter(|epoch| *epoch >= 0),
        })
    }

    fn node(&mut self) -> Result<Option<NodeId>, Unread> {
        let node = self.reader.int32()?;
        Ok(Some(NodeId(node)).filter(|node| node.0 >= 0))
    }

    fn id(&mut self) -> Result<[u8; 16], Unread> {
        let bytes = self.reader.take(16)?;
        bytes.try_into().map_err(|_| Unread::Incomplete)
    }

    /// An array's length. No room is made for it: its elements are read one by one.
    fn count(&mut self) -> Result<usize, Unread> {
        if self.is_flexible {
            return Ok(to_usize(self.reader.varint()?.saturating_sub(1)));
        }
        let count = self.reader.int32()?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    fn text(&mut self) -> Result<Option<Arc<str>>, Unread> {
        let text = self.reader.string_of(self.is_flexible)?;
        Ok(text.map(|text| String::from_utf8_lossy(text).into()))
    }

    fn skip_tags(&mut self) -> Result<(), Unread> {
        if self.is_flexible {
            self.reader.skip_tags()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse, MetadataResponse, TopicName,
    };
    use kafka_protocol::protocol::{Encodable, StrBytes};

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    fn framed(response: &impl Encodable, version: i16, is_flexible: bool) -> Vec<u8> {
        let mut frame = vec![0; RESPONSE_PREFIX_BYTES];
        if is_flexible {
            frame.push(0);
        }
        response.encode(&mut frame, version).unwrap();
        frame
    }

    #[test]
    fn the_leaders_of_a_metadata_response_are_read_in_every_version() {
        let partition = |index: i32, leader: i32| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(BrokerId(leader))
                .with_leader_epoch(leader)
                .with_replica_nodes(vec![BrokerId(1), BrokerId(2)])
                .with_isr_nodes(vec![BrokerId(1)])
        };
        for version in 0..=13 {
            let mut topic = MetadataResponseTopic::default()
                .with_name(Some(TopicName(text("orders"))))
                .with_partitions(vec![partition(0, 2), partition(1, -1)]);
            if version >= 10 {
                topic.topic_id = "07070707-0707-0707-0707-070707070707".parse().unwrap();
            }
            let mut response = MetadataResponse::default().with_topics(vec![topic]);
            let broker = MetadataResponseBroker::default().with_host(text("kafka-0"));
            response.brokers = vec![broker];
            let frame = framed(&response, version, version >= 9);
            let leader = |partition, leader: i32| PartitionLeader {
                partition,
                leader: (leader >= 0).then_some(NodeId(leader)),
                epoch: (version >= 7 && leader >= 0).then_some(leader),
            };
            let expected = TopicLeaders {
                name: Some("orders".into()),
                id: (version >= 10).then_some([7; 16]),
                partitions: vec![leader(0, 2), leader(1, -1)],
            };
            assert_eq!(
                read_leaders(version, &frame),
                Ok(vec![expected]),
                "v{version}"
            );
            // What stands behind the topics is not read.
            let behind = match version {
                8 => 4,
                9 | 10 => 5,
                11 | 12 => 1,
                13 => 3,
                _ => 0,
            };
            for cut in RESPONSE_PREFIX_BYTES..frame.len() - behind {
                assert!(
                    read_leaders(version, &frame[..cut]).is_err(),
                    "v{version} {cut}"
                );
            }
        }
    }

    #[test]
    fn the_coordinators_of_a_response_are_read_in_every_version() {
        for version in 0..=6 {
            let mut response = FindCoordinatorResponse::default();
            if version < 4 {
                response = response
                    .with_node_id(BrokerId(3))
                    .with_host(text("kafka-3"));
            } else {
                let found = |key: &str, node, error| {
                    Found::default()
                        .with_key(text(key))
                        .with_node_id(BrokerId(node))
                        .with_error_code(error)
                };
                response.coordinators = vec![found("billing", 3, 0), found("lost", -1, 15)];
            }
            let frame = framed(&response, version, version >= 3);
            let found = |key: &str, node| Coordinator {
                key: (version >= 4).then(|| key.into()),
                node,
            };
            let mut expected = vec![found("billing", Some(NodeId(3)))];
            if version >= 4 {
                expected.push(found("lost", None));
            }
            assert_eq!(
                read_coordinators(version, &frame),
                Ok(expected),
                "v{version}"
            );
        }
    }

    #[test]
    fn what_a_coordinator_is_asked_for_is_read() {
        for version in 0..=4 {
            let mut request = FindCoordinatorRequest::default();
            if version < 4 {
                request.key = text("billing");
            }
            if version >= 1 {
                request.key_type = 1;
            }
            let mut body = Vec::new();
            request.encode(&mut body, version).unwrap();
            let kind = match version {
                0 => CoordinatorKind::Group,
                _ => CoordinatorKind::Transaction,
            };
            let expected = (version < 4).then(|| (kind, "billing".into()));
            assert_eq!(read_coordinator_key(version, &body), expected, "v{version}");
            if version == 4 {
                assert_eq!(read_coordinator_kind(&body), Some(kind));
            }
        }
    }
}
