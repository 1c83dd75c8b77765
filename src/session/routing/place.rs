//! Where a request goes: by the API alone, by the session that it continues, by its first key, or by
//! all its keys.

use super::{Arriving, Place, ROUTED_BYTES_MAX, Routing, Split, Stage, Wanted};
use crate::cluster::misled::Misled;
use crate::observe::text::Shown;
use crate::observe::time;
use crate::protocol::header::{self, ExpectedBroker};
use crate::protocol::split::{self, Failure, FirstNeed, Needs, PartitionRef, Sequence, TopicRef};
use crate::protocol::table::{self, Route, Treatment};
use crate::protocol::wire::Unread;
use crate::session::cause::Cause;
use crate::session::merge::Whole;
use crate::session::order::{Answers, Written};
use crate::types::NodeId;
use bytes::Bytes;

impl Routing {
    /// Where the request goes. `node` is the broker of the current link, if that is known. To be
    /// asked again with more bytes, or when it need not wait any more.
    pub(in crate::session) fn place(
        &mut self,
        request: Arriving<'_>,
        node: Option<NodeId>,
        answers: Answers,
    ) -> Result<Place, Cause> {
        if self.stage == Stage::Named {
            return Ok(Place::Here);
        }
        self.held = None;
        self.at = node;
        self.order.forget_next();
        let is_pinned = self.stage == Stage::Pinned;
        let is_any_failed = is_ordered(request) && self.order.is_any_failed(time::now);
        let is_after_failure = is_pinned && is_any_failed;
        let is_whole_needed =
            (!is_pinned || is_after_failure) && request.frame_bytes <= ROUTED_BYTES_MAX;
        // What is kept, learnt from or edited must be there.
        let is_kept = request.api.treatment == Treatment::Authenticate
            || request.api == table::FIND_COORDINATOR
            || request.api == table::FETCH;
        let is_there = request.frame.len() >= request.frame_bytes.min(ROUTED_BYTES_MAX);
        if is_kept && !is_there {
            return Ok(Place::Incomplete);
        }
        let placed = if request.api == table::API_VERSIONS {
            Ok(self.place_api_versions(request, node))
        } else if matches!(
            request.api.route,
            Route::Any | Route::Connection | Route::None
        ) {
            Ok(Place::Here)
        } else if let Some(home) = self.session_at(request, node)? {
            Ok(self.go_to(home, node))
        } else if !is_whole_needed {
            self.place_first(request, node, answers)
        } else if request.frame.len() < request.frame_bytes {
            return Ok(Place::Incomplete);
        } else if is_after_failure {
            self.place_after_failure(request, node, answers)
        } else {
            self.place_whole(request, node, answers)
        };
        match placed {
            Ok(place) => {
                if place == Place::Here {
                    self.given_up.clear();
                }
                Ok(place)
            }
            Err(Unread::Incomplete) => Ok(Place::Incomplete),
            Err(Unread::Malformed(malformed)) => Err(Cause::RequestMalformed(malformed)),
        }
    }

    /// The broker that has the session that a request continues, if it is known to be of one. It
    /// stays there also for partitions that have moved: that broker says so, and has to be told
    /// what the client gives back.
    fn session_at(
        &self,
        request: Arriving<'_>,
        node: Option<NodeId>,
    ) -> Result<Option<NodeId>, Cause> {
        let is_of_share_session = split::is_of_share_session(request.api);
        Ok(match self.stage {
            Stage::PerRequest if is_of_share_session => self.share_session_at,
            Stage::Pinned if is_of_share_session => node,
            Stage::Pinned if request.api == table::FETCH => {
                let is_there = request.frame.len() == request.frame_bytes;
                let continues = || request.whole().continues_session();
                let continues = is_there && continues().map_err(Cause::RequestMalformed)?;
                node.filter(|_| continues)
            }
            _ => None,
        })
    }

