//! Which broker a request is for, where the client's address does not say it (scheme `single`).
//!
//! ```text
//! Open   ── ApiVersions v5 names a node of this cluster (KIP-1242) ──────────────> Named
//! Open   ── the first request that only one broker can serve ────────────────────> Pinned
//! Pinned ── one that another broker must serve ──────────────────────────────────> PerRequest
//! ```
//!
//! *Open*: whatever any broker can answer goes to the broker at hand. *Named*: nothing is looked at
//! any more. *Pinned*: of each request only the first key (a partition, a group) is looked at,
//! which stands in its first bytes. *PerRequest*: requests are looked at whole, and those for
//! several brokers are split.
//!
//! Whom a key belongs to is looked up in what is known
//! ([`Routes`](crate::cluster::routes::Routes)). Where it is not known, the requests wait while
//! Narrows asks on the client's own connection, which is logged in where brokers demand that. Where
//! nobody knows, the request goes to the broker at hand, which answers as Kafka does to a request
//! that has come to the wrong broker. But a node that the client has named is that node or nobody:
//! another broker would tell the client that it has come to another cluster.

mod place;

use super::awaited::Expectation;
use super::cause::Cause;
use super::credentials::Passing;
use super::merge::Whole;
use super::order::{Answers, ProduceOrder};
use crate::cluster::Cluster;
use crate::observe::time;
use crate::protocol::api_versions::Offers;
use crate::protocol::header::{self, RequestHeader};
use crate::protocol::leaders;
use crate::protocol::split::{
    self, CoordinatorKind, Needs, PartitionRef, Replacement, Request, TopicRef,
};
use crate::protocol::table::{self, Api, Route, Treatment};
use crate::types::NodeId;
use bytes::Bytes;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A request up to this size is held until it is whole where all of it must be looked at; a larger
/// one goes where its first key belongs.
pub(super) const ROUTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// More is not tried for one request.
const TRIED_MAX: usize = 1000;

/// For how long a client asks one broker for what another one leads until its requests are looked
/// at whole: longer than it takes clients to look up who leads.
const MISPLACED_FOR: Duration = Duration::from_secs(1);
/// After so long it is another story.
const MISPLACED_FORGET: Duration = Duration::from_secs(60);

/// How far it is known whom the client means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Named,
    Pinned,
    PerRequest,
}

/// How a session finds the broker of each request.
#[derive(Debug)]
pub(super) struct Routing {
    cluster: Arc<Cluster>,
    stage: Stage,
    /// The client's login, as long as it may be needed once more.
    pub(super) login: Passing,
    /// For which broker its connection was expected.
    pub(super) expectation: Option<Expectation>,
    /// What the next request waits for.
    wanted: Option<Wanted>,
    /// What the FindCoordinator requests in flight ask for, as far as that can be learnt.
    asked: VecDeque<Option<Asked>>,
    /// What has been tried for the next request, in vain.
    given_up: Vec<Wanted>,
    /// Where the last records of each partition have gone.
    order: ProduceOrder,
    /// A partition for which the pinned broker was not the one to ask, and since when.
    misplaced: Option<(PartitionRef, Instant)>,
    /// The broker of the current link, when the next request was looked at.
    at: Option<NodeId>,
    /// Where the last request of a share session has gone.
    share_session_at: Option<NodeId>,
    /// So many answers must have been begun before the next request is placed.
    held: Option<u64>,
}

/// What a FindCoordinator asks for, and the one key if there is but one.
type Asked = (CoordinatorKind, Option<Arc<str>>);

/// What must be done before the next request can go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Make the link to this broker the current one: it is said to be the one that can serve it.
    Broker(NodeId),
    /// The same: the client itself has named it. Nobody answers in its place.
    Named(NodeId),
    /// Ask who leads the partitions of these topics.
    Leaders(Vec<TopicRef>),
    /// Ask who coordinates this.
    Coordinator(CoordinatorKind, Arc<str>),
    /// Learn what each broker offers.
    Offers,
    /// Split it.
    Split(Split),
    /// Answer it.
    Answer {
        /// With this frame.
        answer: Bytes,
        /// Its size without its length.
        request_bytes: usize,
    },
}

/// A request that several brokers must serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Split {
    pub(super) request: Whole,
    /// Whether the client waits for an answer.
    pub(super) is_answered: bool,
    /// The brokers that its pieces are for; `None` is the one at hand.
    pub(super) nodes: Vec<Option<NodeId>>,
    /// The piece of each key; that of no piece where the key is not to be written now.
    pub(super) assignment: Vec<usize>,
}

/// Where the request goes whose beginning has been looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// To the current link.
    Here,
    /// More of it must arrive first.
    Incomplete,
    /// Not on before what is [wanted](Routing::wanted) is done.
    Waits,
}

/// A request as far as it has arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arriving<'a> {
    pub(super) header: &'a RequestHeader<'a>,
    pub(super) api: &'static Api,
    pub(super) version: i16,
    /// Without its length.
    pub(super) frame: &'a [u8],
    pub(super) frame_bytes: usize,
}

