//! What stands for a system, and for a limit, in plots and beside names:
//! systems differ by shape as well as by colour.

/// The sign of a system.
pub(super) fn of_system(style: usize) -> String {
    drawn(style, &point(style, 8.0, 6.0))
}

/// The sign of limits.
pub(super) fn of_limit() -> String {
    drawn(0, "<path class=\"limit\" d=\"M1 6H15\"/>")
}

fn drawn(style: usize, drawing: &str) -> String {
    format!("<svg class=\"sign s{style}\" viewBox=\"0 0 16 12\" aria-hidden=\"true\"><g>{drawing}</g></svg>")
}

/// The shape of a system, there.
pub(super) fn point(style: usize, x: f64, y: f64) -> String {
    let path = match style % 5 {
        0 => format!("M{:.1} {y:.1}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", x - 4.0),
        1 => format!("M{:.1} {:.1}h7v7h-7z", x - 3.5, y - 3.5),
        2 => format!("M{x:.1} {:.1}l4.5 8h-9z", y - 5.0),
        3 => format!("M{x:.1} {:.1}l4.8 4.8l-4.8 4.8l-4.8 -4.8z", y - 4.8),
        _ => format!("M{x:.1} {:.1}l4.5 -8h-9z", y + 5.0),
    };
    format!("<path class=\"point\" d=\"{path}\"/>")
}
