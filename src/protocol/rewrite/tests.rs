//! The laws of rewriting, against responses that the `kafka-protocol` crate wrote.

use super::*;
use crate::protocol::mask::Masked;
use crate::protocol::samples::{
    DESCRIBE_CONFIGS, DESCRIBE_QUORUM, FETCH, FIND_COORDINATOR, Node, PRODUCE, SHARE_FETCH, Shape,
    TAILED, close, describe_configs, is_flexible, masked, node, response, rewritten, tail,
};
use crate::protocol::table;
use crate::protocol::wire::to_usize;
use proptest::prelude::*;

/// Advertises `host` for every node, at its own port plus one; without a host, exactly what is
/// there.
struct Map<'a> {
    host: Option<&'a str>,
    nodes: &'a [Node],
}

impl Map<'_> {
    fn at(&self, id: i32) -> Node {
        let own = self
            .nodes
            .iter()
            .find(|node| node.id == id)
            .expect("a node of the shape");
        match self.host {
            None => own.clone(),
            Some(host) => node(id, host, own.port + 1),
        }
    }
}

impl Advertise for Map<'_> {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        let at = self.at(node.0);
        AdvertisedAddress {
            host: at.host.as_str().into(),
            port: at.port,
        }
    }
}

fn row(key: i16) -> &'static Api {
    table::api(key).expect("an API of the table")
}

/// A whole frame through a rewrite, pushed in pieces of `piece` bytes, as a session does it.
fn rewrite_in_pieces(
    (key, version): (i16, i16),
    frame: &[u8],
    piece: usize,
    advertise: &dyn Advertise,
) -> Result<Vec<u8>, Malformed> {
    let Some(mut rewrite) = Rewrite::new(row(key), version, frame.len() - 4) else {
        return Ok(frame.to_vec());
    };
    let mut scanned = PREFIX_BYTES;
    while !rewrite.is_ready() {
        let bytes = &frame[scanned..frame.len().min(scanned + piece)];
        if bytes.is_empty() {
            return Err(Malformed::TooLong);
        }
        scanned += rewrite.push(bytes)?;
    }
    let from = rewrite.held_from().unwrap_or(scanned);
    let edited = rewrite.finish(&frame[from..scanned], from, advertise)?;
    let held = edited
        .bytes
        .unwrap_or_else(|| frame[from..scanned].to_vec());
    Ok([&frame[..from], &held, &frame[scanned..]].concat())
}

fn rewrite(api: (i16, i16), frame: &[u8], advertise: &dyn Advertise) -> Result<Vec<u8>, Malformed> {
    rewrite_in_pieces(api, frame, usize::MAX / 2, advertise)
}

/// Addresses of different lengths, a marker of none, a node twice.
fn nodes() -> Vec<Node> {
    vec![
        node(0, "kafka-0.kafka.svc.cluster.local", 9092),
        node(7, "10.77.0.11", 19092),
        node(7, "10.77.0.11", 19092),
        node(i32::MAX, "k", 65000),
    ]
}

fn shapes() -> Vec<Shape> {
    let mut shapes = Vec::new();
    for nodes in [vec![], vec![node(3, "kafka-3", 9092)], nodes()] {
        for (has_unknown_tags, has_nulls) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            for filling in [0, 100] {
                shapes.push(Shape {
                    nodes: nodes.clone(),
                    filling,
                    has_unknown_tags,
                    has_nulls,
                });
            }
        }
    }
    shapes
}

/// What a response must be after the rewrite.
fn expected(key: i16, shape: &Shape, map: &Map<'_>) -> Shape {
    match key {
        DESCRIBE_QUORUM => Shape {
            nodes: Vec::new(),
            ..shape.clone()
        },
        _ => shape.readdressed(|node| map.at(node.id)),
    }
}

#[test]
fn a_rewrite_replaces_the_addresses_and_nothing_else_whatever_their_lengths() {
    for api @ (key, version) in rewritten() {
        for shape in shapes() {
            let frame = response(key, version, 7, &shape);
            for host in ["a", "kafka.example.com", &"long.".repeat(50)] {
                let map = Map {
                    host: Some(host),
                    nodes: &shape.nodes,
                };
                let out = rewrite(api, &frame, &map).unwrap();
                let expected = response(key, version, 7, &expected(key, &shape, &map));
                assert!(out == expected, "key {key} v{version} {host} {shape:?}");
            }
        }
    }
}

/// Nobody advertises anything here: to be asked is to fail.
struct Nobody;

impl Advertise for Nobody {
    fn advertise(&self, node: NodeId) -> AdvertisedAddress {
        panic!("broker {node} is named")
    }
}

