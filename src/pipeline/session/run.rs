//! Frames of one direction, told apart by the lengths that they announce.

use std::ops::ControlFlow;

use super::Step;
use crate::metrics::CloseReason;
use crate::protocol::ProtocolError;
use crate::protocol::frame::LENGTH_PREFIX_BYTES;

/// What a look at one frame came to.
pub(super) enum NextFrame<A> {
    /// So many more bytes are streamed.
    Streamed(usize),
    /// Nothing can be done with it for now.
    Step(Step),
    /// This is to be done with it, when all in front of it is gone.
    Apart(A),
}

/// Looks at one frame after the other. Frames that are streamed and lie one behind the other go out in one write: of
/// them `next` is told how many bytes there are, and looks at what lies behind. Whatever else it meets there it meets
/// again once they are gone.
pub(super) fn run<A>(
    streamed: usize,
    mut next: impl FnMut(usize) -> Result<NextFrame<A>, CloseReason>,
) -> Result<ControlFlow<Step, A>, CloseReason> {
    let mut run = streamed;
    loop {
        match next(run) {
            Ok(NextFrame::Streamed(bytes)) => run = run.saturating_add(bytes),
            _ if run > 0 => return Ok(ControlFlow::Break(Step::Forward(run))),
            Ok(NextFrame::Step(step)) => return Ok(ControlFlow::Break(step)),
            Ok(NextFrame::Apart(apart)) => return Ok(ControlFlow::Continue(apart)),
            Err(reason) => return Err(reason),
        }
    }
}

/// Of a frame no more is there than `input`, which is less than its head.
pub(super) fn beginning<A>(input: &[u8], bytes_min: usize) -> Result<NextFrame<A>, CloseReason> {
    // Whoever announces too little says so with the first four bytes.
    if input.len() >= LENGTH_PREFIX_BYTES {
        frame_length(input, bytes_min)?;
    }
    Ok(NextFrame::Step(Step::More))
}

/// The length that a frame announces, which cannot be below `bytes_min`.
pub(super) fn frame_length(input: &[u8], bytes_min: usize) -> Result<usize, CloseReason> {
    let prefix = input
        .first_chunk::<LENGTH_PREFIX_BYTES>()
        .ok_or(CloseReason::MalformedFrame)?;
    let length = usize::try_from(i32::from_be_bytes(*prefix)).map_err(|_| CloseReason::MalformedFrame)?;
    if length < bytes_min {
        return Err(CloseReason::MalformedFrame);
    }
    Ok(length)
}

pub(super) fn malformed(_: ProtocolError) -> CloseReason {
    CloseReason::MalformedFrame
}
