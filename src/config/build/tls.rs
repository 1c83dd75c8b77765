//! Assembles TLS, of listeners and of clusters, from the files that the configuration names.

use crate::config::keys::{self, Key};
use crate::config::parse::{self, ClientAuthMode, SchemeKind, Switch, TlsMode};
use crate::config::problem::Fault;
use crate::config::reader::Reader;
use crate::net::tls::{
    Authorities, ClientAuth, ClientTls, FileProblem, Identity, ServerTls, TlsError, Verify,
};
use crate::session::ListenerTls;
use std::path::{Path, PathBuf};

/// What the keys of a listener's TLS say, each for itself.
struct Said {
    certificates: Option<Vec<PathBuf>>,
    keys: Option<Vec<PathBuf>>,
    auth: ClientAuthMode,
    ca: Option<PathBuf>,
    broker_port: Option<u16>,
}

/// The TLS of a listener, `Some(None)` for none; `None` when a problem with it has been noted.
pub(super) fn of_listener(
    reader: &mut Reader,
    name: &str,
    scheme: Option<SchemeKind>,
) -> Option<Option<ListenerTls>> {
    let is_certified =
        reader.is_set(&keys::TLS_CERTIFICATE, name) || reader.is_set(&keys::TLS_KEY, name);
    let derived = if is_certified {
        TlsMode::Terminate
    } else {
        TlsMode::Off
    };
    let mode = reader.derived(&keys::TLS_MODE, name, parse::tls_mode, Some(derived));
    let certificates = reader.optional_many(&keys::TLS_CERTIFICATE, name, parse::paths);
    let keys = reader.optional_many(&keys::TLS_KEY, name, parse::paths);
    let auth = reader.one(&keys::CLIENT_AUTH_MODE, name, parse::client_auth);
    let ca = reader.optional(&keys::CLIENT_AUTH_CA, name, parse::path);
    let broker_port = reader.optional(
        &keys::TLS_BROKER_PORT,
        name,
        parse::integer::<u16>(keys::TLS_BROKER_PORT.kind.integers()),
    );
    let lists = [&certificates, &keys]
        .into_iter()
        .flatten()
        .flatten()
        .flatten();
    for file in lists.chain(ca.iter().flatten()) {
        reader.watch(file);
    }
    let fits = fits(reader, name, mode, scheme);
    let said = Said {
        certificates: certificates?,
        keys: keys?,
        auth: auth?,
        ca: ca?,
        broker_port: broker_port?,
    };
    let tls = match mode? {
        TlsMode::Off => said
            .only(reader, name, &[], "tls.mode is off")
            .map(|()| None),
        TlsMode::Passthrough => {
            let why = "with mode passthrough, TLS ends at the brokers, which present their own \
                certificates";
            let broker_port = said.broker_port;
            let only = said.only(reader, name, &[keys::TLS_BROKER_PORT], why);
            only.map(|()| Some(ListenerTls::Passthrough { broker_port }))
        }
        TlsMode::Terminate => {
            server(reader, name, &said).map(|server| server.map(ListenerTls::Terminate))
        }
    };
    fits.and(tls)
}

/// Names in TLS say which broker is meant with scheme sni, and only there can TLS go on to the
/// broker unread.
fn fits(
    reader: &mut Reader,
    name: &str,
    mode: Option<TlsMode>,
    scheme: Option<SchemeKind>,
) -> Option<()> {
    let fault = match (mode?, scheme?) {
        (TlsMode::Off, SchemeKind::Sni) => Fault::new(
            "scheme sni needs TLS: the name in its first message says which broker a client wants",
            "set tls.certificate and tls.key, or write `mode: passthrough` when the brokers show \
             their own",
        ),
        (TlsMode::Passthrough, SchemeKind::Port | SchemeKind::Single) => Fault::new(
            "passthrough needs scheme sni: addresses can't be rewritten inside TLS",
            "write `scheme: sni`, or set tls.certificate and tls.key to end TLS here",
        ),
        _ => return Some(()),
    };
    reader.wrong(&keys::TLS_MODE, name, fault);
    None
}

impl Said {
    /// Refuses every key that is said but those `allowed`.
    fn only(&self, reader: &mut Reader, name: &str, allowed: &[Key], why: &str) -> Option<()> {
        let all = [
            (keys::TLS_CERTIFICATE, self.certificates.is_some()),
            (keys::TLS_KEY, self.keys.is_some()),
            (keys::CLIENT_AUTH_MODE, self.auth != ClientAuthMode::None),
            (keys::CLIENT_AUTH_CA, self.ca.is_some()),
            (keys::TLS_BROKER_PORT, self.broker_port.is_some()),
        ];
        let wrong: Vec<_> = all
            .iter()
            .filter(|(key, is_said)| *is_said && !allowed.contains(key))
            .map(|(key, _)| key)
            .collect();
        for key in &wrong {
            reader.wrong(key, name, Fault::new(why, "remove it, or change tls.mode"));
        }
        wrong.is_empty().then_some(())
    }
}

