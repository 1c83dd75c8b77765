//! The certificates of a run, made anew for each: an authority of its own, and one certificate
//! (ECDSA P-256, as a terminator should have) for every name that a client dials.

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use std::fs;
use std::path::{Path, PathBuf};

/// The name that clients would have in `bootstrap.servers`.
pub const BOOTSTRAP_NAME: &str = "kafka.bench.test";
/// The brokers' names; `{node_id}` is Narrows' own placeholder.
pub const BROKER_NAMES: &str = "broker-{node_id}.kafka.bench.test";
/// The broker that all load goes to.
pub const BROKER_NAME: &str = "broker-1.kafka.bench.test";
/// A name of nobody here.
pub const UNKNOWN_NAME: &str = "broker-1.elsewhere.test";

/// What relays read, and what clients trust.
#[derive(Clone, Debug)]
pub struct Certificates {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Certificate and key in one file, as HAProxy wants them.
    pub both: PathBuf,
    pub authority: CertificateDer<'static>,
}

impl Certificates {
    pub fn make(folder: &Path) -> Result<Self> {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority
            .distinguished_name
            .push(DnType::CommonName, "the bench's authority");
        let issuer = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let names = vec![BOOTSTRAP_NAME.to_owned(), format!("*.{BOOTSTRAP_NAME}")];
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new(names)?
            .signed_by(&key, &issuer)?
            .pem();
        let key = key.serialize_pem();
        let write = |name: &str, text: &str| -> Result<PathBuf> {
            let path = folder.join(name);
            fs::write(&path, text)
                .with_context(|| format!("{} can't be written", path.display()))?;
            Ok(path)
        };
        Ok(Self {
            both: write("tls-both.pem", &format!("{certificate}{key}"))?,
            certificate: write("tls-certificate.pem", &certificate)?,
            key: write("tls-key.pem", &key)?,
            authority: issuer.der().clone(),
        })
    }
}
