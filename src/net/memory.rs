//! How much memory the process may use: what its container allows (cgroup v2 or v1), or what the
//! machine has.

use crate::sys::read_file;
use std::path::{Path, PathBuf};

/// How much memory there is for the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryLimit {
    /// In bytes.
    pub(crate) bytes: u64,
    /// Who says so: the file of the control group, if it is one.
    pub(crate) file: Option<PathBuf>,
}

/// No file that is read here is longer.
const FILE_BYTES_MAX: u64 = 64 * 1024;
/// cgroup v1 says "no limit" by a number of this size.
const UNLIMITED: u64 = 1 << 60;

impl MemoryLimit {
    /// What holds here; `None` where nothing can be read. Reads a few small files of the kernel's.
    pub(crate) fn here() -> Option<Self> {
        Self::under(Path::new("/"))
    }

    /// The least of the machine's memory and of every control group's that the process is in. In a
    /// container its own group is the root of what it sees; elsewhere a unit's slice may bound it.
    fn under(root: &Path) -> Option<Self> {
        let groups = text(&root.join("proc/self/cgroup")).unwrap_or_default();
        let files = groups.lines().flat_map(|line| files(root, line));
        let limited = files.filter_map(|file| {
            let bytes = text(&file)?.trim().parse().ok()?;
            (bytes < UNLIMITED).then_some(Self {
                bytes,
                file: Some(file),
            })
        });
        let machine = machine(root).map(|bytes| Self { bytes, file: None });
        limited.chain(machine).min_by_key(|limit| limit.bytes)
    }
}

/// The files with the limits of a control group and of those that it is in, by a line of
/// `/proc/self/cgroup` (cgroups(7)): `0::/path` in version 2, `7:memory:/path` in version 1.
fn files(root: &Path, line: &str) -> Vec<PathBuf> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
        return Vec::new();
    };
    let (mount, name) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|one| one == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let path = Path::new(path.trim_start_matches('/'));
    let groups = path.ancestors();
    groups
        .map(|group| root.join(mount).join(group).join(name))
        .collect()
}

/// What the machine has (proc_meminfo(5)).
fn machine(root: &Path) -> Option<u64> {
    let text = text(&root.join("proc/meminfo"))?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn text(file: &Path) -> Option<String> {
    String::from_utf8(read_file(file, FILE_BYTES_MAX).ok()??).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:        4194304 kB\nMemFree:          100 kB\n";

    /// What is read in a system that has these files.
    fn limit(files: &[(&str, &str)]) -> Option<(u64, Option<String>)> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = root.path().join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
        let MemoryLimit { bytes, file } = MemoryLimit::under(root.path())?;
        let file = file.map(|file| {
            let file = file.strip_prefix(root.path()).unwrap().to_owned();
            file.display().to_string()
        });
        Some((bytes, file))
    }

    #[test]
    fn a_container_has_what_its_control_group_allows() {
        let own = "sys/fs/cgroup/memory.max";
        let second = limit(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n"),
            (own, "67108864\n"),
        ]);
        assert_eq!(second, Some((64 << 20, Some(own.to_owned()))));
        let own = "sys/fs/cgroup/memory/memory.limit_in_bytes";
        let first = limit(&[
            ("proc/meminfo", MEMINFO),
            (
                "proc/self/cgroup",
                "3:cpu,cpuacct:/a\n2:memory:/docker/abc\n",
            ),
            (own, "134217728\n"),
        ]);
        assert_eq!(first, Some((128 << 20, Some(own.to_owned()))));
    }

    #[test]
    fn the_group_around_counts_where_it_allows_less() {
        let around = "sys/fs/cgroup/system.slice/memory.max";
        let limit = limit(&[
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/system.slice/narrows.service\n"),
            (around, "1048576\n"),
            (
                "sys/fs/cgroup/system.slice/narrows.service/memory.max",
                "2097152\n",
            ),
        ]);
        assert_eq!(limit, Some((1 << 20, Some(around.to_owned()))));
    }

    #[test]
    fn without_a_limit_it_is_what_the_machine_has() {
        let none = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/\n2:memory:/\n"),
            ("sys/fs/cgroup/memory.max", "max\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ];
        assert_eq!(limit(&none), Some((4 << 30, None)));
        assert_eq!(limit(&none[1..]), None, "the great number is no limit");
        assert_eq!(limit(&[("proc/self/cgroup", "nonsense\n")]), None);
    }
}
