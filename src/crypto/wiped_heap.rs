//! The program's allocator: what threads that meet secrets give back is overwritten first.
//!
//! A data key that comes from a KMS in a network passes buffers of TLS, HTTP and JSON that are not ours, and so do
//! tokens and passwords on their way there. None of these crates wipes what it frees.
//!
//! - WIPED-HEAP-1: on a thread that called [`wipe_on_this_thread`] no byte of a block is left when the block goes back
//!   to the allocator, be it freed, grown or shrunk.
//! - other threads, the executors above all, free as before: what they free is not looked at.
//!
//! What a crate keeps (the read buffer of a connection that stays open for other calls) is not freed, and so not
//! wiped before it ends. Any thread may call it.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::slice;

use zeroize::Zeroize;

/// An allocator that wipes what it is given back on threads that asked for it.
#[derive(Debug)]
pub struct WipedHeap<A>(A);

impl<A> WipedHeap<A> {
    /// One that has its memory from `allocator`.
    #[must_use]
    pub const fn new(allocator: A) -> Self {
        Self(allocator)
    }
}

/// From now on what this thread frees is wiped, for as long as it lives.
pub(crate) fn wipe_on_this_thread() {
    WIPES.set(true);
}

thread_local! {
    /// Constant and without a destructor: there before the first allocation of a thread and after its last one.
    static WIPES: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: blocks come from `A` and go back to it with the layouts that they were made by; that what they hold is
// overwritten right before does not concern anybody, since their owner has given them up.
unsafe impl<A: GlobalAlloc> GlobalAlloc for WipedHeap<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `A` asks for.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if WIPES.get() {
            // SAFETY: the block is as long as its layout says, and its owner has given it up. It may never have been
            // written, which the type allows.
            let bytes = unsafe { slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), layout.size()) };
            // Written as volatile: it is not left out because nobody reads it.
            bytes.zeroize();
        }
        // SAFETY: the caller's promises are those that `A` asks for.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        if !WIPES.get() {
            // SAFETY: the caller's promises are those that `A` asks for.
            return unsafe { self.0.realloc(block, layout, new_size) };
        }
        // SAFETY: the caller promises that `new_size` is not zero and fits, rounded up to the alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        // SAFETY: its size is not zero.
        let moved = unsafe { self.0.alloc(new_layout) };
        if !moved.is_null() {
            // SAFETY: both blocks are at least so long, and the new one is nobody else's.
            unsafe { moved.copy_from_nonoverlapping(block, layout.size().min(new_size)) };
            // SAFETY: the block was made by this layout, and nobody has it any more.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use std::alloc::System;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Notes how many bytes that are not zero come back.
    struct Looking(AtomicUsize);

    // SAFETY: the system's, looked at before it goes back.
    unsafe impl GlobalAlloc for Looking {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            // SAFETY: as the caller promises.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            // SAFETY: tests fill whole blocks.
            let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
            let left = bytes.iter().filter(|byte| **byte != 0).count();
            self.0.fetch_add(left, Ordering::Relaxed);
            // SAFETY: as the caller promises.
            unsafe { System.dealloc(block, layout) }
        }
    }

    /// Bytes that are left in what goes back when a block is made, filled, moved to each size and freed.
    fn left_after(sizes: &[usize]) -> usize {
        let heap = WipedHeap::new(Looking(AtomicUsize::new(0)));
        let mut layout = Layout::from_size_align(sizes[0], 8).expect("a layout");
        // SAFETY: sizes are not zero, each block goes back by the layout that it was made by.
        unsafe {
            let mut block = heap.alloc(layout);
            block.write_bytes(0x5a, layout.size());
            for &size in &sizes[1..] {
                block = heap.realloc(block, layout, size);
                let kept = layout.size().min(size);
                assert!(
                    slice::from_raw_parts(block, kept)
                        .iter()
                        .all(|byte| *byte == 0x5a)
                );
                layout = Layout::from_size_align(size, 8).expect("a layout");
                block.write_bytes(0x5a, size);
            }
            heap.dealloc(block, layout);
        }
        heap.0.0.load(Ordering::Relaxed)
    }

    /// WIPED-HEAP-1
    #[test]
    fn a_thread_that_asked_for_it_gives_back_zeros_and_others_give_back_what_was_there() {
        let sizes = [100, 4000, 3, 70_000];
        let before = left_after(&sizes);
        assert_eq!(before, sizes.iter().sum::<usize>(), "nobody has asked");
        let elsewhere = std::thread::spawn(move || {
            wipe_on_this_thread();
            left_after(&sizes)
        });
        assert_eq!(elsewhere.join().expect("it ends"), 0);
        assert_eq!(left_after(&sizes), before, "it is another thread's");
    }
}
