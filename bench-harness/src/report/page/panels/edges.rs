//! How high a number may be by the limits of its point: where a plot has a line for it.

use super::super::Section;
use crate::measure::Measure;
use crate::scenario::{CIPHER, FIRST_POINT};
use crate::statistics::{Edge, Row};

/// In the measure's own unit.
pub(super) fn of_measure(section: &Section<'_>, row: &Row, measure: Measure) -> Option<f64> {
    edges(section, row, measure).find_map(|edge| height(section, row, edge))
}

/// As a multiple of what `reference` has.
pub(super) fn of_ratio(section: &Section<'_>, row: &Row, measure: Measure, reference: &str) -> Option<f64> {
    let share = |edge: &Edge| match (&edge.divided_by, &edge.less) {
        (Some(other), None) if other == reference => Some(edge.at),
        _ => Some(height(section, row, edge)? / median(section, row, measure, reference)?),
    };
    edges(section, row, measure).find_map(share)
}

fn edges<'a>(section: &'a Section<'a>, row: &'a Row, measure: Measure) -> impl Iterator<Item = &'a Edge> {
    let of_row = section
        .limits
        .iter()
        .filter(|limit| limit.label == row.label && limit.system == row.system);
    let edges = of_row.filter_map(|limit| limit.edge.as_ref());
    edges.filter(move |edge| edge.of == measure)
}

fn height(section: &Section<'_>, row: &Row, edge: &Edge) -> Option<f64> {
    let of_other = |other: &str| median(section, row, edge.of, other);
    match (edge.divided_by.as_deref(), edge.less.as_deref()) {
        (None, None) => Some(edge.at),
        (None, Some(other)) => Some(of_other(other)? + edge.at),
        (Some(CIPHER), Some(other)) => Some(of_other(other)? + edge.at * row.cipher_s_per_gb?),
        (Some(FIRST_POINT), None) => {
            let kind = |row: &Row| (row.point.frame_kib, row.point.work(), row.system.clone());
            let first = section.rows.iter().find(|other| kind(other) == kind(row))?;
            Some(first.measures.get(&edge.of)?.median * edge.at)
        }
        (Some(other), None) => Some(of_other(other)? * edge.at),
        (Some(_), Some(_)) => None,
    }
}

fn median(section: &Section<'_>, row: &Row, measure: Measure, system: &str) -> Option<f64> {
    let same = |other: &&&Row| other.label == row.label && other.system == system;
    let found = section.rows.iter().find(same)?;
    Some(found.measures.get(&measure)?.median)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{rows, run};
    use super::*;
    use crate::statistics::{Interval, Spread, Verdict};

    #[test]
    fn a_limit_is_as_high_as_what_it_compares_with_says() {
        let mut all = rows("frame_kib = 16\ntopics = [1, 10]");
        let mut reference = all[1].clone();
        reference.system = "haproxy-64k".to_owned();
        reference.measures = [(Measure::CpuSPerGb, Spread::of(vec![4.0]).unwrap())].into();
        all.push(reference);
        all[1].cipher_s_per_gb = Some(0.5);
        let (run, row) = (run(), &all[1]);
        let high = |divided_by: Option<&str>, less: Option<&str>| {
            let limit = Verdict {
                scenario: "mine".to_owned(),
                label: row.label.clone(),
                system: row.system.clone(),
                limit: String::new(),
                value: 1.0,
                interval: Interval { low: 1.0, high: 1.0 },
                kept: true,
                close: false,
                edge: Some(Edge {
                    of: Measure::CpuSPerGb,
                    divided_by: divided_by.map(str::to_owned),
                    less: less.map(str::to_owned),
                    at: 1.2,
                }),
            };
            let section = Section {
                run: &run,
                scenario: "mine",
                name: "mine".to_owned(),
                rows: all.iter().collect(),
                limits: vec![&limit],
            };
            let ratio = of_ratio(&section, row, Measure::CpuSPerGb, "haproxy-64k").unwrap();
            assert!(of_measure(&section, row, Measure::PeakMb).is_none());
            let height = of_measure(&section, row, Measure::CpuSPerGb).unwrap();
            [height, ratio].map(|number| (number * 1000.0).round() / 1000.0)
        };
        assert_eq!(high(None, None), [1.2, 0.3]);
        assert_eq!(high(Some("haproxy-64k"), None), [4.8, 1.2]);
        assert_eq!(high(None, Some("haproxy-64k")), [5.2, 1.3]);
        assert_eq!(high(Some(CIPHER), Some("haproxy-64k")), [4.6, 1.15]);
        // The first point has 1.5.
        assert_eq!(high(Some(FIRST_POINT), None), [1.8, 0.45]);
    }
}
