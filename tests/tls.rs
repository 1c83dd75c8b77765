//! What TLS promises: files that are read or told apart, certificates chosen by name, peers that
//! are verified.

// Clippy's exception for tests does not reach their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod pki;

use narrows::net::tls::{
    Authorities, Certificate, ClientAuth, ClientTls, FileProblem, Identity, ServerTls, Source,
    Verify, describe,
};
use pki::{Authority, Issued, Wish, base64, inside_of_pkcs8, pem, self_signed, write};
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ServerConnection, version,
};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn identity(issued: &Issued) -> Identity {
    let folder = TempDir::new().unwrap();
    let (certificate, key) = issued.write(folder.path(), "tls");
    Identity::read(&certificate, &key).unwrap()
}

fn authorities(pem: &str) -> Authorities {
    let folder = TempDir::new().unwrap();
    Authorities::read(&write(folder.path(), "ca.crt", pem)).unwrap()
}

/// The problems of a certificate file and a key file with these contents, without their folder.
fn problems(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Vec<FileProblem> {
    let folder = TempDir::new().unwrap();
    let certificate = write(folder.path(), "tls.crt", certificate);
    let key = write(folder.path(), "tls.key", key);
    let problems = Identity::read(&certificate, &key).err().unwrap_or_default();
    let prefix = format!("{}/", folder.path().display());
    let bare = |text: &str| text.replace(&prefix, "");
    let bare = |problem: FileProblem| FileProblem {
        file: problem.file.file_name().unwrap().into(),
        reason: bare(&problem.reason),
        cure: bare(&problem.cure),
    };
    problems.into_iter().map(bare).collect()
}

fn problem(certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> FileProblem {
    let problems = problems(certificate, key);
    let [problem] = problems.as_slice() else {
        panic!("{problems:?}")
    };
    problem.clone()
}

#[test]
fn keys_are_read_in_every_format_that_tools_write() {
    let authority = Authority::new("Example CA");
    let issue = |algorithm| {
        authority.issue(&Wish {
            algorithm,
            ..Wish::default()
        })
    };
    let elliptic = [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ]
    .map(issue);
    let rsa = issue(&rcgen::PKCS_RSA_SHA256);
    let ed25519 = issue(&rcgen::PKCS_ED25519);
    for issued in elliptic.iter().chain([&rsa, &ed25519]) {
        assert_eq!(
            problems(&issued.certificate, issued.key.serialize_pem()),
            []
        );
    }
    let pkcs1 = pem(
        "RSA PRIVATE KEY",
        &inside_of_pkcs8(rsa.key.serialized_der()),
    );
    assert_eq!(problems(&rsa.certificate, &pkcs1), []);
    for issued in &elliptic {
        // `openssl ecparam -genkey` writes the curve into a section of its own, in front.
        let curve = pem(
            "EC PARAMETERS",
            &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        );
        let sec1 = pem(
            "EC PRIVATE KEY",
            &inside_of_pkcs8(issued.key.serialized_der()),
        );
        assert_eq!(problems(&issued.certificate, curve + &sec1), []);
    }
}

#[test]
fn a_chain_is_read_with_line_ends_and_comments_of_any_kind() {
    let root = Authority::new("Root");
    let intermediate = root.intermediate("Intermediate");
    let issued = intermediate.for_names(&["kafka.example.com"]);
    let leaf = &issued.certificate;
    let key = issued.key.serialize_pem();
    for chain in [
        format!("{leaf}{}", intermediate.pem()),
        format!("{leaf}{}{}", intermediate.pem(), root.pem()),
        format!("subject=CN = kafka\n{leaf}\nissuer\n{}", intermediate.pem()),
        format!("{leaf}{}", intermediate.pem()).replace('\n', "\r\n"),
        format!("\u{feff}{leaf}{}", intermediate.pem()),
        format!("{leaf}{key}"),
    ] {
        assert_eq!(problems(&chain, &key), []);
    }
}

#[test]
fn a_chain_in_another_order_is_told_where_it_breaks() {
    let root = Authority::new("Root");
    let intermediate = root.intermediate("Intermediate");
    let issued = intermediate.for_names(&["kafka.example.com"]);
    let leaf = &issued.certificate;
    let key = issued.key.serialize_pem();
    let stranger = Authority::new("Stranger");
    let backwards = problem(format!("{}{leaf}", intermediate.pem()), &key);
    assert_eq!(
        backwards.reason,
        "certificate 1 (CN=Intermediate) is followed by CN=kafka,O=Example\\, Inc., which did not \
         sign it: CN=Root did"
    );
    let foreign = problem(
        format!("{leaf}{}{}", intermediate.pem(), stranger.pem()),
        &key,
    );
    assert_eq!(
        foreign.reason,
        "certificate 2 (CN=Intermediate) is followed by CN=Stranger, which did not sign it: \
         CN=Root did"
    );
    assert!(
        foreign
            .cure
            .starts_with("write the certificate of the key first"),
        "{foreign}"
    );
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let authority = Authority::new("Example CA");
    let [one, other] = [
        authority.for_names(&["a.example"]),
        authority.for_names(&["a.example"]),
    ];
    let problem = problem(&one.certificate, other.key.serialize_pem());
    assert_eq!(problem.file, Path::new("tls.key"));
    assert_eq!(
        problem.reason,
        "the key is not that of the certificate in tls.crt"
    );
}

#[test]
fn the_key_of_a_later_certificate_in_the_chain_is_told_which() {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key_pem = key.serialize_pem();
    let root = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
    let leaf_key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::default()
        .signed_by(&leaf_key, &root)
        .unwrap();
    let problem = problem(leaf.pem() + &root.pem(), key_pem);
    assert_eq!(
        problem.reason,
        "the key is that of certificate 2 in tls.crt"
    );
}

#[test]
fn certificate_and_key_in_each_others_place_are_both_told() {
    let issued = Authority::new("Example CA").for_names(&["a.example"]);
    let problems = problems(issued.key.serialize_pem(), &issued.certificate);
    let told: Vec<_> = problems
        .iter()
        .map(|problem| problem.reason.as_str())
        .collect();
    assert_eq!(
        told,
        [
            "it holds PRIVATE KEY and no certificate",
            "it holds CERTIFICATE and no private key"
        ]
    );
    assert!(
        problems[1].cure.contains("tls.key or user.key"),
        "{}",
        problems[1]
    );
}

#[test]
fn an_encrypted_key_comes_with_the_command_that_decrypts_it() {
    let issued = Authority::new("Example CA").for_names(&["a.example"]);
    let pkcs8 = pem("ENCRYPTED PRIVATE KEY", b"encrypted");
    let header = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: \
                  AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
    for key in [pkcs8.as_str(), header] {
        let problem = problem(&issued.certificate, key);
        assert_eq!(
            problem.reason,
            "the key is encrypted, and Narrows asks for no passphrase"
        );
        assert_eq!(
            problem.cure,
            "decrypt it with `openssl pkey -in tls.key -out tls.key`"
        );
    }
}

#[test]
fn a_file_that_is_something_else_is_called_what_it_is() {
    let issued = Authority::new("Example CA").for_names(&["a.example"]);
    let key = issued.key.serialize_pem();
    let leaf = der(&issued.certificate);
    let encoded = base64(issued.certificate.as_bytes());
    // The beginning of what `openssl pkcs12 -export` writes.
    let pkcs12 = [
        &[0x30, 0x82, 0x0a, 0x51, 0x02, 0x01, 0x03, 0x30, 0x82][..],
        &[0xff; 100],
    ]
    .concat();
    let utf16: Vec<u8> = "\u{feff}-----BEGIN CERTIFICATE-----"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let indented = issued.certificate.replace("-----BEGIN", "  -----BEGIN");
    let relabelled = |label: &str| issued.certificate.replace("CERTIFICATE", label);
    let (pkcs7, request) = (relabelled("PKCS7"), relabelled("CERTIFICATE REQUEST"));
    let cases: [(&[u8], &str, &str); 13] = [
        (b"", "the file is empty", "tls.crt or user.crt"),
        (
            &pkcs12,
            "this is a PKCS#12 keystore, and Narrows reads PEM",
            "user.crt and user.key, of the same Secret, or convert it with `openssl pkcs12 -in \
             tls.crt -nokeys -out tls.crt`",
        ),
        (
            &[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2],
            "this is a Java keystore, and Narrows reads PEM",
            "keytool -importkeystore -srckeystore tls.crt",
        ),
        (
            &leaf,
            "this is DER, and Narrows reads PEM",
            "openssl x509 -inform DER -in tls.crt",
        ),
        (
            encoded.as_bytes(),
            "this is Base64 of a PEM file, as it stands in a Secret",
            "base64 -d tls.crt",
        ),
        (
            &utf16,
            "this is UTF-16 text, as `>` writes it in PowerShell, and Narrows reads UTF-8",
            "iconv -f UTF-16 -t UTF-8 tls.crt",
        ),
        (
            indented.as_bytes(),
            "no -----BEGIN stands at the beginning of its line",
            "blanks too",
        ),
        (
            pkcs7.as_bytes(),
            "it holds PKCS7 and no certificate",
            "openssl pkcs7 -print_certs -in tls.crt",
        ),
        (
            request.as_bytes(),
            "it holds CERTIFICATE REQUEST and no certificate",
            "have an authority sign the request",
        ),
        (
            b"hello",
            "it is not a PEM file: there is no line that begins with -----BEGIN",
            "tls.crt",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n",
            "the last section has no -----END line",
            "copy",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\n????\n-----END CERTIFICATE-----\n",
            "a section is not Base64",
            "copy",
        ),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "certificate 1 is no X.509 certificate",
            "copy",
        ),
    ];
    for (content, reason, cure) in cases {
        let problem = problem(content, &key);
        assert_eq!(problem.reason, reason);
        assert!(problem.cure.contains(cure), "{problem}");
    }
    let large = vec![b'a'; (1 << 20) + 1];
    assert_eq!(problem(large, &key).reason, "the file is larger than 1 MiB");
}

#[test]
fn a_key_that_tls_has_no_use_for_is_told_with_those_that_it_has() {
    let issued = Authority::new("Example CA").for_names(&["a.example"]);
    for key in [
        pem("OPENSSH PRIVATE KEY", b"openssh-key-v1"),
        pem("DSA PRIVATE KEY", b"0"),
        pem("PRIVATE KEY", b"0"),
    ] {
        let problem = problem(&issued.certificate, key);
        assert_eq!(problem.reason, "TLS has no use for a key of this type");
        assert!(problem.cure.contains("Ed25519"), "{problem}");
    }
    let two = issued.key.serialize_pem().repeat(2);
    assert_eq!(
        problem(&issued.certificate, two).reason,
        "it holds 2 private keys"
    );
}

#[test]
fn a_path_where_no_file_is_has_a_reason_of_its_own() {
    let folder = TempDir::new().unwrap();
    let missing = folder.path().join("no-such.crt");
    let reason = |path: &Path| Authorities::read(path).unwrap_err().reason;
    assert!(
        reason(&missing).contains("No such file"),
        "{}",
        reason(&missing)
    );
    assert_eq!(reason(folder.path()), "it is a directory");
    // It would never end, and others would never begin.
    assert_eq!(reason(Path::new("/dev/zero")), "it is not a regular file");
    let problems = Identity::read(&missing, &missing).unwrap_err();
    assert_eq!(problems.len(), 2);
}

#[test]
fn all_authorities_of_a_file_are_trusted() {
    let [old, new] = ["Old CA", "New CA"].map(Authority::new);
    let both = authorities(&(old.pem() + &new.pem()));
    let subjects: Vec<_> = both
        .certificates()
        .iter()
        .map(|found| found.subject.as_str())
        .collect();
    assert_eq!(subjects, ["CN=Old CA", "CN=New CA"]);
    for authority in [old, new] {
        let server = server(
            vec![authority.for_names(&["kafka.example.com"])],
            ClientAuth::None,
        );
        let client = ClientTls::new(both.clone(), None, None, Verify::Full).unwrap();
        shake(&client, &server, "kafka.example.com").unwrap();
    }
}

#[test]
fn an_authority_whom_another_one_vouches_for_can_be_trusted_alone() {
    let root = Authority::new("Root");
    let [trusted, other] = ["One", "Other"].map(|name| root.intermediate(name));
    let client = ClientTls::new(authorities(&trusted.pem()), None, None, Verify::Full).unwrap();
    let names = &["kafka.example.com"];
    let result = |authority: &Authority| {
        let server = server(vec![authority.for_names(names)], ClientAuth::None);
        shake(&client, &server, "kafka.example.com").map(|_| ())
    };
    assert_eq!(result(&trusted), Ok(()));
    assert!(result(&other).is_err());
}

#[test]
fn a_certificate_that_signs_no_others_is_no_authority_unless_it_has_signed_itself() {
    let authority = Authority::new("Example CA");
    let folder = TempDir::new().unwrap();
    let read = |content: &str| Authorities::read(&write(folder.path(), "ca.crt", content));
    let leaf =
        read(&(authority.pem() + &authority.for_names(&["a.example"]).certificate)).unwrap_err();
    assert_eq!(
        leaf.reason,
        "certificate 2 (CN=kafka,O=Example\\, Inc.) is no CA certificate"
    );
    assert_eq!(
        leaf.cure,
        "name the certificate of the authority that signed it: CN=Example CA"
    );

    let alone = self_signed(&Wish {
        names: &["kafka.example.com"],
        ..Wish::default()
    });
    let client =
        ClientTls::new(read(&alone.certificate).unwrap(), None, None, Verify::Full).unwrap();
    shake(
        &client,
        &server(vec![alone], ClientAuth::None),
        "kafka.example.com",
    )
    .unwrap();
}

#[test]
fn a_private_key_among_authorities_is_refused() {
    let issued = self_signed(&Wish::default());
    let folder = TempDir::new().unwrap();
    for key in [
        issued.key.serialize_pem(),
        pem("ENCRYPTED PRIVATE KEY", b"encrypted"),
    ] {
        let path = write(folder.path(), "ca.crt", issued.certificate.clone() + &key);
        assert_eq!(
            Authorities::read(&path).unwrap_err().reason,
            "a private key stands among the certificates of authorities"
        );
    }
}

#[test]
fn without_a_file_somebody_is_trusted_and_it_is_said_who() {
    let platform = Authorities::platform();
    assert!(matches!(
        platform.source(),
        Source::System | Source::BuiltIn
    ));
    assert_eq!(platform, Authorities::platform());
}

#[test]
fn no_key_is_ever_shown() {
    let issued = Authority::new("Example CA").for_names(&["a.example"]);
    let shown = format!("{:?}", server(vec![issued], ClientAuth::None));
    assert!(shown.contains("key: (hidden)"), "{shown}");
    assert!(!shown.contains("Pkcs8"), "{shown}");
}

#[test]
fn what_has_been_read_is_equal_until_a_file_holds_something_else() {
    let authority = Authority::new("Example CA");
    let [one, other] = [
        authority.for_names(&["a.example"]),
        authority.for_names(&["a.example"]),
    ];
    assert_eq!(identity(&one), identity(&one));
    assert_ne!(identity(&one), identity(&other));

    let server = |issued: &Issued, auth| ServerTls::new(vec![identity(issued)], auth).unwrap();
    let ca = authorities(&authority.pem());
    assert_eq!(
        server(&one, ClientAuth::None),
        server(&one, ClientAuth::None)
    );
    assert_ne!(
        server(&one, ClientAuth::None),
        server(&one, ClientAuth::Required(ca.clone()))
    );

    let client =
        |issued, verify| ClientTls::new(ca.clone(), Some(identity(issued)), None, verify).unwrap();
    assert_eq!(client(&one, Verify::Full), client(&one, Verify::Full));
    assert_ne!(client(&one, Verify::Full), client(&other, Verify::Full));
    assert_ne!(client(&one, Verify::Full), client(&one, Verify::Off));
}

#[test]
fn a_certificate_says_whom_it_is_for_and_how_long() {
    let names = [
        "kafka.example.com",
        "*.kafka.example.com",
        "10.0.0.1",
        "2001:db8::1",
    ];
    let issued = Authority::new("Example CA").issue(&Wish {
        names: &names,
        ..Wish::default()
    });
    let certificate = Certificate::parse(&der(&issued.certificate)).unwrap();
    assert_eq!(certificate.subject, "CN=kafka,O=Example\\, Inc.");
    assert_eq!(certificate.issuer, "CN=Example CA");
    assert_eq!(certificate.names().collect::<Vec<_>>(), names);
    assert!(
        certificate.serial.chars().all(|c| c.is_ascii_hexdigit()) && certificate.serial.len() > 8
    );
    assert_eq!(certificate.not_after - certificate.not_before, 91 * 86_400);
    assert!(!certificate.is_ca);
    assert_eq!(
        describe(&der(&issued.certificate)),
        "CN=kafka,O=Example\\, Inc. (kafka.example.com, *.kafka.example.com, 10.0.0.1, 2001:db8::1)"
    );
}

#[test]
fn a_wildcard_covers_one_label_and_no_more() {
    let names = ["kafka.example.com", "*.kafka.example.com", "10.0.0.1"];
    let issued = Authority::new("Example CA").for_names(&names);
    let certificate = Certificate::parse(&der(&issued.certificate)).unwrap();
    for covered in [
        "kafka.example.com",
        "KAFKA.example.COM",
        "kafka.example.com.",
        "broker-7.kafka.example.com",
        "10.0.0.1",
    ] {
        assert!(certificate.covers(covered), "{covered}");
    }
    for other in [
        "",
        "example.com",
        ".kafka.example.com",
        "broker-7.eu.kafka.example.com",
        "*.kafka.example.com.evil",
        "broker-7-kafka.example.com",
        "10.0.0.2",
        "::1",
        // The common name does not count.
        "kafka",
    ] {
        assert!(!certificate.covers(other), "{other}");
    }
}

#[test]
fn what_a_peer_writes_into_its_certificate_does_no_harm_to_a_log() {
    let name = format!("a\u{1b}[31m\n{}", "x".repeat(1000));
    let issued = self_signed(&Wish {
        common_name: &name,
        ..Wish::default()
    });
    let text = describe(&der(&issued.certificate));
    assert!(text.contains("CN=a\\u{1b}[31m\\nxxx"), "{text}");
    assert!(
        text.chars().count() <= 301 && !text.contains(char::is_control),
        "{text}"
    );
    assert_eq!(describe(b"0"), "a certificate that can't be read");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_certificate_makes_narrows_panic(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), cut in any::<prop::sample::Index>()) {
        use std::sync::LazyLock;
        static DER: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let names = ["kafka.example.com", "10.0.0.1"];
            der(&Authority::new("Example CA").for_names(&names).certificate).to_vec()
        });
        let mut bytes = DER.clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Some(certificate) = Certificate::parse(bytes) {
                certificate.covers("kafka.example.com");
            }
            describe(bytes);
        }
    }
}

