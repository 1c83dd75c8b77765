//! Scheme `sni`: the server name in the TLS hello (RFC 6066, section 3) says which broker a
//! connection is meant for.
//!
//! All brokers share one port. The bootstrap server has a name of its own; each broker's name is
//! the pattern with its node id as a plain decimal number in the place of `{node_id}`. Text goes
//! one way: a name from a client is compared with the configured ones, and never resolved or
//! dialled.

use super::{Advertised, Bind, NodeIdRanges, nowhere};
use crate::types::host::{self, HostError, NAME_CHARS_MAX};
use crate::types::likeness::likeness;
use crate::types::{AdvertisedAddress, NodeId, Target};
use std::net::SocketAddr;
use std::sync::Arc;

/// What stands for the node id in a pattern.
pub(crate) const PLACEHOLDER: &str = "{node_id}";

/// The digits of [`NodeId`]'s largest.
const DIGITS_MAX: usize = 10;

/// One listener's names. Held in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniScheme {
    bind: SocketAddr,
    bootstrap_host: Arc<str>,
    /// The pattern's text before the node id.
    before: Arc<str>,
    /// The pattern's text behind it.
    after: Arc<str>,
    advertised_port: u16,
    node_ids: Option<NodeIdRanges>,
}

/// Why these names can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SniSchemeError {
    /// The bootstrap host is no name that a client sends.
    #[error(transparent)]
    BootstrapHost(HostError),
    /// The pattern gives a broker a name that no client sends.
    #[error(transparent)]
    BrokerHost(HostError),
    /// The pattern has the placeholder not once.
    #[error(
        "{PLACEHOLDER} stands {0} times in it: write it exactly once, as in \
         broker-{PLACEHOLDER}.kafka.example.com"
    )]
    Placeholder(usize),
    /// The bootstrap host is what a broker is called.
    #[error(
        "{host} is also the name of broker {node}: choose a name that broker_host does not give"
    )]
    BootstrapClash {
        /// The name that both want.
        host: String,
        /// The broker whose name it is.
        node: NodeId,
    },
    /// Nobody can dial port 0.
    #[error(
        "0 is no port that a client can dial: set advertised_port to the one that clients reach"
    )]
    AdvertisedPort,
}

impl SniScheme {
    /// `broker_host` is a pattern with one [`PLACEHOLDER`]; without `node_ids` every node id has a
    /// name.
    pub fn new(
        bind: SocketAddr,
        bootstrap_host: &str,
        broker_host: &str,
        advertised_port: u16,
        node_ids: Option<NodeIdRanges>,
    ) -> Result<Self, SniSchemeError> {
        let (before, after) = split(broker_host)?;
        let scheme = Self {
            bind,
            bootstrap_host: bootstrap_host.to_ascii_lowercase().into(),
            before: before.to_ascii_lowercase().into(),
            after: after.to_ascii_lowercase().into(),
            advertised_port,
            node_ids,
        };
        host::server_name(&scheme.bootstrap_host).map_err(SniSchemeError::BootstrapHost)?;
        // Whatever is wrong with a node id's name is wrong with one of these: the longest, and the
        // only one that `0x` can begin with.
        for node in [0, i32::MAX] {
            let host = scheme.broker_host(NodeId(node));
            host::server_name(&host).map_err(SniSchemeError::BrokerHost)?;
        }
        if let Some(node) = scheme.identify_broker(scheme.bootstrap_host.as_bytes()) {
            return Err(SniSchemeError::BootstrapClash {
                host: scheme.bootstrap_host.to_string(),
                node,
            });
        }
        if advertised_port == 0 {
            return Err(SniSchemeError::AdvertisedPort);
        }
        Ok(scheme)
    }

    /// Where to listen.
    pub(crate) fn bind(&self) -> SocketAddr {
        self.bind
    }

    /// The name that clients have in `bootstrap.servers`.
    pub fn bootstrap_host(&self) -> &str {
        &self.bootstrap_host
    }