    /// ApiVersions can say which node the client means. Half of it, or another cluster's id, is for
    /// a broker to refuse. Where it names none, what all brokers offer must be known.
    fn place_api_versions(&mut self, request: Arriving<'_>, node: Option<NodeId>) -> Place {
        let body = request.frame.get(request.header.body_at..).unwrap_or(&[]);
        let (cluster_id, named) = match header::read_expected_broker(body, request.version) {
            ExpectedBroker::Node(cluster_id, named) => (cluster_id, named),
            ExpectedBroker::Half => {
                self.cluster.misled(&client(body), Misled::Half);
                return Place::Here;
            }
            ExpectedBroker::Any => {
                return match self.cluster.knows_offers() {
                    true => Place::Here,
                    false => self.want(Wanted::Offers),
                };
            }
        };
        let is_ours = self
            .cluster
            .view()
            .cluster_id()
            .is_none_or(|own| own.as_bytes() == cluster_id);
        if !is_ours {
            let misled = Misled::Elsewhere(cluster_id, named);
            self.cluster.misled(&client(body), misled);
            return Place::Here;
        }
        if node == Some(named) {
            self.stage = Stage::Named;
            self.settled(named);
            return Place::Here;
        }
        self.want(Wanted::Named(named))
    }

    /// By the first key alone.
    fn place_first(
        &mut self,
        request: Arriving<'_>,
        node: Option<NodeId>,
        answers: Answers,
    ) -> Result<Place, Unread> {
        let Arriving {
            api,
            version,
            frame,
            frame_bytes,
            header,
        } = request;
        let need = split::first_need(api, version, frame, frame_bytes, header.body_at)?;
        let place = match need {
            FirstNeed::Any | FirstNeed::All => return Ok(Place::Here),
            FirstNeed::Node(wanted) => self.go_to(wanted, node),
            FirstNeed::Leader(partition) => match self.cluster.routes().leader(&partition) {
                Some(leader) => self.go_to(leader, node),
                None => self.want(Wanted::Leaders(vec![partition.topic])),
            },
            FirstNeed::Coordinator(kind, key) => {
                match self.cluster.routes().coordinator(kind, &key) {
                    Some(coordinator) => self.go_to(coordinator, node),
                    None => self.want(Wanted::Coordinator(kind, key)),
                }
            }
        };
        if place == Place::Here && is_ordered(request) {
            self.held = self.order.place_unseen(node, answers);
        }
        Ok(self.unless_held(place))
    }

    /// A Produce of a pinned connection, of which one has failed: what was sent behind that one goes
    /// to the same broker. What comes again goes by its first key, as ever.
    fn place_after_failure(
        &mut self,
        request: Arriving<'_>,
        node: Option<NodeId>,
        answers: Answers,
    ) -> Result<Place, Unread> {
        let whole = request.whole();
        let needs = whole.needs_and_sequences();
        let (Needs::Leaders(partitions), sequences) = needs.map_err(Unread::Malformed)? else {
            return self.place_first(request, node, answers);
        };
        let targets = vec![node; partitions.len()];
        let written = written(partitions, sequences, targets);
        let is_behind_failed = |of: &Written| {
            let order = &self.order;
            order.is_behind_failed(&of.partition, of.sequence)
        };
        if !written.iter().any(is_behind_failed) {
            let place = self.place_first(request, node, answers)?;
            if place != Place::Here {
                return Ok(place);
            }
        }
        self.held = self.order.place(written, answers);
        Ok(self.unless_held(Place::Here))
    }

