//! What is measured: a scenario is a TOML file, and a point of it one combination of what it varies.
//!
//! Those of `bench-harness/scenarios/` are part of the program; any other is given by its path. Nothing of a scenario
//! is taken that is not understood: an unknown field is an error that names file and field.

mod built_in;
mod kinds;
mod limit;
mod point;
mod values;

use std::fmt::Display;
use std::path::Path;

use serde::Deserialize;

use self::built_in::BUILT_IN;
pub(crate) use self::kinds::{Client, ClientCodec, Direction, StoredCodec, Tls, What};
pub(crate) use self::limit::{Bound, CIPHER, FIRST_POINT, Limit};
pub(crate) use self::point::Point;
use self::values::{Values, vary};
use crate::Failure;
use crate::systems::UNCOMPACTED;

/// One file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub(crate) name: String,
    /// What it is for, in a line.
    pub(crate) summary: String,
    /// What `sealwire` does with the records.
    what: Values<What>,
    /// Which way records go.
    directions: Option<Values<Direction>>,
    /// KiB of a produce request, and of what it holds when it is fetched.
    frame_kib: Values<usize>,
    /// About so many bytes a record takes.
    record_bytes: Option<Values<usize>>,
    /// How the client compresses.
    codec: Option<Values<ClientCodec>>,
    /// Who produces and fetches.
    client: Option<Values<Client>>,
    /// Connections with one request in flight each; at a fixed rate, what requests are spread over.
    connections: Option<Values<usize>>,
    /// Topics that requests go through in turn.
    topics: Option<Values<usize>>,
    /// Rules of the proxy; the last two are that of what is sealed and that of what passes.
    rules: Option<Values<usize>>,
    /// KEKs that topics are spread over.
    keks: Option<Values<usize>>,
    /// Distinct wrapped DEKs in what is fetched.
    deks: Option<Values<usize>>,
    /// Connections beside, that have said hello and do nothing.
    idle_connections: Option<Values<usize>>,
    /// Executors of the proxy.
    executors: Option<Values<usize>>,
    /// 10^6 bytes a second of requests and responses; absent: as many as can be.
    rate_mb_per_s: Option<Values<f64>>,
    /// Whether clients, systems and broker speak TLS, and with what certificates.
    tls: Option<Values<Tls>>,
    /// Whether each request has a connection of its own.
    reconnects: Option<Values<bool>>,
    /// How the rule stores sealed batches.
    stored_codec: Option<Values<StoredCodec>>,
    /// Who takes part.
    #[serde(default = "default_systems")]
    pub(crate) systems: Vec<String>,
    /// Whom ratios are taken to.
    #[serde(default = "default_reference")]
    pub(crate) reference: String,
    /// Whether systems are started anew for each round, and not only for each point.
    #[serde(default)]
    pub(crate) cold: bool,
    /// How often every system has its turn at a point.
    #[serde(default = "default_rounds")]
    pub(crate) rounds: usize,
    /// How long a turn is measured.
    #[serde(default = "default_sample_ms")]
    pub(crate) sample_ms: u64,
    /// How long it runs before.
    #[serde(default = "default_warm_up_ms")]
    pub(crate) warm_up_ms: u64,
    /// What has to hold.
    #[serde(default)]
    pub(crate) limits: Vec<Limit>,
}

