//! Scenarios as they are written, and what the documents say of them.

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
