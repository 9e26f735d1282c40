//! `report`: runs as one page for people.
//!
//! - REPORT-2: the page holds everything that it needs: no script, no font, no picture, no address that a reader's
//!   browser would ask for anything.

mod across;
mod html;
mod panels;
mod plot;
mod scale;
mod sign;
mod tables;
mod trend;

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;

use self::html::Text;
use self::plot::Plot;
use super::{Failed, NO_POINT, Recorded, Run, history};
use crate::Failure;
use crate::measure::{Measure, allocations};
use crate::scenario::Scenario;
use crate::statistics::{Row, Verdict};

/// Options of `report`.
#[derive(Args)]
pub(crate) struct Options {
    /// Files that `run --json` wrote; or recorded runs: `last`, `last~1`, their time, their commit; or `history`, or a
    /// file like it: of each scenario the newest recorded run.
    #[arg(long, value_delimiter = ',', default_value = HISTORY)]
    json: Vec<String>,
    /// Where the page goes; `perf/report.html` without it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const HISTORY: &str = "history";

/// Writes the page.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let (mut runs, mut all) = (Vec::new(), Vec::new());
    for name in &options.json {
        let path = match name.as_str() {
            HISTORY => history::path()?,
            name => PathBuf::from(name),
        };
        if history::is_one(&path) {
            let recorded = history::all(&path)?;
            runs.extend(history::newest(&recorded));
            all.extend(recorded);
        } else {
            runs.push(Recorded::load(name)?);
        }
    }
    let path = match &options.out {
        Some(path) => path.clone(),
        None => super::directory()?.join("report.html"),
    };
    std::fs::write(&path, page(&runs, &all)?).map_err(|error| format!("{}: {error}", path.display()))?;
    tell!("{}", path.display());
    Ok(())
}

/// One scenario of a run.
struct Section<'a> {
    run: &'a Run,
    scenario: &'a str,
    /// The scenario's, and where several runs are of it, which one.
    name: String,
    rows: Vec<&'a Row>,
    limits: Vec<&'a Verdict>,
}

impl<'a> Section<'a> {
    fn all(runs: &'a [Recorded]) -> Vec<Self> {
        let of_run = |Recorded {
                          run, rows, limits, ..
                      }: &'a Recorded| {
            let section = move |scenario: &'a String| Self {
                run,
                scenario,
                name: scenario.clone(),
                rows: rows.iter().filter(|row| row.scenario == *scenario).collect(),
                limits: limits
                    .iter()
                    .filter(|limit| limit.scenario == *scenario)
                    .collect(),
            };
            run.scenarios.iter().map(section)
        };
        let sections = runs.iter().flat_map(of_run);
        let mut sections: Vec<Self> = sections.filter(|section| !section.rows.is_empty()).collect();
        let scenarios: Vec<&str> = sections.iter().map(|section| section.scenario).collect();
        for section in &mut sections {
            let is_named_so = |scenario: &&&str| **scenario == section.scenario;
            if scenarios.iter().filter(is_named_so).count() > 1 {
                section.name += &format!(", run {}", section.run.started);
            }
        }
        sections
    }

    /// What a point is called beside those of all sections.
    fn point(&self, label: &str) -> String {
        match self.name.strip_prefix(self.scenario) {
            None | Some("") => label.to_owned(),
            Some(run) => format!("{label}{run}"),
        }
    }

    /// Its limits, each with its name.
    fn limits(&self) -> impl Iterator<Item = (&str, &'a Verdict)> {
        self.limits.iter().map(|limit| (self.name.as_str(), *limit))
    }

    /// Where systems are started anew for each round, it is how long they take to the first answer.
    fn is_of_starts(&self) -> bool {
        let mut starts = self
            .rows
            .iter()
            .filter_map(|row| row.measures.get(&Measure::FirstFrameMs));
        starts.any(|first| first.values.len() > 1)
    }

    /// At a rate it is latency that is looked at; at several, what they cost.
    fn is_of_latency(&self) -> bool {
        let mut rates = self.rows.iter().map(|row| row.point.rate_mb_per_s);
        let first = rates.next().flatten();
        first.is_some() && rates.all(|rate| rate == first)
    }
}

