//! From a text to a value, for each kind of value; what can't be read comes back with the reason
//! and the cure.

use super::kind::{bytes_text, duration_text};
use super::problem::Fault;
use crate::address::NodeIdRanges;
use crate::cluster::BrokerAddressRule;
use crate::listener::ProxyMode;
use crate::net::tls::Verify;
use crate::observe::{LogFilter, LogFormat};
use crate::session::{ConfigAddresses, Splice, Unvetted};
use crate::types::BrokerAddress;
use crate::types::host::{self, HostError};
use crate::types::likeness::guess;
use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// A duration within bounds: an integer and `ms`, `s`, `m` or `h`.
pub(super) fn duration(
    bounds: RangeInclusive<Duration>,
) -> impl Fn(&str) -> Result<Duration, Fault> {
    const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    move |text| {
        let cure = format!(
            "write an integer and a unit (ms, s, m, h), from {} to {}",
            duration_text(*bounds.start()),
            duration_text(*bounds.end())
        );
        let malformed = || Fault::new("not a duration", cure.clone());
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(malformed)?;
        let (number, unit) = text.split_at(digits);
        let (_, millis) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(malformed)?;
        let number = number.parse::<u64>().map_err(|_| malformed())?;
        let duration = Duration::from_millis(number.saturating_mul(*millis));
        if bounds.contains(&duration) {
            Ok(duration)
        } else {
            Err(Fault::new("it is out of bounds", cure))
        }
    }
}

/// A size in bytes within bounds: an integer, alone or with `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn bytes(bounds: RangeInclusive<u64>) -> impl Fn(&str) -> Result<usize, Fault> {
    const UNITS: [(&str, u64); 5] = [
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
    ];
    move |text| {
        let cure = format!(
            "write an integer, alone or with B, KiB, MiB or GiB, from {} to {}",
            bytes_text(*bounds.start()),
            bytes_text(*bounds.end())
        );
        let malformed = || Fault::new("not a size in bytes", cure.clone());
        let digits = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let (_, unit) = UNITS
            .iter()
            .find(|(name, _)| *name == unit.trim())
            .ok_or_else(malformed)?;
        let number = number.parse::<u64>().map_err(|_| malformed())?;
        let bytes = Some(number.saturating_mul(*unit)).filter(|bytes| bounds.contains(bytes));
        bytes
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or_else(|| Fault::new("it is out of bounds", cure))
    }
}

/// An integer within bounds.
pub(super) fn integer<T: TryFrom<i64>>(
    bounds: RangeInclusive<i64>,
) -> impl Fn(&str) -> Result<T, Fault> {
    move |text| {
        let number = text
            .parse::<i64>()
            .ok()
            .filter(|number| bounds.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let first = bounds.start();
                let last = bounds.end();
                Fault::new(
                    "not an integer within the bounds",
                    format!("write an integer from {first} to {last}"),
                )
            })
    }
}

/// An IP address and a port to listen at; names are not resolved here.
pub(super) fn bind(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(bind) = text.parse::<SocketAddr>() {
        let cure = "write a port from 1 to 65535";
        return if bind.port() == 0 {
            Err(Fault::new("port 0 can't be dialled", cure))
        } else {
            Ok(bind)
        };
    }
    let port = text
        .rsplit(':')
        .next()
        .and_then(|port| port.parse::<u16>().ok())
        .unwrap_or(9092);
    let cure = format!(
        "write 127.0.0.1:{port} for this machine only, or 0.0.0.0:{port} for all its addresses"
    );
    Err(Fault::new(
        "not an IP address with a port; names are not resolved here",
        cure,
    ))
}

/// Bootstrap servers, at least one. Every one that can't be read is told.
pub(super) fn bootstrap_servers(items: &[&str]) -> Result<Vec<BrokerAddress>, Fault> {
    let cure = "write host:port, or [address]:port for IPv6; several as a list or with commas";
    if items.iter().all(|item| item.is_empty()) {
        return Err(Fault::new("the list is empty", cure));
    }
    let mut servers = Vec::new();
    let mut reasons = Vec::new();
    for item in items {
        match item.parse::<BrokerAddress>() {
            Ok(server) => servers.push(server),
            Err(error) => reasons.push(format!(
                "`{item}`: {}",
                Fault::from_error(&error, "").reason
            )),
        }
    }
    if reasons.is_empty() {
        Ok(servers)
    } else {
        Err(Fault::new(reasons.join("; "), cure))
    }
}

/// Where brokers are dialled: a template, or lines of a table.
pub(super) fn broker_address(items: &[&str]) -> Result<BrokerAddressRule, Fault> {
    let cure = "write a template, kafka-{node_id}.kafka-svc:9092, or an address for each node id";
    if items.is_empty() {
        return Err(Fault::new("there is no address", cure));
    }
    BrokerAddressRule::parse(items).map_err(|error| Fault::from_error(&error, cure))
}

