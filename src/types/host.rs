//! What a host may look like, by what it is for: one set of rules, since a name that Narrows takes
//! and a client or a resolver refuses is found out only in production.
//!
//! | use | an address | an underscore | a dot at the end | no dot | a number at the end |
//! |---|---|---|---|---|---|
//! | dialled by Narrows | yes | yes | yes | yes | yes |
//! | advertised to clients | yes, but no wildcard | yes | yes | yes | no |
//! | server name in TLS | no | no | no | no | no |

use std::net::IpAddr;

/// RFC 1035, section 2.3.4, without the root's dot.
pub(crate) const NAME_CHARS_MAX: usize = 253;
const LABEL_CHARS_MAX: usize = 63;

/// What a host is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Narrows resolves it: as much as a resolver takes, such as the `10.1` for 10.0.0.1.
    Dialled,
    /// Clients resolve it, in Java, C, Go and Python.
    Advertised,
    /// It stands in a TLS hello and in a certificate.
    ServerName,
}

/// Why a text is not a host of its use. Each says `reason: cure`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing is there.
    #[error("it is empty: write a name, such as kafka.example.com")]
    Empty,
    /// An IP address where a name has to be.
    #[error(
        "{0} is an IP address, which TLS clients don't send as a server name: write a DNS name"
    )]
    IpAddress(IpAddr),
    /// The address that stands for all addresses of a machine.
    #[error(
        "a wildcard address can't be dialled: write the name or the address that clients dial, \
         such as kafka.example.com"
    )]
    Unspecified,
    /// A port behind the name.
    #[error("a port stands behind the name: write the name alone")]
    Port,
    /// A wildcard, as certificates have it.
    #[error("a wildcard can't be dialled: write the name out, the wildcard is for the certificate")]
    Wildcard,
    /// Legal in DNS, but neither in certificates nor, for many clients, in TLS.
    #[error("an underscore is not allowed in the names of certificates and TLS: use a hyphen")]
    Underscore,
    /// A character that no host name has.
    #[error(
        "{0:?} is not a character of a host name: use letters, digits, hyphens and dots (another \
         script as xn--)"
    )]
    Character(char),
    /// The dot of the root, which TLS leaves out.
    #[error("it ends with a dot, which TLS clients leave out: remove the dot")]
    TrailingDot,
    /// Two dots in a row, or one at the start.
    #[error("nothing stands before one of its dots: remove that dot")]
    EmptyLabel,
    /// No dot at all.
    #[error("{0} has no dot, and Java clients send no server name without one: add a domain")]
    NoDot(String),
    /// A label begins or ends with a hyphen.
    #[error(
        "{0} begins or ends with a hyphen: each part between dots needs a letter or digit at both \
         ends"
    )]
    Hyphen(String),
    /// A label is too long.
    #[error(
        "a part between dots can get {0} characters, more than the {LABEL_CHARS_MAX} of DNS: \
         shorten it"
    )]
    LongLabel(usize),
    /// The name is too long.
    #[error("it can get {0} characters, more than the {NAME_CHARS_MAX} of DNS: shorten it")]
    Long(usize),
    /// The last label reads as a number, decimal or hexadecimal.
    #[error("a name that ends in a number ({0}) is taken for an IP address: add a domain")]
    Number(String),
}

/// A host that Narrows dials: an address (IPv6 without brackets) or a name.
pub(super) fn dialled(host: &str) -> Result<(), HostError> {
    match host.parse::<IpAddr>() {
        Ok(_) => Ok(()),
        Err(_) => check(host, Use::Dialled),
    }
}

/// A host that clients are told: a name as it was written, or an address in its usual form, without
/// the brackets that it may have.
pub(crate) fn advertised(text: &str) -> Result<String, HostError> {
    match unbracketed(text).parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(HostError::Unspecified),
        Ok(ip) => Ok(ip.to_string()),
        Err(_) => check(text, Use::Advertised).map(|()| text.to_owned()),
    }
}

/// A name that every TLS client sends and every certificate can carry.
pub(crate) fn server_name(name: &str) -> Result<(), HostError> {
    match unbracketed(name).parse::<IpAddr>() {
        Ok(ip) => Err(HostError::IpAddress(ip)),
        Err(_) => check(name, Use::ServerName),
    }
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text)
}

fn check(name: &str, of: Use) -> Result<(), HostError> {
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if let Some((_, port)) = name.rsplit_once(':')
        && port.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(HostError::Port);
    }
    check_characters(name, of)?;
    let labels = match name.strip_suffix('.').filter(|rest| !rest.is_empty()) {
        Some(_) if of == Use::ServerName => return Err(HostError::TrailingDot),
        Some(rest) => rest,
        None => name,
    };
    if of == Use::ServerName && !labels.contains('.') {
        let shown = labels.chars().take(LABEL_CHARS_MAX).collect();
        return Err(HostError::NoDot(shown));
    }
    labels.split('.').try_for_each(check_label)?;
    if labels.len() > NAME_CHARS_MAX {
        return Err(HostError::Long(labels.len()));
    }
    match labels.rsplit('.').next() {
        Some(last) if of != Use::Dialled && is_number(last) => {
            Err(HostError::Number(last.to_owned()))
        }
        _ => Ok(()),
    }
}

