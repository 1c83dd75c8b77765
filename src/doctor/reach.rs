//! One connection as a client opens it, and one request on it: errors stay as they came. What they
//! mean, [`diagnosis`](super::diagnosis) says.

use crate::broker::{
    DialError, DialSettings, Exchange, ExchangeError, OwnName, ProbeError, Security, dial,
};
use crate::cluster::ClusterSettings;
use crate::net::own_sockets::OwnSockets;
use crate::net::stream::Stream;
use crate::net::tls::{Certificate, ClientTls, TlsError, Verify};
use crate::observe::text::shown;
use crate::protocol::doctor_requests::{self, Offered};
use crate::protocol::own_requests;
use crate::types::BrokerAddress;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How connections are opened: the same for the bootstrap server and every broker.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    dial: DialSettings,
    pub(super) security: Security,
    pub(super) name: OwnName,
    pub(super) timeout: Duration,
}

/// A connection that is open.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) stream: Stream,
    pub(super) peer: SocketAddr,
}

impl Reach {
    /// With TLS or without; each step may take `timeout`.
    pub(crate) fn new(tls: Option<ClientTls>, timeout: Duration) -> Self {
        Self {
            dial: DialSettings {
                dns_timeout: timeout,
                connect_timeout: timeout,
                probe_timeout: timeout,
            },
            security: Security {
                tls,
                ..Security::default()
            },
            name: OwnName::plain(),
            timeout,
        }
    }

    /// As Narrows dials the brokers of a cluster.
    pub(super) fn of_cluster(cluster: &ClusterSettings) -> Self {
        let reach = Self::new(cluster.tls.clone(), cluster.dial.probe_timeout);
        let dial = cluster.dial;
        Self { dial, ..reach }
    }

    /// How long a name may take to resolve.
    pub(super) fn dns_timeout(&self) -> Duration {
        self.dial.dns_timeout
    }

    /// The TLS that is spoken, if any is.
    pub(super) fn tls(&self) -> Option<&ClientTls> {
        self.security.tls.as_ref()
    }

    /// The same without TLS.
    pub(super) fn in_plaintext(&self) -> Self {
        let mut reach = self.clone();
        reach.security.tls = None;
        reach
    }

    /// The same with TLS that takes any certificate: to look at it.
    pub(super) fn unverified(&self) -> Result<Self, TlsError> {
        let mut reach = self.clone();
        reach.security.tls = Some(unverified(self.tls())?);
        Ok(reach)
    }

    pub(super) async fn dial(&self, address: &BrokerAddress) -> Result<Reached, DialError> {
        let own = OwnSockets::default();
        let (stream, peer) = dial(address, &self.dial, &self.security, &own).await?;
        Ok(Reached { stream, peer })
    }

    /// Asks for versions.
    pub(super) async fn versions(&self, stream: &mut Stream) -> Result<Offered, ProbeError> {
        let request = doctor_requests::versions_request(self.name.as_bytes());
        let answer = self.ask(stream, &request).await?;
        if let Some(offered) = doctor_requests::read_versions(&answer)? {
            return Ok(offered);
        }
        let request = own_requests::offers_request(self.name.as_bytes(), 1);
        let answer = self.ask(stream, &request).await?;
        Ok(doctor_requests::read_old_versions(&answer)?)
    }

    /// One request and its answer, both with their length in front.
    pub(super) async fn ask(
        &self,
        stream: &mut Stream,
        request: &[u8],
    ) -> Result<Vec<u8>, ExchangeError> {
        let mut exchange = Exchange::begin(stream, self.timeout);
        exchange.send(request).await?;
        exchange.receive_last().await
    }
}

/// A line shows several addresses, but not hundreds.
pub(super) const TRIED_BYTES_MAX: usize = 200;

/// The certificate of the other side.
pub(super) fn certificate_of(stream: &Stream) -> Option<Certificate> {
    match stream {
        Stream::Plain(_) => None,
        Stream::Tls(tls) => Certificate::parse(tls.peer_certificate()?.as_ref()),
    }
}

/// The names of a certificate, as many as a line bears.
pub(super) fn names(certificate: &Certificate) -> String {
    let names: Vec<_> = certificate.names().collect();
    match names.is_empty() {
        true => "no name".to_owned(),
        false => shown(&names.join(", "), TRIED_BYTES_MAX).to_string(),
    }
}

/// TLS that takes any certificate and shows the same as `tls`.
pub(super) fn unverified(tls: Option<&ClientTls>) -> Result<ClientTls, TlsError> {
    let authorities = tls.map_or_else(crate::net::tls::Authorities::platform, |tls| {
        tls.authorities().clone()
    });
    let identity = tls.and_then(|tls| tls.identity().cloned());
    let name = tls.and_then(ClientTls::server_name).map(Arc::from);
    ClientTls::new(authorities, identity, name, Verify::Off)
}
