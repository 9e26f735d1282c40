//! A connection as its broker sees it: one request at a time, answers in order, muted while its client is throttled.

use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};

use super::fetch::WaitingFetch;
use super::logins::LoginState;
use super::produce::WaitingProduce;

pub(super) struct Connection {
    /// By which address, which nodes change.
    pub(super) reached: String,
    /// The node that it reached; it stays there wherever addresses move.
    pub(super) node: i32,
    pub(super) input: BytesMut,
    pub(super) output: Vec<u8>,
    /// The request that is not answered yet. Nothing behind it is looked at.
    pub(super) waiting: Option<Waiting>,
    /// The changes in its cluster with which that request was looked at last.
    pub(super) looked_at: u64,
    muted_until: Option<Duration>,
    pub(super) quota: Quota,
    pub(super) login: LoginState,
    /// Requests that have come.
    pub(super) requests: u64,
    /// When it was answered last.
    pub(super) answered: Duration,
    pub(super) closed: bool,
}

pub(super) enum Waiting {
    Produce(WaitingProduce),
    Fetch(WaitingFetch),
}

impl Waiting {
    /// When it is answered whatever there is.
    pub(super) fn due(&self) -> Duration {
        match self {
            Self::Produce(waiting) => waiting.due,
            Self::Fetch(waiting) => waiting.due,
        }
    }
}

/// A whole answer, and for how long its client is throttled (KIP-219).
pub(super) struct Answer {
    pub(super) bytes: Vec<u8>,
    pub(super) throttle: Duration,
}

impl From<Vec<u8>> for Answer {
    fn from(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            throttle: Duration::ZERO,
        }
    }
}

/// What the connection's client may have a second, and up to when it has used that.
#[derive(Clone, Copy, Default)]
pub(super) struct Quota {
    pub(super) bytes_per_second: Option<u32>,
    used_until: Duration,
}

impl Quota {
    /// For how long the client has to wait before it is below its quota again.
    pub(super) fn throttle(&self, now: Duration) -> Duration {
        match self.used_until.saturating_sub(now) {
            // In whole milliseconds, as answers tell it.
            ahead if ahead > BURST + Duration::from_millis(1) => {
                Duration::from_millis((ahead - BURST).min(THROTTLE_MAX).as_millis() as u64)
            }
            _ => Duration::ZERO,
        }
    }

    pub(super) fn use_up(&mut self, bytes: usize, now: Duration) {
        if let Some(rate) = self.bytes_per_second {
            let seconds = bytes as f64 / f64::from(rate);
            self.used_until = self.used_until.max(now) + Duration::from_secs_f64(seconds);
        }
    }
}

/// A client that was quiet may go ahead by as much.
const BURST: Duration = Duration::from_millis(500);
/// `quota.window.size.seconds`.
const THROTTLE_MAX: Duration = Duration::from_secs(1);

impl Connection {
    pub(super) fn new(node: i32, quota: Option<u32>) -> Self {
        Self {
            reached: String::new(),
            node,
            input: BytesMut::new(),
            output: Vec::new(),
            waiting: None,
            looked_at: 0,
            muted_until: None,
            quota: Quota {
                bytes_per_second: quota,
                ..Quota::default()
            },
            login: LoginState::default(),
            requests: 0,
            answered: Duration::ZERO,
            closed: false,
        }
    }

    /// The next request, without its length; an error if there can be none.
    pub(super) fn next_frame(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(length) = self.input.first_chunk() else {
            return Ok(None);
        };
        let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Malformed)?;
        if !(8..=FRAME_BYTES_MAX).contains(&length) {
            return Err(Malformed);
        }
        if self.input.len() < 4 + length {
            return Ok(None);
        }
        self.input.advance(4);
        Ok(Some(self.input.split_to(length).freeze()))
    }

    /// Whether its client is not throttled any more.
    pub(super) fn is_heard(&mut self, now: Duration) -> bool {
        if self.muted_until.is_some_and(|until| until <= now) {
            self.muted_until = None;
        }
        self.muted_until.is_none() && !self.login.is_silent
    }

    pub(super) fn send(&mut self, answer: Answer, now: Duration) {
        self.answered = now;
        self.output.extend(answer.bytes);
        self.muted_until = (!answer.throttle.is_zero()).then_some(now + answer.throttle);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.input.clear();
        self.waiting = None;
    }

    /// When something happens here that no byte causes.
    pub(super) fn next_due(&self) -> Option<Duration> {
        match &self.waiting {
            Some(waiting) => Some(waiting.due()),
            None => self.muted_until.filter(|_| !self.input.is_empty()),
        }
    }
}

/// What no client may send; the connection is closed.
#[derive(Debug)]
pub(super) struct Malformed;

/// `socket.request.max.bytes` of Kafka.
const FRAME_BYTES_MAX: usize = 100 << 20;
