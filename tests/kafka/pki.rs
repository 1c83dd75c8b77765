//! The certificates of a run, made anew by each: authorities that trust each other in nothing, one
//! for Narrows' listeners, one for the brokers, one for clients, and one that nobody trusts. Keys
//! are P-256 in PKCS#8, the only form that Java reads.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};

use crate::names;
use crate::namespaces::{NODE_IDS, Namespaces, broker_ip};

/// See the module's text. Everything is in one folder, which ends with the namespaces.
#[derive(Debug)]
pub(crate) struct Pki {
    folder: PathBuf,
    /// Signs what Narrows shows to clients.
    pub(crate) narrows: Authority,
    /// Signs what brokers show.
    pub(crate) brokers: Authority,
    /// Signs what clients show, and Narrows where it is a client of the brokers.
    pub(crate) clients: Authority,
    /// A client that both sides know.
    pub(crate) alice: Identity,
    /// Alice too, as she says: signed by an authority that nobody trusts.
    pub(crate) stranger: Identity,
    /// What Narrows shows to brokers.
    pub(crate) narrows_as_client: Identity,
}

/// An authority and its own certificate as a PEM file.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) file: PathBuf,
}

/// A certificate and its key, as PEM files.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The certificate, as a handshake shows it.
    pub(crate) der: Vec<u8>,
}

/// What a broker's listener shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Its address, and its name in the passthrough lane.
    Sound,
    /// Valid, for a host that nobody dials.
    WrongName,
    /// Sound until 2002.
    Expired,
}

impl Pki {
    /// Makes all of them, and the keystores of all brokers that may ever start.
    pub(crate) fn make(namespaces: &Namespaces) -> Result<Self> {
        let folder = folder(namespaces);
        fs::create_dir_all(&folder)?;
        let authority = |name: &str| Authority::make(&folder, name);
        let [narrows, brokers, clients] = [
            authority("narrows")?,
            authority("brokers")?,
            authority("clients")?,
        ];
        let strangers = authority("strangers")?;
        for node_id in NODE_IDS {
            for shown in [Shown::Sound, Shown::WrongName, Shown::Expired] {
                brokers.write_keystore(
                    &keystore(namespaces, node_id, shown),
                    broker_params(node_id, shown)?,
                )?;
            }
        }
        let alice = clients.issue(&folder, "alice", client_params("alice"))?;
        let stranger = strangers.issue(&folder, "stranger", client_params("alice"))?;
        let narrows_as_client =
            clients.issue(&folder, "narrows-as-client", client_params("narrows"))?;
        Ok(Self {
            folder,
            narrows,
            brokers,
            clients,
            alice,
            stranger,
            narrows_as_client,
        })
    }

    /// A new certificate for all of Narrows' names in a domain; each call gives another one.
    pub(crate) fn serve(&self, domain: &str) -> Result<Identity> {
        self.serve_from(&self.folder, &format!("narrows-{domain}"), domain)
    }

    /// As [`Self::serve`], written to a folder of the caller's as `NAME.crt` and `NAME.key`.
    pub(crate) fn serve_from(&self, folder: &Path, name: &str, domain: &str) -> Result<Identity> {
        let names = vec![names::bootstrap(domain), names::any(domain)];
        let params = params("narrows", names, ExtendedKeyUsagePurpose::ServerAuth)?;
        self.narrows.issue(folder, name, params)
    }
}

/// The authority that signs what brokers show, as a PEM file.
pub(crate) fn clients_authority(namespaces: &Namespaces) -> PathBuf {
    folder(namespaces).join("clients-ca.pem")
}

/// Key and certificate of a broker in one PEM file, as Kafka wants it.
pub(crate) fn keystore(namespaces: &Namespaces, node_id: u8, shown: Shown) -> PathBuf {
    let kind = match shown {
        Shown::Sound => "sound",
        Shown::WrongName => "wrong-name",
        Shown::Expired => "expired",
    };
    folder(namespaces).join(format!("broker-{node_id}-{kind}.pem"))
}

fn folder(namespaces: &Namespaces) -> PathBuf {
    namespaces.scratch().join("pki")
}

impl Authority {
    fn make(folder: &Path, name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("{name} authority"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let file = folder.join(format!("{name}-ca.pem"));
        fs::write(&file, issuer.pem())?;
        Ok(Self { issuer, file })
    }

    /// Its own certificate, for whoever is to trust it.
    pub(crate) fn der(&self) -> &[u8] {
        self.issuer.der()
    }

    fn issue(&self, folder: &Path, name: &str, params: CertificateParams) -> Result<Identity> {
        let key_pair = KeyPair::generate()?;
        let issued = params.signed_by(&key_pair, &self.issuer)?;
        let [certificate, key] = ["crt", "key"].map(|kind| folder.join(format!("{name}.{kind}")));
        fs::write(&certificate, issued.pem())?;
        fs::write(&key, key_pair.serialize_pem())?;
        Ok(Identity {
            certificate,
            key,
            der: issued.der().to_vec(),
        })
    }

    fn write_keystore(&self, file: &Path, params: CertificateParams) -> Result<()> {
        let key_pair = KeyPair::generate()?;
        let issued = params.signed_by(&key_pair, &self.issuer)?;
        Ok(fs::write(file, key_pair.serialize_pem() + &issued.pem())?)
    }
}

fn broker_params(node_id: u8, shown: Shown) -> Result<CertificateParams> {
    let names = match shown {
        Shown::WrongName => vec!["elsewhere.kafka.test".to_owned()],
        Shown::Sound | Shown::Expired => vec![
            broker_ip(node_id).to_string(),
            names::broker(names::PASSTHROUGH, node_id),
            names::bootstrap(names::PASSTHROUGH),
        ],
    };
    let mut params = params(
        &format!("broker-{node_id}"),
        names,
        ExtendedKeyUsagePurpose::ServerAuth,
    )?;
    if shown == Shown::Expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    Ok(params)
}

fn client_params(common_name: &str) -> CertificateParams {
    named(
        common_name,
        CertificateParams::default(),
        ExtendedKeyUsagePurpose::ClientAuth,
    )
}

fn params(
    common_name: &str,
    names: Vec<String>,
    usage: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams> {
    Ok(named(common_name, CertificateParams::new(names)?, usage))
}

fn named(
    common_name: &str,
    mut params: CertificateParams,
    usage: ExtendedKeyUsagePurpose,
) -> CertificateParams {
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    // Python refuses certificates without it since 3.13.
    params.use_authority_key_identifier_extension = true;
    params
}
