//! Heap allocations of an exchange: counted by `make perf-check`, and not in a run, since who counts them slows down
//! what is measured. The budgets that are part of the sources are what the last count allows.
//!
//! An exchange is a request and its response with a batch of 64 KiB. Where one of many small records allocates as often
//! as one of few, nothing is allocated for a record.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Failure;

#[derive(Deserialize)]
struct Budget {
    allocations: u64,
}

/// Of each exchange that passes, seals or opens a batch, by its name in `perf/budgets.toml`.
pub(crate) fn counted() -> Result<BTreeMap<String, u64>, Failure> {
    let budgets: BTreeMap<String, Budget> = toml::from_str(include_str!("../../../perf/budgets.toml"))?;
    let of_batches = |name: &str| WORK.iter().any(|work| name.starts_with(work));
    Ok(budgets
        .into_iter()
        .filter(|(name, _)| of_batches(name))
        .map(|(name, budget)| (name, budget.allocations))
        .collect())
}

/// In a line.
pub(crate) fn text(counted: &BTreeMap<String, u64>) -> String {
    let each: Vec<String> = counted
        .iter()
        .map(|(name, count)| format!("{} {count}", name.replace('_', " ")))
        .collect();
    each.join(", ")
}

const WORK: [&str; 3] = ["pass_", "seal_", "open_"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A batch of 64 KiB has nine times as many records of 100 bytes as of 1 KiB.
    #[test]
    fn no_record_allocates() {
        let counted = counted().unwrap();
        for work in ["seal", "open", "open_compact"] {
            let [few, many] = ["1_kib", "100_byte"].map(|size| counted[&format!("{work}_{size}_records")]);
            assert!(few > 0 && many == few, "{work}: {few}, {many}");
        }
        assert!(
            text(&counted).contains("pass produce 0, seal 100 byte records "),
            "{}",
            text(&counted)
        );
    }
}
