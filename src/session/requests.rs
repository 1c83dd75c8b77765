//! What passes from the client to the broker: frame by frame looked at, and cleared to go.
//!
//! Only the beginning of each request is read; its body flows as it arrives. This knows no socket:
//! it looks at a buffer and says how much of it may go out, so any split of the same bytes clears
//! the same bytes.

use super::cause::Cause;
use super::first_bytes::{DetectedProtocol, FirstBytes};
use super::in_flight::{Expected, InFlight, ReadAt, Recipient, Response};
use super::lane::{OpaqueAhead, Scan};
use super::link_id::LinkId;
use super::provisional::BrokerIdentity;
use super::routing::{Arriving, Place};
use super::state::{Observer, SessionState};
use crate::broker::own_name;
use crate::net::buffer::Buffer;
use crate::protocol::admission::{self, Admission};
use crate::protocol::api_versions;
use crate::protocol::header::{self, RequestHeader};
use crate::protocol::sasl::{self, Next};
use crate::protocol::table::{Api, RequestReading, Treatment};
use crate::protocol::wire::Unread;
use crate::types::NodeId;
use std::ops::Range;
use tracing::trace;

/// The longest beginning of a request that is held until it is whole: header, acks, and all of
/// ApiVersions and SaslHandshake. A client id has 32 KiB at the most.
pub(super) const BEGINNING_BYTES_MAX: usize = 64 * 1024;
/// The length in front of every frame.
pub(super) const LENGTH_BYTES: usize = 4;

/// What requests are judged by, and where they are noted: the session, and the link that they go
/// out on.
pub(super) struct RequestContext<'a> {
    pub(super) state: &'a mut SessionState,
    pub(super) in_flight: &'a mut InFlight,
    pub(super) link: LinkId,
    pub(super) identity: BrokerIdentity,
    /// Which broker is there, where it is known.
    pub(super) node: Option<NodeId>,
}

impl<'a> RequestContext<'a> {
    /// For what comes before there is a broker: the first request must be whole before one is
    /// dialled.
    pub(super) fn before_dial(state: &'a mut SessionState, in_flight: &'a mut InFlight) -> Self {
        Self {
            state,
            in_flight,
            link: LinkId::FIRST,
            identity: BrokerIdentity::Confirmed,
            node: None,
        }
    }

    /// Whether the client's next request may be begun now.
    pub(super) fn takes_requests(&self) -> bool {
        !self.state.is_ending
            && !self.must_ask()
            && !self.state.sasl.must_wait()
            && !self.identity.holds_requests()
            && !self.is_waiting()
            && self.state.owed.len() < self.state.settings.in_flight_requests_max
    }

    /// Whether Narrows' own question comes before the client's next request.
    pub(super) fn must_ask(&self) -> bool {
        self.identity.must_ask(&self.state.sasl) && !self.state.is_ending
    }

    /// Whether the next request waits for its broker.
    fn is_waiting(&self) -> bool {
        let routing = self.state.routing.as_ref();
        let answers = || self.state.owed.answers();
        routing.is_some_and(|routing| routing.is_waiting() || routing.is_held(answers()))
    }

    /// The broker will answer the client's request.
    fn expect(&mut self, expected: Expected, read_at: &mut ReadAt) {
        self.in_flight.push_at(expected, read_at.get());
        self.state.owed.push_broker(self.link);
    }
}

/// How far the requests have been looked at.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// What is left of a frame whose beginning has been looked at.
    body_left: usize,
    /// How many bytes at the front of the buffer may go to the broker.
    sendable: usize,
    /// The last frame's size.
    last_run: usize,
}

impl Scan for Requests {
    type With<'a> = RequestContext<'a>;

    fn scan(&mut self, buffer: &mut Buffer, with: &mut RequestContext<'_>) -> Result<(), Cause> {
        let mut batch = Batch::default();
        let looked = self.scan_frames(buffer, with, &mut batch);
        batch.count(&*with.state.observer);
        looked
    }

    fn sendable(&self) -> usize {
        self.sendable
    }

    fn consume(&mut self, count: usize) {
        self.sendable -= count;
    }

    fn is_mid_frame(&self) -> bool {
        self.body_left > 0
    }

    fn opaque_ahead(&self) -> OpaqueAhead {
        OpaqueAhead::of(self.body_left)
    }

    fn skip_opaque(&mut self, count: usize) {
        self.body_left -= count;
    }

    fn last_run(&self) -> usize {
        self.last_run
    }
}

/// The requests that one scan has looked at: they have one time at which they were read, and those
/// of one API are counted together.
#[derive(Debug, Default)]
struct Batch {
    read_at: ReadAt,
    api_key: i16,
    /// How many have passed, of this API and not counted yet.
    passed: u64,
}

