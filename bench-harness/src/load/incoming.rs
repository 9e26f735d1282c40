//! A frame on its way in: its head is kept, the rest is counted, and all of it is kept where its content is wanted.

use std::io;

use super::connection::Side;
use super::frame::HEAD_BYTES;

/// A frame that has arrived whole.
pub(super) struct Received {
    /// Its length, prefix included.
    pub(super) bytes: usize,
    /// Of a request: its API key.
    pub(super) api_key: i16,
    /// Of a request: its correlation id, as sent.
    pub(super) correlation_id: [u8; 4],
    /// Of a request: how it begins.
    pub(super) head: [u8; HEAD_BYTES],
    /// The frame, prefix included, where it was kept.
    pub(super) frame: Option<Vec<u8>>,
}

/// One at a time: broker and client alternate.
pub(super) struct Incoming {
    side: Side,
    /// Of a client: where the next response is kept.
    pub(super) keep: Option<Vec<u8>>,
    head: Vec<u8>,
    /// Bytes of the frame that have been read, its prefix included.
    seen: usize,
    kept: Option<Vec<u8>>,
}

/// Prefix and correlation id of a response.
const RESPONSE_HEAD_BYTES: usize = 8;
/// Prefix, API key, version and correlation id of a request.
const REQUEST_HEAD_BYTES: usize = 12;

impl Incoming {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            keep: None,
            head: Vec::with_capacity(HEAD_BYTES),
            seen: 0,
            kept: None,
        }
    }

    /// Takes in what was read.
    pub(super) fn came(&mut self, bytes: &[u8], capturing: bool) {
        let missing = HEAD_BYTES.saturating_sub(self.head.len());
        self.head.extend(bytes.iter().take(missing));
        self.seen += bytes.len();
        let wanted = match self.side {
            Side::Client { .. } => self.keep.is_some(),
            // What is not payload has to be answered, so it has to be read.
            Side::Broker => capturing || !matches!(self.api_key(), 0 | 1),
        };
        if wanted || self.kept.is_some() {
            self.kept.get_or_insert_default().extend_from_slice(bytes);
        }
    }

    /// So many bytes were read, and nobody has looked at them.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.seen += bytes;
    }

    /// How many bytes are missing that need not be looked at; none as long as it is not known, or all are kept.
    pub(super) fn discardable(&self) -> Option<usize> {
        let is_known = self.head.len() >= self.head_wanted() && self.kept.is_none();
        is_known.then(|| self.frame_bytes().saturating_sub(self.seen))
    }

    /// The frame, once it is whole. More than one is an error.
    pub(super) fn take(&mut self) -> io::Result<Option<Received>> {
        let bytes = self.frame_bytes();
        if self.head.len() < self.head_wanted() || self.seen < bytes {
            return Ok(None);
        }
        if self.seen > bytes {
            return Err(io::Error::other("two frames where one was expected"));
        }
        let mut head = [0; HEAD_BYTES];
        for (to, from) in head.iter_mut().zip(&self.head) {
            *to = *from;
        }
        let received = Received {
            bytes,
            head,
            api_key: self.api_key(),
            correlation_id: match self.head.get(8..12) {
                Some([a, b, c, d]) => [*a, *b, *c, *d],
                _ => [0; 4],
            },
            frame: self.kept.take(),
        };
        if let (Some(keep), Some(frame)) = (&mut self.keep, &received.frame) {
            keep.clone_from(frame);
        }
        self.head.clear();
        self.seen = 0;
        Ok(Some(received))
    }

    /// How much of the frame has to be there before its kind is known, and its topic.
    fn head_wanted(&self) -> usize {
        match self.side {
            Side::Client { .. } => RESPONSE_HEAD_BYTES,
            Side::Broker if self.head.len() < REQUEST_HEAD_BYTES => REQUEST_HEAD_BYTES,
            Side::Broker => HEAD_BYTES.min(self.frame_bytes()),
        }
    }

    fn api_key(&self) -> i16 {
        match self.head.get(4..6) {
            Some([a, b]) => i16::from_be_bytes([*a, *b]),
            _ => i16::MAX,
        }
    }

    /// Prefix included; as many as can be where that is not there.
    fn frame_bytes(&self) -> usize {
        match self.head.get(..4) {
            Some([a, b, c, d]) => (u32::from_be_bytes([*a, *b, *c, *d]) as usize).saturating_add(4),
            _ => usize::MAX,
        }
    }
}
