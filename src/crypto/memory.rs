//! Where key bytes live: one mapping that is locked into memory and kept out of core dumps, cut into slots of one key.
//!
//! - MEMORY-1: a slot has one owner at a time, the [`KeyCell`] that took its number out of the free list.
//! - MEMORY-2: a slot is zero whenever it is in the free list; a cell wipes its bytes before it gives the slot back.
//! - MEMORY-3: nobody waits: the free list is a lock-free queue, and when it is empty (or nobody called [`initialise`])
//!   the key goes to the heap, is still wiped on drop, and is counted so that the operator can be told.
//! - MEMORY-4: the mapping is never unmapped, moved or grown while the process lives.
//! - MEMORY-5: a forked child finds zeros in the mapping, the sentinel among them, and nothing is sealed or opened
//!   under zeros: whoever is about to read a key, or to begin a batch, calls [`check_sentinel`], which ends such a
//!   process.
//!
//! It never logs and never fails: what the kernel did not grant is reported by [`MemoryProtection`], and the caller
//! decides how loudly to say so. Any thread may call it.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::queue::ArrayQueue;
use zeroize::Zeroize;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Most slots that an arena may have: 2^20 keys, 32 MiB. Past that the request is a mistake, not a need.
pub const SLOTS_MAX: usize = 1 << 20;

/// What the kernel granted to the memory that keys live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryProtection {
    /// Keys that the arena holds; 0 when no memory could be mapped, then every key is on the heap.
    pub slots: usize,
    /// The arena is never swapped out (mlock). Usually refused because RLIMIT_MEMLOCK is too small.
    pub locked: bool,
    /// The arena is left out of core dumps (MADV_DONTDUMP).
    pub excluded_from_dumps: bool,
    /// A forked child finds zeros in the arena (MADV_WIPEONFORK), and ends before it seals or opens with them.
    pub wiped_on_fork: bool,
}

impl MemoryProtection {
    const NONE: Self = Self {
        slots: 0,
        locked: false,
        excluded_from_dumps: false,
        wiped_on_fork: false,
    };

    /// Everything that was asked for was granted.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.slots > 0 && self.locked && self.excluded_from_dumps && self.wiped_on_fork
    }
}

/// Maps the arena with room for `slots` keys (at least one page, at most [`SLOTS_MAX`]) and says what the kernel
/// granted.
///
/// The first call in a process decides; later ones change nothing and return what the first one got. To be called
/// before the first key exists.
pub fn initialise(slots: usize) -> MemoryProtection {
    ARENA.get_or_init(|| Arena::map(slots)).protection
}

/// Bytes that [`initialise`] maps and locks for so many slots.
#[must_use]
pub fn mapped_bytes(slots: usize) -> usize {
    // SAFETY: sysconf reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) })
        .unwrap_or(4096)
        .max(KEY_BYTES);
    // INVARIANT: at most SLOTS_MAX slots of 32 bytes, the sentinel and one page of rounding, far below usize::MAX.
    ((slots.clamp(1, SLOTS_MAX) + 1) * KEY_BYTES).next_multiple_of(page)
}

/// What [`initialise`] got, or `None` before it was called.
#[must_use]
#[cfg(test)]
pub fn protection() -> Option<MemoryProtection> {
    ARENA.get().map(|arena| arena.protection)
}

/// Number of keys that are alive on the ordinary heap at this moment, because the arena was full or never initialised.
#[must_use]
#[cfg(test)]
pub fn keys_outside_arena() -> u64 {
    HEAP_KEYS.load(Ordering::Relaxed)
}

/// Forbids core dumps and, to other processes of the same user, ptrace and `/proc/<pid>/mem` (prctl PR_SET_DUMPABLE 0).
///
/// Returns whether the kernel agreed.
#[must_use]
pub fn forbid_core_dumps() -> bool {
    // SAFETY: PR_SET_DUMPABLE takes one integer argument and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0_u64, 0_u64, 0_u64, 0_u64) == 0 }
}

/// Ends the process when its key memory was wiped under it, which only happens in a forked child: keys are zeros there,
/// and what was derived from them before, or is on the heap, would be used by two processes. One load where all is
/// well.
#[inline]
pub(crate) fn check_sentinel() {
    if let Some(arena) = ARENA.get() {
        arena.check_sentinel();
    }
}

/// Owner of one key's 32 bytes, in the arena or on the heap; zero when made, wiped when dropped.
pub(super) struct KeyCell {
    bytes: NonNull<[u8; KEY_BYTES]>,
    home: Home,
}

