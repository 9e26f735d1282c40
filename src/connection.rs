//! One client connection and its broker connection, owned by one executor for life.
//!
//! The sockets are any pair of byte streams; what the bytes mean is the [`Session`](crate::pipeline::Session)'s
//! business.
//!
//! ```text
//! client --read--> half (requests) --Session::requests---> write--> broker
//! client <-write-- half (responses) <-Session::responses-- read <-- broker
//! ```
//!
//! - CONNECTION-1: both sockets live and die together; what was read of a closed pair and not written is dropped.
//! - CONNECTION-2: back-pressure is not reading: a direction reads only when what it read before is worked off and
//!   written.
//! - CONNECTION-3: an idle pair owns no buffer.
//! - CONNECTION-4: one turn does a bounded amount of work, then the executor is given to others
//!   ([`TurnOutcome::GaveWay`]): eight rounds of reading, the work of a turn
//!   ([`Step::Yield`](crate::pipeline::Step::Yield)), 1 MiB moved into a larger buffer or 2 MiB written.
//! - CONNECTION-5: a drain waits for every answer, but no longer than [`POLLS_WAIT`](relay) for those that a broker may
//!   hold until there are records, or until a group has come together, and for what lies behind them and changes
//!   nothing.
//! - CONNECTION-6: a drain waits for no client that does nothing for [`POLLS_WAIT`](relay): one that has left, that
//!   does not take its answers, or that does not go on with a frame. What waits for the broker, a key or its turn is
//!   waited for.
//! - CONNECTION-7: a connection ends when what it has written is flushed (STREAM-1), unless it is cut off.
//!
//! Executor threads only.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod alarms;
mod encrypted;
mod errands;
mod half;
mod held;
mod input;
mod one_way;
mod reading;
mod registry;
mod relay;
mod shared;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use alarms::{AskedNews, NewsKind};
pub(crate) use encrypted::Encrypted;
pub(crate) use held::{HalfKey, Holding};
pub(crate) use registry::{Request, Status};
pub(crate) use relay::{Relay, TurnOutcome};
pub(crate) use shared::Shared;
pub(crate) use stream::Stream;
#[cfg(any(test, feature = "testing"))]
pub(crate) use stream::StreamHeld;
pub(crate) use wire::Wire;
