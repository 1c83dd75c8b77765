//! A certificate chain and the key to it, as Narrows shows it: to clients on a listener, to brokers
//! as a client.

use super::file::{self, FileProblem, Wanted};
use super::{Certificate, provider};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// A certificate chain that hangs together, and the key of its first certificate. Equal when both
/// are.
#[derive(Clone)]
pub struct Identity {
    chain: Arc<[Certificate]>,
    certified: Arc<CertifiedKey>,
    key: Arc<Secret>,
    file: PathBuf,
}

/// A private key, which nothing shows.
#[derive(PartialEq, Eq)]
struct Secret(PrivateKeyDer<'static>);

impl Identity {
    /// Reads a chain, the certificate of its own first and each followed by the one that signed it,
    /// and a key in PKCS#8, PKCS#1 or SEC1, both PEM. Everything that is wrong with either comes
    /// back. Waits for the disk.
    pub fn read(certificate: &Path, key: &Path) -> Result<Self, Vec<FileProblem>> {
        let chain =
            file::certificates(certificate, Wanted::Certificates).map_err(|problem| vec![problem]);
        let chain =
            chain.and_then(|ders| in_order(certificate, ders).map_err(|problem| vec![problem]));
        let secret = file::key(key).and_then(|secret| {
            let signing = provider().key_provider.load_private_key(secret.clone_key());
            signing
                .map(|signing| (secret, signing))
                .map_err(|_| file::unsupported(key))
        });
        match (chain, secret) {
            (Ok((ders, chain)), Ok((secret, signing))) => {
                fits(&ders, &*signing, certificate, key).map_err(|problem| vec![problem])?;
                Ok(Self {
                    chain: chain.into(),
                    certified: Arc::new(CertifiedKey::new(ders, signing)),
                    key: Arc::new(Secret(secret)),
                    file: certificate.to_owned(),
                })
            }
            (chain, secret) => Err(chain
                .err()
                .into_iter()
                .flatten()
                .chain(secret.err())
                .collect()),
        }
    }

    /// The certificate of its own.
    pub(crate) fn certificate(&self) -> &Certificate {
        // `in_order` gives at least one.
        &self.chain[0]
    }

    /// The certificate of its own, and those that lead from it to an authority.
    pub(crate) fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// The file of the chain.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    pub(super) fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

type Chain = (Vec<CertificateDer<'static>>, Vec<Certificate>);

/// Checks that every certificate but the first has signed the one before it, by their names.
fn in_order(path: &Path, ders: Vec<CertificateDer<'static>>) -> Result<Chain, FileProblem> {
    let mut parsed = Vec::new();
    for (index, der) in ders.iter().enumerate() {
        parsed.push(parse(der).ok_or_else(|| unreadable(path, index))?);
    }
    for (index, pair) in parsed.windows(2).enumerate() {
        let [below, above] = pair else { continue };
        if below.issuer().as_raw() != above.subject().as_raw() {
            let facts: Vec<_> = ders
                .iter()
                .filter_map(|der| Certificate::parse(der))
                .collect();
            let (Some(below), Some(above)) = (facts.get(index), facts.get(index + 1)) else {
                continue;
            };
            let reason = format!(
                "certificate {} ({}) is followed by {}, which did not sign it: {} did",
                index + 1,
                below.subject,
                above.subject,
                below.issuer
            );
            let cure = "write the certificate of the key first, behind each the one that signed \
                        it, and no others";
            return Err(FileProblem::new(path, reason, cure));
        }
    }
    let facts: Option<Vec<_>> = ders.iter().map(|der| Certificate::parse(der)).collect();
    drop(parsed);
    facts
        .map(|facts| (ders, facts))
        .ok_or_else(|| unreadable(path, 0))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der)
        .ok()
        .filter(|(rest, _)| rest.is_empty())
        .map(|(_, certificate)| certificate)
}

pub(super) fn unreadable(path: &Path, index: usize) -> FileProblem {
    let reason = format!("certificate {} is no X.509 certificate", index + 1);
    FileProblem::new(path, reason, "copy the file anew")
}

/// Checks that the key is the first certificate's, by their public keys.
fn fits(
    ders: &[CertificateDer<'_>],
    signing: &dyn SigningKey,
    certificate: &Path,
    key: &Path,
) -> Result<(), FileProblem> {
    let Some(public) = signing.public_key() else {
        return Ok(());
    };
    let has = |der: &CertificateDer<'_>| {
        parse(der).is_some_and(|parsed| parsed.public_key().raw == &*public)
    };
    match ders.iter().position(has) {
        Some(0) => Ok(()),
        Some(index) => {
            let reason = format!(
                "the key is that of certificate {} in {}",
                index + 1,
                certificate.display()
            );
            Err(FileProblem::new(
                key,
                reason,
                "write the certificate of this key first",
            ))
        }
        None => {
            let reason = format!(
                "the key is not that of the certificate in {}",
                certificate.display()
            );
            let cure =
                "name the two files of one Secret; when they are being replaced, replace both";
            Err(FileProblem::new(key, reason, cure))
        }
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.certified.cert == other.certified.cert && self.key == other.key
    }
}

impl Eq for Identity {}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("chain", &self.chain)
            .field("key", &self.key)
            .finish()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}
