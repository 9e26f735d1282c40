//! What was written of a plaintext is taken back.

use zeroize::Zeroize;

/// Overwrites what `out` has from `start` on, and cuts it off (OPEN-1, ENV-49).
#[cold]
pub(super) fn wipe(out: &mut Vec<u8>, start: usize) {
    if let Some(written) = out.get_mut(start..) {
        written.zeroize();
    }
    out.truncate(start);
}
