//! The ClientHello that a TLS connection begins with (RFC 8446, section 4.1.2; RFC 5246, section
//! 7.4.1.2), read for the server name in it (RFC 6066, section 3). Bytes alone: nothing is
//! answered, and whether the name is anybody's is for others to judge.

use std::borrow::Cow;

/// How large a hello may be on the wire. Those of today have 200 to 2000 bytes.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// What a connection begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning<'a> {
    /// A whole hello.
    Hello(Hello<'a>),
    /// What may become a hello when more arrives.
    Incomplete,
    /// No TLS record at all.
    Other,
}

/// A TLS client's first message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The first host name, as sent: it may be empty, an IP address, or no text at all. `None`
    /// where no name was sent. Borrowed, unless the hello came in several records.
    pub server_name: Option<Cow<'a, [u8]>>,
    /// How many bytes the hello has with its record headers.
    pub wire_bytes: usize,
}

/// Why a hello can't be read. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelloError {
    /// It is too large, or says that it will be.
    #[error("the TLS hello is larger than {HELLO_BYTES_MAX} bytes")]
    TooLarge,
    /// A record of another type stands within it.
    #[error(
        "within the TLS hello stands a record of type {0}, where a handshake ({HANDSHAKE}) belongs"
    )]
    Record(u8),
    /// A record that is empty or too long.
    #[error("a record of the TLS hello has {0} bytes, where 1 to {RECORD_BYTES_MAX} are allowed")]
    RecordLength(u16),
    /// A handshake that begins with another message.
    #[error("the TLS handshake begins with message {0}, where a hello (1) belongs")]
    Message(u8),
    /// A length reaches out of what it is in, or leaves bytes over.
    #[error("the length of the {0} in the TLS hello is wrong")]
    Length(&'static str),
    /// Two server names.
    #[error("the TLS hello has two server names")]
    TwoNames,
}

/// The first two bytes: a handshake record of SSL 3.0 or any TLS. They tell a TLS client from
/// others; the version of the records behind the first says nothing (RFC 8446, section 5.1).
const START: [u8; 2] = [HANDSHAKE, 3];
const HANDSHAKE: u8 = 22;
const RECORD_BYTES_MAX: u16 = 1 << 14;
const CLIENT_HELLO: u8 = 1;
/// A record's type, version and length.
const RECORD_HEADER_BYTES: usize = 5;
/// A handshake message's type and length.
const HEAD_BYTES: usize = 4;
/// The version and the random bytes.
const FIXED_BYTES: usize = 2 + 32;
const SESSION_ID_BYTES_MAX: usize = 32;
const SERVER_NAME: [u8; 2] = [0, 0];
const HOST_NAME: u8 = 0;

/// Reads what a connection begins with. Allocates only for a whole hello that came in several
/// records, and not more than has arrived.
pub fn read(bytes: &[u8]) -> Result<Beginning<'_>, HelloError> {
    if !bytes
        .iter()
        .zip(&START)
        .all(|(byte, expected)| byte == expected)
    {
        return Ok(Beginning::Other);
    }
    let Some(Extent {
        message_bytes,
        wire_bytes,
    }) = extent(bytes)?
    else {
        return Ok(Beginning::Incomplete);
    };
    let server_name = match body(&bytes[..wire_bytes], message_bytes)? {
        Cow::Borrowed(body) => server_name(body)?.map(Cow::Borrowed),
        Cow::Owned(body) => server_name(&body)?.map(|name| Cow::Owned(name.to_vec())),
    };
    Ok(Beginning::Hello(Hello {
        server_name,
        wire_bytes,
    }))
}

/// How much a whole hello is.
struct Extent {
    /// Without record headers.
    message_bytes: usize,
    /// With them.
    wire_bytes: usize,
}

