//! What may take its time: on a thread that may. In a simulated program, which has no other threads, it is done on the
//! control thread once the world says that it would have been.
//!
//! Control thread only.

use tokio::task::{JoinError, spawn_blocking};

/// Does it aside.
///
/// # Errors
/// It has panicked, or the program ends.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JoinError> {
    #[cfg(feature = "testing")]
    if let Some(takes) = crate::clocks::simulated::aside() {
        tokio::time::sleep(takes).await;
        return Ok(work());
    }
    spawn_blocking(work).await
}
