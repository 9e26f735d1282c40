//! How CPU per GB, or per connection, of the same point went through recorded runs: as a multiple of the reference's in
//! each run, since hosts drift, and of runs on one machine.

use super::super::Recorded;
use super::across::Across;
use super::once;
use super::plot::{Form, Mark, Plot, add};
use crate::measure::Measure;
use crate::statistics::Row;

/// A plot for each kind of work of a scenario that two runs at least have; `all` begins with the oldest.
pub(super) fn plots(all: &[Recorded]) -> Vec<Plot> {
    let Some(newest) = all.last() else {
        return Vec::new();
    };
    let machine = newest.run.machine.text();
    let runs = all
        .iter()
        .filter(|recorded| recorded.run.machine.text() == machine);
    let of_run = |recorded: &'_ Recorded| {
        let rows = recorded.rows.iter().filter_map(|row| Entry::of(recorded, row));
        rows.collect::<Vec<Entry>>()
    };
    let entries: Vec<Entry> = runs.flat_map(of_run).collect();
    let points = once(entries.iter().map(|entry| entry.point.as_str()));
    let style = |point: &str| {
        points
            .iter()
            .position(|known| *known == point)
            .unwrap_or_default()
            % STYLES
    };
    let mut plots = Vec::new();
    for title in once(entries.iter().map(|entry| entry.title.as_str())) {
        let of_plot = || entries.iter().filter(|entry| entry.title == title);
        let all = once(of_plot().map(|entry| entry.run.as_str()));
        let runs = all.get(all.len().saturating_sub(RUNS_MAX)..).unwrap_or_default();
        let mut series = Vec::new();
        for entry in of_plot() {
            let Some(place) = runs.iter().position(|run| *run == entry.run) else {
                continue;
            };
            let mark = Mark { place, ..entry.mark };
            add(&mut series, &entry.point, style(&entry.point), mark);
        }
        let label = |run: &&str| {
            of_plot()
                .find(|entry| entry.run == **run)
                .map(|entry| entry.label.clone())
        };
        plots.push(Plot {
            title: title.to_owned(),
            form: Form::Lines,
            across: Across::even(
                "commit of the recorded run",
                runs.iter().filter_map(label).collect(),
            ),
            measure: "CPU, reference = 1".to_owned(),
            series,
        });
    }
    plots.retain(|plot| plot.series.iter().any(|series| series.marks.len() > 1));
    plots
}

/// What a run says of a point.
struct Entry {
    /// Of the plot that it belongs to.
    title: String,
    /// When the run began, and what stands for it.
    run: String,
    label: String,
    point: String,
    mark: Mark,
}

impl Entry {
    fn of(recorded: &Recorded, row: &Row) -> Option<Self> {
        let ratio = row
            .comparison(Measure::CpuSPerGb)
            .filter(|_| row.system == SYSTEM)?;
        Some(Self {
            title: format!(
                "CPU per {} against {}, run by run: {} ({})",
                row.point.cost().1,
                ratio.with,
                row.point.work(),
                row.scenario
            ),
            run: recorded.run.started.clone(),
            label: label(recorded),
            point: point(row),
            mark: Mark {
                place: 0,
                value: ratio.spread.median,
                low: ratio.interval.low,
                high: ratio.interval.high,
                within_noise: false,
                limit: None,
            },
        })
    }
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

#[cfg(test)]
mod tests {
    use super::super::panels::tests::{rows, run};
    use super::*;
    use crate::statistics::{Comparison, How, Interval, Spread};

    fn recorded(number: usize, ratio: f64) -> Recorded {
        let mut rows = rows("frame_kib = [1, 16]");
        for row in &mut rows {
            row.comparisons.push(Comparison {
                of: Measure::CpuSPerGb,
                with: "haproxy-64k".to_owned(),
                how: How::Ratio,
                spread: Spread::of(vec![ratio]).unwrap(),
                interval: Interval {
                    low: ratio,
                    high: ratio,
                },
            });
        }
        let mut run = run();
        (run.started, run.commit) = (number.to_string(), Some(format!("{number}00000000000")));
        Recorded {
            run,
            rows,
            limits: Vec::new(),
            failures: Vec::new(),
        }
    }

    #[test]
    fn the_newest_runs_stand_beside_each_other() {
        assert!(plots(&[recorded(1, 1.0)]).is_empty(), "one run is no trend");
        let mut all: Vec<Recorded> = (1..9).map(|number| recorded(number, number as f64)).collect();
        // Of another machine, and of other scenarios: they are not counted.
        all[5].run.machine.cores = 64;
        all[6].rows.clear();
        let plots = plots(&all);
        let titles: Vec<&str> = plots.iter().map(|plot| plot.title.as_str()).collect();
        let expected =
            ["seal", "open"].map(|work| format!("CPU per GB against haproxy-64k, run by run: {work} (mine)"));
        assert_eq!(titles, expected);
        assert_eq!(plots[0].series.len(), 2, "a line for each size of frames");
        let values: Vec<f64> = plots[0].series[0].marks.iter().map(|mark| mark.value).collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 8.0]);
    }
}