/// The host that clients are told.
pub(super) fn advertised_host(text: &str) -> Result<Arc<str>, Fault> {
    match host::advertised(text) {
        Ok(host) => Ok(host.into()),
        Err(HostError::Port) => Err(Fault::new(
            "a port stands behind the host",
            "leave the port out: brokers get theirs from first_port and advertised_port_offset",
        )),
        Err(error) => Err(Fault::from_error(&error, "")),
    }
}

/// Node ids: single ones and inclusive ranges.
pub(super) fn node_ids(items: &[&str]) -> Result<NodeIdRanges, Fault> {
    let cure = "write ids and inclusive ranges: 1-3, 1000-1002";
    NodeIdRanges::parse(items.iter().copied()).map_err(|error| Fault::from_error(&error, cure))
}

/// Who has to send a PROXY protocol header.
pub(super) fn proxy_mode(text: &str) -> Result<ProxyMode, Fault> {
    use ProxyMode::{Off, Optional, Required};
    choose(
        text,
        &[("off", Off), ("optional", Optional), ("required", Required)],
    )
}

/// Networks: addresses, alone or with the length of a prefix. At least one; every one that can't be
/// read is told.
pub(super) fn networks(items: &[&str]) -> Result<Vec<IpNet>, Fault> {
    let cure = "write addresses and prefixes: 10.0.0.0/8, 192.0.2.7, fd00::/8";
    if items.is_empty() {
        return Err(Fault::new("the list is empty", cure));
    }
    let mut networks = Vec::new();
    let mut wrong = Vec::new();
    for item in items {
        match item
            .parse::<IpNet>()
            .or_else(|_| item.parse::<IpAddr>().map(IpNet::from))
        {
            Ok(network) => networks.push(network),
            Err(_) => wrong.push(format!("`{item}`")),
        }
    }
    if wrong.is_empty() {
        Ok(networks)
    } else {
        Err(Fault::new(
            format!("not a network: {}", wrong.join(", ")),
            cure,
        ))
    }
}

/// How brokers are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemeKind {
    Port,
    Sni,
    Single,
}

/// An address scheme.
pub(super) fn scheme(text: &str) -> Result<SchemeKind, Fault> {
    choose(
        text,
        &[
            ("port", SchemeKind::Port),
            ("sni", SchemeKind::Sni),
            ("single", SchemeKind::Single),
        ],
    )
}

/// What a listener does with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsMode {
    Off,
    Terminate,
    Passthrough,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::Terminate => "terminate",
            Self::Passthrough => "passthrough",
        })
    }
}

/// What a listener does with TLS.
pub(super) fn tls_mode(text: &str) -> Result<TlsMode, Fault> {
    use TlsMode::{Off, Passthrough, Terminate};
    choose(
        text,
        &[
            ("off", Off),
            ("terminate", Terminate),
            ("passthrough", Passthrough),
        ],
    )
}

/// Whether TLS is spoken with brokers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Switch {
    On,
    Off,
}

impl fmt::Display for Switch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::On { "on" } else { "off" })
    }
}

/// On or off.
pub(super) fn switch(text: &str) -> Result<Switch, Fault> {
    choose(text, &[("on", Switch::On), ("off", Switch::Off)])
}

/// Whether clients have to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientAuthMode {
    None,
    Requested,
    Required,
}

/// Whether clients have to show a certificate.
pub(super) fn client_auth(text: &str) -> Result<ClientAuthMode, Fault> {
    use ClientAuthMode::{None, Requested, Required};
    choose(
        text,
        &[
            ("none", None),
            ("requested", Requested),
            ("required", Required),
        ],
    )
}

/// How much of a broker's certificate is verified.
pub(super) fn verify(text: &str) -> Result<Verify, Fault> {
    let all = [
        ("full", Verify::Full),
        ("chain", Verify::Chain),
        ("off", Verify::Off),
    ];
    choose(text, &all)
}

/// The path of a file, relative to the working directory.
pub(super) fn path(text: &str) -> Result<PathBuf, Fault> {
    let cure = "write the path of a PEM file: /etc/narrows/tls/tls.crt";
    match text {
        "" => Err(Fault::new("it is empty", cure)),
        _ if text.contains("-----BEGIN") => Err(Fault::new(
            "the content of a file stands here, and its path is needed",
            cure,
        )),
        _ => Ok(text.into()),
    }
}

/// Paths of files, at least one.
pub(super) fn paths(items: &[&str]) -> Result<Vec<PathBuf>, Fault> {
    match items {
        [] => Err(Fault::new(
            "the list is empty",
            "write the path of a PEM file, or remove the key",
        )),
        items => items.iter().map(|item| path(item)).collect(),
    }
}

/// The name in a peer's certificate: what clients can be told to dial, which is without a port too.
pub(super) fn server_name(text: &str) -> Result<Arc<str>, Fault> {
    let cure =
        "write a name that stands in the brokers' certificates, without a port: kafka.example.com";
    advertised_host(text).map_err(|fault| Fault::new(fault.reason, cure))
}

