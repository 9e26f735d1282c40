//! The budgets: read, compared with, and written anew when asked for.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::callgrind::{self, Figures};
use crate::scenarios::NAMES;

/// In hundredths, what may differ.
const TOLERANCE: u64 = 2;
/// Functions that are shown of a scenario.
const SHOWN: usize = 40;

/// Compares all scenarios with their budgets, or shows where the instructions of one are.
pub(crate) fn check(shown: Option<&str>) -> ExitCode {
    if let Some(name) = shown {
        show(name);
        return ExitCode::SUCCESS;
    }
    let measured: BTreeMap<String, Figures> = NAMES
        .iter()
        .map(|name| ((*name).to_owned(), callgrind::run(name).0))
        .collect();
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("perf/budgets.toml");
    if std::env::var_os("UPDATE_BUDGETS").is_some() {
        let text = toml::to_string(&measured).expect("figures are TOML");
        std::fs::write(&path, format!("{HEAD}{text}")).expect("budgets are written");
    }
    let text = std::fs::read_to_string(&path).expect("budgets are read");
    let budgets: BTreeMap<String, Figures> = toml::from_str(&text).expect("budgets are TOML");
    println!(
        "{:<34} {:>24} {:>18} {:>22}",
        "for one exchange", "instructions", "allocations", "bytes copied"
    );
    let mut worse = 0;
    for (name, found) in &measured {
        let Some(budget) = budgets.get(name) else {
            println!("{name}: perf/budgets.toml has no budget for it");
            worse += 1;
            continue;
        };
        let pairs = [
            (found.instructions, budget.instructions),
            (found.allocations, budget.allocations),
            (found.copied, budget.copied),
        ];
        let [instructions, allocations, copied] = pairs.map(|(found, budget)| compared(found, budget));
        println!("{name:<34} {instructions:>24} {allocations:>18} {copied:>22}");
        if pairs.iter().any(|(found, budget)| is_beyond(*found, *budget)) {
            println!("  ^ more than {TOLERANCE} % over its budget");
            worse += 1;
        } else if pairs.iter().any(|(found, budget)| is_beyond(*budget, *found)) {
            println!(
                "  ^ more than {TOLERANCE} % under its budget: lower it (UPDATE_BUDGETS=1 make perf-check)"
            );
        }
    }
    if budgets.keys().any(|name| !measured.contains_key(name)) {
        println!("perf/budgets.toml has budgets of scenarios that there are not");
        worse += 1;
    }
    if worse == 0 {
        ExitCode::SUCCESS
    } else {
        println!(
            "{worse} scenarios cost more than they may. What costs: make perf-check SCENARIO=NAME. If it is \
             worth it: UPDATE_BUDGETS=1 make perf-check, and the commit says why."
        );
        ExitCode::FAILURE
    }
}

/// More than the tolerance above a budget.
fn is_beyond(found: u64, budget: u64) -> bool {
    found * 100 > budget * (100 + TOLERANCE)
}

/// A figure, and by how many hundredths it differs.
fn compared(found: u64, budget: u64) -> String {
    if found == budget {
        return found.to_string();
    }
    let percent = (found as f64 - budget as f64) * 100.0 / budget.max(1) as f64;
    format!("{found} ({percent:+.1} %)")
}

/// Where the instructions of a scenario are, the most first.
fn show(name: &str) {
    let (figures, functions) = callgrind::run(name);
    println!("{name}: {figures:?}");
    let mut functions: Vec<(String, u64)> = functions.into_iter().collect();
    functions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (function, count) in functions.iter().take(SHOWN) {
        let counts = if callgrind::is_ours(function) { ' ' } else { '-' };
        println!("{:>12} {counts} {function}", count / crate::COUNTED as u64);
    }
}

const HEAD: &str = "\
# What one exchange of each scenario may cost: `make perf-check` fails beyond 2 %. docs/testing.md says what is counted.
# Written by UPDATE_BUDGETS=1 make perf-check; a commit that raises a figure says what for.

";
