//! Why a connection could not be opened, or gave no answer: each error of [`Reach`] as one sentence
//! with a code, after looking at what speaks there instead of Kafka.

use super::reach::{Reach, Reached, TRIED_BYTES_MAX, certificate_of, names};
use super::{Code, Trouble, identify};
use crate::app::validity_text;
use crate::broker::dial::{DialFailure, Refusal};
use crate::broker::{DialError, ExchangeError, ProbeError};
use crate::net::tls::{Certificate, ClientTls, HandshakeError};
use crate::observe::text::{Shown, shown};
use crate::protocol::doctor_requests::Offered;
use crate::types::BrokerAddress;
use std::io;

impl Reach {
    /// Resolves, dials and speaks TLS.
    pub(super) async fn open(&self, address: &BrokerAddress) -> Result<Reached, Trouble> {
        match self.dial(address).await {
            Ok(reached) => Ok(reached),
            Err(error) => Err(self.undialled(address, error).await),
        }
    }

    /// Opens, and has the other side say what it can do. What does not answer as Kafka does is
    /// looked at until it is known what it is.
    pub(super) async fn greet(
        &self,
        address: &BrokerAddress,
    ) -> Result<(Reached, Offered), Trouble> {
        let mut reached = self.open(address).await?;
        match self.versions(&mut reached.stream).await {
            Ok(offered) => Ok((reached, offered)),
            Err(error) => Err(self.unanswered(address, error).await),
        }
    }

    /// Why there is no connection. Where several addresses were tried, the last one counts, which
    /// has got as far as any.
    async fn undialled(&self, address: &BrokerAddress, error: DialError) -> Trouble {
        match error.failure {
            DialFailure::Resolve(error) => unresolved(address, &error),
            DialFailure::RoutingLoop(peer) => {
                Trouble::new(Code::CONNECT_FAILED, format!("{peer} leads back here"))
            }
            DialFailure::Connect(attempts) => {
                let tried: Vec<_> = attempts.iter().map(|(peer, _)| peer.to_string()).collect();
                let tried = shown(&tried.join(", "), TRIED_BYTES_MAX).to_string();
                match attempts.into_iter().next_back() {
                    Some((_, Refusal::Tcp(error))) => refused(address, &tried, &error),
                    Some((_, Refusal::TlsTimeout(_))) => {
                        let fact = format!("{address} takes no part in a TLS handshake");
                        let otherwise = Trouble::new(Code::TLS_FAILED, fact);
                        identify::behind_tls(self, address)
                            .await
                            .unwrap_or(otherwise)
                    }
                    Some((_, Refusal::Tls(error))) => self.unshaken(address, &error).await,
                    None => Trouble::new(Code::DNS_NOT_FOUND, format!("{address} has no address")),
                }
            }
        }
    }

    /// Why the TLS handshake failed; the certificate is looked at on a second connection.
    async fn unshaken(&self, address: &BrokerAddress, error: &HandshakeError) -> Trouble {
        let code = match error.code() {
            "certificate_expired" => Code::TLS_EXPIRED,
            "certificate_not_yet_valid" => Code::TLS_NOT_YET_VALID,
            "certificate_unknown_issuer" => Code::TLS_UNKNOWN_ISSUER,
            "certificate_wrong_name" if error.is_without_names() => Code::TLS_NO_NAMES,
            "certificate_wrong_name" => Code::TLS_NAME_MISMATCH,
            "certificate_purpose" | "certificate_version" | "certificate_invalid" => {
                Code::TLS_CERTIFICATE_INVALID
            }
            "incompatible" => Code::TLS_INCOMPATIBLE,
            "name" => Code::TLS_NAME_IMPOSSIBLE,
            "alert_received" if error.is_certificate_demanded() => {
                Code::TLS_CLIENT_CERTIFICATE_REQUIRED
            }
            "alert_received" => Code::TLS_REFUSED,
            _ => {
                let fact = format!("the TLS handshake with {address} failed ({error})");
                let otherwise = Trouble::new(Code::TLS_FAILED, fact);
                return identify::behind_tls(self, address)
                    .await
                    .unwrap_or(otherwise);
            }
        };
        let certificate = self.certificate(address).await;
        let fact = self.handshake_fact(address, code, certificate.as_ref(), error);
        Trouble::new(code, fact)
    }