#[test]
fn a_quick_look_passes_plain_responses_and_none_that_names_a_broker() {
    // Produce v12: one topic "t", one partition without errors, no tagged field anywhere.
    let fixed = [&[0; 6][..], &[0, 0, 0, 0, 0, 0, 1, 0], &[0xff; 8], &[0; 8]].concat();
    let body = [
        &[0, 2, 2, b't', 2][..],
        &fixed,
        &[1, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    .concat();
    let frame = close([&[0; 8][..], &body].concat());
    assert!(Rewrite::passes(row(PRODUCE), 12, &frame));
    assert!(!Rewrite::passes(
        row(PRODUCE),
        12,
        &frame[..frame.len() - 1]
    ));
    let mut passed = 0;
    for (key, version) in rewritten() {
        for shape in shapes() {
            if Rewrite::passes(row(key), version, &response(key, version, 7, &shape)) {
                assert!(
                    shape.nodes.is_empty() && TAILED.contains(&key),
                    "key {key} v{version} {shape:?}"
                );
                passed += 1;
            }
        }
    }
    assert!(passed >= 4, "{passed}");
}

proptest! {
    #[test]
    fn what_passes_at_a_quick_look_is_what_the_walk_leaves_as_it_is(
        at in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in 0..3usize,
    ) {
        let frames: Vec<_> = rewritten()
            .filter(|(key, _)| TAILED.contains(key))
            .flat_map(|api| shapes().into_iter().map(move |shape| (api, shape)))
            .collect();
        let (api, shape) = at.get(&frames);
        let mut frame = response(api.0, api.1, 7, shape);
        frame.truncate(frame.len() - cut);
        for (at, byte) in changes {
            let at = PREFIX_BYTES + at.index(frame.len() - PREFIX_BYTES);
            frame[at] = byte;
        }
        let frame = close(frame);
        if Rewrite::passes(row(api.0), api.1, &frame) {
            prop_assert_eq!(rewrite(*api, &frame, &Nobody), Ok(frame));
        }
    }
}

#[test]
fn a_rewrite_to_the_same_addresses_gives_the_same_bytes() {
    for api @ (key, version) in rewritten().filter(|(key, _)| *key != DESCRIBE_QUORUM) {
        for mut shape in shapes() {
            for filling in [shape.filling, HELD_WHOLE_BYTES_MAX + 100] {
                shape.filling = filling;
                let frame = response(key, version, 7, &shape);
                let map = Map {
                    host: None,
                    nodes: &shape.nodes,
                };
                assert!(
                    rewrite(api, &frame, &map).unwrap() == frame,
                    "key {key} v{version} {shape:?}"
                );
            }
        }
    }
}

#[test]
fn a_marker_of_no_node_stays_and_a_negative_node_with_a_host_does_not() {
    let map = Map {
        host: Some("advertised"),
        nodes: &[node(-1, "kafka-1", 9092)],
    };
    for version in 0..=6 {
        let none = response(FIND_COORDINATOR, version, 7, &Shape::of(&[node(-1, "", 0)]));
        assert_eq!(
            rewrite((FIND_COORDINATOR, version), &none, &map).unwrap(),
            none,
            "v{version}"
        );
        let odd = response(
            FIND_COORDINATOR,
            version,
            7,
            &Shape::of(&[node(-1, "kafka-1", 9092)]),
        );
        let out = rewrite((FIND_COORDINATOR, version), &odd, &map).unwrap();
        assert!(!contains(&out, b"kafka-1"), "v{version}");
    }
}

#[test]
fn a_tail_that_streams_keeps_its_length_and_has_the_right_addresses_or_none() {
    let nodes = nodes();
    let mut right = 0;
    let mut none = 0;
    for api @ (key, version) in rewritten().filter(|(key, _)| TAILED.contains(key)) {
        for (has_unknown_tags, count) in [(false, 1), (true, 1), (false, 4), (true, 4)] {
            let filling = HELD_WHOLE_BYTES_MAX + 1;
            let shape = Shape {
                nodes: nodes[..count].to_vec(),
                filling,
                has_unknown_tags,
                has_nulls: true,
            };
            let frame = response(key, version, 7, &shape);
            let without = response(
                key,
                version,
                7,
                &Shape {
                    nodes: Vec::new(),
                    ..shape.clone()
                },
            );
            for host_bytes in (1..50).chain(100..=150).chain([255]) {
                let host = "x".repeat(host_bytes);
                let map = Map {
                    host: Some(&host),
                    nodes: &shape.nodes,
                };
                let out = rewrite(api, &frame, &map).unwrap();
                assert_eq!(out.len(), frame.len(), "key {key} v{version}");
                let end = &out[out.len() - 700..];
                assert!(!contains(end, b"kafka-0") && !contains(end, b"10.77.0.11"));
                let (seen, rest) = tail(key, version, &out);
                assert!(rest == without, "key {key} v{version} {host_bytes}");
                if seen.is_empty() {
                    none += 1;
                } else {
                    right += 1;
                    assert_eq!(
                        seen,
                        expected(key, &shape, &map).nodes,
                        "key {key} v{version} {host_bytes}"
                    );
                }
            }
        }
    }
    assert!(
        right > 1000 && none > 1000,
        "{right} with the right addresses, {none} with none"
    );
}

#[test]
fn a_host_that_is_shorter_streams_with_its_address_unless_it_is_shorter_by_a_single_byte() {
    let shape = Shape {
        filling: HELD_WHOLE_BYTES_MAX + 1,
        ..Shape::of(&[node(1, "kafka-1.internal", 9092)])
    };
    for key in TAILED {
        let version = rewritten()
            .filter(|(other, _)| *other == key)
            .map(|(_, version)| version)
            .max()
            .unwrap();
        let frame = response(key, version, 7, &shape);
        for (host, is_there) in [
            ("kafka-1.external", true),   // as long
            ("kafka1.external", false),   // one byte less: no tag is that small
            ("kafka.external", true),     // two bytes less
            ("k", true),                  // far less
            ("kafka-1.external.", false), // longer
        ] {
            let map = Map {
                host: Some(host),
                nodes: &shape.nodes,
            };
            let out = rewrite((key, version), &frame, &map).unwrap();
            assert_eq!(
                !tail(key, version, &out).0.is_empty(),
                is_there,
                "key {key} {host}"
            );
        }
    }
}

#[test]
fn a_response_cut_short_anywhere_is_malformed_or_has_no_address_and_one_with_bytes_behind_its_end_is_malformed()
 {
    for api @ (key, version) in rewritten() {
        let shape = Shape {
            has_unknown_tags: true,
            ..Shape::of(&nodes())
        };
        let frame = response(key, version, 7, &shape);
        let map = Map {
            host: Some("a"),
            nodes: &shape.nodes,
        };
        let mut rewrite_all = Rewrite::new(row(key), version, frame.len() - 4).unwrap();
        let walked = PREFIX_BYTES + rewrite_all.push(&frame[PREFIX_BYTES..]).unwrap();
        assert!(rewrite_all.is_ready());
        for length in PREFIX_BYTES..walked {
            let short = rewrite(api, &frame[..length], &map);
            let leaks = short.is_ok_and(|out| !TAILED.contains(&key) || contains(&out, b"kafka-0"));
            assert!(!leaks, "key {key} v{version}: {length} of {}", frame.len());
        }
        if TAILED.contains(&key) {
            let longer = [&frame[..], &[0]].concat();
            assert_eq!(
                rewrite(api, &longer, &map),
                Err(Malformed::Trailing),
                "key {key} v{version}"
            );
        }
    }
}

#[test]
fn a_count_or_length_of_2_to_the_31_in_any_position_is_malformed_or_behind_the_last_address() {
    let mut bombs = 0;
    for api @ (key, version) in rewritten() {
        let shape = Shape {
            has_unknown_tags: true,
            ..Shape::of(&nodes())
        };
        let frame = response(key, version, 7, &shape);
        for at in PREFIX_BYTES..frame.len() {
            let Some(hostile) = with_bomb(api, &frame, at) else {
                continue;
            };
            bombs += 1;
            if let Ok(out) = rewrite(api, &hostile, &Anything) {
                assert!(
                    !contains(&out, b"kafka-0.kafka.svc"),
                    "key {key} v{version} at {at}"
                );
            }
        }
    }
    assert!(bombs > 500, "{bombs} positions");
}

/// The frame with 2^31 − 1 in the place of the number at `at`. In a flexible version a number is
/// where one that is written in five bytes reads the same, and any other value does not: a tag may
/// have any.
fn with_bomb(api: (i16, i16), frame: &[u8], at: usize) -> Option<Vec<u8>> {
    if !is_flexible(api.0, api.1) {
        let mut hostile = frame.to_vec();
        hostile
            .get_mut(at..at + 4)?
            .copy_from_slice(&i32::MAX.to_be_bytes());
        return Some(hostile);
    }
    let with = |number: [u8; 5]| close([&frame[..at], &number, &frame[at + 1..]].concat());
    let long = with([frame[at] | 0x80, 0x80, 0x80, 0x80, 0]);
    let short = walked(api, frame)?;
    let long = walked(api, &long)?;
    let is_tag = walked(api, &with([99 | 0x80, 0x80, 0x80, 0x80, 0])).is_some();
    (short == long && !is_tag).then(|| with([0xff, 0xff, 0xff, 0xff, 0x07]))
}

/// What a walk finds in a frame: ids and ports, and how much there is to blank.
fn walked(api: (i16, i16), frame: &[u8]) -> Option<(Vec<(NodeId, i32)>, usize)> {
    let mut rewrite = Rewrite::new(row(api.0), api.1, frame.len() - 4)?;
    rewrite.push(&frame[PREFIX_BYTES..]).ok()?;
    let marks = rewrite.walker.marks();
    let found = marks
        .endpoints
        .iter()
        .map(|endpoint| (endpoint.node, endpoint.port))
        .collect();
    rewrite.is_ready().then_some((found, marks.blanked.len()))
}

/// Says the same for whatever node.
struct Anything;

impl Advertise for Anything {
    fn advertise(&self, _: NodeId) -> AdvertisedAddress {
        AdvertisedAddress {
            host: "kafka.example.com".into(),
            port: 1,
        }
    }
}

#[test]
fn a_tagged_field_that_lies_about_its_size_is_malformed() {
    let frame = response(FETCH, 16, 7, &Shape::of(&[node(1, "kafka-1", 9092)]));
    let map = Map {
        host: Some("a"),
        nodes: &[node(1, "kafka-1", 9092)],
    };
    // The tag 0 and its size stand behind the number of tags, before count, id and host.
    let size_at = frame.len() - (1 + 4 + 8 + 4 + 1 + 1) - 1;
    assert_eq!(
        to_usize(u32::from(frame[size_at])),
        frame.len() - size_at - 1
    );
    for size in [0, 1, frame[size_at] - 1, frame[size_at] + 1, 0x7f] {
        let mut hostile = frame.clone();
        hostile[size_at] = size;
        assert!(rewrite((FETCH, 16), &hostile, &map).is_err(), "{size}");
    }
}

#[test]
fn the_addresses_are_seen_even_in_two_tagged_fields_of_the_same_tag() {
    let mut frame = response(FETCH, 16, 7, &Shape::of(&[node(1, "kafka-1", 9092)]));
    let tags_at = frame.len() - 22;
    let tag_bytes = 21;
    assert_eq!(frame[tags_at..tags_at + 2], [1, 0]);
    let tag = frame[tags_at + 1..].to_vec();
    assert_eq!(tag.len(), tag_bytes);
    frame[tags_at] = 2;
    frame.extend_from_slice(&tag);
    let frame = close(frame);
    let map = Map {
        host: Some("somewhere.else.example.com"),
        nodes: &[node(1, "kafka-1", 9092)],
    };
    let out = rewrite((FETCH, 16), &frame, &map).unwrap();
    assert!(!contains(&out, b"kafka-1"));
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_piece_size_gives_the_same_bytes(
        piece in 1usize..40,
        filling in 0usize..300,
        tags: bool,
        nulls: bool,
    ) {
        let shape = Shape { nodes: nodes(), filling, has_unknown_tags: tags, has_nulls: nulls };
        for api @ (key, version) in rewritten() {
            let frame = response(key, version, 7, &shape);
            let map = Map { host: Some("kafka.example.com"), nodes: &shape.nodes };
            prop_assert_eq!(
                rewrite_in_pieces(api, &frame, piece, &map),
                rewrite(api, &frame, &map),
            );
        }
    }

    #[test]
    fn random_bytes_are_malformed_or_rewritten_and_never_a_panic(
        body in prop::collection::vec(any::<u8>(), 4..400),
        small in prop::collection::vec(0u8..6, 4..400),
    ) {
        for body in [body, small] {
            let frame = close([&[0; 8][..], &body].concat());
            for (key, version) in rewritten() {
                let _ = rewrite((key, version), &frame, &Anything);
            }
        }
    }

    #[test]
    fn mutated_responses_are_malformed_or_rewritten_and_never_a_panic(
        at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        filling in prop::sample::select(vec![0, 20_000]),
    ) {
        let shape = Shape { nodes: nodes(), filling, has_unknown_tags: true, has_nulls: false };
        for (key, version) in rewritten() {
            let mut frame = response(key, version, 7, &shape);
            for (index, byte) in &at {
                let behind = frame.len() - PREFIX_BYTES;
                // Mutations among the records change nothing: aim at what is before and behind
                // them.
                let at = if behind > 1000 { index.index(400) } else { index.index(behind) };
                let at = if at > 200 && behind > 1000 { behind + 200 - at } else { at };
                frame[PREFIX_BYTES + at.min(behind - 1)] = *byte;
            }
            let out = rewrite((key, version), &frame, &Anything);
            if let Ok(out) = out {
                prop_assert_eq!(
                    out[..4].to_vec(),
                    u32::try_from(out.len() - 4).unwrap().to_be_bytes().to_vec(),
                );
            }
        }
    }
}

#[test]
fn share_fetch_of_every_size_around_the_threshold_is_rewritten() {
    for key in [FETCH, SHARE_FETCH] {
        let version = if key == FETCH { 18 } else { 2 };
        let nodes = [node(1, "kafka-1.internal", 9092)];
        let empty = response(
            key,
            version,
            7,
            &Shape {
                filling: HELD_WHOLE_BYTES_MAX,
                ..Shape::of(&nodes)
            },
        )
        .len();
        for filling in 2 * HELD_WHOLE_BYTES_MAX - empty - 20..2 * HELD_WHOLE_BYTES_MAX - empty + 20
        {
            let shape = Shape {
                filling,
                ..Shape::of(&nodes)
            };
            let frame = response(key, version, 7, &shape);
            let map = Map {
                host: Some("kafka.external"),
                nodes: &shape.nodes,
            };
            let out = rewrite((key, version), &frame, &map).unwrap();
            let (seen, rest) = tail(key, version, &out);
            assert_eq!(seen, vec![node(1, "kafka.external", 9093)]);
            assert!(
                rest == response(
                    key,
                    version,
                    7,
                    &Shape {
                        nodes: Vec::new(),
                        ..shape
                    }
                )
            );
            let is_whole = frame.len() - 4 <= HELD_WHOLE_BYTES_MAX;
            assert_eq!(out.len() == frame.len(), !is_whole, "filling {filling}");
        }
    }
}

/// Settings of a broker, and the places of those whose values are addresses.
const SETTINGS: [(&str, &str, bool); 6] = [
    (
        "advertised.listeners",
        "PLAINTEXT://kafka-0.internal:9092",
        false,
    ),
    ("log.retention.ms", "604800000", false),
    (
        "listeners",
        "PLAINTEXT://0.0.0.0:9092,CONTROLLER://:9093",
        false,
    ),
    ("ssl.key.password", "", true),
    ("controller.quorum.voters", "1@kafka-0.internal:9093", false),
    (
        "listener.security.protocol.map",
        "PLAINTEXT:PLAINTEXT",
        false,
    ),
];

#[test]
fn values_that_are_addresses_are_masked_at_unchanged_length_however_the_response_arrives() {
    let stars = "*".repeat(100);
    let expected = SETTINGS.map(|setting| match setting.0 {
        "listeners" | "advertised.listeners" | "controller.quorum.voters" => {
            masked(setting, &stars)
        }
        _ => setting,
    });
    for version in 0..=4 {
        let frame = describe_configs(version, 7, &SETTINGS);
        let expected = describe_configs(version, 7, &expected);
        for piece in [1, 3, 16, frame.len()] {
            let api = row(DESCRIBE_CONFIGS);
            let mut rewrite = Rewrite::new(api, version, frame.len() - 4).unwrap();
            let mut out = frame.clone();
            let mut scanned = PREFIX_BYTES;
            while !rewrite.is_ready() {
                let end = frame.len().min(scanned + piece);
                scanned += rewrite.push(&frame[scanned..end]).unwrap();
                for Masked { range, with } in rewrite.take_masked() {
                    assert!(range.end <= scanned, "only what has arrived");
                    out[range].fill(with);
                }
            }
            assert!(out == expected, "v{version} in pieces of {piece}");
        }
    }
}

#[test]
fn coordinators_of_more_groups_than_65536_are_rewritten() {
    let nodes: Vec<_> = (0..70_000)
        .map(|group| node(group % 3, "kafka.internal", 9092))
        .collect();
    let shape = Shape::of(&nodes);
    let map = Map {
        host: Some("kafka.example.com"),
        nodes: &nodes[..3],
    };
    let frame = response(FIND_COORDINATOR, 4, 7, &shape);
    let expected = response(
        FIND_COORDINATOR,
        4,
        7,
        &shape.readdressed(|at| node(at.id, "kafka.example.com", at.port + 1)),
    );
    assert!(rewrite((FIND_COORDINATOR, 4), &frame, &map).unwrap() == expected);
}
