//! What passes depends on the bytes alone, not on how they were split: requests and responses
//! looked at in pieces.

mod leaks;

use super::in_flight::{self, Expected, InFlight, ReadAt, Recipient, Response};
use super::lane::Scan;
use super::link_id::LinkId;
use super::provisional::BrokerIdentity;
use super::requests::{BEGINNING_BYTES_MAX, RequestContext, Requests};
use super::responses::{Answered, ResponseContext, Responses};
use super::state::{Observer, SessionState};
use super::{ConfigAddresses, SessionSettings, Splice, Unvetted};
use crate::net::buffer::{BUFFER_BYTES, BufferPool};
use crate::protocol::own_requests::OwnRequest;
use crate::protocol::rewrite::{Advertise, BrokerList, HELD_WHOLE_BYTES_MAX};
use crate::protocol::samples::{
    DESCRIBE_CONFIGS, FETCH, METADATA, PRODUCE, SHARE_FETCH, Shape, close, describe_configs, node,
    pattern, response, rewritten,
};
use crate::protocol::table::{self, Treatment};
use crate::types::{AdvertisedAddress, NodeId};
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
struct Beholder;

impl Advertise for Beholder {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        AdvertisedAddress {
            host: "kafka.example.com".into(),
            port: 19000 + node.0.rem_euclid(100) as u16,
        }
    }
}

impl Observer for Beholder {
    fn brokers_seen(&self, _: BrokerList) {}
    fn requests_forwarded(&self, _: i16, _: u64) {}
    fn response_rewritten(&self, _: i16) {}
}

/// A session as its scanners see it.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) state: SessionState,
    pub(super) in_flight: InFlight,
    answered: Option<Answered>,
    /// What the broker has answered while the client had to wait.
    past: Vec<Expected>,
}

impl Session {
    /// The broker grants and accepts what is in flight.
    fn answer(&mut self) {
        let sasl = &mut self.state.sasl;
        while let Some(expected) = self.in_flight.pop_at(ReadAt::default().get()) {
            self.state.owed.begin(LinkId::FIRST);
            let api = match expected {
                Expected::Response(response) => response.api,
                Expected::RawToken => None,
            };
            match api.map(|api| api.treatment) {
                Some(Treatment::Handshake) => sasl.handshake_answered(0),
                None | Some(Treatment::Authenticate) => sasl.token_answered(0, true),
                _ => sasl.request_answered(),
            }
            self.past.push(expected);
        }
        if sasl.may_be_answered() {
            sasl.token_answered(0, true);
        }
    }

    fn expect(&mut self, expected: Expected) {
        self.in_flight.push(expected);
        let is_own = matches!(
            expected,
            Expected::Response(Response {
                to: Recipient::Own(_),
                ..
            })
        );
        if !is_own {
            self.state.owed.push_broker(LinkId::FIRST);
        }
    }
}

pub(super) fn state() -> Session {
    let settings = SessionSettings {
        frame_bytes_max: 1024 * 1024,
        sasl_frame_bytes_max: 512 * 1024,
        held_response_bytes_max: 4 * 1024 * 1024,
        in_flight_requests_max: 10_000,
        tls_handshake_timeout: Duration::from_secs(1),
        first_frame_timeout: Duration::from_secs(1),
        frame_progress_timeout: Duration::from_secs(1),
        half_close_timeout: Duration::from_secs(1),
        connection_age_max: None,
        drain_spread: Duration::ZERO,
        unvetted: Unvetted::Hide,
        config_addresses: ConfigAddresses::Mask,
        splice: Splice::Auto,
    };
    Session {
        state: SessionState::new(settings, Arc::new(Beholder)),
        in_flight: InFlight::default(),
        answered: None,
        past: Vec::new(),
    }
}

/// A direction as a lane drives it.
trait Direction: Scan + Default {
    const BYTES_MAX: usize;
    fn with(session: &mut Session) -> Self::With<'_>;
}

impl Direction for Requests {
    const BYTES_MAX: usize = BUFFER_BYTES;

