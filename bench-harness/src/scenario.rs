//! What is measured: a scenario is a TOML file, and a point of it one combination of what it varies.
//!
//! Those of `bench-harness/scenarios/` are part of the program; any other is given by its path. Nothing of a scenario
//! is taken that is not understood: an unknown field is an error that names file and field.

mod built_in;
mod limit;
mod point;

use std::fmt::Display;
use std::path::Path;

use serde::{Deserialize, Serialize};

use self::built_in::BUILT_IN;
pub(crate) use self::limit::{Bound, CIPHER, FIRST_POINT, Limit};
pub(crate) use self::point::Point;
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
    #[serde(default = "default_record_bytes")]
    record_bytes: Values<usize>,
    /// How the client compresses.
    #[serde(default = "default_codec")]
    codec: Values<ClientCodec>,
    /// Who produces and fetches.
    #[serde(default = "default_client")]
    client: Values<Client>,
    /// Connections with one request in flight each; at a fixed rate, what requests are spread over.
    connections: Option<Values<usize>>,
    /// Topics that requests go through in turn.
    #[serde(default = "default_one")]
    topics: Values<usize>,
    /// Rules of the proxy; the last two are that of what is sealed and that of what passes.
    #[serde(default = "default_rules")]
    rules: Values<usize>,
    /// KEKs that topics are spread over.
    #[serde(default = "default_one")]
    keks: Values<usize>,
    /// Distinct wrapped DEKs in what is fetched.
    #[serde(default = "default_one")]
    deks: Values<usize>,
    /// Connections beside, that have said hello and do nothing.
    #[serde(default = "default_zero")]
    idle_connections: Values<usize>,
    /// 10^6 bytes a second of requests and responses; absent: as many as can be.
    rate_mb_per_s: Option<Values<f64>>,
    /// How the rule stores sealed batches.
    #[serde(default = "default_stored_codec")]
    stored_codec: Values<StoredCodec>,
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

/// What `sealwire` does with the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    /// Nothing: a rule lets them pass.
    Pass,
    /// Seals what is produced.
    Seal,
    /// Opens what is fetched.
    Open,
    /// Half of the connections produce and the other half fetch.
    Both,
}

/// Which way records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// From client to broker.
    Produce,
    /// From broker to client.
    Fetch,
    /// Both, on a half of the connections each.
    Both,
}

/// Who produces and fetches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Client {
    /// The harness' own load, with its stand-in broker.
    #[default]
    Generator,
    /// Kafka's tools for measuring, with a real broker.
    Java,
    /// librdkafka, with a real broker.
    Librdkafka,
}

/// How a client compresses a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCodec {
    None,
    Lz4,
    Zstd,
}

/// `stored_codec` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoredCodec {
    None,
    Lz4,
}

/// One value, or a list of them: a curve.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "neither a value of the field nor a list of such values"
)]
enum Values<T> {
    One(T),
    Many(Vec<T>),
}

impl Client {
    pub(crate) fn is_real(self) -> bool {
        self != Self::Generator
    }

    fn usual_connections(self) -> usize {
        if self.is_real() { 1 } else { 16 }
    }
}

