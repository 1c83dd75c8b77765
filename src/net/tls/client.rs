//! TLS on the way to brokers: whom Narrows trusts, the certificate that it shows, and the name that
//! it expects.

use super::{Authorities, Certificate, Identity, TlsError, provider};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme, version};
use std::fmt;
use std::sync::Arc;

/// How much of a broker's certificate is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// That an authority vouches for it, that it is valid now, and that it is for the name.
    #[default]
    Full,
    /// Nothing: whoever can get into the way reads and changes everything.
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
    pub fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// The certificate of that.
    pub fn certificate(&self) -> Option<&Certificate> {
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

/// Takes anybody's certificate: for `verify: off` only. What that costs is everything that TLS is
/// for except against somebody who can only listen: whoever gets into the way can be the broker,
/// and has every password that passes.
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
