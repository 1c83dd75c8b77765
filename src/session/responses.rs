//! What passes from the broker to the client: matched with its request, rewritten where it names
//! brokers, and cleared.
//!
//! A response that names no broker flows as it arrives; one that does is held as long as
//! [`Rewrite`] needs. This knows no socket: it looks at a buffer and says how much of it may go
//! out. What goes out depends on the bytes alone, not on how they were split.

use super::cause::Cause;
use super::in_flight::{Expected, InFlight, ReadAt, Recipient, Response};
use super::lane::{OpaqueAhead, Scan};
use super::link_id::LinkId;
use super::requests::LENGTH_BYTES;
use super::routing::Routing;
use super::settings::SessionSettings;
use super::state::{Observer, SessionState};
use crate::net::buffer::Buffer;
use crate::protocol::admission::ConfigAddresses;
use crate::protocol::mask::Masked;
use crate::protocol::rewrite::{BrokerList, PREFIX_BYTES, Rewrite};
use crate::protocol::table::{self, Api, ResponseReading, Route, Treatment};
use crate::protocol::wire::Malformed;
use crate::protocol::{api_versions, errors, sasl};
use crate::types::NodeId;
use bytes::Bytes;
use tracing::{debug, trace};

/// What responses are judged by, and where they are noted: the session, and the link that they come
/// in on.
pub(super) struct ResponseContext<'a> {
    pub(super) state: &'a mut SessionState,
    pub(super) in_flight: &'a mut InFlight,
    pub(super) link: LinkId,
    /// Which broker is there, where it is known.
    pub(super) node: Option<NodeId>,
    pub(super) answered: &'a mut Option<Answered>,
}

/// A broker's answer that does not go to the client as it is.
#[derive(Debug)]
pub(super) struct Answered {
    /// To what: Narrows' own request, or a part of the client's.
    pub(super) to: Recipient,
    /// The frame, with its length in front.
    pub(super) frame: Bytes,
}

/// How far the responses have been looked at.
#[derive(Debug, Default)]
pub(super) struct Responses {
    at: At,
    /// How many bytes at the front of the buffer may go to the client.
    sendable: usize,
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
    /// Whether a value of it has been masked.
    is_masked: bool,
}

impl Scan for Responses {
    type With<'a> = ResponseContext<'a>;

