//! TLS as the load speaks it: TLS 1.3, `TLS13_AES_128_GCM_SHA256` and X25519, nothing else, so that
//! every relay does the same work; what was negotiated is checked.
//!
//! On rustls' unbuffered interface, which encrypts and decrypts as much at a time as the load has:
//! the load is not what waits, and relays see the long writes of a client that has much to say.

use crate::certificates::Certificates;
use crate::sys;
use anyhow::{Result, ensure};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    UnbufferedClientConnection,
};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{CipherSuite, ClientConfig, HandshakeKind, NamedGroup, RootCertStore};
use std::cell::RefCell;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, PoisonError};

/// Plain bytes of one call to encrypt.
const CHUNK_BYTES: usize = 256 * 1024;
/// The largest record of TLS, and what it takes more when it is encrypted: header, type and tag.
const RECORD_BYTES: usize = 16 * 1024;
const RECORD_OVERHEAD_BYTES: usize = 22;
/// What is received at once; as much as that is the most that can come out of it.
const SCRATCH_BYTES: usize = 256 * 1024;
/// Tickets that wait for their use.
const TICKETS_MAX: usize = 256;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How a connection begins.
#[derive(Clone, Debug)]
pub struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// A client that never resumes.
    pub fn new(certificates: &Certificates, name: &str) -> Result<Self> {
        let provider = CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![aws_lc_rs::kx_group::X25519],
            ..aws_lc_rs::default_provider()
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificates.authority.clone())?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            config: Arc::new(config),
            name: ServerName::try_from(name.to_owned())?,
        })
    }

    /// The same for another name.
    pub fn to(&self, name: &str) -> Result<Self> {
        Ok(Self {
            config: self.config.clone(),
            name: ServerName::try_from(name.to_owned())?,
        })
    }

    /// The same with an empty store of tickets: it resumes as soon as it has one.
    pub fn resuming(&self) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.resumption = Resumption::store(Arc::new(Tickets::default()));
        Self {
            config: Arc::new(config),
            name: self.name.clone(),
        }
    }

    /// The ClientHello of a new connection, one record.
    pub fn hello(&self) -> Result<Vec<u8>> {
        let mut session = UnbufferedClientConnection::new(self.config.clone(), self.name.clone())?;
        let mut out = Vec::new();
        let mut ignored = Vec::new();
        process(&mut session, &mut [], &mut out, |plain| {
            ignored.extend_from_slice(plain)
        })?;
        let record_bytes = out
            .get(3..5)
            .and_then(|two| two.first_chunk())
            .copied()
            .map(u16::from_be_bytes);
        ensure!(
            record_bytes.is_some_and(|bytes| usize::from(bytes) + 5 == out.len()),
            "a hello of many records"
        );
        Ok(out)
    }
}

/// A connection, on a socket that may or may not block.
pub struct Stream {
    socket: TcpStream,
    session: UnbufferedClientConnection,
    /// Received, and not a whole record yet.
    partial: Vec<u8>,
    /// Encrypted, and sent up to here.
    outgoing: Vec<u8>,
    sent: usize,
    is_established: bool,
}

