//! The API table: one row per API key says which versions have been vetted, how requests and responses are treated, and
//! which broker can serve it. Everything else derives from it: the ApiVersions intersection, the relay's decision, metric
//! labels, the README's list, and the test that reads the message schemas of every Kafka release.

/// One API.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    /// The api key on the wire.
    pub key: i16,
    /// Kafka's name, as in `ApiKeys`: `FindCoordinator`.
    pub name: &'static str,
    /// The versions that have been looked at, inclusive.
    pub versions: Versions,
    /// The first version with compact types and tagged fields, if any (`flexibleVersions`).
    pub flexible_from: Option<i16>,
    /// What Klamm does with it.
    pub treatment: Treatment,
    /// Which broker can serve it.
    pub route: Route,
}

/// An inclusive range of api versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The lowest.
    pub min: i16,
    /// The highest.
    pub max: i16,
}

/// What Klamm does with an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Requests and responses pass unread.
    Opaque,
    /// Responses of `from` and newer versions carry broker addresses, which are rewritten; older ones pass unread.
    Rewrite {
        /// The first version with addresses in its response.
        from: i16,
    },
    /// ApiVersions: the response is cut to this table.
    Negotiate,
    /// SaslHandshake and SaslAuthenticate: pass unread, and decide what the next frame may be.
    Authenticate,
    /// Served to other nodes of the cluster only: refused, and cut out of ApiVersions.
    Refuse,
}

/// Which broker can serve a request (scheme `single` routes by it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Any broker.
    Any,
    /// Klamm or the broker at hand: it concerns the connection itself.
    Connection,
    /// The leader of each partition named.
    PartitionLeader,
    /// The coordinator of the group named.
    GroupCoordinator,
    /// The coordinators of the groups listed.
    GroupCoordinators,
    /// The coordinator of the transactional id named, or any broker if there is none.
    TransactionCoordinator,
    /// The coordinators of the transactional ids listed.
    TransactionCoordinators,
    /// The broker that a BROKER resource names, else any.
    Node,
    /// Every broker.
    All,
    /// Not from a client.
    None,
}
