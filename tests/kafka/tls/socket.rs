//! A TLS client of the tests' own, for what a Kafka client would not tell.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::fixture::Fixture;
use crate::names;
use crate::namespaces::{NARROWS_FOR_CLIENTS, Side};

const TIMEOUT: Duration = Duration::from_secs(10);

/// ApiVersions v0: length 10, api key 18, version 0, correlation id 1, no client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];

/// A TCP connection to Narrows, with nothing sent on it.
pub(crate) fn dial(fixture: &Fixture, port: u16) -> Result<TcpStream> {
    let socket = fixture.namespaces.inside(Side::Clients, || {
        TcpStream::connect((NARROWS_FOR_CLIENTS, port))
    })??;
    socket.set_read_timeout(Some(TIMEOUT))?;
    Ok(socket)
}

/// A TLS connection to the bootstrap name of a domain, whose handshake is done: Narrows'
/// certificate is sound.
pub(crate) struct TlsSocket(StreamOwned<ClientConnection, TcpStream>);

impl TlsSocket {
    /// # Errors
    /// When the handshake fails.
    pub(crate) fn open(fixture: &Fixture, port: u16, domain: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(fixture.pki.narrows.der().to_vec().into())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(names::bootstrap(domain))?;
        let mut connection = ClientConnection::new(Arc::new(config), name)?;
        let mut socket = dial(fixture, port)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(Self(StreamOwned::new(connection, socket)))
    }

    /// What Narrows shows, in DER.
    pub(crate) fn certificate(&self) -> Result<Vec<u8>> {
        let certificates = self
            .0
            .conn
            .peer_certificates()
            .context("no certificate was shown")?;
        Ok(certificates
            .first()
            .context("an empty chain was shown")?
            .to_vec())
    }

    /// The first thing that any Kafka client asks.
    ///
    /// # Errors
    /// When the connection does not end without an answer.
    pub(crate) fn ensure_api_versions_is_not_answered(mut self) -> Result<()> {
        ensure_unanswered(&mut self.0)
    }
}

/// Sends an ApiVersions request in plaintext or TLS, and waits for the end.
///
/// # Errors
/// When a byte comes, or no end in time.
pub(crate) fn ensure_unanswered(stream: &mut (impl Read + Write)) -> Result<()> {
    let answer = stream
        .write_all(&API_VERSIONS)
        .and_then(|()| stream.flush())
        .and_then(|()| {
            let mut answer = [0; 64];
            stream
                .read(&mut answer)
                .map(|length| answer[..length].to_vec())
        });
    match answer {
        Ok(bytes) => ensure!(
            bytes.is_empty(),
            "an end was due, not an answer: {bytes:02x?}"
        ),
        Err(error) => ensure!(is_end(&error), "an end was due: {error}"),
    }
    Ok(())
}

/// A close with something unread is a reset; a close without TLS's own farewell is an unexpected
/// end.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof
    )
}
