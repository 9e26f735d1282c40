//! The table of modules says what the source says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::{cells, quoted, read, repository};

/// The arrows between modules are those of the source: what a module's files, tests apart, `use` of others.
#[test]
fn the_table_of_modules_is_what_the_source_says() {
    let architecture = read("docs/architecture.md");
    let mark = "<!-- modules -->\n";
    let start = architecture.find(mark).expect("a table of modules") + mark.len();
    let documented: BTreeMap<String, BTreeSet<String>> = architecture[start..]
        .lines()
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| {
            let cells = cells(line);
            let uses = quoted(&cells[2]).into_iter().map(str::to_owned).collect();
            (quoted(&cells[0]).concat(), uses)
        })
        .collect();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    collect_uses(&repository().join("src"), None, &mut found);
    assert_eq!(documented, found);
}

fn collect_uses(folder: &Path, module: Option<&str>, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(folder).expect("a folder is read") {
        let path = entry.expect("an entry").path();
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("names are text");
        if stem == "tests" || (module.is_none() && matches!(stem, "lib" | "main")) {
            continue;
        }
        let module = module.unwrap_or(stem);
        if path.is_dir() {
            collect_uses(&path, Some(module), found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let uses = found.entry(module.to_owned()).or_default();
            let text = fs::read_to_string(&path).expect("a source is read");
            for line in text.lines().filter(|line| line.contains("use crate::")) {
                // What is indented belongs to the tests at a file's end.
                let Some((before, path)) = line.split_once("use crate::") else {
                    continue;
                };
                let other: String = path
                    .chars()
                    .take_while(|character| character.is_ascii_lowercase() || *character == '_')
                    .collect();
                if !before.starts_with(' ') && other != module {
                    uses.insert(other);
                }
            }
        }
    }
}
