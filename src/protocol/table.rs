//! The API table: one row per API key says which versions have been vetted, how requests and
//! responses are treated, where addresses stand in a response, and which broker can serve a
//! request. Everything else derives from it: the ApiVersions intersection, the relay's decision,
//! header versions, metric labels, and the test that reads the message schemas of every Kafka
//! release. No other file maps an api key to anything.

mod rows;

pub use rows::APIS;

use super::schema::Schema;

/// The row of an api key; `None` for a key that Narrows has never seen, of which it cannot know
/// what its responses carry.
pub fn api(key: i16) -> Option<&'static Api> {
    usize::try_from(key).ok().and_then(|index| APIS.get(index))
}

/// The rows of the APIs in which Narrows itself asks brokers.
pub(crate) static API_VERSIONS: &Api = &APIS[18];
/// See [`API_VERSIONS`].
pub(crate) static METADATA: &Api = &APIS[3];

/// FindCoordinator, which says where the requests of a group belong.
pub(crate) static FIND_COORDINATOR: &Api = &APIS[10];
/// SaslHandshake, which shows whether a login is demanded.
pub(crate) static SASL_HANDSHAKE: &Api = &APIS[17];
/// SaslAuthenticate, Produce and Fetch: what `narrows doctor` asks besides.
pub(crate) static SASL_AUTHENTICATE: &Api = &APIS[36];
/// The one request that a client can ask the broker not to answer (`acks=0`).
pub(crate) static PRODUCE: &Api = &APIS[0];
/// See [`SASL_AUTHENTICATE`].
pub(crate) static FETCH: &Api = &APIS[1];
/// AlterReplicaLogDirs, whose requests move replicas on the broker that gets them.
pub(crate) static ALTER_REPLICA_LOG_DIRS: &Api = &APIS[34];

/// One API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    /// The api key on the wire.
    pub key: i16,
    /// Kafka's name, as in `ApiKeys`: `FindCoordinator`.
    pub name: &'static str,
    /// The versions that have been looked at, inclusive.
    pub versions: Versions,
    /// The first version with compact types and tagged fields, if any (`flexibleVersions`).
    pub flexible_from: Option<i16>,
    /// What Narrows does with it.
    pub treatment: Treatment,
    /// Which broker can serve it.
    pub route: Route,
}

impl Api {
    /// Whether a version has compact types and tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        self.flexible_from.is_some_and(|from| version >= from)
    }

    /// Whether a client sends it to log in: what brokers take before an authentication is over.
    pub(crate) fn is_of_login(&self) -> bool {
        matches!(
            self.treatment,
            Treatment::Negotiate | Treatment::Handshake | Treatment::Authenticate
        )
    }

    /// How much of a request is read before it may pass.
    pub(crate) fn request(&self) -> RequestReading {
        match self.treatment {
            Treatment::Negotiate | Treatment::Handshake => RequestReading::Whole,
            _ if self.key == PRODUCE.key => RequestReading::HeaderAndAcks,
            _ => RequestReading::Header,
        }
    }

    /// How a response of a version is read.
    pub(crate) fn response(&self, version: i16) -> ResponseReading {
        match self.treatment {
            Treatment::Rewrite { from, schema } if version >= from => {
                ResponseReading::BySchema(schema)
            }
            Treatment::Mask { schema } => ResponseReading::BySchema(schema),
            Treatment::Negotiate | Treatment::Handshake | Treatment::Authenticate => {
                ResponseReading::Whole
            }
            Treatment::Opaque | Treatment::Rewrite { .. } | Treatment::Refuse => {
                ResponseReading::Unread
            }
        }
    }

    /// Whether the response of a version can carry broker addresses that have to be rewritten.
    pub fn rewrites(&self, version: i16) -> bool {
        matches!(self.treatment, Treatment::Rewrite { from, .. } if version >= from)
    }

    /// The versions of the request and the response header in a version, which need not be a
    /// vetted one: a newer version keeps the headers of the flexible ones. `None` for
    /// ControlledShutdown 0, whose request header 0 has no client id and which only ZooKeeper-era
    /// brokers sent each other.
    ///
    /// A response to ApiVersions has header 0 in every version, so that a client can read the
    /// answer of a broker that doesn't know the version it asked for (KIP-511).
    pub fn header_versions(&self, version: i16) -> Option<HeaderVersions> {
        if self.key == CONTROLLED_SHUTDOWN && version == 0 {
            return None;
        }
        let is_flexible = self.is_flexible(version);
        let is_tagged = is_flexible && self.treatment != Treatment::Negotiate;
        Some(HeaderVersions {
            request: 1 + i16::from(is_flexible),
            response: i16::from(is_tagged),
        })
    }
}

