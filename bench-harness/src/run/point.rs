//! One point of a scenario: its systems, started for it alone, and the turns that they take.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Duration;

use tempfile::TempDir;

use crate::Failure;
use crate::children::scratch_directory;
use crate::generator::{Generator, Turn};
use crate::measure::process::{self, nanoseconds};
use crate::measure::{Measured, System, Tracer};
use crate::scenario::{Point, Scenario};
use crate::statistics::Sample;
use crate::systems::{Choice, Fleet};

/// Where systems compete.
pub(super) struct Field<'a> {
    scenario: &'a Scenario,
    point: &'a Point,
    fleet: Fleet,
    generator: &'a mut dyn Generator,
    directory: TempDir,
    turn: Turn,
}

impl<'a> Field<'a> {
    pub(super) fn begin(
        scenario: &'a Scenario,
        point: &'a Point,
        choice: &Choice,
        generator: &'a mut dyn Generator,
    ) -> Result<Self, Failure> {
        let directory = scratch_directory()?;
        let site = generator.site(point, directory.path())?;
        let fleet = Fleet::start(choice, point, directory.path(), &site, &mut || generator.attend())?;
        let turn = Turn {
            warm_up: Duration::from_millis(scenario.warm_up_ms),
            duration: Duration::from_millis(scenario.sample_ms),
        };
        if let Err(failure) = generator.begin(point, &turn, &fleet, directory.path()) {
            generator.end();
            return Err(fleet.explain(failure));
        }
        Ok(Self {
            scenario,
            point,
            fleet,
            generator,
            directory,
            turn,
        })
    }

    /// How many take turns.
    pub(super) fn systems(&self) -> usize {
        self.fleet.systems.len()
    }

    /// Whether it lasts for one round only.
    pub(super) fn is_cold(&self) -> bool {
        self.scenario.cold
    }

    /// One turn that counts.
    pub(super) fn turn(&mut self, place: usize, round: usize) -> Result<Sample, Failure> {
        let system = self.fleet.systems.get(place).ok_or("no such system")?;
        let kms_calls = || system.is_sealwire.then(|| self.fleet.kms_calls()).flatten();
        let calls_before = kms_calls();
        if let Some(id) = system.process {
            process::reset_peak(id);
        }
        let mut marks = Vec::new();
        let exchanged = self.generator.turn(place, &self.turn, &mut || {
            marks.push(system.process.map(Used::by).transpose()?);
            Ok(())
        });
        let exchanged = exchanged.map_err(|failure| format!("{}: {failure}", system.name))?;
        let of_system = match (&marks[..], system.process) {
            ([Some(before), Some(after)], Some(id)) => Some(after.since(before, id)?),
            _ => None,
        };
        let of_system = of_system.map(|of_system| System {
            kms_calls: kms_calls()
                .zip(calls_before)
                .map(|(after, before)| after - before),
            ..of_system
        });
        let is_first = self.scenario.cold || round == 0;
        let since_start = |taken: Option<Duration>| taken.filter(|_| is_first).map(nanoseconds);
        let measured = Measured {
            exchanged,
            of_system,
            system_calls: None,
            start_ns: since_start(system.started_in),
            first_frame_ns: since_start(self.generator.first_frame(place)),
        };
        Ok(self.sample(&system.name, Some(round), measured))
    }

    /// One turn in which system calls are counted, of a system that has a process.
    pub(super) fn traced_turn(&mut self, place: usize) -> Result<Option<Sample>, Failure> {
        let system = self.fleet.systems.get(place).ok_or("no such system")?;
        let Some(id) = system.process else {
            return Ok(None);
        };
        let mut tracer = Some(Tracer::attach(id, self.directory.path())?);
        let (mut begun, mut calls) = (false, None);
        let exchanged = self.generator.turn(place, &self.turn, &mut || {
            match (begun, &mut tracer) {
                (false, Some(tracer)) => tracer.begin()?,
                _ => calls = tracer.take().map(Tracer::end).transpose()?,
            }
            begun = true;
            Ok(())
        });
        let exchanged = exchanged.map_err(|failure| format!("{}: {failure}", system.name))?;
        let measured = Measured {
            exchanged,
            of_system: None,
            system_calls: calls,
            start_ns: None,
            first_frame_ns: None,
        };
        Ok(Some(self.sample(&system.name, None, measured)))
    }

    /// Leaves the systems and stops them, whether the turns went well or not.
    pub(super) fn end(self, turns: Result<(), Failure>) -> Result<(), Failure> {
        self.generator.end();
        turns.map_err(|failure| self.fleet.explain(failure))?;
        self.fleet.stop()
    }

    fn sample(&self, system: &str, round: Option<usize>, measured: Measured) -> Sample {
        Sample {
            scenario: self.scenario.name.clone(),
            point: self.point.clone(),
            system: system.to_owned(),
            round,
            measured,
        }
    }
}

/// What a process has used so far.
struct Used {
    /// Thread by thread.
    cpu: BTreeMap<OsString, Duration>,
    switches: [u64; 2],
}

impl Used {
    fn by(id: u32) -> Result<Self, Failure> {
        Ok(Self {
            switches: process::switches(id)?,
            cpu: process::cpu(id)?,
        })
    }

    fn since(&self, before: &Self, id: u32) -> Result<System, Failure> {
        let memory = process::memory(id)?;
        let [voluntary, involuntary] = self.switches;
        let [voluntary_before, involuntary_before] = before.switches;
        let of_thread = |(thread, after): (&OsString, &Duration)| {
            let before = before.cpu.get(thread).copied().unwrap_or_default();
            after.saturating_sub(before)
        };
        let cpu: Vec<Duration> = self.cpu.iter().map(of_thread).collect();
        Ok(System {
            cpu_ns: nanoseconds(cpu.iter().sum()),
            busiest_thread_ns: cpu.iter().max().copied().map_or(0, nanoseconds),
            resident_bytes: memory.resident,
            peak_bytes: memory.peak,
            voluntary_switches: voluntary.saturating_sub(voluntary_before),
            involuntary_switches: involuntary.saturating_sub(involuntary_before),
            kms_calls: None,
        })
    }
}
