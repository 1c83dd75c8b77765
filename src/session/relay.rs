//! Moves bytes between the client and the broker: two [lanes](super::lane), in one task.
//!
//! The lanes meet in the [`SessionState`] alone. Responses go first in every turn, since they open
//! the way for requests.

use super::Traffic;
use super::cause::Cause;
use super::close;
use super::credentials::Credentials;
use super::in_flight::{self, Expected, Nanos, Recipient, Response};
use super::lane::{Filled, Lane, Pools, Scan};
use super::link::BrokerLink;
use super::links::Links;
use super::merge::Progress;
use super::owed::Turned;
use super::requests::Requests;
use super::routing::{ROUTED_BYTES_MAX, Wanted};
use super::state::SessionState;
use super::watch::{Flow, Limits, Overdue, Watch, Way};
use crate::net::buffer::{BUFFER_BYTES, Buffer};
use crate::net::stream::Stream;
use crate::observe::metrics::Direction::{self, ToBroker, ToClient};
use crate::observe::metrics::ListenerMetrics;
use crate::observe::time;
use crate::protocol::own_requests::OwnRequest;
use bytes::{Buf, Bytes};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Sleep;

/// What a connection may move before others get their turn.
pub(super) const POLL_BUDGET_BYTES: usize = 1024 * 1024;

/// Both sides of a session.
#[derive(Debug)]
pub(super) struct Relay {
    client: Stream,
    requests: Lane<Requests>,
    /// The broker's side.
    links: Links,
    pub(super) state: SessionState,
    metrics: ListenerMetrics,
    /// Why the session ends, once everything in flight has been answered.
    ending: Option<Cause>,
    /// It ends as soon as nothing is in flight, which further requests may put off.
    is_leaving: bool,
    /// Why it ends once what has been cleared for the client is written.
    broken: Option<Cause>,
    /// The client's half-close does not wait for ever.
    deadline: Option<Pin<Box<Sleep>>>,
    /// Whether it has been said what the client's next request waits for.
    is_needed: bool,
    watch: Watch,
    up: Side,
    down: Side,
}

/// What the [`Watch`] is told of one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    /// How many bytes have passed on.
    moved: u64,
    /// Whether its sender was asked for more in this turn, so that its end is seen.
    is_heard: bool,
    /// Since when its receiver takes no bytes.
    held_back: Option<Nanos>,
}

/// What the relay's owner has to know or decide.
#[derive(Debug)]
pub(super) enum Event {
    /// The session is over.
    Ended(Cause),
    /// The broker has answered Narrows' own request, with this frame. The client's requests wait
    /// until [`Relay::resume`].
    Answered(OwnRequest, Bytes),
    /// The client's next request waits for this. Said once.
    NeedsBroker(Wanted),
}

impl Relay {
    /// Begins with the bytes that have arrived from the client, looked at by `requests`.
    pub(super) fn new(
        client: Stream,
        link: BrokerLink,
        (first, requests): (Buffer, Requests),
        state: SessionState,
        pools: Pools,
        metrics: ListenerMetrics,
    ) -> Self {
        let limits = Limits {
            frame_progress: state.settings.frame_progress_timeout,
            half_close: state.settings.half_close_timeout,
        };
        Self {
            client,
            requests: Lane::new(requests, pools, Some(first)),
            links: Links::new(link),
            is_needed: false,
            watch: Watch::new(limits),
            up: Side::default(),
            down: Side::default(),
            state,
            metrics,
            ending: None,
            is_leaving: false,
            broken: None,
            deadline: None,
        }
    }

    /// The broker that the client's next request goes to.
    pub(super) fn link(&self) -> &BrokerLink {
        self.links.current()
    }

    /// Where the buffers and pipes of this session come from.
    pub(super) fn pools(&self) -> Pools {
        self.requests.pools().clone()
    }

    /// All brokers.
    pub(super) fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Moves bytes until the session ends or needs a decision. Cancel-safe: everything is in
    /// `self`.
    pub(super) async fn run(&mut self) -> Event {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Begins no further request, and ends the session once those in flight have been answered.
    pub(super) fn end(&mut self, cause: Cause) {
        self.state.is_ending = true;
        self.ending.get_or_insert(cause);
    }

    /// Ends the session at the first moment at which all that the client has sent is answered.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
    }

