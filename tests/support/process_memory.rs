//! Looking for bytes in the memory of a running process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use memchr::memmem;

/// Where in the memory of a process something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) address: u64,
    /// What the kernel calls the mapping; empty for what has no name, as heaps have none.
    pub(crate) mapping: String,
    /// It is never swapped out.
    pub(crate) is_locked: bool,
    /// It is left out of core dumps.
    pub(crate) is_excluded_from_dumps: bool,
}

/// Every place that holds `bytes`, which are no longer than a page.
///
/// The kernel shows memory of a process that forbids core dumps to root alone.
pub(crate) fn find(process: u32, bytes: &[u8]) -> io::Result<Vec<Finding>> {
    let finder = memmem::Finder::new(bytes);
    let memory = File::open(format!("/proc/{process}/mem"))?;
    let pages = File::open(format!("/proc/{process}/pagemap"))?;
    let mut findings = Vec::new();
    for mapping in mappings(process)? {
        for (start, end) in mapping.runs(&pages)? {
            let mut block = vec![0; usize::try_from(end - start).map_err(io::Error::other)?];
            if memory.read_exact_at(&mut block, start).is_err() {
                // It was unmapped meanwhile.
                continue;
            }
            findings.extend(finder.find_iter(&block).map(|offset| Finding {
                address: start + offset as u64,
                mapping: mapping.name.clone(),
                is_locked: mapping.has("lo"),
                is_excluded_from_dumps: mapping.has("dd"),
            }));
        }
    }
    Ok(findings)
}

struct Mapping {
    start: u64,
    end: u64,
    name: String,
    flags: String,
}

impl Mapping {
    fn has(&self, flag: &str) -> bool {
        self.flags.split_whitespace().any(|word| word == flag)
    }

    /// What is there of it: allocators reserve far more than they touch.
    fn runs(&self, pages: &File) -> io::Result<Vec<(u64, u64)>> {
        let count = (self.end - self.start) / PAGE_BYTES;
        let mut entries = vec![0; usize::try_from(count * ENTRY_BYTES).map_err(io::Error::other)?];
        pages.read_exact_at(&mut entries, self.start / PAGE_BYTES * ENTRY_BYTES)?;
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for (entry, start) in entries.chunks(8).zip((self.start..).step_by(PAGE_BYTES as usize)) {
            // Bits 63 and 62, in memory and in swap, of a number whose lowest byte comes first.
            if entry[7] & 0b1100_0000 == 0 {
                continue;
            }
            match runs.last_mut() {
                Some((_, end)) if *end == start => *end += PAGE_BYTES,
                _ => runs.push((start, start + PAGE_BYTES)),
            }
        }
        Ok(runs)
    }
}

/// Those that can be read and may hold what the process has written.
fn mappings(process: u32) -> io::Result<Vec<Mapping>> {
    let text = fs::read_to_string(format!("/proc/{process}/smaps"))?;
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            if let Some(mapping) = mappings.last_mut() {
                flags.clone_into(&mut mapping.flags);
            }
        } else if let Some(mapping) = mapping_of(line) {
            mappings.push(mapping);
        }
    }
    mappings.retain(|mapping| mapping.has("rd") && mapping.has("wr"));
    Ok(mappings)
}

/// From a line such as `7f0000000000-7f0000001000 rw-p 00000000 00:00 0    [heap]`.
fn mapping_of(line: &str) -> Option<Mapping> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    Some(Mapping {
        start: u64::from_str_radix(start, 16).ok()?,
        end: u64::from_str_radix(end, 16).ok()?,
        name: words.skip(4).collect::<Vec<_>>().join(" "),
        flags: String::new(),
    })
}

const PAGE_BYTES: u64 = 4096;

/// Of `/proc/PID/pagemap`.
const ENTRY_BYTES: u64 = 8;
