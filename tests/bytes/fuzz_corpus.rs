//! Replays the seed corpora of the fuzz targets, whole and cut off at every byte.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

#[path = "../fuzz/targets.rs"]
pub(crate) mod targets;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 18] = [
    ("frame", targets::frame),
    ("stranger", targets::stranger),
    ("addresses", targets::addresses),
    ("produce_request", targets::produce_request),
    ("produce_response", targets::produce_response),
    ("fetch_response", targets::fetch_response),
    ("api_versions", targets::api_versions),
    ("record_batch", targets::record_batch),
    ("seal", targets::seal),
    ("configuration", targets::configuration),
    ("proxy_protocol", targets::proxy_protocol),
    ("certificate_names", targets::certificate_names),
    ("principal_rules", targets::principal_rules),
    ("sasl_messages", targets::sasl_messages),
    ("sasl_frames", targets::sasl_frames),
    ("token", targets::token),
    ("key_set", targets::key_set),
    ("keyring", targets::keyring),
];

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz"))
}

/// Name and content of the files in `folder`.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_seed_replays() {
    for (name, target) in TARGETS {
        let seeds = files(&folder().join("corpus").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for (seed, bytes) in seeds {
            let replayed = std::panic::catch_unwind(|| {
                target(&bytes);
                // A text is long, and a cut inside a value shows little: lines do.
                let cuts: Vec<usize> = if name == "configuration" {
                    (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect()
                } else {
                    (0..bytes.len()).collect()
                };
                for cut in cuts {
                    target(&bytes[..cut]);
                }
            });
            assert!(replayed.is_ok(), "tests/fuzz/corpus/{name}/{seed}");
        }
    }
}

#[test]
fn every_target_is_a_program_and_is_replayed() {
    let names: Vec<String> = files(&folder().join("fuzz_targets"))
        .into_iter()
        .map(|(name, _)| name.trim_end_matches(".rs").to_owned())
        .collect();
    let mut replayed = TARGETS.map(|(name, _)| name.to_owned());
    replayed.sort();
    assert_eq!(names, replayed);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in names {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
    }
}

/// Nothing else looks at the lock file of the targets' project: it would be stale whenever a dependency comes.
#[test]
fn the_lock_file_of_the_targets_knows_what_the_program_depends_on() {
    let table = |path: &str| -> Table {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        fs::read_to_string(path).unwrap().parse().unwrap()
    };
    let (manifest, lock) = (table("Cargo.toml"), table("tests/fuzz/Cargo.lock"));
    let dependencies = manifest["dependencies"].as_table().unwrap().iter();
    let wanted = dependencies.map(|(name, how)| how.get("package").and_then(Value::as_str).unwrap_or(name));
    let mut packages = lock["package"].as_array().unwrap().iter();
    let program = packages
        .find(|package| package["name"].as_str() == Some("sealwire"))
        .unwrap();
    let locked = program["dependencies"].as_array().unwrap().iter();
    let locked = locked.map(|name| name.as_str().unwrap().split(' ').next().unwrap());
    assert_eq!(
        locked.collect::<BTreeSet<_>>(),
        wanted.collect::<BTreeSet<_>>(),
        "run `cargo update --workspace` in tests/fuzz"
    );
}