enum Home {
    Arena { arena: &'static Arena, slot: usize },
    Heap,
}

// SAFETY: a cell owns its bytes alone (MEMORY-1); neither a slot of the arena nor a heap allocation is tied to a
// thread.
unsafe impl Send for KeyCell {}
// SAFETY: through a shared reference a cell can only be read.
unsafe impl Sync for KeyCell {}

impl KeyCell {
    /// A cell of zeros, in the arena where it has room.
    pub(super) fn zeroed() -> Self {
        if let Some(arena) = ARENA.get()
            && let Some(slot) = arena.free.pop()
        {
            // SAFETY: only numbers below the slot count were put into the free list, so the address is inside the
            // mapping, which lives as long as the process (MEMORY-4).
            let bytes = unsafe { arena.base.add(slot) };
            return Self {
                bytes,
                home: Home::Arena { arena, slot },
            };
        }
        HEAP_KEYS.fetch_add(1, Ordering::Relaxed);
        let bytes = NonNull::from(Box::leak(Box::new([0; KEY_BYTES])));
        Self {
            bytes,
            home: Home::Heap,
        }
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        check_sentinel();
        // SAFETY: the pointer is valid and initialised for the life of the cell, and this cell alone owns it
        // (MEMORY-1).
        unsafe { self.bytes.as_ref() }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        // SAFETY: as in `bytes`; the exclusive borrow of the cell is the exclusive borrow of its bytes.
        unsafe { self.bytes.as_mut() }
    }
}

impl Drop for KeyCell {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        match self.home {
            Home::Arena { arena, slot } => {
                // The list has room for every slot and this one was taken out of it, so the push cannot fail; were it
                // to, the slot would be lost and nothing worse.
                let _ = arena.free.push(slot);
            }
            Home::Heap => {
                HEAP_KEYS.fetch_sub(1, Ordering::Relaxed);
                // SAFETY: the pointer came from `Box::leak` in `zeroed` and is given back once, here.
                drop(unsafe { Box::from_raw(self.bytes.as_ptr()) });
            }
        }
    }
}

struct Arena {
    /// The slot of number 0 is the sentinel's.
    base: NonNull<[u8; KEY_BYTES]>,
    free: ArrayQueue<usize>,
    protection: MemoryProtection,
}

// SAFETY: the arena itself hands out slot numbers only; whoever holds a number is the only one to touch that slot.
unsafe impl Send for Arena {}
// SAFETY: as above; the free list is safe to share and the other fields never change.
unsafe impl Sync for Arena {}

impl Arena {
    #[inline]
    fn check_sentinel(&self) {
        if self.protection.slots == 0 {
            return;
        }
        // SAFETY: the first slot lies inside the mapping, which lives as long as the process (MEMORY-4), and is written
        // once, before the arena is shared. Volatile: the kernel changes it in a child without the compiler's
        // knowledge.
        let sentinel = unsafe { self.base.cast::<u8>().read_volatile() };
        if sentinel != SENTINEL {
            end_forked_child();
        }
    }

    fn map(slots: usize) -> Self {
        let length = mapped_bytes(slots);
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice; it overlaps nothing.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let base = match NonNull::new(address.cast::<[u8; KEY_BYTES]>()) {
            Some(base) if address != libc::MAP_FAILED => base,
            _ => {
                return Self {
                    base: NonNull::dangling(),
                    free: ArrayQueue::new(1),
                    protection: MemoryProtection::NONE,
                };
            }
        };
        // The first slot is the sentinel's: not zero, and whatever wipes the keys wipes it as well.
        // SAFETY: the mapping is at least one page long, and nobody else knows of it yet.
        unsafe { base.write([SENTINEL; KEY_BYTES]) };
        let slots = length / KEY_BYTES - 1;
        let free = ArrayQueue::new(slots.max(1));
        for slot in 1..=slots {
            let _ = free.push(slot);
        }
        // SAFETY: the range is the mapping made above, whole pages of it; mlock does not change its content.
        let locked = unsafe { libc::mlock(address, length) } == 0;
        // SAFETY: the same range; this advice does not change its content.
        let excluded_from_dumps = unsafe { libc::madvise(address, length, libc::MADV_DONTDUMP) } == 0;
        // SAFETY: the same range; the advice changes what a forked child sees, not this process.
        let wiped_on_fork = unsafe { libc::madvise(address, length, libc::MADV_WIPEONFORK) } == 0;
        Self {
            base,
            free,
            protection: MemoryProtection {
                slots,
                locked,
                excluded_from_dumps,
                wiped_on_fork,
            },
        }
    }
}

