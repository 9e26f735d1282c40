//! Plots as SVG inside of the page: bars from nothing, and lines on logarithmic axes. Both are drawn with how far
//! chance may have moved each of their points, and say so in words to whoever points at one or has it read aloud.
//!
//! Colours are the style sheet's, so that the same drawing is readable in light, in dark and on paper; systems differ
//! by the shapes of their points as well.

use std::fmt::Write as _;

use super::across::Across;
use super::html::{Text, number};
use super::scale::Scale;
use super::sign::point;

/// One plot.
pub(super) struct Plot {
    /// Of the whole page, and unlike any other's.
    pub(super) title: String,
    pub(super) form: Form,
    pub(super) across: Across,
    /// What its heights are.
    pub(super) measure: String,
    pub(super) series: Vec<Series>,
}

/// How it is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Ratios to a reference, which is 1.
    Bars,
    Lines,
}

/// What one system has.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) style: usize,
    pub(super) marks: Vec<Mark>,
}

/// One number.
pub(super) struct Mark {
    /// Which of the places across.
    pub(super) place: usize,
    pub(super) value: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// Chance alone may have made it.
    pub(super) within_noise: bool,
    /// How high it may be, or has to be.
    pub(super) limit: Option<f64>,
}

/// Puts a mark into the series of that name.
pub(super) fn add(series: &mut Vec<Series>, name: &str, style: usize, mark: Mark) {
    match series.iter_mut().find(|series| series.name == name) {
        Some(series) => series.marks.push(mark),
        None => series.push(Series {
            name: name.to_owned(),
            style,
            marks: vec![mark],
        }),
    }
}

impl Plot {
    /// A figure with its title; `id` is unlike that of any other.
    pub(super) fn figure(&self, id: usize) -> String {
        let ends: Vec<f64> = self
            .marks()
            .flat_map(|mark| [mark.low, mark.high, mark.value].into_iter().chain(mark.limit))
            .collect();
        let scale = match self.form {
            Form::Bars => Scale::from_zero(&ends),
            Form::Lines => Scale::logarithmic(&ends),
        };
        let title = Text(&self.title);
        let mut svg = format!(
            "<figure>\n<figcaption id=\"plot-{id}\">{title}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"plot-{id}\" \
             aria-describedby=\"plot-{id}-is\"><title>{title}</title>\n\
             <desc id=\"plot-{id}-is\">{} for each {}; a table has the numbers.</desc>\n",
            Text(&self.measure),
            Text(&self.across.name)
        );
        self.axes(&mut svg, scale);
        for (place, series) in self.series.iter().enumerate() {
            let _ = write!(svg, "<g class=\"s{}\">", series.style);
            match self.form {
                Form::Bars => self.bars(&mut svg, scale, place, series),
                Form::Lines => self.line(&mut svg, scale, series),
            }
            svg.push_str("</g>\n");
        }
        svg + "</svg>\n</figure>\n"
    }

    fn x(&self, place: usize) -> f64 {
        LEFT + self.across.at(place) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn has_limit(&self) -> bool {
        self.marks().any(|mark| mark.limit.is_some())
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        self.series.iter().flat_map(|series| &series.marks)
    }

    fn axes(&self, svg: &mut String, scale: Scale) {
        let right = WIDTH - RIGHT;
        for tick in scale.ticks() {
            let y = upright(scale.at(tick));
            level(svg, "grid", y);
            let _ = write!(
                svg,
                "<text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                brief(tick)
            );
        }
        if self.form == Form::Bars {
            level(svg, "reference", upright(scale.at(1.0)));
        }
        for (place, (_, label)) in self.across.places.iter().enumerate() {
            let x = self.x(place);
            let _ = write!(
                svg,
                "<text class=\"tick\" y=\"{:.1}\" text-anchor=\"middle\">",
                BOTTOM_LINE + 15.0
            );
            for (line, part) in label.split(", ").enumerate() {
                let down = if line == 0 { 0 } else { 11 };
                let _ = write!(svg, "<tspan x=\"{x:.1}\" dy=\"{down}\">{}</tspan>", Text(part));
            }
            svg.push_str("</text>");
        }
        level(svg, "axis", BOTTOM_LINE);
        let (middle_x, middle_y) = ((LEFT + right) / 2.0, (TOP + BOTTOM_LINE) / 2.0);
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{middle_x}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"name\" transform=\"translate(12 {middle_y}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 6.0,
            Text(&self.across.name),
            Text(&self.measure)
        );
    }

    fn bars(&self, svg: &mut String, scale: Scale, place: usize, series: &Series) {
        let room = (WIDTH - LEFT - RIGHT) / self.across.places.len().max(1) as f64;
        let width = (room * 0.84 / self.series.len().max(1) as f64).min(BAR_WIDTH_MAX);
        let aside = (place as f64 - (self.series.len() as f64 - 1.0) / 2.0) * width;
        for mark in &series.marks {
            let x = self.x(mark.place) + aside;
            let (top, low, high) = (
                upright(scale.at(mark.value)),
                upright(scale.at(mark.low)),
                upright(scale.at(mark.high)),
            );
            let _ = write!(
                svg,
                "<g{}><title>{}</title><rect x=\"{:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
                 <path class=\"range\" d=\"M{x:.1} {low:.1}V{high:.1}\"/>\
                 <text class=\"value\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{:.2}</text>{}</g>",
                class(mark),
                self.said(series, mark),
                x - width / 2.0 + 1.0,
                width - 2.0,
                (BOTTOM_LINE - top).max(0.0),
                high - 4.0,
                mark.value,
                limit(mark, scale, x, width / 2.0)
            );
        }
    }