    fn with(session: &mut Session) -> RequestContext<'_> {
        RequestContext {
            state: &mut session.state,
            in_flight: &mut session.in_flight,
            link: LinkId::FIRST,
            identity: BrokerIdentity::Confirmed,
            node: None,
        }
    }
}

impl Direction for Responses {
    const BYTES_MAX: usize = 4 * 1024 * 1024;

    fn with(session: &mut Session) -> ResponseContext<'_> {
        ResponseContext {
            state: &mut session.state,
            in_flight: &mut session.in_flight,
            link: LinkId::FIRST,
            node: None,
            answered: &mut session.answered,
        }
    }
}

/// What comes out of a stream that arrives in `pieces`, and the code of the cause that ended it, if
/// one did. Where no byte is held and `splices` has its turn, bytes pass unseen as through a pipe.
fn through<D: Direction>(
    pieces: &[&[u8]],
    splices: bool,
    session: &mut Session,
) -> (Vec<u8>, Option<&'static str>) {
    let mut direction = D::default();
    let mut buffer = BufferPool::default().borrow();
    let mut out = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let opaque = direction.opaque_ahead().bytes_max();
            if splices && buffer.is_empty() && opaque > 0 {
                let count = opaque.min(rest.len());
                out.extend_from_slice(&rest[..count]);
                direction.skip_opaque(count);
                rest = &rest[count..];
                continue;
            }
            let spare = buffer.spare(D::BYTES_MAX).expect("room for a valid stream");
            let count = spare.len().min(rest.len());
            spare[..count].copy_from_slice(&rest[..count]);
            buffer.add(count);
            rest = &rest[count..];
            loop {
                let looked = direction.scan(&mut buffer, &mut D::with(session));
                let sendable = direction.sendable();
                out.extend_from_slice(&buffer.filled()[..sendable]);
                buffer.consume(sendable);
                direction.consume(sendable);
                if let Err(cause) = looked {
                    return (out, Some(cause.code()));
                }
                // Somebody takes it, and what has come behind it is looked at.
                if session.answered.take().is_some() {
                    continue;
                }
                if direction.is_mid_frame() || !session.state.sasl.must_wait() {
                    break;
                }
                session.answer();
            }
        }
    }
    (out, None)
}

/// The stream cut at these places.
fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &stream[pair[0]..pair[1]])
        .collect()
}

pub(super) fn request(key: i16, version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend_from_slice(&key.to_be_bytes());
    frame.extend_from_slice(&version.to_be_bytes());
    frame.extend_from_slice(&correlation_id.to_be_bytes());
    frame.extend_from_slice(b"\0\x02me");
    if crate::protocol::table::api(key).is_some_and(|api| api.is_flexible(version)) {
        frame.extend_from_slice(&[1, 5, 2, 0xaa, 0xbb]);
    }
    frame.extend_from_slice(body);
    close(frame)
}

/// Requests of every kind that the scan tells apart: flowing, changed, of no answer, SASL with and
/// without headers.
fn requests(kinds: &[u8], filling: usize) -> Vec<u8> {
    let mut stream = Vec::new();
    for (id, kind) in kinds.iter().enumerate() {
        let id = id as i32;
        let body = pattern(filling);
        let body = &body[..];
        let frames = match kind {
            0 => vec![request(METADATA, 12, id, body)],
            1 => vec![request(FETCH, 17, id, body)],
            2 => vec![request(
                PRODUCE,
                7,
                id,
                &[&[0xff, 0xff, 0, 0][..], body].concat(),
            )],
            3 => vec![request(
                PRODUCE,
                11,
                id,
                &[&[4, b't', b'x', b'n', 0xff, 0xff][..], body].concat(),
            )],
            4 => vec![request(18, 99, id, b"\x02a\x021\0")],
            5 => vec![request(18, 3, id, b"\x02a\x021\0")],
            6 => vec![
                request(17, 0, id, b"\0\x05PLAIN"),
                close(vec![0, 0, 0, 0]),
                request(METADATA, 1, id, body),
            ],
            7 => vec![request(17, 1, id, b"\0\x05PLAIN"), request(36, 2, id, body)],
            8 => vec![
                request(17, 0, id, b"\0\x06GSSAPI"),
                close([&[0; 4][..], &[0x60, 0x82, 1, 1], body].concat()),
                close(vec![0; 4]),
                close(vec![0, 0, 0, 0, 5, 4, 4, 0xff, 1, 2, 3]),
                request(METADATA, 1, id, body),
            ],
            _ => vec![request(8, 6, id, &[])],
        };
        stream.extend(frames.concat());
    }
    stream
}