    /// By all its keys.
    fn place_whole(
        &mut self,
        request: Arriving<'_>,
        node: Option<NodeId>,
        answers: Answers,
    ) -> Result<Place, Unread> {
        let whole = request.whole();
        let needs = whole.needs_and_sequences();
        let (needs, sequences) = needs.map_err(Unread::Malformed)?;
        let routes = self.cluster.routes();
        let mut produced = Vec::new();
        let targets: Vec<Option<NodeId>> = match needs {
            Needs::Any => return Ok(Place::Here),
            Needs::FetchSession if self.stage != Stage::PerRequest => return Ok(Place::Here),
            // The session is one broker's, and nobody knows which one's: the client begins anew.
            Needs::FetchSession => {
                let answer = whole.unknown_session().map_err(Unread::Malformed)?;
                return Ok(self.answer(answer, request));
            }
            Needs::All => {
                let brokers = self.cluster.view().brokers();
                // One broker is meant, and each would move its own replicas.
                if request.api == table::ALTER_REPLICA_LOG_DIRS && brokers.len() > 1 {
                    let failed = whole.failed(Failure::NoBroker);
                    return Ok(self.answer(failed.map_err(Unread::Malformed)?, request));
                }
                brokers.into_iter().map(|(node, _)| Some(node)).collect()
            }
            Needs::Nodes(nodes) => nodes,
            Needs::Leaders(partitions) => {
                let leaders = partitions
                    .iter()
                    .map(|of| routes.leader(of))
                    .collect::<Vec<_>>();
                let unknown = Wanted::Leaders(unknown_topics(&partitions, &leaders));
                if leaders.contains(&None) && !self.given_up.contains(&unknown) {
                    return Ok(self.want(unknown));
                }
                if is_ordered(request) {
                    produced = partitions;
                }
                leaders
            }
            Needs::Coordinators(kind, keys) => {
                let mut coordinators = Vec::new();
                for key in keys {
                    let known = routes.coordinator(kind, &key);
                    let unknown = Wanted::Coordinator(kind, key);
                    if known.is_none() && !self.given_up.contains(&unknown) {
                        return Ok(self.want(unknown));
                    }
                    coordinators.push(known);
                }
                coordinators
            }
        };
        let is_reachable = |wanted: &NodeId| {
            node == Some(*wanted) || !self.given_up.contains(&Wanted::Broker(*wanted))
        };
        let targets: Vec<_> = targets
            .iter()
            .map(|target| target.filter(is_reachable))
            .collect();
        if !produced.is_empty() {
            // Who is not known is the one at hand.
            let at = targets.iter().map(|target| target.or(node)).collect();
            let mut written = written(produced, sequences, at);
            for written in &mut written {
                written.is_held_back = self.order.would_overtake(written);
            }
            let is_held_back: Vec<_> = written.iter().map(|of| of.is_held_back).collect();
            self.held = self.order.place(written, answers);
            if self.held.is_some() {
                return Ok(Place::Waits);
            }
            if is_held_back.contains(&true) {
                return self.place_but(request, &targets, &is_held_back);
            }
        }
        let several = distinct(targets.iter().copied());
        // A session is one broker's: the client begins another.
        if several.len() > 1 && split::is_of_share_session(request.api) {
            let failed = whole.failed(Failure::NotSent);
            return Ok(self.answer(failed.map_err(Unread::Malformed)?, request));
        }
        Ok(self.place_targets(request, targets, node))
    }

    /// A Produce of which some, or all, is not to be written now.
    fn place_but(
        &mut self,
        request: Arriving<'_>,
        targets: &[Option<NodeId>],
        is_held_back: &[bool],
    ) -> Result<Place, Unread> {
        let chosen = || targets.iter().zip(is_held_back).filter(|(_, back)| !**back);
        if chosen().next().is_none() {
            let failed = request.whole().failed(Failure::NotSent);
            return Ok(self.answer(failed.map_err(Unread::Malformed)?, request));
        }
        let nodes = distinct(chosen().map(|(target, _)| *target));
        let piece = |(target, is_held_back): (&Option<NodeId>, &bool)| match is_held_back {
            true => nodes.len(),
            false => nodes.binary_search(target).unwrap_or(0),
        };
        let assignment = targets.iter().zip(is_held_back).map(piece).collect();
        Ok(self.split(request, nodes, assignment))
    }

    /// A request that would go on waits for answers, if it has to.
    fn unless_held(&self, place: Place) -> Place {
        match self.held {
            Some(_) => Place::Waits,
            None => place,
        }
    }

