//! No broker's own address gets through a session, whatever responses carry it: every API and
//! version that names brokers, hosts of any length, in any order and cut anywhere.

use super::{cut, state, through};
use crate::protocol::samples::{
    DESCRIBE_CONFIGS, Node, Shape, describe_configs, response, rewritten,
};
use crate::protocol::table;
use crate::session::in_flight::{Expected, Recipient, Response};
use crate::session::responses::Responses;
use proptest::prelude::*;
use proptest::sample::Index;

/// In every host of a broker. Hosts have at least these many bytes, and Kafka's at most 255.
const PLANTED: &str = "planted.internal";
const HOST_BYTES_MAX: usize = 255;

/// A broker with a planted host.
fn node() -> impl Strategy<Value = Node> {
    let more = 0..=HOST_BYTES_MAX - PLANTED.len();
    (any::<i32>(), any::<bool>(), more, any::<u16>()).prop_map(|(id, is_first, more, port)| {
        let filling = "h".repeat(more);
        Node {
            id: id.saturating_abs(),
            host: match is_first {
                true => format!("{PLANTED}{filling}"),
                false => format!("{filling}{PLANTED}"),
            },
            port,
        }
    })
}

/// What a response carries, the addresses aside: some sizes are held whole, some flow.
fn shape() -> impl Strategy<Value = Shape> {
    let nodes = prop::collection::vec(node(), 0..6);
    (nodes, super::filling(), any::<bool>(), any::<bool>()).prop_map(
        |(nodes, filling, has_unknown_tags, has_nulls)| Shape {
            nodes,
            filling,
            has_unknown_tags,
            has_nulls,
        },
    )
}

/// The settings of a broker, which name all of its listeners.
fn settings(version: i16, id: i32, shape: &Shape) -> Vec<u8> {
    let listeners: Vec<String> = shape
        .nodes
        .iter()
        .map(|node| format!("PLAINTEXT://{}:{}", node.host, node.port))
        .collect();
    let value = listeners.join(",");
    describe_configs(
        version,
        id,
        &[
            ("listeners", &value, false),
            ("advertised.listeners", &value, false),
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_planted_address_gets_through(
        splices: bool,
        carried in prop::collection::vec((any::<Index>(), shape()), 1..8),
        cuts in prop::collection::vec(any::<Index>(), 0..40),
    ) {
        let mut versions: Vec<_> = rewritten().collect();
        versions.extend((1..=4).map(|version| (DESCRIBE_CONFIGS, version)));
        let mut session = state();
        let mut stream = Vec::new();
        for (id, (which, shape)) in (0..).zip(&carried) {
            let (key, version) = versions[which.index(versions.len())];
            session.expect(Expected::Response(Response {
                api: table::api(key),
                version,
                correlation_id: id,
                to: Recipient::Client,
            }));
            stream.extend(match key {
                DESCRIBE_CONFIGS => settings(version, id, shape),
                _ => response(key, version, id, shape),
            });
        }
        let (out, cause) = through::<Responses>(&cut(&stream, &cuts), splices, &mut session);
        prop_assert_eq!(cause, None);
        let planted = PLANTED.as_bytes();
        prop_assert!(!out.windows(planted.len()).any(|window| window == planted));
        prop_assert!(session.in_flight.is_empty(), "every response came through");
    }
}
