//! Reads PEM files, and tells what else a file is when it isn't the one that belongs there.
//!
//! Operators hand over keystores, DER, encrypted keys, the wrong file of the right Secret. All of
//! these have a cure, and none of them is "invalid certificate".

use crate::sys::read_file;
use rustls::pki_types::pem::{self, PemObject, SectionKind};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// More than any chain or bundle of authorities has.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}: {cure}", file.display())]
pub struct FileProblem {
    /// The file.
    pub file: PathBuf,
    /// What is wrong.
    pub reason: String,
    /// What to do.
    pub cure: String,
}

impl FileProblem {
    pub(super) fn new(file: &Path, reason: impl Into<String>, cure: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            reason: reason.into(),
            cure: cure.into(),
        }
    }
}

/// What a file is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Certificates,
    Key,
    Authorities,
}

/// The sections of a PEM file.
#[derive(Default)]
pub(super) struct Pem {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) keys: Vec<PrivateKeyDer<'static>>,
}

/// The certificates of a file, in its order; at least one.
pub(super) fn certificates(
    path: &Path,
    wanted: Wanted,
) -> Result<Vec<CertificateDer<'static>>, FileProblem> {
    let (pem, labels) = read(path, wanted)?;
    let fault = |reason: String, cure: String| Err(FileProblem::new(path, reason, cure));
    if wanted == Wanted::Authorities && labels.iter().any(|label| label.ends_with("PRIVATE KEY")) {
        let cure = "name a file with nothing but certificates, and keep this key where nobody \
                    else reads it";
        return fault(
            "a private key stands among the certificates of authorities".into(),
            cure.into(),
        );
    }
    if pem.certificates.is_empty() {
        let has = |end: &str| labels.iter().any(|label| label.ends_with(end));
        let cure = if has("PKCS7") {
            let path = path.display();
            format!("take them out with `openssl pkcs7 -print_certs -in {path} -out tls.crt`")
        } else if has("CERTIFICATE REQUEST") {
            "have an authority sign the request, and name the certificate that it issues".to_owned()
        } else {
            wanted.instead()
        };
        return fault(
            format!("it holds {} and no certificate", list(&labels)),
            cure,
        );
    }
    Ok(pem.certificates)
}

/// The one private key of a file.
pub(super) fn key(path: &Path) -> Result<PrivateKeyDer<'static>, FileProblem> {
    let (pem, labels) = read(path, Wanted::Key)?;
    let mut keys = pem.keys.into_iter();
    match (keys.next(), keys.len()) {
        (Some(key), 0) => Ok(key),
        (Some(_), more) => {
            let reason = format!("it holds {} private keys", more + 1);
            Err(FileProblem::new(
                path,
                reason,
                "keep the one that belongs to the certificate",
            ))
        }
        (None, _)
            if labels
                .iter()
                .any(|label| label.contains("OPENSSH") || label.contains("DSA")) =>
        {
            Err(unsupported(path))
        }
        (None, _) => {
            let reason = format!("it holds {} and no private key", list(&labels));
            Err(FileProblem::new(path, reason, Wanted::Key.instead()))
        }
    }
}

pub(super) fn unsupported(path: &Path) -> FileProblem {
    let reason = "TLS has no use for a key of this type";
    let cure = "use RSA with 2048 to 8192 bits, ECDSA on P-256, P-384 or P-521, or Ed25519";
    FileProblem::new(path, reason, cure)
}

impl Wanted {
    /// What the file is called in Secrets of cert-manager and Strimzi.
    fn usual(self) -> &'static str {
        match self {
            Self::Certificates => "tls.crt or user.crt",
            Self::Key => "tls.key or user.key",
            Self::Authorities => "ca.crt",
        }
    }

    fn instead(self) -> String {
        let what = match self {
            Self::Certificates => "the certificate, and its chain behind it",
            Self::Key => "the private key of the certificate",
            Self::Authorities => "the certificates of the authorities",
        };
        format!(
            "name the PEM file with {what}: {} in most Secrets",
            self.usual()
        )
    }

    /// How OpenSSL gets the PEM file out of something else.
    fn convert(self, path: &Path, from: Form) -> String {
        let path = path.display();
        let (from_keystore, from_der, out) = match self {
            Self::Certificates => ("-nokeys", "x509", "tls.crt"),
            Self::Key => ("-nocerts -nodes", "pkey", "tls.key"),
            Self::Authorities => ("-nokeys", "x509", "ca.crt"),
        };
        match from {
            Form::Pkcs12 => format!("openssl pkcs12 -in {path} {from_keystore} -out {out}"),
            Form::Der => format!("openssl {from_der} -inform DER -in {path} -out {out}"),
            Form::Jks => {
                format!("keytool -importkeystore -srckeystore {path} -destkeystore store.p12")
            }
            Form::Base64 => format!("base64 -d {path} > {out}"),
        }
    }
}

