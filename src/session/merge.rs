//! A request that several brokers answer together: its pieces, and what has come of them.

use super::cause::Cause;
use super::link_id::LinkId;
use crate::protocol::rewrite::PREFIX_BYTES;
use crate::protocol::split::{Failure, Outcome, Piece, Request};
use crate::protocol::table::Api;
use crate::protocol::wire::{Malformed, Reader};
use crate::types::NodeId;
use bytes::Bytes;

/// The client's request, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) api: &'static Api,
    pub(super) version: i16,
    /// Without its length.
    pub(super) frame: Bytes,
    /// Where the body begins.
    pub(super) body_at: usize,
}

impl Whole {
    pub(super) fn request(&self) -> Request<'_> {
        Request {
            api: self.api,
            version: self.version,
            frame: &self.frame,
            body_at: self.body_at,
        }
    }
}

/// What the brokers have answered so far.
#[derive(Debug)]
pub(super) struct Merge {
    request: Whole,
    parts: Vec<Part>,
}

/// One broker's part.
#[derive(Debug)]
pub(super) struct Part {
    /// Where it was sent, if anywhere.
    pub(super) link: Option<LinkId>,
    /// Whom it was for, if that is known.
    pub(super) node: Option<NodeId>,
    /// Which keys of the request it has.
    pub(super) keys: Vec<usize>,
    /// What came of it.
    pub(super) answer: Answer,
}

/// What came of a part.
#[derive(Debug)]
pub(super) enum Answer {
    /// It is to come.
    Awaited,
    /// The response, with its length in front.
    Came(Bytes),
    /// There is none.
    Failed(Failure),
}

impl Merge {
    /// Of these parts.
    pub(super) fn new(request: Whole, parts: Vec<Part>) -> Self {
        Self { request, parts }
    }

    /// Whether the broker of this link has yet to answer its part.
    pub(super) fn awaits(&self, link: LinkId) -> bool {
        self.parts.iter().any(|part| part.is_awaited_from(link))
    }

    /// It has answered, with this frame.
    pub(super) fn came(&mut self, link: LinkId, frame: Bytes) {
        let awaited = |part: &&mut Part| part.is_awaited_from(link);
        if let Some(part) = self.parts.iter_mut().find(awaited) {
            part.answer = Answer::Came(frame);
        }
    }

    /// What is awaited of links that are not there any more does not come.
    pub(super) fn fail_lost(&mut self, is_there: impl Fn(LinkId) -> bool) {
        for part in &mut self.parts {
            let is_lost = part.link.is_none_or(|link| !is_there(link));
            if is_lost && matches!(part.answer, Answer::Awaited) {
                part.answer = Answer::Failed(Failure::Unanswered);
            }
        }
    }

    /// Whether nothing more is to come.
    pub(super) fn is_complete(&self) -> bool {
        let is_there = |part: &Part| !matches!(part.answer, Answer::Awaited);
        self.parts.iter().all(is_there)
    }

    /// The response to the client, with its length in front.
    pub(super) fn response(&self) -> Result<Bytes, Cause> {
        let Whole { api, version, .. } = self.request;
        let malformed = |malformed| Cause::ResponseMalformed {
            api: api.name,
            version,
            malformed,
        };
        let has_tags = api
            .header_versions(version)
            .is_some_and(|versions| versions.response == 1);
        let mut pieces = Vec::new();
        for part in &self.parts {
            let outcome = match &part.answer {
                Answer::Came(frame) => Outcome::Answered(body(frame, has_tags).map_err(malformed)?),
                Answer::Failed(failure) => Outcome::Failed(*failure),
                Answer::Awaited => Outcome::NothingYet,
            };
            pieces.push(Piece {
                node: part.node,
                keys: &part.keys,
                outcome,
            });
        }
        let merged = self.request.request().merge(&pieces);
        merged.map(Bytes::from).map_err(malformed)
    }
}

impl Part {
    fn is_awaited_from(&self, link: LinkId) -> bool {
        self.link == Some(link) && matches!(self.answer, Answer::Awaited)
    }
}

/// What stands behind the header of a response.
fn body(frame: &[u8], has_tags: bool) -> Result<&[u8], Malformed> {
    let behind = frame.get(PREFIX_BYTES..).ok_or(Malformed::TooLong)?;
    if !has_tags {
        return Ok(behind);
    }
    let mut reader = Reader::whole(behind);
    reader.skip_tags().map_err(|unread| unread.in_whole())?;
    let at = reader.position();
    behind.get(at..).ok_or(Malformed::TooLong)
}
