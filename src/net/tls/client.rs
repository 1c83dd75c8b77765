//! TLS on the way to brokers: whom Narrows trusts, the certificate that it shows, and the name that
//! it expects.

use super::{Authorities, Certificate, Identity, TlsError, provider};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    version,
};
use std::fmt;
use std::sync::Arc;

/// How much of a broker's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// That an authority vouches for it, that it is valid now, and that it is for the name.
    #[default]
    Full,
    /// That an authority vouches for it and that it is valid now; for which name it is does not
    /// matter. For certificates without subject alternative names, and authorities that vouch for
    /// nobody but the brokers.
    Chain,
    /// Nothing: anyone who can intercept the connection reads and changes everything.
    Off,
}

/// TLS as Narrows begins it with brokers. Cheap to clone; equal when it would trust, show and
/// expect the same.
#[derive(Clone)]
pub struct ClientTls {
    authorities: Authorities,
    identity: Option<Identity>,
    server_name: Option<Arc<str>>,
    verify: Verify,
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// `identity` is what Narrows shows to brokers that ask; `server_name` is the name that their
    /// certificates have to be for, where it isn't the host that is dialled.
    pub fn new(
        authorities: Authorities,
        identity: Option<Identity>,
        server_name: Option<Arc<str>>,
        verify: Verify,
    ) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let builder = match verify {
            Verify::Full => builder.with_root_certificates(Arc::clone(authorities.roots())),
            Verify::Chain => {
                let chain = ChainVerification::new(Arc::clone(authorities.roots()))?;
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(chain))
            }
            Verify::Off => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(NoVerification::new())),
        };
        let config = match &identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let shown = SingleCertAndKey::from(Arc::clone(identity.certified()));
                builder.with_client_cert_resolver(Arc::new(shown))
            }
        };
        Ok(Self {
            authorities,
            identity,
            server_name,
            verify,
            config: Arc::new(config),
        })
    }

    /// What every connection is begun with.
    pub fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// The name that brokers' certificates have to be for, where it isn't the host that is dialled.
    pub fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// How much of a broker's certificate is verified.
    pub fn verify(&self) -> Verify {
        self.verify
    }

    /// Whom Narrows trusts to vouch for brokers.
    pub fn authorities(&self) -> &Authorities {
        &self.authorities
    }

    /// What Narrows shows to brokers that ask.
    pub(crate) fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The certificate of that.
    pub(crate) fn certificate(&self) -> Option<&Certificate> {
        self.identity.as_ref().map(Identity::certificate)
    }
}

impl PartialEq for ClientTls {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            authorities,
            identity,
            server_name,
            verify,
            ..
        } = self;
        (authorities, identity, server_name, verify)
            == (
                &other.authorities,
                &other.identity,
                &other.server_name,
                &other.verify,
            )
    }
}

impl Eq for ClientTls {}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            authorities,
            identity,
            server_name,
            verify,
            ..
        } = self;
        f.debug_struct("ClientTls")
            .field("authorities", authorities)
            .field("identity", identity)
            .field("server_name", server_name)
            .field("verify", verify)
            .finish()
    }
}

/// All that is verified by default, but the name: for `verify: chain`. Everyone for whom one of the
/// authorities vouches can be the broker, which is as safe as that is a small circle.
#[derive(Debug)]
struct ChainVerification(Arc<WebPkiServerVerifier>);

impl ChainVerification {
    fn new(roots: Arc<RootCertStore>) -> Result<Self, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider()).build();
        verifier.map(Self).map_err(TlsError::Brokers)
    }
}

impl ServerCertVerifier for ChainVerification {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        let verified =
            self.0
                .verify_server_cert(certificate, intermediates, name, ocsp_response, now);
        match verified {
            // The name is compared last, once the chain has been verified.
            Err(Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })) => {
                Ok(ServerCertVerified::assertion())
            }
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Takes anybody's certificate: for `verify: off` only. What that costs is everything that TLS is
/// for except against somebody who can only listen: anyone who can intercept the connection can be
/// the broker, and has every password that passes.
///
/// That the peer holds the key of the certificate that it shows is still checked; it only says that
/// it is one peer.
#[derive(Debug)]
struct NoVerification {
    algorithms: WebPkiSupportedAlgorithms,
}

impl NoVerification {
    fn new() -> Self {
        Self {
            algorithms: provider().signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::HandshakeError;
    use rustls::pki_types::pem::PemObject;

    /// X.509 version 1: `openssl x509 -req -signkey`, for CN=kafka-0.
    const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBHzCBxwIUZEtIZQguOk5TkLdyPFcYwOBPLcQwCgYIKoZIzj0EAwIwEjEQMA4G
A1UEAwwHa2Fma2EtMDAgFw0yNjExMjgyMTE1NTVaGA8yMTI2MTEwNDIxMTU1NVow
EjEQMA4GA1UEAwwHa2Fma2EtMDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMjx
VS0n5F7tnvHQC786IVMngND78E7M5l4CCLd5/gZR8y22oVo5FsWJJ7oX09cglx54
MLbzPbSPgiRWBkHc7PMwCgYIKoZIzj0EAwIDRwAwRAIgF6MC/OsiPS0+CRxWZncp
E0zwrvpN95rw7ParzKBjr8sCIET6lYmSWyNE+i3OHxqFVF91mWT1t3S50CLmgoQz
fvPs
-----END CERTIFICATE-----
";

    #[test]
    fn a_certificate_of_version_1_is_named_with_the_cure() {
        let certificate = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let verifier = ChainVerification::new(Arc::new(roots)).unwrap();
        let name = ServerName::try_from("kafka-0").unwrap();
        let error = verifier
            .verify_server_cert(&certificate, &[], &name, &[], UnixTime::now())
            .unwrap_err();
        let error = HandshakeError::Begin(error);
        assert_eq!(error.code(), "certificate_version");
        let text = error.to_string();
        assert!(text.contains("X.509 version 1"), "{text}");
        assert!(text.contains("Issue it as version 3"), "{text}");
        assert!(!text.contains("Other("), "{text}");
    }
}