const CONTROLLED_SHUTDOWN: i16 = 7;

/// How much of a request is read before it may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestReading {
    /// Its header.
    Header,
    /// Its header, and `acks`, which says whether a response will come.
    HeaderAndAcks,
    /// All of it.
    Whole,
}

/// How a response is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponseReading {
    /// Behind its correlation id it passes unread: it carries no address.
    Unread,
    /// It is held until it is whole.
    Whole,
    /// Its addresses are found by this schema and replaced.
    BySchema(&'static Schema),
}

/// The versions of the two headers of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderVersions {
    /// 1: api key, api version, correlation id, client id. 2: the same and tagged fields.
    pub request: i16,
    /// 0: correlation id. 1: the same and tagged fields.
    pub response: i16,
}

/// An inclusive range of api versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

impl Versions {
    /// Whether the range has a version.
    pub const fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }

    /// What two ranges have in common, `None` if nothing.
    pub fn intersection(self, other: Versions) -> Option<Versions> {
        let common = Versions {
            min: self.min.max(other.min),
            max: self.max.min(other.max),
        };
        (common.min <= common.max).then_some(common)
    }
}

/// What Narrows does with an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Requests and responses pass unread.
    Opaque,
    /// Responses of `from` and newer versions carry broker addresses, which are rewritten; older
    /// ones pass unread.
    Rewrite {
        /// The first version with addresses in its response.
        from: i16,
        /// Where they stand.
        schema: &'static Schema,
    },
    /// DescribeConfigs: values that are addresses of nodes are masked, unless the operator lets
    /// them pass.
    Mask {
        /// Where values stand.
        schema: &'static Schema,
    },
    /// ApiVersions: the response is cut to this table.
    Negotiate,
    /// SaslHandshake: passes as it is; its answer says in what form tokens follow.
    Handshake,
    /// SaslAuthenticate: passes as it is; its answer says how far the authentication is.
    Authenticate,
    /// Served to other nodes of the cluster only: refused, and cut out of ApiVersions.
    Refuse,
}

