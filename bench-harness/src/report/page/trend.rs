//! How CPU per GB of the same point went through recorded runs: as a multiple of the reference's in each run, since
//! hosts drift, and of runs on one machine.

use super::super::Recorded;
use super::across::Across;
use super::plot::{Form, Mark, Plot, add};
use crate::measure::Measure;
use crate::statistics::Row;

/// A plot for each kind of work of a scenario that two runs at least have; `all` begins with the oldest.
pub(super) fn plots(all: &[Recorded]) -> Vec<Plot> {
    let Some(newest) = all.last() else {
        return Vec::new();
    };
    let machine = newest.run.machine.text();
    let of_machine: Vec<&Recorded> = all
        .iter()
        .filter(|recorded| recorded.run.machine.text() == machine)
        .collect();
    let runs = of_machine
        .get(of_machine.len().saturating_sub(RUNS_MAX)..)
        .unwrap_or_default();
    let labels: Vec<String> = runs.iter().map(|recorded| label(recorded)).collect();
    let (mut plots, mut points): (Vec<Plot>, Vec<String>) = (Vec::new(), Vec::new());
    for (place, recorded) in runs.iter().enumerate() {
        for row in recorded.rows.iter().filter(|row| row.system == SYSTEM) {
            let Some(ratio) = row.comparison(Measure::CpuSPerGb) else {
                continue;
            };
            let title = format!(
                "CPU per GB against {}, run by run: {} ({})",
                ratio.with,
                row.point.work(),
                row.scenario
            );
            let point = point(row);
            if !points.contains(&point) {
                points.push(point.clone());
            }
            let style = points
                .iter()
                .position(|known| *known == point)
                .unwrap_or_default()
                % STYLES;
            if !plots.iter().any(|plot| plot.title == title) {
                plots.push(Plot {
                    title: title.clone(),
                    form: Form::Lines,
                    across: Across::even("commit of the recorded run", labels.clone()),
                    measure: format!("CPU per GB, {} = 1", ratio.with),
                    series: Vec::new(),
                });
            }
            if let Some(plot) = plots.iter_mut().find(|plot| plot.title == title) {
                let mark = Mark {
                    place,
                    value: ratio.spread.median,
                    low: ratio.interval.low,
                    high: ratio.interval.high,
                    within_noise: false,
                    limit: None,
                };
                add(&mut plot.series, &point, style, mark);
            }
        }
    }
    plots.retain(|plot| plot.series.iter().any(|series| series.marks.len() > 1));
    plots
}

fn label(recorded: &Recorded) -> String {
    let run = &recorded.run;
    let commit = run
        .commit
        .as_deref()
        .and_then(|commit| commit.get(..COMMIT_DIGITS));
    commit.unwrap_or(&run.started).to_owned()
}

/// All of its label but for the work.
fn point(row: &Row) -> String {
    let rest = row.label.strip_prefix(row.point.work());
    rest.unwrap_or(&row.label).trim_start().to_owned()
}

const SYSTEM: &str = "sealwire";
/// As many labels stand beside each other.
const RUNS_MAX: usize = 6;
const COMMIT_DIGITS: usize = 7;
/// Colours of the style sheet.
const STYLES: usize = 8;
