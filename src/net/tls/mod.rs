//! TLS as Narrows uses it: 1.2 and 1.3 by rustls with aws-lc-rs, on either side. Nothing outside
//! `net` knows either.
//!
//! [`Identity`] (a certificate chain and its key) and [`Authorities`] are read from PEM files, and
//! whatever is wrong with a file comes back as a [`FileProblem`] with its cure: what files hold can
//! be wrong in many ways, what has been read can't. [`ServerTls`] and [`ClientTls`] are built from
//! them, for a listener and for a cluster; each has one finished rustls configuration that all its
//! connections share. [`Certificate`] says what stands in a certificate.
//!
//! All of these are equal when certificates and keys are: a reload can tell whether anything has
//! changed.

mod authorities;
mod certificate;
mod client;
mod error;
mod file;
mod identity;
mod server;
mod stream;

pub use authorities::{Authorities, Source};
pub use certificate::{Certificate, describe};
pub use client::{ClientTls, Verify};
pub(crate) use error::HandshakeError;
pub use file::FileProblem;
pub use identity::Identity;
pub use server::{ClientAuth, ServerTls};
pub(crate) use stream::{Negotiated, TlsStream};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use std::sync::Arc;

/// What can only be seen when everything is put together.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A server needs at least one certificate.
    #[error("a TLS listener needs a certificate")]
    NoIdentity,
    /// The authorities of client certificates can't serve as such.
    #[error("client certificates can't be verified with these authorities: {0}")]
    ClientAuth(#[from] rustls::server::VerifierBuilderError),
    /// The authorities of broker certificates can't serve as such.
    #[error("broker certificates can't be verified with these authorities: {0}")]
    Brokers(rustls::server::VerifierBuilderError),
    /// rustls refuses the whole.
    #[error("TLS can't be set up: {0}")]
    Rustls(#[from] rustls::Error),
}

/// Given to every configuration, so that no other crate's choice of a default can change ours.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