impl Stream {
    /// Sends the hello.
    pub fn begin(client: &Client, socket: TcpStream) -> io::Result<Self> {
        let session = UnbufferedClientConnection::new(client.config.clone(), client.name.clone());
        let mut stream = Self {
            socket,
            session: session.map_err(io::Error::other)?,
            partial: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            is_established: false,
        };
        process(&mut stream.session, &mut [], &mut stream.outgoing, |_| ())?;
        stream.flush()?;
        Ok(stream)
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Whether the handshake is through, which [`Stream::recv`] sees to.
    pub fn is_established(&self) -> bool {
        self.is_established
    }

    pub fn is_resumed(&self) -> bool {
        self.session.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub fn has_unsent(&self) -> bool {
        self.sent < self.outgoing.len()
    }

    /// Takes up to 256 KiB. "Not now" during the handshake, and while something is left of what it
    /// took before; what it takes is not lost, but [`Stream::flush`] may have to send it.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if !self.is_established {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let bytes = &bytes[..bytes.len().min(CHUNK_BYTES)];
        let UnbufferedStatus { state, .. } = self.session.process_tls_records(&mut []);
        let ConnectionState::WriteTraffic(mut traffic) = state.map_err(io::Error::other)? else {
            return Err(io::Error::other("the connection takes no data"));
        };
        self.outgoing.resize(
            bytes.len() + (bytes.len() / RECORD_BYTES + 1) * RECORD_OVERHEAD_BYTES,
            0,
        );
        let count = traffic
            .encrypt(bytes, &mut self.outgoing)
            .map_err(io::Error::other)?;
        self.outgoing.truncate(count);
        self.flush_if_possible()?;
        Ok(bytes.len())
    }

    /// What it receives once, decrypted; `out` has to hold 256 KiB for bulk. 0 at the end; "not
    /// now" also if no record with data is whole.
    pub fn recv(&mut self, out: &mut [u8]) -> io::Result<usize> {
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.resize(SCRATCH_BYTES, 0);
            let held = self.partial.len();
            scratch[..held].copy_from_slice(&self.partial);
            let count = sys::recv(self.socket.as_raw_fd(), &mut scratch[held..])?;
            if count == 0 {
                return Ok(0);
            }
            let received = &mut scratch[..held + count];
            let mut filled = 0;
            let mut fits = true;
            let status = process(&mut self.session, received, &mut self.outgoing, |plain| {
                match out.get_mut(filled..filled + plain.len()) {
                    Some(room) => room.copy_from_slice(plain),
                    None => fits = false,
                }
                filled += plain.len();
            })?;
            if !fits {
                return Err(io::Error::other(format!(
                    "{filled} bytes where {} were expected",
                    out.len()
                )));
            }
            self.partial.clear();
            self.partial.extend_from_slice(&received[status.used..]);
            self.flush_if_possible()?;
            if status.is_established && !self.is_established {
                self.check()?;
                self.is_established = true;
            }
            if filled == 0 {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(filled)
            }
        })
    }

    /// Sends what is encrypted.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.has_unsent() {
            self.sent += sys::send(self.socket.as_raw_fd(), &self.outgoing[self.sent..], false)?;
        }
        self.outgoing.clear();
        self.sent = 0;
        Ok(())
    }

    fn flush_if_possible(&mut self) -> io::Result<()> {
        match self.flush() {
            Err(error) if sys::is_later(&error) => Ok(()),
            other => other,
        }
    }

    fn check(&self) -> io::Result<()> {
        let suite = self
            .session
            .negotiated_cipher_suite()
            .map(|suite| suite.suite());
        if suite != Some(CipherSuite::TLS13_AES_128_GCM_SHA256) {
            return Err(io::Error::other(format!("the suite is {suite:?}")));
        }
        Ok(())
    }
}

struct Status {
    /// Bytes of what was received that are done with.
    used: usize,
    is_established: bool,
}

/// Goes as far as `received` leads. What has to be sent is appended to `outgoing`.
fn process(
    session: &mut UnbufferedClientConnection,
    received: &mut [u8],
    outgoing: &mut Vec<u8>,
    mut plain: impl FnMut(&[u8]),
) -> io::Result<Status> {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } =
            session.process_tls_records(&mut received[used..]);
        let mut is_established = None;
        match state.map_err(io::Error::other)? {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record.map_err(io::Error::other)?;
                    discard += record.discard;
                    plain(record.payload);
                }
            }
            ConnectionState::EncodeTlsData(mut data) => {
                let from = outgoing.len();
                outgoing.resize(from + RECORD_BYTES + RECORD_OVERHEAD_BYTES, 0);
                let count = data
                    .encode(&mut outgoing[from..])
                    .map_err(io::Error::other)?;
                outgoing.truncate(from + count);
            }
            // It is sent when all is processed.
            ConnectionState::TransmitTlsData(data) => data.done(),
            ConnectionState::WriteTraffic(_) => is_established = Some(true),
            ConnectionState::BlockedHandshake => is_established = Some(false),
            state => return Err(io::Error::other(format!("the relay ended TLS: {state:?}"))),
        }
        used += discard;
        if let Some(is_established) = is_established {
            return Ok(Status {
                used,
                is_established,
            });
        }
    }
}

