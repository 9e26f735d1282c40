//! Counts bytes that are copied, and fixes random bytes, by standing in for functions of the C library.
//!
//! A program's own definition of such a function goes before the library's. Copies of a known, small size are no calls:
//! they are instructions of their own.

use std::ffi::{c_uint, c_void};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::c_heap;

/// What was counted up to now.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) allocations: u64,
    pub(crate) copied: u64,
}

pub(crate) fn tally() -> Tally {
    Tally {
        allocations: c_heap::allocations(),
        copied: COPIED.load(Ordering::Relaxed),
    }
}

static COPIED: AtomicU64 = AtomicU64::new(0);
/// Random bytes handed out so far.
static DRAWN: AtomicU64 = AtomicU64::new(0);

unsafe extern "C" {
    // The same as without `_chk`, where the last argument is the largest of all sizes. The compiler knows that too, and
    // must not see it, or it would make of them the very functions that they are called by.
    fn __memcpy_chk(to: *mut c_void, from: *const c_void, size: usize, room: usize) -> *mut c_void;
    fn __memmove_chk(to: *mut c_void, from: *const c_void, size: usize, room: usize) -> *mut c_void;
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void {
    COPIED.fetch_add(size as u64, Ordering::Relaxed);
    // SAFETY: the original, with the caller's arguments.
    unsafe { __memcpy_chk(to, from, size, black_box(usize::MAX)) }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut c_void, from: *const c_void, size: usize) -> *mut c_void {
    COPIED.fetch_add(size as u64, Ordering::Relaxed);
    // SAFETY: as above.
    unsafe { __memmove_chk(to, from, size, black_box(usize::MAX)) }
}

/// The same bytes in every run, and others at every call (BUDGET-1): hash maps are seeded with them.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, size: usize, _flags: c_uint) -> isize {
    for at in 0..size {
        let drawn = DRAWN.fetch_add(1, Ordering::Relaxed);
        let [.., byte, _, _] = drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        // SAFETY: the caller's buffer has `size` bytes.
        unsafe { buffer.cast::<u8>().add(at).write(byte) };
    }
    size.cast_signed()
}