/// Looks for the hello's end; `None` while any of it is missing.
fn extent(bytes: &[u8]) -> Result<Option<Extent>, HelloError> {
    let mut records = Records {
        rest: &bytes[..bytes.len().min(HELLO_BYTES_MAX)],
    };
    let mut head = [0; HEAD_BYTES];
    let mut arrived = 0;
    let mut on_wire = 0;
    while let Some(payload) = records.next().transpose()? {
        for (place, byte) in head.iter_mut().skip(arrived).zip(payload) {
            *place = *byte;
        }
        arrived += payload.len();
        on_wire += RECORD_HEADER_BYTES + payload.len();
        if arrived > 0 && head[0] != CLIENT_HELLO {
            return Err(HelloError::Message(head[0]));
        }
        if arrived < HEAD_BYTES {
            continue;
        }
        let message_bytes = HEAD_BYTES + number(&head[1..]);
        if let Some(behind) = arrived.checked_sub(message_bytes) {
            return Ok(Some(Extent {
                message_bytes,
                wire_bytes: on_wire - behind,
            }));
        }
        if on_wire + (message_bytes - arrived) > HELLO_BYTES_MAX {
            return Err(HelloError::TooLarge);
        }
    }
    if bytes.len() < HELLO_BYTES_MAX {
        Ok(None)
    } else {
        Err(HelloError::TooLarge)
    }
}

/// The body of the hello that these records are, without its type and length.
fn body(wire: &[u8], message_bytes: usize) -> Result<Cow<'_, [u8]>, HelloError> {
    let mut records = Records { rest: wire };
    let first = records.next().transpose()?.unwrap_or_default();
    if first.len() == message_bytes {
        return Ok(Cow::Borrowed(&first[HEAD_BYTES..]));
    }
    let mut joined = Vec::with_capacity(message_bytes);
    joined.extend_from_slice(first);
    for payload in records {
        joined.extend_from_slice(payload?);
    }
    joined.drain(..HEAD_BYTES);
    Ok(Cow::Owned(joined))
}

/// The payloads of handshake records, the last one as far as it has arrived.
struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<&'a [u8], HelloError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&[kind, _, _, high, low], behind) =
            self.rest.split_first_chunk::<RECORD_HEADER_BYTES>()?;
        if kind != HANDSHAKE {
            return Some(Err(HelloError::Record(kind)));
        }
        let length = u16::from_be_bytes([high, low]);
        if !(1..=RECORD_BYTES_MAX).contains(&length) {
            return Some(Err(HelloError::RecordLength(length)));
        }
        let (payload, rest) = behind.split_at(behind.len().min(usize::from(length)));
        self.rest = rest;
        Some(Ok(payload))
    }
}

/// Finds the server name in the hello's body.
fn server_name(body: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let mut body = Reader { rest: body };
    body.take(FIXED_BYTES, "body")?;
    body.list::<1>("session id", |length| length <= SESSION_ID_BYTES_MAX)?;
    body.list::<2>("cipher suites", |length| length > 0 && length % 2 == 0)?;
    body.list::<1>("compression methods", |length| length > 0)?;
    if body.is_empty() {
        // A hello of TLS 1.2 may have no extensions at all.
        return Ok(None);
    }
    let mut extensions = Reader {
        rest: body.list::<2>("extensions", |_| true)?,
    };
    body.end("body")?;
    let mut found = None;
    while !extensions.is_empty() {
        let kind = extensions.take(2, "extensions")?;
        let content = extensions.list::<2>("extensions", |_| true)?;
        if kind == SERVER_NAME && found.replace(host_name(content)?).is_some() {
            return Err(HelloError::TwoNames);
        }
    }
    Ok(found.flatten())
}

/// The host name in a server name extension.
fn host_name(content: &[u8]) -> Result<Option<&[u8]>, HelloError> {
    let mut content = Reader { rest: content };
    let mut names = Reader {
        rest: content.list::<2>("server names", |length| length > 0)?,
    };
    content.end("server names")?;
    let mut found = None;
    while !names.is_empty() {
        // There is no other type, and what one would look like is unknown: nothing behind it can be
        // read.
        if names.take(1, "server names")? != [HOST_NAME] {
            break;
        }
        if found
            .replace(names.list::<2>("server name", |_| true)?)
            .is_some()
        {
            return Err(HelloError::TwoNames);
        }
    }
    Ok(found)
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes of `what`.
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], HelloError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(HelloError::Length(what))?;
        self.rest = rest;
        Ok(taken)
    }

    /// What stands behind a length of `N` bytes.
    fn list<const N: usize>(
        &mut self,
        what: &'static str,
        may_be: impl Fn(usize) -> bool,
    ) -> Result<&'a [u8], HelloError> {
        let length = number(self.take(N, what)?);
        if may_be(length) {
            self.take(length, what)
        } else {
            Err(HelloError::Length(what))
        }
    }

    fn end(&self, what: &'static str) -> Result<(), HelloError> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(HelloError::Length(what))
        }
    }
}

