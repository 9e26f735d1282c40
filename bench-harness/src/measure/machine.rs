//! What was measured on, and with what. No names of hosts or people.

use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_mb: u64,
    pub(crate) kernel: String,
    /// Those that decide how fast ciphers, checksums and copies are.
    pub(crate) cpu_features: Vec<String>,
    pub(crate) cpu_kind: CpuKind,
}

/// What decides how fast the cipher is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CpuKind {
    /// AES-GCM by AVX-512 and VAES.
    Avx512,
    /// By AES-NI.
    Aesni,
}

impl Machine {
    /// This one.
    pub(crate) fn of_this_run() -> Self {
        let information = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let flags = value(&information, "flags").unwrap_or_default();
        let has = |feature: &str| flags.split(' ').any(|flag| flag == feature);
        let memory = value(&memory, "MemTotal").unwrap_or_default();
        let kib: Option<u64> = memory.split(' ').next().and_then(|kib| kib.parse().ok());
        Self {
            cpu: value(&information, "model name").unwrap_or_else(|| "unknown CPU".to_owned()),
            // Not what this thread may use: it is pinned.
            cores: information
                .lines()
                .filter(|line| line.starts_with("processor"))
                .count(),
            memory_mb: kib.unwrap_or_default() * 1024 / 1_000_000,
            kernel: release.split('.').take(2).collect::<Vec<_>>().join("."),
            cpu_features: FEATURES
                .into_iter()
                .filter(|feature| has(feature))
                .map(str::to_owned)
                .collect(),
            cpu_kind: match has("avx512f") && has("vaes") && has("vpclmulqdq") {
                true => CpuKind::Avx512,
                false => CpuKind::Aesni,
            },
        }
    }

    /// In a line.
    pub(crate) fn text(&self) -> String {
        format!(
            "{} ({}), {} cores, Linux {}, loopback",
            self.cpu,
            self.cpu_features.join(" "),
            self.cores,
            self.kernel
        )
    }
}

const FEATURES: [&str; 8] = [
    "aes",
    "pclmulqdq",
    "avx2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "sha_ni",
    "fsrm",
];

/// The commit of the sources that this program was built from, if they are still there. `-dirty`: with changes that
/// were not committed, those left out that earlier runs have made in `perf/`.
pub(crate) fn commit() -> Option<String> {
    commit_of(Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn commit_of(directory: &Path) -> Option<String> {
    let git = |arguments: &[&str]| {
        Command::new("git")
            .current_dir(directory)
            .args(arguments)
            .output()
            .ok()
    };
    let output = git(&["rev-parse", "--short=12", "HEAD"]).filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    let unchanged = git(&[
        "diff",
        "--quiet",
        "HEAD",
        "--",
        ":/",
        ":(top,exclude)perf/*.jsonl",
    ])?
    .status
    .success();
    Some(text.trim().to_owned() + if unchanged { "" } else { "-dirty" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_source_is_told_and_what_runs_record_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.current_dir(directory.path())
                .args(["-c", "user.name=a", "-c", "user.email=a@b"])
                .args(arguments);
            assert!(git.output().unwrap().status.success(), "{arguments:?}");
        };
        git(&["init"]);
        assert_eq!(commit_of(directory.path()), None);
        std::fs::create_dir(directory.path().join("perf")).unwrap();
        for name in ["source.rs", "perf/history.jsonl"] {
            write(name, "one");
        }
        git(&["add", "."]);
        git(&["commit", "-m", "all"]);
        let clean = commit_of(directory.path()).unwrap();
        assert_eq!(clean.len(), 12);
        write("perf/history.jsonl", "another run");
        assert_eq!(commit_of(directory.path()), Some(clean.clone()));
        write("source.rs", "two");
        assert_eq!(commit_of(directory.path()), Some(clean + "-dirty"));
    }
}
