//! Buffers that are used again: first-touch page faults cost ten times the copy that they precede.
//!
//! - BUFFERS-1: a pool keeps at most [`POOLED_BYTES_MAX`]; what was given back first is freed first.
//! - BUFFERS-2: what nobody has needed between two calls of [`BufferPool::trim`] is freed.
//! - BUFFERS-3: nobody is given a buffer that is much too large: memory is on the account of whoever holds it.
//!
//! Executor threads only.

/// Buffers that are reused; see the module.
#[derive(Default)]
pub(crate) struct BufferPool {
    /// In the order in which they were given back.
    free: Vec<Vec<u8>>,
    bytes: usize,
    /// How many were left at the least since they were trimmed.
    unused: usize,
}

impl BufferPool {
    /// A buffer for `bytes` or somewhat more, with what its last user left in it: the newest, whose memory is likely in
    /// a cache. It owns no memory where there is none that suits.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let suits = |buffer: &Vec<u8>| (bytes..=capacity_max(bytes)).contains(&buffer.capacity());
        let Some(position) = self.free.iter().rposition(suits) else {
            return Vec::new();
        };
        let buffer = self.free.remove(position);
        self.bytes = self.bytes.saturating_sub(buffer.capacity());
        self.unused = self.unused.min(self.free.len());
        buffer
    }

    /// The same, with nothing in it.
    pub(crate) fn take_empty(&mut self, bytes: usize) -> Vec<u8> {
        let mut buffer = self.take(bytes);
        buffer.clear();
        buffer
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() == 0 || buffer.capacity() > POOLED_BUFFER_BYTES_MAX {
            return;
        }
        self.bytes = self.bytes.saturating_add(buffer.capacity());
        self.free.push(buffer);
        while self.bytes > POOLED_BYTES_MAX || self.free.len() > POOLED_BUFFERS_MAX {
            self.free_oldest(1);
        }
    }

    /// BUFFERS-2.
    pub(crate) fn trim(&mut self) {
        self.free_oldest(self.unused);
        self.unused = self.free.len();
    }

    fn free_oldest(&mut self, count: usize) {
        for buffer in self.free.drain(..count.min(self.free.len())) {
            self.bytes = self.bytes.saturating_sub(buffer.capacity());
        }
        self.unused = self.unused.saturating_sub(count);
    }
}

/// What a buffer for `bytes` may have without being much too large.
pub(crate) fn capacity_max(bytes: usize) -> usize {
    bytes.max(SMALL_BYTES).saturating_mul(2)
}

/// A larger buffer is freed. A consumer's answer from four partitions is just above 4 MiB.
const POOLED_BUFFER_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Of the smaller ones, a busy connection or two have enough with this; what many hold at a time is not kept for all.
const POOLED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// They are looked through one by one.
const POOLED_BUFFERS_MAX: usize = 16;

/// A buffer of twice this is good for anything: thousands of connections may have one.
const SMALL_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// BUFFERS-1
    #[test]
    fn a_pool_keeps_the_newest_up_to_a_bound() {
        let mut pool = BufferPool::default();
        let mut buffer = pool.take(1000);
        buffer.extend_from_slice(&[7; 1000]);
        pool.give(buffer);
        assert_eq!(pool.take(1000), [7; 1000]);
        pool.give(Vec::with_capacity(POOLED_BUFFER_BYTES_MAX + 1));
        assert_eq!(
            pool.take(POOLED_BUFFER_BYTES_MAX).capacity(),
            0,
            "too large to be kept"
        );
        pool.give(Vec::with_capacity(1000));
        for _ in 0..2 {
            pool.give(Vec::with_capacity(POOLED_BYTES_MAX / 2));
        }
        assert_eq!((pool.free.len(), pool.bytes), (2, POOLED_BYTES_MAX));
        for _ in 0..3 * POOLED_BUFFERS_MAX {
            pool.give(Vec::with_capacity(10));
        }
        assert_eq!(
            (pool.free.len(), pool.bytes),
            (POOLED_BUFFERS_MAX, 10 * POOLED_BUFFERS_MAX)
        );
    }

    /// BUFFERS-3
    #[test]
    fn whoever_holds_little_gets_no_large_buffer() {
        let mut pool = BufferPool::default();
        let capacities = [2 * SMALL_BYTES, 2 * SMALL_BYTES + 1, 1000, 16 * SMALL_BYTES];
        for capacity in capacities {
            pool.give(Vec::with_capacity(capacity));
        }
        assert_eq!(pool.take(1).capacity(), 1000, "the newest that is large enough");
        assert_eq!(pool.take_empty(1).capacity(), 2 * SMALL_BYTES);
        assert_eq!(pool.take(1).capacity(), 0, "what is left is much too large");
        assert_eq!(pool.take(17 * SMALL_BYTES).capacity(), 0, "too small");
        assert_eq!(pool.take(8 * SMALL_BYTES).capacity(), 16 * SMALL_BYTES);
        assert_eq!((pool.free.len(), pool.bytes), (1, 2 * SMALL_BYTES + 1));
    }

    /// BUFFERS-2
    #[test]
    fn what_was_not_needed_for_a_while_is_freed() {
        let mut pool = BufferPool::default();
        let give = |pool: &mut BufferPool| (0..3).for_each(|_| pool.give(Vec::with_capacity(1000)));
        give(&mut pool);
        pool.trim();
        assert_eq!(pool.free.len(), 3, "they have only come");
        let taken = [pool.take(9), pool.take(9)];
        taken.into_iter().for_each(|buffer| pool.give(buffer));
        pool.trim();
        assert_eq!(pool.free.len(), 2, "one was never taken");
        pool.trim();
        assert_eq!((pool.free.len(), pool.bytes), (0, 0));
    }
}