/// A number of at most three bytes.
fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use rustls::server::Acceptor;
    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion, version,
    };
    use std::sync::Arc;

    const NAME: &str = "Broker-7.kafka.example.com";

    /// The hello that rustls sends for `name`.
    fn sent(
        name: &str,
        versions: &[&'static SupportedProtocolVersion],
        sends_name: bool,
    ) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap();
        let mut config = config
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        config.enable_sni = sends_name;
        config.alpn_protocols = vec![b"kafka".to_vec()];
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut bytes = Vec::new();
        ClientConnection::new(Arc::new(config), name)
            .unwrap()
            .write_tls(&mut bytes)
            .unwrap();
        bytes
    }

    fn modern() -> Vec<u8> {
        sent(NAME, &[&version::TLS13, &version::TLS12], true)
    }

    /// Real hellos, and the names in them.
    fn hellos() -> Vec<(Vec<u8>, Option<&'static [u8]>)> {
        let name = Some(NAME.as_bytes());
        vec![
            (modern(), name),
            (sent(NAME, &[&version::TLS12], true), name),
            (sent(NAME, &[&version::TLS13], false), None),
            (sent("10.0.0.1", &[&version::TLS13], true), None),
            (hello_of(None), None),
        ]
    }

    fn list<const N: usize>(content: &[u8]) -> Vec<u8> {
        [&content.len().to_be_bytes()[8 - N..], content].concat()
    }

    fn record(payload: &[u8]) -> Vec<u8> {
        [&[22, 3, 1][..], &list::<2>(payload)].concat()
    }

    fn in_records(payload: &[u8], bytes_each: usize) -> Vec<u8> {
        payload.chunks(bytes_each).flat_map(record).collect()
    }

    fn extension(kind: u8, content: &[u8]) -> Vec<u8> {
        [&[0, kind][..], &list::<2>(content)].concat()
    }

    fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
        let names: Vec<_> = names
            .iter()
            .flat_map(|(kind, name)| [vec![*kind], list::<2>(name)].concat())
            .collect();
        extension(0, &list::<2>(&names))
    }

    /// A small hello with these extensions.
    fn hello_of(extensions: Option<&[u8]>) -> Vec<u8> {
        let extensions = extensions.map(list::<2>).unwrap_or_default();
        hello_with(&[
            &list::<1>(&[7; 32]),
            &list::<2>(&[0x13, 1]),
            &list::<1>(&[0]),
            &extensions,
        ])
    }

    fn hello_with(parts: &[&[u8]]) -> Vec<u8> {
        let body = [&[3; FIXED_BYTES][..], &parts.concat()].concat();
        record(&[&[CLIENT_HELLO][..], &list::<3>(&body)].concat())
    }

    fn name_in(bytes: &[u8]) -> Result<Option<Vec<u8>>, HelloError> {
        match read(bytes)? {
            Beginning::Hello(hello) => Ok(hello.server_name.map(Cow::into_owned)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_name_in_a_real_hello_is_found_in_place() {
        for (bytes, name) in hellos() {
            let server_name = name.map(Cow::Borrowed);
            let expected = Beginning::Hello(Hello {
                server_name,
                wire_bytes: bytes.len(),
            });
            let behind = [&bytes[..], b"\x14\x03\x03\0\x01\x01 and more"].concat();
            for bytes in [&bytes, &behind] {
                let beginning = read(bytes).unwrap();
                assert_eq!(beginning, expected);
                assert!(!matches!(
                    beginning,
                    Beginning::Hello(Hello {
                        server_name: Some(Cow::Owned(_)),
                        ..
                    })
                ));
            }
        }
    }

    #[test]
    fn a_hello_of_which_any_byte_is_missing_is_incomplete() {
        for (bytes, _) in hellos() {
            for bytes in [bytes.clone(), in_records(&bytes[5..], 7)] {
                for arrived in 0..bytes.len() {
                    assert_eq!(
                        read(&bytes[..arrived]),
                        Ok(Beginning::Incomplete),
                        "{arrived}"
                    );
                }
                assert!(matches!(read(&bytes), Ok(Beginning::Hello(_))));
            }
        }
    }

    #[test]
    fn a_hello_in_records_of_any_size_has_the_same_name() {
        for (bytes, name) in hellos() {
            let payload = &bytes[5..];
            for bytes_each in 1..=payload.len() {
                let records = in_records(payload, bytes_each);
                let server_name = name.map(Cow::Borrowed);
                let expected = Beginning::Hello(Hello {
                    server_name,
                    wire_bytes: records.len(),
                });
                assert_eq!(
                    read(&[&records[..], b"\x17"].concat()),
                    Ok(expected),
                    "{bytes_each}"
                );
            }
        }
    }

    #[test]
    fn what_follows_in_the_same_record_is_not_the_hellos() {
        let bytes = modern();
        let longer = record(&[&bytes[5..], b"\x0b\0\0\0"].concat());
        let Ok(Beginning::Hello(hello)) = read(&longer) else {
            panic!()
        };
        assert_eq!(
            (hello.server_name.as_deref(), hello.wire_bytes),
            (Some(NAME.as_bytes()), bytes.len())
        );
    }

    #[test]
    fn a_name_is_given_as_it_was_sent() {
        let long = vec![b'a'; 8000];
        for name in [
            &b""[..],
            b"10.0.0.1",
            b"KAFKA.example.com.",
            b"a_b",
            b"\0\xff\r\n",
            &long,
        ] {
            assert_eq!(
                name_in(&hello_of(Some(&names(&[(0, name)])))),
                Ok(Some(name.to_vec()))
            );
        }
        let with_another_type = names(&[(0, b"kafka"), (1, b"\0\0what")]);
        assert_eq!(
            name_in(&hello_of(Some(&with_another_type))),
            Ok(Some(b"kafka".to_vec()))
        );
        assert_eq!(name_in(&hello_of(Some(&names(&[(1, b"kafka")])))), Ok(None));
        assert_eq!(name_in(&hello_of(Some(&[]))), Ok(None));
    }

    /// No name ends with a dot (RFC 6066), but clients send what their user wrote. rustls takes the
    /// dot off, as certificates have none; here the name is as it was sent.
    #[test]
    fn a_dot_at_the_end_of_a_name_is_the_only_thing_that_rustls_takes_off() {
        for (end, to_rustls) in [
            ("m", Some("broker-7.kafka.example.com")),
            (".", Some("broker-7.kafka.example.co")),
            ("..", None),
        ] {
            let name = format!("{}{end}", &NAME[..NAME.len() - end.len()]);
            let hello = modern();
            let at = hello
                .windows(NAME.len())
                .position(|bytes| bytes == NAME.as_bytes())
                .unwrap();
            let hello = [&hello[..at], name.as_bytes(), &hello[at + NAME.len()..]].concat();
            assert_eq!(name_in(&hello), Ok(Some(name.into_bytes())));
            assert_eq!(name_to_rustls(&hello).as_deref(), to_rustls);
        }
    }

    #[test]
    fn what_is_no_tls_record_is_told_from_what_is_a_wrong_one() {
        for other in [
            &b"\0\0\0\x20"[..],
            b"\x15\x03\x01",
            b"\x16\x02",
            b"\x80\x2e\x01",
            b"GET /",
            b"PROXY ",
        ] {
            assert_eq!(read(other), Ok(Beginning::Other), "{other:?}");
        }
        let first = &modern()[..5 + 40];
        let cut = [&record(&first[5..])[..], b"\x17\x03\x03\0\x01\0"].concat();
        assert_eq!(read(&cut), Err(HelloError::Record(23)));
        assert_eq!(read(&record(b"")), Err(HelloError::RecordLength(0)));
        assert_eq!(
            read(b"\x16\x03\x01\x40\x01"),
            Err(HelloError::RecordLength(16_385))
        );
        assert_eq!(read(b"\x16\x03\x01\x40\x00"), Ok(Beginning::Incomplete));
        assert_eq!(read(&record(b"\x02")), Err(HelloError::Message(2)));
    }

    #[test]
    fn the_version_of_the_records_behind_the_first_says_nothing() {
        // SSL 2.0 and DTLS 1.0, which rustls takes as well, and what it doesn't know.
        for (version, is_taken_by_rustls) in [(2_u16, true), (0xfeff, true), (0x0404, false)] {
            let mut hello = in_records(&modern()[5..], 100);
            hello[106..108].copy_from_slice(&version.to_be_bytes());
            assert_eq!(name_in(&hello), Ok(Some(NAME.as_bytes().to_vec())));
            assert_eq!(name_to_rustls(&hello).is_some(), is_taken_by_rustls);
            // In the first one it tells TLS from other protocols.
            let mut hello = modern();
            hello[1..3].copy_from_slice(&version.to_be_bytes());
            assert_eq!(read(&hello), Ok(Beginning::Other));
            assert_eq!(name_to_rustls(&hello).is_some(), is_taken_by_rustls);
        }
    }

    #[test]
    fn a_hello_is_too_large_as_soon_as_it_is_known_to_be() {
        let body = |length: usize| {
            [
                &[CLIENT_HELLO],
                &length.to_be_bytes()[5..],
                &vec![0; length],
            ]
            .concat()
        };
        // 9 bytes frame a hello in one record.
        let largest = HELLO_BYTES_MAX - 9;
        let larger = HELLO_BYTES_MAX - 8;
        assert_eq!(
            read(&record(&body(largest))),
            Err(HelloError::Length("cipher suites"))
        );
        assert_eq!(
            read(&record(&body(largest))[..9]),
            Ok(Beginning::Incomplete)
        );
        assert_eq!(read(&record(&body(larger))[..9]), Err(HelloError::TooLarge));
        assert_eq!(read(&record(&body(larger))), Err(HelloError::TooLarge));
        assert_eq!(
            read(b"\x16\x03\x01\x40\0\x01\xff\xff\xff"),
            Err(HelloError::TooLarge)
        );
        // What is missing would have room, but for the header of its record.
        let last_byte_apart = in_records(&body(HELLO_BYTES_MAX - 11), HELLO_BYTES_MAX - 8);
        assert_eq!(read(&last_byte_apart), Err(HelloError::TooLarge));
        // Record headers count as well: 6 bytes on the wire for each of the hello's.
        let dribbled = in_records(&body(3000), 1);
        assert_eq!(read(&dribbled), Err(HelloError::TooLarge));
        assert!(in_records(&modern()[5..], 1).len() < HELLO_BYTES_MAX);
    }

    #[test]
    fn a_wrong_length_is_an_error_that_names_it() {
        let session_id = list::<1>(&[7; 32]);
        let suites = list::<2>(&[0x13, 1]);
        let methods = list::<1>(&[0]);
        let parts = |parts: &[&[u8]]| name_in(&hello_with(parts));
        let extensions = |extensions: &[u8]| name_in(&hello_of(Some(extensions)));
        let wrong = |what| Err(HelloError::Length(what));
        assert_eq!(
            parts(&[&list::<1>(&[7; 33]), &suites, &methods]),
            wrong("session id")
        );
        assert_eq!(
            parts(&[&session_id, &list::<2>(&[]), &methods]),
            wrong("cipher suites")
        );
        assert_eq!(
            parts(&[&session_id, &list::<2>(&[1, 2, 3]), &methods]),
            wrong("cipher suites")
        );
        assert_eq!(
            parts(&[&session_id, &suites, &[0]]),
            wrong("compression methods")
        );
        assert_eq!(
            parts(&[&session_id, &suites, &[2, 0]]),
            wrong("compression methods")
        );
        assert_eq!(
            parts(&[&session_id, &suites, &methods, &[0]]),
            wrong("extensions")
        );
        assert_eq!(
            parts(&[&session_id, &suites, &methods, &[0, 1]]),
            wrong("extensions")
        );
        assert_eq!(
            parts(&[&session_id, &suites, &methods, &[0, 0, 9]]),
            wrong("body")
        );
        assert_eq!(parts(&[]), wrong("session id"));
        assert_eq!(name_in(&record(&[CLIENT_HELLO, 0, 0, 1, 3])), wrong("body"));
        assert_eq!(extensions(&[0, 0, 0]), wrong("extensions"));
        assert_eq!(extensions(&[0, 1, 0, 1]), wrong("extensions"));
        assert_eq!(extensions(&extension(0, b"")), wrong("server names"));
        assert_eq!(
            extensions(&extension(0, &list::<2>(b""))),
            wrong("server names")
        );
        assert_eq!(
            extensions(&extension(0, b"\0\x05\0\0\x01k")),
            wrong("server names")
        );
        assert_eq!(
            extensions(&extension(0, b"\0\x04\0\0\x01k!")),
            wrong("server names")
        );
        assert_eq!(
            extensions(&extension(0, b"\0\x04\0\0\x02k")),
            wrong("server name")
        );
    }

    #[test]
    fn two_names_are_an_error_wherever_they_stand() {
        let name = names(&[(0, b"a.example.com")]);
        let two = names(&[(0, b"a.example.com"), (0, b"b.example.com")]);
        let nameless = names(&[(1, b"")]);
        for extensions in [
            two,
            [&name[..], &name].concat(),
            [&nameless[..], &name].concat(),
        ] {
            assert_eq!(
                name_in(&hello_of(Some(&extensions))),
                Err(HelloError::TwoNames)
            );
        }
    }

    /// The name that rustls finds, where it takes the hello; `None` also for a name that is no DNS
    /// name.
    fn name_to_rustls(mut bytes: &[u8]) -> Option<String> {
        let mut acceptor = Acceptor::default();
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes).ok()?;
            if let Some(accepted) = acceptor.accept().ok()? {
                return accepted.client_hello().server_name().map(str::to_owned);
            }
        }
        None
    }

    fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes
    }

    #[test]
    fn rustls_finds_the_same_name() {
        for (bytes, name) in hellos() {
            let name = name.map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
            assert_eq!(
                name_to_rustls(&bytes).map(|name| name.to_ascii_lowercase()),
                name
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_name_rustls_finds_in_a_changed_hello_is_found(
            at in any::<prop::sample::Index>(),
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), 0..4u8, Just(b'a')]), 0..3),
            (record_bytes, cut) in (1..300usize, any::<prop::sample::Index>()),
            is_changed_first in any::<bool>(),
        ) {
            let hellos = hellos();
            let bytes = at.get(&hellos).0.clone();
            let mut bytes = if is_changed_first {
                in_records(&changed(bytes, &changes)[5..], record_bytes)
            } else {
                changed(in_records(&bytes[5..], record_bytes), &changes)
            };
            if !bytes.starts_with(&START) {
                prop_assert_eq!(read(&bytes), Ok(Beginning::Other));
            } else if let Some(name) = name_to_rustls(&bytes) {
                let sent = name_in(&bytes).unwrap().unwrap();
                let ours = sent.strip_suffix(b".").unwrap_or(&sent);
                prop_assert!(
                    ours.eq_ignore_ascii_case(name.as_bytes()),
                    "{} is {}",
                    ours.escape_ascii(),
                    name,
                );
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(Beginning::Hello(hello)) = read(&bytes) {
                prop_assert!(hello.wire_bytes <= bytes.len());
            }
        }

        #[test]
        fn no_bytes_make_it_read_beyond_what_has_arrived(
            rest in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(1)], 0..200),
            starts in 0..4usize,
        ) {
            let whole = [&b"\x16\x03\x01\0\xa0\x01\0\0\x90"[..], &[3; FIXED_BYTES]].concat();
            let begun: [&[u8]; 4] = [b"", b"\x16\x03", b"\x16\x03\x01\0\x50\x01\0\0", &whole];
            let start = begun[starts].to_vec();
            let bytes = [start, rest].concat();
            if let Ok(Beginning::Hello(hello)) = read(&bytes) {
                prop_assert!(hello.wire_bytes <= bytes.len());
                prop_assert!(hello.server_name.is_none_or(|name| name.len() < bytes.len()));
            }
        }
    }
}
