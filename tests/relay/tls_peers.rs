//! Clients and brokers that speak TLS, by another implementation of its stream than Narrows', and
//! certificates for all.

use crate::broker::{Arrival, Broker, ClusterState};
use crate::client::{ADVERTISED_HOST, Client};
use crate::frames::{OFFSET_COMMIT, opaque, request};
use crate::pki::{Authority, Issued, write};
use crate::samples::pattern;
use crate::within;
use narrows::net::tls::{Authorities, ClientAuth, ClientTls, Identity, ServerTls, Verify};
use narrows::session::ListenerTls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// What a client's TLS stream is.
pub(crate) type TlsClient = Client<client::TlsStream<TcpStream>>;

/// An authority, and what it has signed for a listener and for brokers.
pub(crate) struct Pki {
    pub(crate) authority: Authority,
    listener: Identity,
    pub(crate) broker: Issued,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let authority = Authority::new("Example CA");
        let names = [
            ADVERTISED_HOST,
            "*.kafka.example.com",
            "*.other.example.com",
            "localhost",
        ];
        let listener = identity(&authority.for_names(&names));
        let broker = authority.for_names(&[
            "127.0.0.1",
            "127.0.0.2",
            ADVERTISED_HOST,
            "*.kafka.example.com",
        ]);
        Self {
            authority,
            listener,
            broker,
        }
    }

    /// A listener that ends TLS.
    pub(crate) fn terminate(&self) -> ListenerTls {
        self.terminate_for(ClientAuth::None)
    }

    /// The same with certificates of clients.
    pub(crate) fn terminate_for(&self, client_auth: ClientAuth) -> ListenerTls {
        ListenerTls::Terminate(ServerTls::new(vec![self.listener.clone()], client_auth).unwrap())
    }

    /// What Narrows needs to trust the brokers.
    pub(crate) fn trusting(&self) -> ClientTls {
        ClientTls::new(self.authorities(), None, None, Verify::Full).unwrap()
    }

    pub(crate) fn authorities(&self) -> Authorities {
        authorities(&self.authority)
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.authority, &[&TLS13, &TLS12], None))
    }

    /// A client that speaks one version only.
    pub(crate) fn client_of(
        &self,
        version: &'static SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        Arc::new(client_config(&self.authority, &[version], None))
    }

    /// A scripted broker that is node `id` of a cluster of its own, and TLS in front of it, where
    /// it says that it is.
    pub(crate) async fn broker_behind_tls(&self, id: i32) -> (Broker, Front) {
        let cluster = ClusterState {
            cluster_id: "the-cluster".into(),
            ..ClusterState::default()
        };
        let broker = Broker::unlisted(&Arc::new(Mutex::new(cluster))).await;
        let front = Front::of(&broker, server_config(&self.broker, None)).await;
        broker
            .cluster
            .lock()
            .unwrap()
            .nodes
            .insert(id, front.address);
        (broker, front)
    }
}

pub(crate) fn identity(issued: &Issued) -> Identity {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = issued.write(folder.path(), "tls");
    Identity::read(&certificate, &key).unwrap()
}

pub(crate) fn authorities(authority: &Authority) -> Authorities {
    let folder = TempDir::new().unwrap();
    Authorities::read(&write(folder.path(), "ca.crt", authority.pem())).unwrap()
}

fn roots(authority: &Authority) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap())
        .unwrap();
    roots
}

fn chain_and_key(issued: &Issued) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
    (
        vec![chain],
        PrivateKeyDer::from_pem_slice(issued.key.serialize_pem().as_bytes()).unwrap(),
    )
}

/// A client that trusts this authority, and shows a certificate if it has one.
pub(crate) fn client_config(
    authority: &Authority,
    versions: &[&'static SupportedProtocolVersion],
    shown: Option<&Issued>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_protocol_versions(versions);
    let builder = builder.with_root_certificates(roots(authority));
    match shown.map(chain_and_key) {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
    }
}

/// A broker that shows this certificate, and demands one that the authority has signed if there is
/// one.
pub(crate) fn server_config(issued: &Issued, demands: Option<&Authority>) -> ServerConfig {
    let builder = match demands {
        None => ServerConfig::builder().with_no_client_auth(),
        Some(authority) => {
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots(authority)))
                .build()
                .unwrap();
            ServerConfig::builder().with_client_cert_verifier(verifier)
        }
    };
    let (chain, key) = chain_and_key(issued);
    builder.with_single_cert(chain, key).unwrap()
}

/// A client at this address that asks for the listener's name.
pub(crate) async fn tls_client(at: SocketAddr, config: &Arc<ClientConfig>) -> TlsClient {
    named_client(at, ADVERTISED_HOST, config).await
}

