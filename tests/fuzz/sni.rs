//! Any bytes as a TLS server name, and as a pattern of names: nobody is identified by a name that
//! was not advertised.

#![no_main]

use libfuzzer_sys::fuzz_target;
use narrows_fuzz::address::{Advertised, NodeIdRanges, Scheme, SniScheme};
use narrows_fuzz::types::{NodeId, Target};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;

static SCHEMES: LazyLock<Vec<SniScheme>> = LazyLock::new(|| {
    let ids = NodeIdRanges::new(vec![(1, 3), (1000, 1002)]).expect("ranges");
    [
        (
            "kafka.example.com",
            "broker-{node_id}.kafka.example.com",
            None,
        ),
        ("kafka.example.com", "b1{node_id}0.kafka.example.com", None),
        (
            "broker-4.kafka.example.com",
            "broker-{node_id}.kafka.example.com",
            Some(ids),
        ),
        ("boot.k", "{node_id}.k", None),
    ]
    .into_iter()
    .map(|(bootstrap, broker, node_ids)| scheme(bootstrap, broker, node_ids).expect("legal names"))
    .collect()
});

fn scheme(bootstrap: &str, broker: &str, node_ids: Option<NodeIdRanges>) -> Option<SniScheme> {
    SniScheme::new(
        SocketAddr::from((Ipv4Addr::UNSPECIFIED, 9094)),
        bootstrap,
        broker,
        9094,
        node_ids,
    )
    .ok()
}

fuzz_target!(|bytes: &[u8]| {
    let text = std::str::from_utf8(bytes).ok();
    for scheme in SCHEMES.iter() {
        look_at_name(scheme, bytes);
    }
    // Comparing is slow beside all else here, so that one scheme must do.
    let scheme_of_this_length = &SCHEMES[bytes.len() % SCHEMES.len()];
    if let Some(text) = text {
        look_at_guess(scheme_of_this_length, text);
    }
    if let Some(scheme) = text.and_then(|text| scheme("boot.example.com", text, None)) {
        look_at_scheme(&scheme);
    }
});

fn look_at_name(scheme: &SniScheme, name: &[u8]) {
    let host = match scheme.identify(name) {
        None => return,
        Some(Target::Bootstrap) => scheme.bootstrap_host().to_owned(),
        Some(Target::Broker(node)) => {
            advertised(scheme, node).expect("who is identified has an address")
        }
    };
    assert!(
        name.eq_ignore_ascii_case(host.as_bytes()),
        "{} is taken for {host}",
        name.escape_ascii()
    );
}

fn look_at_guess(scheme: &SniScheme, name: &str) {
    let (host, likeness) = scheme.alike(name);
    assert!(
        scheme.identify(host.as_bytes()).is_some(),
        "{host} is suggested, and nobody's"
    );
    assert!((0.0..=1.0).contains(&likeness));
}

fn look_at_scheme(scheme: &SniScheme) {
    for node in [0, 1, 7, 10, 1000, i32::MAX].map(NodeId) {
        let host = advertised(scheme, node).expect("every node id has an address");
        assert_eq!(scheme.identify(host.as_bytes()), Some(Target::Broker(node)));
        assert!(
            host.len() <= 253
                && host.contains('.')
                && !host.ends_with('.')
                && !host.starts_with('.')
        );
        assert!(host.split('.').all(|label| (1..=63).contains(&label.len())));
    }
    for other in SCHEMES.iter() {
        let clash = scheme.clash(other);
        assert_eq!(clash.is_some(), other.clash(scheme).is_some());
        for scheme in [scheme, other] {
            assert!(
                clash
                    .as_ref()
                    .is_none_or(|name| scheme.identify(name.as_bytes()).is_some())
            );
        }
    }
}

fn advertised(scheme: &SniScheme, node: NodeId) -> Option<String> {
    match Scheme::Sni(scheme.clone()).advertise(node) {
        Advertised::Mapped(address) => Some(address.host.to_string()),
        Advertised::Unmapped(_) => None,
    }
}
