//! Texts that nobody means: damaged, random, deep and long.

use proptest::prelude::*;

use super::{BASE, load, load_with};

/// CONFIG-4
#[test]
fn depth_and_length_cost_no_stack_and_little_time() {
    let deep = "a.".repeat(50_000);
    for text in [
        format!("{deep}a = 1"),
        format!("[{deep}a]"),
        format!("[[{deep}a]]"),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("a = {{ {deep}a = 1 }}"),
        "[[cluster.main.topics]]\n".repeat(100_000),
        (0..50_000).map(|number| format!("key{number} = 1\n")).collect(),
    ] {
        assert!(load(&text).is_err());
        let _ = load_with(
            BASE,
            &[(&format!("SEALWIRE_{}A", "A__".repeat(20_000)), &text)],
            &[&text],
        );
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in ".{0,200}") {
        let _ = load(&text);
    }

    /// CONFIG-4
    #[test]
    fn no_likely_text_panics(words in proptest::collection::vec(proptest::sample::select(&WORDS[..]), 0..40)) {
        let _ = load(&words.concat());
    }

    #[test]
    fn a_damaged_configuration_is_refused_or_read_but_never_panics(
        at in 0..BASE.len(), length in 0usize..40, insert in "[ -~\n]{0,12}",
    ) {
        let end = (at + length).min(BASE.len());
        let text = format!("{}{insert}{}", &BASE[..at], &BASE[end..]);
        if let Err(errors) = load(&text) {
            prop_assert!(!errors.errors().is_empty());
        }
    }

    #[test]
    fn variables_and_flags_never_panic(
        name in "[A-Z_]{0,24}", value in ".{0,60}", setting in "[a-z.=_\\[\\]0-9]{0,40}",
    ) {
        let _ = load_with(BASE, &[(&format!("SEALWIRE_{name}"), &value)], &[&setting]);
    }
}

/// Words that bring random texts near to something meaningful.
const WORDS: [&str; 40] = [
    "[kms.local]\n",
    "[cluster.main]\n",
    "[[cluster.main.listeners]]\n",
    "[[cluster.main.topics]]\n",
    "[admin]\n",
    "[limits]\n",
    "provider",
    "path",
    "master_key",
    "bootstrap",
    "listen",
    "nodes",
    "node_ports",
    "match",
    "kek",
    "kms",
    "pass",
    "reject",
    "open_keks",
    "accept",
    "domain",
    " = ",
    "\"*\"",
    "\"${1}\"",
    "\"${",
    "{ regex = \"(a)|b\" }",
    "{ exact = \"x\" }",
    "true",
    "[1, 2]",
    "\"0-99999999999\"",
    "{",
    "}",
    "[",
    "]",
    "\n",
    "\"file\"",
    "-1",
    "1.5",
    "1979-05-27",
    "é",
];
