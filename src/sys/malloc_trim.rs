//! Gives free memory back to the system.
//!
//! glibc keeps whatever closed connections held for those that come: after a wave of 9,000 that is
//! 35 MB, for ever. It can be asked to give it back, in one call that no crate wraps.

/// Asks the allocator to return the pages that nobody uses. Takes milliseconds, and whoever
/// allocates meanwhile may wait. Does nothing where the C library is not glibc.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it may be called at any time from any thread, and no memory that is in use moves or
    // changes.
    unsafe {
        libc::malloc_trim(0);
    }
}
