//! The buffers of one executor: one large read buffer for all its connections, and a pool for what a connection has to
//! keep.
//!
//! An idle connection holds no buffer at all. First-touch page faults cost ten times the copy that they precede, so
//! buffers that come back are used again; those that grew past [`POOLED_BYTES_MAX`] are given back to the system.
//!
//! Executor threads only.

/// Bytes of the shared read buffer: reads of frames well above 64 KiB are 13 to 28 % cheaper with it than with 64 KiB.
pub(crate) const READ_BUFFER_BYTES: usize = 256 * 1024;

/// Buffers that are reused; see the module.
#[derive(Default)]
pub(crate) struct BufferPool {
    free: Vec<Vec<u8>>,
}

impl BufferPool {
    /// An empty buffer for about `bytes`, with memory from an earlier use where there is some that suits: the smallest
    /// that is large enough, but none that is much too large, since memory is on the account of whoever holds it.
    pub(crate) fn take(&mut self, bytes: usize) -> Vec<u8> {
        let suits = |buffer: &Vec<u8>| buffer.capacity() <= capacity_max(bytes);
        let fitting = self.free.iter().enumerate().filter(|(_, buffer)| suits(buffer));
        let best = fitting.max_by_key(|(_, buffer)| {
            let capacity = buffer.capacity();
            (capacity.min(bytes), std::cmp::Reverse(capacity))
        });
        match best.map(|(position, _)| position) {
            Some(position) => self.free.swap_remove(position),
            None => Vec::new(),
        }
    }

    /// Takes a buffer back.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if buffer.capacity() == 0
            || buffer.capacity() > POOLED_BYTES_MAX
            || self.free.len() >= POOLED_BUFFERS_MAX
        {
            return;
        }
        buffer.clear();
        self.free.push(buffer);
    }
}

/// What a buffer for `bytes` may have without being much too large.
pub(crate) fn capacity_max(bytes: usize) -> usize {
    bytes.max(SMALL_BYTES).saturating_mul(2)
}

/// A larger buffer is freed: frames beyond 4 MiB are rare, and 16 of them would be the target for a whole process.
const POOLED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Two directions of four busy connections at a time; more only wait for their sockets.
const POOLED_BUFFERS_MAX: usize = 8;

/// A buffer of twice this is good for anything: thousands of connections may have one.
const SMALL_BYTES: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_empty_and_large_ones_are_freed() {
        let mut pool = BufferPool::default();
        let mut buffer = pool.take(1000);
        buffer.extend_from_slice(&[7; 1000]);
        pool.give(buffer);
        let again = pool.take(1000);
        assert!(again.is_empty() && again.capacity() >= 1000);
        pool.give(Vec::with_capacity(POOLED_BYTES_MAX + 1));
        assert_eq!(pool.take(POOLED_BYTES_MAX).capacity(), 0);
    }

    #[test]
    fn whoever_holds_little_gets_no_large_buffer() {
        let mut pool = BufferPool::default();
        let capacities = [2 * SMALL_BYTES, 2 * SMALL_BYTES + 1, 1000, 16 * SMALL_BYTES];
        for capacity in capacities {
            pool.give(Vec::with_capacity(capacity));
        }
        assert_eq!(pool.take(1).capacity(), 1000, "the smallest that is large enough");
        assert_eq!(pool.take(1).capacity(), 2 * SMALL_BYTES);
        assert_eq!(pool.take(1).capacity(), 0, "what is left is much too large");
        assert_eq!(pool.take(8 * SMALL_BYTES).capacity(), 16 * SMALL_BYTES);
        assert_eq!(pool.take(usize::MAX).capacity(), 2 * SMALL_BYTES + 1);
    }
}
