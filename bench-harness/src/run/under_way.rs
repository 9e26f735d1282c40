//! A run under way: scenario after scenario, point after point, turn after turn.
//!
//! - RUN-1: a point that fails ends neither the run nor what was measured before: it is told, written down with its
//!   reason, and the next one begins.

use std::ops::Range;

use super::cipher;
use super::point::Field;
use crate::Failure;
use crate::generator::Generator;
use crate::measure::machine::CpuKind;
use crate::report::lines::Lines;
use crate::report::{self, Failed, Found, Kept, Progress};
use crate::scenario::{Point, Scenario};
use crate::statistics::{self, Dice, Row, Sample};
use crate::systems::Choice;

/// What stays the same from scenario to scenario.
pub(super) struct UnderWay {
    pub(super) progress: Progress,
    pub(super) dice: Dice,
    pub(super) lines: Lines,
    /// Whether system calls can be counted.
    pub(super) traces: bool,
    pub(super) cpu: CpuKind,
    pub(super) kept: Kept,
}

impl UnderWay {
    /// Measures all, and tells what limits say. An error if a point has failed.
    pub(super) fn all(
        &mut self,
        scenarios: &[Scenario],
        choices: &[Choice],
        generator: &mut dyn Generator,
    ) -> Result<(), Failure> {
        let (mut limits, mut unjudged, mut failed) = (Vec::new(), Vec::new(), 0);
        for (scenario, choice) in scenarios.iter().zip(choices) {
            let found = self.scenario(scenario, choice, generator)?;
            unjudged.extend(statistics::unjudged(scenario, &found.limits, self.cpu));
            limits.extend(found.limits.iter().cloned());
            failed += found.failures.len();
            self.kept.finished(&scenario.name, found);
        }
        self.progress.end();
        for Scenario { name, rounds, .. } in scenarios {
            if let Some(warning) = statistics::too_few(*rounds) {
                tell!("\n{name}: {warning}");
            }
        }
        tell_part!("\n{}", report::of_verdicts(&limits));
        for limit in unjudged {
            tell!("not judged: {limit}");
        }
        let points: usize = scenarios.iter().map(|scenario| scenario.points().len()).sum();
        match failed {
            0 => Ok(()),
            _ => Err(format!("{failed} of {points} points failed").into()),
        }
    }

    fn scenario(
        &mut self,
        scenario: &Scenario,
        choice: &Choice,
        generator: &mut dyn Generator,
    ) -> Result<Found, Failure> {
        let (mut all, mut found) = (Vec::new(), Found::default());
        for point in scenario.points() {
            let name = format!("{}: {}", scenario.name, point.label());
            self.progress.point(&name);
            let mut samples = Vec::new();
            match self.point(scenario, &point, choice, generator, &mut samples) {
                Ok(rows) => {
                    self.kept.point();
                    for row in &rows {
                        self.lines.write("row", row)?;
                    }
                    self.progress.print(&report::of_point(&rows));
                    found.rows.extend(rows);
                    all.extend(samples);
                }
                Err(failure) => {
                    let failed = Failed::new(scenario, point, &failure);
                    self.progress.print(&format!("\nFAILED {name}: {failure}\n"));
                    self.lines.write("failure", &failed)?;
                    found.failures.push(failed);
                }
            }
        }
        found.limits = statistics::verdicts(scenario, &all, &found.rows, self.cpu);
        for verdict in &found.limits {
            self.lines.write("limit", verdict)?;
        }
        Ok(found)
    }

    fn point(
        &mut self,
        scenario: &Scenario,
        point: &Point,
        choice: &Choice,
        generator: &mut dyn Generator,
        samples: &mut Vec<Sample>,
    ) -> Result<Vec<Row>, Failure> {
        let cipher = cipher::seconds_per_gb(point)?;
        // All rounds with the same processes, or each with its own.
        let rounds = if scenario.cold { 1 } else { scenario.rounds };
        for first in (0..scenario.rounds).step_by(rounds) {
            let mut field = Field::begin(scenario, point, choice, generator)?;
            let turns = self.turns(&mut field, first..first + rounds, samples);
            field.end(turns)?;
        }
        let mut rows = statistics::rows(samples, point, &choice.names, &scenario.reference);
        for row in &mut rows {
            row.cipher_s_per_gb = cipher;
        }
        Ok(rows)
    }

    fn turns(
        &mut self,
        field: &mut Field<'_>,
        rounds: Range<usize>,
        samples: &mut Vec<Sample>,
    ) -> Result<(), Failure> {
        for round in rounds {
            let mut order: Vec<usize> = (0..field.systems()).collect();
            self.dice.shuffle(&mut order);
            for place in order {
                samples.push(self.had(field.turn(place, round)?)?);
            }
        }
        let traced = if self.traces && !field.is_cold() {
            field.systems()
        } else {
            0
        };
        for place in 0..traced {
            match field.traced_turn(place)? {
                Some(sample) => samples.push(self.had(sample)?),
                None => self.progress.turn(),
            }
        }
        Ok(())
    }

    /// Written at once: whatever comes next, this was measured.
    fn had(&mut self, sample: Sample) -> Result<Sample, Failure> {
        self.lines.write("sample", &sample)?;
        self.progress.turn();
        Ok(sample)
    }
}
