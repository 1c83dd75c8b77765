//! The PROXY protocol header, versions 1 and 2: what a load balancer puts in front of a connection
//! to say whose it is (proxy-protocol.txt of HAProxy, sections 2.1 and 2.2). Bytes alone; who may
//! send one is the session's matter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// A whole header.
    Header {
        /// The client that it names; `None` where it speaks of its sender itself: `LOCAL`, as
        /// health checks have it, or `UNKNOWN`, or no internet address.
        client: Option<SocketAddr>,
        /// How many bytes the header has.
        bytes: usize,
    },
    /// What may become a header when more arrives.
    Incomplete,
    /// Anything else.
    Other,
}

/// Why a header can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The line of version 1 does not end.
    #[error("the line does not end within {LINE_BYTES_MAX} bytes")]
    Endless,
    /// The line of version 1 is not one of its forms.
    #[error(
        "the line is not of the form `PROXY TCP4 SOURCE DESTINATION PORT PORT`, nor TCP6 or UNKNOWN"
    )]
    Line,
    /// Behind the signature of version 2 stands another version, or a command that there is not.
    #[error("version and command are {0:#04x}, where 0x20 (LOCAL) or 0x21 (PROXY) belongs")]
    Command(u8),
    /// An address family or transport that there is not.
    #[error("there is no address family and transport {0:#04x}")]
    Family(u8),
    /// The addresses don't fit into the length.
    #[error("its length has no room for its addresses")]
    Addresses,
    /// A TLV behind the addresses reaches behind the header's end.
    #[error("a TLV reaches behind the end of the header")]
    Tlv,
}

const LINE: &[u8] = b"PROXY ";
const LINE_BYTES_MAX: usize = 107;
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, and the length of what follows.
const FIXED_BYTES: usize = 16;

/// Reads what a connection begins with. At the most 64 KiB and 15 bytes are a header.
pub fn read(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    if begins(bytes, SIGNATURE) {
        read_binary(bytes)
    } else if begins(bytes, LINE) {
        read_line(bytes)
    } else {
        Ok(Beginning::Other)
    }
}

/// Whether `bytes` begin with `start`, as far as they have arrived.
fn begins(bytes: &[u8], start: &[u8]) -> bool {
    bytes
        .iter()
        .zip(start)
        .all(|(byte, expected)| byte == expected)
}

/// Version 1: one line of text.
fn read_line(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    let seen = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = seen.windows(2).position(|pair| pair == b"\r\n") else {
        return if seen.len() == LINE_BYTES_MAX {
            Err(HeaderError::Endless)
        } else {
            Ok(Beginning::Incomplete)
        };
    };
    let line = std::str::from_utf8(&seen[LINE.len()..end]).map_err(|_| HeaderError::Line)?;
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or(HeaderError::Line);
    let family = word()?;
    if family == "UNKNOWN" {
        return Ok(Beginning::Header {
            client: None,
            bytes: end + 2,
        });
    }
    // Both addresses are of the family that the line names.
    let source = ip(family, word()?)?;
    let _ = ip(family, word()?)?;
    let source_port = port(word()?)?;
    let _ = port(word()?)?;
    if words.next().is_some() {
        return Err(HeaderError::Line);
    }
    Ok(Beginning::Header {
        client: Some(SocketAddr::new(source, source_port)),
        bytes: end + 2,
    })
}

fn ip(family: &str, text: &str) -> Result<IpAddr, HeaderError> {
    let ip = match family {
        "TCP4" => text.parse().map(IpAddr::V4),
        "TCP6" => text.parse().map(IpAddr::V6),
        _ => return Err(HeaderError::Line),
    };
    ip.map_err(|_| HeaderError::Line)
}

fn port(text: &str) -> Result<u16, HeaderError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| is_plain)
        .ok_or(HeaderError::Line)
}

/// Version 2: a signature, fixed fields, addresses by family, and TLVs.
fn read_binary(bytes: &[u8]) -> Result<Beginning, HeaderError> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED_BYTES) else {
        return Ok(Beginning::Incomplete);
    };
    let end = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    let Some(rest) = bytes.get(FIXED_BYTES..end) else {
        return Ok(Beginning::Incomplete);
    };
    let client = match command {
        0x20 => None,
        0x21 => source(family, rest)?,
        other => return Err(HeaderError::Command(other)),
    };
    Ok(Beginning::Header { client, bytes: end })
}

/// The source address, and a look at what stands behind the addresses.
fn source(family: u8, rest: &[u8]) -> Result<Option<SocketAddr>, HeaderError> {
    let (client, tlvs) = match family {
        0x00 => (None, &[][..]),
        0x11 | 0x12 => {
            let ([ip @ .., _, _, _, _, high, low, _, _], tlvs) = addresses::<12>(rest)?;
            let ip: [u8; 4] = *ip;
            (Some((IpAddr::V4(Ipv4Addr::from(ip)), [*high, *low])), tlvs)
        }
        0x21 | 0x22 => {
            let (both, tlvs) = addresses::<36>(rest)?;
            let ip = both.first_chunk::<16>().copied().unwrap_or_default();
            (
                Some((IpAddr::V6(Ipv6Addr::from(ip)), [both[32], both[33]])),
                tlvs,
            )
        }
        0x31 | 0x32 => (None, addresses::<216>(rest)?.1),
        other => return Err(HeaderError::Family(other)),
    };
    look_at_tlvs(tlvs)?;
    Ok(client.map(|(ip, port)| SocketAddr::new(ip, u16::from_be_bytes(port))))
}

fn addresses<const N: usize>(rest: &[u8]) -> Result<(&[u8; N], &[u8]), HeaderError> {
    rest.split_first_chunk::<N>().ok_or(HeaderError::Addresses)
}

