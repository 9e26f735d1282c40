//! Counts what the current thread allocates.
#![allow(unsafe_code)] // a global allocator cannot be had without

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

thread_local! {
    static TALLY: Cell<Tally> = const { Cell::new(Tally { calls: 0, live: 0, peak: 0 }) };
}

/// What a piece of code allocated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tally {
    /// Allocations and reallocations.
    pub(crate) calls: usize,
    live: isize,
    /// The most bytes that were held at a time, over what was held at the start.
    pub(crate) peak: isize,
}

/// Runs `code` and says what this thread allocated meanwhile.
pub(crate) fn tally(code: impl FnOnce()) -> Tally {
    TALLY.set(Tally {
        calls: 0,
        live: 0,
        peak: 0,
    });
    code();
    TALLY.get()
}

fn count(calls: usize, bytes: isize) {
    // A thread that ends allocates after its counters are gone.
    let _ = TALLY.try_with(|tally| {
        let Tally {
            calls: before,
            live,
            peak,
        } = tally.get();
        let live = live + bytes;
        tally.set(Tally {
            calls: before + calls,
            live,
            peak: peak.max(live),
        });
    });
}

// SAFETY: every call goes to the system's allocator as it came; counting touches a constant-initialised thread local,
// which does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new block may both exist for a moment.
        count(1, size as isize);
        count(0, -(layout.size() as isize));
        // SAFETY: as above; the pointer came from the system's allocator.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