/// Responses of every kind, and the requests that they answer.
fn responses(kinds: &[(u8, usize)], session: &mut Session) -> Vec<u8> {
    let apis: Vec<_> = rewritten().collect();
    let mut stream = Vec::new();
    for (id, (kind, filling)) in kinds.iter().enumerate() {
        let id = id as i32;
        let nodes = [node(0, "kafka-0.internal", 9092), node(31, "k", 9092)];
        let shape = Shape {
            nodes: nodes.to_vec(),
            filling: *filling,
            has_unknown_tags: true,
            has_nulls: false,
        };
        let opaque =
            |length: usize| close([&[0; 4][..], &id.to_be_bytes(), &pattern(length)].concat());
        let (key, version, to, frame) = match usize::from(*kind) {
            at if at < apis.len() => {
                let (key, version) = apis[at];
                (
                    key,
                    version,
                    Recipient::Client,
                    response(key, version, id, &shape),
                )
            }
            40 => (18, 3, Recipient::Client, {
                let body = [
                    0, 0, 3, 0, 3, 0, 0, 0, 99, 0, 0, 77, 0, 0, 0, 1, 1, 9, 1, 5, 0, 0, 0, 0, 0,
                ];
                close([&[0; 4][..], &id.to_be_bytes(), &body].concat())
            }),
            41 => (
                17,
                1,
                Recipient::Client,
                close([&[0; 4][..], &id.to_be_bytes(), b"\0\0\0\0\0\x01\0\x05PLAIN"].concat()),
            ),
            42 => {
                session.expect(Expected::RawToken);
                stream.extend(close([&[0; 4][..], &pattern(*filling)].concat()));
                continue;
            }
            43 => (
                36,
                2,
                Recipient::Client,
                close(
                    [
                        &[0; 4][..],
                        &id.to_be_bytes(),
                        b"\0\0\0\0\x01\0\0\0\0\0\0\0\0\0",
                    ]
                    .concat(),
                ),
            ),
            44 => (
                3,
                4,
                Recipient::Own(OwnRequest::Metadata),
                response(
                    METADATA,
                    4,
                    id,
                    &Shape {
                        has_unknown_tags: false,
                        ..shape
                    },
                ),
            ),
            45 => {
                let value = "v".repeat(*filling.min(&30_000));
                let settings = [
                    ("listeners", &*value, false),
                    ("log.dirs", &*value, false),
                    (
                        "advertised.listeners",
                        "PLAINTEXT://kafka-0.internal:9092",
                        false,
                    ),
                ];
                let frame = describe_configs(4, id, &settings);
                (DESCRIBE_CONFIGS, 4, Recipient::Client, frame)
            }
            _ => (8, 6, Recipient::Client, opaque(*filling)),
        };
        session.expect(Expected::Response(Response {
            api: table::api(key),
            version,
            correlation_id: id,
            to,
        }));
        stream.extend(frame);
    }
    stream
}