    /// The owner knows who the broker is: requests may go on, unless it has ended the session.
    pub(super) fn resume(&mut self) {
        self.links.current_mut().identity.settled();
    }

    /// Whether nothing is in flight, and nothing of the client's waits.
    pub(super) fn is_idle(&self) -> bool {
        self.is_through() && !self.requests.has_bytes()
    }

    /// Whether everything that has been begun is through.
    fn is_through(&self) -> bool {
        !self.requests.is_mid_frame()
            && self.requests.is_flushed()
            && self.state.owed.is_empty()
            && self.links.iter().all(BrokerLink::is_through)
            && self.client.is_drained()
    }

    /// What has been carried so far.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic {
            requests: Some(self.state.requests),
            bytes_to_broker: self.up.moved,
            bytes_to_client: self.down.moved,
        }
    }

    /// Ends both connections, each as its side needs it.
    pub(super) async fn close(self, cause: &Cause) {
        let has_gone = self.has_client_closed() || matches!(cause, Cause::ClientFailed(_));
        // Pipes and buffers go back to their pools before the client gets its time to close.
        let Self { client, links, .. } = self;
        let brokers = links.into_all().map(BrokerLink::into_stream).collect();
        if has_gone && client.plain().is_some() {
            // Of one that has closed nothing is unread, so that what has been sent to it arrives
            // all the same; one that has failed can't be told anything. In TLS there would be more
            // to say.
            drop(client);
            close::close_brokers(brokers).await;
        } else {
            close::close(client, brokers, b"").await;
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut poll_budget = POLL_BUDGET_BYTES;
        self.up.is_heard = false;
        self.down.is_heard = false;
        if let Poll::Ready(Err(cause)) = self.poll_responses(cx, &mut poll_budget) {
            return Poll::Ready(Event::Ended(cause));
        }
        if let Some((request, frame)) = self.links.iter_mut().find_map(BrokerLink::take_own) {
            return Poll::Ready(Event::Answered(request, frame));
        }
        if let Poll::Ready(Err(cause)) = self.poll_requests(cx, &mut poll_budget) {
            return Poll::Ready(Event::Ended(cause));
        }
        if let Some(wanted) = self.wanted() {
            return Poll::Ready(Event::NeedsBroker(wanted));
        }
        if self.has_left(poll_budget) {
            return Poll::Ready(Event::Ended(Cause::Drained));
        }
        let ended = self.poll_end(cx).or_else(|| self.poll_watch(cx));
        ended.map_or(Poll::Pending, |cause| Poll::Ready(Event::Ended(cause)))
    }

    /// What the client's next request waits for, once everything before it is on its way.
    fn wanted(&mut self) -> Option<Wanted> {
        let routing = self.state.routing.as_ref()?;
        let wanted = routing.wanted()?;
        let is_its_turn = !self.is_needed
            && !self.state.is_ending
            && !self.requests.is_mid_frame()
            && self.requests.is_flushed();
        if !is_its_turn {
            return None;
        }
        self.is_needed = true;
        Some(wanted.clone())
    }

    /// What the client's next request waited for has been done, or can't be.
    pub(super) fn go_on(&mut self) {
        self.is_needed = false;
        if let Some(routing) = &mut self.state.routing {
            routing.done();
        }
    }

    /// The client's next request waits for nobody any more: it is looked at again.
    pub(super) fn look_again(&mut self) {
        self.is_needed = false;
    }

    /// Whether nothing has said yet whom the client means.
    pub(super) fn is_broker_unknown(&self) -> bool {
        let routing = self.state.routing.as_ref();
        routing.is_some_and(|routing| routing.is_open())
    }

    /// The session ends so: a client that has gone says nothing about its brokers; a broker that
    /// has ended it may come back as another version.
    pub(super) fn note_end(&mut self, cause: &Cause) {
        if matches!(cause, Cause::ClientClosed | Cause::ClientFailed(_)) {
            let through = self.links.iter_mut().filter(|link| link.is_through());
            through.for_each(|link| link.standing.left_in_peace());
        }
        let is_broker = matches!(
            cause,
            Cause::BrokerClosed | Cause::BrokerFailed(_) | Cause::BrokerGone(_)
        );
        if is_broker {
            self.lost(self.links.reading());
            self.lost(self.links.current());
        }
    }

    fn lost(&self, link: &BrokerLink) {
        if let (Some(routing), Some(node)) = (&self.state.routing, link.node) {
            routing.lost(node);
        }
    }

    /// Drops the links that are closed.
    fn drop_closed(&mut self) {
        let has_broken = |link: &&BrokerLink| link.is_closed && !link.is_leaving;
        self.links
            .iter()
            .filter(has_broken)
            .for_each(|link| self.lost(link));
        self.links.drop_closed();
    }

    /// The first link is there: the request that named its broker need not wait any more.
    pub(super) fn first_broker_reached(&mut self) {
        let routing = self.state.routing.as_ref();
        if routing.is_some_and(|routing| routing.named().is_some()) {
            self.go_on();
        }
    }

    /// The client's login, to be said once more; it is kept no longer.
    pub(super) fn credentials(&mut self) -> Option<Credentials> {
        self.state.routing.as_mut()?.login.take()
    }

    /// The client's next request has been split.
    pub(super) fn is_split(&mut self) {
        self.is_needed = false;
        if let Some(routing) = &mut self.state.routing {
            routing.is_split();
        }
    }

    /// Whether the session has waited long enough for one of its sides.
    fn poll_watch(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        let current = self.links.current();
        let reading = self.links.reading();
        let is_waiting = !self.requests.is_flushed()
            || !current.stream.is_drained()
            || self.links.iter().any(|link| !link.outbox.is_empty());
        // Bytes of a request that may not be begun yet wait for the broker's answers, which have
        // no deadline here: the client has one.
        let is_begun = self.requests.is_mid_frame()
            || self.up.is_heard && (self.requests.has_bytes() || self.client.is_mid_record());
        let mut up = self.up.flow(is_waiting, is_begun);
        // That the client has closed may be known already; then it has a deadline of its own.
        up.is_heard |= self.has_client_closed();
        let responses = &reading.responses;
        let is_waiting = !responses.is_flushed() || !self.client.is_drained();
        let is_begun = responses.is_mid_frame() || responses.has_bytes();
        let down = self.down.flow(is_waiting, is_begun);
        let timeout = self.state.settings.frame_progress_timeout;
        match self
            .watch
            .poll(cx, (&self.client, up), (&reading.stream, down))
        {
            Poll::Pending => None,
            Poll::Ready(Overdue::Gone(Way::Up)) => Some(Cause::ClientClosed),
            Poll::Ready(Overdue::Gone(Way::Down)) => Some(Cause::BrokerClosed),
            Poll::Ready(Overdue::Stalled(way, waits_for)) => {
                Some(Cause::stalled(way, waits_for, timeout))
            }
        }
    }

    /// Whether a session that is to leave can: the client's socket has just been read empty, and
    /// not only for this turn.
    fn has_left(&self, budget_left: usize) -> bool {
        let is_read_empty = self.up.is_heard && budget_left > 0;
        self.is_leaving && is_read_empty && self.is_idle()
    }

    /// Whether an ending session has nothing left to do.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Cause> {
        self.ending.as_ref()?;
        let is_through = self.is_through();
        let is_late = self
            .deadline
            .as_mut()
            .is_some_and(|deadline| deadline.as_mut().poll(cx).is_ready());
        match (is_through, is_late) {
            (true, _) => self.ending.take(),
            (false, true) => Some(Cause::HalfCloseTimeout(
                self.state.settings.half_close_timeout,
            )),
            (false, false) => None,
        }
    }

    /// Client to broker. `Ok` when there is nothing more to do until the other direction has done
    /// something.
    fn poll_requests(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        loop {
            if self.state.routing.is_some() {
                ready!(self.poll_outboxes(cx))?;
            }
            let link = self.links.current_mut();
            let flushed = self.requests.poll_flush(cx, &mut link.stream);
            self.up
                .note_flush(flushed.is_pending(), ToBroker, &self.metrics);
            let sent = ready!(flushed).map_err(Cause::BrokerFailed)?;
            if sent > 0 {
                link.in_flight.sent();
                self.up.moved += sent as u64;
                self.metrics.bytes_to_broker.inc_by(sent as u64);
                ready!(charge(cx, poll_budget, sent));
                continue;
            }
            let mut with = self.links.current_mut().outgoing(&mut self.state);
            // Between two frames only: in the middle of one, the next bytes belong to it, whatever
            // has changed since.
            if !self.requests.is_mid_frame() {
                if with.must_ask() {
                    self.ask();
                    continue;
                }
                if !with.takes_requests() {
                    return Poll::Ready(Ok(()));
                }
            }
            // What had to wait for the other direction may be in the buffer already.
            if self.requests.has_bytes() {
                let looked = self.requests.scan(&mut with);
                self.requests_looked_at(looked);
                if self.requests.scanner.sendable() > 0 || self.state.is_ending {
                    continue;
                }
            }
            let held_bytes_max = self.held_bytes_max();
            let mut with = self.links.current_mut().outgoing(&mut self.state);
            self.up.is_heard = true;
            let client = &mut self.client;
            let filled = ready!(
                self.requests
                    .poll_fill(cx, client, held_bytes_max, &mut with)
            );
            match filled.map_err(Cause::ClientFailed)? {
                Filled::Bytes(looked) => self.requests_looked_at(looked),
                Filled::End => self.client_closed()?,
                // The scanner gives up on a beginning that is longer than half a buffer.
                Filled::Full => {
                    return Poll::Ready(Err(Cause::RequestHeaderTooLarge(BUFFER_BYTES)));
                }
            }
        }
    }

    /// How much of the client's requests may be held: the beginning of one, or all of it where that
    /// says whom it is for.
    fn held_bytes_max(&self) -> usize {
        match self.state.routing {
            None => BUFFER_BYTES,
            Some(_) => BUFFER_BYTES + ROUTED_BYTES_MAX,
        }
    }

    /// Sends the pieces of requests, before anything else goes out.
    fn poll_outboxes(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let mut is_pending = false;
        for link in self.links.iter_mut().filter(|link| link.is_usable()) {
            let mut moved = 0;
            match link.poll_outbox(cx, &mut moved) {
                Poll::Pending => is_pending = true,
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => link.broke(error)?,
            }
            self.up.moved += moved;
            self.metrics.bytes_to_broker.inc_by(moved);
        }
        match is_pending {
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    /// A request that may not pass ends the session behind those that did.
    fn requests_looked_at(&mut self, looked: Result<(), Cause>) {
        if let Err(cause) = looked {
            self.end(cause);
        }
    }

    /// Whether the client has closed its sending side, and everything before that has been read.
    fn has_client_closed(&self) -> bool {
        self.deadline.is_some()
    }

    /// The client has closed its sending side. Whatever it has asked is answered; half a request
    /// goes nowhere.
    fn client_closed(&mut self) -> Result<(), Cause> {
        if self.requests.is_mid_frame() {
            return Err(Cause::ClientClosed);
        }
        self.end(Cause::ClientClosed);
        let timeout = self.state.settings.half_close_timeout;
        self.deadline
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        Ok(())
    }

    /// Narrows' own question, between two requests of the client.
    fn ask(&mut self) {
        self.send_own(in_flight::broker_list_request());
        self.links.current_mut().identity.asked();
    }

    /// Asks the current broker something. Only between two requests of the client.
    pub(super) fn send_own(&mut self, (frame, expected): (Vec<u8>, Expected)) {
        let (requests, buffer) = self.requests.parts();
        requests.put_own(buffer, &frame);
        self.links.current_mut().in_flight.push(expected);
    }

    /// Takes the client's next request, which is there as a whole, out of what is to be sent.
    pub(super) fn take_out(&mut self, frame_bytes: usize) {
        let (requests, buffer) = self.requests.parts();
        requests.take_out(buffer, frame_bytes);
    }

    /// Brokers to client.
    fn poll_responses(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        match self.poll_reading(cx, poll_budget) {
            Poll::Pending if !self.links.is_one() => self.poll_aside(cx),
            polled => polled,
        }
    }

    /// From the broker whose turn it is.
    fn poll_reading(
        &mut self,
        cx: &mut Context<'_>,
        poll_budget: &mut usize,
    ) -> Poll<Result<(), Cause>> {
        loop {
            let link = self.links.reading_mut();
            let flushed = link.responses.poll_flush(cx, &mut self.client);
            self.down
                .note_flush(flushed.is_pending(), ToClient, &self.metrics);
            let sent = ready!(flushed).map_err(Cause::ClientFailed)?;
            if sent > 0 {
                let is_held = link.responses.scanner.is_held();
                link.in_flight.answered(is_held, &self.metrics);
                self.down.moved += sent as u64;
                self.metrics.bytes_to_client.inc_by(sent as u64);
                ready!(charge(cx, poll_budget, sent));
                continue;
            }
            if let Some(broken) = self.broken.take() {
                return Poll::Ready(Err(broken));
            }
            if std::mem::take(&mut link.is_unread) {
                let (responses, _, mut with) = link.reading(&mut self.state);
                self.broken = responses.scan(&mut with).err();
                continue;
            }
            if !link.responses.is_mid_frame() && (ready!(self.poll_own(cx))? | self.take_turn()?) {
                // The broker's next response may have come while it was not its turn.
                let (responses, _, mut with) = self.links.reading_mut().reading(&mut self.state);
                self.broken = responses.scan(&mut with).err();
                continue;
            }
            if self.state.owed.merge().is_some() {
                ready!(self.poll_merge(cx))?;
                continue;
            }
            self.down.is_heard = true;
            let held_bytes_max = self.state.settings.held_response_bytes_max;
            let (responses, broker, mut with) = self.links.reading_mut().reading(&mut self.state);
            let filled = ready!(responses.poll_fill(cx, broker, held_bytes_max, &mut with));
            match filled.map_err(Cause::BrokerFailed)? {
                // A response that may not pass ends the session behind those that did.
                Filled::Bytes(looked) => self.broken = looked.err(),
                Filled::End => return Poll::Ready(Err(Cause::BrokerClosed)),
                Filled::Full => {
                    return Poll::Ready(Err(responses.scanner.too_large(held_bytes_max)));
                }
            }
            if self.links.reading().answered.is_some() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// With several brokers, the one whose response comes next is read; whether that is another one
    /// than before. Only between two responses. `Err` if that one has closed instead: nobody else
    /// can answer a request that was its alone.
    fn take_turn(&mut self) -> Result<bool, Cause> {
        if self.links.is_one() {
            return Ok(false);
        }
        Ok(match self.state.owed.turn() {
            Turned::Broker(link) if !self.links.is_there(link) => return Err(Cause::BrokerClosed),
            Turned::Broker(link) => self.links.read(link),
            Turned::Nobody => {
                let current = self.links.current().id;
                self.links.read(current)
            }
            Turned::Own | Turned::Merged => false,
        })
    }

    /// Looks after the brokers whose turn it is not: answers to Narrows' own questions are taken,
    /// and one that has closed with nothing in flight is done with.
    fn poll_aside(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        let reading = self.links.reading().id;
        for link in self.links.iter_mut() {
            if link.id == reading {
                continue;
            }
            let is_part = |response: &Response| response.to == Recipient::Part;
            let is_part_next =
                matches!(link.in_flight.oldest(), Some(Expected::Response(next)) if is_part(next));
            if link.in_flight.is_aside() && !is_part_next || link.responses.scanner.is_dropping() {
                match link.poll_answer(cx, &mut self.state) {
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    Poll::Ready(Ok(true)) if link.answered.is_some() => return Poll::Ready(Ok(())),
                    Poll::Ready(Ok(true)) | Poll::Pending => {}
                    Poll::Ready(Ok(false)) => return Poll::Ready(Err(Cause::BrokerClosed)),
                }
            } else if link.is_through() && (link.is_leaving || link.has_hung_up(cx)) {
                // That is how a broker says that what has no answer has failed.
                if link.in_flight.has_unanswered() && !link.is_leaving {
                    return Poll::Ready(Err(Cause::BrokerClosed));
                }
                link.is_closed = true;
            }
        }
        self.drop_closed();
        Poll::Pending
    }

    /// Collects what several brokers answer together, until all of it is there, or enough.
    fn poll_merge(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        loop {
            self.collect_parts(cx)?;
            self.drop_closed();
            let may_ask = self.may_ask_again();
            let Some(merge) = self.state.owed.merge() else {
                return Poll::Ready(Ok(()));
            };
            merge.fail_lost(|link| self.links.is_there(link));
            match merge.progress(may_ask, time::now()) {
                Progress::Pending => return Poll::Pending,
                Progress::Done => {
                    // One that arrives already is waited for.
                    let is_arriving = |id| self.links.is_mid_response(id);
                    if merge.awaited().any(is_arriving) {
                        return Poll::Pending;
                    }
                    for id in merge.awaited() {
                        if let Some(link) = self.links.by_id_mut(id) {
                            link.in_flight.abandon_part();
                        }
                    }
                    let response = merge.response()?;
                    if let Some(routing) = &mut self.state.routing {
                        routing.failed(&merge.request().request(), &merge.failed());
                    }
                    self.state.owed.merged(response);
                    return Poll::Ready(Ok(()));
                }
                Progress::Again(pieces) => {
                    let expected = merge.request().expected(Recipient::Part);
                    for (id, piece) in pieces {
                        if let Some(link) = self.links.by_id_mut(id) {
                            link.outbox.push_back(piece);
                            link.in_flight.push(expected);
                        }
                    }
                }
            }
        }
    }

    /// Takes the parts that have come.
    fn collect_parts(&mut self, cx: &mut Context<'_>) -> Result<(), Cause> {
        for link in self.links.iter_mut() {
            let merge = self.state.owed.merge();
            if !merge.is_some_and(|merge| merge.awaits(link.id)) {
                continue;
            }
            let Poll::Ready(is_there) = link.poll_answer(cx, &mut self.state) else {
                continue;
            };
            let is_there = is_there?;
            let frame = link.take_part();
            let Some(merge) = self.state.owed.merge() else {
                continue;
            };
            match frame {
                Some(frame) => {
                    self.down.moved += frame.len() as u64;
                    merge.came(link.id, frame)?;
                }
                // Something else has been answered before it.
                None if is_there => {}
                None => link.is_closed = true,
            }
        }
        Ok(())
    }

    /// Whether brokers may be asked again for what the client waits for: nothing of the client's is
    /// on its way behind it, which would wait too, or would be cut in two.
    fn may_ask_again(&self) -> bool {
        self.state.owed.len() == 1
            && !self.state.is_ending
            && !self.requests.is_mid_frame()
            && self.requests.is_flushed()
            && !self.requests.has_bytes()
    }

    /// Sends the answers of Narrows' own whose turn it is; whether there was one. Only between two
    /// responses of the broker.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Cause>> {
        let mut has_answered = false;
        while let Some(own) = self.state.owed.own() {
            let sent =
                ready!(self.client.poll_send(cx, own, false)).map_err(Cause::ClientFailed)?;
            own.advance(sent);
            if own.is_empty() {
                self.state.owed.own_is_through();
            }
            has_answered = true;
            self.down.moved += sent as u64;
            self.metrics.bytes_to_client.inc_by(sent as u64);
        }
        Poll::Ready(Ok(has_answered))
    }
}

impl Side {
    /// Counts for how long the receiver has taken no bytes, once it takes some.
    fn note_flush(&mut self, is_pending: bool, direction: Direction, metrics: &ListenerMetrics) {
        if is_pending {
            self.held_back.get_or_insert_with(Nanos::now);
        } else if let Some(since) = self.held_back.take() {
            let waited = Nanos::now().since(since);
            metrics.held_back(direction, Duration::from_nanos(waited));
        }
    }

    fn flow(self, is_waiting: bool, is_begun: bool) -> Flow {
        Flow::new(self.moved, self.is_heard, is_waiting, is_begun)
    }
}

#[cfg(test)]
mod tests;

/// Counts what was moved; when the turn is over, asks for the next one and lets others go first.
pub(super) fn charge(cx: &mut Context<'_>, poll_budget: &mut usize, moved: usize) -> Poll<()> {
    *poll_budget = poll_budget.saturating_sub(moved);
    if *poll_budget > 0 {
        return Poll::Ready(());
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
