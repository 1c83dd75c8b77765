//! A request that several brokers answer together: its pieces, and what has come of them.

use super::cause::Cause;
use super::in_flight::{Expected, Recipient, Response};
use super::link_id::LinkId;
use super::polls::Polls;
use crate::protocol::rewrite::PREFIX_BYTES;
use crate::protocol::split::{self, Failure, Fetched, Outcome, Piece, Request};
use crate::protocol::table::Api;
use crate::protocol::wire::{Malformed, Reader};
use crate::types::NodeId;
use bytes::Bytes;
use std::time::Instant;

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

    /// What its responses are expected as on a broker's connection.
    pub(super) fn expected(&self, to: Recipient) -> Expected {
        let correlation_id = self.frame.get(4..).and_then(|bytes| bytes.first_chunk());
        Expected::Response(Response {
            api: Some(self.api),
            version: self.version,
            correlation_id: correlation_id.map_or(0, |bytes| i32::from_be_bytes(*bytes)),
            to,
        })
    }

    fn has_tags(&self) -> bool {
        let headers = self.api.header_versions(self.version);
        headers.is_some_and(|versions| versions.response == 1)
    }

    fn malformed(&self, malformed: Malformed) -> Cause {
        Cause::ResponseMalformed {
            api: self.api.name,
            version: self.version,
            malformed,
        }
    }
}

/// What the brokers have answered so far.
#[derive(Debug)]
pub(super) struct Merge {
    request: Whole,
    parts: Vec<Part>,
    /// How it is asked for again, if it is.
    polls: Option<Polls>,
}

/// How far it is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Something is to come.
    Pending,
    /// The response can be written.
    Done,
    /// The brokers are to be asked this.
    Again(Vec<(LinkId, Bytes)>),
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
    /// The last answer, where it is asked again.
    pub(super) last: Option<(Bytes, Fetched)>,
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
    pub(super) fn new(request: Whole, parts: Vec<Part>, polls: Option<Polls>) -> Self {
        Self {
            request,
            parts,
            polls,
        }
    }

    /// The client's request.
    pub(super) fn request(&self) -> &Whole {
        &self.request
    }

    /// The links that have yet to answer.
    pub(super) fn awaited(&self) -> impl Iterator<Item = LinkId> {
        let awaited = |part: &&Part| matches!(part.answer, Answer::Awaited);
        self.parts
            .iter()
            .filter(awaited)
            .filter_map(|part| part.link)
    }

    /// How far it is. `may_ask` says whether brokers may be asked again now.
    pub(super) fn progress(&mut self, may_ask: bool, now: Instant) -> Progress {
        let is_complete = self.awaited().next().is_none();
        let Some(polls) = &mut self.polls else {
            return match is_complete {
                true => Progress::Done,
                false => Progress::Pending,
            };
        };
        let fetched = self
            .parts
            .iter()
            .map(|part| part.last.as_ref().map_or(Fetched::default(), |last| last.1));
        let is_failed = |part: &Part| matches!(part.answer, Answer::Failed(_));
        if !is_complete && (polls.is_first() || !polls.is_enough(fetched.clone())) {
            return Progress::Pending;
        }
        if !may_ask || self.parts.iter().any(is_failed) || polls.is_enough(fetched.clone()) {
            return Progress::Done;
        }
        let Some(pieces) = polls.next(fetched, now) else {
            return Progress::Done;
        };
        let mut asked = Vec::new();
        for (part, piece) in self.parts.iter_mut().zip(pieces) {
            if let Some(link) = part.link {
                part.answer = Answer::Awaited;
                asked.push((link, piece));
            }
        }
        Progress::Again(asked)
    }

    /// Whether the broker of this link has yet to answer its part.
    pub(super) fn awaits(&self, link: LinkId) -> bool {
        self.parts.iter().any(|part| part.is_awaited_from(link))
    }

    /// It has answered, with this frame.
    pub(super) fn came(&mut self, link: LinkId, frame: Bytes) -> Result<(), Cause> {
        let fetched = match &self.polls {
            Some(_) => {
                let body = body(&frame, self.request.has_tags());
                let fetched = body.and_then(|body| split::fetched(self.request.version, body));
                Some(fetched.map_err(|malformed| self.request.malformed(malformed))?)
            }
            None => None,
        };
        let awaited = |part: &&mut Part| part.is_awaited_from(link);
        if let Some(part) = self.parts.iter_mut().find(awaited) {
            part.last = fetched.map(|fetched| (frame.clone(), fetched));
            part.answer = Answer::Came(frame);
        }
        Ok(())
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

    /// The keys to which there is no answer.
    pub(super) fn failed(&self) -> Vec<usize> {
        let is_failed = |part: &&Part| matches!(part.answer, Answer::Failed(_));
        let failed = self.parts.iter().filter(is_failed);
        failed.flat_map(|part| &part.keys).copied().collect()
    }

    /// The response to the client, with its length in front.
    pub(super) fn response(&self) -> Result<Bytes, Cause> {
        let has_tags = self.request.has_tags();
        let malformed = |malformed| self.request.malformed(malformed);
        let mut pieces = Vec::new();
        for part in &self.parts {
            let outcome = match &part.answer {
                Answer::Came(frame) => Outcome::Answered(body(frame, has_tags).map_err(malformed)?),
                Answer::Failed(failure) => Outcome::Failed(*failure),
                Answer::Awaited => match &part.last {
                    Some((frame, _)) => {
                        Outcome::Answered(body(frame, has_tags).map_err(malformed)?)
                    }
                    None => Outcome::NothingYet,
                },
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
