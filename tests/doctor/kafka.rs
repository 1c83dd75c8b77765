//! A scripted Kafka: it speaks what doctor asks, as the `kafka-protocol` crate writes it, and lies
//! where a test wants it to.

use crate::peers::{accept, peer};
use crate::pki::{Authority, Issued};
use bytes::{Buf, Bytes};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, FetchResponse, MetadataResponse, ProduceRequest,
    ProduceResponse, RequestHeader, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a broker says.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) cluster_id: &'static str,
    /// Node id, host and port; the address of the broker itself where the port is 0.
    pub(crate) brokers: Vec<(i32, String, i32)>,
    /// Which node it is; older than 4.4 if none.
    pub(crate) node: Option<i32>,
    /// Mechanisms, user and password.
    pub(crate) login: Option<(&'static [&'static str], &'static str, &'static str)>,
    /// A PROXY protocol header must come first.
    pub(crate) expects_proxy_header: bool,
    /// The api keys that were asked for.
    pub(crate) asked: Arc<Mutex<Vec<i16>>>,
    /// What is fetched is not what was written.
    pub(crate) loses_records: bool,
    /// What it answers to requests of one kind is the truth up to a point, and these bytes from
    /// there on.
    pub(crate) garbled: Option<Garbled>,
    /// What it says to a login that it refuses.
    pub(crate) refusal: &'static str,
    /// It has ApiVersions v0 to 2 alone, as brokers before 2.4 do.
    pub(crate) is_old: bool,
    /// It has no Metadata.
    pub(crate) is_controller: bool,
    pub(crate) topic: Option<&'static str>,
    /// What has been written to the topic; `None` where writing is not allowed.
    pub(crate) records: Arc<Mutex<Option<Vec<u8>>>>,
}

/// See [`Script::garbled`].
#[derive(Clone, Debug)]
pub(crate) struct Garbled {
    pub(crate) api_key: i16,
    /// So many bytes of the true body stay, or all.
    pub(crate) kept: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            cluster_id: "the-cluster",
            brokers: vec![(1, "127.0.0.1".to_owned(), 0)],
            node: None,
            login: None,
            expects_proxy_header: false,
            asked: Arc::default(),
            loses_records: false,
            garbled: None,
            refusal: "Invalid username or password",
            is_old: false,
            is_controller: false,
            topic: None,
            records: Arc::new(Mutex::new(Some(Vec::new()))),
        }
    }
}

impl Script {
    pub(crate) async fn start(self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.start_on(listener);
        address
    }

    pub(crate) fn start_on(self, listener: TcpListener) {
        let script = Arc::new(self);
        accept(listener, move |tcp| {
            let script = Arc::clone(&script);
            async move {
                let own = tcp.local_addr().unwrap();
                serve(tcp, &script, own).await;
            }
        });
    }

    /// With TLS.
    pub(crate) async fn start_tls(self, config: ServerConfig) -> SocketAddr {
        let script = Arc::new(self);
        let acceptor = TlsAcceptor::from(Arc::new(config));
        peer(move |tcp| {
            let (script, acceptor) = (Arc::clone(&script), acceptor.clone());
            async move {
                let own = tcp.local_addr().unwrap();
                if let Ok(tls) = acceptor.accept(tcp).await {
                    serve(tls, &script, own).await;
                }
            }
        })
        .await
    }
}

