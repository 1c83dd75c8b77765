//! Notices that files have changed, however they are changed: written in place, renamed over, or
//! reached through a symbolic link that Kubernetes has turned elsewhere.
//!
//! It looks instead of being told. A look costs a few system calls a second, and works the same on
//! every file system; events differ between them, and a watch on a mounted file ends with the first
//! swap.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files that are looked at, and what they looked like when they were read.
#[derive(Debug)]
pub(super) struct Watch {
    files: Vec<PathBuf>,
    read: Looks,
    last: Looks,
}

/// What tells one state of a file from another, links followed; `None` where there is none.
type Looks = Vec<Option<(u64, u64, u64, i64, i64, i64, i64)>>;

impl Watch {
    /// Takes the files as they are now.
    pub(super) fn over(files: Vec<PathBuf>) -> Self {
        let read = looks(&files);
        Self {
            files,
            last: read.clone(),
            read,
        }
    }

    /// The files that are looked at.
    pub(super) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Waits until a file has changed and nothing changes any more; for ever, if `interval` is
    /// zero. Cancel-safe.
    pub(super) async fn changed(&mut self, interval: Duration) {
        if interval.is_zero() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(interval).await;
            let files = self.files.clone();
            // Not on a thread that moves bytes: the files may be far away.
            #[expect(
                clippy::disallowed_methods,
                reason = "cli::run ends the runtime without waiting for a mount that hangs"
            )]
            let Ok(now) = tokio::task::spawn_blocking(move || looks(&files)).await else {
                continue;
            };
            if self.settles(now) {
                return;
            }
        }
    }

    /// Whether the files differ from what was read, and have not changed since the last look.
    fn settles(&mut self, now: Looks) -> bool {
        let is_settled = now == self.last;
        self.last = now;
        is_settled && self.last != self.read
    }
}

fn looks(files: &[PathBuf]) -> Looks {
    let look = |file: &Metadata| {
        (
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        )
    };
    files
        .iter()
        .map(|file| look_at(file).as_ref().map(look))
        .collect()
}

fn look_at(file: &Path) -> Option<Metadata> {
    std::fs::metadata(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Whether a change is noticed: at the second look that sees it, and then no more.
    fn is_noticed(watch: &mut Watch) -> bool {
        let files = watch.files.clone();
        assert!(!watch.settles(looks(&files)), "it may still be written");
        let is_noticed = watch.settles(looks(&files));
        *watch = Watch::over(files.clone());
        assert!(!watch.settles(looks(&files)), "what was read is no change");
        is_noticed
    }

    #[test]
    fn a_file_that_is_written_replaced_removed_or_made_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tls.crt");
        fs::write(&file, "old").unwrap();
        let mut watch = Watch::over(vec![file.clone()]);
        assert!(!is_noticed(&mut watch), "nothing has changed");
        fs::write(&file, "longer than before").unwrap();
        assert!(is_noticed(&mut watch));
        let new = folder.path().join("new");
        fs::write(&new, "longer than before").unwrap();
        fs::rename(&new, &file).unwrap();
        assert!(is_noticed(&mut watch));
        fs::remove_file(&file).unwrap();
        assert!(is_noticed(&mut watch));
        fs::write(&file, "again").unwrap();
        assert!(is_noticed(&mut watch));
    }

    #[test]
    fn a_swap_of_the_link_that_kubernetes_mounts_files_through_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        for version in ["..1", "..2"] {
            fs::create_dir(path.join(version)).unwrap();
            fs::write(path.join(version).join("tls.crt"), version).unwrap();
        }
        symlink("..1", path.join("..data")).unwrap();
        symlink("..data/tls.crt", path.join("tls.crt")).unwrap();
        let mut watch = Watch::over(vec![path.join("tls.crt")]);
        symlink("..2", path.join("..data_tmp")).unwrap();
        fs::rename(path.join("..data_tmp"), path.join("..data")).unwrap();
        assert!(is_noticed(&mut watch));
    }

    #[test]
    fn a_file_that_is_still_changing_waits_until_it_has_settled() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tls.key");
        fs::write(&file, "").unwrap();
        let mut watch = Watch::over(vec![file.clone()]);
        for length in 1..5 {
            fs::write(&file, "x".repeat(length)).unwrap();
            assert!(!watch.settles(looks(std::slice::from_ref(&file))));
        }
        assert!(watch.settles(looks(&[file])));
    }
}