    /// The port that clients are told.
    pub(crate) fn advertised_port(&self) -> u16 {
        self.advertised_port
    }

    /// The node ids that have a name; `None` for all.
    pub(crate) fn node_ids(&self) -> Option<&NodeIdRanges> {
        self.node_ids.as_ref()
    }

    /// The name that the pattern gives to `node`, whether or not it is one of the node ids.
    pub(crate) fn broker_host(&self, node: NodeId) -> String {
        format!("{}{node}{}", self.before, self.after)
    }

    /// The pattern of the brokers' names: `broker-{node_id}.kafka.example.com`.
    pub(crate) fn pattern(&self) -> String {
        format!("{}{PLACEHOLDER}{}", self.before, self.after)
    }

    pub(super) fn advertise(&self, node: NodeId) -> Advertised {
        if self.has(node) {
            let host = self.broker_host(node).into();
            Advertised::Mapped(AdvertisedAddress {
                host,
                port: self.advertised_port,
            })
        } else {
            Advertised::Unmapped(nowhere(node))
        }
    }

    /// Whom a connection is meant for whose TLS hello says `name`; `None` for any but exactly the
    /// configured names, in whatever case. Takes any bytes.
    pub fn identify(&self, name: &[u8]) -> Option<Target> {
        if name.eq_ignore_ascii_case(self.bootstrap_host.as_bytes()) {
            Some(Target::Bootstrap)
        } else {
            self.identify_broker(name).map(Target::Broker)
        }
    }

    fn identify_broker(&self, name: &[u8]) -> Option<NodeId> {
        let (before, rest) = name.split_at_checked(self.before.len())?;
        let (digits, after) = rest.split_at_checked(rest.len().checked_sub(self.after.len())?)?;
        let is_alike = before.eq_ignore_ascii_case(self.before.as_bytes())
            && after.eq_ignore_ascii_case(self.after.as_bytes());
        node_id(digits).filter(|node| is_alike && self.has(*node))
    }

    fn has(&self, node: NodeId) -> bool {
        match &self.node_ids {
            Some(ranges) => ranges.position(node).is_some(),
            None => node.0 >= 0,
        }
    }

    pub(super) fn binds(&self) -> Vec<Bind> {
        vec![Bind {
            address: self.bind,
            target: None,
        }]
    }

    /// A name that both would claim, so that they can't share a port.
    pub fn clash(&self, other: &Self) -> Option<String> {
        self.claimed_by(other).or_else(|| other.claimed_by(self))
    }

    /// A name of this scheme that the other claims too. Sees every clash when asked both ways
    /// round.
    fn claimed_by(&self, other: &Self) -> Option<String> {
        let is_claimed = |name: &String| other.identify(name.as_bytes()).is_some();
        let name = |node| self.broker_host(node);
        let bootstrap = Some(self.bootstrap_host.to_string()).filter(is_claimed);
        bootstrap.or_else(|| match &self.node_ids {
            Some(ranges) => ranges.iter().map(name).find(is_claimed),
            None => self.telling(other).into_iter().map(name).find(is_claimed),
        })
    }

    /// The node ids that tell whether two patterns share a name, when every node id has one.
    ///
    /// Say that a name is shared. Where this id lies within the other one, 0 or (no id begins with
    /// a 0) 1 would do as well. Where it begins before the other and ends before it does, it begins
    /// with digits that are text in the other pattern: with some of them, or with all and more of
    /// its own, for which a 1 would do as well. What is left is the same with the parts exchanged.
    fn telling(&self, other: &Self) -> Vec<NodeId> {
        let literal = other
            .before
            .strip_prefix(&*self.before)
            .unwrap_or_default()
            .as_bytes();
        let within = (1..=literal.len().min(DIGITS_MAX)).map(|length| literal[..length].to_vec());
        let beyond = [literal, b"1"].concat();
        let texts = [b"0".to_vec(), b"1".to_vec(), beyond]
            .into_iter()
            .chain(within);
        texts.filter_map(|text| node_id(&text)).collect()
    }

