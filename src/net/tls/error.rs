//! Why a handshake failed, in words that name the side that has to change something.

use crate::types::Severity;
use rustls::{AlertDescription, CertificateError, InvalidMessage, PeerIncompatible};
use std::fmt;
use std::io;
use tokio::net::TcpStream;

/// Why a TLS handshake was not completed.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The protocol's own error. The alert that says so has been sent; the connection is still
    /// there, so that it arrives.
    Tls(rustls::Error, TcpStream),
    /// rustls can't begin.
    Begin(rustls::Error),
    /// The other side has closed in the middle.
    Closed,
    /// The connection failed.
    Io(io::Error),
    /// The host that was dialled, or the configured `server_name`, is no name that a certificate
    /// can have.
    Name(String),
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self::Begin(error)
    }
}

impl HandshakeError {
    /// Every code that there is.
    pub(crate) const CODES: [&'static str; 16] = [
        "certificate_required",
        "certificate_version",
        "certificate_expired",
        "certificate_not_yet_valid",
        "certificate_unknown_issuer",
        "certificate_wrong_name",
        "certificate_purpose",
        "certificate_invalid",
        "alert_received",
        "incompatible",
        "not_tls",
        "malformed",
        "other",
        "closed",
        "connection_failed",
        "name",
    ];

    /// A code for metrics: a closed set.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Tls(error, _) | Self::Begin(error) => code(error),
            Self::Closed => "closed",
            Self::Io(_) => "connection_failed",
            Self::Name(_) => "name",
        }
    }

    /// Whether somebody may have to act. Whoever closes in the middle of a handshake has its reason
    /// in its own log, or looks whether the port is alive.
    pub(crate) fn severity(&self) -> Severity {
        match self {
            Self::Closed | Self::Io(_) => Severity::Routine,
            Self::Tls(..) | Self::Begin(_) | Self::Name(_) => Severity::Warning,
        }
    }

    /// What an error of a TLS connection that stood already was: in TLS 1.3 a client learns only
    /// when it reads that its certificate was refused, or that one was demanded.
    pub(crate) fn behind(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// Whether the other side demands a certificate and was shown none.
    pub(crate) fn is_certificate_demanded(&self) -> bool {
        use AlertDescription::{AccessDenied, CertificateRequired};
        let (Self::Tls(error, _) | Self::Begin(error)) = self else {
            return false;
        };
        let demanded = [CertificateRequired, AccessDenied];
        matches!(error, rustls::Error::AlertReceived(alert) if demanded.contains(alert))
    }

    /// Whether a certificate without any subject alternative name was shown.
    pub(crate) fn is_without_names(&self) -> bool {
        use CertificateError::NotValidForNameContext as NotValid;
        let (Self::Tls(error, _) | Self::Begin(error)) = self else {
            return false;
        };
        matches!(error, rustls::Error::InvalidCertificate(NotValid { presented, .. })
            if presented.is_empty())
    }

    /// The connection, where an alert is on its way on it.
    pub(crate) fn into_connection(self) -> Option<TcpStream> {
        if let Self::Tls(_, tcp) = self {
            Some(tcp)
        } else {
            None
        }
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error, _) | Self::Begin(error) => f.write_str(&text(error)),
            Self::Closed => f.write_str(
                "the other side closed in the middle of it, as it does when it refuses what it \
                 saw, or when its port does not speak TLS",
            ),
            Self::Io(error) => error.fmt(f),
            Self::Name(name) => write!(
                f,
                "`{name}` is not a name that a certificate can have: set server_name"
            ),
        }
    }
}

impl std::error::Error for HandshakeError {}

/// What rustls says of a connection that stood already: in TLS 1.3 a client learns only then that
/// its certificate was refused.
pub(super) fn refused(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, HandshakeError::Begin(error))
}

/// What happened and what is probably to be done.
fn text(error: &rustls::Error) -> String {
    if is_version_1(error) {
        return "the other side's certificate is X.509 version 1, as `openssl x509 -req` makes it \
                without -extfile: it has no place for names and uses, and is not accepted here. \
                Issue it as version 3, with its subject alternative names in an -extfile"
            .to_owned();
    }
    format!("{error}{}", hint(error))
}

