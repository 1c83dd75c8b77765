//! How large the pools of buffers and pipes may be: what they hold counts against the memory of the
//! container, pipes in the kernel too, and against the pages that the kernel grants one user's
//! pipes. A sidecar with 64 MiB must not hold 64 MiB of somebody's record sets in pipes.

use super::buffer::BUFFER_BYTES;
use super::memory::MemoryLimit;
use std::fmt;

/// What pipes may have of the memory: they hold what slow readers have not taken.
const PIPES_SHARE: u64 = 8;
/// What idle buffers may have of it: they are there to save an allocation.
const BUFFERS_SHARE: u64 = 64;
/// More than this two cores never use at once.
const PIPES_MAX: u64 = 64;
const BUFFERS_MAX: u64 = 64;
/// Fewer are not worth having: a session in full flow takes one of each.
const PIPES_MIN: u64 = 4;
const BUFFERS_MIN: u64 = 4;
/// What a pipe is asked to hold, best first, and how many there must be of such a size. More bytes
/// at once cost fewer system calls; more pipes let more sessions splice.
const PIPE_BYTES: [(u64, u64); 3] = [(1024 * 1024, 16), (256 * 1024, 16), (64 * 1024, 0)];

const PAGE_BYTES: u64 = 4096;
/// Where the kernel says how many pages the pipes of one user may have (pipe(7)).
pub(crate) const PIPE_PAGES: &str = "/proc/sys/fs/pipe-user-pages-soft";

/// How large the pools may be, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PoolSizes {
    /// How many pipes there may be.
    pub(crate) pipes: usize,
    /// How many bytes each of them is asked to hold.
    pub(crate) pipe_bytes: usize,
    /// How many buffers are kept while nobody needs them.
    pub(crate) buffers: usize,
    pipes_by: Reason,
    memory: Option<MemoryLimit>,
    pages: Option<u64>,
}

/// What a size follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// There is no need for more.
    Enough,
    Memory,
    Pages,
}

/// The pages of pipes that a user without privileges may have; `None` where there is no limit, or
/// none can be read.
pub(crate) fn pipe_pages() -> Option<u64> {
    let text = std::fs::read_to_string(PIPE_PAGES).ok()?;
    text.trim().parse().ok().filter(|pages| *pages > 0)
}

impl PoolSizes {
    /// What is right here.
    pub(crate) fn here() -> Self {
        Self::of(MemoryLimit::here(), pipe_pages())
    }

    /// What is right with so much memory, and so many pages for the user's pipes.
    pub(crate) fn of(memory: Option<MemoryLimit>, pages: Option<u64>) -> Self {
        let share = |of: u64| memory.as_ref().map_or(u64::MAX, |limit| limit.bytes / of);
        let granted = pages.map_or(u64::MAX, |pages| pages.saturating_mul(PAGE_BYTES));
        let budget = share(PIPES_SHARE).min(granted);
        let fits = |(bytes, least): &&(u64, u64)| budget / bytes >= *least;
        let (pipe_bytes, _) = PIPE_BYTES.iter().find(fits).unwrap_or(&PIPE_BYTES[2]);
        let pipes = (budget / pipe_bytes).clamp(PIPES_MIN, PIPES_MAX);
        let is_largest = *pipe_bytes == PIPE_BYTES[0].0 && pipes == PIPES_MAX;
        let pipes_by = match is_largest {
            true => Reason::Enough,
            false if granted < share(PIPES_SHARE) => Reason::Pages,
            false => Reason::Memory,
        };
        let buffers = share(BUFFERS_SHARE) / BUFFER_BYTES as u64;
        let buffers = buffers.clamp(BUFFERS_MIN, BUFFERS_MAX);
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            pipes: size(pipes),
            pipe_bytes: size(*pipe_bytes),
            buffers: size(buffers),
            pipes_by,
            memory,
            pages,
        }
    }

    /// Why there may be so many pipes of such a size.
    pub(crate) fn why_pipes(&self) -> String {
        match self.pipes_by {
            Reason::Enough => "no more are needed".to_owned(),
            Reason::Memory => format!("an eighth of {}", self.memory_text()),
            Reason::Pages => {
                let pages = self.pages.unwrap_or_default();
                format!("one user's pipes may have {pages} pages ({PIPE_PAGES})")
            }
        }
    }

    /// Why so many buffers are kept.
    pub(crate) fn why_buffers(&self) -> String {
        if self.buffers as u64 == BUFFERS_MAX {
            "no more are needed".to_owned()
        } else {
            format!("a sixty-fourth of {}", self.memory_text())
        }
    }

    fn memory_text(&self) -> String {
        let Some(MemoryLimit { bytes, file }) = &self.memory else {
            return "the memory".to_owned();
        };
        let mebibytes = bytes >> 20;
        match file {
            Some(file) => format!(
                "the {mebibytes} MiB that the container may use ({})",
                file.display()
            ),
            None => format!("the {mebibytes} MiB that the machine has"),
        }
    }
}

impl fmt::Display for PoolSizes {
    /// A line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pipes of {} KiB ({}), {} buffers of {} KiB kept ({})",
            self.pipes,
            self.pipe_bytes >> 10,
            self.why_pipes(),
            self.buffers,
            BUFFER_BYTES >> 10,
            self.why_buffers()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// The kernel's default: 64 MiB.
    const PAGES: Option<u64> = Some(16_384);

    fn memory(bytes: u64) -> Option<MemoryLimit> {
        let file = Some("/sys/fs/cgroup/memory.max".into());
        Some(MemoryLimit { bytes, file })
    }

    #[test]
    fn pools_follow_the_memory_of_the_container_and_the_users_pages() {
        let of = |bytes: Option<u64>, pages| {
            let sizes = PoolSizes::of(bytes.and_then(memory), pages);
            (sizes.pipes, sizes.pipe_bytes >> 10, sizes.buffers)
        };
        assert_eq!(of(None, None), (64, 1024, 64));
        assert_eq!(of(Some(1024 * MIB), PAGES), (64, 1024, 64));
        assert_eq!(of(Some(256 * MIB), PAGES), (32, 1024, 32));
        assert_eq!(of(Some(64 * MIB), PAGES), (32, 256, 8));
        assert_eq!(of(Some(16 * MIB), PAGES), (32, 64, 4));
        assert_eq!(of(Some(MIB), PAGES), (4, 64, 4), "never none");
        assert_eq!(of(Some(1024 * MIB), Some(2_048)), (32, 256, 64));
        assert_eq!(of(None, Some(64)), (4, 64, 64));
    }

    #[test]
    fn what_was_chosen_says_why() {
        let small = PoolSizes::of(memory(64 * MIB), PAGES).to_string();
        let expected = "32 pipes of 256 KiB (an eighth of the 64 MiB that the container may use \
                        (/sys/fs/cgroup/memory.max)), 8 buffers of 128 KiB kept (a sixty-fourth \
                        of the 64 MiB";
        assert!(small.starts_with(expected), "{small}");
        let machine = MemoryLimit {
            bytes: 128 * MIB,
            file: None,
        };
        let machine = PoolSizes::of(Some(machine), PAGES).why_pipes();
        assert_eq!(machine, "an eighth of the 128 MiB that the machine has");
        let pages = PoolSizes::of(memory(1 << 40), Some(2_048)).why_pipes();
        assert!(pages.contains("2048 pages"), "{pages}");
        let enough = PoolSizes::of(memory(1 << 40), PAGES);
        assert_eq!(enough.why_pipes(), enough.why_buffers());
    }
}