    /// The configured name that is most like `name`, and how much, from 0 to 1: what its sender may
    /// have meant. A broker's name is compared with the node id that `name` has in that place,
    /// where it has one.
    pub fn alike(&self, name: &str) -> (String, f64) {
        let bootstrap = self.bootstrap_host.to_string();
        // The comparison takes time and memory by the product of the lengths.
        if name.len() > NAME_CHARS_MAX {
            return (bootstrap, 0.0);
        }
        let name = name.to_ascii_lowercase();
        let least = self
            .node_ids
            .as_ref()
            .and_then(|ranges| ranges.iter().next())
            .unwrap_or(NodeId(0));
        let broker = self.broker_host(self.meant(&name).unwrap_or(least));
        let of_bootstrap = likeness(&name, &bootstrap);
        let of_broker = likeness(&name, &broker);
        if of_broker > of_bootstrap {
            (broker, of_broker)
        } else {
            (bootstrap, of_bootstrap)
        }
    }

    /// The node id in `name` nearest to where the pattern has it.
    fn meant(&self, name: &str) -> Option<NodeId> {
        let starts = name.char_indices().filter(|(at, c)| {
            c.is_ascii_digit() && !name[..*at].ends_with(|before: char| before.is_ascii_digit())
        });
        let ids = starts.filter_map(|(at, _)| {
            let rest = &name[at..];
            let digits = &rest[..rest
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(rest.len())];
            let node = digits
                .parse()
                .ok()
                .map(NodeId)
                .filter(|node| self.has(*node))?;
            Some((at.abs_diff(self.before.len()), node))
        });
        ids.min().map(|(_, node)| node)
    }
}

fn split(pattern: &str) -> Result<(&str, &str), SniSchemeError> {
    match (
        pattern.matches(PLACEHOLDER).count(),
        pattern.split_once(PLACEHOLDER),
    ) {
        (1, Some(parts)) => Ok(parts),
        (count, _) => Err(SniSchemeError::Placeholder(count)),
    }
}

