use super::*;

/// The numbers that clients and brokers print, and a word of what they are.
const NUMBERS: &[(i64, &str)] = &[
    (352_518_400, "TLS alert"),
    (352_518_912, "TLS alert"),
    (369_295_616, "TLS hello"),
    (369_295_871, "TLS hello"),
    (369_296_128, "TLS hello"),
    (1_195_725_856, "HTTP request"),
    (1_347_375_956, "HTTP request"),
    (1_212_498_244, "HTTP request"),
    (1_213_486_160, "web server's answer"),
    (1_347_569_952, "HTTP/2"),
    (1_347_571_544, "PROXY protocol"),
    (218_762_506, "PROXY protocol"),
    (1_397_966_893, "SSH"),
    (1_095_586_128, "`AMQP`"),
    (58, "SASL_AUTHENTICATION_FAILED"),
    (18, "ApiVersions"),
    (-1, "UNKNOWN_SERVER_ERROR"),
];

/// What clients print, and the code of the cause.
const TEXTS: &[(&str, &str)] = &[
    (
        "WARN Couldn't resolve server kafka:9092 from bootstrap.servers as DNS resolution failed \
         for kafka",
        "dns_not_found",
    ),
    (
        "ConfigException: No resolvable bootstrap urls given in bootstrap.servers",
        "dns_not_found",
    ),
    (
        "kafka:9092/bootstrap: Failed to resolve 'kafka:9092': Name or service not known",
        "dns_not_found",
    ),
    (
        "unable to dial: dial tcp: lookup kafka: no such host",
        "dns_not_found",
    ),
    ("DNS lookup failed for kafka:9092 (0)", "dns_not_found"),
    (
        "Unable to bootstrap from [('kafka', 9092, 0)]",
        "narrows doctor --bootstrap",
    ),
    (
        "Connection to node -1 (kafka/10.0.0.1:9092) could not be established. Node may not be \
         available.",
        "connect_refused",
    ),
    (
        "Bootstrap broker kafka:9092 (id: -1 rack: null) disconnected",
        "narrows doctor --bootstrap",
    ),
    (
        "% ERROR: Failed to acquire metadata: Local: Broker transport failure (Are the brokers \
         reachable?)",
        "No bootstrap server could be reached",
    ),
    (
        "kafka.errors.NoBrokersAvailable: NoBrokersAvailable",
        "No bootstrap server could be reached",
    ),
    (
        "Couldn't resolve server node-7-is-not-in-node-ids.narrows.invalid:1",
        "broker_not_in_node_ids",
    ),
    (
        "Connect to ipv4#10.0.0.1:9092 failed: Connection refused (after 1ms in state CONNECT)",
        "connect_refused",
    ),
    ("3/3 brokers are down", "connect_refused"),
    (
        "kafka: client has run out of available brokers to talk to",
        "connect_refused",
    ),
    (
        "Connection error: connect ECONNREFUSED 10.0.0.1:9092",
        "connect_refused",
    ),
    ("Connection timeout", "connect_timeout"),
    (
        "Failed to connect to seed broker, trying another broker from the list",
        "narrows doctor --bootstrap",
    ),
    (
        "Connection to node 3 (kafka-2/10.0.0.1:9092) could not be established. Node may not be \
         available.",
        "broker_unreachable",
    ),
    (
        "java.net.UnknownHostException: kafka-2.kafka-headless",
        "broker_dns_not_found",
    ),
    (
        "TimeoutException: Topic orders not present in metadata after 60000 ms.",
        "broker_unreachable",
    ),
    (
        "Timed out waiting for a node assignment. Call: listTopics",
        "broker_unreachable",
    ),
    (
        "kafka-2.kafka-headless:9092/2: Failed to resolve 'kafka-2.kafka-headless:9092'",
        "broker_unreachable",
    ),
    ("Local: Message timed out", "broker_unreachable"),
    ("_ALL_BROKERS_DOWN", "broker_unreachable"),
    ("getaddrinfo ENOTFOUND kafka-2", "dns_not_found"),
    (
        "KafkaTimeoutError: Failed to update metadata after 60.0 secs.",
        "broker_unreachable",
    ),
    ("java.lang.OutOfMemoryError: Java heap space", "speaks_tls"),
    (
        "Disconnected: kafka:9093/bootstrap: requesting ApiVersion: might be caused by incorrect \
         security.protocol configuration (connecting to a SSL listener?)",
        "speaks_tls",
    ),
    (
        "Receive failed: Invalid response size 352518912 (0..100000000): increase \
         receive.message.max.bytes",
        "speaks_tls",
    ),
    (
        "invalid large response size 352518912 > limit; the first three bytes received appear to \
         be a tls alert record for TLS v1.2",
        "speaks_tls",
    ),
    (
        "is this a plaintext connection speaking to a tls endpoint?",
        "speaks_tls",
    ),
    (
        "broker closed the connection immediately during api versions negotiation, is TLS missing?",
        "speaks_tls",
    ),
    (
        "kafka: error decoding packet: message of length 352518912 too large or too small",
        "speaks_tls",
    ),
    (
        "Connection to node -1 (kafka/10.0.0.1:9092) terminated during authentication. This may \
         happen due to any of the following reasons: (1) Firewall blocking Kafka TLS traffic",
        "speaks_plaintext",
    ),
    (
        "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
        "speaks_plaintext",
    ),
    (
        "broker closed the connection immediately after a dial, which happens if the client is \
         using TLS when the broker is not expecting it",
        "speaks_plaintext",
    ),
    (
        "tls: first record does not look like a TLS handshake",
        "speaks_plaintext",
    ),
    (
        "SSL handshake failed: PKIX path building failed",
        "tls_unknown_issuer",
    ),
    (
        "broker certificate could not be verified, verify that ssl.ca.location is correctly \
         configured",
        "tls_unknown_issuer",
    ),
    (
        "x509: certificate signed by unknown authority",
        "tls_unknown_issuer",
    ),
    (
        "No subject alternative DNS name matching kafka-2 found.",
        "tls_name_mismatch",
    ),
    (
        "SSL handshake failed: certificate verify failed: Hostname mismatch",
        "tls_name_mismatch",
    ),
    (
        "Failed to verify broker certificate: unable",
        "narrows doctor --bootstrap",
    ),
    (
        "x509: certificate is valid for a.example.com, not b.example.com",
        "tls_name_mismatch",
    ),
    ("ERR_TLS_CERT_ALTNAME_INVALID", "tls_name_mismatch"),
    (
        "SslAuthenticationException: Received fatal alert: bad_certificate",
        "tls_client_certificate_required",
    ),
    ("certificate_required", "tls_client_certificate_required"),
    (
        "client SSL authentication might be required (see ssl.key.location and \
         ssl.certificate.location",
        "tls_client_certificate_required",
    ),
    (
        "remote error: tls: certificate required",
        "tls_client_certificate_required",
    ),
    (
        "Disconnected: verify that security.protocol is correctly configured, broker might require \
         SASL authentication",
        "sasl_required",
    ),
    (
        "broker closed the connection immediately after a request was issued, is SASL missing?",
        "sasl_required",
    ),
    (
        "Client SASL mechanism 'PLAIN' not enabled in the server, enabled mechanisms are \
         [SCRAM-SHA-512]",
        "sasl_mechanism_not_offered",
    ),
    (
        "Broker: Unsupported SASL mechanism",
        "sasl_mechanism_not_offered",
    ),
    (
        "SASL PLAIN mechanism is not supported by the server",
        "sasl_mechanism_not_offered",
    ),
    (
        "Kafka broker does not support PLAIN sasl mechanism. Enabled mechanisms: ['SCRAM-SHA-512']",
        "sasl_mechanism_not_offered",
    ),
    (
        "kafka server: The broker does not support the requested SASL mechanism",
        "sasl_mechanism_not_offered",
    ),
    (
        "Unexpected Kafka request of type SASL_HANDSHAKE during SASL handshake.",
        "sasl_not_offered",
    ),
    ("ILLEGAL_SASL_STATE", "sasl_not_offered"),
    (
        "kafka server: Request is not valid given the current SASL state",
        "sasl_not_offered",
    ),
    (
        "Connection to node -1 (kafka/10.0.0.1:9093) failed authentication due to: Authentication \
         failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
        "sasl_login_failed",
    ),
    (
        "SASL authentication error: Authentication failed",
        "sasl_login_failed",
    ),
    (
        "SASL PLAIN authentication failed: Authentication failed",
        "sasl_login_failed",
    ),
    ("SaslAuthenticationFailedError", "sasl_login_failed"),
    ("Node 2 disconnected.", "connections.max.idle.ms"),
    (
        "Cancelled in-flight METADATA request with correlation id 7 due to node 2 being \
         disconnected",
        "connections.max.idle.ms",
    ),
    (
        "1 request(s) timed out: disconnect",
        "connections.max.idle.ms",
    ),
    (
        "Disconnected: connection reset by peer",
        "connections.max.idle.ms",
    ),
    (
        "read tcp 10.0.0.1:1->10.0.0.2:9092: read: connection reset by peer",
        "connections.max.idle.ms",
    ),
    ("Closed connection", "connections.max.idle.ms"),
    (
        "Received invalid metadata error in produce request on partition orders-0 due to \
         org.apache.kafka.common.errors.NotLeaderOrFollowerException: For requests intended only \
         for the leader. Going to request metadata update now",
        "broker_wrong_node",
    ),
    ("Broker: Not leader for partition", "broker_wrong_node"),
    (
        "Tried to send a message to a replica that is not the leader for some partition. Your \
         metadata is out of date.",
        "broker_wrong_node",
    ),
    (
        "Invalid receive (size = 1195725856 larger than 104857600)",
        "HTTP request",
    ),
    (
        "Invalid receive (size = 369295616 larger than 104857600)",
        "speaks_plaintext",
    ),
    (
        "TopicAuthorizationException: Not authorized to access topics: [orders]",
        "TOPIC_AUTHORIZATION_FAILED",
    ),
];

#[test]
fn every_number_of_another_protocol_and_of_kafka_is_explained() {
    for (number, expected) in NUMBERS {
        let meanings = explain(&number.to_string()).join("\n");
        assert!(meanings.contains(expected), "{number}: {meanings}");
    }
}

#[test]
fn every_text_of_a_client_leads_first_to_its_cause() {
    for (text, expected) in TEXTS {
        let meanings = explain(text);
        let first = meanings.first().map_or("", String::as_str);
        assert!(first.contains(expected), "{text}: {meanings:#?}");
    }
}

#[test]
fn what_is_not_known_has_no_meaning_and_is_shown_escaped() {
    for text in ["", "hello", "offset 1234567890123", "99999", "-77"] {
        assert_eq!(explain(text), Vec::<String>::new(), "{text}");
    }
    assert!(unknown("a\x1b[2Jb").contains("`a\\u{1b}[2Jb`"));
}

#[test]
fn a_text_of_any_length_and_alphabet_is_taken() {
    let long = "é".repeat(100_000) + "connection refused";
    assert!(explain(&long).is_empty());
    assert!(!explain(&("connection refused".to_owned() + &long)).is_empty());
}
