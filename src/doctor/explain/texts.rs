//! The words that clients have for each cause: Java, librdkafka (kcat, confluent-kafka), franz-go,
//! sarama, kafkajs, kafka-python and aiokafka; what TLS libraries say is OpenSSL's, the JDK's, Go's
//! and Node's.

use crate::doctor::Code;

/// What the text says, the most specific first.
pub(super) fn causes(text: &str) -> impl Iterator<Item = String> {
    let text = text.to_lowercase();
    let said = move |phrase: &&str| phrase.split('…').all(|part| text.contains(part));
    let told = |cause: &Cause| {
        let link = cause.code.map_or(String::new(), |code| {
            format!(" To do: {} ({}).", code.cure(), code.link())
        });
        format!("{}{link}", cause.meaning)
    };
    CAUSES
        .iter()
        .filter(move |cause| cause.phrases.iter().any(&said))
        .map(told)
}

/// One cause, and what clients print when it strikes.
struct Cause {
    /// In lower case; `…` stands for anything.
    phrases: &'static [&'static str],
    meaning: &'static str,
    code: Option<Code>,
}

const CAUSES: &[Cause] = &[
    Cause {
        phrases: &["is-not-in-node-ids"],
        meaning: "Narrows has no address for this broker, and tells clients a name that leads \
                  nowhere in its place.",
        code: Some(Code::BROKER_NOT_IN_NODE_IDS),
    },
    Cause {
        phrases: &[
            "connecting to a ssl listener",
            "appear to be a tls alert record",
            "plaintext connection speaking to a tls endpoint",
            "is tls missing",
            "message of length…too large or too small",
            "outofmemoryerror",
        ],
        meaning: "The client speaks plaintext to a TLS listener, most likely.",
        code: Some(Code::SPEAKS_TLS),
    },
    Cause {
        phrases: &[
            "connecting to a plaintext broker listener",
            "client is using tls when the broker is not expecting it",
            "first record does not look like a tls handshake",
            "wrong version number",
            "terminated during authentication",
            "unsupported or unrecognized ssl message",
        ],
        meaning: "The client speaks TLS, and what answers does not, most likely.",
        code: Some(Code::SPEAKS_PLAINTEXT),
    },
    Cause {
        phrases: &[
            "no subject alternative",
            "hostname mismatch",
            "certificate is valid for…, not",
            "err_tls_cert_altname_invalid",
            "doesn't match certificate",
            "ip address mismatch",
        ],
        meaning: "The certificate is not for the name that the client dials.",
        code: Some(Code::TLS_NAME_MISMATCH),
    },
    Cause {
        phrases: &[
            "certificate has expired",
            "certificateexpiredexception",
            "certificate_expired",
            "notafter:",
            "cert_has_expired",
        ],
        meaning: "A certificate has expired, or a clock is wrong.",
        code: Some(Code::TLS_EXPIRED),
    },
    Cause {
        phrases: &[
            "pkix path building failed",
            "broker certificate could not be verified",
            "signed by unknown authority",
            "self-signed certificate",
            "self signed certificate",
            "unable to get local issuer certificate",
            "unable to verify the first certificate",
        ],
        meaning: "The client does not trust the authority that signed the certificate.",
        code: Some(Code::TLS_UNKNOWN_ISSUER),
    },
    Cause {
        phrases: &[
            "failed to verify broker certificate",
            "certificate verify failed",
        ],
        meaning: "The client refuses the listener's certificate: its name, its authority or its \
                  date; `narrows doctor --bootstrap HOST:PORT --tls --ca FILE` says which.",
        code: None,
    },
    Cause {
        phrases: &[
            "client ssl authentication might be required",
            "certificate_required",
            "certificate required",
            "bad_certificate",
            "bad certificate",
        ],
        meaning: "The listener demands a client certificate, or refuses the one that it was shown.",
        code: Some(Code::TLS_CLIENT_CERTIFICATE_REQUIRED),
    },
    Cause {
        phrases: &[
            "broker might require sasl authentication",
            "is sasl missing",
        ],
        meaning: "The listener demands a login, and the client sends none, most likely.",
        code: Some(Code::SASL_REQUIRED),
    },
    Cause {
        phrases: &[
            "not enabled in the server",
            "unsupported sasl mechanism",
            "sasl…mechanism is not supported by the server",
            "does not support…sasl mechanism",
        ],
        meaning: "The listener does not have the client's SASL mechanism.",
        code: Some(Code::SASL_MECHANISM_NOT_OFFERED),
    },
    Cause {
        phrases: &[
            "unexpected kafka request of type sasl_handshake",
            "illegal_sasl_state",
            "not valid given the current sasl state",
        ],
        meaning: "The client logs in at a listener that has no SASL.",
        code: Some(Code::SASL_NOT_OFFERED),
    },
    Cause {
        phrases: &[
            "failed authentication due to",
            "sasl authentication error",
            "sasl…authentication failed",
            "saslauthenticationfailederror",
            "saslauthenticationexception",
            "sasl_authentication_failed",
        ],
        meaning: "User or password are wrong, most likely.",
        code: Some(Code::SASL_LOGIN_FAILED),
    },
    Cause {
        phrases: &[
            "invalid metadata error in",
            "not leader for partition",
            "not the leader for some partition",
            "notleaderorfollower",
            "not_leader_or_follower",
        ],
        meaning: "The client asks a broker that does not lead the partition. Once in a while that \
                  is a leader that moved; in a loop, something answers at a broker's address that \
                  is not that broker.",
        code: Some(Code::BROKER_WRONG_NODE),
    },
    Cause {
        phrases: &[
            "not present in metadata after",
            "timed out waiting for a node assignment",
            "message timed out",
            "all broker connections are down",
            "all_brokers_down",
            "kafkatimeouterror",
            "/0: failed to resolve",
            "/1: failed to resolve",
            "/2: failed to resolve",
            "/3: failed to resolve",
        ],
        meaning: "Bootstrapping worked, most likely, and then the client could not reach the \
                  addresses that the brokers advertise; or the topic does not exist.",
        code: Some(Code::BROKER_UNREACHABLE),
    },
    Cause {
        phrases: &[
            "couldn't resolve server",
            "no resolvable bootstrap urls",
            "failed to resolve",
            "no such host",
            "dns lookup failed",
            "getaddrinfo enotfound",
            "unknownhostexception",
            "name or service not known",
        ],
        meaning: "A name has no address. If it is not the one that the client bootstraps from, a \
                  broker advertises it (config/doctor.md#broker_dns_not_found).",
        code: Some(Code::DNS_NOT_FOUND),
    },
    Cause {
        phrases: &[
            "unable to bootstrap from",
            "failed to connect to seed broker",
        ],
        meaning: "No bootstrap server answers: its name has no address, nobody listens there, or \
                  the network is in between; `narrows doctor --bootstrap HOST:PORT` says which.",
        code: None,
    },
    Cause {
        phrases: &[
            "connection to node -…could not be established",
            "connection refused",
            "econnrefused",
            "brokers are down",
            "run out of available brokers",
            "actively refused",
        ],
        meaning: "Nobody listens at the address that is named, or it can't be reached.",
        code: Some(Code::CONNECT_REFUSED),
    },
    Cause {
        phrases: &["could not be established. node may not be available"],
        meaning: "The address that is named can't be reached. A node below zero is a bootstrap \
                  server; any other is a broker at the address that it advertises.",
        code: Some(Code::BROKER_UNREACHABLE),
    },
    Cause {
        phrases: &[
            "connection timeout",
            "i/o timeout",
            "connection timed out",
            "etimedout",
        ],
        meaning: "Nobody answers at the address that is named.",
        code: Some(Code::CONNECT_TIMEOUT),
    },
    Cause {
        phrases: &["broker transport failure", "nobrokersavailable"],
        meaning: "No bootstrap server could be reached, or each closed the connection: \
                  `narrows doctor --bootstrap HOST:PORT` says which, and why.",
        code: None,
    },
    Cause {
        phrases: &["bootstrap broker…disconnected"],
        meaning: "The bootstrap server took the connection and closed it. It speaks TLS and the \
                  client does not, or the other way round; or it demands a login; or it is a proxy \
                  or balancer whose brokers are away: `narrows doctor --bootstrap HOST:PORT` says \
                  which.",
        code: None,
    },
    Cause {
        phrases: &[
            "ssl handshake failed",
            "sslhandshakeexception",
            "handshake_failure",
        ],
        meaning: "TLS was not agreed: `narrows doctor --bootstrap HOST:PORT --tls --ca FILE` says \
                  why.",
        code: None,
    },
    Cause {
        phrases: &[
            "invalid receive (size",
            "invalid response size",
            "invalid large response size",
        ],
        meaning: "What came is no Kafka: the number is its first four bytes.",
        code: Some(Code::SPEAKS_OTHER),
    },
    Cause {
        phrases: &[
            "due to node…being disconnected",
            "node…disconnected.",
            "request(s) timed out: disconnect",
            "connection reset by peer",
            "closed connection",
            "econnreset",
        ],
        meaning: "The connection was closed by the other side. When it happens after minutes of \
                  silence, a load balancer or firewall drops idle connections: let clients close \
                  earlier (connections.max.idle.ms) than it does. When it happens at once, ask \
                  `narrows doctor --bootstrap HOST:PORT`.",
        code: None,
    },
];