/// A node id as [`SniScheme::broker_host`] writes it: `7`, but not `07`, `+7` or `4294967303`.
fn node_id(digits: &[u8]) -> Option<NodeId> {
    let is_plain = digits.len() <= DIGITS_MAX
        && digits.iter().all(u8::is_ascii_digit)
        && (digits == b"0" || digits.first().is_some_and(|digit| *digit != b'0'));
    if !is_plain {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().map(NodeId)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Scheme;
    use proptest::prelude::*;
    use std::collections::{BTreeSet, HashSet};
    use std::sync::LazyLock;

    const BOOTSTRAP: &str = "kafka.example.com";
    const PATTERN: &str = "broker-{node_id}.kafka.example.com";

    fn scheme_of(
        bootstrap_host: &str,
        broker_host: &str,
        node_ids: &[(i32, i32)],
    ) -> Result<SniScheme, SniSchemeError> {
        let bind = SocketAddr::from(([0, 0, 0, 0], 9094));
        let node_ids =
            (!node_ids.is_empty()).then(|| NodeIdRanges::new(node_ids.to_vec()).unwrap());
        SniScheme::new(bind, bootstrap_host, broker_host, 443, node_ids)
    }

    fn scheme(bootstrap_host: &str, broker_host: &str) -> SniScheme {
        scheme_of(bootstrap_host, broker_host, &[]).unwrap()
    }

    #[test]
    fn every_broker_has_a_name_of_its_own_and_the_one_port() {
        let scheme = scheme(BOOTSTRAP, PATTERN);
        for node in [0, 7, 1000, i32::MAX] {
            let Advertised::Mapped(address) = scheme.advertise(NodeId(node)) else {
                panic!("{node}")
            };
            assert_eq!(
                address.to_string(),
                format!("broker-{node}.kafka.example.com:443")
            );
        }
        let bind = Bind {
            address: "0.0.0.0:9094".parse().unwrap(),
            target: None,
        };
        assert_eq!(Scheme::Sni(scheme).binds(), [bind]);
    }

    #[test]
    fn a_node_outside_node_ids_has_no_name_in_either_direction() {
        let some = scheme_of(BOOTSTRAP, PATTERN, &[(1, 3)]).unwrap();
        assert_eq!(
            some.identify(b"broker-3.kafka.example.com"),
            Some(Target::Broker(NodeId(3)))
        );
        assert_eq!(some.identify(b"broker-4.kafka.example.com"), None);
        assert!(matches!(some.advertise(NodeId(4)), Advertised::Unmapped(_)));
        let all = scheme(BOOTSTRAP, PATTERN);
        assert!(matches!(all.advertise(NodeId(-1)), Advertised::Unmapped(_)));
        assert_eq!(all.identify(b"broker--1.kafka.example.com"), None);
    }

    #[test]
    fn case_makes_no_difference() {
        let scheme = scheme("KAFKA.Example.com", "Broker-{node_id}.KAFKA.example.com");
        assert_eq!(
            (scheme.bootstrap_host(), scheme.pattern()),
            (BOOTSTRAP, PATTERN.to_owned())
        );
        assert_eq!(
            scheme.identify(b"Kafka.EXAMPLE.com"),
            Some(Target::Bootstrap)
        );
        assert_eq!(
            scheme.identify(b"BROKER-7.kafka.example.COM"),
            Some(Target::Broker(NodeId(7)))
        );
    }

    #[test]
    fn only_the_very_names_are_somebodys() {
        let scheme = scheme(BOOTSTRAP, PATTERN);
        let long = [b'a'; 70_000];
        for nobody in [
            &b""[..],
            b".",
            b"kafka.example.com.",
            b"kafka.example.com\0",
            b"broker-7.kafka.example.com.",
            b"xbroker-7.kafka.example.com",
            b"broker-7.kafka.example.comx",
            b"broker-.kafka.example.com",
            b"broker-07.kafka.example.com",
            b"broker-00.kafka.example.com",
            b"broker-+7.kafka.example.com",
            b"broker--7.kafka.example.com",
            b"broker- 7.kafka.example.com",
            b"broker-7_.kafka.example.com",
            b"broker_7.kafka.example.com",
            b"broker-0x7.kafka.example.com",
            b"broker-\xef\xbc\x97.kafka.example.com",
            b"broker-2147483648.kafka.example.com",
            b"broker-4294967296.kafka.example.com",
            b"broker-99999999999999999999.kafka.example.com",
            b"broker-7.8.kafka.example.com",
            b"broker-{node_id}.kafka.example.com",
            b"broker-7.kafka.example.org",
            b"10.0.0.1",
            b"\xff\xfe",
            &long,
        ] {
            assert_eq!(scheme.identify(nobody), None, "{}", nobody.escape_ascii());
        }
    }

    #[test]
    fn a_name_that_clients_can_not_send_is_refused() {
        for (host, expected) in [
            ("", HostError::Empty),
            ("*.example.com", HostError::Wildcard),
            ("kafka", HostError::NoDot("kafka".to_owned())),
            ("kafka.0xBEEF", HostError::Number("0xbeef".to_owned())),
        ] {
            let expected = SniSchemeError::BootstrapHost(expected);
            assert_eq!(scheme_of(host, PATTERN, &[]), Err(expected), "{host}");
        }
    }

    #[test]
    fn a_pattern_must_give_every_node_id_a_legal_name() {
        let error =
            |host: &str| scheme_of("boot.example.com", host, &[]).map(|scheme| scheme.pattern());
        let wrong = |error| Err(SniSchemeError::BrokerHost(error));
        assert_eq!(
            error("broker.example.com"),
            Err(SniSchemeError::Placeholder(0))
        );
        assert_eq!(
            error("{node_id}-{node_id}.example.com"),
            Err(SniSchemeError::Placeholder(2))
        );
        assert_eq!(
            error("broker-{node_id}"),
            wrong(HostError::NoDot("broker-0".to_owned()))
        );
        assert_eq!(
            error("{node_id}-.example.com"),
            wrong(HostError::Hyphen("0-".to_owned()))
        );
        assert_eq!(
            error("10.0.0.{node_id}"),
            wrong(HostError::IpAddress("10.0.0.0".parse().unwrap()))
        );
        assert_eq!(
            error("broker.{node_id}"),
            wrong(HostError::Number("0".to_owned()))
        );
        // Broker 0 alone has this problem.
        assert_eq!(
            error("broker.{node_id}xbee"),
            wrong(HostError::Number("0xbee".to_owned()))
        );
        let label = "a".repeat(54);
        // The brokers with ten digits alone have these.
        assert_eq!(
            error(&format!("{label}{{node_id}}.com")),
            wrong(HostError::LongLabel(64))
        );
        assert!(error(&format!("{}{{node_id}}.com", &label[1..])).is_ok());
        let labels = "a.".repeat(120);
        assert_eq!(
            error(&format!("b{{node_id}}.{labels}abc")),
            wrong(HostError::Long(255))
        );
        assert!(error(&format!("b{{node_id}}.{labels}a")).is_ok());
    }

    #[test]
    fn the_bootstrap_host_must_not_be_a_brokers() {
        let error =
            |node_ids| scheme_of("Broker-7.kafka.example.com", PATTERN, node_ids).unwrap_err();
        let host = "broker-7.kafka.example.com".to_owned();
        assert_eq!(
            error(&[]),
            SniSchemeError::BootstrapClash {
                host,
                node: NodeId(7)
            }
        );
        assert!(scheme_of("broker-7.kafka.example.com", PATTERN, &[(0, 6)]).is_ok());
        assert!(scheme_of("broker-07.kafka.example.com", PATTERN, &[]).is_ok());
    }

    #[test]
    fn nobody_is_told_port_0() {
        let bind = SocketAddr::from(([0, 0, 0, 0], 0));
        let scheme = SniScheme::new(bind, BOOTSTRAP, PATTERN, 0, None);
        assert_eq!(scheme, Err(SniSchemeError::AdvertisedPort));
    }

    #[test]
    fn two_listeners_clash_where_one_name_could_be_for_both() {
        let clash = |a: (&str, &str), b: (&str, &str)| scheme(a.0, a.1).clash(&scheme(b.0, b.1));
        let east = ("east.k", "broker-{node_id}.east.k");
        assert_eq!(clash(east, ("west.k", "broker-{node_id}.west.k")), None);
        assert_eq!(
            clash(east, ("east.k", "broker-{node_id}.west.k")).as_deref(),
            Some("east.k")
        );
        assert_eq!(
            clash(east, ("west.k", "broker-{node_id}.east.k")).as_deref(),
            Some("broker-0.east.k")
        );
        assert_eq!(
            clash(east, ("broker-5.east.k", "broker-{node_id}.west.k")).as_deref(),
            Some("broker-5.east.k")
        );
        // A digit that is text in one and part of the id in the other.
        let pattern = |a, b| clash(("a.k", a), ("b.k", b));
        assert_eq!(
            pattern("b{node_id}.k", "b1{node_id}.k").as_deref(),
            Some("b11.k")
        );
        assert_eq!(
            pattern("b{node_id}.k", "b{node_id}7.k").as_deref(),
            Some("b17.k")
        );
        assert_eq!(
            pattern("b{node_id}7.k", "b1{node_id}.k").as_deref(),
            Some("b17.k")
        );
        assert_eq!(
            pattern("b{node_id}x5.k", "b3x{node_id}.k").as_deref(),
            Some("b3x5.k")
        );
        assert_eq!(pattern("b{node_id}.k", "b0{node_id}.k"), None);
        assert_eq!(pattern("b{node_id}.k", "b2147483648{node_id}.k"), None);
        assert_eq!(pattern("b{node_id}.k", "b{node_id}-0.k"), None);
    }

    #[test]
    fn listeners_that_share_a_pattern_may_share_it_by_node_ids() {
        let listener = |host, node_ids: &[_]| scheme_of(host, PATTERN, node_ids).unwrap();
        let low = listener("low.k", &[(0, 9)]);
        let high = listener("high.k", &[(100, 109)]);
        assert_eq!(low.clash(&high), None);
        let clash = listener("all.k", &[]).clash(&high);
        assert_eq!(clash.as_deref(), Some("broker-100.kafka.example.com"));
    }

    #[test]
    fn a_misspelt_name_suggests_the_one_that_was_meant() {
        let scheme = scheme(BOOTSTRAP, PATTERN);
        for (name, meant) in [
            ("broker-3.kafka.exmaple.com", "broker-3.kafka.example.com"),
            ("BROKER-3.kafka.exmaple.com", "broker-3.kafka.example.com"),
            ("broker-03.kafka.example.com", "broker-3.kafka.example.com"),
            ("brokr12.kafka.example.com", "broker-12.kafka.example.com"),
            ("broker-x.kafka.example.com", "broker-0.kafka.example.com"),
            ("broker-3.kafka2.example.com", "broker-3.kafka.example.com"),
            ("kafka.example.org", BOOTSTRAP),
            ("kafka.example.com.", BOOTSTRAP),
        ] {
            let (guess, likeness) = scheme.alike(name);
            assert_eq!(guess, meant, "{name}");
            assert!(likeness > 0.6, "{name} is like {guess} by {likeness}");
        }
        let right = ("broker-3.kafka.example.com".to_owned(), 1.0);
        assert_eq!(scheme.alike("BROKER-3.KAFKA.EXAMPLE.COM"), right);
        assert!(scheme.alike("www.wikipedia.org").1 < 0.5);
        assert_eq!(
            scheme.alike(&"k".repeat(65_535)),
            (BOOTSTRAP.to_owned(), 0.0)
        );
        let some = scheme_of(BOOTSTRAP, PATTERN, &[(5, 6)]).unwrap();
        assert_eq!(
            some.alike("broker-99.kafka.example.com").0,
            "broker-5.kafka.example.com"
        );
    }

    /// Patterns with digits beside and around the node id.
    fn patterns() -> impl Strategy<Value = String> {
        "([a-c]{1,3}[.-]?[0-9]{0,3}|[0-9]{0,2}|[0-2]{0,10})\\{node_id\\}([0-9]{0,3}|[a-c]|-[0-9]|x[0-9])\\.[a-c]\\.k"
    }

    /// Few texts, so that two patterns often have much in common; `x` may stand where the other's
    /// id ends.
    fn narrow_patterns() -> impl Strategy<Value = String> {
        prop_oneof![
            3 => "b[01]{0,2}\\{node_id\\}[01]{0,2}\\.k",
            1 => "b?[01]{0,2}x?\\{node_id\\}x?[01]{0,2}\\.k",
        ]
    }

    fn narrow_ids() -> impl Strategy<Value = Vec<(i32, i32)>> {
        prop_oneof![
            3 => Just(vec![]),
            1 => (0..15i32, 0..=5i32).prop_map(|(first, more)| vec![(first, first + more)]),
        ]
    }

    /// Every id up to 20, alone and with the literal digits of a narrow pattern before and behind
    /// it.
    static NARROW_NODES: LazyLock<BTreeSet<NodeId>> = LazyLock::new(|| {
        const LITERALS: [&str; 7] = ["", "0", "1", "00", "01", "10", "11"];
        let texts = (0..=20).flat_map(|id| {
            LITERALS
                .iter()
                .flat_map(move |x| LITERALS.iter().map(move |y| format!("{x}{id}{y}")))
        });
        texts.filter_map(|text| node_id(text.as_bytes())).collect()
    });

    fn narrow_names(scheme: &SniScheme) -> HashSet<String> {
        let nodes = NARROW_NODES.iter().filter(|node| scheme.has(**node));
        nodes
            .map(|node| scheme.broker_host(*node))
            .chain([scheme.bootstrap_host().to_owned()])
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_name_identifies_the_node_that_it_was_advertised_for(
            pattern in patterns(),
            id in prop_oneof![0..=i32::MAX, 0..200i32],
        ) {
            let scheme = scheme(BOOTSTRAP, &pattern);
            let address = scheme.advertise(NodeId(id)).address().host.to_ascii_uppercase();
            prop_assert_eq!(scheme.identify(address.as_bytes()), Some(Target::Broker(NodeId(id))));
        }

        #[test]
        fn a_name_that_is_not_advertised_is_nobodys(
            pattern in patterns(),
            id in prop_oneof![0..=i32::MAX, 0..200i32],
            at in any::<prop::sample::Index>(),
            change in prop_oneof![any::<u8>(), b'0'..=b'9'],
            kind in 0..3,
        ) {
            let scheme = scheme(BOOTSTRAP, &pattern);
            let mut name = scheme.broker_host(NodeId(id)).into_bytes();
            let at = at.index(name.len());
            match kind {
                0 => name[at] = change,
                1 => name.insert(at, change),
                _ => drop(name.remove(at)),
            }
            match scheme.identify(&name) {
                Some(Target::Broker(node)) => {
                    let advertised = scheme.advertise(node).address().host.clone();
                    prop_assert!(name.eq_ignore_ascii_case(advertised.as_bytes()));
                }
                Some(Target::Bootstrap) => prop_assert!(name.eq_ignore_ascii_case(BOOTSTRAP.as_bytes())),
                None => {}
            }
        }

        #[test]
        fn what_new_lets_pass_is_a_server_name_to_a_tls_library(
            host in "[a0x-]{0,3}[.a0]?\\{node_id\\}[a0x.-]{0,3}(\\.k)?",
            id in prop_oneof![0..=i32::MAX, 0..20i32],
        ) {
            use rustls::pki_types::DnsName;
            if let Ok(scheme) = scheme_of(BOOTSTRAP, &host, &[]) {
                let name = scheme.broker_host(NodeId(id));
                prop_assert!(DnsName::try_from(name.as_str()).is_ok(), "{}", name);
                prop_assert!(name.find('.').is_some_and(|dot| dot > 0 && !name.ends_with('.')));
            }
        }

        #[test]
        fn schemes_clash_where_their_first_names_show_it(
            (one, other) in (narrow_patterns(), narrow_patterns()),
            (one_ids, other_ids) in (narrow_ids(), narrow_ids()),
            bootstrap in prop_oneof![2 => Just("two.k".to_owned()), 1 => "(one|b?x?(20|1?[0-9]))\\.k"],
        ) {
            let one = scheme_of("one.k", &one, &one_ids);
            let other = scheme_of(&bootstrap, &other, &other_ids);
            if let (Ok(one), Ok(other)) = (one, other) {
                let is_shared = !narrow_names(&one).is_disjoint(&narrow_names(&other));
                for (one, other) in [(&one, &other), (&other, &one)] {
                    let clash = one.clash(other);
                    prop_assert_eq!(clash.is_some(), is_shared, "{:?}", &clash);
                    if let Some(name) = clash {
                        prop_assert!(one.identify(name.as_bytes()).is_some(), "{}", &name);
                        prop_assert!(other.identify(name.as_bytes()).is_some(), "{}", &name);
                    }
                }
            }
        }

        #[test]
        fn whatever_is_suggested_is_a_name_of_somebody(
            name in "\\PC{0,40}|broker-?[0-9]{0,11}.kafka.\\PC{0,9}",
        ) {
            for node_ids in [&[][..], &[(3, 5), (1000, 1002)]] {
                let scheme = scheme_of(BOOTSTRAP, PATTERN, node_ids).unwrap();
                let (guess, likeness) = scheme.alike(&name);
                prop_assert!(scheme.identify(guess.as_bytes()).is_some(), "{}", guess);
                prop_assert!((0.0..=1.0).contains(&likeness));
            }
        }
    }
}
