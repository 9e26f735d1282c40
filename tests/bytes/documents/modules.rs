//! The table of modules says what the source says.

use std::collections::{BTreeMap, BTreeSet};

use super::{cells, quoted, read};
use crate::tidy::circles::uses;

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
    for (module, used) in uses() {
        let root = |path: &str| path.split('/').next().map(str::to_owned).expect("a name");
        let module = root(&module);
        let others = used.iter().map(|used| root(used)).filter(|used| *used != module);
        found.entry(module.clone()).or_default().extend(others);
    }
    assert_eq!(documented, found);
}