/// A name for scheme sni, or the pattern of such; what it may look like is the scheme's to say.
pub(super) fn text(text: &str) -> Result<String, Fault> {
    Ok(text.to_owned())
}

/// What to do with what the table doesn't know.
pub(super) fn unvetted(text: &str) -> Result<Unvetted, Fault> {
    choose(text, &[("hide", Unvetted::Hide), ("pass", Unvetted::Pass)])
}

/// What to do with addresses that DescribeConfigs shows.
pub(super) fn describe_configs(text: &str) -> Result<ConfigAddresses, Fault> {
    choose(
        text,
        &[
            ("mask", ConfigAddresses::Mask),
            ("pass", ConfigAddresses::Pass),
        ],
    )
}

/// Whether large runs go through the kernel alone. A bare `off` is a boolean in YAML 1.1, a word in
/// YAML 1.2.
pub(super) fn splice(text: &str) -> Result<Splice, Fault> {
    choose(text, &[("auto", Splice::Auto), ("off", Splice::Off)])
}

/// The shape of a log line.
pub(super) fn log_format(text: &str) -> Result<LogFormat, Fault> {
    choose(
        text,
        &[
            ("auto", LogFormat::Auto),
            ("text", LogFormat::Text),
            ("json", LogFormat::Json),
        ],
    )
}

/// Which lines are logged.
pub(super) fn log_level(text: &str) -> Result<LogFilter, Fault> {
    LogFilter::parse(text).map_err(|error| Fault::new(error.reason, error.cure))
}

/// Kafka's cluster id is opaque, and never empty.
pub(super) fn cluster_id(text: &str) -> Result<String, Fault> {
    let cure = "write the id that `kafka-cluster.sh cluster-id` prints, or remove the key";
    match text.chars().all(|c| c.is_ascii_graphic()) && (1..=128).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new("not a cluster id", cure)),
    }
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Fault> {
    // A YAML 1.1 writer, such as Helm, makes booleans of a bare `off` and `on`.
    let text = match text {
        "false" if choices.iter().any(|(name, _)| *name == "off") => "off",
        "true" if choices.iter().any(|(name, _)| *name == "on") => "on",
        _ => text,
    };
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    let choice = choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, choice)| *choice);
    choice.ok_or_else(|| {
        Fault::new(
            "not one of the words of this key",
            did_you_mean(text, &names),
        )
    })
}

fn did_you_mean(text: &str, names: &[&str]) -> String {
    guess(text, names.iter().copied()) + &format!("write one of {}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::kind::FRAME_BYTES;

    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_duration_has_an_integer_and_a_unit() {
        let read = |text| {
            duration(Duration::ZERO..=DAY)(text)
                .ok()
                .map(|duration| duration.as_millis())
        };
        assert_eq!(read("250ms"), Some(250));
        assert_eq!(read("0s"), Some(0));
        assert_eq!(read("2 m"), Some(120_000));
        assert_eq!(read("1h"), Some(3_600_000));
        for text in [
            "",
            "5",
            "s",
            "5d",
            "1.5s",
            "-1s",
            "25h",
            "99999999999999999999s",
            "18446744073709551615h",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_has_an_integer_and_maybe_a_unit() {
        let read = |text| bytes(FRAME_BYTES.bytes())(text).ok();
        assert_eq!(read("104857600"), Some(104_857_600));
        assert_eq!(read("512KiB"), Some(524_288));
        assert_eq!(read("1 GiB"), Some(1 << 30));
        assert_eq!(read("2147483647B"), Some(2_147_483_647));
        for text in [
            "",
            "KiB",
            "1MB",
            "1.5MiB",
            "-1",
            "0",
            "1023",
            "2GiB",
            "18446744073709551615GiB",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_bind_is_an_ip_address_and_a_port() {
        assert!(bind("0.0.0.0:9092").is_ok() && bind("[::]:9092").is_ok());
        for text in [
            "localhost:9092",
            ":9092",
            "9092",
            "0.0.0.0",
            "*:9092",
            "0.0.0.0:0",
            "0.0.0.0:65536",
            "::1:9092",
        ] {
            assert!(bind(text).is_err(), "{text}");
        }
        assert!(
            bind("localhost:19092")
                .unwrap_err()
                .cure
                .contains("0.0.0.0:19092")
        );
    }

    #[test]
    fn an_advertised_host_has_no_port_and_is_told_where_ports_come_from() {
        assert_eq!(
            advertised_host("kafka.example.com").as_deref(),
            Ok("kafka.example.com")
        );
        let fault = advertised_host("kafka:9092").unwrap_err();
        assert!(fault.cure.contains("first_port"), "{fault:?}");
        let fault = advertised_host("").unwrap_err();
        assert!(fault.cure.contains("kafka.example.com"), "{fault:?}");
    }
}