fn server(issued: Vec<Issued>, client_auth: ClientAuth) -> ServerTls {
    ServerTls::new(issued.iter().map(identity).collect(), client_auth).unwrap()
}

fn client(authority: &Authority, shown: Option<&Issued>) -> ClientTls {
    ClientTls::new(
        authorities(&authority.pem()),
        shown.map(identity),
        None,
        Verify::Full,
    )
    .unwrap()
}

/// Both ends after a handshake, or who ended it and why.
type Shaken = Result<(ClientConnection, ServerConnection), String>;

fn shake(client: &ClientTls, server: &ServerTls, name: &str) -> Shaken {
    shake_with(client.config(), server.config(), name)
}

fn shake_with(
    client: &Arc<ClientConfig>,
    server: &Arc<rustls::ServerConfig>,
    name: &str,
) -> Shaken {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = Connection::Client(ClientConnection::new(Arc::clone(client), name).unwrap());
    let mut server = Connection::Server(ServerConnection::new(Arc::clone(server)).unwrap());
    // Tickets and alerts come after the handshake.
    for _ in 0..8 {
        carry(&mut client, &mut server).map_err(|error| format!("server: {error}"))?;
        carry(&mut server, &mut client).map_err(|error| format!("client: {error}"))?;
    }
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) if !client.is_handshaking() => {
            Ok((client, server))
        }
        _ => Err("it never ended".to_owned()),
    }
}