/// `all`: what the runs were chosen from, the oldest first.
fn page(runs: &[Recorded], all: &[Recorded]) -> Result<String, Failure> {
    let sections = Section::all(runs);
    let newest = runs.iter().map(|recorded| recorded.run.started.as_str()).max();
    let newest = newest.ok_or("there is no run to show")?;
    if sections.is_empty() {
        return Err(NO_POINT.into());
    }
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"data:,\">\n\
         <title>Sealwire: what it costs</title>\n<style>\n{}</style>\n</head>\n<body>\n<header>\n\
         <h1>Sealwire: what it costs</h1>\n<p>Measured {}, beside others in the same run.</p>\n</header>\n<main>\n",
        include_str!("page/style.css"),
        Text(newest),
    );
    let trends = trend::plots(all);
    contents(&mut html, &sections, !trends.is_empty());
    glance(&mut html, &sections, runs);
    html.push_str("<section>\n<h2 id=\"measured\">What was measured</h2>\n");
    for recorded in runs {
        machine(&mut html, &recorded.run);
    }
    html.push_str("</section>\n");
    let mut plots = 0;
    for section in sections.iter().enumerate() {
        scenario(&mut html, section, runs.len() > 1, &mut plots);
    }
    if !trends.is_empty() {
        html.push_str("<section>\n<h2 id=\"trends\">Run by run</h2>\n");
        html.push_str(
            "<p>What was recorded on the machine of the newest run, the newest at the right.</p>\n",
        );
        figures(&mut html, &trends, &mut plots);
        html.push_str("</section>\n");
    }
    html.push_str(include_str!("page/reading.html"));
    html.push_str("</main>\n</body>\n</html>\n");
    Ok(html)
}