/// A client that asks for a name.
pub(crate) async fn named_client(
    at: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
) -> TlsClient {
    let Client { stream } = Client::connect(at).await;
    shake_hands(stream, name, config).await.unwrap()
}

/// Begins TLS on a connection.
pub(crate) async fn shake_hands(
    tcp: TcpStream,
    name: &str,
    config: &Arc<ClientConfig>,
) -> io::Result<TlsClient> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let connecting = TlsConnector::from(Arc::clone(config)).connect(name, tcp);
    Ok(Client {
        stream: within("a TLS handshake", connecting).await?,
    })
}

impl TlsClient {
    /// Everything up to the end, or the error that it ends with: an alert, or no `close_notify`.
    pub(crate) async fn ending(&mut self) -> io::Result<Vec<u8>> {
        let (bytes, end) = self.answered().await;
        end.map(|()| bytes)
    }

    /// What was answered before the end, and how that came.
    pub(crate) async fn answered(&mut self) -> (Vec<u8>, io::Result<()>) {
        let mut bytes = Vec::new();
        let reading = self.stream.read_to_end(&mut bytes);
        let end = within("Narrows to close", reading).await;
        (bytes, end.map(|_| ()))
    }

    /// Closes the sending side of TCP, and says nothing of it in TLS.
    pub(crate) async fn finish_tcp(&mut self) {
        self.stream.get_mut().0.shutdown().await.unwrap();
    }
}

/// TLS in front of a scripted broker, on a port of its own: what it decrypts goes on to the broker,
/// byte for byte.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    /// What became of every connection's handshake.
    pub(crate) handshakes: Arc<Mutex<Vec<Result<Seen, String>>>>,
    /// How many connections had bytes for the broker.
    passed_on: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

/// What a broker sees of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) server_name: Option<String>,
    pub(crate) has_certificate: bool,
}

impl Front {
    pub(crate) async fn of(broker: &Broker, config: ServerConfig) -> Self {
        Self::listening(
            TcpListener::bind("127.0.0.1:0").await.unwrap(),
            broker.address,
            config,
        )
    }

    pub(crate) fn listening(
        listener: TcpListener,
        broker: SocketAddr,
        config: ServerConfig,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let handshakes = Arc::new(Mutex::new(Vec::new()));
        let passed_on = Arc::new(AtomicUsize::new(0));
        let noted = Arc::clone(&handshakes);
        let counted = Arc::clone(&passed_on);
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                let noted = Arc::clone(&noted);
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    tcp.set_nodelay(true).unwrap();
                    let shaken = acceptor.accept(tcp).await;
                    noted.lock().unwrap().push(match &shaken {
                        Ok(stream) => Ok(seen(stream)),
                        Err(error) => Err(error.to_string()),
                    });
                    if let Ok(stream) = shaken {
                        pass_on(stream, broker, &counted).await;
                    }
                });
            }
        });
        Self {
            address,
            handshakes,
            passed_on,
            accepting,
        }
    }

    /// How many connections came as far as a byte for the broker.
    pub(crate) fn passed_on(&self) -> usize {
        self.passed_on.load(Relaxed)
    }

    /// What became of the handshakes so far.
    pub(crate) fn handshakes(&self) -> Vec<Result<Seen, String>> {
        self.handshakes.lock().unwrap().clone()
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn seen(stream: &server::TlsStream<TcpStream>) -> Seen {
    let (_, session) = stream.get_ref();
    Seen {
        server_name: session.server_name().map(str::to_owned),
        has_certificate: session.peer_certificates().is_some(),
    }
}

async fn pass_on(
    mut stream: server::TlsStream<TcpStream>,
    broker: SocketAddr,
    passed_on: &AtomicUsize,
) {
    let mut first = vec![0; 64 * 1024];
    let Ok(count @ 1..) = stream.read(&mut first).await else {
        return;
    };
    passed_on.fetch_add(1, Relaxed);
    let Ok(mut plain) = TcpStream::connect(broker).await else {
        return;
    };
    plain.set_nodelay(true).unwrap();
    if plain.write_all(&first[..count]).await.is_ok() {
        // However it ends, both sides are closed.
        let _ = copy_bidirectional(&mut stream, &mut plain).await;
    }
}

/// A request and a response with this many bytes of content each, and the connection at the broker.
pub(crate) async fn exchange(client: &mut TlsClient, broker: &mut Broker, bytes: usize) -> Arrival {
    let sent = request(OFFSET_COMMIT, 6, 1, &pattern(bytes));
    let answer = opaque(1, &pattern(bytes));
    client.send(&sent).await;
    let mut arrival = broker.next().await;
    assert!(arrival.first == sent, "a request of {bytes} bytes differs");
    let (got, ()) = tokio::join!(client.frame(), arrival.send(&answer));
    assert!(got == Some(answer), "a response of {bytes} bytes differs");
    arrival
}
