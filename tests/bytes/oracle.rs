//! The protocol walkers against kafka-protocol, which is the oracle.
//!
//! For every version of every rewritten message that it can encode: varied messages come out of the walkers byte for
//! byte when nothing is changed, and decode to the expected model when something is. Hostile bytes neither panic nor
//! cost memory. A failure names the seed; `draw::Draw::new(seed)` makes the same message again.

mod allocations;
mod draw;
mod hostile;
mod messages;
mod ranges;
mod rewritten;
mod streamed;
mod unchanged;
mod wire;