/// Says why, and ends the process at once: nothing of a child is to be unwound or flushed. Allocates nothing, since
/// another thread of the parent may have held the allocator's lock.
#[cold]
fn end_forked_child() -> ! {
    const WHY: &str =
        "sealwire: key memory was wiped by a fork: this child ends, since it must not seal under zeros\n";
    // SAFETY: write(2) reads the bytes of a constant; that it may fail changes nothing.
    unsafe { libc::write(libc::STDERR_FILENO, WHY.as_ptr().cast(), WHY.len()) };
    std::process::abort()
}

/// Any byte but zero.
const SENTINEL: u8 = 0xa5;

static ARENA: OnceLock<Arena> = OnceLock::new();
static HEAP_KEYS: AtomicU64 = AtomicU64::new(0);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// How a forked child ended.
    #[derive(Debug, PartialEq, Eq)]
    pub(crate) enum ChildEnd {
        Exit(i32),
        Signal(i32),
    }

    /// Runs `in_child` in a real fork of this process, which holds whatever keys it holds, and says how the child
    /// ended. The child is to do as little as it can: the other threads of the test are not there.
    pub(crate) fn fork(in_child: impl FnOnce() -> i32) -> ChildEnd {
        // SAFETY: the child runs `in_child` and ends without unwinding; the C library's allocator is usable after a
        // fork.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork: {}", std::io::Error::last_os_error());
        if child == 0 {
            let code = in_child();
            // SAFETY: ends the child; nothing of the parent's is flushed.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: waits for the child that was just made, and writes to `status` only.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        if libc::WIFSIGNALED(status) {
            ChildEnd::Signal(libc::WTERMSIG(status))
        } else {
            ChildEnd::Exit(libc::WEXITSTATUS(status))
        }
    }

    /// MEMORY-5
    #[test]
    fn a_forked_child_finds_zeros_and_ends_when_it_reads_a_key() {
        assert!(initialise(1000).wiped_on_fork);
        // Another test takes every slot for a moment.
        let mut cell = std::iter::repeat_with(KeyCell::zeroed)
            .find(|cell| matches!(cell.home, Home::Arena { .. }))
            .unwrap();
        cell.bytes_mut().fill(7);
        // SAFETY: as in `bytes`, which the child must not call.
        let raw = |cell: &KeyCell| unsafe { *cell.bytes.as_ptr() };
        assert_eq!(
            fork(|| i32::from(raw(&cell) != [0; KEY_BYTES])),
            ChildEnd::Exit(0)
        );
        let reading = fork(|| i32::from(cell.bytes()[0]));
        assert_eq!(reading, ChildEnd::Signal(libc::SIGABRT));
        // A key on the heap is not wiped, and ends the child all the same.
        let outside = KeyCell {
            bytes: NonNull::from(Box::leak(Box::new([7; KEY_BYTES]))),
            home: Home::Heap,
        };
        HEAP_KEYS.fetch_add(1, Ordering::Relaxed);
        let reading = fork(|| i32::from(outside.bytes()[0]));
        assert_eq!(reading, ChildEnd::Signal(libc::SIGABRT));
        assert_eq!(cell.bytes(), &[7; KEY_BYTES], "the parent goes on");
    }

    /// The arena is one for the process and tests share it: each test works with cells of its own only.
    ///
    /// MEMORY-4
    #[test]
    fn first_call_decides_and_says_what_was_granted() {
        let first = initialise(1000);
        assert_eq!(initialise(5), first);
        assert_eq!(protection(), Some(first));
        assert!(first.slots >= 1);
        assert!(first.excluded_from_dumps);
        assert!(first.wiped_on_fork);
    }

    /// MEMORY-1, MEMORY-2
    #[test]
    fn cells_are_zero_distinct_and_zero_again_after_reuse() {
        initialise(1000);
        for _ in 0..50 {
            let mut cells: Vec<KeyCell> = (0..20).map(|_| KeyCell::zeroed()).collect();
            for (index, cell) in (1_u8..).zip(&mut cells) {
                assert_eq!(cell.bytes(), &[0; KEY_BYTES]);
                cell.bytes_mut().fill(index);
            }
            for (index, cell) in (1_u8..).zip(&cells) {
                assert_eq!(cell.bytes(), &[index; KEY_BYTES]);
            }
        }
    }

    /// MEMORY-3
    #[test]
    fn when_the_arena_is_full_keys_go_to_the_heap_and_are_counted() {
        let small: &'static Arena = Box::leak(Box::new(Arena::map(1)));
        assert!(small.protection.slots >= 1);
        while small.free.pop().is_some() {}
        // The shared arena: take more cells than it can have.
        let slots = initialise(1000).slots;
        let cells: Vec<KeyCell> = (0..=slots).map(|_| KeyCell::zeroed()).collect();
        assert!(keys_outside_arena() >= 1);
        assert!(cells.iter().any(|cell| matches!(cell.home, Home::Heap)));
    }

    /// MEMORY-3
    #[test]
    fn where_nothing_can_be_mapped_there_are_no_slots_and_no_sentinel() {
        let in_child = || {
            let nothing = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: reads the limits given; they are the child's, which maps nothing from then on.
            let limited = unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const nothing) } == 0;
            let arena = Arena::map(1000);
            arena.check_sentinel();
            i32::from(!limited || arena.protection != MemoryProtection::NONE)
        };
        assert_eq!(fork(in_child), ChildEnd::Exit(0));
    }

    /// MEMORY-1, MEMORY-2
    #[test]
    fn a_slot_is_wiped_and_free_again_when_its_key_is_dropped() {
        let arena: &'static Arena = Box::leak(Box::new(Arena::map(1)));
        let slot = arena.free.pop().unwrap();
        let others = arena.free.len();
        // SAFETY: as in `KeyCell::zeroed`.
        let bytes = unsafe { arena.base.add(slot) };
        let mut cell = KeyCell {
            bytes,
            home: Home::Arena { arena, slot },
        };
        cell.bytes_mut().fill(7);
        drop(cell);
        // SAFETY: the mapping stays (MEMORY-4), and nobody else knows of this arena.
        assert_eq!(unsafe { bytes.read() }, [0; KEY_BYTES]);
        assert_eq!(arena.free.len(), others + 1);
        assert_eq!(std::iter::from_fn(|| arena.free.pop()).last(), Some(slot));
    }

    /// As the kernel has it in `VmFlags`: `lo` locked, `dd` left out of dumps, `wf` wiped on fork.
    #[test]
    fn what_is_said_to_be_granted_is_what_the_kernel_says() {
        let arena = Arena::map(1000);
        let address = arena.base.addr().get();
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let holds_the_arena = |line: &str| {
            let range = line
                .split_whitespace()
                .next()
                .and_then(|word| word.split_once('-'));
            range.is_some_and(|(start, end)| {
                let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16));
                matches!((start, end), (Ok(start), Ok(end)) if (start..end).contains(&address))
            })
        };
        let flags = maps
            .lines()
            .skip_while(|line| !holds_the_arena(line))
            .find_map(|line| line.strip_prefix("VmFlags:"))
            .unwrap();
        let has = |flag| flags.split_whitespace().any(|found| found == flag);
        let said = arena.protection;
        assert_eq!(
            (said.locked, said.excluded_from_dumps, said.wiped_on_fork),
            (has("lo"), has("dd"), has("wf"))
        );
    }

    #[test]
    fn protection_is_complete_where_nothing_is_missing() {
        let complete = MemoryProtection {
            slots: 1,
            locked: true,
            excluded_from_dumps: true,
            wiped_on_fork: true,
        };
        assert!(complete.is_complete());
        let lacking: [fn(&mut MemoryProtection); 4] = [
            |protection| protection.slots = 0,
            |protection| protection.locked = false,
            |protection| protection.excluded_from_dumps = false,
            |protection| protection.wiped_on_fork = false,
        ];
        for take_away in lacking {
            let mut protection = complete;
            take_away(&mut protection);
            assert!(!protection.is_complete(), "{protection:?}");
        }
    }

    #[test]
    fn sizes_are_rounded_to_pages_and_bounded() {
        // One slot is the sentinel's.
        assert_eq!((Arena::map(0).protection.slots + 1) % 128, 0);
        assert!(Arena::map(127).protection.slots >= 127);
        assert!(Arena::map(128).protection.slots >= 255);
        assert!((SLOTS_MAX..SLOTS_MAX + 4096).contains(&Arena::map(usize::MAX).protection.slots));
    }

    #[test]
    fn core_dumps_can_be_forbidden() {
        assert!(forbid_core_dumps());
        // SAFETY: PR_GET_DUMPABLE takes no argument and touches no memory of ours.
        assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE) }, 0);
        // SAFETY: as in `forbid_core_dumps`. Given back, for the other tests of this process.
        let given_back = unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1_u64, 0_u64, 0_u64, 0_u64) };
        assert_eq!(given_back, 0);
    }
}