fn carry(from: &mut Connection, to: &mut Connection) -> Result<(), rustls::Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to.read_tls(&mut rest).unwrap();
        to.process_new_packets()?;
    }
    Ok(())
}

fn shown(shaken: Shaken) -> String {
    describe(&shaken.unwrap().0.peer_certificates().unwrap()[0])
}

#[test]
fn the_chain_alone_is_verified_where_that_is_asked_for_and_nothing_less() {
    let authority = Authority::new("Example CA");
    let named_otherwise = server(vec![authority.for_names(&[])], ClientAuth::None);
    let trusting = |authority: &Authority, verify| {
        ClientTls::new(authorities(&authority.pem()), None, None, verify).unwrap()
    };
    let chain = trusting(&authority, Verify::Chain);
    assert!(shake(&chain, &named_otherwise, "kafka.example.com").is_ok());
    let full = trusting(&authority, Verify::Full);
    assert!(shake(&full, &named_otherwise, "kafka.example.com").is_err());
    let other = trusting(&Authority::new("Other CA"), Verify::Chain);
    assert!(shake(&other, &named_otherwise, "kafka.example.com").is_err());
    let expired = authority.issue(&Wish {
        days: (-90, -3),
        ..Wish::default()
    });
    let expired = server(vec![expired], ClientAuth::None);
    assert!(shake(&chain, &expired, "kafka.example.com").is_err());
}

