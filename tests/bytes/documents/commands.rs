//! Commands and examples in documents are good ones.

use std::process::Command;

use sealwire::config::Config;

use super::{code, documents, read, repository};

#[test]
fn the_first_screen_has_the_two_commands() {
    let readme = read("README.md");
    let first_screen: Vec<&str> = readme.lines().take(30).collect();
    for command in ["make quickstart", "make test"] {
        assert!(first_screen.contains(&command), "{command}");
    }
}

#[test]
fn commands_in_documents_exist() {
    let makefile = read("Makefile");
    let harness = read("bench-harness/src/main.rs");
    let mut checked = 0;
    for document in documents() {
        for block in code(&read(&document), "sh") {
            for line in block.lines() {
                let line = line.split(" #").next().unwrap_or_default().trim();
                if let Some(target) = line.strip_prefix("make ") {
                    assert!(makefile.contains(&format!("\n{target}:")), "{document}: {line}");
                } else if let Some((_, command)) = line
                    .split_once("-p bench-harness")
                    .and_then(|(_, rest)| rest.split_once(" -- "))
                {
                    let name = command.split(' ').next().unwrap_or_default();
                    let subcommand = name[..1].to_uppercase() + &name[1..];
                    let is_there =
                        ["(", ","].map(|end| harness.contains(&format!("\n    {subcommand}{end}")));
                    assert!(is_there.contains(&true), "{document}: {line}");
                } else if let Some(at) = line.find("sealwire ").filter(|_| !line.contains("cargo ")) {
                    assert_known(&document, &line[at + "sealwire ".len()..]);
                } else {
                    continue;
                }
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} commands");
}

/// The subcommand and its flags are in the program's own help.
fn assert_known(document: &str, arguments: &str) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    let depth = match words.first() {
        Some(&("keystore" | "users")) => 2,
        _ => 1,
    };
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    let subcommand = words.iter().take(depth);
    let output = program
        .args(subcommand)
        .arg("--help")
        .output()
        .expect("the program runs");
    let help = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{document}: sealwire {arguments}");
    for flag in words.iter().filter(|word| word.starts_with("--")) {
        assert!(
            help.contains(&format!("{flag} ")) || help.contains(&format!("{flag}\n")),
            "{document}: sealwire {arguments}: no {flag} in\n{help}"
        );
    }
}

/// Examples that are a whole configuration are good ones.
#[test]
fn configurations_in_documents_load() {
    let mut loaded = 0;
    for document in documents() {
        for text in code(&read(&document), "toml") {
            if !text.contains("[cluster.") {
                continue;
            }
            let path = repository().join("docs/example.toml");
            if let Err(errors) = Config::from_toml_text(&text, &path) {
                panic!("{document}: {errors}");
            }
            loaded += 1;
        }
    }
    assert!(loaded > 0, "no document shows a whole configuration");
}