/// A TLS server that shows a certificate, and demands one where an authority is given.
pub(crate) fn server_config(issued: &Issued, demands: Option<&Authority>) -> ServerConfig {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let builder = ServerConfig::builder();
    let builder = match demands {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(der(&authority.pem())).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let key = PrivateKeyDer::from_pem_slice(issued.key.serialize_pem().as_bytes()).unwrap();
    let chain = vec![der(&issued.certificate)];
    builder.with_single_cert(chain, key).unwrap()
}

struct Session {
    has_entered: bool,
    has_asked_for_versions: bool,
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &Script, own: SocketAddr) {
    if script.expects_proxy_header {
        let mut header = [0; b"PROXY UNKNOWN\r\n".len()];
        let read = stream.read_exact(&mut header).await;
        if read.is_err() || !header.starts_with(b"PROXY ") {
            return;
        }
    }
    let mut session = Session {
        has_entered: script.login.is_none(),
        has_asked_for_versions: false,
    };
    while let Ok(length) = stream.read_i32().await {
        let Ok(length @ 8..=1_000_000) = usize::try_from(length) else {
            return;
        };
        let mut frame = vec![0; length];
        if stream.read_exact(&mut frame).await.is_err() {
            return;
        }
        let Some(answer) = answer(Bytes::from(frame), script, own, &mut session) else {
            return;
        };
        let _ = stream.write_i32(i32::try_from(answer.len()).unwrap()).await;
        if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

const API_VERSIONS: i16 = 18;
const SASL_HANDSHAKE: i16 = 17;
const SASL_AUTHENTICATE: i16 = 36;
const CORRELATION_ID_BYTES: usize = 4;

/// The response, or `None` to close.
fn answer(
    mut frame: Bytes,
    script: &Script,
    own: SocketAddr,
    session: &mut Session,
) -> Option<Vec<u8>> {
    let (key, version) = (frame.clone().get_i16(), frame.slice(2..).get_i16());
    script.asked.lock().unwrap().push(key);
    let header_version = if key == API_VERSIONS && version >= 3 {
        2
    } else {
        1
    };
    let header = RequestHeader::decode(&mut frame, header_version).unwrap();
    let mut out = header.correlation_id.to_be_bytes().to_vec();
    let is_of_login = [API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE].contains(&key);
    if !session.has_entered && !is_of_login {
        return None;
    }
    // Kafka's SaslServerAuthenticator takes one before the handshake.
    let is_too_new = key == API_VERSIONS && script.is_old && version > 2;
    if key == API_VERSIONS && !session.has_entered && !is_too_new {
        if session.has_asked_for_versions {
            return None;
        }
        session.has_asked_for_versions = true;
    }
    match key {
        API_VERSIONS if is_too_new => out.extend_from_slice(&[0, 35, 0, 0, 0, 0]),
        API_VERSIONS if version == 5 => identity(&frame, script, &mut out),
        API_VERSIONS => versions(script).encode(&mut out, version).unwrap(),
        SASL_HANDSHAKE => handshake(&mut frame, script)
            .encode(&mut out, version)
            .unwrap(),
        SASL_AUTHENTICATE => {
            let response = authenticate(&mut frame, script, session);
            response.encode(&mut out, version).unwrap();
        }
        3 => metadata(script, own).encode(&mut out, version).unwrap(),
        0 => produce(&mut frame, script)
            .encode(&mut out, version)
            .unwrap(),
        1 => fetch(script).encode(&mut out, version).unwrap(),
        _ => return None,
    }
    if let Some(garbled) = script
        .garbled
        .as_ref()
        .filter(|garbled| garbled.api_key == key)
    {
        out.truncate(CORRELATION_ID_BYTES + garbled.kept);
        out.extend_from_slice(&garbled.bytes);
    }
    Some(out)
}

/// UNSUPPORTED_VERSION in the form of v0, or whether it is the node that is meant: the last four
/// bytes before the tags.
fn identity(body: &Bytes, script: &Script, out: &mut Vec<u8>) {
    let meant = body.slice(body.len() - 5..).get_i32();
    match script.node {
        None => out.extend_from_slice(&[0, 35, 0, 0, 0, 0]),
        Some(node) if node == meant => versions(script).encode(out, 3).unwrap(),
        Some(_) => {
            let response = ApiVersionsResponse::default().with_error_code(129);
            response.encode(out, 3).unwrap();
        }
    }
}

fn versions(script: &Script) -> ApiVersionsResponse {
    let api = |(key, min, max)| {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
    };
    let third = if script.is_controller { 59 } else { 3 };
    let apis = [
        (0, 0, 11),
        (1, 4, 17),
        (third, 0, 12),
        (17, 0, 1),
        (18, 0, 4),
        (36, 0, 2),
    ];
    ApiVersionsResponse::default().with_api_keys(apis.map(api).into())
}

fn handshake(body: &mut Bytes, script: &Script) -> SaslHandshakeResponse {
    let asked = SaslHandshakeRequest::decode(body, 1).unwrap().mechanism;
    let Some((mechanisms, _, _)) = script.login else {
        return SaslHandshakeResponse::default().with_error_code(34);
    };
    let is_offered = mechanisms.contains(&&*asked);
    let offered = mechanisms.iter().map(|name| text(name));
    SaslHandshakeResponse::default()
        .with_error_code(if is_offered { 0 } else { 33 })
        .with_mechanisms(offered.collect())
}

/// PLAIN only: what SCRAM has to be is in the vectors of `src/auth`.
fn authenticate(
    body: &mut Bytes,
    script: &Script,
    session: &mut Session,
) -> SaslAuthenticateResponse {
    let token = SaslAuthenticateRequest::decode(body, 0).unwrap().auth_bytes;
    let (_, user, password) = script.login.unwrap();
    session.has_entered = token == format!("\0{user}\0{password}");
    if session.has_entered {
        return SaslAuthenticateResponse::default();
    }
    SaslAuthenticateResponse::default()
        .with_error_code(58)
        .with_error_message(Some(text(script.refusal)))
}

fn metadata(script: &Script, own: SocketAddr) -> MetadataResponse {
    let brokers = script.brokers.iter().map(|(node, host, port)| {
        let port = if *port == 0 {
            i32::from(own.port())
        } else {
            *port
        };
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(*node))
            .with_host(text(host))
            .with_port(port)
    });
    let topics = script.topic.map(|name| {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(script.brokers[0].0))
            .with_replica_nodes(vec![BrokerId(1)])
            .with_isr_nodes(vec![BrokerId(1)]);
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(text(name))))
            .with_partitions(vec![partition])
    });
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(script.cluster_id)))
        .with_controller_id(BrokerId(
            script.brokers.first().map_or(-1, |broker| broker.0),
        ))
        .with_topics(topics.into_iter().collect())
}

/// TOPIC_AUTHORIZATION_FAILED where writing is not allowed.
fn produce(body: &mut Bytes, script: &Script) -> ProduceResponse {
    let request = ProduceRequest::decode(body, 3).unwrap();
    let batch = request.topic_data[0].partition_data[0].records.clone();
    let mut records = script.records.lock().unwrap();
    let error = match records.as_mut() {
        None => 29,
        Some(records) => {
            *records = batch.unwrap().to_vec();
            0
        }
    };
    let partition = PartitionProduceResponse::default()
        .with_error_code(error)
        .with_base_offset(42);
    let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
    ProduceResponse::default().with_responses(vec![topic])
}

fn fetch(script: &Script) -> FetchResponse {
    let mut records = script.records.lock().unwrap().clone().unwrap();
    if script.loses_records {
        records.clear();
    }
    let partition = PartitionData::default()
        .with_aborted_transactions(Some(Vec::new()))
        .with_records(Some(records.into()));
    let topic = FetchableTopicResponse::default().with_partitions(vec![partition]);
    FetchResponse::default().with_responses(vec![topic])
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