#[test]
fn certificates_that_a_reader_would_pass_over_are_a_problem() {
    let authority = Authority::new("Example CA");
    let issued = authority.for_names(&["kafka.example.com"]);
    let joined = format!("{}{}", issued.certificate.trim_end(), authority.pem());
    let found = problem(&joined, issued.key.serialize_pem());
    assert_eq!(
        found.reason,
        "1 -----BEGIN stands behind other text on its line"
    );
    let with_line_end = format!("{}\n{}", issued.certificate.trim_end(), authority.pem());
    assert_eq!(problems(&with_line_end, issued.key.serialize_pem()), []);
    let trusted = authority
        .pem()
        .replace("CERTIFICATE", "TRUSTED CERTIFICATE");
    let mixed = format!("{}{trusted}", issued.certificate);
    let found = problem(&mixed, issued.key.serialize_pem());
    assert_eq!(
        found.reason,
        "of 2 certificates 1 can be read; it holds CERTIFICATE, TRUSTED CERTIFICATE"
    );
}

#[test]
fn the_certificate_is_chosen_by_the_name_that_the_client_asks_for() {
    let authority = Authority::new("Example CA");
    let issue = |common_name, names| {
        authority.issue(&Wish {
            common_name,
            names,
            ..Wish::default()
        })
    };
    let server = server(
        vec![
            issue("first", &["first.example", "10.0.0.1"]),
            issue("wild", &["*.kafka.example.com"]),
            issue("exact", &["broker-7.kafka.example.com"]),
        ],
        ClientAuth::None,
    );
    let anybody = ClientTls::new(Authorities::platform(), None, None, Verify::Off).unwrap();
    let shown = |name| shown(shake(&anybody, &server, name));
    assert!(shown("broker-7.kafka.example.com").starts_with("CN=exact,"));
    assert!(shown("broker-8.kafka.example.com").starts_with("CN=wild,"));
    assert!(shown("a.broker-7.kafka.example.com").starts_with("CN=first,"));
    assert!(shown("nowhere.example").starts_with("CN=first,"));
    // A client that dials an IP address names nobody.
    assert!(shown("10.0.0.2").starts_with("CN=first,"));
}