/// rustls keeps this one as an error of the crate below it, which only its text tells.
fn is_version_1(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(other))
        if format!("{other:?}").contains("UnsupportedCertVersion"))
}

fn code(error: &rustls::Error) -> &'static str {
    use rustls::Error as E;
    match error {
        E::NoCertificatesPresented => "certificate_required",
        E::InvalidCertificate(_) if is_version_1(error) => "certificate_version",
        E::InvalidCertificate(error) => certificate_code(error),
        E::AlertReceived(_) => "alert_received",
        E::PeerIncompatible(_) | E::NoApplicationProtocol => "incompatible",
        E::InvalidMessage(InvalidMessage::InvalidContentType) => "not_tls",
        E::InvalidMessage(_) | E::PeerMisbehaved(_) | E::InappropriateMessage { .. } => "malformed",
        E::InappropriateHandshakeMessage { .. } | E::DecryptError | E::PeerSentOversizedRecord => {
            "malformed"
        }
        _ => "other",
    }
}

fn certificate_code(error: &CertificateError) -> &'static str {
    use CertificateError as C;
    match error {
        C::Expired | C::ExpiredContext { .. } => "certificate_expired",
        C::NotValidYet | C::NotValidYetContext { .. } => "certificate_not_yet_valid",
        C::UnknownIssuer => "certificate_unknown_issuer",
        C::NotValidForName | C::NotValidForNameContext { .. } => "certificate_wrong_name",
        C::InvalidPurpose | C::InvalidPurposeContext { .. } => "certificate_purpose",
        _ => "certificate_invalid",
    }
}

/// What is probably to be done, where rustls's own words don't say it.
fn hint(error: &rustls::Error) -> &'static str {
    use AlertDescription as A;
    use CertificateError as C;
    use rustls::Error as E;
    match error {
        E::InvalidCertificate(C::UnknownIssuer) => {
            ": no authority that is trusted here (the ca file, or the system's where none is set) \
             has signed it, or an intermediate certificate is missing from what the other side \
             sends"
        }
        E::InvalidCertificate(C::Expired | C::ExpiredContext { .. }) => {
            ": renew it, and look at the clocks of both hosts"
        }
        E::InvalidCertificate(C::NotValidForNameContext { presented, .. })
            if presented.is_empty() =>
        {
            ": it has no subject alternative name, and the common name does not count: issue it \
             with its names, or set tls.verify to chain, which leaves names out"
        }
        E::InvalidCertificate(C::NotValidForName | C::NotValidForNameContext { .. }) => {
            ": dial a name that it has, or set tls.server_name to one"
        }
        E::InvalidCertificate(C::InvalidPurpose | C::InvalidPurposeContext { .. }) => {
            ": it is for the other side of a connection (extended key usage)"
        }
        E::NoCertificatesPresented => {
            ": the listener demands one (client_auth.mode: required), set the client's keystore"
        }
        E::AlertReceived(
            A::UnknownCA | A::BadCertificate | A::CertificateUnknown | A::CertificateExpired,
        ) => {
            ": the other side does not trust the certificate that it was shown; does its \
             truststore have the authority, and does the certificate have the name that was \
             dialled?"
        }
        E::AlertReceived(A::CertificateRequired | A::AccessDenied) => {
            ": the other side demands a certificate"
        }
        E::AlertReceived(A::HandshakeFailure | A::ProtocolVersion) => {
            ": the two sides have no version or cipher suite in common, or a certificate is missing"
        }
        E::AlertReceived(A::UnrecognisedName) => {
            ": the other side does not know the name that was asked for"
        }
        E::PeerIncompatible(
            PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => ": the other side is too old, it speaks neither TLS 1.2 nor 1.3",
        E::InvalidMessage(InvalidMessage::InvalidContentType) => {
            ": what answers there does not speak TLS; is it a plaintext listener?"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_is_demanded_too_late_for_the_handshake_is_named_all_the_same() {
        let error = refused(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired,
        ));
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(
            error
                .to_string()
                .ends_with(": the other side demands a certificate"),
            "{error}"
        );
    }
}
