//! What the first bytes of a connection say of whoever opened it: the wrong protocol is named
//! before any decoder or TLS library has seen a byte.
//!
//! A Kafka client takes whatever it is sent for the length of a response. The alert with which TLS
//! answers plaintext reads as 352,518,912 bytes, and a Java client dies of it (KAFKA-4090). So
//! nobody is answered but those who speak HTTP.

use crate::observe::text::Shown;
use crate::protocol::header;
use std::borrow::Cow;
use std::fmt;

/// Enough to tell apart what is text, what is TLS, and what may be a request's length. What stands
/// behind a length is looked at as far as it has arrived.
pub const DETECTION_BYTES: usize = 4;
/// What a log line shows of them.
const SHOWN_BYTES: usize = 8;

/// What came first on a connection, for a log line: in hexadecimal, and as text too where it is
/// text.
#[derive(Clone, PartialEq, Eq)]
pub struct FirstBytes(Vec<u8>);

impl FirstBytes {
    /// Keeps as many of `bytes` as are shown.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes[..bytes.len().min(SHOWN_BYTES)].to_vec())
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("first bytes 0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        if self.0.first_chunk().is_some_and(is_text) {
            write!(f, ", \"{}\"", self.0.escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether these bytes are printable. Read as a length they announce 151 MB at the least, which no
/// first request has.
fn is_text(bytes: &[u8; DETECTION_BYTES]) -> bool {
    let is_printable = |byte: &u8| byte.is_ascii_graphic() || b" \t\r\n".contains(byte);
    bytes.iter().all(is_printable)
}

/// What somebody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectedProtocol {
    /// The beginning of a TLS handshake.
    TlsHello,
    /// A TLS alert: the other side of a handshake did not like it.
    TlsAlert,
    /// An HTTP/1 request.
    Http,
    /// HTTP/2 with prior knowledge, as gRPC has it.
    Http2,
    /// A PROXY protocol header.
    ProxyHeader,
    /// An SSH client.
    Ssh,
    /// Some other text: Redis, AMQP, a four-letter command of ZooKeeper's.
    Text,
    /// A binary protocol whose clients speak first, by its name.
    Binary(&'static str),
    /// What may be a Kafka request: a length that is possible, and what a header begins with.
    Kafka,
    /// Nothing that is known.
    Unknown,
}

/// Whatever may be a Kafka request has no larger length.
const KAFKA_BYTES_MAX: i32 = 100 * 1024 * 1024;

/// No client begins with a request of this size, whatever `limits.frame_bytes_max` allows: an
/// ApiVersions or a Metadata comes first. The first byte of MQTT, LDAP and other binary protocols
/// reads as more.
const FIRST_REQUEST_BYTES_MAX: i32 = 0x0fff_ffff;

/// Whether what a connection begins with may be a Kafka request; too few bytes may be anything.
pub(super) fn may_be_kafka(bytes: &[u8]) -> bool {
    let Some(first) = bytes.first_chunk::<DETECTION_BYTES>() else {
        return true;
    };
    match DetectedProtocol::detect(bytes) {
        DetectedProtocol::Kafka => true,
        // A length that is too small or too large has its own words.
        DetectedProtocol::Unknown => {
            let length = i32::from_be_bytes(*first);
            let is_length = (8..=KAFKA_BYTES_MAX).contains(&length);
            !is_length && length <= FIRST_REQUEST_BYTES_MAX
        }
        _ => false,
    }
}

impl DetectedProtocol {
    /// What `bytes` are the beginning of; fewer than four say nothing.
    pub(crate) fn detect(bytes: &[u8]) -> Self {
        const METHODS: [&[u8; 4]; 9] = [
            b"GET ", b"HEAD", b"POST", b"PUT ", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC",
        ];
        let Some(first) = bytes.first_chunk::<DETECTION_BYTES>() else {
            return Self::Unknown;
        };
        match first {
            [0x16, 0x03, ..] => Self::TlsHello,
            [0x15, 0x03, ..] => Self::TlsAlert,
            b"PRI " => Self::Http2,
            b"PROX" | b"\r\n\r\n" => Self::ProxyHeader,
            b"SSH-" => Self::Ssh,
            method if METHODS.contains(&method) => Self::Http,
            text if is_text(text) => Self::Text,
            length if (8..=KAFKA_BYTES_MAX).contains(&i32::from_be_bytes(*length)) => {
                let header = bytes.get(DETECTION_BYTES..).unwrap_or_default();
                match binary(bytes) {
                    Some(name) => Self::Binary(name),
                    None if may_begin_request(header) => Self::Kafka,
                    None => Self::Unknown,
                }
            }
            _ => binary(bytes).map_or(Self::Unknown, Self::Binary),
        }
    }

    /// Every code that there is.
    pub(crate) const CODES: [&'static str; 6] = [
        "tls_on_plaintext",
        "http",
        "proxy_header_unexpected",
        "ssh",
        "plaintext_on_tls",
        "not_kafka",
    ];

    /// The code of the cause on a port that does not speak so: for metrics and log fields.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::TlsHello | Self::TlsAlert => "tls_on_plaintext",
            Self::Http | Self::Http2 => "http",
            Self::ProxyHeader => "proxy_header_unexpected",
            Self::Ssh => "ssh",
            Self::Kafka => "plaintext_on_tls",
            Self::Text | Self::Binary(_) | Self::Unknown => "not_kafka",
        }
    }

    /// What it is and what to do, on a port without TLS.
    pub(crate) fn on_plaintext(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::TlsHello => {
                "a TLS hello: this listener is plaintext, set the client's security.protocol to \
                 match, or give the listener a certificate (tls.certificate)"
            }
            Self::TlsAlert => "a TLS alert: the client speaks TLS, this listener is plaintext",
            Self::Kafka | Self::Unknown => "not the beginning of anything known",
            other => return other.on_any(),
        })
    }

    /// What it is and what to do, on a port with TLS.
    pub(crate) fn on_tls(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::TlsHello | Self::Unknown => "not the beginning of anything known",
            Self::TlsAlert => "a TLS alert without a handshake before it",
            Self::Kafka => {
                "a plaintext Kafka request: set the client's security.protocol to SSL, or \
                 SASL_SSL where it logs in"
            }
            other => return other.on_any(),
        })
    }

    fn on_any(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Http => "an HTTP request: HTTP health checks belong to the admin port",
            Self::Http2 => "an HTTP/2 or gRPC request",
            Self::ProxyHeader => {
                "a PROXY protocol header, which this listener does not take: set its \
                 proxy_protocol.mode, or switch it off at the load balancer"
            }
            Self::Ssh => "an SSH client",
            Self::Text => {
                "text, as Redis, AMQP or ZooKeeper clients send it: this port speaks the Kafka \
                 protocol only"
            }
            Self::Binary(name) => {
                return format!("{name}: this port speaks the Kafka protocol only").into();
            }
            Self::TlsHello | Self::TlsAlert | Self::Kafka | Self::Unknown => "",
        })
    }

    /// What whoever speaks so is told before the connection closes.
    pub(crate) fn answer(self) -> &'static [u8] {
        match self {
            Self::Http => HTTP_ANSWER,
            _ => b"",
        }
    }
}

