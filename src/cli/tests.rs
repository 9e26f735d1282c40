//! Exit codes, and what goes to which stream.

use std::cell::Cell;
use std::fs;

use clap::CommandFactory as _;

use super::*;
use crate::testing::configuration::{Cluster, Configuration};

fn good() -> String {
    let rules = "[[cluster.main.topics]]\nmatch = \"*\"\npass = true\n";
    Configuration::default().cluster(&Cluster::ruled(rules)).text()
}

struct Said {
    code: u8,
    out: String,
    err: String,
    served: bool,
}

fn execute_with(words: &[&str]) -> Said {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let served = Cell::new(false);
    let serve = |_config| {
        served.set(true);
        Ok(())
    };
    let words = ["sealwire"].iter().chain(words).map(OsString::from);
    let code = execute(
        words,
        serve,
        &mut Streams {
            out: &mut out,
            err: &mut err,
        },
    );
    let text = |bytes| String::from_utf8(bytes).unwrap_or_default();
    Said {
        code,
        out: text(out),
        err: text(err),
        served: served.get(),
    }
}

fn file_with(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sealwire.toml");
    fs::write(&path, text).expect("a file");
    (folder, path.display().to_string())
}

#[test]
fn the_command_line_is_well_formed() {
    Arguments::command().debug_assert();
}

/// CLI-2
#[test]
fn version_and_help_go_to_standard_output() {
    let said = execute_with(&["--version"]);
    assert_eq!(
        (said.code, said.out.as_str()),
        (EXIT_OK, format!("sealwire {}\n", version::text()).as_str())
    );
    for words in [&["--help"][..], &["run", "--help"], &["check-config", "--help"]] {
        let said = execute_with(words);
        assert_eq!(said.code, EXIT_OK, "{words:?}");
        assert!(said.out.contains("Examples:") && said.err.is_empty(), "{words:?}");
    }
}

/// CLI-1
#[test]
fn wrong_arguments_are_usage_errors() {
    for words in [
        &[][..],
        &["rum"],
        &["run"],
        &["run", "--config"],
        &["check-config"],
        &["check-config", "a", "b"],
    ] {
        let said = execute_with(words);
        assert_eq!(said.code, EXIT_USAGE, "{words:?}");
        assert!(said.out.is_empty() && !said.err.is_empty(), "{words:?}");
    }
}

#[test]
fn a_good_configuration_is_summed_up_in_one_line() {
    let (_folder, path) = file_with(&good());
    let said = execute_with(&["check-config", &path]);
    assert_eq!(said.code, EXIT_OK, "{}", said.err);
    let summary =
        "good: one executor a core, 1 cluster, 1 listener, 1 rule (0 sealing), 0 KMSs, no admin port";
    assert_eq!(said.out, format!("{path}: {summary}\n"));
    assert!(!said.served);
}

#[test]
fn mistakes_are_reported_and_nothing_is_served() {
    let (_folder, path) = file_with(&good().replace("\"test\"", "\"\""));
    for words in [&["check-config", &path][..], &["run", "--config", &path]] {
        let said = execute_with(words);
        assert_eq!(said.code, EXIT_USAGE);
        assert!(
            said.err
                .starts_with(&format!("{path}:5: cluster.main.listeners[0].name = \"\"")),
            "{}",
            said.err
        );
        assert!(!said.served && said.out.is_empty());
    }
}

#[test]
fn flags_override_the_file_and_are_named_when_wrong() {
    let (_folder, path) = file_with(&good());
    let said = execute_with(&["check-config", &path, "--set", "runtime.executors=3"]);
    assert!(said.out.contains("3 executors"), "{}{}", said.out, said.err);
    let said = execute_with(&["check-config", &path, "--set", "runtime.executors=0"]);
    assert_eq!(said.code, EXIT_USAGE);
    assert!(
        said.err
            .starts_with("flag --set runtime.executors: runtime.executors = 0\n"),
        "{}",
        said.err
    );
}

/// CLI-1
#[test]
fn a_failure_of_the_proxy_is_a_failure_at_run_time() {
    let (_folder, path) = file_with(&good());
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let words = ["sealwire", "run", "--config", &path]
        .into_iter()
        .map(OsString::from);
    let serve = |_config| Err("port 9192 is taken".into());
    let code = execute(
        words,
        serve,
        &mut Streams {
            out: &mut out,
            err: &mut err,
        },
    );
    assert_eq!(code, EXIT_FAILURE);
    assert!(String::from_utf8_lossy(&err).contains("port 9192 is taken"));
}