/// `Some(None)` where files are to stay unread.
fn server(reader: &mut Reader, name: &str, said: &Said) -> Option<Option<ServerTls>> {
    let pairs = pairs(reader, name, said);
    let client_auth = client_auth(reader, name, said);
    if said.broker_port.is_some() {
        let why = "it belongs to mode passthrough: where TLS ends here, the cluster's tls says \
                   how brokers are reached";
        reader.wrong(
            &keys::TLS_BROKER_PORT,
            name,
            Fault::new(why, "remove it, or write `mode: passthrough`"),
        );
    }
    if !reader.reads_files() {
        return pairs.and(client_auth).map(|_| None);
    }
    let own = (&keys::TLS_CERTIFICATE, &keys::TLS_KEY);
    let identities: Vec<_> = pairs?
        .iter()
        .map(|(certificate, key)| identity(reader, name, own, certificate, key))
        .collect();
    let identities = identities.into_iter().collect::<Option<Vec<_>>>()?;
    ServerTls::new(identities, client_auth?)
        .map_err(|error| whole(reader, own.0, name, &error))
        .ok()
        .map(Some)
}

/// Certificates and keys by their position.
fn pairs(reader: &mut Reader, name: &str, said: &Said) -> Option<Vec<(PathBuf, PathBuf)>> {
    match (&said.certificates, &said.keys) {
        (Some(certificates), Some(keys)) if certificates.len() == keys.len() => Some(
            certificates
                .iter()
                .cloned()
                .zip(keys.iter().cloned())
                .collect(),
        ),
        (Some(certificates), Some(keys)) => {
            let count =
                |count: usize, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
            let keys = count(keys.len(), "key");
            let certificates = count(certificates.len(), "certificate");
            let reason = format!("{keys} can't be paired with {certificates}");
            let cure = "write one key for each certificate, in the same order";
            reader.wrong(&keys::TLS_KEY, name, Fault::new(reason, cure));
            None
        }
        (certificates, keys) => {
            if certificates.is_none() {
                incomplete(
                    reader,
                    &keys::TLS_CERTIFICATE,
                    name,
                    "name the PEM file of the certificate chain",
                );
            }
            if keys.is_none() {
                incomplete(
                    reader,
                    &keys::TLS_KEY,
                    name,
                    "name the PEM file of the certificate's key",
                );
            }
            None
        }
    }
}

fn incomplete(reader: &mut Reader, key: &Key, name: &str, cure: &str) {
    reader.wrong(
        key,
        name,
        Fault::new(
            "it is missing: a certificate and its key belong together",
            cure,
        ),
    );
}

fn client_auth(reader: &mut Reader, name: &str, said: &Said) -> Option<ClientAuth> {
    let make = match said.auth {
        ClientAuthMode::None if said.ca.is_none() => return Some(ClientAuth::None),
        ClientAuthMode::None => {
            let reason = "no client is asked for a certificate: client_auth.mode is none";
            let cure = "write `mode: required` or `mode: requested` beside it, or remove it";
            reader.wrong(&keys::CLIENT_AUTH_CA, name, Fault::new(reason, cure));
            return None;
        }
        ClientAuthMode::Requested => ClientAuth::Requested,
        ClientAuthMode::Required => ClientAuth::Required,
    };
    let Some(ca) = &said.ca else {
        let reason = "it is missing, and without it no certificate of a client can be verified";
        let cure = "name the PEM file of the authorities that sign them: with Strimzi, \
                    CLUSTER-clients-ca-cert";
        reader.wrong(&keys::CLIENT_AUTH_CA, name, Fault::new(reason, cure));
        return None;
    };
    if !reader.reads_files() {
        return Some(ClientAuth::None);
    }
    authorities(reader, &keys::CLIENT_AUTH_CA, name, ca).map(make)
}