fn check_characters(name: &str, of: Use) -> Result<(), HostError> {
    let is_legal = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '-' | '.') || (c == '_' && of != Use::ServerName)
    };
    match name.chars().find(|c| !is_legal(*c)) {
        Some('*') => Err(HostError::Wildcard),
        Some('_') => Err(HostError::Underscore),
        Some(other) => Err(HostError::Character(other)),
        None => Ok(()),
    }
}

fn check_label(label: &str) -> Result<(), HostError> {
    if label.is_empty() {
        Err(HostError::EmptyLabel)
    } else if label.len() > LABEL_CHARS_MAX {
        Err(HostError::LongLabel(label.len()))
    } else if label.starts_with('-') || label.ends_with('-') {
        Err(HostError::Hyphen(label.to_owned()))
    } else {
        Ok(())
    }
}

/// Whether a name that ends with `label` would be read as an IPv4 address (the URL standard's "ends
/// in a number"; RFC 3696, section 2; TLS libraries refuse such names).
fn is_number(label: &str) -> bool {
    let lower = label.to_ascii_lowercase();
    let is_decimal = lower.bytes().all(|byte| byte.is_ascii_digit());
    let hexadecimal = lower.strip_prefix("0x");
    is_decimal
        || hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> HostError {
        HostError::IpAddress(text.parse().unwrap())
    }

    #[test]
    fn each_use_refuses_what_it_can_not_have() {
        let label = "a".repeat(64);
        let long_label = format!("{label}.com");
        let long = format!("{}com", "abcdefgh.".repeat(28));
        let number = || Some(HostError::Number("300".into()));
        let hyphen = |label: &str| Some(HostError::Hyphen(label.into()));
        let all = |error: HostError| [Some(error.clone()), Some(error.clone()), Some(error)];
        // Dialled, advertised, server name.
        let cases = [
            ("kafka.example.com", [None, None, None]),
            ("1.example", [None, None, None]),
            (
                "kafka",
                [None, None, Some(HostError::NoDot("kafka".into()))],
            ),
            (
                "kafka_1.example.com",
                [None, None, Some(HostError::Underscore)],
            ),
            (
                "kafka.example.com.",
                [None, None, Some(HostError::TrailingDot)],
            ),
            ("10.0.0.1", [None, None, Some(ip("10.0.0.1"))]),
            ("2001:db8::1", [None, None, Some(ip("2001:db8::1"))]),
            (
                "0.0.0.0",
                [None, Some(HostError::Unspecified), Some(ip("0.0.0.0"))],
            ),
            ("10.0.0.300", [None, number(), number()]),
            ("kafka.0xBEEF", {
                let number = HostError::Number("0xBEEF".into());
                [None, Some(number.clone()), Some(number)]
            }),
            ("", all(HostError::Empty)),
            ("kafka.example.com:9092", all(HostError::Port)),
            ("*.example.com", all(HostError::Wildcard)),
            ("kafka 1.example.com", all(HostError::Character(' '))),
            ("http://kafka", all(HostError::Character(':'))),
            ("käfka.example.com", all(HostError::Character('ä'))),
            ("kafka..com", all(HostError::EmptyLabel)),
            (".kafka.com", all(HostError::EmptyLabel)),
            (
                "-kafka.example.com",
                [hyphen("-kafka"), hyphen("-kafka"), hyphen("-kafka")],
            ),
            (
                "kafka-.example.com",
                [hyphen("kafka-"), hyphen("kafka-"), hyphen("kafka-")],
            ),
            (&long_label, all(HostError::LongLabel(64))),
            (&long, all(HostError::Long(255))),
        ];
        for (host, expected) in cases {
            let said = [
                dialled(host).err(),
                advertised(host).err(),
                server_name(host).err(),
            ];
            assert_eq!(said, expected, "{host}");
        }
        assert_eq!(server_name("."), Err(HostError::EmptyLabel));
    }

    #[test]
    fn every_refusal_has_a_cure() {
        for text in [
            "", "10.0.0.1", "a", "a:1", "*", "_", " ", "a.", "a..b", "-a.b", "a.1",
        ] {
            let sentence = server_name(text).unwrap_err().to_string();
            let cure = sentence.rsplit_once(": ").map(|(_, cure)| cure);
            assert!(cure.is_some_and(|cure| cure.contains(' ')), "{sentence}");
        }
    }

    #[test]
    fn an_advertised_address_is_told_without_its_brackets() {
        assert_eq!(advertised("[2001:DB8::1]").as_deref(), Ok("2001:db8::1"));
        assert_eq!(advertised("[::]"), Err(HostError::Unspecified));
        assert_eq!(advertised("[kafka]"), Err(HostError::Character('[')));
    }
}