/// Tickets, each used once, the newest first. rustls' own store holds eight of a name, fewer than a
/// storm has visitors.
#[derive(Debug, Default)]
struct Tickets(Mutex<Vec<Tls13ClientSessionValue>>);

impl Tickets {
    fn with<T>(&self, act: impl FnOnce(&mut Vec<Tls13ClientSessionValue>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        self.with(|tickets| {
            if tickets.len() == TICKETS_MAX {
                tickets.remove(0);
            }
            tickets.push(ticket);
        });
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.with(Vec::pop)
    }
}

#[cfg(test)]
#[allow(
    clippy::unwrap_used,
    reason = "a failed expectation is the result of a test"
)]
mod tests {
    use super::*;
    use crate::certificates::{BROKER_NAME, UNKNOWN_NAME};
    use crate::wire::{Binding, Wire};
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection};
    use std::io::{Read, Write};
    use std::net::TcpListener;

    /// A server with all suites that sends back what it gets, and its client; `test` names its
    /// folder.
    fn echo(test: &str) -> (Binding, Client) {
        let folder =
            std::env::temp_dir().join(format!("narrows-bench-{}-{test}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let certificates = Certificates::make(&folder).unwrap();
        let chain = vec![CertificateDer::from_pem_file(&certificates.certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_file(&certificates.key).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                let session = ServerConnection::new(config.clone()).unwrap();
                let mut stream = rustls::StreamOwned::new(session, socket.unwrap());
                let mut buffer = vec![0; 10_000];
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            }
        });
        let client = Client::new(&certificates, BROKER_NAME).unwrap();
        (
            Binding {
                address,
                wire: Wire::Tls(client.clone()),
            },
            client,
        )
    }

    #[test]
    fn what_a_relay_sends_back_is_what_the_load_sent() {
        let (door, _) = echo("bytes");
        let mut stream = door.connect_blocking().unwrap();
        for bytes in [1_u32, 16 * 1024, 100_000] {
            let body: Vec<u8> = (0..bytes).map(|at| (at % 251) as u8).collect();
            let frame = [bytes.to_be_bytes().to_vec(), body.clone()].concat();
            assert_eq!(stream.ask(&frame).unwrap(), body);
        }
    }

    #[test]
    fn a_client_resumes_only_when_it_was_told_to() {
        let (door, client) = echo("tickets");
        let resuming = Binding {
            wire: Wire::Tls(client.resuming()),
            ..door.clone()
        };
        let visit = |door: &Binding| {
            let mut stream = door.connect_blocking().unwrap();
            stream.ask(&[0, 0, 0, 1, 7]).unwrap();
            stream.is_resumed()
        };
        assert_eq!(
            [visit(&resuming), visit(&resuming), visit(&resuming)],
            [false, true, true]
        );
        assert_eq!([visit(&door), visit(&door)], [false, false]);
    }

    #[test]
    fn a_hello_is_one_record_with_the_name_in_it() {
        let (_, client) = echo("hello");
        let hello = client.to(UNKNOWN_NAME).unwrap().hello().unwrap();
        assert_eq!(hello[0], 22);
        assert!(
            hello
                .windows(UNKNOWN_NAME.len())
                .any(|window| window == UNKNOWN_NAME.as_bytes())
        );
    }
}
