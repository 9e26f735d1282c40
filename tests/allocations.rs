//! What sealing and opening allocate, on the Rust heap and on the C heap: nothing per record, once buffers have grown.
//! And what is in memory of the Rust heap that is given back while a private key is read, or while the proxy renews a
//! login at a broker: nothing of the key, and nothing of the password or token.
//!
//! The Rust heap is counted by a global allocator around the system's, the C heap by stand-ins for glibc's functions.
//! Both counters belong to the thread that allocates, so nothing else that runs in this process disturbs them. A Rust
//! allocation counts in both.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "no executor runs in tests but those of the program"
)]
#![allow(unsafe_code)]

#[path = "support/c_heap.rs"]
mod c_heap;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use sealwire::crypto::SecretKey;
use sealwire::envelope::{
    AcceptedDomain, BatchPlace, Domain, DomainKey, Form, HeaderMode, Opener, OpeningKey, SaltSource,
    SealBuffers, SealTerms, SealingKey, StableKeyId, form_of,
};
use sealwire::identity::sasl::initiator::{Account, Credential, Proof};
use sealwire::record_batch::parse_record;
use sealwire::record_batch::varint::put_varint;
use sealwire::testing::TlsPeer;
use sealwire::testing::authority::{Authority, Wanted};
use sealwire::testing::renewed_login::{Sending, renew_login};
use sealwire::testing::tls_meeting::{Meeting, VERSIONS, listener, server_name};
use zeroize::Zeroizing;

thread_local! {
    // Constant and without a destructor: touching them allocates nothing.
    static RUST_ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// What is looked for in memory that is given back.
    static SECRETS: Cell<&'static [Vec<u8>]> = const { Cell::new(&[]) };
    static SECRETS_FOUND: Cell<u64> = const { Cell::new(0) };
}

fn count(counter: &'static std::thread::LocalKey<Cell<u64>>) {
    // While a thread is torn down there is nothing to count with, and nothing that we measure.
    let _ = counter.try_with(|count| count.set(count.get().wrapping_add(1)));
}

/// Looks into memory that is about to be given back. (AWS-LC wipes what it gives back to the C heap.)
fn look(pointer: *const u8, size: usize) {
    for secret in SECRETS.try_with(Cell::get).unwrap_or_default() {
        // SAFETY: both blocks are allocated, and as long as is said.
        let found = unsafe { libc::memmem(pointer.cast(), size, secret.as_ptr().cast(), secret.len()) };
        if !found.is_null() {
            count(&SECRETS_FOUND);
        }
    }
}

struct Counting;

// SAFETY: everything is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&RUST_ALLOCATIONS);
        // SAFETY: the caller's promises are the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        look(pointer, layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(&RUST_ALLOCATIONS);
        // It may move, and leaves then behind what it held.
        look(pointer, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations on the Rust heap and on the C heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allocations {
    rust: u64,
    c: u64,
}

fn counted<T>(work: impl FnOnce() -> T) -> (T, Allocations) {
    let now = || Allocations {
        rust: RUST_ALLOCATIONS.get(),
        c: c_heap::allocations(),
    };
    let before = now();
    let result = work();
    let after = now();
    (
        result,
        Allocations {
            rust: after.rust - before.rust,
            c: after.c - before.c,
        },
    )
}

const NOTHING: Allocations = Allocations { rust: 0, c: 0 };

/// `count` records of 1 KiB with a key and two headers, one behind the other.
fn records(count: usize) -> Vec<u8> {
    let mut body = vec![0, 0, 0];
    for field in [&b"order-17"[..], &[0x76; 1024]] {
        put_varint(&mut body, i32::try_from(field.len()).unwrap());
        body.extend_from_slice(field);
    }
    body.extend_from_slice(b"\x04\x02a\x02b\x02c\x01");
    let mut all = Vec::new();
    for _ in 0..count {
        put_varint(&mut all, i32::try_from(body.len()).unwrap());
        all.extend_from_slice(&body);
    }
    all
}

struct Bench {
    domains: [AcceptedDomain; 1],
    sealing: SealingKey,
    opening: OpeningKey,
    opener: Opener,
    buffers: SealBuffers,
    salts: SaltSource,
    sealed: Vec<u8>,
    opened: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        let dek = SecretKey::generate().unwrap();
        let wrapped = [0x5a; 76];
        Self {
            domains: [Domain::new("orders").unwrap().into()],
            sealing: SealingKey::new(&dek, wrapped).unwrap(),
            opening: OpeningKey::new(&dek, &wrapped).unwrap(),
            opener: Opener::default(),
            buffers: SealBuffers::default(),
            salts: SaltSource::new(0),
            sealed: Vec::new(),
            opened: Vec::new(),
        }
    }

    /// Record keys are sealed, too.
    fn with_sealed_keys() -> Self {
        let mut bench = Self::new();
        let [accepted] = &mut bench.domains;
        let (stable_key, id) = (
            SecretKey::generate().unwrap(),
            StableKeyId::of_wrapped(b"wrapped"),
        );
        accepted.key = Some(Arc::new(
            DomainKey::new(&stable_key, id, &accepted.domain).unwrap(),
        ));
        bench
    }

    /// Seals `clear` as one batch: what beginning it allocates, and what its records do.
    fn seal(&mut self, clear: &[u8], mode: HeaderMode) -> (Allocations, Allocations) {
        self.sealed.clear();
        let buffers = std::mem::take(&mut self.buffers);
        let (sealer, begun) = counted(|| {
            let place = BatchPlace::default();
            let [accepted] = &self.domains;
            let terms = SealTerms {
                keys: accepted.key.as_ref(),
                ..SealTerms::new(&accepted.domain, mode)
            };
            self.sealing.begin(&mut self.salts, &place, &terms, buffers)
        });
        let mut sealer = sealer.unwrap();
        let (_, sealed) = counted(|| {
            let mut at = 0;
            while at < clear.len() {
                let record = parse_record(clear, at).unwrap();
                sealer.seal_record(clear, &record, &mut self.sealed).unwrap();
                at = record.end;
            }
        });
        self.buffers = sealer.end();
        (begun, sealed)
    }

    /// Opens what was sealed last.
    fn open(&mut self) -> Allocations {
        self.opened.clear();
        let (_, opened) = counted(|| {
            let mut at = 0;
            while at < self.sealed.len() {
                let record = parse_record(&self.sealed, at).unwrap();
                let Ok(Form::RecordSeal(marker)) = form_of(&self.sealed, &record) else {
                    panic!("sealed")
                };
                self.opener
                    .open_record(
                        &self.opening,
                        &mut self.sealed,
                        marker.in_record(&record),
                        &self.domains,
                        &mut self.opened,
                    )
                    .unwrap();
                at = record.end;
            }
        });
        opened
    }
}

