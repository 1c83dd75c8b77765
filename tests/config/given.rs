//! Configurations for tests, and the certificates that they name.

use crate::pki::{self, Authority, Wish};
use narrows::config::{Loaded, Problems, Sources, load};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) const ISSUE_EXAMPLE: &str = "
clusters:
  orders:
    bootstrap_servers: [10.77.0.11:9092, 10.77.0.12:9092]
listeners:
  external:
    cluster: orders
    bind: 0.0.0.0:19092              # the bootstrap port
    address:
      scheme: port
      advertised_host: kafka.example.com
      first_port: 19093              # node ids in node_ids get 19093, 19094, …, in order
      node_ids: [1-3, 1000-1002]     # inclusive ranges, sparse is normal; default 0-19
admin:
  bind: 127.0.0.1:9190
";

/// Where the examples have their certificates.
pub(crate) const ETC: &str = "/etc/narrows/";

/// A configuration in a file that lives as long as this does, and so do the certificates that it
/// names.
pub(crate) struct Given {
    pub(crate) file: tempfile::NamedTempFile,
    pub(crate) sources: Sources,
    pub(crate) etc: tempfile::TempDir,
}

impl Given {
    pub(crate) fn file(text: &str) -> Self {
        let etc = tempfile::TempDir::new().unwrap();
        let mut text = text.to_owned();
        if text.contains(ETC) {
            certify(
                etc.path(),
                &["kafka.example.com", "*.kafka.example.com"],
                (-1, 90),
            );
            text = text.replace(ETC, &format!("{}/", etc.path().display()));
        }
        let mut file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let sources = Sources {
            file: Some(file.path().to_owned()),
            ..Sources::default()
        };
        Self { file, sources, etc }
    }

    /// A file of the repository, with certificates where it names some.
    pub(crate) fn example(path: impl AsRef<Path>) -> Self {
        Self::file(&std::fs::read_to_string(path).unwrap())
    }

    pub(crate) fn path(&self) -> &str {
        self.file.path().to_str().unwrap()
    }

    /// A path below the folder of certificates.
    pub(crate) fn etc(&self, path: &str) -> PathBuf {
        self.etc.path().join(path)
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources
            .environment
            .push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn flag(mut self, name: &str, value: &str) -> Self {
        self.sources.flags.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn load(&self) -> Result<Loaded, Problems> {
        load(&self.sources)
    }

    pub(crate) fn origin_in_file(&self) -> String {
        format!("file {}", self.file.path().display())
    }
}

/// Fills the folder with the files that the examples name: a listener's certificate for these
/// names, valid for these days from now, and authorities.
pub(crate) fn certify(etc: &Path, names: &[&str], days: (i64, i64)) {
    let authority = Authority::new("Example CA");
    for folder in ["tls", "user", "cluster-ca", "clients-ca"] {
        std::fs::create_dir_all(etc.join(folder)).unwrap();
    }
    authority
        .issue(&Wish {
            names,
            days,
            ..Wish::default()
        })
        .write(&etc.join("tls"), "tls");
    authority
        .issue(&Wish {
            common_name: "narrows",
            days,
            ..Wish::default()
        })
        .write(&etc.join("user"), "user");
    for folder in ["cluster-ca", "clients-ca"] {
        pki::write(&etc.join(folder), "ca.crt", authority.pem());
    }
}

/// The example with one TLS port, and a certificate for Narrows itself.
pub(crate) fn ingress() -> String {
    let text = std::fs::read_to_string("config/examples/ingress.yaml").unwrap();
    let own = "    tls:\n      certificate: /etc/narrows/user/user.crt\n      key: \
               /etc/narrows/user/user.key\n";
    text.replacen("    tls:\n", own, 1)
}

pub(crate) fn no_file(
    environment: &[(&str, &str)],
    flags: &[(&str, &str)],
) -> Result<Loaded, Problems> {
    let owned = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
            .collect()
    };
    load(&Sources {
        file: None,
        environment: owned(environment),
        flags: owned(flags),
        ..Sources::default()
    })
}
