//! Free ports on 127.0.0.1 that no other test process takes meanwhile.

use std::env::temp_dir;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use super::HOST;

/// A port that is this value's until it is dropped. The lock file keeps it ours while nothing listens on it, as between
/// the death of a broker and its restart.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    number: u16,
    _lock: File,
}

impl ReservedPort {
    pub(crate) fn take() -> Self {
        // Processes start at different places, so that they rarely try the same port.
        static TRIED: AtomicU16 = AtomicU16::new(0);
        let start = u16::try_from(process::id() % u32::from(COUNT)).expect("smaller than COUNT");
        let folder = folder();
        for _ in 0..COUNT {
            let number = FIRST + (start + TRIED.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
            let lock = File::create(folder.join(number.to_string())).expect("creating a port lock");
            if lock.try_lock().is_ok() && TcpListener::bind((HOST, number)).is_ok() {
                return ReservedPort { number, _lock: lock };
            }
        }
        panic!("no free port between {FIRST} and {}", FIRST + COUNT);
    }

    /// One that was chosen otherwise. Whether it is free shows when it is used.
    pub(crate) fn at(number: u16) -> Self {
        let lock = File::create(folder().join(number.to_string())).expect("creating a port lock");
        ReservedPort { number, _lock: lock }
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    pub(crate) fn address(&self) -> String {
        format!("{HOST}:{}", self.number)
    }
}

fn folder() -> PathBuf {
    let folder = temp_dir().join("sealwire-test-ports");
    fs::create_dir_all(&folder).expect("creating the folder of port locks");
    folder
}

/// Below the ports that Linux hands out by itself (32768 and up), so that an outgoing connection never has one of ours.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;
