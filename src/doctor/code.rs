//! What can be wrong on the way from a client to a record, each with a stable code and its cure.
//! `config/doctor.md` is written from this table.

/// One kind of trouble. Its word is public: scripts and documentation refer to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code(usize);

impl Code {
    /// The word, such as `dns_not_found`.
    pub fn word(self) -> &'static str {
        CODES[self.0].word
    }

    /// What to do about it: the end of a sentence.
    pub fn cure(self) -> &'static str {
        CODES[self.0].cure
    }

    /// Where the documentation tells more.
    pub(crate) fn link(self) -> String {
        format!("config/doctor.md#{}", self.word())
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The code.
    pub word: &'static str,
    /// What it means, as a sentence.
    pub(crate) meaning: &'static str,
    /// What to do, as the end of a sentence.
    pub(crate) cure: &'static str,
}

macro_rules! codes {
    ($($name:ident $word:literal $meaning:literal $cure:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "indices of rows")]
        enum Index { $($name),* }
        #[allow(missing_docs, reason = "the rows say what each is")]
        impl Code { $(pub const $name: Self = Self(Index::$name as usize);)* }
        /// Every code, in the order of the stages.
        pub const CODES: &[Row] = &[$(Row { word: $word, meaning: $meaning, cure: $cure }),*];
    };
}