    fn handshake_fact(
        &self,
        address: &BrokerAddress,
        code: Code,
        certificate: Option<&Certificate>,
        error: &HandshakeError,
    ) -> String {
        let Some(certificate) = certificate else {
            return format!("the TLS handshake with {address} failed ({error})");
        };
        let expected = self.tls().and_then(ClientTls::server_name);
        let expected = expected.unwrap_or(&address.host);
        let subject = Shown::name(&certificate.subject);
        let validity = validity_text(certificate, crate::app::unix_seconds());
        match code {
            Code::TLS_NAME_MISMATCH => format!(
                "the certificate that {address} shows is not for {expected} but for {}",
                names(certificate)
            ),
            Code::TLS_NO_NAMES => {
                format!("the certificate that {address} shows ({subject}) has no name")
            }
            Code::TLS_UNKNOWN_ISSUER => format!(
                "no authority of {} has signed the certificate that {address} shows ({subject}, \
                 issued by {})",
                self.trusted(),
                Shown::name(&certificate.issuer)
            ),
            Code::TLS_EXPIRED | Code::TLS_NOT_YET_VALID => {
                format!("the certificate that {address} shows ({subject}) is not valid: {validity}")
            }
            _ => format!("the TLS handshake with {address} failed ({error})"),
        }
    }

    fn trusted(&self) -> String {
        let source = self.tls().map(|tls| tls.authorities().source().to_string());
        source.unwrap_or_default()
    }

    /// The certificate that is shown to whoever takes any.
    async fn certificate(&self, address: &BrokerAddress) -> Option<Certificate> {
        let reached = self.unverified().ok()?.dial(address).await.ok()?;
        certificate_of(&reached.stream)
    }

    /// Why a connection that stands gave no versions.
    pub(super) async fn unanswered(&self, address: &BrokerAddress, error: ProbeError) -> Trouble {
        match &error {
            ProbeError::Exchange(ExchangeError::NotKafka(length)) => {
                let first = length.to_be_bytes();
                return identify::by_first_bytes(address, first, self.tls().is_some());
            }
            ProbeError::Exchange(ExchangeError::Closed | ExchangeError::Timeout(_)) => {}
            ProbeError::Exchange(ExchangeError::Io(io)) => {
                if let Some(trouble) = refused_late(address, io) {
                    return trouble;
                }
            }
            ProbeError::Exchange(ExchangeError::NotAsked(_))
            | ProbeError::WrongBroker
            | ProbeError::Malformed(_) => {
                let fact = format!("{address} answers ApiVersions, but not as Kafka ({error})");
                return Trouble::new(Code::SPEAKS_OTHER, fact);
            }
        }
        let found = match self.tls() {
            Some(_) => identify::inside_tls(self, address).await,
            None => identify::behind_plaintext(self, address).await,
        };
        found.unwrap_or_else(|| match &error {
            ProbeError::Exchange(ExchangeError::Timeout(timeout)) => Trouble::new(
                Code::SILENT,
                format!("{address} accepts connections and says nothing within {timeout:?}"),
            ),
            ProbeError::Exchange(ExchangeError::Io(error)) => Trouble::new(
                Code::CONNECT_FAILED,
                format!("the connection to {address} failed ({error})"),
            ),
            _ => Trouble::new(
                Code::CLOSED,
                format!("{address} accepts connections and closes them without an answer"),
            ),
        })
    }
}

/// In TLS 1.3 a client learns only now that it should have shown a certificate, or another one.
pub(super) fn refused_late(address: &BrokerAddress, error: &io::Error) -> Option<Trouble> {
    let handshake = HandshakeError::behind(error)?;
    let code = if handshake.is_certificate_demanded() {
        Code::TLS_CLIENT_CERTIFICATE_REQUIRED
    } else {
        Code::TLS_REFUSED
    };
    let fact = format!("{address} ended TLS after the handshake ({handshake})");
    Some(Trouble::new(code, fact))
}

pub(super) fn unresolved(address: &BrokerAddress, error: &io::Error) -> Trouble {
    let host = &address.host;
    if error.kind() == io::ErrorKind::TimedOut {
        return Trouble::new(
            Code::DNS_TIMEOUT,
            format!("no resolver answered for {host}"),
        );
    }
    Trouble::new(
        Code::DNS_NOT_FOUND,
        format!("{host} has no address here ({error})"),
    )
}

fn refused(address: &BrokerAddress, tried: &str, error: &io::Error) -> Trouble {
    use io::ErrorKind as K;
    let at = match address.to_string() == tried {
        true => tried.to_owned(),
        false => format!("{address} ({tried})"),
    };
    match error.kind() {
        K::ConnectionRefused => {
            Trouble::new(Code::CONNECT_REFUSED, format!("nobody listens at {at}"))
        }
        K::TimedOut => Trouble::new(
            Code::CONNECT_TIMEOUT,
            format!("nobody answers at {at} within the time for one step"),
        ),
        K::HostUnreachable | K::NetworkUnreachable => Trouble::new(
            Code::CONNECT_UNREACHABLE,
            format!("there is no way from here to {at} ({error})"),
        ),
        _ => Trouble::new(
            Code::CONNECT_FAILED,
            format!("no connection to {at} can be opened ({error})"),
        ),
    }
}