/// Sizes around every threshold.
fn filling() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..300,
        1 => HELD_WHOLE_BYTES_MAX - 400..HELD_WHOLE_BYTES_MAX + 50,
        1 => BUFFER_BYTES - 200..BUFFER_BYTES + 200,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn requests_split_anywhere_pass_as_the_same_bytes_and_wait_for_the_same_responses(
        splices: bool,
        kinds in prop::collection::vec(0u8..11, 1..12),
        filling in filling(),
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let stream = requests(&kinds, filling);
        let mut whole = state();
        let mut split = state();
        let expected = through::<Requests>(&[&stream], false, &mut whole);
        prop_assert_eq!(expected.1, None);
        prop_assert!(expected.0.len() == stream.len(), "all of it passes");
        let out = through::<Requests>(&cut(&stream, &cuts), splices, &mut split);
        prop_assert!(out == expected, "{:?}", kinds);
        prop_assert_eq!(split.state.owed.len(), whole.state.owed.len());
        prop_assert_eq!(split.past, whole.past);
        while let Some(expected) = whole.in_flight.pop_at(ReadAt::default().get()) {
            prop_assert_eq!(split.in_flight.pop_at(ReadAt::default().get()), Some(expected));
        }
        prop_assert!(split.in_flight.is_empty());
    }

    #[test]
    fn requests_one_byte_at_a_time_pass_as_the_same_bytes(
        splices: bool,
        kinds in prop::collection::vec(0u8..11, 1..12),
        filling in 0usize..50,
    ) {
        let stream = requests(&kinds, filling);
        let expected = through::<Requests>(&[&stream], false, &mut state());
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert!(through::<Requests>(&bytes, splices, &mut state()) == expected);
    }

    #[test]
    fn responses_split_anywhere_pass_as_the_same_bytes(
        splices: bool,
        kinds in prop::collection::vec((0u8..47, filling()), 1..10),
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let mut whole = state();
        let mut split = state();
        let stream = responses(&kinds, &mut whole);
        responses(&kinds, &mut split);
        let expected = through::<Responses>(&[&stream], false, &mut whole);
        prop_assert_eq!(expected.1, None);
        let out = through::<Responses>(&cut(&stream, &cuts), splices, &mut split);
        prop_assert!(out == expected, "{:?}", kinds);
        prop_assert!(whole.in_flight.is_empty() && split.in_flight.is_empty());
        prop_assert!(whole.state.owed.is_empty() && split.state.owed.is_empty());
        prop_assert!(!out.0.windows(16).any(|window| window == b"kafka-0.internal"));
    }

    #[test]
    fn responses_one_byte_at_a_time_pass_as_the_same_bytes(
        splices: bool,
        kinds in prop::collection::vec((0u8..47, 0usize..300), 1..10),
    ) {
        let mut whole = state();
        let mut split = state();
        let stream = responses(&kinds, &mut whole);
        responses(&kinds, &mut split);
        let expected = through::<Responses>(&[&stream], false, &mut whole);
        let bytes: Vec<_> = stream.chunks(1).collect();
        prop_assert!(through::<Responses>(&bytes, splices, &mut split) == expected);
    }

    #[test]
    fn any_request_bytes_split_anywhere_end_in_the_same_cause(
        splices: bool,
        stream in prop::collection::vec(0u8..8, 1..200),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let expected = through::<Requests>(&[&stream], false, &mut state());
        prop_assert!(through::<Requests>(&cut(&stream, &cuts), splices, &mut state()) == expected);
    }

    #[test]
    fn any_response_bytes_split_anywhere_end_in_the_same_cause(
        splices: bool,
        stream in prop::collection::vec(0u8..8, 1..200),
        cuts in prop::collection::vec(any::<Index>(), 0..20),
        kinds in prop::collection::vec((0u8..46, 0usize..10), 1..4),
    ) {
        let mut whole = state();
        let mut split = state();
        responses(&kinds, &mut whole);
        responses(&kinds, &mut split);
        let frame = close([&[0; 8][..], &stream].concat());
        let expected = through::<Responses>(&[&frame], false, &mut whole);
        prop_assert!(through::<Responses>(&cut(&frame, &cuts), splices, &mut split) == expected);
    }

    #[test]
    fn mutated_responses_split_anywhere_end_alike(
        splices: bool,
        kinds in prop::collection::vec((0u8..46, 0usize..50), 1..4),
        at in any::<Index>(),
        byte: u8,
        cuts in prop::collection::vec(any::<Index>(), 0..20),
    ) {
        let mut whole = state();
        let mut split = state();
        let mut stream = responses(&kinds, &mut whole);
        responses(&kinds, &mut split);
        let at = at.index(stream.len());
        stream[at] = byte;
        let expected = through::<Responses>(&[&stream], false, &mut whole);
        let out = through::<Responses>(&cut(&stream, &cuts), splices, &mut split);
        prop_assert_eq!(out.1, expected.1);
        // What streams has gone out before the byte that is wrong is seen: as much of it as came in
        // one piece less.
        let common = out.0.len().min(expected.0.len());
        prop_assert!(out.0[..common] == expected.0[..common]);
        prop_assert!(out.1.is_some() || out.0 == expected.0);
    }
}