#[test]
fn clients_of_both_versions_and_with_any_protocol_to_offer_get_in() {
    let authority = Authority::new("Example CA");
    let server = server(
        vec![authority.for_names(&["kafka.example.com"])],
        ClientAuth::None,
    );
    let ours = client(&authority, None);
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = rustls::RootCertStore::from_iter([webpki_anchor(&authority)]);
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap();
        let mut theirs = builder.with_root_certificates(roots).with_no_client_auth();
        theirs.alpn_protocols = vec![b"kafka".to_vec(), b"http/1.1".to_vec()];
        let (client, _) =
            shake_with(&Arc::new(theirs), server.config(), "kafka.example.com").unwrap();
        assert_eq!(client.alpn_protocol(), None);
        assert_eq!(client.protocol_version(), Some(versions[0].version));
    }
    let (client, _) = shake(&ours, &server, "kafka.example.com").unwrap();
    assert_eq!(
        client.protocol_version(),
        Some(rustls::ProtocolVersion::TLSv1_3)
    );
}

fn webpki_anchor(authority: &Authority) -> rustls::pki_types::TrustAnchor<'static> {
    let mut store = rustls::RootCertStore::empty();
    store.add(der(&authority.pem())).unwrap();
    store.roots.remove(0)
}

#[test]
fn clients_have_to_show_a_certificate_as_far_as_they_are_asked() {
    let [authority, stranger] = ["Example CA", "Stranger"].map(Authority::new);
    let wish = |days| Wish {
        common_name: "app",
        days,
        ..Wish::default()
    };
    let [good, expired] = [(-1, 90), (-90, -1)].map(|days| authority.issue(&wish(days)));
    let foreign = stranger.issue(&wish((-1, 90)));
    let ca = authorities(&authority.pem());
    let asks = |auth| server(vec![authority.for_names(&["kafka.example.com"])], auth);
    let [none, requested, required] = [
        ClientAuth::None,
        ClientAuth::Requested(ca.clone()),
        ClientAuth::Required(ca),
    ]
    .map(asks);
    let result = |server, shown| {
        let shaken = shake(&client(&authority, shown), server, "kafka.example.com");
        shaken.map(|(_, server)| server.peer_certificates().map(|chain| describe(&chain[0])))
    };
    assert_eq!(result(&none, Some(&good)), Ok(None));
    for server in [&requested, &required] {
        assert_eq!(
            result(server, Some(&good)),
            Ok(Some("CN=app,O=Example\\, Inc.".to_owned()))
        );
        for wrong in [&expired, &foreign] {
            assert!(
                result(server, Some(wrong))
                    .unwrap_err()
                    .starts_with("server: invalid peer certificate")
            );
        }
    }
    assert_eq!(result(&requested, None), Ok(None));
    assert_eq!(
        result(&required, None),
        Err("server: peer sent no certificates".to_owned())
    );
}