/// What a file without PEM in it is.
#[derive(Clone, Copy)]
enum Form {
    Pkcs12,
    Jks,
    Der,
    Base64,
}

fn read(path: &Path, wanted: Wanted) -> Result<(Pem, Vec<String>), FileProblem> {
    let bytes = bytes(path, wanted)?;
    // Some editors put a byte order mark in front, behind which no first line would be found.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let labels = labels(bytes);
    if labels.is_empty() {
        return Err(no_pem(path, bytes, wanted));
    }
    if wanted == Wanted::Key && is_encrypted(bytes, &labels) {
        let cure = format!(
            "decrypt it with `openssl pkey -in {} -out tls.key`",
            path.display()
        );
        return Err(FileProblem::new(
            path,
            "the key is encrypted, and Narrows asks for no passphrase",
            cure,
        ));
    }
    let sections = sections(bytes).map_err(|reason| {
        FileProblem::new(
            path,
            reason,
            "copy the file anew, with whole lines from -----BEGIN to -----END",
        )
    })?;
    if let Some((reason, cure)) = skipped(bytes, &labels, &sections) {
        return Err(FileProblem::new(path, reason, cure));
    }
    Ok((sections, labels))
}

/// What stands in the file and has not been read: a certificate that is passed over in silence is
/// missed only when a client refuses the chain.
fn skipped(bytes: &[u8], labels: &[String], read: &Pem) -> Option<(String, &'static str)> {
    let begun = bytes.windows(BEGIN.len()).filter(|window| *window == BEGIN);
    let hidden = begun.count().saturating_sub(labels.len());
    if hidden > 0 {
        let reason = format!("{hidden} -----BEGIN stands behind other text on its line");
        let cure = "give it a line of its own: joining files needs a line end between them";
        return Some((reason, cure));
    }
    let is_certificate = |label: &&String| label.ends_with("CERTIFICATE");
    let certificates: Vec<_> = labels.iter().filter(is_certificate).cloned().collect();
    (certificates.len() > read.certificates.len()).then(|| {
        let reason = format!(
            "of {} certificates {} can be read; it holds {}",
            certificates.len(),
            read.certificates.len(),
            list(&certificates)
        );
        (
            reason,
            "write each as a CERTIFICATE: `openssl x509 -in FILE -out FILE.crt`",
        )
    })
}

fn sections(bytes: &[u8]) -> Result<Pem, String> {
    let mut pem = Pem::default();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(bytes) {
        let (kind, der) = section.map_err(|error| decoding(&error))?;
        match kind {
            SectionKind::Certificate => pem.certificates.push(der.into()),
            SectionKind::PrivateKey => pem.keys.push(PrivateKeyDer::Pkcs8(der.into())),
            SectionKind::RsaPrivateKey => pem.keys.push(PrivateKeyDer::Pkcs1(der.into())),
            SectionKind::EcPrivateKey => pem.keys.push(PrivateKeyDer::Sec1(der.into())),
            _ => {}
        }
    }
    Ok(pem)
}

fn decoding(error: &pem::Error) -> String {
    match error {
        pem::Error::MissingSectionEnd { .. } => "the last section has no -----END line".to_owned(),
        pem::Error::IllegalSectionStart { .. } => {
            "a -----BEGIN line does not end in five hyphens".to_owned()
        }
        pem::Error::Base64Decode(_) => "a section is not Base64".to_owned(),
        other => format!("the PEM can't be decoded: {other}"),
    }
}

fn bytes(path: &Path, wanted: Wanted) -> Result<Vec<u8>, FileProblem> {
    let failed = |error: io::Error| {
        let cure = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                "let the user that Narrows runs as read it".to_owned()
            }
            _ => wanted.instead(),
        };
        FileProblem::new(path, format!("the file can't be read: {error}"), cure)
    };
    // Looked at before it is opened: the opening of a pipe would wait for somebody to write.
    let kind = std::fs::metadata(path).map_err(failed)?;
    if kind.is_dir() {
        let file = wanted.usual();
        let cure = format!("name a file in it: {file} in most Secrets");
        return Err(FileProblem::new(path, "it is a directory", cure));
    }
    if !kind.is_file() {
        return Err(FileProblem::new(
            path,
            "it is not a regular file",
            wanted.instead(),
        ));
    }
    let refused = |reason: String| FileProblem::new(path, reason, wanted.instead());
    match read_file(path, FILE_BYTES_MAX).map_err(failed)? {
        None => Err(refused(format!(
            "the file is larger than {} MiB",
            FILE_BYTES_MAX >> 20
        ))),
        Some(bytes) if bytes.is_empty() => Err(refused("the file is empty".to_owned())),
        Some(bytes) => Ok(bytes),
    }
}

