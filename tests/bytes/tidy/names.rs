//! Names of files and of what they declare say something.

use super::sources;

/// Words that say nothing of what is behind them.
const EMPTY_WORDS: [&str; 11] = [
    "util",
    "utils",
    "helper",
    "helpers",
    "common",
    "manager",
    "handler",
    "handlers",
    "processor",
    "misc",
    "stuff",
];

#[test]
fn names_say_something() {
    for source in sources() {
        let file = source.path.trim_end_matches(".rs").split('/').map(str::to_owned);
        let declared = source.lines().filter_map(|(_, line)| declared_name(line));
        for name in file.chain(declared) {
            let empty = words(&name)
                .into_iter()
                .find(|word| EMPTY_WORDS.contains(&word.as_str()));
            assert!(
                empty.is_none(),
                "{}: {name} says nothing with {empty:?}",
                source.path
            );
        }
    }
}

/// The name of what a line declares.
fn declared_name(line: &str) -> Option<String> {
    const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "mod", "type", "const", "static"];
    let line = line.trim_start();
    if line.starts_with("//") {
        return None;
    }
    let mut parts = line.split(|character: char| !(character.is_alphanumeric() || character == '_'));
    while let Some(part) = parts.next() {
        if KINDS.contains(&part) {
            return parts.next().filter(|name| !name.is_empty()).map(str::to_owned);
        }
        if ![
            "pub", "crate", "super", "async", "unsafe", "extern", "in", "C", "",
        ]
        .contains(&part)
        {
            return None;
        }
    }
    None
}

/// The words of a name in either spelling, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_small = false;
    for character in name.chars() {
        if character == '_' || (character.is_ascii_uppercase() && was_small) {
            words.push(String::new());
        }
        was_small = character.is_ascii_lowercase();
        if character != '_' {
            words
                .last_mut()
                .expect("there is a word")
                .extend(character.to_lowercase());
        }
    }
    words
}

#[test]
fn words_of_names_are_found() {
    let empty = |line: &str| {
        let name = declared_name(line).unwrap_or_default();
        words(&name)
            .iter()
            .any(|word| EMPTY_WORDS.contains(&word.as_str()))
    };
    assert!(empty("pub(crate) struct FrameHandler {"));
    assert!(empty("    async fn handler_of(frame: Frame) {"));
    assert!(empty("mod util;"));
    assert!(!empty("    handler.run();"));
    assert!(!empty("fn commonly_known() {"));
    assert!(!empty("// fn helper"));
}