/// PIPELINE-4, BATCH-2, XAES-2, AAD-3
#[test]
fn batches_allocate_the_same_however_many_records_they_have() {
    batches_allocate_the_same(Bench::new());
}

/// STABLE-KEY-2
#[test]
fn batches_with_sealed_keys_allocate_the_same_however_many_records_they_have() {
    batches_allocate_the_same(Bench::with_sealed_keys());
}

fn batches_allocate_the_same(mut bench: Bench) {
    let (few, many) = (records(10), records(1000));
    for mode in [HeaderMode::Sealed, HeaderMode::Bound, HeaderMode::Free] {
        // Buffers grow to what the longest batch needs.
        bench.seal(&many, mode);
        bench.open();

        let (begun_few, sealed_few) = bench.seal(&few, mode);
        let opened_few = bench.open();
        assert!(bench.opened == few);
        let (begun_many, sealed_many) = bench.seal(&many, mode);
        let opened_many = bench.open();
        assert!(bench.opened == many);

        assert_eq!(
            (sealed_few, sealed_many),
            (NOTHING, NOTHING),
            "{mode:?}: a record was allocated for"
        );
        assert_eq!(begun_few, begun_many);
        assert_eq!(opened_few, opened_many);
        // The sub-key's contexts, on the C heap and nowhere else: the counters do count.
        for batch in [begun_few, opened_few] {
            assert_eq!(batch.rust, 0, "{mode:?}");
            assert!((1..=8).contains(&batch.c), "{mode:?}: {batch:?}");
        }
    }
}

/// OPEN-2
#[test]
fn a_batch_opened_again_allocates_nothing_at_all() {
    let mut bench = Bench::new();
    bench.seal(&records(10), HeaderMode::Sealed);
    bench.open();
    assert_eq!(bench.open(), NOTHING);
}

#[test]
fn refusals_allocate_nothing_but_for_the_first() {
    let mut bench = Bench::new();
    bench.seal(&records(1), HeaderMode::Sealed);
    bench.open();
    bench.opened.clear();
    let last = bench.sealed.len() - 1;
    bench.sealed[last] ^= 1;
    let record = parse_record(&bench.sealed, 0).unwrap();
    let Ok(Form::RecordSeal(marker)) = form_of(&bench.sealed, &record) else {
        panic!("sealed")
    };
    let mut refuse = || {
        let (outcome, allocations) = counted(|| {
            bench.opener.open_record(
                &bench.opening,
                &mut bench.sealed,
                marker.in_record(&record),
                &bench.domains,
                &mut bench.opened,
            )
        });
        assert!(outcome.is_err());
        allocations
    };
    // AWS-LC makes this thread's error queue, of fixed length, when it first has something to put into it.
    refuse();
    for _ in 0..100 {
        assert_eq!(refuse(), NOTHING);
    }
}

#[test]
fn the_counters_count() {
    let (boxed, allocations) = counted(|| std::hint::black_box(Box::new([1_u8; 100])));
    assert_eq!(allocations, Allocations { rust: 1, c: 1 });
    drop(boxed);
    // SAFETY: a plain allocation of the C heap, given back at once.
    let (_, allocations) = counted(|| unsafe { libc::free(std::hint::black_box(libc::malloc(100))) });
    assert_eq!(allocations, Allocations { rust: 0, c: 1 });
}

