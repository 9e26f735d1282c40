//! A fault that is put in on purpose, so that a simulation can show that it would notice: an executor keeps its keys
//! when one of them is revoked. Off, and only there with the feature `testing`.

use std::cell::Cell;

thread_local! {
    static IS_OUT: Cell<bool> = const { Cell::new(false) };
}

/// On this thread from now on.
pub fn let_out(is_out: bool) {
    IS_OUT.set(is_out);
}

pub(super) fn is_out() -> bool {
    IS_OUT.get()
}
