//! Whose connection it is: the peer's, or that of the client whom a PROXY protocol header names.
//!
//! A header may say anything, so it counts only from peers that are trusted to tell the truth. From
//! anybody else it ends the session: to pass over it would let the sender choose what the log says
//! of it.

use crate::net::proxy_header::{self, Beginning};
use crate::session::{Cause, FirstBytes};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

/// Whether connections to a listener begin with a PROXY protocol header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyProtocol {
    /// Who has to send one.
    pub mode: ProxyMode,
    /// Whose headers count.
    pub trusted: Vec<IpNet>,
}

/// Who has to send a PROXY protocol header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyMode {
    /// Nobody; one that comes is no Kafka request.
    #[default]
    Off,
    /// Nobody; one that comes from a trusted peer counts.
    Optional,
    /// Everybody, and everybody must be trusted.
    Required,
}

/// What the first bytes of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// More of them are needed.
    Unclear,
    /// The connection is the peer's own, or that of a client; so many bytes have said so.
    Known {
        client: Option<SocketAddr>,
        bytes: usize,
    },
}

impl ProxyProtocol {
    /// Whether the first bytes may be a header.
    pub(super) fn is_expected(&self) -> bool {
        self.mode != ProxyMode::Off
    }

    /// Whose connection one from `peer` is, where no header is to say that.
    pub(super) fn own_source(&self, peer: IpAddr) -> Option<IpAddr> {
        let may_say = self.is_expected() && self.trusts(peer);
        (!may_say).then_some(peer)
    }

    /// Looks at what has arrived from `peer` so far.
    pub(super) fn origin(&self, peer: IpAddr, bytes: &[u8]) -> Result<Origin, Cause> {
        let own = Origin::Known {
            client: None,
            bytes: 0,
        };
        if self.mode == ProxyMode::Off {
            return Ok(own);
        }
        // Who says nothing looks whether the port is alive.
        if bytes.is_empty() {
            return Ok(Origin::Unclear);
        }
        let untrusted = Cause::ProxyUntrusted { peer };
        let is_trusted = self.trusts(peer);
        if self.mode == ProxyMode::Required && !is_trusted {
            return Err(untrusted);
        }
        match proxy_header::read(bytes) {
            Ok(Beginning::Incomplete) => Ok(Origin::Unclear),
            Ok(Beginning::Other) if self.mode == ProxyMode::Required => {
                Err(Cause::ProxyHeaderMissing {
                    first: FirstBytes::of(bytes),
                })
            }
            Ok(Beginning::Other) => Ok(own),
            Ok(Beginning::Header { .. }) | Err(_) if !is_trusted => Err(untrusted),
            Ok(Beginning::Header { client, bytes }) => Ok(Origin::Known { client, bytes }),
            Err(error) => Err(Cause::ProxyHeaderMalformed(error)),
        }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        // On a socket for both families, an IPv4 peer looks like ::ffff:10.0.0.1.
        let peer = peer.to_canonical();
        self.trusted.iter().any(|network| network.contains(&peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 51000 9092\r\n";
    const TRUSTED: &str = "10.1.2.3";
    const MAPPED: &str = "::ffff:10.1.2.3";
    const STRANGER: &str = "11.1.2.3";

    fn origin(mode: ProxyMode, peer: &str, bytes: &[u8]) -> Result<Origin, &'static str> {
        let settings = ProxyProtocol {
            mode,
            trusted: vec!["10.0.0.0/8".parse().unwrap()],
        };
        settings
            .origin(peer.parse().unwrap(), bytes)
            .map_err(|cause| cause.code())
    }

    #[test]
    fn a_header_counts_from_trusted_peers_only_and_where_the_listener_takes_one() {
        use ProxyMode::{Off, Optional, Required};
        let own = Ok(Origin::Known {
            client: None,
            bytes: 0,
        });
        let named = Ok(Origin::Known {
            client: Some("192.0.2.7:51000".parse().unwrap()),
            bytes: HEADER.len(),
        });
        let kafka = b"\0\0\0\x20";
        let malformed = b"PROXY TCP9 1\r\n";
        for (mode, peer, bytes, expected) in [
            (Off, TRUSTED, HEADER, own),
            (Off, STRANGER, kafka, own),
            (Optional, TRUSTED, HEADER, named),
            (Optional, MAPPED, HEADER, named),
            (Optional, TRUSTED, kafka, own),
            (Optional, STRANGER, kafka, own),
            (Optional, STRANGER, HEADER, Err("proxy_untrusted")),
            (Optional, STRANGER, malformed, Err("proxy_untrusted")),
            (Optional, TRUSTED, malformed, Err("proxy_header_malformed")),
            (Required, TRUSTED, HEADER, named),
            (Required, TRUSTED, &HEADER[..10], Ok(Origin::Unclear)),
            (Required, TRUSTED, kafka, Err("proxy_header_missing")),
            (Required, STRANGER, HEADER, Err("proxy_untrusted")),
            (Required, STRANGER, kafka, Err("proxy_untrusted")),
            (Required, STRANGER, b"", Ok(Origin::Unclear)),
        ] {
            assert_eq!(
                origin(mode, peer, bytes),
                expected,
                "{mode:?} {peer} {bytes:?}"
            );
        }
    }
}
