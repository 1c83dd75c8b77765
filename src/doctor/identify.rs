//! What speaks where no Kafka answered: found out on connections of their own, by trying what else
//! it may be. Nothing here is tried on what answers as Kafka does, so that no healthy broker has a
//! line in its log from it.

use super::reach::{Reach, certificate_of, names, unverified};
use super::{Code, Trouble};
use crate::broker::{ExchangeError, ProbeError};
use crate::net::stream::Stream;
use crate::net::tls::TlsStream;
use crate::session::{DetectedProtocol, FirstBytes};
use crate::types::BrokerAddress;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// A PROXY protocol header that names nobody: the connection is the load balancer's own.
const PROXY_HEADER: &[u8] = b"PROXY UNKNOWN\r\n";
const HTTP_REQUEST: &[u8] = b"GET / HTTP/1.0\r\n\r\n";

/// What the first four bytes of an answer say, where a response's length was expected.
pub(super) fn by_first_bytes(address: &BrokerAddress, first: [u8; 4], is_tls: bool) -> Trouble {
    let detected = DetectedProtocol::detect(&first);
    let inside = if is_tls { " inside of TLS" } else { "" };
    let (code, fact) = match detected {
        _ if &first == b"HTTP" => (Code::SPEAKS_HTTP, "a web server answers"),
        DetectedProtocol::TlsAlert | DetectedProtocol::TlsHello => (
            Code::SPEAKS_TLS,
            "a TLS listener answers plaintext with an alert",
        ),
        DetectedProtocol::Ssh => (Code::SPEAKS_SSH, "an SSH server answers"),
        _ => {
            let first = FirstBytes::of(&first);
            let fact = format!("what answers at {address}{inside} is not Kafka ({first})");
            return Trouble::new(Code::SPEAKS_OTHER, fact);
        }
    };
    Trouble::new(code, format!("{fact} at {address}{inside}"))
}

/// Whether Narrows listens there, which only its own answer to HTTP tells: asked where much speaks
/// for a problem, since brokers log it.
pub(super) async fn is_narrows(reach: &Reach, address: &BrokerAddress) -> bool {
    let trouble = as_talker(reach, address).await;
    trouble.is_some_and(|trouble| trouble.code == Code::NARROWS_BROKER_AWAY)
}

/// What closed or stayed silent when it was asked in plaintext.
pub(super) async fn behind_plaintext(reach: &Reach, address: &BrokerAddress) -> Option<Trouble> {
    if let Some(trouble) = as_tls(reach, address).await {
        return Some(trouble);
    }
    if is_behind_proxy(reach, address).await {
        return Some(proxy_expected(address));
    }
    as_talker(reach, address).await
}

/// What took no part in a TLS handshake.
pub(super) async fn behind_tls(reach: &Reach, address: &BrokerAddress) -> Option<Trouble> {
    let plain = reach.in_plaintext();
    let mut reached = plain.dial(address).await.ok()?;
    match plain.versions(&mut reached.stream).await {
        Ok(_) => {
            let fact = format!("{address} is a plaintext Kafka listener, and was spoken to in TLS");
            return Some(Trouble::new(Code::SPEAKS_PLAINTEXT, fact));
        }
        Err(ProbeError::Exchange(ExchangeError::NotKafka(length))) => {
            let trouble = by_first_bytes(address, length.to_be_bytes(), false);
            // A TLS alert: TLS it is, so that the handshake's own error says more.
            return (trouble.code != Code::SPEAKS_TLS).then_some(trouble);
        }
        Err(_) => {}
    }
    if is_behind_proxy(reach, address).await {
        return Some(proxy_expected(address));
    }
    as_talker(reach, address).await
}

/// What did a TLS handshake, and then closed or stayed silent.
pub(super) async fn inside_tls(reach: &Reach, address: &BrokerAddress) -> Option<Trouble> {
    let mut reached = reach.dial(address).await.ok()?;
    let answer = words(reach, &mut reached.stream, HTTP_REQUEST).await;
    answer
        .starts_with(b"HTTP")
        .then(|| by_words(address, &answer, true))?
}

/// Whether it speaks TLS, and with which certificate.
async fn as_tls(reach: &Reach, address: &BrokerAddress) -> Option<Trouble> {
    let reached = reach.unverified().ok()?.dial(address).await.ok()?;
    let certificate = certificate_of(&reached.stream);
    let names = certificate.map_or(String::new(), |certificate| {
        format!(", with a certificate for {}", names(&certificate))
    });
    let fact = format!("{address} speaks TLS{names}, and was spoken to in plaintext");
    Some(Trouble::new(Code::SPEAKS_TLS, fact))
}

fn proxy_expected(address: &BrokerAddress) -> Trouble {
    let fact = format!("{address} answers only behind a PROXY protocol header");
    Trouble::new(Code::PROXY_PROTOCOL_EXPECTED, fact)
}

/// Whether Kafka answers once a PROXY protocol header has been sent.
async fn is_behind_proxy(reach: &Reach, address: &BrokerAddress) -> bool {
    let plain = reach.in_plaintext();
    let Ok(mut reached) = plain.dial(address).await else {
        return false;
    };
    let sent = timeout(reach.timeout, reached.stream.write_all(PROXY_HEADER)).await;
    if !matches!(sent, Ok(Ok(()))) {
        return false;
    }
    let mut stream = match (reach.tls().is_some(), reached.stream) {
        (true, Stream::Plain(tcp)) => {
            let Ok(tls) = unverified(reach.tls()) else {
                return false;
            };
            let handshake = TlsStream::connect(tcp, &address.host, &tls, &reach.security.buffers);
            match timeout(reach.timeout, handshake).await {
                Ok(Ok(tls)) => Stream::Tls(Box::new(tls)),
                _ => return false,
            }
        }
        (_, stream) => stream,
    };
    reach.versions(&mut stream).await.is_ok()
}

/// What says something when it is spoken to as a web server is, or of itself.
async fn as_talker(reach: &Reach, address: &BrokerAddress) -> Option<Trouble> {
    let mut reached = reach.in_plaintext().dial(address).await.ok()?;
    let answer = words(reach, &mut reached.stream, HTTP_REQUEST).await;
    by_words(address, &answer, false)
}

/// What an answer to an HTTP request says. Narrows has one of its own, by which it is known.
fn by_words(address: &BrokerAddress, answer: &[u8], is_tls: bool) -> Option<Trouble> {
    if answer.starts_with(DetectedProtocol::Http.answer()) {
        let fact = format!("Narrows listens at {address}, and gets no answer from the broker");
        return Some(Trouble::new(Code::NARROWS_BROKER_AWAY, fact));
    }
    let first = answer.first_chunk()?;
    Some(by_first_bytes(address, *first, is_tls))
}

/// As much of an answer as tells Narrows from a web server.
const WORDS_BYTES_MAX: usize = 1_024;

/// What comes when `said` has been sent: the whole answer of whoever speaks HTTP, of others the
/// beginning.
async fn words(reach: &Reach, stream: &mut Stream, said: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    let talk = async {
        stream.write_all(said).await?;
        stream.flush().await?;
        while answer.len() < WORDS_BYTES_MAX {
            let is_told = answer.len() >= 4 && !answer.starts_with(b"HTTP");
            if is_told || stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // Whatever has come by the end of the time is what there is.
    let _ = timeout(reach.timeout, talk).await;
    answer
}
