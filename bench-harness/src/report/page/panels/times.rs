//! Times that stand beside each other: quantiles of latency, or steps of a start. A plot for each point.

use super::super::Section;
use super::super::across::Across;
use super::super::plot::{Form, Mark, Plot, add};
use super::shape::{FRAME, Shape};
use super::{mark, style};
use crate::measure::Measure;
use crate::statistics::Row;

/// How long each system takes to each of some steps, a plot for each point.
pub(super) fn times(
    steps: &Steps,
    shape: &Shape,
    section: &Section<'_>,
    title: &str,
    rows: &[&Row],
) -> Vec<Plot> {
    let mut plots: Vec<Plot> = Vec::new();
    for row in rows {
        let title = match shape.across.as_deref() {
            Some(FRAME) => format!("{}: {title}, {} KiB", steps.title, row.point.frame_kib),
            _ => format!("{}: {}", steps.title, row.label),
        };
        let plot = match plots.iter_mut().position(|plot| plot.title == title) {
            Some(place) => plots.get_mut(place),
            None => {
                let labels = steps.steps.iter().map(|(label, _)| (*label).to_owned()).collect();
                let across = Across::even(steps.across, labels);
                let measure = steps.measure.to_owned();
                plots.push(Plot {
                    title,
                    form: Form::Lines,
                    across,
                    measure,
                    series: Vec::new(),
                });
                plots.last_mut()
            }
        };
        let Some(plot) = plot else { continue };
        for (place, (_, measure)) in steps.steps.iter().enumerate() {
            if let Some(mark) = mark(section, row, *measure) {
                add(
                    &mut plot.series,
                    &row.system,
                    style(&row.system),
                    Mark { place, ..mark },
                );
            }
        }
    }
    plots
}

/// Times that are plotted beside each other.
pub(super) struct Steps {
    title: &'static str,
    across: &'static str,
    measure: &'static str,
    steps: &'static [(&'static str, Measure)],
}

pub(super) const QUANTILES: Steps = Steps {
    title: "Latency",
    across: "share of requests",
    measure: "no more than ms",
    steps: &[
        ("50 %", Measure::LatencyP50Ms),
        ("90 %", Measure::LatencyP90Ms),
        ("99 %", Measure::LatencyP99Ms),
        ("99.9 %", Measure::LatencyP999Ms),
        ("99.99 %", Measure::LatencyP9999Ms),
    ],
};
pub(super) const STARTS: Steps = Steps {
    title: "Started anew",
    across: "what is there",
    measure: "after ms",
    steps: &[
        ("ready, after its start", Measure::StartMs),
        ("answer, after its request", Measure::FirstFrameMs),
    ],
};