/// A hundred APIs are in use, with versions below 20, but for the ApiVersions of a client that is
/// ahead of its time.
const API_KEYS_END: i16 = 0x100;
const VERSIONS_END: i16 = 0x100;
/// A GSSAPI token, which brokers up to 3.9 take as a first frame.
const GSSAPI_TAG: u8 = 0x60;

/// Whether a client's first frame may begin so, as far as it has arrived.
fn may_begin_request(frame: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = frame.first_chunk() else {
        return true;
    };
    let is_header = (0..API_KEYS_END).contains(&i16::from_be_bytes([a, b]))
        && (0..VERSIONS_END).contains(&i16::from_be_bytes([c, d]));
    is_header || a == GSSAPI_TAG
}

/// Who sends what reads as the length of a request, and is none: clients that speak first, and that
/// are pointed at a wrong port now and then.
fn binary(bytes: &[u8]) -> Option<&'static str> {
    let has = |at: usize, part: &[u8]| bytes.get(at..).is_some_and(|rest| rest.starts_with(part));
    let is_zero = |from: usize, to: usize| {
        let zeros = bytes.get(from..to);
        zeros.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0))
    };
    let postgres = [
        b"\x04\xd2\x16\x2e",
        b"\x04\xd2\x16\x2f",
        b"\x04\xd2\x16\x30",
    ];
    let is_postgres = postgres.iter().any(|code| has(4, *code))
        || has(4, b"\0\x03\0\0user\0")
        || has(4, b"\0\x03\0\0database\0");
    let is_cassandra = matches!(bytes, [3..=5, 0, 0, 0, 1 | 5, ..]);
    match bytes {
        _ if is_postgres => Some("a PostgreSQL client"),
        // A ConnectRequest of its first session: protocol 0, nothing seen, a password of 16 bytes.
        [0, 0, 0, 44 | 45, ..] if is_zero(4, 16) && is_zero(20, 31) && has(31, b"\x10") => {
            Some("a ZooKeeper client")
        }
        [3, 0, _, _, _, 0xe0, ..] => Some("a remote desktop (RDP) client"),
        _ if has(4, b"\xffSMB") || has(4, b"\xfeSMB") => {
            Some("a Windows file sharing (SMB) client")
        }
        _ if is_cassandra => Some("a Cassandra client"),
        [0x10, ..] if has(4, b"MQTT") || has(5, b"MQTT") => Some("an MQTT client"),
        [0x30, _, 2, 1, ..] => Some("an LDAP client"),
        // OP_QUERY and OP_MSG.
        _ if has(12, b"\xd4\x07\0\0") || has(12, b"\xdd\x07\0\0") => Some("a MongoDB client"),
        _ => None,
    }
}

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
        Content-Type: text/plain\r\n\
        Connection: close\r\n\
        \r\n\
        This port speaks the Kafka protocol, not HTTP. Health and metrics are on Narrows' admin \
        port.\n";

