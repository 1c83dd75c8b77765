//! What passes from the broker to the client: matched with its request, rewritten where it names
//! brokers, and cleared.
//!
//! A response that names no broker flows as it arrives; one that does is held as long as
//! [`Rewrite`] needs. This knows no socket: it looks at a buffer and says how much of it may go
//! out. What goes out depends on the bytes alone, not on how they were split.

use super::cause::Cause;
use super::in_flight::{Expected, Recipient, Response};
use super::lane::Scan;
use super::requests::LENGTH_BYTES;
use super::state::SessionState;
use crate::net::buffer::Buffer;
use crate::protocol::rewrite::{PREFIX_BYTES, Rewrite};
use crate::protocol::table::{self, ResponseReading, Treatment};
use crate::protocol::wire::{Malformed, Reader, Unread};
use crate::protocol::{api_versions, own_requests};

/// The most that is held of one response: room for tens of thousands of broker addresses.
pub(super) const HELD_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How far the responses have been looked at.
#[derive(Debug, Default)]
pub(super) struct Responses {
    at: At,
    /// How many bytes at the front of the buffer may go to the client.
    cleared: usize,
    /// The size of the last response that flowed, or of the largest record set in the last that was
    /// rewritten.
    last_run: usize,
    /// Room for the next response that is rewritten: a connection that fetches needs it again and
    /// again.
    spare: Option<Box<Rewriting>>,
}

/// Where in the stream of responses the end of the cleared bytes is.
#[derive(Debug, Default)]
enum At {
    /// Between two responses.
    #[default]
    Boundary,
    /// In a response that flows; so many bytes are left.
    Flowing(usize),
    /// In one that is held until it is whole: so many bytes, with its length.
    Whole(Response, usize),
    /// In one that is rewritten.
    Rewriting(Box<Rewriting>),
}

#[derive(Debug)]
struct Rewriting {
    rewrite: Rewrite,
    response: Response,
    /// The frame's size with its length.
    total: usize,
    /// How much of the frame has been looked at.
    scanned: usize,
    /// How much of the frame has been cleared.
    cleared: usize,
}

impl Scan for Responses {
    type With = SessionState;

