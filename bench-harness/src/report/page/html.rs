//! Text and tables of the page.
//!
//! - REPORT-1: what comes out of a run (names, labels, versions, reasons) is escaped wherever it stands.

use std::fmt::{self, Display, Formatter, Write as _};

/// Text that came out of a run, made harmless in elements and in quoted attributes.
pub(super) struct Text<'a>(pub(super) &'a str);

impl Display for Text<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => formatter.write_str("&amp;")?,
                '<' => formatter.write_str("&lt;")?,
                '>' => formatter.write_str("&gt;")?,
                '"' => formatter.write_str("&quot;")?,
                '\'' => formatter.write_str("&#39;")?,
                other => formatter.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Three digits that count, or as many as stand before the point.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// What stands in a column.
pub(super) enum Column {
    Words(&'static str),
    Numbers(String),
}

/// A table that a reader of the screen finds its way through: a caption, and a scope for every head.
pub(super) struct Table {
    html: String,
}

/// One field of a table.
pub(super) struct Cell {
    text: String,
    note: Option<String>,
    class: &'static str,
    is_noise: bool,
}

impl Cell {
    pub(super) fn number(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            note: None,
            class: "number",
            is_noise: false,
        }
    }

    pub(super) fn words(text: impl Into<String>) -> Self {
        Self {
            class: "words",
            ..Self::number(text)
        }
    }

    /// Nothing was measured.
    pub(super) fn none() -> Self {
        Self::number(NOTHING)
    }

    pub(super) fn is_none(&self) -> bool {
        self.text == NOTHING
    }

    /// Whether a limit is kept.
    pub(super) fn verdict(is_kept: bool, text: impl Into<String>) -> Self {
        Self {
            class: if is_kept { "words kept" } else { "words missed" },
            ..Self::number(text)
        }
    }

    /// A smaller line below, if there is anything in it.
    pub(super) fn note(self, note: String) -> Self {
        Self {
            note: (!note.is_empty()).then_some(note),
            ..self
        }
    }

    /// If chance alone may have made it: greyed, or its note instead if it has one.
    pub(super) fn within_noise(self, is_noise: bool) -> Self {
        Self { is_noise, ..self }
    }

    fn html(&self) -> String {
        let note = self
            .note
            .as_ref()
            .map(|note| format!("<small>{}</small>", Text(note)));
        format!(
            "<td class=\"{}{}\">{}{}</td>",
            self.class,
            if self.is_noise { " noise" } else { "" },
            Text(&self.text),
            note.unwrap_or_default()
        )
    }
}

impl Table {
    pub(super) fn new(caption: &str, columns: &[Column]) -> Self {
        let mut html = format!(
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\">\n<table>\n\
             <caption>{0}</caption>\n<thead><tr>",
            Text(caption)
        );
        for column in columns {
            let _ = match column {
                Column::Words(name) => write!(html, "<th scope=\"col\">{}</th>", Text(name)),
                Column::Numbers(name) => {
                    write!(html, "<th scope=\"col\" class=\"number\">{}</th>", Text(name))
                }
            };
        }
        html.push_str("</tr></thead>\n");
        Self { html }
    }

    /// Rows that belong together, each with its own head.
    pub(super) fn group(&mut self, head: &str, rows: &[(String, Vec<Cell>)]) {
        self.html.push_str("<tbody>\n");
        for (place, (name, cells)) in rows.iter().enumerate() {
            self.html.push_str("<tr>");
            if place == 0 {
                let (rows, head) = (rows.len(), Text(head));
                let _ = write!(self.html, "<th scope=\"rowgroup\" rowspan=\"{rows}\">{head}</th>");
            }
            let _ = write!(self.html, "<th scope=\"row\">{}</th>", Text(name));
            self.cells(cells);
        }
        self.html.push_str("</tbody>\n");
    }

    pub(super) fn row(&mut self, head: &str, cells: &[Cell]) {
        let _ = write!(self.html, "<tr><th scope=\"row\">{}</th>", Text(head));
        self.cells(cells);
    }

    fn cells(&mut self, cells: &[Cell]) {
        self.html.extend(cells.iter().map(Cell::html));
        self.html.push_str("</tr>\n");
    }

    pub(super) fn end(self) -> String {
        self.html + "</table>\n</div>\n"
    }
}

const NOTHING: &str = "–";

#[cfg(test)]
mod tests {
    use super::*;

    /// REPORT-1.
    #[test]
    fn nothing_of_a_run_is_taken_for_markup() {
        let mut table = Table::new("<b>", &[Column::Words("a&b"), Column::Numbers("<c>".to_owned())]);
        table.group(
            "<d>",
            &[(
                "'e'".to_owned(),
                vec![Cell::words("<f>").note("\"g\"".to_owned())],
            )],
        );
        table.row("<script>", &[Cell::number("<i>")]);
        let html = table.end();
        for raw in [
            "<b>", "a&b", "<c>", "<d>", "'e'", "<f>", "\"g\"", "<script>", "<i>",
        ] {
            assert!(!html.contains(raw), "{raw} in {html}");
        }
        assert!(
            html.contains("&lt;script&gt;") && html.contains("&#39;e&#39;"),
            "{html}"
        );
    }

    #[test]
    fn numbers_have_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.03456, "0.035"),
            (-0.5, "-0.500"),
            (1.0, "1.00"),
            (14.139, "14.1"),
            (2779.4, "2779"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
