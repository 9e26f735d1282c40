//! What waits in a ring to be submitted, as the kernel shares it: read and rewritten before the ring is entered.
//!
//! Executor threads only.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A submission queue entry (`struct io_uring_sqe`); what is not looked at has no name of its own.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(super) struct Entry {
    pub(super) opcode: u8,
    flags: u8,
    priority: u16,
    pub(super) descriptor: i32,
    offset: u64,
    /// Of a timeout: where its duration stands. Of a cancellation: whom it cancels.
    pub(super) address: u64,
    length: u32,
    operation_flags: u32,
    pub(super) user_data: u64,
    rest: [u64; 3],
}

/// `struct __kernel_timespec`
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C)]
pub(super) struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Timespec {
    pub(super) const fn new(seconds: i64, nanoseconds: i64) -> Self {
        Self { seconds, nanoseconds }
    }
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self::new(seconds, i64::from(duration.subsec_nanos()))
    }
}

impl Entry {
    /// After what time it completes; of a timer that waits for nothing else.
    pub(super) fn duration(&self) -> Option<Timespec> {
        if self.opcode != OP_TIMEOUT || self.is_linked() || self.address == 0 {
            return None;
        }
        // SAFETY: the kernel would read it there when it is submitted: glommio keeps it where it is until the timer
        // has completed.
        Some(unsafe { (self.address as *const Timespec).read() })
    }

    /// Whether the next entry waits for this one.
    pub(super) fn is_linked(&self) -> bool {
        self.flags & FLAG_LINK != 0
    }
}

/// `struct io_uring_params`, filled in by the kernel.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Parameters {
    entries: u32,
    completion_entries: u32,
    flags: u32,
    thread: [u32; 2],
    features: u32,
    reserved: [u32; 4],
    head: u32,
    tail: u32,
    mask: u32,
    ring_entries: u32,
    ring_flags: u32,
    dropped: u32,
    array: u32,
    rest: [u32; 13],
}

/// The queue of one ring, mapped a second time beside liburing's own mapping.
#[derive(Debug)]
pub(super) struct Submissions {
    ring: Mapping,
    entries: Mapping,
    offsets: Parameters,
}

impl Submissions {
    /// Maps the queue of a ring that was just set up with `parameters`; none where the kernel does not let it, or knows
    /// no waits that end in time.
    pub(super) fn map(descriptor: c_int, parameters: &Parameters) -> Option<Self> {
        if parameters.features & FEATURE_WAIT_ARGUMENT == 0 {
            return None;
        }
        let array_bytes = (parameters.entries as usize).checked_mul(size_of::<u32>())?;
        let ring_bytes = (parameters.array as usize).checked_add(array_bytes)?;
        let entries_bytes = (parameters.entries as usize).checked_mul(size_of::<Entry>())?;
        Some(Self {
            ring: Mapping::new(descriptor, ring_bytes, OFFSET_RING)?,
            entries: Mapping::new(descriptor, entries_bytes, OFFSET_ENTRIES)?,
            offsets: *parameters,
        })
    }

    /// Whether the ring defers ([`super`], RING-2).
    #[cfg(test)]
    pub(super) fn defers(&self) -> bool {
        self.offsets.flags & super::SETUP_DEFER_TASKRUN != 0
    }

    /// How many entries wait.
    pub(super) fn waiting(&self) -> usize {
        let [head, tail] = [self.offsets.head, self.offsets.tail].map(|offset| self.word(offset));
        tail.wrapping_sub(head).min(self.offsets.entries) as usize
    }

    /// The entry that waits at `place`, the oldest one being at 0.
    pub(super) fn get(&self, place: usize) -> Option<Entry> {
        let at = self.position(place)?;
        // SAFETY: `position` is within the mapping, which is aligned to a page; the kernel writes no entries.
        Some(unsafe { self.entries.at::<Entry>(at).read() })
    }

    /// The entry that was queued last.
    pub(super) fn last(&self) -> Option<Entry> {
        self.get(self.waiting().checked_sub(1)?)
    }

    /// Whether everything that waits does nothing.
    pub(super) fn is_void(&self) -> bool {
        (0..self.waiting()).all(|place| self.get(place).is_some_and(|entry| entry.opcode == OP_NOP))
    }

    /// Lets the entry that waits at `place` do nothing, and be done at once.
    pub(super) fn make_void(&mut self, place: usize) {
        let (Some(at), Some(entry)) = (self.position(place), self.get(place)) else {
            return;
        };
        let void = Entry {
            opcode: OP_NOP,
            descriptor: -1,
            user_data: entry.user_data,
            ..Entry::default()
        };
        // SAFETY: as above; the kernel reads entries only while this thread is in io_uring_enter(2).
        unsafe { self.entries.at::<Entry>(at).write(void) };
    }

    /// Where the entry stands that waits at `place`, in bytes.
    fn position(&self, place: usize) -> Option<usize> {
        if place >= self.waiting() {
            return None;
        }
        let index = self.word(self.offsets.head).wrapping_add(place as u32) & self.word(self.offsets.mask);
        let slot = (index as usize).checked_mul(size_of::<u32>())?;
        let entry = self.word(self.offsets.array.checked_add(u32::try_from(slot).ok()?)?);
        if entry >= self.offsets.entries {
            return None;
        }
        (entry as usize).checked_mul(size_of::<Entry>())
    }

    /// The number that the ring has at `offset`; 0 if it has none there.
    fn word(&self, offset: u32) -> u32 {
        let offset = offset as usize;
        let fits = offset
            .checked_add(size_of::<u32>())
            .is_some_and(|end| end <= self.ring.bytes);
        if !fits || !offset.is_multiple_of(align_of::<u32>()) {
            return 0;
        }
        // SAFETY: it is within the mapping and aligned; liburing and the kernel change it atomically.
        unsafe { (*self.ring.at::<AtomicU32>(offset)).load(Ordering::Acquire) }
    }
}

/// Memory that is shared with the kernel. While it is mapped the ring stays open: it goes with its thread.
#[derive(Debug)]
struct Mapping {
    start: *mut libc::c_void,
    bytes: usize,
}

impl Mapping {
    fn new(descriptor: c_int, bytes: usize, offset: libc::off_t) -> Option<Self> {
        // SAFETY: a new mapping wherever the kernel likes; nothing is there before.
        let start = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                descriptor,
                offset,
            )
        };
        (start != libc::MAP_FAILED).then_some(Self { start, bytes })
    }

    /// The place `offset` bytes from the start, which must be within the mapping.
    fn at<T>(&self, offset: usize) -> *mut T {
        self.start.wrapping_byte_add(offset).cast()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no pointer into it outlives it.
        unsafe { libc::munmap(self.start, self.bytes) };
    }
}

const OP_NOP: u8 = 0;
pub(super) const OP_TIMEOUT: u8 = 11;
/// The next entry waits for this one (`IOSQE_IO_LINK`).
const FLAG_LINK: u8 = 1 << 2;
/// `IORING_FEAT_EXT_ARG` (Linux 5.11)
const FEATURE_WAIT_ARGUMENT: u32 = 1 << 8;
const OFFSET_RING: libc::off_t = 0;
const OFFSET_ENTRIES: libc::off_t = 0x1000_0000;

const _: () = assert!(size_of::<Entry>() == 64 && size_of::<Parameters>() == 120);