/// In PKCS#8 or, with a header line, in the older formats.
fn is_encrypted(bytes: &[u8], labels: &[String]) -> bool {
    const HEADER: &[u8] = b"Proc-Type: 4,ENCRYPTED";
    let has_header = bytes.windows(HEADER.len()).any(|window| window == HEADER);
    has_header || labels.iter().any(|label| label == "ENCRYPTED PRIVATE KEY")
}

const BEGIN: &[u8] = b"-----BEGIN ";

/// What stands behind each BEGIN.
fn labels(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split(|byte| matches!(byte, b'\n' | b'\r'));
    let labels = lines.filter_map(|line| line.strip_prefix(BEGIN));
    let text = |label: &[u8]| {
        String::from_utf8_lossy(label)
            .trim_end_matches([' ', '-'])
            .to_owned()
    };
    labels.map(text).collect()
}

/// Tells a file without PEM in it by how it begins.
fn no_pem(path: &Path, bytes: &[u8], wanted: Wanted) -> FileProblem {
    // RFC 7292: a PFX is a SEQUENCE that begins with its version, 3. Keys begin with 0 or 1,
    // certificates with a SEQUENCE.
    let is_pkcs12 = bytes.first() == Some(&0x30) && content(bytes).starts_with(&[0x02, 0x01, 0x03]);
    let is_java = bytes.starts_with(&[0xfe, 0xed, 0xfe, 0xed])
        || bytes.starts_with(&[0xce, 0xce, 0xce, 0xce]);
    let convert = |form| wanted.convert(path, form);
    let secret = match wanted {
        Wanted::Authorities => "use the PEM file, ca.crt, of the same Secret",
        _ => "use the PEM files, tls.crt and tls.key or user.crt and user.key, of the same Secret",
    };
    if is_pkcs12 {
        let cure = format!("{secret}, or convert it with `{}`", convert(Form::Pkcs12));
        FileProblem::new(
            path,
            "this is a PKCS#12 keystore, and Narrows reads PEM",
            cure,
        )
    } else if is_java {
        let [first, second] = [Form::Jks, Form::Pkcs12].map(convert);
        let second = second.replace(&path.display().to_string(), "store.p12");
        let cure = format!("{secret}, or convert it with `{first}` and `{second}`");
        FileProblem::new(path, "this is a Java keystore, and Narrows reads PEM", cure)
    } else if bytes.first() == Some(&0x30) && bytes.iter().any(|byte| !byte.is_ascii()) {
        let cure = format!("convert it with `{}`", convert(Form::Der));
        FileProblem::new(path, "this is DER, and Narrows reads PEM", cure)
    } else if bytes.starts_with(b"LS0tLS1CRUdJTi") {
        let cure = format!("decode it with `{}`", convert(Form::Base64));
        FileProblem::new(
            path,
            "this is Base64 of a PEM file, as it stands in a Secret",
            cure,
        )
    } else if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        let cure = format!(
            "write it as UTF-8: `iconv -f UTF-16 -t UTF-8 {} > tls.pem`",
            path.display()
        );
        let reason = "this is UTF-16 text, as `>` writes it in PowerShell, and Narrows reads UTF-8";
        FileProblem::new(path, reason, cure)
    } else if bytes.windows(BEGIN.len()).any(|part| part == BEGIN) {
        FileProblem::new(
            path,
            "no -----BEGIN stands at the beginning of its line",
            "remove what stands before it, blanks too: a PEM file is not indented",
        )
    } else {
        FileProblem::new(
            path,
            "it is not a PEM file: there is no line that begins with -----BEGIN",
            wanted.instead(),
        )
    }
}

/// What stands behind the first tag and its length.
fn content(der: &[u8]) -> &[u8] {
    let length_bytes = match der.get(1) {
        Some(first) if *first >= 0x80 => usize::from(first & 0x7f),
        _ => 0,
    };
    der.get(2 + length_bytes..).unwrap_or_default()
}

/// `a certificate and an RSA PRIVATE KEY`, for people.
fn list(labels: &[String]) -> String {
    let mut kinds: Vec<&str> = Vec::new();
    for label in labels {
        if !kinds.contains(&label.as_str()) {
            kinds.push(label);
        }
    }
    let shown = |kind: &&str| {
        kind.chars()
            .take(40)
            .flat_map(char::escape_debug)
            .collect::<String>()
    };
    kinds
        .iter()
        .take(4)
        .map(shown)
        .collect::<Vec<_>>()
        .join(", ")
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Pem({} certificates, {} keys)",
            self.certificates.len(),
            self.keys.len()
        )
    }
}