    fn place_targets(
        &mut self,
        request: Arriving<'_>,
        targets: Vec<Option<NodeId>>,
        node: Option<NodeId>,
    ) -> Place {
        let nodes = distinct(targets.iter().copied());
        match nodes.as_slice() {
            [] | [None] => return Place::Here,
            // A session would be one broker's: a Fetch that may go elsewhere next time has none.
            [Some(_)] if self.stage == Stage::PerRequest && request.api == table::FETCH => {}
            [Some(only)] => return self.go_to(*only, node),
            _ => {}
        }
        let piece = |target: &Option<NodeId>| nodes.binary_search(target).unwrap_or(0);
        let assignment = targets.iter().map(piece).collect();
        self.split(request, nodes, assignment)
    }

    fn split(
        &mut self,
        request: Arriving<'_>,
        nodes: Vec<Option<NodeId>>,
        assignment: Vec<usize>,
    ) -> Place {
        self.stage = Stage::PerRequest;
        self.want(Wanted::Split(Split {
            request: Whole {
                api: request.api,
                version: request.version,
                frame: Bytes::copy_from_slice(request.frame),
                body_at: request.header.body_at,
            },
            is_answered: request.header.is_answered,
            nodes,
            assignment,
        }))
    }

    fn go_to(&mut self, wanted: NodeId, node: Option<NodeId>) -> Place {
        if node == Some(wanted) {
            if self.stage == Stage::Open {
                self.stage = Stage::Pinned;
                self.settled(wanted);
            }
            return Place::Here;
        }
        if self.stage == Stage::Pinned {
            self.stage = Stage::PerRequest;
        }
        self.want(Wanted::Broker(wanted))
    }

    /// The client's broker is known: it is the one at hand. No login need be said again.
    fn settled(&mut self, node: NodeId) {
        self.login.take();
        if let Some(expectation) = self.expectation.take() {
            expectation.settled(node);
        }
    }

    /// Narrows answers the request itself.
    fn answer(&mut self, answer: Vec<u8>, request: Arriving<'_>) -> Place {
        self.want(Wanted::Answer {
            answer: answer.into(),
            request_bytes: request.frame_bytes,
        })
    }

    /// Once for each request: what has been tried in vain is left to the broker at hand.
    fn want(&mut self, wanted: Wanted) -> Place {
        if self.given_up.contains(&wanted) {
            return Place::Here;
        }
        self.wanted = Some(wanted);
        Place::Waits
    }
}

/// Whether what it writes must be written in order. One that is not answered can't be waited for,
/// and its client counts on nothing.
fn is_ordered(request: Arriving<'_>) -> bool {
    request.api == table::PRODUCE && request.header.is_answered
}

/// What a Produce has for each of its partitions, and whom it goes to.
fn written(
    partitions: Vec<PartitionRef>,
    sequences: Vec<Option<Sequence>>,
    targets: Vec<Option<NodeId>>,
) -> Vec<Written> {
    let keys = partitions.into_iter().zip(sequences).zip(targets);
    let written = keys.map(|((partition, sequence), to)| Written {
        partition,
        sequence,
        to,
        is_held_back: false,
    });
    written.collect()
}

/// Each once, in their order.
fn distinct(nodes: impl Iterator<Item = Option<NodeId>>) -> Vec<Option<NodeId>> {
    let mut nodes: Vec<_> = nodes.collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The library that has sent an ApiVersions request from v3 on, safe to print.
fn client(body: &[u8]) -> String {
    let (name, version) = header::read_software(body).unwrap_or_default();
    format!("{} {}", Shown::name(name), Shown::name(version))
}

/// The topics of which some partition has no known leader, each once.
fn unknown_topics(partitions: &[PartitionRef], leaders: &[Option<NodeId>]) -> Vec<TopicRef> {
    let mut topics: Vec<TopicRef> = partitions
        .iter()
        .zip(leaders)
        .filter(|(_, leader)| leader.is_none())
        .map(|(partition, _)| partition.topic.clone())
        .collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}
