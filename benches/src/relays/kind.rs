//! The kinds of relay, and what all of their configurations need.

use crate::certificates::Certificates;
use crate::tls::Client;
use crate::wire::{Transport, Wire};
use anyhow::Result;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Descriptors of a relay that are not a connection: pipes, listeners, logs.
const SPARE_FILES: u64 = 2000;

/// All that end TLS do so with 1.3 and these alone, so that their costs can be compared.
pub const SUITE: &str = "TLS_AES_128_GCM_SHA256";
pub const CURVE: &str = "X25519";

/// Every kind there is, in the order of the report.
pub const KINDS: [Kind; 14] = [
    Kind::Direct,
    Kind::Narrows,
    Kind::HaproxySplice,
    Kind::HaproxyCopy,
    Kind::Nginx,
    Kind::Envoy,
    Kind::RawSplice,
    Kind::RawCopy,
    Kind::NarrowsTls,
    Kind::HaproxyTls,
    Kind::HaproxyTls64k,
    Kind::NginxTls,
    Kind::NarrowsPassthrough,
    Kind::HaproxyPassthrough,
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Narrows,
    HaproxySplice,
    HaproxyCopy,
    Nginx,
    Envoy,
    RawSplice,
    RawCopy,
    NarrowsTls,
    HaproxyTls,
    /// With larger buffers than its documentation recommends.
    HaproxyTls64k,
    NginxTls,
    NarrowsPassthrough,
    HaproxyPassthrough,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Narrows => "narrows",
            Self::HaproxySplice => "haproxy-splice",
            Self::HaproxyCopy => "haproxy-copy",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::RawSplice => "raw-splice",
            Self::RawCopy => "raw-copy",
            Self::NarrowsTls => "narrows-tls",
            Self::HaproxyTls => "haproxy-tls",
            Self::HaproxyTls64k => "haproxy-tls-64k",
            Self::NginxTls => "nginx-tls",
            Self::NarrowsPassthrough => "narrows-passthrough",
            Self::HaproxyPassthrough => "haproxy-passthrough",
        }
    }

    pub fn transport(self) -> Transport {
        match self {
            Self::NarrowsTls | Self::HaproxyTls | Self::HaproxyTls64k | Self::NginxTls => {
                Transport::Tls
            }
            Self::NarrowsPassthrough | Self::HaproxyPassthrough => Transport::Passthrough,
            _ => Transport::Plain,
        }
    }
}

/// Where the programs and their files are.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Configurations, logs and the file of cold pages.
    pub folder: PathBuf,
    pub narrows: PathBuf,
    pub envoy: PathBuf,
    /// Where the simulator listens.
    pub broker: SocketAddr,
    /// Where it takes a TLS hello first.
    pub broker_behind_hello: SocketAddr,
    pub certificates: Certificates,
    /// A client of broker 1.
    pub client: Client,
    /// The limit of open files.
    pub open_files: u64,
}

impl Setting {
    pub fn wire(&self, transport: Transport) -> Result<Wire> {
        Ok(match transport {
            Transport::Plain => Wire::Plain,
            Transport::Tls => Wire::Tls(self.client.clone()),
            Transport::Passthrough => Wire::Hello(self.client.hello()?.into()),
        })
    }

    /// How many connections a relay can carry, of two descriptors each.
    pub fn connections_max(&self) -> usize {
        usize::try_from(self.open_files.saturating_sub(SPARE_FILES) / 2).unwrap_or(usize::MAX)
    }

    /// Writes a relay's configuration; Envoy and Narrows go by the ending.
    pub fn write(&self, kind: Kind, port: u16, ending: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{}-{port}.{ending}", kind.name()));
        fs::write(&path, text)?;
        Ok(path)
    }
}

pub fn localhost(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
