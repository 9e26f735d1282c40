//! `run`: systems take turns at each point of a scenario, in an order that is shuffled anew in each round.
//!
//! What lies between has core 0 to itself; load and broker share core 1. With a real broker all share all cores.

mod cipher;
mod options;
mod point;
mod under_way;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

pub(crate) use self::options::Options;
use self::under_way::UnderWay;
use crate::generator::Generator;
use crate::load::Loopback;
use crate::measure::machine::{self, Machine};
use crate::measure::{Tracer, allocations, process};
use crate::real::Real;
use crate::report::lines::Lines;
use crate::report::{Destinations, Envelope, Kept, Progress, Run, history};
use crate::scenario::Scenario;
use crate::statistics::Dice;
use crate::systems::{Choice, LOAD_CORE, Skipped};
use crate::{Failure, layers, report};

/// Measures, tells, and records if that is wanted.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let scenarios = options.scenarios()?;
    options.check()?;
    let machine = Machine::of_this_run();
    if machine.cores <= LOAD_CORE {
        return Err("one core for the system and one for the load are needed".into());
    }
    // Before systems are started, which inherit it.
    process::raise_descriptor_limit()?;
    let (choices, skipped) = choices(options, &scenarios)?;
    let traces = !skipped.iter().any(|skipped| skipped.what == SYSTEM_CALLS);
    for skipped in &skipped {
        tell!("skipped: {} ({})", skipped.what, skipped.why);
    }
    if !options.real {
        process::pin(LOAD_CORE)?;
    }
    let [seal_ns, open_ns] = layers::kibibyte_records()?;
    let commit = machine::commit();
    // What cargo has just built is of these sources; of a binary that was named only that binary knows.
    let built = commit
        .as_deref()
        .filter(|_| options.program.is_none() && crate::proxy::sources().is_some());
    let mut versions = choices
        .first()
        .map(|choice| choice.versions(built))
        .unwrap_or_default();
    versions.extend(options.real.then(Real::version));
    let run = Run {
        started: report::utc(SystemTime::now()),
        scenarios: scenarios.iter().map(|scenario| scenario.name.clone()).collect(),
        seed: options.seed.unwrap_or_else(seed),
        machine,
        commit,
        versions,
        skipped,
        envelope: Envelope { seal_ns, open_ns },
        allocations: allocations::counted()?,
    };
    tell!("{}; seed {}", run.machine.text(), run.seed);
    tell!("the envelope by itself: {seal_ns:.0} ns to seal, {open_ns:.0} ns to open a record of 1 KiB");
    tell!(
        "heap allocations of an exchange of 64 KiB, as counted by `make perf-check`: {}",
        allocations::text(&run.allocations)
    );
    let mut lines = Lines::create(options.json.as_deref(), &run.started)?;
    lines.write("run", &run)?;
    let mut generator: Box<dyn Generator> = match options.real {
        true => Box::new(Real::start(options.broker_port)?),
        false => Box::new(Loopback::new(options.broker_port)?),
    };
    tell!("the broker listens on 127.0.0.1:{}", generator.broker_port());
    let to = Destinations {
        history: options.record.then(history::path).transpose()?,
        json: options.json.clone(),
    };
    let kept = Kept::begin(&run, to);
    let mut under_way = UnderWay {
        progress: progress(&scenarios, &choices, traces),
        dice: Dice::new(run.seed),
        lines,
        traces,
        cpu: run.machine.cpu_kind,
        kept: kept.clone(),
    };
    let done = under_way.all(&scenarios, &choices, &mut *generator);
    if let Some(path) = kept.record()? {
        tell!("recorded in {}", path.display());
    }
    done
}

/// Who takes part in each scenario, and what cannot be had.
fn choices(options: &Options, scenarios: &[Scenario]) -> Result<(Vec<Choice>, Vec<Skipped>), Failure> {
    let (mut choices, mut skipped) = (Vec::new(), Vec::new());
    // Before this thread is pinned: cargo may have to build.
    let program = options.program.clone().map_or_else(crate::proxy::program, Ok)?;
    for scenario in scenarios {
        for name in scenario.compared() {
            let named = |failure| format!("scenario {}: {failure}", scenario.name);
            Choice::known(name, &options.peers).map_err(named)?;
        }
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
