//! Runs this very program under callgrind, and reads what it wrote.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::COUNTED;
use crate::debian;

/// What one exchange of a scenario costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Figures {
    pub(crate) instructions: u64,
    pub(crate) allocations: u64,
    pub(crate) copied: u64,
}

/// The argument that says which scenario to run.
const COUNT: &str = "--count=";

/// The scenario that this process is to run and not to have run.
pub(crate) fn scenario_to_count(arguments: &[String]) -> Option<&str> {
    arguments.iter().find_map(|argument| argument.strip_prefix(COUNT))
}

/// One scenario's figures for one exchange, and the instructions of each function.
pub(crate) fn run(name: &str) -> (Figures, BTreeMap<String, u64>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("callgrind.out");
    let program = std::env::current_exe().expect("this program has a path");
    let output = Command::new(debian::installed("valgrind", "--version", &["valgrind"]))
        .args(["--tool=callgrind", "--toggle-collect=*counted_region*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(program)
        .arg(format!("{COUNT}{name}"))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .output()
        .expect("valgrind starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<u64> = printed
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let &[allocations, copied] = figures.as_slice() else {
        panic!("{name}: {printed}\n{}", String::from_utf8_lossy(&output.stderr))
    };
    let functions = functions(&file);
    let counted = COUNTED as u64;
    let instructions: u64 = functions
        .iter()
        .filter(|(function, _)| is_ours(function))
        .map(|(_, count)| count)
        .sum();
    let figures = Figures {
        instructions: instructions / counted,
        allocations: allocations / counted,
        copied: copied / counted,
    };
    (figures, functions)
}

/// Whether a function's instructions count (BUDGET-2). Rust's functions have a path; AWS-LC's and the C library's have
/// none. Checksums and this program do not count, but for what is compiled into its walk.
pub(crate) fn is_ours(function: &str) -> bool {
    let is_the_rigs = function.contains("budgets::") && !function.ends_with("::walk");
    function.contains("::") && !function.contains("crc_fast") && !is_the_rigs
}

/// The instructions of each function without what it called, from callgrind's file.
fn functions(file: &Path) -> BTreeMap<String, u64> {
    let text = std::fs::read_to_string(file).expect("callgrind has written its file");
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut counts = BTreeMap::new();
    let mut current = "";
    let mut is_call = false;
    for line in text.lines() {
        if let Some((kind @ ("fn" | "cfn"), function)) = line.split_once('=') {
            // A name is written once; afterwards its number stands for it.
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            if !name.is_empty() {
                names.insert(number, name);
            }
            if kind == "fn" {
                current = names.get(number).expect("a number has a name");
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            // A line number and a count; behind a call, what was called has cost that.
            if !std::mem::take(&mut is_call) {
                let count: u64 = line
                    .split(' ')
                    .nth(1)
                    .and_then(|count| count.parse().ok())
                    .unwrap_or_default();
                *counts.entry(current.to_owned()).or_default() += count;
            }
        }
    }
    counts
}