    fn scan(&mut self, buffer: &mut Buffer, state: &mut SessionState) -> Result<(), Cause> {
        loop {
            let arrived = buffer.filled().len() - self.cleared;
            let goes_on = match &mut self.at {
                At::Boundary => self.begin(buffer, state)?,
                At::Flowing(left) => {
                    let passed = arrived.min(*left);
                    self.cleared += passed;
                    *left -= passed;
                    let is_through = *left == 0;
                    if is_through {
                        self.at = At::Boundary;
                    }
                    is_through
                }
                At::Whole(_, total) if arrived < *total => false,
                At::Whole(response, total) => {
                    let response = *response;
                    let total = *total;
                    self.finish_whole(response, total, buffer, state)?;
                    true
                }
                At::Rewriting(_) => self.rewrite(buffer, state)?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn cleared(&self) -> usize {
        self.cleared
    }

    fn sent(&mut self, count: usize) {
        self.cleared -= count;
    }

    fn is_mid_frame(&self) -> bool {
        !matches!(self.at, At::Boundary)
    }

    fn unseen(&self) -> usize {
        match &self.at {
            At::Flowing(left) => *left,
            At::Rewriting(rewriting) => rewriting.unseen(),
            At::Boundary | At::Whole(..) => 0,
        }
    }

    fn passed(&mut self, count: usize) {
        match &mut self.at {
            At::Flowing(left) => {
                *left -= count;
                if *left == 0 {
                    self.at = At::Boundary;
                }
            }
            At::Rewriting(rewriting) => rewriting.passed(count),
            At::Boundary | At::Whole(..) => {}
        }
    }

    fn last_run(&self) -> usize {
        self.last_run
    }
}

impl Rewriting {
    /// Records in a response of which nothing is held yet.
    fn unseen(&self) -> usize {
        let is_held = self.rewrite.held_from().is_some() || self.scanned > self.cleared;
        if is_held { 0 } else { self.rewrite.skippable() }
    }

    fn passed(&mut self, count: usize) {
        self.rewrite.skip_passed(count);
        self.scanned += count;
        self.cleared += count;
    }
}

impl Responses {
    /// Why the buffer is full of bytes that can't go out.
    pub(super) fn too_large(&self) -> Cause {
        let response = match &self.at {
            At::Whole(response, _) => Some(response),
            At::Rewriting(rewriting) => Some(&rewriting.response),
            At::Boundary | At::Flowing(_) => None,
        };
        Cause::ResponseTooLarge {
            api: response.map_or("", Response::api_name),
            limit: HELD_BYTES_MAX,
        }
    }

    /// Looks at the beginning of the next response. False if more bytes are needed.
    fn begin(&mut self, buffer: &Buffer, state: &mut SessionState) -> Result<bool, Cause> {
        let bytes = &buffer.filled()[self.cleared..];
        if bytes.is_empty() {
            return Ok(false);
        }
        let oldest = state.in_flight.oldest().ok_or(Cause::UnexpectedResponse)?;
        let Some(length) = bytes
            .first_chunk()
            .map(|prefix| i32::from_be_bytes(*prefix))
        else {
            return Ok(false);
        };
        let limit = state.settings.frame_bytes_max;
        let bytes_min = match oldest {
            Expected::RawToken => 0,
            Expected::Response(_) => PREFIX_BYTES - LENGTH_BYTES,
        };
        let frame_bytes = usize::try_from(length)
            .ok()
            .filter(|bytes| (bytes_min..=limit).contains(bytes));
        let frame_bytes = frame_bytes.ok_or(Cause::ResponseLength {
            bytes: length,
            limit,
        })?;
        let total = LENGTH_BYTES + frame_bytes;
        self.at = match oldest {
            Expected::RawToken => {
                state.sasl.token_answered(0);
                At::Flowing(total)
            }
            Expected::Response(response) => {
                let Some(&[_, _, _, _, a, b, c, d]) = bytes.first_chunk::<PREFIX_BYTES>() else {
                    return Ok(false);
                };
                let answered = i32::from_be_bytes([a, b, c, d]);
                let asked = response.correlation_id;
                if answered != asked {
                    return Err(Cause::CorrelationMismatch { answered, asked });
                }
                self.place(response, frame_bytes, bytes)?
            }
        };
        if let At::Flowing(total) = self.at {
            self.last_run = total;
        }
        state.in_flight.pop();
        Ok(true)
    }

    /// A response that had to be whole is.
    fn finish_whole(
        &mut self,
        response: Response,
        total: usize,
        buffer: &mut Buffer,
        state: &mut SessionState,
    ) -> Result<(), Cause> {
        let at = self.cleared..self.cleared + total;
        let frame = &buffer.filled()[at.clone()];
        let body = &frame[PREFIX_BYTES..];
        let malformed = |malformed| malformed_response(&response, malformed);
        self.at = At::Boundary;
        match (response.to, response.api.map(|api| api.treatment)) {
            (Recipient::Own(_), _) => {
                let sighting = own_requests::read_metadata(frame).map_err(malformed)?;
                state.observer.brokers_seen(sighting);
                state.broker_identity.answered();
                buffer.replace(at, &[]);
                return Ok(());
            }
            (_, Some(Treatment::Negotiate)) => {
                let unvetted = state.settings.unvetted;
                let cut = api_versions::cut(body, response.version, unvetted).map_err(malformed)?;
                let length =
                    i32::try_from(PREFIX_BYTES - LENGTH_BYTES + cut.len()).unwrap_or(i32::MAX);
                let mut out = length.to_be_bytes().to_vec();
                out.extend_from_slice(&frame[LENGTH_BYTES..PREFIX_BYTES]);
                out.extend_from_slice(&cut);
                buffer.replace(at, &out);
                self.cleared += out.len();
                state.observer.response_rewritten(table::API_VERSIONS.key);
                return Ok(());
            }
            (_, Some(Treatment::Handshake)) => {
                state
                    .sasl
                    .handshake_answered(error_code(body, false).map_err(malformed)?);
            }
            _ => {
                let is_flexible = response
                    .api
                    .is_some_and(|api| api.is_flexible(response.version));
                state
                    .sasl
                    .token_answered(error_code(body, is_flexible).map_err(malformed)?);
            }
        }
        self.cleared += total;
        Ok(())
    }

    /// Goes on with a response that is rewritten. False if more bytes are needed.
    fn rewrite(&mut self, buffer: &mut Buffer, state: &mut SessionState) -> Result<bool, Cause> {
        let At::Rewriting(rewriting) = &mut self.at else {
            return Ok(false);
        };
        let Rewriting {
            rewrite,
            response,
            total,
            scanned,
            cleared,
        } = &mut **rewriting;
        let malformed = |malformed| malformed_response(response, malformed);
        let next = self.cleared + (*scanned - *cleared);
        let bytes = &buffer.filled()[next..];
        let bytes = &bytes[..bytes.len().min(*total - *scanned)];
        *scanned += rewrite.push(bytes).map_err(malformed)?;
        self.last_run = rewrite.largest_run();
        let free = rewrite
            .held_from()
            .unwrap_or(*scanned)
            .saturating_sub(*cleared);
        self.cleared += free;
        *cleared += free;
        if !rewrite.is_ready() {
            let is_short = *scanned == *total;
            return if is_short {
                Err(malformed(Malformed::TooLong))
            } else {
                Ok(false)
            };
        }
        let held = self.cleared..self.cleared + (*scanned - *cleared);
        let observer = &state.observer;
        let edited = rewrite
            .finish(&buffer.filled()[held.clone()], *cleared, &**observer)
            .map_err(malformed)?;
        let held_bytes = edited.bytes.as_ref().map_or(held.len(), Vec::len);
        if let Some(bytes) = edited.bytes {
            buffer.replace(held, &bytes);
            if let Some(api) = response.api {
                observer.response_rewritten(api.key);
            }
        }
        observer.brokers_seen(edited.sighting);
        self.cleared += held_bytes;
        let rest = At::Flowing(*total - *scanned);
        if let At::Rewriting(rewriting) = std::mem::replace(&mut self.at, rest) {
            self.spare = Some(rewriting);
        }
        Ok(true)
    }

    /// How a response of `frame_bytes` is looked at; `bytes` is what has arrived of it.
    fn place(&mut self, response: Response, frame_bytes: usize, bytes: &[u8]) -> Result<At, Cause> {
        let total = LENGTH_BYTES + frame_bytes;
        let Some(api) = response.api else {
            return Ok(At::Flowing(total));
        };
        let is_held = matches!(response.to, Recipient::Own(_))
            || api.response(response.version) == ResponseReading::Whole;
        if is_held {
            let too_large = Cause::ResponseTooLarge {
                api: api.name,
                limit: HELD_BYTES_MAX,
            };
            return if total > HELD_BYTES_MAX {
                Err(too_large)
            } else {
                Ok(At::Whole(response, total))
            };
        }
        let passes = |frame| Rewrite::passes(api, response.version, frame);
        if !api.rewrites(response.version) || bytes.get(..total).is_some_and(passes) {
            return Ok(At::Flowing(total));
        }
        let Some(rewrite) = Rewrite::new(api, response.version, frame_bytes) else {
            return Ok(At::Flowing(total));
        };
        let rewriting = Rewriting {
            rewrite,
            response,
            total,
            scanned: PREFIX_BYTES,
            cleared: 0,
        };
        Ok(At::Rewriting(match self.spare.take() {
            None => Box::new(rewriting),
            Some(mut spare) => {
                *spare = rewriting;
                spare
            }
        }))
    }
}

/// The error code that a SASL response begins with, behind its header's tagged fields.
fn error_code(body: &[u8], is_flexible: bool) -> Result<i16, Malformed> {
    let mut reader = Reader::whole(body);
    let tags = if is_flexible {
        reader.skip_tags()
    } else {
        Ok(())
    };
    tags.and_then(|()| reader.int16()).map_err(Unread::in_whole)
}

fn malformed_response(response: &Response, malformed: Malformed) -> Cause {
    Cause::ResponseMalformed {
        api: response.api_name(),
        version: response.version,
        malformed,
    }
}