    fn scan(&mut self, buffer: &mut Buffer, with: &mut ResponseContext<'_>) -> Result<(), Cause> {
        let mut read_at = ReadAt::default();
        loop {
            if let Some((mechanism, outcome)) = with.state.sasl.take_outcome() {
                with.state.observer.login_answered(mechanism, outcome);
            }
            let arrived = buffer.filled().len() - self.sendable;
            let goes_on = match &mut self.at {
                // What has been answered must be taken before the next answer can be.
                At::Boundary if with.answered.is_some() => false,
                At::Boundary => self.begin(buffer, with, &mut read_at)?,
                At::Flowing(left) => {
                    let passed = arrived.min(*left);
                    self.sendable += passed;
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
                    self.finish_whole(response, total, buffer, with)?;
                    true
                }
                At::Rewriting(_) => self.rewrite(buffer, with.state)?,
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    fn sendable(&self) -> usize {
        self.sendable
    }

    fn consume(&mut self, count: usize) {
        self.sendable -= count;
    }

    fn is_mid_frame(&self) -> bool {
        !matches!(self.at, At::Boundary)
    }

    fn opaque_ahead(&self) -> OpaqueAhead {
        match &self.at {
            At::Flowing(left) => OpaqueAhead::of(*left),
            At::Rewriting(rewriting) => OpaqueAhead::of(rewriting.skippable()),
            At::Boundary | At::Whole(..) => OpaqueAhead::None,
        }
    }

    fn skip_opaque(&mut self, count: usize) {
        match &mut self.at {
            At::Flowing(left) => {
                *left -= count;
                if *left == 0 {
                    self.at = At::Boundary;
                }
            }
            At::Rewriting(rewriting) => rewriting.skip(count),
            At::Boundary | At::Whole(..) => {}
        }
    }

    fn last_run(&self) -> usize {
        self.last_run
    }
}

impl Rewriting {
    /// Records in a response of which nothing is held yet.
    fn skippable(&self) -> usize {
        let is_held = self.rewrite.held_from().is_some() || self.scanned > self.cleared;
        if is_held { 0 } else { self.rewrite.skippable() }
    }

    fn skip(&mut self, count: usize) {
        self.rewrite.skip_passed(count);
        self.scanned += count;
        self.cleared += count;
    }
}

impl Responses {
    /// Whether the response that was begun last is for the client, and nothing of it may go yet.
    pub(super) fn is_held(&self) -> bool {
        match &self.at {
            At::Whole(response, _) => response.to == Recipient::Client,
            At::Rewriting(rewriting) => rewriting.cleared == 0,
            At::Boundary | At::Flowing(_) => false,
        }
    }

    /// Whether the response that was begun last is for nobody.
    pub(super) fn is_dropping(&self) -> bool {
        matches!(&self.at, At::Whole(response, _) if response.to == Recipient::Nobody)
    }

    /// Why the buffer is full of bytes that can't go out.
    pub(super) fn too_large(&self, limit: usize) -> Cause {
        let response = match &self.at {
            At::Whole(response, _) => Some(response),
            At::Rewriting(rewriting) => Some(&rewriting.response),
            At::Boundary | At::Flowing(_) => None,
        };
        Cause::ResponseTooLarge {
            api: response.map_or("", Response::api_name),
            limit,
        }
    }

    /// Looks at the beginning of the next response. False if more bytes are needed, or an answer
    /// from elsewhere is owed to the client before it.
    fn begin(
        &mut self,
        buffer: &Buffer,
        with: &mut ResponseContext<'_>,
        read_at: &mut ReadAt,
    ) -> Result<bool, Cause> {
        let bytes = &buffer.filled()[self.sendable..];
        if bytes.is_empty() {
            return Ok(false);
        }
        let response = match with.in_flight.oldest() {
            Some(Expected::Response(response)) => *response,
            Some(Expected::RawToken) => return self.begin_token(bytes, true, with, read_at),
            None if with.state.sasl.may_be_answered() => {
                return self.begin_token(bytes, false, with, read_at);
            }
            None => return Err(Cause::UnexpectedResponse),
        };
        let length_min = PREFIX_BYTES - LENGTH_BYTES;
        let Some(frame_bytes) = frame_length(bytes, length_min, with.state)? else {
            return Ok(false);
        };
        let Some(&[_, _, _, _, a, b, c, d]) = bytes.first_chunk::<PREFIX_BYTES>() else {
            return Ok(false);
        };
        let answered = i32::from_be_bytes([a, b, c, d]);
        let asked = response.correlation_id;
        if answered != asked {
            return Err(Cause::CorrelationMismatch { answered, asked });
        }
        let is_for_client = response.to == Recipient::Client;
        // What is behind it waits for its beginning, and must know what it says.
        let is_judged = is_for_client && is_judged(&response, frame_bytes, with.state);
        if is_judged && bytes.len() < LENGTH_BYTES + frame_bytes {
            return Ok(false);
        }
        if is_for_client && !with.state.owed.begin(with.link) {
            return Ok(false);
        }
        trace!(
            api = response.api_name(),
            version = response.version,
            correlation_id = answered,
            bytes = frame_bytes,
            "response"
        );
        if is_for_client {
            if response.is_ordinary() {
                with.state.sasl.request_answered();
            }
            with.state.login.answered(&response);
            note_error(&response, bytes, with.state);
            judge(&response, bytes.get(..LENGTH_BYTES + frame_bytes), with);
        }
        self.at = self.place(response, frame_bytes, bytes, with.state)?;
        if let At::Flowing(total) = self.at {
            self.last_run = total;
        }
        with.in_flight.pop_at(read_at.get());
        Ok(true)
    }

    /// Looks at the length of a raw SASL token. One that need not have been answered has no entry,
    /// and is owed to nobody.
    fn begin_token(
        &mut self,
        bytes: &[u8],
        has_entry: bool,
        with: &mut ResponseContext<'_>,
        read_at: &mut ReadAt,
    ) -> Result<bool, Cause> {
        let Some(frame_bytes) = frame_length(bytes, 0, with.state)? else {
            return Ok(false);
        };
        if has_entry && !with.state.owed.begin(with.link) {
            return Ok(false);
        }
        with.state.sasl.token_answered(0, frame_bytes == 0);
        self.at = At::Flowing(LENGTH_BYTES + frame_bytes);
        self.last_run = LENGTH_BYTES + frame_bytes;
        with.in_flight.pop_at(read_at.get());
        Ok(true)
    }

    /// A response that had to be whole is.
    fn finish_whole(
        &mut self,
        response: Response,
        total: usize,
        buffer: &mut Buffer,
        with: &mut ResponseContext<'_>,
    ) -> Result<(), Cause> {
        let state = &mut *with.state;
        let at = self.sendable..self.sendable + total;
        let frame = &buffer.filled()[at.clone()];
        let body = &frame[PREFIX_BYTES..];
        let settings = state.settings;
        let malformed = |malformed| malformed_response(&response, malformed, &settings);
        self.at = At::Boundary;
        match (response.to, response.api.map(|api| api.treatment)) {
            (to @ Recipient::Own(_), _) => {
                let frame = Bytes::copy_from_slice(frame);
                *with.answered = Some(Answered { to, frame });
                buffer.replace(at, &[]);
                return Ok(());
            }
            (Recipient::Nobody, _) => {
                buffer.replace(at, &[]);
                return Ok(());
            }
            (to @ Recipient::Part, _) => {
                if let (Some(routing), Some(api)) = (&mut state.routing, response.api) {
                    routing.judge(with.node, api, response.version, frame);
                }
                let frame = rewritten(&response, frame, state).map_err(malformed)?;
                let frame = Bytes::from(frame);
                *with.answered = Some(Answered { to, frame });
                buffer.replace(at, &[]);
                return Ok(());
            }
            (_, Some(Treatment::Rewrite { .. })) => {
                if let (Some(routing), Some(api)) = (&mut state.routing, response.api) {
                    routing.learn(api, response.version, frame);
                }
                let out = rewritten(&response, frame, state).map_err(malformed)?;
                buffer.replace(at, &out);
                self.sendable += out.len();
                return Ok(());
            }
            (_, Some(Treatment::Negotiate)) => {
                let unvetted = state.settings.unvetted;
                let version = response.version;
                let routing = state.routing.as_deref();
                let common = routing.and_then(|routing| routing.offered(with.node, version, body));
                let cut = api_versions::cut(body, version, unvetted, common.as_deref())
                    .map_err(malformed)?;
                let length =
                    i32::try_from(PREFIX_BYTES - LENGTH_BYTES + cut.len()).unwrap_or(i32::MAX);
                let mut out = length.to_be_bytes().to_vec();
                out.extend_from_slice(&frame[LENGTH_BYTES..PREFIX_BYTES]);
                out.extend_from_slice(&cut);
                buffer.replace(at, &out);
                self.sendable += out.len();
                state.observer.response_rewritten(table::API_VERSIONS.key);
                return Ok(());
            }
            (_, Some(Treatment::Handshake)) => {
                let error = sasl::read_error(body).map_err(malformed)?;
                state.sasl.handshake_answered(error);
                state.login.handshake_answered(error, body);
            }
            _ => {
                let is_flexible = response
                    .api
                    .is_some_and(|api| api.is_flexible(response.version));
                let (error, is_empty) = sasl::read_answer(body, is_flexible).map_err(malformed)?;
                state.sasl.token_answered(error, is_empty);
                state.login.token_answered(error);
            }
        }
        self.sendable += total;
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
            is_masked,
        } = &mut **rewriting;
        let settings = state.settings;
        let malformed = |malformed| malformed_response(response, malformed, &settings);
        let next = self.sendable + (*scanned - *cleared);
        let bytes = &buffer.filled()[next..];
        let bytes = &bytes[..bytes.len().min(*total - *scanned)];
        *scanned += rewrite.push(bytes).map_err(malformed)?;
        for Masked { range, with } in rewrite.take_masked() {
            let at = self.sendable + (range.start - *cleared);
            buffer.replace(at..at + range.len(), &vec![with; range.len()]);
            *is_masked = true;
        }
        self.last_run = rewrite.largest_run();
        let free = rewrite
            .held_from()
            .unwrap_or(*scanned)
            .saturating_sub(*cleared);
        self.sendable += free;
        *cleared += free;
        if !rewrite.is_ready() {
            let is_short = *scanned == *total;
            return if is_short {
                Err(malformed(Malformed::TooLong))
            } else {
                Ok(false)
            };
        }
        let held = self.sendable..self.sendable + (*scanned - *cleared);
        let observer = &state.observer;
        let edited = rewrite
            .finish(&buffer.filled()[held.clone()], *cleared, &**observer)
            .map_err(malformed)?;
        let held_bytes = edited.bytes.as_ref().map_or(held.len(), Vec::len);
        let is_changed = *is_masked || edited.bytes.is_some();
        if let Some(bytes) = edited.bytes {
            buffer.replace(held, &bytes);
        }
        if let Some(api) = response.api.filter(|_| is_changed) {
            debug!(api = api.name, "addresses replaced in a response");
            observer.response_rewritten(api.key);
        }
        note_leader(response, &edited.sighting, &**observer);
        observer.brokers_seen(edited.sighting);
        self.sendable += held_bytes;
        let rest = At::Flowing(*total - *scanned);
        if let At::Rewriting(rewriting) = std::mem::replace(&mut self.at, rest) {
            self.spare = Some(rewriting);
        }
        Ok(true)
    }

    /// How a response of `frame_bytes` is looked at; `bytes` is what has arrived of it.
    fn place(
        &mut self,
        response: Response,
        frame_bytes: usize,
        bytes: &[u8],
        state: &SessionState,
    ) -> Result<At, Cause> {
        let settings = &state.settings;
        let total = LENGTH_BYTES + frame_bytes;
        let Some(api) = response.api else {
            return Ok(At::Flowing(total));
        };
        // What teaches where requests belong is looked at whole, where there is room for it.
        let teaches = |routing: &Routing| routing.is_learning(api);
        let is_taught = total <= settings.held_response_bytes_max
            && state.routing.as_deref().is_some_and(teaches);
        let is_held = response.to != Recipient::Client
            || is_taught
            || api.response(response.version) == ResponseReading::Whole;
        if is_held {
            // A part of an answer is as large as the answer of a broker may be.
            let limit = match response.to {
                Recipient::Part | Recipient::Nobody => LENGTH_BYTES + settings.frame_bytes_max,
                Recipient::Client | Recipient::Own(_) => settings.held_response_bytes_max,
            };
            let too_large = Cause::ResponseTooLarge {
                api: api.name,
                limit,
            };
            return if total > limit {
                Err(too_large)
            } else {
                Ok(At::Whole(response, total))
            };
        }
        let is_unmasked = matches!(api.treatment, Treatment::Mask { .. })
            && settings.config_addresses == ConfigAddresses::Pass;
        let passes = |frame| Rewrite::passes(api, response.version, frame);
        if is_unmasked || bytes.get(..total).is_some_and(passes) {
            return Ok(At::Flowing(total));
        }
        let Some(rewrite) = Rewrite::new(api, response.version, frame_bytes) else {
            return Ok(At::Flowing(total));
        };
        let rewriting = Rewriting {
            rewrite: rewrite.holding(settings.held_response_bytes_max),
            response,
            total,
            scanned: PREFIX_BYTES,
            cleared: 0,
            is_masked: false,
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

/// The length of the response that `bytes` begin with; `None` if it has not arrived.
fn frame_length(
    bytes: &[u8],
    bytes_min: usize,
    state: &SessionState,
) -> Result<Option<usize>, Cause> {
    let Some(prefix) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    let limit = state.settings.frame_bytes_max;
    match usize::try_from(length) {
        Ok(bytes) if (bytes_min..=limit).contains(&bytes) => Ok(Some(bytes)),
        _ => Err(Cause::ResponseLength {
            bytes: length,
            limit,
        }),
    }
}

/// Tells the error of a whole response, where it stands at the front.
fn note_error(response: &Response, frame: &[u8], state: &SessionState) {
    let Some(api) = response.api else { return };
    if let Some(error) = errors::of_response(api, response.version, frame) {
        state.observer.kafka_error(api.key, errors::name(error));
    }
}

/// A response that refuses something holds no records.
const REFUSAL_BYTES_MAX: usize = 4096;
/// What is answered to a Produce never does: room for 1,800 partitions, and for less than a buffer
/// holds.
const PRODUCED_BYTES_MAX: usize = 64 * 1024;

fn refusal_bytes_max(api: &Api) -> usize {
    match api == table::PRODUCE {
        true => PRODUCED_BYTES_MAX,
        false => REFUSAL_BYTES_MAX,
    }
}

/// Whether it must be whole before anything behind it is placed.
fn is_judged(response: &Response, frame_bytes: usize, state: &SessionState) -> bool {
    let routing = state.routing.as_deref();
    routing.zip(response.api).is_some_and(|(routing, api)| {
        routing.is_judging(api) && LENGTH_BYTES + frame_bytes <= refusal_bytes_max(api)
    })
}

/// A response that has arrived as a whole may say that the request has come to the wrong broker.
fn judge(response: &Response, frame: Option<&[u8]>, with: &mut ResponseContext<'_>) {
    let Some((routing, api)) = with.state.routing.as_mut().zip(response.api) else {
        return;
    };
    if let Some(frame) = frame.filter(|frame| frame.len() <= refusal_bytes_max(api)) {
        routing.judge(with.node, api, response.version, frame);
    }
}

/// A response about partitions names a leader only to a client that has not asked the leader.
fn note_leader(response: &Response, sighting: &BrokerList, observer: &dyn Observer) {
    let api = response
        .api
        .filter(|api| api.route == Route::PartitionLeader);
    if let Some(api) = api.filter(|_| !sighting.brokers.is_empty()) {
        observer.kafka_error(api.key, errors::name(errors::NOT_LEADER));
    }
}

/// A whole response with its addresses replaced. What it says about the cluster is noted.
fn rewritten(
    response: &Response,
    frame: &[u8],
    state: &SessionState,
) -> Result<Vec<u8>, Malformed> {
    let is_unmasked = |api: &Api| {
        matches!(api.treatment, Treatment::Mask { .. })
            && state.settings.config_addresses == ConfigAddresses::Pass
    };
    let api = response.api.filter(|api| !is_unmasked(api));
    let frame_bytes = frame.len().saturating_sub(LENGTH_BYTES);
    let rewrite = api.and_then(|api| Rewrite::new(api, response.version, frame_bytes));
    let Some((api, rewrite)) = api.zip(rewrite) else {
        return Ok(frame.to_vec());
    };
    let bytes_max = state.settings.held_response_bytes_max;
    let rewrite = rewrite.holding(bytes_max);
    let edited = rewrite.edit_whole(frame, &*state.observer)?;
    state.observer.brokers_seen(edited.sighting);
    Ok(match edited.bytes {
        Some(bytes) => {
            state.observer.response_rewritten(api.key);
            bytes
        }
        None => frame.to_vec(),
    })
}

fn malformed_response(
    response: &Response,
    malformed: Malformed,
    settings: &SessionSettings,
) -> Cause {
    if malformed == Malformed::TooManyAddresses {
        return Cause::ResponseTooLarge {
            api: response.api_name(),
            limit: settings.held_response_bytes_max,
        };
    }
    Cause::ResponseMalformed {
        api: response.api_name(),
        version: response.version,
        malformed,
    }
}