#[test]
fn a_broker_has_to_be_vouched_for_valid_and_of_the_name() {
    let [authority, stranger] = ["Example CA", "Stranger"].map(Authority::new);
    let names: &[&str] = &["kafka.example.com"];
    let intermediate = authority.intermediate("Intermediate");
    let behind = intermediate.for_names(names);
    let whole = Issued {
        certificate: behind.certificate.clone() + &intermediate.pem(),
        key: behind.key,
    };
    let client = client(&authority, None);
    let result = |issued: Issued, name| {
        shake(&client, &server(vec![issued], ClientAuth::None), name).map(|_| ())
    };
    assert_eq!(
        result(authority.for_names(names), "kafka.example.com"),
        Ok(())
    );
    assert_eq!(result(whole, "kafka.example.com"), Ok(()));
    for (issued, name) in [
        (authority.for_names(names), "other.example.com"),
        (
            authority.issue(&Wish {
                names,
                days: (-90, -1),
                ..Wish::default()
            }),
            "kafka.example.com",
        ),
        (
            authority.issue(&Wish {
                names,
                days: (1, 90),
                ..Wish::default()
            }),
            "kafka.example.com",
        ),
        (stranger.for_names(names), "kafka.example.com"),
        (intermediate.for_names(names), "kafka.example.com"),
    ] {
        let error = result(issued, name).unwrap_err();
        assert!(
            error.starts_with("client: invalid peer certificate"),
            "{error}"
        );
    }
}

