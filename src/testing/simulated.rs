//! An executor's platform in which nothing happens by itself: whoever drives it says which task goes on, when time
//! passes and what becomes of a connection.
//!
//! - SIMULATED-1: what it does depends on nothing but what it is told: two that are driven alike do the same, byte for
//!   byte. (Which branch of a `select!` is looked at first tokio draws from what no world can say: those of the control
//!   thread and of the key service are biased.)
//!
//! All of it belongs to the thread that it is made on, one world at a time.

mod platform;
mod tasks;

pub use platform::{Dial, SimulatedPlatform, SimulatedSocket};
pub use tasks::{SimulatedTimer, Task, Tasks};
