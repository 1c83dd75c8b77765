//! How many file descriptors the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the kernel allows a process at the most unless it was told otherwise (`fs.nr_open`); an
/// unlimited hard limit means no more than that.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Raises the soft limit to the hard one, and returns what then holds.
///
/// The soft limit is low (1,024 under containerd 2 and in most shells) for the sake of programs
/// that call `select`, which can't deal with more. This one uses epoll.
pub fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(DESCRIPTORS_MAX);
    let soft = limit.current.unwrap_or(DESCRIPTORS_MAX);
    let wanted = Rlimit {
        current: Some(hard),
        maximum: limit.maximum,
    };
    let holds = if setrlimit(Resource::Nofile, wanted).is_ok() {
        hard
    } else {
        soft
    };
    usize::try_from(holds).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let allowed = raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current, Some(allowed as u64));
    }
}
