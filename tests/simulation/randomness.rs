//! What looks like random bytes, and is the same for the same seed: it stands in for the C library's `getrandom`, from
//! which salts, nonces and the seeds of hash maps come. A program's own definition goes before the library's.
//!
//! Each thread has its own: a world runs on a thread that nobody else uses.
#![allow(unsafe_code, reason = "the C library's function has its form")]

use std::cell::Cell;
use std::ffi::{c_uint, c_void};

use crate::dice::Dice;

thread_local! {
    static STATE: Cell<u64> = const { Cell::new(0) };
}

/// From now on this thread draws what `seed` says.
pub(crate) fn seed(seed: u64) {
    STATE.set(seed);
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut c_void, size: usize, _flags: c_uint) -> isize {
    let mut dice = Dice(STATE.get());
    for at in 0..size {
        let byte = dice.below(256).to_le_bytes()[0];
        // SAFETY: the caller's buffer has `size` bytes.
        unsafe { buffer.cast::<u8>().add(at).write(byte) };
    }
    STATE.set(dice.0);
    size.cast_signed()
}