#[test]
fn a_header_above_its_bound_is_refused_however_it_arrives() {
    // A header tag so long that the acks of the Produce behind it stand just at the bound, or
    // behind it.
    for (tag_bytes, passes) in [
        (BEGINNING_BYTES_MAX - 100, true),
        (BEGINNING_BYTES_MAX, false),
    ] {
        let mut frame = vec![0, 0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 1, 0xff, 0xff, 1, 9];
        crate::protocol::wire::put_varint(&mut frame, tag_bytes as u32);
        frame.resize(frame.len() + tag_bytes, 0);
        frame.extend_from_slice(&[0, 0xff, 0xff]);
        frame.resize(frame.len() + 1000, 0);
        let frame = close(frame);
        for piece in [1, 1000, frame.len()] {
            let pieces = frame.chunks(piece).collect::<Vec<_>>();
            let splices = piece > 1;
            let (out, cause) = through::<Requests>(&pieces, splices, &mut state());
            assert_eq!(
                cause,
                (!passes).then_some("request_header_too_large"),
                "in pieces of {piece}"
            );
            assert_eq!(
                out.len(),
                if passes { frame.len() } else { 0 },
                "in pieces of {piece}"
            );
        }
    }
}

#[test]
fn an_api_versions_request_above_the_bound_is_refused_however_it_arrives() {
    let frame = request(18, 3, 1, &vec![0; BEGINNING_BYTES_MAX]);
    for piece in [1, 1000, frame.len()] {
        let pieces = frame.chunks(piece).collect::<Vec<_>>();
        let splices = piece > 1;
        let (out, cause) = through::<Requests>(&pieces, splices, &mut state());
        assert_eq!(
            (out.len(), cause),
            (0, Some("request_header_too_large")),
            "in pieces of {piece}"
        );
    }
}

#[test]
fn a_share_fetch_and_a_fetch_around_the_threshold_pass_alike_in_every_piece_size() {
    for (key, version) in [(FETCH, 16), (FETCH, 18), (SHARE_FETCH, 0), (SHARE_FETCH, 2)] {
        for filling in [
            HELD_WHOLE_BYTES_MAX - 200,
            HELD_WHOLE_BYTES_MAX + 1,
            BUFFER_BYTES - 150,
            3 * BUFFER_BYTES,
        ] {
            let shape = Shape {
                filling,
                ..Shape::of(&[node(1, "kafka-1.internal", 9092)])
            };
            let frame = response(key, version, 1, &shape);
            let expected = Expected::Response(Response {
                api: table::api(key),
                version,
                correlation_id: 1,
                to: Recipient::Client,
            });
            let mut outs = Vec::new();
            for piece in [frame.len(), 1, 7, BUFFER_BYTES, BUFFER_BYTES - 1] {
                let mut state = state();
                state.expect(expected);
                let pieces = frame.chunks(piece).collect::<Vec<_>>();
                let splices = piece < frame.len();
                outs.push(through::<Responses>(&pieces, splices, &mut state));
            }
            assert!(
                outs.iter().all(|out| *out == outs[0] && out.1.is_none()),
                "{key} v{version} {filling}"
            );
        }
    }
}

#[test]
fn an_answer_to_narrows_that_names_no_broker_is_not_passed_to_the_client() {
    let shape = Shape {
        nodes: Vec::new(),
        filling: 0,
        has_unknown_tags: false,
        has_nulls: false,
    };
    let (_, expected) = in_flight::broker_list_request();
    let Expected::Response(Response { correlation_id, .. }) = expected else {
        panic!("a question that is answered without a header")
    };
    let frame = response(METADATA, 4, correlation_id, &shape);
    let mut state = state();
    state.expect(expected);
    assert_eq!(
        through::<Responses>(&[&frame], false, &mut state),
        (Vec::new(), None)
    );
    assert!(state.in_flight.is_empty());
}
