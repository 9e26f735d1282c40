//! The faults that `make canaries` puts back: each patch fits the sources as they are, and docs/testing.md says what it
//! is. Else nobody would notice before somebody tries it.

use std::fs;
use std::path::Path;

/// The lines of a hunk that are there before it is applied, one after the other.
fn before(hunk: &str) -> String {
    let lines = hunk.lines().skip(1);
    let there = lines.filter_map(|line| match line.split_at_checked(1) {
        Some((" " | "-", rest)) => Some(rest),
        None => Some(""),
        _ => None,
    });
    there.map(|line| format!("{line}\n")).collect()
}

#[test]
fn every_canary_fits_the_sources_and_is_told_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = fs::read_to_string(root.join("docs/testing.md")).expect("the document");
    let folder = fs::read_dir(root.join("tests/simulation/canaries")).expect("the folder");
    let mut count = 0;
    for entry in folder {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let patch = fs::read_to_string(&path).expect("a patch");
        assert!(
            told.contains(&format!("| `{name}` |")),
            "docs/testing.md does not say what {name} is"
        );
        for file in patch.split("diff --git ").skip(1) {
            let changed = file.lines().find_map(|line| line.strip_prefix("--- a/"));
            let changed = changed.unwrap_or_else(|| panic!("{name} does not say which file it changes"));
            let source = fs::read_to_string(root.join(changed)).expect("a source");
            for hunk in file.split("\n@@ ").skip(1) {
                let before = before(hunk);
                assert!(
                    source.contains(&before),
                    "{name} does not fit {changed} any more, which has to have:\n{before}"
                );
                count += 1;
            }
        }
    }
    assert!(count >= 14, "{count} hunks");
}