fn contents(html: &mut String, sections: &[Section<'_>], has_trends: bool) {
    html.push_str("<nav aria-label=\"Contents\"><ul>\n<li><a href=\"#glance\">At a glance</a></li>\n");
    html.push_str("<li><a href=\"#measured\">What was measured</a></li>\n");
    for (place, section) in sections.iter().enumerate() {
        let _ = writeln!(
            html,
            "<li><a href=\"#scenario-{place}\">{}</a></li>",
            Text(&section.name)
        );
    }
    if has_trends {
        html.push_str("<li><a href=\"#trends\">Run by run</a></li>\n");
    }
    html.push_str("<li><a href=\"#reading\">How to read it</a></li>\n</ul></nav>\n");
}

/// What most readers look for: CPU per GB, which limits were missed, and what is not here.
fn glance(html: &mut String, sections: &[Section<'_>], runs: &[Recorded]) {
    html.push_str("<section>\n<h2 id=\"glance\">At a glance</h2>\n");
    let of_frames: Vec<&Section<'_>> = sections
        .iter()
        .filter(|section| panels::is_of_frames(section))
        .collect();
    html.extend(tables::cpu(&of_frames));
    let limits = || sections.iter().flat_map(Section::limits);
    let missed: Vec<(&str, &Verdict)> = limits().filter(|(_, limit)| !limit.kept).collect();
    let close = limits().filter(|(_, limit)| limit.close).count();
    let all = limits().count();
    if all > 0 {
        let kept = all - missed.len();
        let _ = writeln!(
            html,
            "<p>Of {all} limits {kept} are kept and {} are missed; {close} are within noise.</p>",
            missed.len()
        );
    }
    if !missed.is_empty() {
        html.push_str("<details><summary>Limits that are missed</summary>\n");
        html.push_str(&tables::limits("Limits that are missed", &missed));
        html.push_str("</details>\n");
    }
    let of_run = |recorded: &Recorded| {
        let run = match runs.len() {
            1 => String::new(),
            _ => format!(", run {}", recorded.run.started),
        };
        let failures = recorded.failures.iter();
        let told = failures.map(
            |Failed {
                 scenario, label, why, ..
             }| { (format!("{scenario}{run}: {label}"), why.clone()) },
        );
        told.collect::<Vec<_>>()
    };
    let failures: Vec<(String, String)> = runs.iter().flat_map(of_run).collect();
    if !failures.is_empty() {
        html.push_str(&tables::failures(&failures));
    }
    html.push_str("</section>\n");
}

fn machine(html: &mut String, run: &Run) {
    let machine = &run.machine;
    let versions: Vec<String> = run
        .versions
        .iter()
        .map(|version| format!("{}: {}", version.of, version.version))
        .collect();
    let skipped: Vec<String> = run
        .skipped
        .iter()
        .map(|one| format!("{} ({})", one.what, one.why))
        .collect();
    let allocations = match run.allocations.is_empty() {
        true => String::new(),
        false => format!(
            "of an exchange of 64 KiB, as counted by make perf-check: {}",
            allocations::text(&run.allocations)
        ),
    };
    let facts = [
        ("Run", run.started.clone()),
        ("Scenarios", run.scenarios.join(", ")),
        (
            "CPU",
            format!(
                "{}, {} cores, {} MB of memory",
                machine.cpu, machine.cores, machine.memory_mb
            ),
        ),
        ("CPU features", machine.cpu_features.join(" ")),
        ("Kernel", format!("Linux {}, loopback", machine.kernel)),
        ("Versions", versions.join("; ")),
        (
            "Commit",
            run.commit.clone().unwrap_or_else(|| "unknown".to_owned()),
        ),
        (
            "Envelope alone",
            format!(
                "{:.0} ns to seal, {:.0} ns to open a record of 1 KiB",
                run.envelope.seal_ns, run.envelope.open_ns
            ),
        ),
        ("Heap allocations", allocations),
        ("Skipped", skipped.join("; ")),
        ("Seed of the order", run.seed.to_string()),
    ];
    html.push_str("<dl>\n");
    for (name, fact) in facts.iter().filter(|(_, fact)| !fact.is_empty()) {
        let _ = writeln!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", Text(fact));
    }
    html.push_str("</dl>\n");
}

/// Plots, a legend for them, and behind them all numbers.
fn scenario(html: &mut String, (place, section): (usize, &Section<'_>), is_dated: bool, plots: &mut usize) {
    let name = Text(&section.name);
    let _ = writeln!(html, "<section>\n<h2 id=\"scenario-{place}\">{name}</h2>");
    // A file of somebody's own is not looked for.
    let summary = Scenario::built_in(section.scenario).map(|scenario| scenario.summary);
    let dated = is_dated.then(|| format!("Run {}", section.run.started));
    let lines: Vec<String> = summary.into_iter().chain(dated).collect();
    if !lines.is_empty() {
        let _ = writeln!(html, "<p>{}.</p>", Text(&lines.join(". ")));
    }
    figures(html, &panels::plots(section), plots);
    let _ = writeln!(html, "<details><summary>All numbers of {name}</summary>");
    html.push_str(&tables::numbers(section));
    if !section.limits.is_empty() {
        html.push_str(&tables::limits(
            &format!("Limits of {}", section.name),
            &section.limits().collect::<Vec<_>>(),
        ));
    }
    html.push_str("</details>\n</section>\n");
}

/// Each once, where it stands first.
fn once<T: PartialEq>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut once = Vec::new();
    for one in all {
        if !once.contains(&one) {
            once.push(one);
        }
    }
    once
}

/// Plots, and what their signs mean. `plots` counts those of the whole page.
fn figures(html: &mut String, drawn: &[Plot], plots: &mut usize) {
    let series = drawn.iter().flat_map(|plot| &plot.series);
    html.push_str("<ul class=\"legend\">\n");
    for (name, style) in once(series.map(|series| (series.name.as_str(), series.style))) {
        let _ = writeln!(html, "<li>{}{}</li>", sign::of_system(style), Text(name));
    }
    if drawn.iter().any(Plot::has_limit) {
        let _ = writeln!(html, "<li>{}limit</li>", sign::of_limit());
    }
    html.push_str("</ul>\n<div class=\"plots\">\n");
    for plot in drawn {
        html.push_str(&plot.figure(*plots));
        *plots += 1;
    }
    html.push_str("</div>\n");
}
