//! Counts what this process has on the heap. Measurements keep the other tests away: they count for
//! everybody. Only a [`Tally`] counts for itself, on the threads that it is told of.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
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
    // A thread that is about to end has no tally any more.
    if let Ok(Some(tally)) = TALLY.try_with(Cell::get) {
        tally.fetch_add(1, Relaxed);
    }
}

thread_local! {
    static TALLY: Cell<Option<&'static AtomicUsize>> = const { Cell::new(None) };
}

/// Counts the allocations of chosen threads.
#[derive(Clone, Copy)]
pub(crate) struct Tally(&'static AtomicUsize);

impl Tally {
    pub(crate) fn new() -> Self {
        Self(Box::leak(Box::default()))
    }

    /// From now on this thread's allocations count.
    pub(crate) fn count_this_thread(self) {
        TALLY.set(Some(self.0));
    }

    /// How many there were so far; one that grows or shrinks what is there counts too.
    pub(crate) fn allocations(self) -> usize {
        self.0.load(Relaxed)
    }
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

/// The same outside of a runtime.
pub(crate) fn shared_blocking() -> RwLockReadGuard<'static, ()> {
    ALONE.blocking_read()
}

/// Waits until no other test runs, and begins to measure.
pub(crate) async fn alone() -> Measured {
    let _alone = ALONE.write().await;
    Measured {
        start: heap_bytes(),
        _alone,
    }
}

/// The same outside of a runtime.
pub(crate) fn alone_blocking() -> Measured {
    let _alone = ALONE.blocking_write();
    Measured {
        start: heap_bytes(),
        _alone,
    }
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