/// Bytes that are allocated in this process, on either heap and by whatever thread.
fn heap_bytes() -> usize {
    // SAFETY: it takes nothing and only reads.
    unsafe { libc::mallinfo2() }.uordblks
}

/// An idle pair of TLS sessions, of a client and of a broker, holds little, also after traffic: no buffer (TLS-2).
#[test]
fn an_idle_pair_of_tls_sessions_takes_little_memory() {
    const PAIRS: usize = 40;
    for version in VERSIONS {
        let meeting = Meeting {
            mutual: true,
            ..Meeting::of(version)
        };
        let (server, client) = (meeting.server(), meeting.client());
        let pair = || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let (server, client) = (server.clone(), client.clone());
            let (mut one, mut other) = std::thread::scope(|scope| {
                let accepted = scope.spawn(|| {
                    let (socket, _) = listener.accept().unwrap();
                    let (mut peer, _) = TlsPeer::accept(socket, server).unwrap();
                    let mut text = vec![0; 256 * 1024];
                    peer.read_exact(&mut text).unwrap();
                    peer.write_all(&text).unwrap();
                    peer
                });
                let socket = TcpStream::connect(address).unwrap();
                let mut peer = TlsPeer::connect(socket, client, server_name()).unwrap();
                let mut text = vec![7; 256 * 1024];
                peer.write_all(&text).unwrap();
                peer.read_exact(&mut text).unwrap();
                (accepted.join().unwrap(), peer)
            });
            one.free_buffers();
            other.free_buffers();
            (one, other)
        };
        // What is made once for all.
        let first = pair();
        // Other tests have the same heap, and may give much of theirs back meanwhile: the middle of five tries.
        let mut tries = [0; 5].map(|_: usize| {
            let before = heap_bytes();
            let pairs: Vec<_> = (0..PAIRS).map(|_| pair()).collect();
            let each = heap_bytes().saturating_sub(before) / PAIRS;
            drop(pairs);
            each
        });
        drop(first);
        tries.sort_unstable();
        assert!(
            (4 * 1024..24 * 1024).contains(&tries[2]),
            "{version:?}: {tries:?} bytes"
        );
    }
}

/// Runs `work`, and says how much memory was given back meanwhile that held one of `secrets`.
fn given_back_with(secrets: &'static [Vec<u8>], work: impl FnOnce()) -> u64 {
    let before = SECRETS_FOUND.get();
    SECRETS.set(secrets);
    work();
    SECRETS.set(&[]);
    SECRETS_FOUND.get() - before
}

/// CERTIFICATES-2
#[test]
fn no_memory_is_given_back_with_a_private_key_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root("root");
    for is_rsa in [false, true] {
        let wanted = Wanted {
            is_rsa,
            ..Wanted::for_hosts(&["a"])
        };
        let issued = root.issue(&wanted);
        let tls = listener(vec![issued.write(folder.path(), "server")]);
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
        let der = key.secret_der();
        // The beginning of the last whole line: of EC keys it is in the private number, of RSA's in their last factor.
        let line = der.len() / 48;
        let text = issued.key.lines().nth(line).unwrap();
        let secrets = vec![
            text.as_bytes()[..24].to_vec(),
            der[(line - 1) * 48..][..18].to_vec(),
        ];
        let secrets: &'static [Vec<u8>] = secrets.leak();
        for copy in [issued.key.as_bytes(), der] {
            assert_eq!(given_back_with(secrets, || drop(copy.to_vec())), 1, "it is found");
        }
        let found = given_back_with(secrets, || {
            let set = tls.load(SystemTime::now());
            assert!(set.is_ok(), "{:?}", set.err());
        });
        assert_eq!(found, 0, "is RSA: {is_rsa}");
    }
}

/// HALF-1
#[test]
fn no_memory_is_given_back_with_a_secret_for_brokers_in_it() {
    let secret = "canary-".repeat(100);
    let secrets: &'static [Vec<u8>] = vec![secret.as_bytes()[..24].to_vec()].leak();
    let proofs: [fn(Zeroizing<String>) -> Proof; 2] = [
        |password| Proof::Plain(Account::new("app".to_owned(), password)),
        Proof::Token,
    ];
    for proof in proofs {
        for (sending, arrives) in [
            (Sending::InParts(usize::MAX), true),
            (Sending::InParts(10), true),
            (Sending::CutAfter(10), false),
            (Sending::CutAfter(200), false),
        ] {
            let mut copy = None;
            let found = given_back_with(secrets, || {
                let credential = Credential::new(proof(Zeroizing::new(secret.clone())));
                assert_eq!(renew_login(credential, sending), arrives, "{sending:?}");
                copy = Some(secret.clone());
            });
            assert_eq!(found, 0, "{sending:?}");
            assert_eq!(given_back_with(secrets, || drop(copy)), 1, "it is found");
        }
    }
}