/// Which broker can serve a request (scheme `single` routes by it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Any broker.
    Any,
    /// Narrows or the broker at hand: it concerns the connection itself.
    Connection,
    /// The leader of each partition named.
    PartitionLeader,
    /// The coordinator of the group named.
    GroupCoordinator,
    /// The coordinators of the groups listed (in old versions of some APIs the one group named).
    GroupCoordinators,
    /// The coordinator of the transactional id named, or any broker if there is none.
    TransactionCoordinator,
    /// The coordinators of the transactional ids listed.
    TransactionCoordinators,
    /// The broker that a BROKER resource names, else any.
    Node,
    /// Every broker; the answers belong together.
    All,
    /// Not from a client.
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_from_0_to_94_is_found_at_its_own_row_and_no_other_key_is() {
        for key in 0..=94 {
            assert_eq!(api(key).map(|api| api.key), Some(key));
        }
        for key in [i16::MIN, -1, 95, i16::MAX] {
            assert!(api(key).is_none(), "{key}");
        }
    }

    #[test]
    fn no_two_apis_share_a_name() {
        let names: std::collections::BTreeSet<_> = APIS.iter().map(|api| api.name).collect();
        assert_eq!(names.len(), APIS.len());
    }

    #[test]
    fn ranges_are_not_empty_and_what_begins_at_a_version_begins_within_them() {
        for api in &APIS {
            let Api {
                versions,
                flexible_from,
                treatment,
                ..
            } = *api;
            assert!(0 <= versions.min && versions.min <= versions.max, "{api:?}");
            assert!(
                flexible_from.is_none_or(|from| versions.contains(from)),
                "{api:?}"
            );
            if let Treatment::Rewrite { from, .. } = treatment {
                assert!(versions.contains(from), "{api:?}");
                assert!(from == versions.min || !api.rewrites(from - 1), "{api:?}");
                assert!(api.rewrites(from) && api.rewrites(versions.max), "{api:?}");
            }
        }
    }

    #[test]
    fn exactly_the_refused_apis_have_no_route() {
        for api in &APIS {
            assert_eq!(
                api.treatment == Treatment::Refuse,
                api.route == Route::None,
                "{api:?}"
            );
        }
    }

    #[test]
    fn the_apis_that_carry_addresses_are_these_and_from_these_versions() {
        let rewritten: Vec<_> = APIS
            .iter()
            .filter_map(|api| match api.treatment {
                Treatment::Rewrite { from, .. } => Some((api.name, from)),
                _ => None,
            })
            .collect();
        let expected = [
            ("Produce", 10),
            ("Fetch", 16),
            ("Metadata", 0),
            ("FindCoordinator", 0),
            ("DescribeQuorum", 2),
            ("DescribeCluster", 0),
            ("ShareFetch", 0),
            ("ShareAcknowledge", 0),
        ];
        assert_eq!(rewritten, expected);
    }

    #[test]
    fn only_what_decides_on_later_frames_is_read_whole_and_only_produce_may_go_unanswered() {
        let of = |reading| {
            let apis = APIS.iter().filter(|api| api.request() == reading);
            apis.map(|api| api.name).collect::<Vec<_>>()
        };
        assert_eq!(of(RequestReading::Whole), ["SaslHandshake", "ApiVersions"]);
        assert_eq!(of(RequestReading::HeaderAndAcks), ["Produce"]);
        let held = APIS
            .iter()
            .filter(|api| api.response(api.versions.max) == ResponseReading::Whole);
        let held: Vec<_> = held.map(|api| api.name).collect();
        assert_eq!(held, ["SaslHandshake", "ApiVersions", "SaslAuthenticate"]);
    }

    #[test]
    fn narrows_asks_by_the_rows_of_the_apis_that_it_names() {
        assert_eq!(API_VERSIONS.name, "ApiVersions");
        assert_eq!(METADATA.name, "Metadata");
        assert_eq!(SASL_AUTHENTICATE.name, "SaslAuthenticate");
        assert_eq!((PRODUCE.name, FETCH.name), ("Produce", "Fetch"));
    }

    #[test]
    fn ranges_without_a_common_version_have_no_intersection() {
        let low = Versions { min: 0, max: 3 };
        let high = Versions { min: 4, max: 9 };
        assert_eq!(low.intersection(high), None);
        assert_eq!(high.intersection(low), None);
        assert_eq!(
            low.intersection(Versions { min: 3, max: 9 }),
            Some(Versions { min: 3, max: 3 })
        );
    }

    #[test]
    fn headers_turn_flexible_with_the_api_but_for_the_response_to_api_versions() {
        let headers = |key, version| {
            let headers = api(key)?.header_versions(version)?;
            Some((headers.request, headers.response))
        };
        assert_eq!(headers(3, 8), Some((1, 0)));
        assert_eq!(headers(3, 9), Some((2, 1)));
        assert_eq!(headers(3, 99), Some((2, 1)));
        assert_eq!(headers(17, 1), Some((1, 0)), "SaslHandshake never is");
        assert_eq!(headers(18, 2), Some((1, 0)));
        assert_eq!(headers(18, 3), Some((2, 0)));
        assert_eq!(headers(18, 99), Some((2, 0)));
        assert_eq!(
            headers(7, 0),
            None,
            "ControlledShutdown 0 has request header 0"
        );
        assert_eq!(headers(7, 1), Some((1, 0)));
        assert_eq!(headers(95, 0), None);
    }
}
