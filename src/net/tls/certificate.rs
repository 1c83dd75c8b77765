//! What stands in a certificate: for logs, for the status page, and to tell whether it is good for
//! a name.
//!
//! Reads any bytes without a panic; what is no certificate is `None`.

use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// How much of a peer's certificate a log line shows.
const DESCRIBED_CHARS_MAX: usize = 300;

/// The facts of one X.509 certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it is for, as RFC 2253 writes it and Kafka names principals: `CN=kafka,O=Example`.
    pub subject: String,
    /// Who signed it, written alike.
    pub issuer: String,
    /// The DNS names that it is good for; one may begin with `*.`, which stands for exactly one
    /// label.
    pub(crate) dns_names: Vec<String>,
    /// The IP addresses that it is good for.
    pub(crate) addresses: Vec<IpAddr>,
    /// The serial number in upper-case hexadecimal digits, as OpenSSL prints it.
    pub serial: String,
    /// The second from which on it is valid, since 1970.
    pub not_before: i64,
    /// The last second in which it is valid, since 1970.
    pub not_after: i64,
    /// Whether it may sign others.
    pub is_ca: bool,
    /// Whether a TLS server may show it: it says nothing of its use, or names that one.
    pub(crate) is_for_servers: bool,
    /// Whether a TLS client may.
    pub(crate) is_for_clients: bool,
}

/// How well a certificate fits a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    No,
    Wildcard,
    Exact,
}

impl Certificate {
    /// Reads one certificate in DER.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (rest, certificate) = X509Certificate::from_der(der).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let (dns_names, addresses) = names(&certificate);
        let usage = certificate.extended_key_usage().ok().flatten();
        let usage = usage.map(|extension| extension.value);
        Some(Self {
            subject: line(certificate.subject()),
            issuer: line(certificate.issuer()),
            dns_names,
            addresses,
            serial: serial(certificate.raw_serial()),
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            is_ca: certificate.is_ca(),
            is_for_servers: usage.is_none_or(|usage| usage.any || usage.server_auth),
            is_for_clients: usage.is_none_or(|usage| usage.any || usage.client_auth),
        })
    }

    /// Whether a client that dials `host`, a name or an IP address, would accept it. Only subject
    /// alternative names count, as for every client of today; the common name does not.
    pub fn covers(&self, host: &str) -> bool {
        self.fit(host) > Fit::No
    }

    pub(super) fn fit(&self, host: &str) -> Fit {
        if let Ok(address) = host.parse::<IpAddr>() {
            return if self.addresses.contains(&address) {
                Fit::Exact
            } else {
                Fit::No
            };
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        self.dns_names
            .iter()
            .map(|name| fit(name, host))
            .max()
            .unwrap_or(Fit::No)
    }

    /// All names that it is good for, as text.
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.dns_names
            .iter()
            .cloned()
            .chain(self.addresses.iter().map(ToString::to_string))
    }
}

/// A peer's certificate in DER as a log line shows it: subject and names, short and without control
/// characters.
pub fn describe(der: &[u8]) -> String {
    let Some(certificate) = Certificate::parse(der) else {
        return "a certificate that can't be read".to_owned();
    };
    let names: Vec<_> = certificate.names().collect();
    let text = match names.as_slice() {
        [] => certificate.subject,
        names => format!("{} ({})", certificate.subject, names.join(", ")),
    };
    match text.char_indices().nth(DESCRIBED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn fit(name: &str, host: &str) -> Fit {
    if name.eq_ignore_ascii_case(host) && !host.contains('*') {
        return Fit::Exact;
    }
    let wildcard = name.strip_prefix("*.").zip(host.split_once('.'));
    match wildcard {
        Some((parent, (label, rest))) if !label.is_empty() && parent.eq_ignore_ascii_case(rest) => {
            Fit::Wildcard
        }
        _ => Fit::No,
    }
}

fn names(certificate: &X509Certificate<'_>) -> (Vec<String>, Vec<IpAddr>) {
    let mut dns_names = Vec::new();
    let mut addresses = Vec::new();
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return (dns_names, addresses);
    };
    for name in &extension.value.general_names {
        match name {
            GeneralName::DNSName(name) => dns_names.push(printable(name)),
            GeneralName::IPAddress(bytes) => addresses.extend(address(bytes)),
            _ => {}
        }
    }
    (dns_names, addresses)
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .ok()
}

fn serial(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    // A first octet of zero only says that the number is positive.
    match digits.strip_prefix("00") {
        Some(rest) if !rest.is_empty() => rest.to_owned(),
        _ => digits,
    }
}

/// A distinguished name in one line, the most specific part first (RFC 2253).
fn line(name: &X509Name<'_>) -> String {
    let parts = name
        .iter_rdn()
        .map(|rdn| rdn.iter().map(attribute).collect::<Vec<_>>().join("+"));
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    let value = attribute.as_str().map(str::to_owned);
    let value =
        value.unwrap_or_else(|_| String::from_utf8_lossy(attribute.as_slice()).into_owned());
    format!("{}={}", keyword(&oid), escaped(&value))
}

/// The keywords of RFC 2253, section 2.3; other types are named by their number.
fn keyword(oid: &str) -> &str {
    match oid {
        "2.5.4.3" => "CN",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.6" => "C",
        "2.5.4.9" => "STREET",
        "0.9.2342.19200300.100.1.25" => "DC",
        "0.9.2342.19200300.100.1.1" => "UID",
        other => other,
    }
}

fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in printable(value).chars() {
        if matches!(c, ',' | '+' | '"' | '<' | '>' | ';') {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Whoever signs a certificate chooses what stands in it, and logs must survive that.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || c == '\\' {
            printable.extend(c.escape_default())
        } else {
            printable.push(c)
        }
    }
    printable
}
