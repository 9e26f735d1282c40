//! `run`: systems take turns at each point of a scenario, in an order that is shuffled anew in each round.
//!
//! What lies between has core 0 to itself; load and broker share core 1. With a real broker all share all cores.

mod options;
mod point;

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, SystemTime};

pub(crate) use self::options::Options;
use self::point::Field;
use crate::generator::Generator;
use crate::load::Loopback;
use crate::measure::machine::{self, Machine};
use crate::measure::{Sample, Tracer, cipher, process};
use crate::real::Real;
use crate::report::lines::Lines;
use crate::report::{Envelope, Progress, Recorded, Run};
use crate::scenario::Scenario;
use crate::statistics::{self, Dice, Row, Verdict};
use crate::systems::{Choice, LOAD_CORE, Skipped};
use crate::{Failure, layers, report};

/// Measures, tells, and records if that is wanted.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scenarios = options.scenarios()?;
    let machine = Machine::of_this_run();
    if machine.cores <= LOAD_CORE {
        return Err("one core for the system and one for the load are needed".into());
    }
    // Before systems are started, which inherit it.
    process::raise_descriptor_limit()?;
    let (choices, skipped) = choices(options, &scenarios)?;
    let traces = !skipped.iter().any(|skipped| skipped.what == SYSTEM_CALLS);
    for skipped in &skipped {
        println!("skipped: {} ({})", skipped.what, skipped.why);
    }
    if !options.real {
        process::pin(LOAD_CORE)?;
    }
    let [seal_ns, open_ns] = layers::kibibyte_records()?;
    let mut versions = choices.first().map(Choice::versions).unwrap_or_default();
    versions.extend(options.real.then(Real::version));
    let run = Run {
        started: report::utc(SystemTime::now()),
        scenarios: scenarios.iter().map(|scenario| scenario.name.clone()).collect(),
        seed: options.seed.unwrap_or_else(seed),
        machine,
        commit: machine::commit(),
        versions,
        skipped,
        envelope: Envelope { seal_ns, open_ns },
    };
    println!("{}; seed {}", run.machine.text(), run.seed);
    println!("the envelope by itself: {seal_ns:.0} ns to seal, {open_ns:.0} ns to open a record of 1 KiB");
    let mut lines = Lines::create(options.json.as_deref(), &run.started)?;
    lines.write("run", &run)?;
    let mut generator: Box<dyn Generator> = match options.real {
        true => Box::new(Real::start()?),
        false => Box::new(Loopback::new(options.broker_port)?),
    };
    println!("the broker listens on 127.0.0.1:{}", generator.site().broker_port);
    let mut course = Course {
        progress: progress(&scenarios, &choices, traces),
        dice: Dice::new(run.seed),
        lines,
        traces,
    };
    let (mut rows, mut limits, mut not_said) = (Vec::new(), Vec::new(), Vec::new());
    for (scenario, choice) in scenarios.iter().zip(&choices) {
        let (more, said) = course.measure(scenario, choice, &mut *generator, run.machine.cpu_kind)?;
        rows.extend(more);
        let unjudged = statistics::unjudged(scenario, &said, run.machine.cpu_kind);
        not_said.extend(unjudged);
        limits.extend(said);
    }
    course.progress.end();
    print!("\n{}", report::of_verdicts(&limits));
    for limit in not_said {
        println!("not judged: {limit}");
    }
    if options.record {
        report::history::record(&Recorded { run, rows, limits })?;
        println!("recorded in {}", report::history::path()?.display());
    }
    Ok(())
}

/// Who takes part in each scenario, and what cannot be had.
fn choices(options: &Options, scenarios: &[Scenario]) -> Result<(Vec<Choice>, Vec<Skipped>), Failure> {
    let (mut choices, mut skipped) = (Vec::new(), Vec::new());
    // Before this thread is pinned: cargo may have to build.
    let program = options.program.clone().map_or_else(crate::proxy::program, Ok)?;
    for scenario in scenarios {
        let (names, missing) = Choice::available(&options.systems_of(scenario), &options.peers)?;
        skipped.extend(missing);
        choices.push(Choice {
            names,
            peers: options.peers.clone(),
            program: program.clone(),
        });
    }
    let mut told = BTreeSet::new();
    skipped.retain(|skipped: &Skipped| told.insert(skipped.what.clone()));
    if let Some(why) = Tracer::unavailable() {
        skipped.push(Skipped {
            what: SYSTEM_CALLS.to_owned(),
            why,
        });
    }
    Ok((choices, skipped))
}

const SYSTEM_CALLS: &str = "system calls";

/// What stays the same from scenario to scenario.
struct Course {
    progress: Progress,
    dice: Dice,
    lines: Lines,
    traces: bool,
}

impl Course {
    fn measure(
        &mut self,
        scenario: &Scenario,
        choice: &Choice,
        generator: &mut dyn Generator,
        cpu: crate::scenario::CpuKind,
    ) -> Result<(Vec<Row>, Vec<Verdict>), Failure> {
        let (mut all, mut rows) = (Vec::new(), Vec::new());
        for point in scenario.points() {
            self.progress
                .point(&format!("{}: {}", scenario.name, point.label()));
            let cipher = cipher::seconds_per_gb(&point)?;
            // All rounds with the same processes, or each with its own.
            let rounds = if scenario.cold { 1 } else { scenario.rounds };
            let mut samples = Vec::new();
            for first in (0..scenario.rounds).step_by(rounds) {
                let mut field = Field::begin(scenario, &point, choice, generator)?;
                let turns = self.turns(&mut field, first..first + rounds);
                samples.extend(field.end(turns)?);
            }
            let mut of_point = statistics::rows(&samples, &point, &choice.names, &scenario.reference);
            for row in &mut of_point {
                row.cipher_s_per_gb = cipher;
                self.lines.write("row", row)?;
            }
            self.progress.print(&report::of_point(&of_point));
            rows.extend(of_point);
            all.extend(samples);
        }
        let verdicts = statistics::verdicts(scenario, &all, &rows, cpu);
        for verdict in &verdicts {
            self.lines.write("limit", verdict)?;
        }
        Ok((rows, verdicts))
    }

    fn turns(&mut self, field: &mut Field<'_>, rounds: Range<usize>) -> Result<Vec<Sample>, Failure> {
        let mut samples = Vec::new();
        for round in rounds {
            let mut order: Vec<usize> = (0..field.systems()).collect();
            self.dice.shuffle(&mut order);
            for place in order {
                samples.push(field.turn(place, round)?);
                self.progress.turn();
            }
        }
        let traced = if self.traces && !field.is_cold() {
            field.systems()
        } else {
            0
        };
        for place in 0..traced {
            samples.extend(field.traced_turn(place)?);
            self.progress.turn();
        }
        for sample in &samples {
            self.lines.write("sample", sample)?;
        }
        Ok(samples)
    }
}

fn progress(scenarios: &[Scenario], choices: &[Choice], traces: bool) -> Progress {
    let (mut turns, mut points) = (0, 0);
    for (scenario, choice) in scenarios.iter().zip(choices) {
        let of_scenario = scenario.points().len();
        points += of_scenario;
        turns += of_scenario * choice.names.len() * (scenario.rounds + usize::from(traces && !scenario.cold));
    }
    Progress::new(turns, points)
}

/// Another order every time.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    process::nanoseconds(since.unwrap_or(Duration::ZERO))
}
