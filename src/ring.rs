//! io_uring as the executors need it: ring flags that glommio cannot be asked for, and a pre-flight that explains a
//! refusal; and the kernel entered no more often than somebody needs it ([`turns`]).
//!
//! glommio links liburing statically. The four functions below have the names of liburing's own system-call stubs, so
//! that the linker takes these and drops liburing's object file. `__sys_io_uring_setup` adds `COOP_TASKRUN` and
//! `SINGLE_ISSUER`, which halve the cost of small frames, and `DEFER_TASKRUN` where sockets are waited for;
//! `__sys_io_uring_enter` asks [`turns`].
//!
//! - RING-1: every ring of the process is created here: [`rings_created`] is not zero once an executor runs.
//! - RING-2: a ring that defers completes nothing by itself, but what is due in each call that asks for it. Every call
//!   that is made does, and glommio looks at its rings behind each. The ring for latency never defers: it is looked at
//!   between tasks, without a call.
//! - a kernel that does not know the flags (before 6.1, before 6.0) gets those that it knows; nothing else changes.
//! - RING-3: no buffer is registered with the kernel. glommio registers one three times for each executor, for files
//!   that are read past the page cache, which executors never do; each registration counts against the memlock limit,
//!   with transparent huge pages 2 MiB each. What is left, the rings themselves, is 48 KiB an executor.
//!
//! Any thread.
#![allow(unsafe_code)]

mod submissions;
mod turns;

use std::cell::Cell;
use std::ffi::{c_int, c_uint, c_void};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::submissions::Parameters;
use self::turns::{Call, Sleep};

pub(crate) use self::turns::PREEMPT_AFTER;

/// How many rings this process has created through the override (RING-1).
pub fn rings_created() -> usize {
    RINGS_CREATED.load(Ordering::Relaxed)
}

/// Why io_uring cannot be used, in words for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RingError {
    /// The kernel was built without io_uring, or is too old.
    #[error("this kernel has no io_uring (Linux 5.8 or newer is needed)")]
    Missing,
    /// The kernel forbids io_uring to this process.
    #[error(
        "io_uring is forbidden to this process: look at the sysctl kernel.io_uring_disabled (must be 0, or 1 with the \
         right group) and at the seccomp profile of the container or service"
    )]
    Forbidden,
    /// Not enough memory may be locked.
    #[error(
        "io_uring may not lock enough memory: raise the memlock limit (LimitMEMLOCK=, ulimit -l) to 512 KiB at least; \
         8 MiB, which is the kernel's default, is enough for keys as well"
    )]
    MemoryLock,
    /// Anything else.
    #[error("io_uring does not start: {0}")]
    Other(io::Error),
}

/// Creates and closes a small ring, as glommio would, so that a refusal is found before the first executor starts.
pub fn preflight() -> Result<(), RingError> {
    if memlock_limit().is_some_and(|limit| limit < MEMLOCK_MIN) {
        return Err(RingError::MemoryLock);
    }
    let mut parameters = [0_u8; PARAMETERS_BYTES];
    // SAFETY: the kernel reads and writes the 120 bytes of io_uring_params that `parameters` owns.
    let descriptor = unsafe { libc::syscall(SYS_SETUP, 2 as c_uint, parameters.as_mut_ptr()) };
    if descriptor < 0 {
        let error = io::Error::last_os_error();
        return Err(match error.raw_os_error() {
            Some(libc::ENOSYS) => RingError::Missing,
            Some(libc::EPERM | libc::EACCES) => RingError::Forbidden,
            Some(libc::ENOMEM) => RingError::MemoryLock,
            _ => RingError::Other(error),
        });
    }
    // SAFETY: the descriptor was just created and nobody else knows it.
    unsafe { libc::close(descriptor as c_int) };
    Ok(())
}

/// How much memory this process may lock, in bytes; of no effect for root, and asked for all the same.
fn memlock_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes to the struct that `limit` owns.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &raw mut limit) };
    (got == 0).then_some(limit.rlim_cur)
}

/// Below this limit glommio does not start an executor, whoever the user is and whatever is locked.
const MEMLOCK_MIN: u64 = 512 * 1024;
const SYS_SETUP: libc::c_long = 425;
const SYS_ENTER: libc::c_long = 426;
const SYS_REGISTER: libc::c_long = 427;
/// What is due completes in the call (`IORING_ENTER_GETEVENTS`).
const ENTER_GET_EVENTS: c_uint = 1;
/// The argument of a wait is a struct (`IORING_ENTER_EXT_ARG`).
const ENTER_WAIT_ARGUMENT: c_uint = 1 << 3;
/// `sizeof(struct io_uring_params)`.
const PARAMETERS_BYTES: usize = 120;
/// Offset of `flags` in `struct io_uring_params`: after sq_entries and cq_entries.
const FLAGS_INDEX: usize = 2;
const SETUP_IOPOLL: u32 = 1;
/// No inter-processor interrupt for a completion: it is seen at the next system call (Linux 5.19).
const SETUP_COOP_TASKRUN: u32 = 1 << 8;
/// One thread submits (Linux 6.0); true for an executor's rings.
const SETUP_SINGLE_ISSUER: u32 = 1 << 12;
/// Completions are worked off in the calls that ask for them, and not one by one at the end of others (Linux 6.1).
const SETUP_DEFER_TASKRUN: u32 = 1 << 13;
const REGISTER_BUFFERS: c_uint = 0;
const UNREGISTER_BUFFERS: c_uint = 1;
/// `_NSIG / 8`: bytes in the kernel's signal set.
const SIGNAL_SET_BYTES: c_int = 8;

