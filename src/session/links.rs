//! The connections to brokers that stand behind one client.
//!
//! Nearly always it is one. Where a client's address does not say which broker it means (scheme
//! `single`), a second one is opened when a request needs another broker than those there are. The
//! *current* link takes the client's next request; the link whose turn it is is read.

use super::cause::Cause;
use super::link::BrokerLink;
use super::link_id::LinkId;
use crate::types::NodeId;
use std::future::{Future, poll_fn};
use std::task::Poll;

/// More brokers than one client connection can need: the cluster's largest that anybody has seen is
/// far smaller.
pub(super) const LINKS_MAX: usize = 1024;

/// All links of a session; one at least.
#[derive(Debug)]
pub(super) struct Links {
    current: BrokerLink,
    others: Vec<BrokerLink>,
    /// Whose responses go to the client now.
    reading: LinkId,
    /// The id of the next link.
    next: u16,
    /// Whether one has been dropped, which may still be owed for.
    has_dropped: bool,
}

impl Links {
    /// The first one.
    pub(super) fn new(first: BrokerLink) -> Self {
        Self {
            reading: first.id,
            next: first.id.0 + 1,
            current: first,
            others: Vec::new(),
            has_dropped: false,
        }
    }

    /// The one that the client's next request goes out on.
    pub(super) fn current(&self) -> &BrokerLink {
        &self.current
    }

    /// See [`Self::current`].
    pub(super) fn current_mut(&mut self) -> &mut BrokerLink {
        &mut self.current
    }

    /// Whether there is but one, and never was another.
    pub(super) fn is_one(&self) -> bool {
        self.others.is_empty() && !self.has_dropped
    }

    /// The one whose responses go to the client now.
    pub(super) fn reading(&self) -> &BrokerLink {
        self.by_id(self.reading).unwrap_or(&self.current)
    }

    /// See [`Self::reading`].
    pub(super) fn reading_mut(&mut self) -> &mut BrokerLink {
        if self.current.id == self.reading {
            return &mut self.current;
        }
        let reading = self.reading;
        match self.others.iter_mut().find(|link| link.id == reading) {
            Some(link) => link,
            None => &mut self.current,
        }
    }

    /// From now on the responses of `link` go to the client; whether that is another one.
    pub(super) fn read(&mut self, link: LinkId) -> bool {
        std::mem::replace(&mut self.reading, link) != link
    }

    /// All of them, the current one first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &BrokerLink> {
        std::iter::once(&self.current).chain(&self.others)
    }

    /// See [`Self::iter`].
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut BrokerLink> {
        std::iter::once(&mut self.current).chain(&mut self.others)
    }

    /// The one to a broker, if there is one.
    pub(super) fn to_node(&self, node: NodeId) -> Option<&BrokerLink> {
        let is_it = |link: &&BrokerLink| link.node == Some(node) && link.is_usable();
        self.iter().find(is_it)
    }

    /// Whether the link is there, and may yet answer.
    pub(super) fn is_there(&self, id: LinkId) -> bool {
        self.by_id(id).is_some_and(|link| !link.is_closed)
    }

    /// See [`Self::to_node`].
    pub(super) fn by_id_mut(&mut self, id: LinkId) -> Option<&mut BrokerLink> {
        self.iter_mut().find(|link| link.id == id)
    }

    fn by_id(&self, id: LinkId) -> Option<&BrokerLink> {
        self.iter().find(|link| link.id == id)
    }

    /// Whether a response of the link has begun to arrive.
    pub(super) fn is_mid_response(&self, id: LinkId) -> bool {
        self.by_id(id)
            .is_some_and(|link| link.responses.is_mid_frame())
    }

    /// An id for a link that is to be [added](Self::add); `None` when there are too many.
    pub(super) fn next_id(&mut self) -> Option<LinkId> {
        if self.others.len() >= LINKS_MAX {
            return None;
        }
        let id = LinkId(self.next);
        self.next = self.next.checked_add(1)?;
        Some(id)
    }

    /// One more.
    pub(super) fn add(&mut self, link: BrokerLink) {
        self.others.push(link);
    }

    /// Makes the link to `node` the current one; whether there is one.
    pub(super) fn choose(&mut self, node: NodeId) -> bool {
        let is_it = |link: &BrokerLink| link.node == Some(node) && link.is_usable();
        if is_it(&self.current) {
            return true;
        }
        let found = self.others.iter_mut().find(|link| is_it(link));
        if let Some(link) = found {
            std::mem::swap(link, &mut self.current);
            self.current.is_leaving = false;
            return true;
        }
        false
    }

    /// The others were good until the right broker was known: each goes once it has answered
    /// everything.
    pub(super) fn let_others_go(&mut self) {
        self.others
            .iter_mut()
            .for_each(|link| link.is_leaving = true);
    }

    /// Drops links that are closed, but the current one, which ends the session when it is read.
    pub(super) fn drop_closed(&mut self) {
        let before = self.others.len();
        self.others.retain(|link| !link.is_closed);
        self.has_dropped |= self.others.len() < before;
    }

    /// Waits until the broker of a link that is not the current one leaves the cluster or moves.
    /// Cancel-safe; without such a link it waits for ever.
    pub(super) fn others_gone(&self) -> impl Future<Output = LinkId> + Send + use<> {
        let mut waiting: Vec<_> = self
            .others
            .iter()
            .map(|link| (link.id, Box::pin(link.gone.clone().cancelled_owned())))
            .collect();
        poll_fn(move |cx| {
            let gone = waiting
                .iter_mut()
                .find_map(|(id, gone)| gone.as_mut().poll(cx).is_ready().then_some(*id));
            gone.map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// The broker of a link has left. What it owes can't come any more: parts of answers are
    /// failed, and a whole answer ends the session.
    pub(super) fn leave(&mut self, id: LinkId) -> Result<(), Cause> {
        let Some(link) = self.others.iter_mut().find(|link| link.id == id) else {
            return Ok(());
        };
        let is_answering = self.reading == id && !link.is_through();
        if is_answering || link.in_flight.owes_client() {
            return Err(Cause::BrokerGone(link.target));
        }
        link.is_closed = true;
        self.drop_closed();
        Ok(())
    }

    /// All of them, for the end.
    pub(super) fn into_all(self) -> impl Iterator<Item = BrokerLink> {
        std::iter::once(self.current).chain(self.others)
    }
}
