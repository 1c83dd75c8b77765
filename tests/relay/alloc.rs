//! Counts what this process has on the heap. Measurements keep the other tests away: they count for everybody.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// A global allocator can't be had without; each call goes to the system's as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grown(layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        grown(bytes, layout.size());
        unsafe { System.realloc(at, layout, bytes) }
    }
}

fn grown(bytes: usize, before: usize) {
    NOW.fetch_sub(before, Relaxed);
    let now = NOW.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
    LARGEST.fetch_max(bytes, Relaxed);
}

/// What is on the heap now, in bytes.
pub(crate) fn heap_bytes() -> usize {
    NOW.load(Relaxed)
}

/// A stretch of time that is measured.
pub(crate) struct Measured {
    start: usize,
    _alone: RwLockWriteGuard<'static, ()>,
}

static ALONE: RwLock<()> = RwLock::const_new(());

/// Held by every test that does not measure.
pub(crate) async fn shared() -> RwLockReadGuard<'static, ()> {
    ALONE.read().await
}

/// Waits until no other test runs, and begins to measure.
pub(crate) async fn alone() -> Measured {
    let _alone = ALONE.write().await;
    Measured { start: heap_bytes(), _alone }
}

impl Measured {
    /// Begins anew.
    pub(crate) fn reset(&mut self) {
        self.start = heap_bytes();
        PEAK.store(self.start, Relaxed);
        LARGEST.store(0, Relaxed);
    }

    /// How far the heap has grown at the most since the last reset.
    pub(crate) fn peak_bytes(&self) -> usize {
        PEAK.load(Relaxed).saturating_sub(self.start)
    }

    /// The largest single allocation since the last reset.
    pub(crate) fn largest_bytes(&self) -> usize {
        LARGEST.load(Relaxed)
    }
}