static RINGS_CREATED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The next ring of an executor is the one for latency: first comes the main one, then one that polls.
    static LATENCY_IS_NEXT: Cell<bool> = const { Cell::new(false) };
}

/// liburing's stub for io_uring_setup(2), with the flags that a kernel knows.
///
/// # Safety
/// `parameters` points to a `struct io_uring_params`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sys_io_uring_setup(entries: c_uint, parameters: *mut u32) -> c_int {
    RINGS_CREATED.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the caller passes a struct io_uring_params, whose third u32 is `flags`.
    let flags = unsafe { parameters.add(FLAGS_INDEX) };
    // SAFETY: as above; the struct is the caller's and not shared.
    let plain = unsafe { flags.read() };
    if plain & SETUP_IOPOLL != 0 {
        LATENCY_IS_NEXT.set(true);
        // SAFETY: the arguments are the caller's.
        return unsafe { libc::syscall(SYS_SETUP, entries, parameters) as c_int };
    }
    let usual = SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER;
    // RING-2
    let deferring = (!LATENCY_IS_NEXT.take()).then_some(SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN);
    let mut descriptor = -1;
    for added in deferring.into_iter().chain([usual, 0]) {
        // SAFETY: as above.
        unsafe { flags.write(plain | added) };
        // SAFETY: the arguments are the caller's.
        descriptor = unsafe { libc::syscall(SYS_SETUP, entries, parameters) } as c_int;
        if descriptor >= 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL) {
            break;
        }
    }
    if descriptor >= 0 {
        // SAFETY: the kernel has filled in the struct that the caller passes.
        turns::created(descriptor, &unsafe { parameters.cast::<Parameters>().read() });
    }
    descriptor
}

/// liburing's stub for io_uring_register(2), with RING-3: glommio is told that its buffer is registered, and has no use
/// for it.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sys_io_uring_register(
    descriptor: c_int,
    opcode: c_uint,
    argument: *const c_void,
    arguments: c_uint,
) -> c_int {
    if matches!(opcode, REGISTER_BUFFERS | UNREGISTER_BUFFERS) {
        return 0;
    }
    // SAFETY: the arguments are the caller's.
    unsafe { libc::syscall(SYS_REGISTER, descriptor, opcode, argument, arguments) as c_int }
}

/// liburing's stub for io_uring_enter(2) with an argument of `size` bytes.
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sys_io_uring_enter2(
    descriptor: c_int,
    to_submit: c_uint,
    min_complete: c_uint,
    flags: c_uint,
    signals: *mut c_void,
    size: c_int,
) -> c_int {
    match turns::call(descriptor, to_submit, min_complete) {
        Call::Skip(submitted) => submitted,
        // SAFETY: the arguments are the caller's, and a call may always ask for what is due (RING-2).
        Call::Make => unsafe {
            libc::syscall(
                SYS_ENTER,
                descriptor,
                to_submit,
                min_complete,
                flags | ENTER_GET_EVENTS,
                signals,
                size,
            ) as c_int
        },
        Call::Sleep(sleep) => wait(descriptor, min_complete, flags, &sleep),
        Call::Wake => interrupted(),
    }
}

/// Waits as the caller wants to, without a set of signals.
fn wait(descriptor: c_int, min_complete: c_uint, flags: c_uint, sleep: &Sleep) -> c_int {
    let argument = WaitArgument {
        signals: 0,
        size: 0,
        reserved: 0,
        at_most: &raw const sleep.at_most as u64,
    };
    // SAFETY: no more entries than wait; the argument lives as long as the call.
    let done = unsafe {
        libc::syscall(
            SYS_ENTER,
            descriptor,
            sleep.to_submit,
            min_complete,
            flags | ENTER_WAIT_ARGUMENT,
            &raw const argument,
            size_of::<WaitArgument>(),
        ) as c_int
    };
    if done < 0 && io::Error::last_os_error().raw_os_error() != Some(libc::ETIME) {
        return done;
    }
    // The caller knows neither of the entries nor of the time.
    interrupted()
}

/// What a wait returns after a signal: the caller looks at its rings.
fn interrupted() -> c_int {
    // SAFETY: the place belongs to this thread.
    unsafe { *libc::__errno_location() = libc::EINTR };
    -1
}

/// `struct io_uring_getevents_arg`
#[repr(C)]
struct WaitArgument {
    signals: u64,
    size: u32,
    reserved: u32,
    at_most: u64,
}

/// liburing's stub for io_uring_enter(2).
///
/// # Safety
/// As the system call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sys_io_uring_enter(
    descriptor: c_int,
    to_submit: c_uint,
    min_complete: c_uint,
    flags: c_uint,
    signals: *mut c_void,
) -> c_int {
    // SAFETY: the arguments are the caller's.
    unsafe {
        __sys_io_uring_enter2(
            descriptor,
            to_submit,
            min_complete,
            flags,
            signals,
            SIGNAL_SET_BYTES,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RING-1
    #[test]
    fn an_executor_creates_its_rings_through_the_override() {
        assert!(preflight().is_ok());
        let before = rings_created();
        let executor = glommio::LocalExecutorBuilder::new(glommio::Placement::Unbound)
            .io_memory(65_536)
            .spawn(|| async {})
            .expect("the executor's thread starts");
        executor.join().expect("the executor runs");
        assert!(rings_created() > before);
    }
}
