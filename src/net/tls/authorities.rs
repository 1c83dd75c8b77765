//! Whom to trust to vouch for a peer: certificates in a file, or those of the platform.

use super::Certificate;
use super::file::{self, FileProblem, Wanted};
use super::identity::unreadable;
use rustls::RootCertStore;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Authorities whose signatures count, all of them alike. Equal when they are the same ones from
/// the same source.
#[derive(Clone)]
pub struct Authorities {
    source: Source,
    certificates: Arc<[Certificate]>,
    roots: Arc<RootCertStore>,
}

/// Where authorities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file.
    File(PathBuf),
    /// The store of the operating system.
    System,
    /// Mozilla's list, which is built in: the system has no store.
    BuiltIn,
}

impl Authorities {
    /// Reads a PEM file with one certificate or several: while an authority is being replaced there
    /// are two. Waits for the disk.
    pub fn read(path: &Path) -> Result<Self, FileProblem> {
        let ders = file::certificates(path, Wanted::Authorities)?;
        let mut roots = RootCertStore::empty();
        let mut certificates = Vec::new();
        for (index, der) in ders.into_iter().enumerate() {
            let certificate = Certificate::parse(&der).ok_or_else(|| unreadable(path, index))?;
            // Who has signed itself vouches for nobody else, so trusting it is trusting one peer:
            // not wrong.
            if !certificate.is_ca && certificate.issuer != certificate.subject {
                return Err(no_authority(path, index, &certificate));
            }
            roots.add(der).map_err(|_| unreadable(path, index))?;
            certificates.push(certificate);
        }
        let source = Source::File(path.to_owned());
        Ok(Self {
            source,
            certificates: certificates.into(),
            roots: Arc::new(roots),
        })
    }

    /// What the platform trusts; where it has no store, as in an image from scratch, what Mozilla
    /// trusted when Narrows was built.
    pub fn platform() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let source = if roots.is_empty() {
            Source::BuiltIn
        } else {
            Source::System
        };
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self {
            source,
            certificates: Arc::default(),
            roots: Arc::new(roots),
        }
    }

    /// Where they come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The certificates, where they come from a file.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    pub(super) fn roots(&self) -> &Arc<RootCertStore> {
        &self.roots
    }
}

fn no_authority(path: &Path, index: usize, certificate: &Certificate) -> FileProblem {
    let Certificate {
        subject, issuer, ..
    } = certificate;
    let reason = format!("certificate {} ({subject}) is no CA certificate", index + 1);
    FileProblem::new(
        path,
        reason,
        format!("name the certificate of the authority that signed it: {issuer}"),
    )
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.roots.roots == other.roots.roots
    }
}

impl Eq for Authorities {}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} authorities of {}", self.roots.len(), self.source)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::System => f.write_str("the system's store"),
            Self::BuiltIn => f.write_str("the built-in list, since the system has no store"),
        }
    }
}
