//! Certificates for tests, made while they run: authorities, chains, and what is wrong with them.

#![allow(dead_code, reason = "every test takes what it needs")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(86_400);

/// Somebody who signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: KeyPair,
}

/// What a certificate is to be.
pub(crate) struct Wish<'a> {
    pub(crate) common_name: &'a str,
    /// DNS names and IP addresses.
    pub(crate) names: &'a [&'a str],
    /// From when to when it is valid, in days from now.
    pub(crate) days: (i64, i64),
    pub(crate) algorithm: &'static SignatureAlgorithm,
    /// What it is for; nothing: anything.
    pub(crate) usages: &'a [ExtendedKeyUsagePurpose],
}

impl Default for Wish<'_> {
    fn default() -> Self {
        Self {
            common_name: "kafka",
            names: &[],
            days: (-1, 90),
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            usages: &[],
        }
    }
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        Self(CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap())
    }

    /// Another one, whom this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn issue(&self, wish: &Wish<'_>) -> Issued {
        let key = KeyPair::generate_for(wish.algorithm).unwrap();
        let certificate = leaf(wish).signed_by(&key, &self.0).unwrap().pem();
        Issued { certificate, key }
    }

    /// A certificate for these names, valid now.
    pub(crate) fn for_names(&self, names: &[&str]) -> Issued {
        self.issue(&Wish {
            names,
            ..Wish::default()
        })
    }
}

/// A certificate that nobody else has signed, and that may sign no other.
pub(crate) fn self_signed(wish: &Wish<'_>) -> Issued {
    let key = KeyPair::generate_for(wish.algorithm).unwrap();
    Issued {
        certificate: leaf(wish).self_signed(&key).unwrap().pem(),
        key,
    }
}

impl Issued {
    /// Writes both into the folder and gives their paths.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        let certificate = write(folder, &format!("{name}.crt"), &self.certificate);
        (
            certificate,
            write(folder, &format!("{name}.key"), self.key.serialize_pem()),
        )
    }
}

/// Writes a file and gives its path.
pub(crate) fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf(wish: &Wish<'_>) -> CertificateParams {
    let names: Vec<String> = wish.names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Example, Inc.");
    params
        .distinguished_name
        .push(DnType::CommonName, wish.common_name);
    params.extended_key_usages = wish.usages.to_vec();
    params.not_before = in_days(wish.days.0).into();
    params.not_after = in_days(wish.days.1).into();
    params
}

/// An hour before, so that a test that takes a second sees the same number of days left.
fn in_days(days: i64) -> SystemTime {
    let now = SystemTime::now() - Duration::from_secs(3_600);
    let distance = DAY * u32::try_from(days.unsigned_abs()).unwrap();
    if days < 0 {
        now - distance
    } else {
        now + distance
    }
}

/// PEM of any kind.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64(der);
    let lines: Vec<_> = base64
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| {
            bits << 8 | usize::from(group.get(at).copied().unwrap_or(0))
        });
        let digit = |at: usize| char::from(DIGITS[bits >> (18 - 6 * at) & 63]);
        (0..4)
            .map(|at| if at <= group.len() { digit(at) } else { '=' })
            .collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

/// The key as it stands inside of its PKCS#8: PKCS#1 of an RSA key, SEC1 of an elliptic one.
pub(crate) fn inside_of_pkcs8(der: &[u8]) -> Vec<u8> {
    // SEQUENCE { INTEGER version, SEQUENCE algorithm, OCTET STRING key }
    let (_, body, _) = element(der);
    let (_, _, rest) = element(body);
    let (_, _, rest) = element(rest);
    let (tag, key, _) = element(rest);
    assert_eq!(tag, 4);
    key.to_vec()
}

/// Tag, content and what follows.
fn element(der: &[u8]) -> (u8, &[u8], &[u8]) {
    let (length, header) = match usize::from(der[1]) {
        short if short < 0x80 => (short, 2),
        long => {
            let bytes = long & 0x7f;
            (
                der[2..2 + bytes]
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte)),
                2 + bytes,
            )
        }
    };
    (
        der[0],
        &der[header..header + length],
        &der[header + length..],
    )
}