impl Batch {
    fn passes(&mut self, api_key: i16, observer: &dyn Observer) {
        if self.api_key != api_key {
            self.count(observer);
            self.api_key = api_key;
        }
        self.passed += 1;
    }

    fn count(&mut self, observer: &dyn Observer) {
        if self.passed > 0 {
            observer.requests_forwarded(self.api_key, std::mem::take(&mut self.passed));
        }
    }
}

impl Requests {
    fn scan_frames(
        &mut self,
        buffer: &mut Buffer,
        with: &mut RequestContext<'_>,
        batch: &mut Batch,
    ) -> Result<(), Cause> {
        loop {
            let arrived = buffer.filled().len() - self.sendable;
            let passed = arrived.min(self.body_left);
            self.sendable += passed;
            self.body_left -= passed;
            if arrived == passed || !with.takes_requests() {
                return Ok(());
            }
            match self.begin(buffer, with, batch)? {
                Some(frame_bytes) => {
                    self.body_left = LENGTH_BYTES + frame_bytes;
                    self.last_run = frame_bytes;
                }
                None => return Ok(()),
            }
        }
    }

    /// Puts Narrows' own request in front of whatever the client has sent. Only between frames,
    /// with nothing sendable.
    pub(super) fn put_own(&mut self, buffer: &mut Buffer, request: &[u8]) {
        buffer.replace(0..0, request);
        self.sendable = request.len();
    }

    /// Takes the request that stands at the front out of the buffer: its pieces go out in its
    /// place. Only between frames, with nothing sendable, when all of it is there.
    pub(super) fn take_out(&mut self, buffer: &mut Buffer, frame_bytes: usize) {
        buffer.replace(0..LENGTH_BYTES + frame_bytes, &[]);
    }

    /// Looks at the beginning of the next frame. Its length, if it may pass; `None` if more bytes
    /// are needed.
    fn begin(
        &self,
        buffer: &mut Buffer,
        with: &mut RequestContext<'_>,
        batch: &mut Batch,
    ) -> Result<Option<usize>, Cause> {
        let bytes = &buffer.filled()[self.sendable..];
        let Some(frame_bytes) = frame_length(bytes, with.state)? else {
            return Ok(None);
        };
        let frame = &bytes[LENGTH_BYTES..];
        let frame = &frame[..frame.len().min(frame_bytes)];
        match with.state.sasl.next(frame, frame_bytes) {
            Some(Next::Request) => {}
            Some(Next::RawToken { is_answered }) => {
                with.state.check_size(frame_bytes, true)?;
                let mechanism = with.state.sasl.mechanism();
                with.state.identity.note_token(mechanism, frame);
                if is_answered {
                    with.expect(Expected::RawToken, &mut batch.read_at);
                }
                return Ok(Some(frame_bytes));
            }
            Some(Next::Held) | None => return Ok(None),
        }
        // Never more than this is looked at, so that what is refused does not depend on how much
        // has arrived.
        let beginning = &frame[..frame.len().min(BEGINNING_BYTES_MAX)];
        let too_large = || Cause::RequestHeaderTooLarge(BEGINNING_BYTES_MAX);
        let header = match header::read(beginning, frame_bytes) {
            Ok(header) => header,
            Err(Unread::Incomplete) if beginning.len() == BEGINNING_BYTES_MAX => {
                return Err(too_large());
            }
            Err(Unread::Incomplete) => return Ok(None),
            Err(Unread::Malformed(malformed)) => return Err(Cause::RequestMalformed(malformed)),
        };
        if header.client_id.is_some_and(own_name::is_own) {
            return Err(Cause::RoutingLoop);
        }
        let is_read_whole = header
            .api
            .is_some_and(|api| api.request() == RequestReading::Whole);
        if is_read_whole && frame_bytes > BEGINNING_BYTES_MAX {
            return Err(too_large());
        }
        if is_read_whole && frame.len() < frame_bytes {
            return Ok(None);
        }
        let version = admit(&header, with.state)?;
        let is_of_login = header.api.is_some_and(Api::is_of_login);
        with.state.check_size(frame_bytes, is_of_login)?;
        let is_handshake = |api: &Api| api.treatment == Treatment::Handshake;
        if header.api.is_some_and(is_handshake) && !with.state.sasl.takes_handshake() {
            return Ok(None);
        }
        let mut rack = None;
        if let Some(routing) = &mut with.state.routing
            && let Some(api) = header.api
        {
            let request = Arriving {
                header: &header,
                api,
                version,
                frame,
                frame_bytes,
            };
            let answers = with.state.owed.answers();
            if routing.place(request, with.node, answers)? != Place::Here {
                return Ok(None);
            }
            routing.passes(request);
            rack = routing.rack(request)?;
        }
        batch.passes(header.api_key, &*with.state.observer);
        note(&header, frame, with.state);
        trace!(
            api = header.api.map(|api| api.name),
            api_key = header.api_key,
            version,
            correlation_id = header.correlation_id,
            bytes = frame_bytes,
            "request"
        );
        if header.is_answered {
            let expected = Expected::Response(Response {
                api: header.api,
                version,
                correlation_id: header.correlation_id,
                to: Recipient::Client,
            });
            with.expect(expected, &mut batch.read_at);
        } else {
            with.in_flight.is_unanswered();
        }
        if version != header.version {
            let at = self.sendable + LENGTH_BYTES + 2;
            buffer.replace(at..at + 2, &version.to_be_bytes());
        }
        Ok(Some(match rack {
            Some((at, none)) => self.replace(buffer, frame_bytes, at, none),
            None => frame_bytes,
        }))
    }

