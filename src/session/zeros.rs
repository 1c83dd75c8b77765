//! Which series a listener has from the start, at zero: the ways in which its connections can end,
//! and its handshakes where TLS ends here. A series that is born with its first event hides it:
//! `rate()` and `increase()` see what is added to a series, and not that there is one.
//!
//! What is left to be born: series by API (nobody uses all 90 of them), Kafka errors (each API has
//! dozens), SASL mechanisms and client libraries.

use super::cause::Cause;
use super::first_bytes::DetectedProtocol;
use crate::cluster::ConnectError;
use crate::net::tls::HandshakeError;
use crate::observe::metrics::{Limit, ListenerMetrics};
use crate::types::Side;

/// The causes whose code is a word of their own, each with the side at fault.
const CAUSES: [(&str, Side); 40] = [
    ("client_closed", Side::Client),
    ("broker_closed", Side::Broker),
    ("closed_without_data", Side::Client),
    ("client_failed", Side::Client),
    ("broker_failed", Side::Broker),
    ("first_frame_timeout", Side::Client),
    ("half_close_timeout", Side::Client),
    ("client_stalled", Side::Client),
    ("broker_stalled", Side::Broker),
    ("proxy_untrusted", Side::Client),
    ("proxy_header_missing", Side::Client),
    ("proxy_header_malformed", Side::Client),
    ("not_kafka", Side::Client),
    ("not_tls", Side::Client),
    ("tls_hello_malformed", Side::Client),
    ("sni_missing", Side::Client),
    ("sni_unknown", Side::Client),
    ("tls_handshake_failed", Side::Client),
    ("sasl_mechanism_unsupported", Side::Client),
    ("sasl_not_expected", Side::Client),
    ("sasl_failed", Side::Client),
    ("sasl_cut_off", Side::Broker),
    ("login_missing", Side::Client),
    ("tls_handshake_timeout", Side::Client),
    ("request_too_large", Side::Client),
    ("request_malformed", Side::Client),
    ("request_header_too_large", Side::Client),
    ("not_offered", Side::Client),
    ("routing_loop", Side::Narrows),
    ("unexpected_response", Side::Broker),
    ("correlation_mismatch", Side::Broker),
    ("response_length", Side::Broker),
    ("response_malformed", Side::Broker),
    ("response_too_large", Side::Broker),
    ("broker_gone", Side::Broker),
    ("provisional_broker_wrong", Side::Narrows),
    ("login_elsewhere", Side::Narrows),
    ("age_reached", Side::Narrows),
    ("drained", Side::Narrows),
    ("aborted", Side::Narrows),
];

/// How handshakes end well, by version.
const SHAKEN: [(&str, &str); 4] = [
    ("TLSv1.2", "full"),
    ("TLSv1.2", "resumed"),
    ("TLSv1.3", "full"),
    ("TLSv1.3", "resumed"),
];
/// The client has gone before its handshake was computed.
pub(crate) const HANDSHAKE_GONE: &str = "gone";

/// Begins the series of a listener; of its handshakes if it has any.
pub(crate) fn begin(metrics: &ListenerMetrics, has_handshakes: bool) {
    metrics.closings_begin(causes());
    if has_handshakes {
        let failed = HandshakeError::CODES.into_iter().chain([HANDSHAKE_GONE]);
        let failed = failed.map(|outcome| ("none", outcome));
        metrics.handshakes_begin(SHAKEN.into_iter().chain(failed));
    }
}

fn causes() -> impl Iterator<Item = (&'static str, Side)> {
    let by = |side| move |code| (code, side);
    let limits = Limit::ALL.into_iter().map(|limit| {
        let cause = Cause::LimitReached { limit, max: 0 };
        (cause.code(), cause.side())
    });
    CAUSES
        .into_iter()
        .chain(DetectedProtocol::CODES.into_iter().map(by(Side::Client)))
        .chain(ConnectError::CODES.into_iter().map(by(Side::Broker)))
        .chain(limits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Metrics;
    use crate::types::ListenerName;
    use std::collections::BTreeSet;

    /// The codes that functions of a file give, as they stand in its text.
    fn codes<'s>(source: &'s str, begin: &str, end: &str) -> BTreeSet<&'s str> {
        let (_, body) = source.split_once(begin).unwrap();
        let (body, _) = body.split_once(end).unwrap();
        let words = body.split('"').skip(1).step_by(2);
        words.collect()
    }

    #[test]
    fn every_cause_with_a_word_of_its_own_is_there_with_its_side() {
        let source = include_str!("cause.rs");
        let (_, body) = source.split_once("fn faces(").unwrap();
        let (body, _) = body.split_once("\n    }\n").unwrap();
        let parts: Vec<_> = body.split('"').collect();
        let side = |behind: &str| match behind.trim_start_matches([',', ' ']) {
            text if text.starts_with("Client") => Side::Client,
            text if text.starts_with("Broker") => Side::Broker,
            text if text.starts_with("Narrows") => Side::Narrows,
            text => panic!("no side: {text}"),
        };
        let faces = parts[1..].chunks(2).filter(|pair| pair.len() == 2);
        let mut faces: Vec<_> = faces.map(|pair| (pair[0], side(pair[1]))).collect();
        let mut listed = CAUSES.to_vec();
        let order = |one: &(&str, Side)| one.0.to_owned();
        faces.sort_by_key(order);
        listed.sort_by_key(order);
        assert_eq!(listed, faces);
    }

    #[test]
    fn a_listener_has_every_cause_at_zero_and_handshakes_only_where_tls_ends() {
        let metrics = Metrics::new(std::iter::empty());
        let listener = metrics.listener(&ListenerName("external".into()));
        let count = |name: &str| {
            let text = metrics.render();
            let series = text.lines().filter(|line| line.starts_with(name));
            assert!(series.clone().all(|line| line.ends_with(" 0")), "{text}");
            series.count()
        };
        begin(&listener, false);
        let causes = causes().map(|(cause, side)| (cause, side.label()));
        let all = causes.collect::<BTreeSet<_>>().len();
        assert_eq!(count("narrows_connections_closed_total{"), all);
        assert_eq!(count("narrows_tls_handshakes_total{"), 0);
        begin(&listener, true);
        let all = SHAKEN.len() + HandshakeError::CODES.len() + 1;
        assert_eq!(count("narrows_tls_handshakes_total{"), all);
    }

    #[test]
    fn the_lists_of_codes_are_what_the_code_says() {
        let set = |codes: &[&'static str]| codes.iter().copied().collect::<BTreeSet<_>>();
        let of = |source, begin| codes(source, begin, "\n    }\n");
        let dial = include_str!("../broker/dial.rs");
        assert_eq!(set(&crate::broker::DialError::CODES), of(dial, " fn code("));
        let connect = include_str!("../cluster/connect.rs");
        assert_eq!(set(&ConnectError::CODES), of(connect, " fn code("));
        let speech = include_str!("first_bytes.rs");
        assert_eq!(set(&DetectedProtocol::CODES), of(speech, " fn code("));
        let tls = include_str!("../net/tls/error.rs");
        let mut handshakes = of(tls, " fn code(");
        handshakes.extend(codes(tls, "\nfn code(", "\n}\n"));
        handshakes.extend(codes(tls, "fn certificate_code(", "\n}\n"));
        assert_eq!(set(&HandshakeError::CODES), handshakes);
    }
}