impl<T: Copy> Values<T> {
    fn all(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl Scenario {
    /// One of the program's own by its name, any other by its path.
    pub(crate) fn load(name: &str) -> Result<Self, Failure> {
        match BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            Some((_, text)) => Self::parse(name, text),
            None if name.ends_with(".toml") => {
                let text = std::fs::read_to_string(name).map_err(|error| format!("{name}: {error}"))?;
                let stem = Path::new(name).file_stem().unwrap_or_default();
                Self::parse(&stem.to_string_lossy(), &text).map_err(|failure| in_file(name, failure))
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
        let points = self.points().len();
        if points == 0 || points > POINTS_MAX {
            return Err(format!("{points} combinations of what it varies; 1 to {POINTS_MAX} can be").into());
        }
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return Err(format!("rounds: 1 to {ROUNDS_MAX}").into());
        }
        if !(1..=SAMPLE_MS_MAX).contains(&self.sample_ms) || self.warm_up_ms > SAMPLE_MS_MAX {
            return Err(format!("sample_ms, warm_up_ms: at most {SAMPLE_MS_MAX}").into());
        }
        let clients = self.client.all();
        if clients.contains(&Client::Generator) && clients.iter().any(|client| client.is_real()) {
            return Err("client: \"generator\" has a broker of its own".into());
        }
        if !self.is_real() && self.systems.iter().any(|system| system == UNCOMPACTED) {
            return Err(format!("systems: \"{UNCOMPACTED}\" only with a real client").into());
        }
        if self.directions.is_some() && !self.what.all().contains(&What::Pass) {
            return Err("directions: only of what is to \"pass\"; the others have one by themselves".into());
        }
        self.points().iter().try_for_each(Point::check)?;
        let points = self.points();
        self.limits.iter().try_for_each(|limit| limit.check(&points))
    }

    /// Whether it takes a real broker.
    pub(crate) fn is_real(&self) -> bool {
        self.client.all().iter().all(|client| client.is_real())
    }

    /// Every combination of what is varied, in the order of the file.
    pub(crate) fn points(&self) -> Vec<Point> {
        let rates: Vec<Option<f64>> = match &self.rate_mb_per_s {
            None => vec![None],
            Some(rates) => rates.all().iter().copied().map(Some).collect(),
        };
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
        vary(&mut points, self.record_bytes.all(), |point, value| {
            point.record_bytes = value
        });
        vary(&mut points, self.codec.all(), |point, value| point.codec = value);
        vary(&mut points, self.stored_codec.all(), |point, value| {
            point.stored_codec = value
        });
        vary(&mut points, self.client.all(), |point, value| {
            (point.client, point.connections) = (value, value.usual_connections())
        });
        if let Some(connections) = &self.connections {
            vary(&mut points, connections.all(), |point, value| {
                point.connections = value
            });
        }
        vary(&mut points, self.topics.all(), |point, value| {
            point.topics = value
        });
        vary(&mut points, self.rules.all(), |point, value| point.rules = value);
        vary(&mut points, self.keks.all(), |point, value| point.keks = value);
        vary(&mut points, self.deks.all(), |point, value| point.deks = value);
        vary(&mut points, self.idle_connections.all(), |point, value| {
            point.idle_connections = value
        });
        vary(&mut points, &rates, |point, value| point.rate_mb_per_s = value);
        vary(&mut points, self.frame_kib.all(), |point, value| {
            point.frame_kib = value
        });
        points
    }
}

/// Prints those that are part of the program.
pub(crate) fn list() -> Result<(), Failure> {
    for (name, text) in BUILT_IN {
        let scenario = Scenario::parse(name, text)?;
        println!(
            "{name:12} {:3} points  {}",
            scenario.points().len(),
            scenario.summary
        );
    }
    Ok(())
}

/// Each of the points with each of the values.
fn vary<T: Copy>(points: &mut Vec<Point>, values: &[T], set: impl Fn(&mut Point, T)) {
    *points = points
        .iter()
        .flat_map(|point| values.iter().map(move |value| (point.clone(), *value)))
        .map(|(mut point, value)| {
            set(&mut point, value);
            point
        })
        .collect();
}

fn in_file(name: &str, error: impl Display) -> Failure {
    format!("scenario {name}: {error}").into()
}

/// A run of more would take hours.
const POINTS_MAX: usize = 200;
const ROUNDS_MAX: usize = 1000;
const SAMPLE_MS_MAX: u64 = 600_000;

fn default_record_bytes() -> Values<usize> {
    Values::One(1024)
}

fn default_codec() -> Values<ClientCodec> {
    Values::One(ClientCodec::None)
}

fn default_stored_codec() -> Values<StoredCodec> {
    Values::One(StoredCodec::Lz4)
}

fn default_client() -> Values<Client> {
    Values::One(Client::default())
}

fn default_rules() -> Values<usize> {
    Values::One(2)
}

fn default_one() -> Values<usize> {
    Values::One(1)
}

fn default_zero() -> Values<usize> {
    Values::One(0)
}

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
mod tests {
    use super::*;
    use crate::measure::Measure;

    const LEAST: &str = "summary = \"x\"\nwhat = \"seal\"\nframe_kib = 64\n";

    fn error(more: &str) -> String {
        Scenario::parse("mine", &format!("{LEAST}{more}"))
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn the_least_has_one_point_and_sensible_values() {
        let scenario = Scenario::parse("mine", LEAST).unwrap();
        let [point] = &scenario.points()[..] else {
            panic!("{:?}", scenario.points());
        };
        assert_eq!(
            (point.direction, point.connections, point.record_bytes),
            (Direction::Produce, 16, 1024)
        );
        assert_eq!(point.rate_mb_per_s, None);
    }

    #[test]
    fn lists_are_combined_and_frames_vary_fastest() {
        let text = "summary = \"x\"\nwhat = \"pass\"\nframe_kib = [1, 64]\nconnections = [1, 10, 100]\n";
        let points = Scenario::parse("mine", text).unwrap().points();
        assert_eq!(points.len(), 2 * 3 * 2);
        assert_eq!(
            (points[0].frame_kib, points[1].frame_kib, points[2].connections),
            (1, 64, 10)
        );
    }

    #[test]
    fn mistakes_are_named_with_file_and_field() {
        for (more, parts) in [
            ("frames = 1", ["mine", "frames"]),
            ("connections = \"many\"", ["mine", "connections"]),
            ("codec = \"snappy\"", ["mine", "codec"]),
            ("directions = \"fetch\"", ["mine", "directions"]),
            ("rounds = 0", ["mine", "rounds"]),
            ("connections = 0", ["mine", "connections"]),
            ("client = \"java\"\nconnections = 2", ["mine", "connections"]),
            ("client = [\"java\", \"generator\"]", ["mine", "client"]),
            ("keks = 3", ["mine", "topics"]),
            ("rate_mb_per_s = 0.0", ["mine", "rate_mb_per_s"]),
            ("[[limits]]\nof = \"cpu_s_per_gb\"", ["mine", "most"]),
            ("[[limits]]\nof = \"beauty\"\nmost = 1", ["mine", "beauty"]),
            (
                "[[limits]]\nof = \"peak_mb\"\nmost = 1\nat = { weather = 1 }",
                ["mine", "weather"],
            ),
            (
                "[[limits]]\nof = \"peak_mb\"\nmost = 1\nat = { frame_kib = 3 }",
                ["mine", "frame_kib"],
            ),
        ] {
            let error = error(more);
            assert!(parts.iter().all(|part| error.contains(part)), "{more}: {error}");
        }
    }

    #[test]
    fn only_librdkafka_fetches_at_a_rate() {
        for (client, is_good) in [("librdkafka", true), ("java", false)] {
            let text = LEAST.replace("seal", "open") + &format!("client = \"{client}\"\nrate_mb_per_s = 5.0");
            assert_eq!(Scenario::parse("mine", &text).is_ok(), is_good, "{client}");
        }
    }

    /// What is in `scenarios/`, what the program has and what docs/performance.md tells of is the same.
    #[test]
    fn those_of_the_program_are_good_and_told() {
        let names: Vec<&str> = BUILT_IN.iter().map(|(name, _)| *name).collect();
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(sources.join("scenarios")).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        let mut expected: Vec<_> = names.iter().map(|name| format!("{name}.toml")).collect();
        files.sort();
        expected.sort();
        assert_eq!(files, expected);
        let page = std::fs::read_to_string(sources.join("../docs/performance.md")).unwrap();
        assert_eq!(first_column(&page, "## Scenarios\n\n"), names);
        for (name, text) in BUILT_IN {
            let scenario = Scenario::parse(name, text).unwrap();
            assert!(scenario.systems.contains(&"sealwire".to_owned()), "{name}");
        }
    }

    #[test]
    fn every_field_and_measure_is_told() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/performance.md");
        let page = std::fs::read_to_string(page).unwrap();
        // What serde says of a field that it does not know lists those that it knows.
        let error = error("nothing = 1");
        let fields = error.split_once("expected one of").unwrap().1;
        let fields: Vec<&str> = fields.split('`').skip(1).step_by(2).collect();
        let told = first_column(&page, "is a point; systems are started anew for each.\n\n");
        assert!(fields.len() > 15, "{error}");
        assert_eq!(told.len(), fields.len());
        assert!(
            fields.iter().all(|field| told.contains(field)),
            "{told:?} {fields:?}"
        );
        let told = first_column(&page, "CPU per GB holds all the same.\n\n");
        let measures: Vec<&str> = Measure::ALL.iter().map(|measure| measure.name()).collect();
        assert_eq!(told, measures);
    }

    /// What stands as code in the first column of the table that follows `before`.
    fn first_column<'a>(page: &'a str, before: &str) -> Vec<&'a str> {
        let (_, table) = page.split_once(before).expect("the table is there");
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.flat_map(|row| {
            row.split('|')
                .nth(1)
                .unwrap_or_default()
                .split('`')
                .skip(1)
                .step_by(2)
        })
        .collect()
    }
}