    /// Puts `bytes` in the place of some of the next frame, all of which is there. The frame's new
    /// length.
    fn replace(
        &self,
        buffer: &mut Buffer,
        frame_bytes: usize,
        at: Range<usize>,
        bytes: &[u8],
    ) -> usize {
        let frame_bytes = frame_bytes + bytes.len() - at.len();
        let start = self.sendable + LENGTH_BYTES;
        buffer.replace(start + at.start..start + at.end, bytes);
        let length = i32::try_from(frame_bytes).unwrap_or(i32::MAX);
        buffer.replace(self.sendable..start, &length.to_be_bytes());
        frame_bytes
    }
}

/// The length of the frame that `bytes` begin with, if it can be one; `None` if it has not arrived.
pub(super) fn frame_length(bytes: &[u8], state: &SessionState) -> Result<Option<usize>, Cause> {
    let Some(prefix) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes(*prefix);
    // By which of its limits a frame is judged is known once its header is.
    let limit = state.settings.frame_bytes_max;
    match usize::try_from(length) {
        Ok(frame_bytes) if frame_bytes <= limit => Ok(Some(frame_bytes)),
        Ok(announced)
            if matches!(
                DetectedProtocol::detect(bytes),
                DetectedProtocol::Kafka | DetectedProtocol::Unknown
            ) =>
        {
            Err(Cause::RequestTooLarge {
                bytes: announced,
                limit,
                limit_name: "limits.frame_bytes_max",
            })
        }
        _ => Err(not_kafka(bytes)),
    }
}

/// What came in the place of a request's length.
pub(super) fn not_kafka(bytes: &[u8]) -> Cause {
    Cause::NotKafka {
        speech: DetectedProtocol::detect(bytes),
        first: FirstBytes::of(bytes),
    }
}

/// The version in which a request goes out, if it may.
fn admit(header: &RequestHeader<'_>, state: &SessionState) -> Result<i16, Cause> {
    match admission::admit(header, state.settings.unvetted) {
        Admission::Forward => Ok(header.version),
        Admission::Downgrade => Ok(api_versions::TOO_NEW),
        Admission::Close => Err(not_offered(header)),
    }
}

fn not_offered(header: &RequestHeader<'_>) -> Cause {
    let version = header.version;
    let (api, why) = match header.api {
        None => (
            format!("API key {}", header.api_key),
            "this version of Narrows does not know it; protocol.unvetted: pass lets it through",
        ),
        Some(api) if api.treatment == Treatment::Refuse => {
            (api.name.to_owned(), "it is for brokers among themselves")
        }
        Some(api) => (
            api.name.to_owned(),
            "this version of Narrows does not know that version; does the client ignore \
             ApiVersions?",
        ),
    };
    Cause::NotOffered { api, version, why }
}

/// Remembers what later frames and log lines depend on.
fn note(header: &RequestHeader<'_>, frame: &[u8], state: &mut SessionState) {
    let body = frame.get(header.body_at..).unwrap_or(&[]);
    state.requests += 1;
    state.identity.note_client_id(header.client_id);
    match header.api.map(|api| api.treatment) {
        Some(Treatment::Negotiate) if header.version >= 3 => {
            if let Ok((name, version)) = header::read_software(body) {
                state.identity.note_software(name, version);
                state.observer.client_software(name, version);
            }
        }
        Some(Treatment::Handshake) => {
            let mechanism = header::read_mechanism(body).unwrap_or(b"");
            state.sasl.handshake_sent(header.version, mechanism);
        }
        Some(Treatment::Authenticate) => {
            let is_flexible = header
                .api
                .is_some_and(|api| api.is_flexible(header.version));
            let token = sasl::read_token(body, is_flexible).unwrap_or(b"");
            state.identity.note_token(state.sasl.mechanism(), token);
        }
        _ => {}
    }
}