/// The TLS of a cluster, `Some(None)` for none; `None` when a problem with it has been noted.
pub(super) fn of_cluster(reader: &mut Reader, name: &str) -> Option<Option<ClientTls>> {
    let others = [
        keys::CLUSTER_TLS_CA,
        keys::CLUSTER_TLS_CERTIFICATE,
        keys::CLUSTER_TLS_KEY,
        keys::CLUSTER_TLS_SERVER_NAME,
        keys::CLUSTER_TLS_VERIFY,
    ];
    let is_used = others.iter().any(|key| reader.is_set(key, name));
    let derived = if is_used { Switch::On } else { Switch::Off };
    let mode = reader.derived(&keys::CLUSTER_TLS_MODE, name, parse::switch, Some(derived));
    let ca = reader.optional(&keys::CLUSTER_TLS_CA, name, parse::path);
    let certificate = reader.optional(&keys::CLUSTER_TLS_CERTIFICATE, name, parse::path);
    let key = reader.optional(&keys::CLUSTER_TLS_KEY, name, parse::path);
    let server_name = reader.optional(&keys::CLUSTER_TLS_SERVER_NAME, name, parse::server_name);
    let verify = reader.one(&keys::CLUSTER_TLS_VERIFY, name, parse::verify);
    for file in [&ca, &certificate, &key].into_iter().flatten().flatten() {
        reader.watch(file);
    }
    if mode? == Switch::Off {
        return unused(reader, name, &others, verify?).map(|()| None);
    }
    let authorities = match ca? {
        Some(ca) if reader.reads_files() => authorities(reader, &keys::CLUSTER_TLS_CA, name, &ca),
        _ => Some(Authorities::platform()),
    };
    let own = (&keys::CLUSTER_TLS_CERTIFICATE, &keys::CLUSTER_TLS_KEY);
    let identity = match (certificate?, key?) {
        (None, None) => Some(None),
        (Some(_), Some(_)) if !reader.reads_files() => Some(None),
        (Some(certificate), Some(key)) => identity(reader, name, own, &certificate, &key).map(Some),
        (None, Some(_)) => {
            incomplete(
                reader,
                own.0,
                name,
                "name the PEM file of the certificate chain",
            );
            None
        }
        (Some(_), None) => {
            incomplete(
                reader,
                own.1,
                name,
                "name the PEM file of the certificate's key",
            );
            None
        }
    };
    let tls = ClientTls::new(authorities?, identity?, server_name?, verify?);
    tls.map(Some)
        .map_err(|error| whole(reader, &keys::CLUSTER_TLS_MODE, name, &error))
        .ok()
}

/// Refuses what is said of TLS where it is off. `full` is what holds anyway.
fn unused(reader: &mut Reader, name: &str, keys: &[Key], verify: Verify) -> Option<()> {
    let is_said = |key: &Key| *key != keys::CLUSTER_TLS_VERIFY || verify != Verify::Full;
    let set: Vec<_> = keys
        .iter()
        .filter(|key| reader.is_set(key, name) && is_said(key))
        .collect();
    for key in &set {
        let fault = Fault::new("tls.mode is off", "remove it, or write `mode: on`");
        reader.wrong(key, name, fault);
    }
    set.is_empty().then_some(())
}

fn identity(
    reader: &mut Reader,
    name: &str,
    (certificate_key, key_key): (&Key, &Key),
    certificate: &Path,
    key: &Path,
) -> Option<Identity> {
    let problems = match Identity::read(certificate, key) {
        Ok(identity) => return Some(identity),
        Err(problems) => problems,
    };
    // Where one file is to hold both, what is said of the certificate comes first.
    for (index, problem) in problems.into_iter().enumerate() {
        let is_certificate = problem.file == certificate && index == 0;
        let blamed = if is_certificate {
            certificate_key
        } else {
            key_key
        };
        reader.wrong(blamed, name, told(reader, blamed, name, problem));
    }
    None
}

fn authorities(reader: &mut Reader, key: &Key, name: &str, file: &Path) -> Option<Authorities> {
    let problem = match Authorities::read(file) {
        Ok(authorities) => return Some(authorities),
        Err(problem) => problem,
    };
    reader.wrong(key, name, told(reader, key, name, problem));
    None
}

/// Where several files are listed, the one that is meant is named.
fn told(reader: &Reader, key: &Key, name: &str, problem: FileProblem) -> Fault {
    match reader.items(key, name) {
        0 | 1 => Fault::new(problem.reason, problem.cure),
        _ => Fault::new(
            format!("{}: {}", problem.file.display(), problem.reason),
            problem.cure,
        ),
    }
}

fn whole(reader: &mut Reader, key: &Key, name: &str, error: &TlsError) {
    reader.wrong(
        key,
        name,
        Fault::new(
            error.to_string(),
            "use certificates and authorities of another kind",
        ),
    );
}