#[test]
fn without_verification_anybody_is_a_broker_who_has_the_key_of_what_is_shown() {
    let [one, other] = ["One", "Other"].map(|name| Authority::new(name).for_names(&["a.example"]));
    let client = ClientTls::new(Authorities::platform(), None, None, Verify::Off).unwrap();
    shake(
        &client,
        &server(vec![self_signed(&Wish::default())], ClientAuth::None),
        "b.example",
    )
    .unwrap();

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key =
        rustls::pki_types::PrivateKeyDer::from_pem_slice(other.key.serialize_pem().as_bytes())
            .unwrap();
    let key = provider.key_provider.load_private_key(key).unwrap();
    let stolen = rustls::sign::CertifiedKey::new(vec![der(&one.certificate)], key);
    for versions in [&[&version::TLS12], &[&version::TLS13]] {
        let builder = rustls::ServerConfig::builder_with_provider(provider.clone());
        let thief = builder
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(
                stolen.clone(),
            )));
        let error = shake_with(client.config(), &Arc::new(thief), "a.example")
            .map(|_| ())
            .unwrap_err();
        assert_eq!(error, "client: invalid peer certificate: BadSignature");
    }
}

#[test]
fn a_session_is_resumed_until_the_listeners_tls_is_made_anew() {
    let authority = Authority::new("Example CA");
    let shown = authority.issue(&Wish {
        common_name: "app",
        ..Wish::default()
    });
    let issued = authority.for_names(&["kafka.example.com"]);
    let auth = || ClientAuth::Required(authorities(&authority.pem()));
    let [before, after] =
        [(); 2].map(|()| ServerTls::new(vec![identity(&issued)], auth()).unwrap());
    let client = client(&authority, Some(&shown));
    let kind = |server| {
        let (client, server) = shake(&client, server, "kafka.example.com").unwrap();
        assert!(
            server.peer_certificates().is_some(),
            "a resumed session is still that client's"
        );
        client.handshake_kind()
    };
    assert_eq!(kind(&before), Some(HandshakeKind::Full));
    assert_eq!(kind(&before), Some(HandshakeKind::Resumed));
    assert_eq!(kind(&after), Some(HandshakeKind::Full));
}
