//! What runs on executors has nothing at hand that makes others wait.

use regex::Regex;

use super::sources;

/// EXECUTOR-MAIN-1: tests apart, no file of theirs names a lock, a file, a KMS or the log.
#[test]
fn what_executors_run_knows_no_lock_no_file_no_kms_and_no_log() {
    let theirs = Regex::new(
        "^src/(executor|connection|pipeline|protocol|record_batch|envelope|rules|keys/executor|growing|channel)[./]",
    )
    .expect("a pattern");
    let blocking =
        Regex::new(r"\b(Mutex|RwLock|Condvar|std::fs|File::|dyn Kms\b|tracing::|std::process|thread::)")
            .expect("a pattern");
    let mut looked_at = 0;
    for source in sources() {
        if !theirs.is_match(&source.path) || source.tests_from == 0 {
            continue;
        }
        looked_at += 1;
        for (number, line) in source.lines().take(source.tests_from) {
            let code = line.split("//").next().unwrap_or_default();
            assert!(!blocking.is_match(code), "{}:{}: {line}", source.path, number + 1);
        }
    }
    assert!(looked_at > 100, "{looked_at} files");
}
