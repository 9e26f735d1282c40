//! How far a run is: a bar on a terminal, a line for each point anywhere else. On standard error, so that what is found
//! out can go elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Of one run.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    points: usize,
    point: usize,
}

impl Progress {
    /// `turns` in all, at `points`.
    pub(crate) fn new(turns: usize, points: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(turns as u64);
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} turns, {eta} left  {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(500));
            bar
        });
        Self {
            bar,
            points,
            point: 0,
        }
    }

    /// At another point.
    pub(crate) fn point(&mut self, name: &str) {
        self.point += 1;
        match &self.bar {
            Some(bar) => bar.set_message(name.to_owned()),
            None => note!("{} of {} points: {name}", self.point, self.points),
        }
    }

    /// A turn was had.
    pub(crate) fn turn(&self) {
        if let Some(bar) = &self.bar {
            bar.inc(1);
        }
    }

    /// Prints without disturbing the bar.
    pub(crate) fn print(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| tell_part!("{text}")),
            None => tell_part!("{text}"),
        }
    }

    /// All are had.
    pub(crate) fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