codes! {
    DNS_NOT_FOUND "dns_not_found"
    "The bootstrap name has no address on the machine where this runs."
    "check its spelling and this machine's DNS; names of pods and containers are known only inside \
     their own network"

    DNS_TIMEOUT "dns_timeout"
    "The resolver did not answer in time."
    "check the name servers of this machine (/etc/resolv.conf)"

    CONNECT_REFUSED "connect_refused"
    "The machine is there, and nobody listens on that port."
    "check the port, and that the process which should listen there runs"

    CONNECT_TIMEOUT "connect_timeout"
    "Nobody answered: neither yes nor no."
    "a firewall or security group drops packets on the way, or the address belongs to another \
     network: open the way, or dial an address that can be reached from here"

    CONNECT_UNREACHABLE "connect_unreachable"
    "This machine has no route to that address."
    "check routes and VPN, or dial an address that can be reached from here"

    CONNECT_FAILED "connect_failed"
    "The connection could not be opened, or was cut."
    "the system's own words say why"

    SPEAKS_TLS "speaks_tls"
    "The listener speaks TLS, and was spoken to in plaintext. Java clients see a disconnect or an \
     OutOfMemoryError, librdkafka `Invalid response size 352518912`."
    "speak TLS to it: security.protocol SSL or SASL_SSL in clients, --tls here, clusters.NAME.tls \
     in Narrows"

    SPEAKS_PLAINTEXT "speaks_plaintext"
    "The listener is plaintext, and was spoken to in TLS. Brokers log `Invalid receive (size = \
     369295616 …)`."
    "leave TLS out: security.protocol PLAINTEXT or SASL_PLAINTEXT in clients, no --tls here; or \
     use the TLS listener's port"

    SPEAKS_HTTP "speaks_http"
    "A web server answers there."
    "this port belongs to HTTP (a web server, an ingress, an admin or metrics port): use the port \
     of a Kafka listener"

    SPEAKS_SSH "speaks_ssh"
    "An SSH server answers there."
    "use the port of a Kafka listener"

    SPEAKS_CONTROLLER "speaks_controller"
    "A KRaft controller answers, which has no topics and knows no clients."
    "use the port of a broker's listener, not that of a controller (controller.listener.names)"

    SPEAKS_OTHER "speaks_other"
    "What answers is not Kafka."
    "use the port of a Kafka listener"

    PROXY_PROTOCOL_EXPECTED "proxy_protocol_expected"
    "The listener answers only behind a PROXY protocol header, as a load balancer puts it in front."
    "go through the load balancer, or set the listener's proxy_protocol.mode to off or optional"

    SILENT "silent"
    "Something accepts connections there and never answers."
    "see whether the process there is stopped or overloaded, and whether a load balancer accepts \
     for a target that is away"

    CLOSED "closed"
    "Something accepts connections there and closes them instead of answering."
    "it may be a load balancer or a proxy whose broker is away (Narrows' log and /status say so), \
     or a listener for something else"

    NARROWS_BROKER_AWAY "narrows_broker_away"
    "Narrows listens there, and can't reach the broker that this port or name stands for."
    "its log, its /status and `narrows check --live` say why; a port or name for a node id that \
     the cluster does not have never answers"

    TLS_NAME_MISMATCH "tls_name_mismatch"
    "The certificate is not for the name that was dialled. Java: `No subject alternative DNS name \
     matching … found`."
    "dial a name that the certificate has, add this name to it, or expect another one with \
     --server-name (clusters.NAME.tls.server_name in Narrows)"

    TLS_NO_NAMES "tls_no_names"
    "The certificate has no subject alternative name, and a common name does not count."
    "issue the certificate with its DNS names as subject alternative names"

    TLS_UNKNOWN_ISSUER "tls_unknown_issuer"
    "No authority that is trusted here has signed the certificate. Java: `PKIX path building \
     failed`."
    "trust the authority that signed it: --ca FILE here, ssl.truststore.location or \
     ssl.ca.location in clients, clusters.NAME.tls.ca in Narrows; if that is done, the server \
     leaves out an intermediate certificate"

    TLS_EXPIRED "tls_expired"
    "The certificate is not valid any more."
    "renew it; if it was renewed, have the server load it"

    TLS_NOT_YET_VALID "tls_not_yet_valid"
    "The certificate is not valid yet."
    "compare the clocks of both machines; one of them is wrong, or the certificate was made for \
     later"

    TLS_EXPIRES_SOON "tls_expires_soon"
    "The certificate expires within two weeks."
    "renew it now"

    TLS_CERTIFICATE_INVALID "tls_certificate_invalid"
    "The certificate can't serve: it is for another purpose, an authority's own, of an old \
     version, or malformed."
    "issue a new one for a TLS server"

    TLS_INCOMPATIBLE "tls_incompatible"
    "The two sides have no TLS version or cipher suite in common."
    "allow TLS 1.2 or 1.3 with a modern suite there (ssl.enabled.protocols)"

    TLS_CLIENT_CERTIFICATE_REQUIRED "tls_client_certificate_required"
    "The listener demands a client certificate (mutual TLS)."
    "show one: --cert and --key here, ssl.keystore.location (Java) or ssl.certificate.location and \
     ssl.key.location (librdkafka) in clients"

    TLS_REFUSED "tls_refused"
    "The other side ended the handshake with an alert."
    "its log says why; with a client certificate, see that its authority is in the listener's \
     truststore"

    TLS_NAME_IMPOSSIBLE "tls_name_impossible"
    "The host that was dialled can't stand in a certificate."
    "say which name to expect with --server-name"

    TLS_FAILED "tls_failed"
    "The TLS handshake did not come to an end."
    "look into the log of what listens there"

    VERSIONS_FAILED "versions_failed"
    "ApiVersions, the first request of every client, was not answered as it has to be."
    "look into the log of what listens there"

    SASL_REQUIRED "sasl_required"
    "The listener demands a login. Clients without one see a disconnect."
    "log in: --sasl, --user and --password-file here, security.protocol SASL_SSL or SASL_PLAINTEXT \
     with sasl.mechanism and sasl.jaas.config in clients"

    SASL_NOT_OFFERED "sasl_not_offered"
    "Credentials were given, and the listener has no SASL. Clients see ILLEGAL_SASL_STATE or a \
     disconnect."
    "leave the login out (security.protocol PLAINTEXT or SSL), or use the listener that has SASL"

    SASL_MECHANISM_NOT_OFFERED "sasl_mechanism_not_offered"
    "The listener has SASL, but not this mechanism."
    "use one that it has, or enable it there (sasl.enabled.mechanisms)"

    SASL_LOGIN_FAILED "sasl_login_failed"
    "User or password are wrong, or the user does not exist."
    "check user and password; for SCRAM, that the user was made for this mechanism (kafka-configs \
     --describe --entity-type users)"

    SASL_NOT_PROVEN "sasl_not_proven"
    "The other side did not show that it knows the password, as SCRAM demands of it."
    "something that is not the broker may stand in between: look at where the address leads, and \
     verify certificates"

    SASL_FAILED "sasl_failed"
    "The login went wrong in a way that SASL does not know."
    "look into the broker's log"

    METADATA_FAILED "metadata_failed"
    "The broker list is not to be had."
    "look into the log of what listens there"

    NO_BROKERS "no_brokers"
    "The cluster says that it has no brokers."
    "see whether the brokers are registered (kafka-broker-api-versions), and whether this is a \
     controller's port"

    BROKER_NOT_IN_NODE_IDS "broker_not_in_node_ids"
    "Narrows has no address for this broker, so clients can't reach it."
    "add its node id to the listener's node_ids, with a port that firewalls let through"

    BROKER_ADDRESS_INVALID "broker_address_invalid"
    "The broker advertises an address that can't be dialled."
    "correct its advertised.listeners"

    BROKER_DNS_NOT_FOUND "broker_dns_not_found"
    "The advertised name has no address here: bootstrapping works, and then every client times out."
    "let the broker advertise a name that clients can resolve (advertised.listeners, or Narrows' \
     advertised_host), or put a Kafka-aware proxy in between that rewrites addresses"

    BROKER_UNREACHABLE "broker_unreachable"
    "The advertised address can't be reached from here: bootstrapping works, and then every client \
     times out."
    "open this port as well as the bootstrap port (every broker has its own address), or let the \
     broker advertise one that clients can reach (advertised.listeners, or Narrows' \
     advertised_host and first_port)"

    BROKER_PRIVATE_ADDRESS "broker_private_address"
    "The bootstrap address is public, and the broker's is private: clients outside of that network \
     can't reach it."
    "let the broker advertise a public address on the listener for these clients \
     (advertised.listeners), or put Narrows in front"

    BROKER_LOOPBACK_ADDRESS "broker_loopback_address"
    "The broker advertises an address that leads every client to its own machine."
    "set the broker's advertised.listeners (Narrows: advertised_host) to a name that leads to it; \
     localhost is its default in many images"

    BROKER_WRONG_NODE "broker_wrong_node"
    "Another broker answers at this broker's address: clients get NOT_LEADER_OR_FOLLOWER in a loop."
    "give every broker an address of its own; a load balancer over all brokers can't stand in for \
     one of them"

    BROKER_WRONG_CLUSTER "broker_wrong_cluster"
    "A broker of another cluster answers at this broker's address."
    "correct DNS or the load balancer, or restart what keeps old addresses"

    BROKERS_SHARE_ADDRESS "brokers_share_address"
    "Several brokers advertise one address, so that a client can't choose the leader of a \
     partition."
    "give every broker an address of its own (advertised.listeners), or put Narrows in front \
     (clusters.NAME.broker_address says where it dials each; its scheme single tells them apart on \
     one port)"

    BROKER_CLOSED "broker_closed"
    "The broker's address accepts connections, and does not answer as a broker."
    "see whether the broker runs; behind a proxy, whether the proxy reaches it (Narrows' log and \
     /status say so)"

    TOPIC_NOT_FOUND "topic_not_found"
    "The topic does not exist, or the user may not know of it."
    "create it, or name another one with --topic"

    TOPIC_REFUSED "topic_refused"
    "The broker refuses what was asked about the topic."
    "Kafka's error name says why; for TOPIC_AUTHORIZATION_FAILED, give the user READ and WRITE on \
     it"

    TOPIC_NO_LEADER "topic_no_leader"
    "No broker leads the partition now."
    "see why its replicas are offline (kafka-topics --describe)"

    PRODUCE_FAILED "produce_failed"
    "The record was not taken."
    "Kafka's error name says why"

    CONSUME_FAILED "consume_failed"
    "The record was taken and could not be read again."
    "Kafka's error name says why"

    DNS_SEARCH_DOMAIN "dns_search_domain"
    "A bootstrap name has an address only with a search domain of this machine behind it."
    "write the whole name (kafka.namespace.svc.cluster.local), so that it does not depend on where \
     Narrows runs"

    CLUSTER_ID_MISMATCH "cluster_id_mismatch"
    "The cluster that answers is not the one that is pinned."
    "correct clusters.NAME.bootstrap_servers, or clusters.NAME.cluster_id if the cluster was made \
     anew"

    PORT_TAKEN "port_taken"
    "Another process listens at an address that Narrows is to bind."
    "stop it, or move bind or first_port"

    BIND_FAILED "bind_failed"
    "An address that Narrows is to bind can't be bound here."
    "correct the listener's bind; 0.0.0.0 listens on all addresses, and ports below 1024 need \
     CAP_NET_BIND_SERVICE"

    DESCRIPTORS_TOO_FEW "descriptors_too_few"
    "The process may open fewer files than the connections need that the configuration allows."
    "raise the limit of open files (ulimit -n, LimitNOFILE), or lower limits.connections_max"

    PIPES_TOO_SMALL "pipes_too_small"
    "The kernel gives this user so little memory for pipes that large requests and responses are \
     copied through the process."
    "raise fs.pipe-user-pages-soft to 16384 or more"

    CLOCK_BEHIND "clock_behind"
    "This machine's clock is behind: certificates of Narrows' own are not valid yet."
    "set the clock (NTP), or wait until the certificate is valid"

    RECORD_DIFFERS "record_differs"
    "What was read is not what was written."
    "something on the way changes records: tell its makers"
}

/// The page of codes, `config/doctor.md` from its table on.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    for row in CODES {
        let cure = capitalized(row.cure);
        text += &format!("\n### {}\n\n{} {cure}.\n", row.word, row.meaning);
    }
    text
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().collect::<String>() + chars.as_str()
    })
}

const INTRODUCTION: &str = include_str!("introduction.md");

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_is_one_word_of_its_own_with_a_meaning_and_a_cure() {
        let words: BTreeSet<_> = CODES.iter().map(|row| row.word).collect();
        assert_eq!(words.len(), CODES.len());
        for row in CODES {
            let is_word = row.word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(is_word, "{}", row.word);
            assert!(row.meaning.ends_with('.'), "{}: {}", row.word, row.meaning);
            assert!(!row.cure.ends_with('.'), "{}: {}", row.word, row.cure);
        }
    }
}