impl<'a> Arriving<'a> {
    /// Of which all has arrived.
    fn whole(self) -> Request<'a> {
        Request {
            api: self.api,
            version: self.version,
            frame: self.frame,
            body_at: self.header.body_at,
        }
    }
}

impl Routing {
    /// For a connection of which nothing is known yet.
    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            stage: Stage::Open,
            login: Passing::default(),
            expectation: None,
            wanted: None,
            asked: VecDeque::new(),
            given_up: Vec::new(),
            order: ProduceOrder::default(),
            misplaced: None,
            at: None,
            share_session_at: None,
            held: None,
        }
    }

    /// Whether the next request waits for answers to those before it.
    pub(super) fn is_held(&self, answers: Answers) -> bool {
        self.held.is_some_and(|begun| answers.begun < begun)
    }

    /// Whether the next request waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.wanted.is_some()
    }

    /// What the next request waits for.
    pub(super) fn wanted(&self) -> Option<&Wanted> {
        self.wanted.as_ref()
    }

    /// The broker that the first request names, before there is any link.
    pub(super) fn named(&self) -> Option<NodeId> {
        match self.wanted {
            Some(Wanted::Broker(node) | Wanted::Named(node)) => Some(node),
            _ => None,
        }
    }

    /// Whether nothing has said yet whom the client means.
    pub(super) fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// Whether it is the client that has named it.
    pub(super) fn is_named(&self) -> bool {
        matches!(self.wanted, Some(Wanted::Named(_)))
    }

    /// What was wanted has been done: the next request is looked at again.
    pub(super) fn done(&mut self) {
        match self.wanted.take() {
            Some(Wanted::Split(_)) | None => {}
            Some(done) => self.give_up(done),
        }
    }

    fn give_up(&mut self, tried: Wanted) {
        if self.given_up.len() < TRIED_MAX {
            self.given_up.push(tried);
        }
    }

    /// A broker that the next request needs can't be reached; whether another one may have taken
    /// over from it, so that the request is to be looked at again.
    pub(super) fn unreachable(&mut self, node: NodeId) -> bool {
        self.cluster.routes().unreachable(node);
        let is_movable = match &self.wanted {
            Some(Wanted::Split(split)) => {
                !matches!(split.request.api.route, Route::Node | Route::All)
            }
            _ => false,
        };
        if is_movable {
            self.give_up(Wanted::Broker(node));
        }
        is_movable && self.given_up.len() < TRIED_MAX
    }

    /// A whole response of the broker `node` passes; `frame` begins with its length. Where it
    /// refuses to be whom it was taken for, that is not believed any more.
    pub(super) fn judge(&mut self, node: Option<NodeId>, api: &Api, version: i16, frame: &[u8]) {
        if self.stage == Stage::Named {
            return;
        }
        let refusals = split::refusals(api, version, frame);
        for partition in refusals.unwritten {
            self.order.has_failed(partition, time::now());
        }
        let Some(node) = node else { return };
        let routes = self.cluster.routes();
        for refused in &refusals.partitions {
            routes.refused(&refused.partition, node, refused.leader);
        }
        let is_known = |refused: &&split::Refused| {
            let leader = routes.leader(&refused.partition);
            leader.is_some_and(|leader| leader != node)
        };
        let misplaced = refusals.partitions.iter().find(is_known);
        if let Some(refused) = misplaced.filter(|_| self.stage == Stage::Pinned) {
            self.is_misplaced(&refused.partition);
        }
        if refusals.is_of_coordinator {
            self.cluster.routes().coordinator_refused(node);
        }
    }

    /// There is no answer to these keys of a request that was split.
    pub(super) fn failed(&mut self, request: &Request<'_>, keys: &[usize]) {
        if request.api != table::PRODUCE || keys.is_empty() {
            return;
        }
        let Ok(Needs::Leaders(partitions)) = request.needs() else {
            return;
        };
        for partition in keys.iter().filter_map(|key| partitions.get(*key)) {
            self.order.has_failed(partition.clone(), time::now());
        }
    }

    /// Whether a response to this must be whole before anything behind it is placed: it is
    /// [judged](Self::judge).
    pub(super) fn is_judging(&self, api: &Api) -> bool {
        self.stage != Stage::Named && api == table::PRODUCE
    }

    /// The links to these brokers are gone. Whether the next request is to be looked at again
    /// before there are others.
    pub(super) fn lost_links(&mut self, nodes: &[NodeId], answers: Answers) -> bool {
        let is_again = self.order.lost(nodes, answers);
        if is_again {
            self.wanted = None;
        }
        is_again
    }

    /// Behind the first key of a request stood one that another broker leads. Mostly the client
    /// finds that out by itself; one that goes on has this connection for several brokers.
    fn is_misplaced(&mut self, partition: &PartitionRef) {
        let now = time::now();
        match &self.misplaced {
            Some((of, since)) if of == partition && now - *since < MISPLACED_FORGET => {
                if now - *since >= MISPLACED_FOR {
                    self.stage = Stage::PerRequest;
                }
            }
            _ => self.misplaced = Some((partition.clone(), now)),
        }
    }

    /// The request that was to be split or answered has been.
    pub(super) fn is_split(&mut self) {
        self.wanted = None;
        self.given_up.clear();
        self.order.is_sent();
    }

    /// Whether an answer of this API is to be [learnt](Self::learn) from when it passes.
    pub(super) fn is_learning(&self, api: &Api) -> bool {
        let teaches = [table::METADATA, table::FIND_COORDINATOR];
        self.stage != Stage::Named && teaches.contains(&api)
    }

    /// A response passes that says where requests belong; `frame` begins with its length.
    pub(super) fn learn(&mut self, api: &Api, version: i16, frame: &[u8]) {
        if api == table::METADATA {
            self.learn_leaders(version, frame);
        } else if let Some(asked) = self.asked.pop_front().flatten() {
            self.learn_coordinators(version, frame, &asked);
        }
    }

    /// Narrows' own question has been answered.
    pub(super) fn answered(&mut self, version: i16, frame: &[u8]) {
        match self.wanted.clone() {
            Some(Wanted::Leaders(_)) => self.learn_leaders(version, frame),
            Some(Wanted::Coordinator(kind, key)) => {
                self.learn_coordinators(version, frame, &(kind, Some(key)));
            }
            Some(
                Wanted::Broker(_)
                | Wanted::Named(_)
                | Wanted::Offers
                | Wanted::Split(_)
                | Wanted::Answer { .. },
            )
            | None => {}
        }
    }

    /// A broker says which versions it offers: what all brokers have in common, since any of them
    /// may get the client's later requests. `None` where only the one counts that the client has
    /// named, and where nothing is known.
    pub(super) fn offered(
        &self,
        node: Option<NodeId>,
        version: i16,
        body: &[u8],
    ) -> Option<Arc<Offers>> {
        if let Some((node, offers)) = node.zip(Offers::read(body, version)) {
            self.cluster.learn_offers(node, offers);
        }
        match self.stage {
            Stage::Named => None,
            Stage::Open | Stage::Pinned | Stage::PerRequest => self.cluster.common_offers(),
        }
    }

    /// The connection to a broker has broken: it may be another version when it is back.
    pub(super) fn lost(&self, node: NodeId) {
        self.cluster.doubt_offers(node);
    }

    /// What can't be read teaches nothing; whether it may pass is judged elsewhere.
    fn learn_leaders(&self, version: i16, frame: &[u8]) {
        for topic in leaders::read_leaders(version, frame).unwrap_or_default() {
            self.cluster.routes().learn_leaders(&topic);
        }
    }

    fn learn_coordinators(&self, version: i16, frame: &[u8], (kind, asked): &Asked) {
        for found in leaders::read_coordinators(version, frame).unwrap_or_default() {
            if let Some(key) = found.key.or_else(|| asked.clone()) {
                let routes = self.cluster.routes();
                routes.learn_coordinator(*kind, key, found.node);
            }
        }
    }

    /// A FindCoordinator is on its way: before v4 its answer does not name what was asked for.
    fn note_asked(&mut self, version: i16, body: &[u8]) {
        let asked = match version {
            0..4 => {
                leaders::read_coordinator_key(version, body).map(|(kind, key)| (kind, Some(key)))
            }
            _ => leaders::read_coordinator_kind(body).map(|kind| (kind, None)),
        };
        self.asked.push_back(asked);
    }

    /// The request goes to the current link. No login is kept once the broker is known.
    pub(super) fn passes(&mut self, request: Arriving<'_>) {
        let body = request.frame.get(request.header.body_at..).unwrap_or(&[]);
        if request.api == table::FIND_COORDINATOR && self.stage != Stage::Named {
            self.note_asked(request.version, body);
        }
        self.order.is_sent();
        if split::is_of_share_session(request.api) {
            self.share_session_at = self.at;
        }
        if self.stage != Stage::Open {
            return;
        }
        match request.api.treatment {
            Treatment::Handshake => {
                let mechanism = header::read_mechanism(body).unwrap_or(b"");
                self.login.begins(request.version, mechanism, request.frame);
            }
            Treatment::Authenticate => self.login.goes_on(request.frame),
            _ => {}
        }
    }

    /// Where a Fetch that is routed names the rack that it is from, and what to put there so that
    /// it names none ([`Request::rack`]). What the client has named its broker for stays as it is:
    /// it may well be a follower that it has been sent to.
    pub(super) fn rack(&self, request: Arriving<'_>) -> Result<Option<Replacement>, Cause> {
        if self.stage == Stage::Named || request.frame.len() < request.frame_bytes {
            return Ok(None);
        }
        request.whole().rack().map_err(Cause::RequestMalformed)
    }
}
