//! How the program is linked: what whoever finds a mistake in its memory is not given as well.
//!
//! What is read is what `readelf` prints; it comes with the linker that every Rust program needs.

use std::process::Command;

/// What `readelf` says of the header, the segments and the dynamic section.
fn described(program: &str) -> String {
    let output = Command::new("readelf")
        .args([
            "--wide",
            "--file-header",
            "--program-headers",
            "--dynamic",
            program,
        ])
        .env("LC_ALL", "C")
        .output()
        .expect("readelf is among the linker's tools");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("names are text")
}

/// What is missing, by its name.
fn weaknesses(described: &str) -> Vec<&'static str> {
    let lines = || described.lines().map(str::trim);
    // Type, offset, two addresses, two sizes, flags (R, W and E apart), alignment.
    let segment = |kind: &str| {
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        lines()
            .map(words)
            .filter(|words| words.first().is_some_and(|first| first == kind) && words.len() > 6)
            .map(|words| words[6..words.len() - 1].concat())
            .collect::<Vec<_>>()
    };
    let dynamic = |tag: &str, value: &str| lines().any(|line| line.contains(tag) && line.contains(value));
    let mut weaknesses = Vec::new();
    let mut demand = |holds: bool, name| {
        if !holds {
            weaknesses.push(name);
        }
    };
    let is_dynamic = lines().any(|line| line.starts_with("Type:") && line.contains("DYN"));
    demand(
        is_dynamic && dynamic("(FLAGS_1)", "PIE"),
        "position-independent executable",
    );
    demand(segment("GNU_RELRO") == ["R"], "read-only relocations");
    demand(dynamic("(FLAGS_1)", "NOW"), "relocations bound at the start");
    demand(segment("GNU_STACK") == ["RW"], "a stack that is not executable");
    let loaded = segment("LOAD");
    let is_both = |flags: &String| flags.contains('W') && flags.contains('E');
    demand(
        loaded.len() > 1 && !loaded.iter().any(is_both),
        "no segment both writable and executable",
    );
    demand(
        !lines().any(|line| line.contains("(TEXTREL)")),
        "no relocations in code",
    );
    demand(
        !lines().any(|line| line.contains("(RPATH)") || line.contains("(RUNPATH)")),
        "no libraries from places of its own",
    );
    weaknesses
}

#[test]
fn the_program_is_linked_as_hard_to_abuse_as_can_be() {
    assert_eq!(weaknesses(&described(env!("CARGO_BIN_EXE_sealwire"))), [""; 0]);
}

/// Each demand notices what it is there for: the program's own description, weakened in one place.
#[test]
fn a_weakness_is_noticed() {
    let described = described(env!("CARGO_BIN_EXE_sealwire"));
    let weakened = |from: &str, to: &str| {
        assert!(described.contains(from), "{from} is not there:\n{described}");
        weaknesses(&described.replace(from, to))
    };
    assert_eq!(weakened("NOW PIE", "NOW"), ["position-independent executable"]);
    assert_eq!(weakened("GNU_RELRO", "GNU_OTHER"), ["read-only relocations"]);
    assert_eq!(weakened("NOW PIE", "PIE"), ["relocations bound at the start"]);
    assert_eq!(
        weakened(" RW  0\n", " RWE 0\n"),
        ["a stack that is not executable"]
    );
    assert_eq!(
        weakened(" RW  0x1000", " RWE 0x1000"),
        ["no segment both writable and executable"]
    );
    assert_eq!(weakened("(DEBUG)", "(TEXTREL)"), ["no relocations in code"]);
    assert_eq!(
        weakened("(DEBUG)", "(RUNPATH)"),
        ["no libraries from places of its own"]
    );
}