impl Scenario {
    /// One of the program's own by its name, any other by its path.
    pub(crate) fn load(name: &str) -> Result<Self, Failure> {
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => Self::parse(name, text),
            None if name.ends_with(".toml") => {
                let text = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
                let stem = Path::new(name).file_stem().unwrap_or_default();
                let scenario = Self::parse(name, &text)?;
                Ok(Self {
                    name: stem.to_string_lossy().into_owned(),
                    ..scenario
                })
            }
            None => Err(format!("no scenario {name}: `list` shows them, and a path ends with .toml").into()),
        }
    }

    /// One of the program's own.
    pub(crate) fn built_in(name: &str) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        Self::parse(name, text).ok()
    }

    /// From the text of a file.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Self, Failure> {
        let mut scenario: Self = toml::from_str(text).map_err(|error| in_file(name, error))?;
        scenario.name = name.to_owned();
        scenario.check().map_err(|failure| in_file(name, failure))?;
        Ok(scenario)
    }

    /// Whether it can be run.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        let points = self.points();
        if !(1..=POINTS_MAX).contains(&points.len()) {
            let count = points.len();
            return Err(format!("{count} combinations of what it varies; 1 to {POINTS_MAX} can be").into());
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return Err(format!("rounds: 1 to {ROUNDS_MAX}").into());
        }
        if !(1..=SAMPLE_MS_MAX).contains(&self.sample_ms) || self.warm_up_ms > SAMPLE_MS_MAX {
            return Err(format!("sample_ms, warm_up_ms: at most {SAMPLE_MS_MAX}").into());
        }
        let real = points.iter().filter(|point| point.client.is_real()).count();
        if real > 0 && real < points.len() {
            return Err("client: \"generator\" has a broker of its own".into());
        }
        if !self.is_real() && self.systems.iter().any(|system| system == UNCOMPACTED) {
            return Err(format!("systems: \"{UNCOMPACTED}\" only with a real client").into());
        }
        if self.directions.is_some() && !self.what.all().contains(&What::Pass) {
            return Err("directions: only of what is to \"pass\"; the others have one by themselves".into());
        }
        points.iter().try_for_each(Point::check)?;
        self.limits.iter().try_for_each(|limit| limit.check(&points))
    }

    /// Systems that it compares with, or has limits for.
    pub(crate) fn compared(&self) -> impl Iterator<Item = &str> {
        let of_limits = self.limits.iter().flat_map(Limit::systems);
        std::iter::once(self.reference.as_str()).chain(of_limits)
    }

    /// Whether it takes a real broker.
    pub(crate) fn is_real(&self) -> bool {
        self.points().iter().all(|point| point.client.is_real())
    }

    /// Every combination of what is varied, in the order of the file; what it does not say is as usual.
    pub(crate) fn points(&self) -> Vec<Point> {
        let mut points = Vec::new();
        for what in self.what.all() {
            let directions = match (&self.directions, what) {
                (Some(directions), What::Pass) => directions.all(),
                (None, What::Pass) => &[Direction::Produce, Direction::Fetch][..],
                (_, What::Seal) => &[Direction::Produce],
                (_, What::Open) => &[Direction::Fetch],
                (_, What::Both) => &[Direction::Both],
            };
            points.extend(directions.iter().map(|direction| Point::of(*what, *direction)));
        }
        let all = &mut points;
        vary(all, self.record_bytes.as_ref(), |point, value| {
            point.record_bytes = value
        });
        vary(all, self.codec.as_ref(), |point, value| point.codec = value);
        vary(all, self.stored_codec.as_ref(), |point, value| {
            point.stored_codec = value
        });
        vary(all, self.client.as_ref(), |point, value| point.client = value);
        for point in &mut *all {
            point.connections = point.client.usual_connections();
        }
        vary(all, self.connections.as_ref(), |point, value| {
            point.connections = value
        });
        vary(all, self.topics.as_ref(), |point, value| point.topics = value);
        vary(all, self.rules.as_ref(), |point, value| point.rules = value);
        vary(all, self.keks.as_ref(), |point, value| point.keks = value);
        vary(all, self.deks.as_ref(), |point, value| point.deks = value);
        vary(all, self.idle_connections.as_ref(), |point, value| {
            point.idle_connections = value
        });
        vary(all, self.executors.as_ref(), |point, value| {
            point.executors = value
        });
        vary(all, self.rate_mb_per_s.as_ref(), |point, value| {
            point.rate_mb_per_s = Some(value)
        });
        vary(all, self.tls.as_ref(), |point, value| point.tls = value);
        vary(all, self.reconnects.as_ref(), |point, value| {
            point.reconnects = value
        });
        vary(all, Some(&self.frame_kib), |point, value| point.frame_kib = value);
        points
    }
}

/// Prints those that are part of the program.
pub(crate) fn list() -> Result<(), Failure> {
    for (name, text) in BUILT_IN {
        let scenario = Scenario::parse(name, text)?;
        tell!(
            "{name:17} {:3} points  {}",
            scenario.points().len(),
            scenario.summary
        );
    }
    Ok(())
}

fn in_file(name: &str, error: impl Display) -> Failure {
    format!("scenario {name}: {error}").into()
}

/// A run of more would take hours.
const POINTS_MAX: usize = 200;
const ROUNDS_MAX: usize = 1000;
const SAMPLE_MS_MAX: u64 = 600_000;

fn default_systems() -> Vec<String> {
    ["direct", "haproxy-16k", "haproxy-64k", "sealwire"]
        .map(str::to_owned)
        .into()
}

fn default_reference() -> String {
    "haproxy-64k".to_owned()
}

fn default_rounds() -> usize {
    7
}

fn default_sample_ms() -> u64 {
    300
}

fn default_warm_up_ms() -> u64 {
    60
}

#[cfg(test)]
mod tests;