    fn line(&self, svg: &mut String, scale: Scale, series: &Series) {
        let at = |mark: &Mark| (self.x(mark.place), upright(scale.at(mark.value)));
        svg.push_str("<path class=\"line\" d=\"");
        for (place, mark) in series.marks.iter().enumerate() {
            let (x, y) = at(mark);
            let _ = write!(svg, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
        svg.push_str("\"/>");
        for mark in &series.marks {
            let (x, y) = at(mark);
            let _ = write!(
                svg,
                "<g{}><title>{}</title><path class=\"range\" d=\"M{x:.1} {:.1}V{:.1}\"/>{}{}</g>",
                class(mark),
                self.said(series, mark),
                upright(scale.at(mark.low)),
                upright(scale.at(mark.high)),
                point(series.style, x, y),
                limit(mark, scale, x, LIMIT_WIDTH / 2.0)
            );
        }
    }

    /// A mark in words.
    fn said(&self, series: &Series, mark: &Mark) -> String {
        let place = self
            .across
            .places
            .get(mark.place)
            .map_or("", |(_, label)| label.as_str());
        let noise = if mark.within_noise { ", within noise" } else { "" };
        let limit = mark
            .limit
            .map_or_else(String::new, |limit| format!(", limit {}", number(limit)));
        let (value, low, high) = (number(mark.value), number(mark.low), number(mark.high));
        let (system, across) = (Text(&series.name), Text(&self.across.name));
        format!(
            "{system}, {across} {}: {value} ({low} to {high}){noise}{limit}",
            Text(place)
        )
    }
}

/// A short line, as far to both sides as is said.
fn limit(mark: &Mark, scale: Scale, x: f64, aside: f64) -> String {
    mark.limit.map_or_else(String::new, |limit| {
        format!(
            "<path class=\"limit\" d=\"M{:.1} {:.1}H{:.1}\"/>",
            x - aside,
            upright(scale.at(limit)),
            x + aside
        )
    })
}

/// From the left to the right.
fn level(svg: &mut String, class: &str, y: f64) {
    let right = WIDTH - RIGHT;
    let _ = write!(
        svg,
        "<line class=\"{class}\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>"
    );
}

fn class(mark: &Mark) -> &'static str {
    if mark.within_noise { " class=\"noise\"" } else { "" }
}

fn upright(share: f64) -> f64 {
    BOTTOM_LINE - share * (BOTTOM_LINE - TOP)
}

/// A tick has no more digits than it needs.
fn brief(tick: f64) -> String {
    match tick {
        1000.0.. => format!("{}k", (tick / 100.0).round() / 10.0),
        _ => format!("{}", (tick * 1e6).round() / 1e6),
    }
}

const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 270.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 14.0;
/// The line that bars stand on; below it are two lines of labels and the name.
const BOTTOM_LINE: f64 = 222.0;
/// Few bars are no walls.
const BAR_WIDTH_MAX: f64 = 34.0;
/// Of one at a point.
const LIMIT_WIDTH: f64 = 18.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(form: Form, across: Across) -> Plot {
        let mark = |place: usize, value: f64, within_noise| Mark {
            place,
            value,
            low: value * 0.9,
            high: value * 1.1,
            within_noise,
            limit: within_noise.then_some(3.0),
        };
        Plot {
            title: "a <title>".to_owned(),
            form,
            across,
            measure: "CPU & more".to_owned(),
            series: vec![Series {
                name: "'peer'".to_owned(),
                style: 1,
                marks: vec![mark(0, 1.0, true), mark(1, 2.0, false)],
            }],
        }
    }

    #[test]
    fn bars_of_twice_the_value_are_twice_as_long() {
        let svg = plot(
            Form::Bars,
            Across::even("x", vec!["a".to_owned(), "b".to_owned()]),
        )
        .figure(1);
        let heights: Vec<f64> = svg
            .split("<rect ")
            .skip(1)
            .map(|rect| rect.split("height=\"").nth(1).unwrap().split('"').next().unwrap())
            .map(|height| height.parse().unwrap())
            .collect();
        assert_eq!(heights.len(), 2);
        assert!((heights[1] / heights[0] - 2.0).abs() < 0.01, "{heights:?}");
        assert_eq!(svg.matches("class=\"noise\"").count(), 1);
        // The axis has room for the limit.
        assert_eq!(svg.matches("class=\"limit\"").count(), 1);
        assert!(
            svg.contains(", limit 3.00") && heights[1] < 150.0,
            "{heights:?} {svg}"
        );
    }

    /// REPORT-1.
    #[test]
    fn names_are_escaped_in_drawings() {
        let svg = plot(Form::Lines, Across::logarithmic("<x>", &[1.0, 2.0])).figure(1);
        for raw in ["<title>a <title>", "CPU & more", "'peer'", "<x>"] {
            assert!(!svg.contains(raw), "{raw} in {svg}");
        }
    }
}
