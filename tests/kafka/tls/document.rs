//! The tables of docs/authentication.md: what is wrong, and what is shown of it.

use std::fs;

use crate::support::cache;

/// A row: what is wrong, and under each heading what is shown.
pub(super) struct Row {
    pub(super) what: String,
    shown: Vec<(String, Option<String>)>,
}

impl Row {
    /// What stands in backticks under this heading, if anything does.
    pub(super) fn of(&self, heading: &str) -> Option<&str> {
        let mut shown = self.shown.iter();
        let found = shown.find(|(of, _)| of == heading);
        let (_, text) = found.unwrap_or_else(|| panic!("no column {heading}"));
        text.as_deref()
    }
}

/// The rows of the table under this heading of the document.
pub(super) fn documented(heading: &str) -> Vec<Row> {
    let path = cache::workspace().join("docs/authentication.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mark = format!("# {heading}\n");
    let (_, section) = text
        .split_once(&mark)
        .unwrap_or_else(|| panic!("no heading {heading}"));
    let mut rows = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .map(|line| {
            let cells = line.trim_matches('|').split('|');
            cells.map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
        });
    let headings = rows.next().expect("a head of the table");
    rows.skip(1)
        .map(|cells| {
            assert_eq!(cells.len(), headings.len(), "{cells:?}");
            let shown = headings.iter().zip(&cells).skip(1);
            Row {
                shown: shown
                    .map(|(heading, cell)| (heading.clone(), quoted(cell)))
                    .collect(),
                what: cells.into_iter().next().expect("a row has cells"),
            }
        })
        .collect()
}

fn quoted(cell: &str) -> Option<String> {
    cell.split('`').nth(1).map(str::to_owned)
}
