//! A folder of files as Kubernetes mounts a Secret: the files are links through the link `..data`,
//! which is swapped whole for one to a new folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use anyhow::Result;

use crate::fixture::Fixture;
use crate::pki::Identity;

/// A certificate and its key at paths that stay.
#[derive(Debug)]
pub(crate) struct Secret {
    folder: PathBuf,
    name: String,
}

impl Secret {
    pub(crate) fn mount(fixture: &Fixture, domain: &str) -> Result<(Self, Identity)> {
        let folder = fixture
            .namespaces
            .scratch()
            .join(fixture.namespaces.unique("secret"));
        fs::create_dir_all(&folder)?;
        for file in [CERTIFICATE, KEY] {
            symlink(format!("..data/{file}"), folder.join(file))?;
        }
        let secret = Self {
            folder,
            name: domain.to_owned(),
        };
        let first = secret.renew(fixture)?;
        Ok((secret, first))
    }

    /// Puts a new certificate and key in the place of the old ones, at once. Says what they are, at
    /// the paths that stay.
    pub(crate) fn renew(&self, fixture: &Fixture) -> Result<Identity> {
        let next = self.next(fixture)?;
        let issued = fixture.pki.serve_from(&next, NAME, &self.name)?;
        self.swap(&next)?;
        let [certificate, key] = [CERTIFICATE, KEY].map(|file| self.folder.join(file));
        Ok(Identity {
            certificate,
            key,
            der: issued.der,
        })
    }

    /// As [`Self::renew`], with a certificate file that was cut off.
    pub(crate) fn break_certificate(&self, fixture: &Fixture) -> Result<()> {
        let next = self.next(fixture)?;
        let issued = fixture.pki.serve_from(&next, NAME, &self.name)?;
        let text = fs::read(&issued.certificate)?;
        fs::write(&issued.certificate, &text[..text.len() / 2])?;
        self.swap(&next)
    }

    fn next(&self, fixture: &Fixture) -> Result<PathBuf> {
        let next = self.folder.join(fixture.namespaces.unique("..version"));
        fs::create_dir(&next)?;
        Ok(next)
    }

    fn swap(&self, next: &std::path::Path) -> Result<()> {
        let data = self.folder.join("..data");
        let before = fs::canonicalize(&data).ok();
        let link = self.folder.join("..data_tmp");
        symlink(next.file_name().unwrap_or_default(), &link)?;
        fs::rename(&link, &data)?;
        before.map_or(Ok(()), fs::remove_dir_all)?;
        Ok(())
    }
}

const NAME: &str = "tls";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
