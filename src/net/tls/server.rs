//! TLS of a listener: its certificates, chosen by the name that the client asks for, and whether
//! clients have to show one.

use super::{Authorities, Certificate, Identity, TlsError, provider};
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use std::fmt;
use std::sync::Arc;

/// Whether clients have to show a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    #[default]
    None,
    /// They are asked, and one that has none gets in all the same; one that shows a wrong one does
    /// not.
    Requested(Authorities),
    /// Only who shows one of these authorities gets in.
    Required(Authorities),
}

/// TLS as a listener ends it. Cheap to clone; equal when certificates, keys and client authorities
/// are.
#[derive(Clone)]
pub struct ServerTls {
    identities: Arc<[Identity]>,
    client_auth: ClientAuth,
    config: Arc<ServerConfig>,
}

impl ServerTls {
    /// The first of the identities is shown where no other fits the name that a client asks for.
    pub fn new(identities: Vec<Identity>, client_auth: ClientAuth) -> Result<Self, TlsError> {
        if identities.is_empty() {
            return Err(TlsError::NoIdentity);
        }
        let identities: Arc<[Identity]> = identities.into();
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder
            .with_client_cert_verifier(verifier(&client_auth)?)
            .with_cert_resolver(Arc::new(SniResolver {
                identities: Arc::clone(&identities),
            }));
        // A session that is resumed is not verified again. The keys of its ticket live as long as
        // this value, and so do the sessions in its cache: after a reload with other certificates
        // or authorities, nobody resumes past them.
        config.ticketer = Ticketer::new()?;
        Ok(Self {
            identities,
            client_auth,
            config: Arc::new(config),
        })
    }

    /// What every connection is accepted with.
    pub fn config(&self) -> &Arc<ServerConfig> {
        &self.config
    }

    /// The certificates that clients may be shown, in the order of the configuration.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.identities.iter().map(Identity::certificate)
    }

    /// The same with their chains.
    pub(crate) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    /// Whether clients have to show a certificate.
    pub(crate) fn client_auth(&self) -> &ClientAuth {
        &self.client_auth
    }
}

fn verifier(client_auth: &ClientAuth) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = |authorities: &Authorities| {
        WebPkiClientVerifier::builder_with_provider(Arc::clone(authorities.roots()), provider())
    };
    Ok(match client_auth {
        ClientAuth::None => WebPkiClientVerifier::no_client_auth(),
        ClientAuth::Requested(authorities) => {
            builder(authorities).allow_unauthenticated().build()?
        }
        ClientAuth::Required(authorities) => builder(authorities).build()?,
    })
}

/// Shows the certificate that fits the name best: an exact name before a wildcard, else the first.
#[derive(Debug)]
struct SniResolver {
    identities: Arc<[Identity]>,
}

impl ResolvesServerCert for SniResolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello
            .server_name()
            .and_then(|name| best(&self.identities, name));
        named
            .or_else(|| self.identities.first())
            .map(|identity| Arc::clone(identity.certified()))
    }
}

fn best<'a>(identities: &'a [Identity], name: &str) -> Option<&'a Identity> {
    use super::certificate::Fit;
    let with = |fit| {
        identities
            .iter()
            .find(move |identity| identity.certificate().fit(name) == fit)
    };
    with(Fit::Exact).or_else(|| with(Fit::Wildcard))
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        self.identities == other.identities && self.client_auth == other.client_auth
    }
}

impl Eq for ServerTls {}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            identities,
            client_auth,
            ..
        } = self;
        f.debug_struct("ServerTls")
            .field("identities", identities)
            .field("client_auth", client_auth)
            .finish()
    }
}