/// A type, a length of two bytes, a value: none of them concerns Narrows, and none may reach out of
/// the header.
fn look_at_tlvs(mut rest: &[u8]) -> Result<(), HeaderError> {
    while let Some((&[_, high, low], behind)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([high, low]));
        rest = behind.get(length..).ok_or(HeaderError::Tlv)?;
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(HeaderError::Tlv)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CLIENT: &str = "192.0.2.7:51000";

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn ipv4() -> Vec<u8> {
        [
            &[192, 0, 2, 7, 10, 0, 0, 1][..],
            &51_000u16.to_be_bytes(),
            &9092u16.to_be_bytes(),
        ]
        .concat()
    }

    fn ipv6() -> Vec<u8> {
        let ip: Ipv6Addr = "2001:db8::7".parse().unwrap();
        [
            &ip.octets()[..],
            &ip.octets(),
            &51_000u16.to_be_bytes(),
            &9092u16.to_be_bytes(),
        ]
        .concat()
    }

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let tlvs = [&ipv4()[..], &[0x04, 0, 0], &[0xea, 0, 3, 1, 2, 3]].concat();
        vec![
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n".to_vec(),
                Some(CLIENT),
            ),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 51000 9092\r\n".to_vec(),
                Some("[2001:db8::7]:51000"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff 10.0.0.1 what ever\r\n".to_vec(), None),
            (binary(0x21, 0x11, &ipv4()), Some(CLIENT)),
            (binary(0x21, 0x11, &tlvs), Some(CLIENT)),
            (binary(0x21, 0x21, &ipv6()), Some("[2001:db8::7]:51000")),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, b"whatever"), None),
            (binary(0x20, 0x00, b""), None),
            (binary(0x20, 0xff, b"a load balancer's own"), None),
        ]
    }

    #[test]
    fn a_header_names_its_client_and_ends_where_it_says_whatever_follows() {
        for (header, client) in headers() {
            let client = client.map(|client| client.parse().unwrap());
            let expected = Ok(Beginning::Header {
                client,
                bytes: header.len(),
            });
            assert_eq!(read(&header), expected, "{header:02x?}");
            assert_eq!(
                read(&[&header[..], b"\0\0\0\x20and a frame"].concat()),
                expected,
                "{header:02x?}"
            );
        }
    }

    #[test]
    fn a_header_of_which_any_byte_is_missing_is_incomplete() {
        for (header, _) in headers() {
            for arrived in 0..header.len() {
                assert_eq!(
                    read(&header[..arrived]),
                    Ok(Beginning::Incomplete),
                    "{arrived} of {header:02x?}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_header_is_told_from_what_is_a_wrong_one() {
        for other in [
            &b"\0\0\0\x20"[..],
            b"\x16\x03\x01",
            b"GET / HTTP/1.1",
            b"PRI * HTTP/2",
            b"\r\n\r\nQUIT",
            b"PROXZ",
        ] {
            assert_eq!(read(other), Ok(Beginning::Other), "{other:?}");
        }
        let line = |line: &str| read(format!("PROXY {line}\r\n").as_bytes());
        for wrong in [
            "",
            "TCP4",
            "TCP4 192.0.2.7 10.0.0.1 51000",
            "TCP4 192.0.2.7 10.0.0.1 51000 9092 1",
            "TCP4 2001:db8::7 10.0.0.1 51000 9092",
            "TCP4 192.0.2.7 10.0.0.1 +51000 9092",
            "TCP4 192.0.2.7 10.0.0.1 65536 9092",
            "TCP4  192.0.2.7 10.0.0.1 51000 9092",
            "TCP5 192.0.2.7 10.0.0.1 51000 9092",
            "tcp4 192.0.2.7 10.0.0.1 51000 9092",
        ] {
            assert_eq!(line(wrong), Err(HeaderError::Line), "{wrong:?}");
        }
        assert_eq!(
            read(&[b"PROXY ", &[b'a'; 200][..]].concat()),
            Err(HeaderError::Endless)
        );
        let v4 = ipv4();
        for (wrong, error) in [
            (binary(0x11, 0x11, &v4), HeaderError::Command(0x11)),
            (binary(0x22, 0x11, &v4), HeaderError::Command(0x22)),
            (binary(0x21, 0x41, &v4), HeaderError::Family(0x41)),
            (binary(0x21, 0x11, &v4[..11]), HeaderError::Addresses),
            (binary(0x21, 0x21, &v4), HeaderError::Addresses),
            (
                binary(0x21, 0x11, &[&v4[..], &[1, 0]].concat()),
                HeaderError::Tlv,
            ),
            (
                binary(0x21, 0x11, &[&v4[..], &[1, 0, 1]].concat()),
                HeaderError::Tlv,
            ),
            (
                binary(0x21, 0x11, &[&v4[..], &[1, 0xff, 0xff, 7]].concat()),
                HeaderError::Tlv,
            ),
        ] {
            assert_eq!(read(&wrong), Err(error), "{wrong:02x?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_read_beyond_what_has_arrived(
            at in any::<prop::sample::Index>(),
            cut in any::<prop::sample::Index>(),
            change in any::<(prop::sample::Index, u8)>(),
        ) {
            let headers = headers();
            let mut bytes = at.get(&headers).0.clone();
            let changed = change.0.index(bytes.len());
            bytes[changed] = change.1;
            bytes.truncate(cut.index(bytes.len() + 1));
            if let Ok(Beginning::Header { bytes: length, .. }) = read(&bytes) {
                prop_assert!(length <= bytes.len());
            }
        }
    }
}