/// Who sent the plaintext request that `bytes` begin with, if that has arrived, in words for a log
/// line.
pub fn kafka_sender(bytes: &[u8]) -> String {
    let frame_bytes = bytes
        .first_chunk()
        .and_then(|length| usize::try_from(i32::from_be_bytes(*length)).ok());
    let frame = bytes.get(4..).unwrap_or(&[]);
    let read =
        |frame_bytes: usize| header::read(&frame[..frame.len().min(frame_bytes)], frame_bytes).ok();
    let header = frame_bytes.and_then(read);
    match header.and_then(|header| header.client_id) {
        Some(client_id) => format!("client id {}", Shown::name(client_id)),
        None => "no client id".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_is_known_by_its_first_four_bytes() {
        for (bytes, speech) in [
            (&b"\x16\x03\x01\x02\x00\x01"[..], DetectedProtocol::TlsHello),
            (b"\x15\x03\x03\x00", DetectedProtocol::TlsAlert),
            (b"GET / HTTP/1.1", DetectedProtocol::Http),
            (b"OPTIONS *", DetectedProtocol::Http),
            (b"PRI * HTTP/2.0", DetectedProtocol::Http2),
            (b"PROXY TCP4", DetectedProtocol::ProxyHeader),
            (b"\r\n\r\n\0\r\nQUIT\n", DetectedProtocol::ProxyHeader),
            (b"SSH-2.0-OpenSSH", DetectedProtocol::Ssh),
            (b"ruok", DetectedProtocol::Text),
            (b"*1\r\n$4\r\nPING\r\n", DetectedProtocol::Text),
            (b"AMQP\0\0\x09\x01", DetectedProtocol::Text),
            (b"AMQ\0", DetectedProtocol::Unknown),
            (b"CONNECT kafka:9092 HTTP/1.1", DetectedProtocol::Http),
            (b"\0\0\0\x23", DetectedProtocol::Kafka),
            // ApiVersions as a client of years to come sends it, and a token of GSSAPI.
            (b"\0\0\0\x23\0\x12\0\x63", DetectedProtocol::Kafka),
            (b"\0\0\0\x23\x60\x81\x20\x06", DetectedProtocol::Kafka),
            // Lengths that are possible, with what no request goes on with.
            (b"\0\x1d\xab\xcd\x01\0\0\x01", DetectedProtocol::Unknown),
            (b"\0\0\0\x23\x80\x01\0\x01", DetectedProtocol::Unknown),
            (b"\0\0\0\x23\0\x03\x01\0", DetectedProtocol::Unknown),
            (b"\0\0\0\x23\0\x12\0\x03", DetectedProtocol::Kafka),
            (b"\0\0\0\x07", DetectedProtocol::Unknown),
            (b"\xff\xff\xff\xff", DetectedProtocol::Unknown),
            (b"\x16\x04\0\0", DetectedProtocol::Unknown),
            (b"GET", DetectedProtocol::Unknown),
            (b"", DetectedProtocol::Unknown),
        ] {
            assert_eq!(DetectedProtocol::detect(bytes), speech, "{bytes:02x?}");
        }
    }

    #[test]
    fn a_client_of_another_service_is_named_though_it_begins_with_a_possible_length() {
        let zookeeper = [
            &[0, 0, 0, 45][..],
            &[0; 12],
            &30_000u32.to_be_bytes(),
            &[0; 8],
            &16u32.to_be_bytes(),
            &[0; 17],
        ];
        let mongo = b"\x3b\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0";
        for (bytes, name) in [
            (&b"\0\0\0\x08\x04\xd2\x16\x2f"[..], "a PostgreSQL client"),
            (b"\0\0\0\x29\0\x03\0\0user\0me\0", "a PostgreSQL client"),
            (&zookeeper.concat(), "a ZooKeeper client"),
            (
                b"\x03\0\0\x2c\x27\xe0\0\0\0\0\0",
                "a remote desktop (RDP) client",
            ),
            (b"\0\0\0\x54\xffSMBr", "a Windows file sharing (SMB) client"),
            (b"\0\0\0\xa4\xfeSMB@", "a Windows file sharing (SMB) client"),
            (b"\x04\0\0\0\x05\0\0\0\0", "a Cassandra client"),
            (b"\x10\x0c\0\x04MQTT", "an MQTT client"),
            (b"\x30\x0c\x02\x01\x01\x60", "an LDAP client"),
            (mongo, "a MongoDB client"),
        ] {
            let speech = DetectedProtocol::detect(bytes);
            assert_eq!(speech, DetectedProtocol::Binary(name), "{bytes:02x?}");
            assert!(!may_be_kafka(bytes), "{name}");
            let said = format!("{name}: this port speaks the Kafka protocol only");
            assert_eq!(
                (speech.on_plaintext(), speech.on_tls()),
                (said.clone().into(), said.into())
            );
        }
        // Metadata v0, and a Produce v0 of a client without a name.
        assert!(may_be_kafka(b"\0\0\0\x29\0\x03\0\0\0\0\0\x01\0\x02me"));
        assert!(may_be_kafka(
            &[&[0, 0, 0, 45][..], &[0; 8], &[0, 0, 0, 1]].concat()
        ));
    }

    #[test]
    fn first_bytes_are_shown_in_hexadecimal_and_as_text_where_they_are_text() {
        for (bytes, expected) in [
            (&b"ruok"[..], "first bytes 0x72756f6b, \"ruok\""),
            (
                b"AMQP\0\0\x09\x01",
                "first bytes 0x414d515000000901, \"AMQP\\x00\\x00\\t\\x01\"",
            ),
            (
                b"say \"hi\"!",
                "first bytes 0x7361792022686922, \"say \\\"hi\\\"\"",
            ),
            (b"\0\0\0\x0812345678", "first bytes 0x0000000831323334"),
            (b"GET", "first bytes 0x474554"),
            (b"", "first bytes 0x"),
        ] {
            assert_eq!(FirstBytes::of(bytes).to_string(), expected);
        }
    }

    #[test]
    fn a_connection_that_begins_with_what_no_client_begins_with_does_not_speak_kafka() {
        for (bytes, is_kafka) in [
            (&b"\0\0\0\x23\0\x12\0\x03"[..], true),
            (b"\x06\x40\0\x01", true),
            (b"\x0f\xff\xff\xff", true),
            (b"\xff\xff\xff\xff", true),
            (b"ruo", true),
            (b"ruok", false),
            (b"\x10\x10\0\x04MQTT", false),
            (b"\x30\x0c\x02\x01", false),
            (b"\0\0\0\x08\x04\xd2\x16\x31", false),
            (b"\0\0\0\x07\x04\xd2\x16\x31", true),
            (b"\x16\x03\x01\x02", false),
        ] {
            assert_eq!(may_be_kafka(bytes), is_kafka, "{bytes:02x?}");
        }
    }

    #[test]
    fn the_sender_of_a_plaintext_request_is_named_as_far_as_it_has_arrived() {
        let request = b"\0\0\0\x0e\0\x12\0\0\0\0\0\x01\0\x04me\n!";
        assert_eq!(kafka_sender(request), "client id me\\n!");
        assert_eq!(kafka_sender(&request[..15]), "no client id");
        assert_eq!(
            kafka_sender(b"\0\0\0\x0e\0\x12\0\0\0\0\0\x01\xff\xff"),
            "no client id"
        );
    }

    #[test]
    fn only_http_is_answered_and_with_no_byte_that_reads_as_a_length() {
        for speech in [
            DetectedProtocol::TlsHello,
            DetectedProtocol::TlsAlert,
            DetectedProtocol::Ssh,
            DetectedProtocol::Text,
            DetectedProtocol::Kafka,
            DetectedProtocol::Unknown,
            DetectedProtocol::Http2,
        ] {
            assert_eq!(speech.answer(), b"");
        }
        assert!(
            DetectedProtocol::Http
                .answer()
                .starts_with(b"HTTP/1.1 400 ")
        );
    }
}
