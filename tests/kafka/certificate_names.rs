//! Principals out of certificates, beside what makes them in a broker: the JDK's `X500Principal` and Kafka's
//! `SslPrincipalMapper`. No broker runs.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use sealwire::identity::certificate_names::{NoPrincipal, PrincipalMapping, Rules};
use sealwire::testing::subjects::{certificate, cn, hard};

use crate::support::artifacts::{self, KafkaVersion};
use crate::support::cache;
use crate::support::java::Java;
use crate::support::launch::DataFolder;

/// PRINCIPAL-2
#[test]
fn subjects_are_what_the_jdk_calls_them() {
    let subjects = hard();
    let questions = subjects
        .iter()
        .map(|(subject, _)| format!("certificate {}", hex(&certificate(subject, &[]))));
    let answers = ask(questions.collect());
    for ((_, shown), answer) in subjects.iter().zip(&answers) {
        assert_eq!(answer, &format!("= {}", hex(shown.as_bytes())), "{shown}");
    }
}

/// Rules that both understand, each for every name.
const RULES: &[&str] = &[
    "DEFAULT",
    " ,, DEFAULT , ",
    "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,\
     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,DEFAULT",
    "RULE:^CN=([^,]*)(,.*)?$/$1/U",
    "RULE:^CN=(\\w+)[-.](\\d+)$/$2$1$12$3$0/,DEFAULT",
    "RULE:^CN=a\\/b$/a\\/b \\$1 \\\\/,RULE:^(CN)=(.*)$/$2\\/$1/",
    "RULE:^CN=é漢.$/ÉĲß/L",
    "RULE:^CN=.*ß.*$/straße/U",
    "RULE:^(?i)cn=(alice)$/$1/",
    "RULE:^(?:CN=(a)|CN=(b))$/[$1$2]/",
    "RULE:^(?<kind>[A-Z]+)=(?<name>.+)$/${name} is a ${kind}/",
    "RULE:^CN=\\\\<.*\\\\>$/angles/,RULE:^CN=[\\w&&[^a]]+$/without a/",
    "RULE:^CN=(\\p{L}+)$/letters $1/,RULE:^CN=\\S\\s\\S$/blank/",
    "RULE:^CN=\\x61\\u0062$/ab/,RULE:^CN=[a-c]{2,3}?$/few/",
    "RULE:^$/nobody/",
];

const NAMES: &[&str] = &[
    "",
    "CN=alice",
    "CN=Alice,OU=ServiceUsers,O=Org,C=DE",
    "CN=Alice,OU=Users,O=Org,L=Berlin,ST=BE,C=DE",
    "CN=app-12",
    "CN=app.7",
    "CN=a/b",
    "CN=é漢x",
    "CN=ß",
    "CN=b",
    "CN=ab",
    "CN=abc",
    "CN=a b",
    "CN=a\u{a0}b",
    "CN=٣-٣",
    "CN=\\<x\\>",
    "cn=ALICE",
    "1.2.840.113549.1.9.1=#1603614062,CN=alice",
];

#[test]
fn rules_make_of_names_what_kafka_makes_of_them() {
    let pairs = || {
        RULES
            .iter()
            .flat_map(|rules| NAMES.iter().map(move |name| (*rules, *name)))
    };
    let answers = ask(pairs().map(|(rules, name)| question(rules, name)).collect());
    let (mut mapped, mut none) = (0, 0);
    for ((rules, name), answer) in pairs().zip(&answers) {
        let parsed = Rules::parse(rules).unwrap_or_else(|error| panic!("{rules}: {error}"));
        let ours = match parsed.name_of(name) {
            Ok(name) => format!("= {}", hex(name.as_bytes())),
            Err(NoPrincipal::NoRule) => "none".to_owned(),
            Err(other) => panic!("{rules}, {name}: {other}"),
        };
        match ours.as_str() {
            "none" => none += 1,
            _ => mapped += 1,
        }
        assert_eq!(ours.trim_end(), answer.trim_end(), "{rules} of {name}");
    }
    assert!(mapped > 60 && none > 60, "{mapped} {none}");
}

/// What Kafka refuses when it starts, and what it would fail at when somebody connects.
#[test]
fn rules_that_kafka_cannot_use_are_refused() {
    let refused = [
        "default",
        "DEFAULTX",
        "DEFAULT DEFAULT",
        "RULE:a",
        "RULE:a/b",
        "RULE:a/b/LU",
        "RULE:a/b/ L",
        "RULE:a/b/l",
        "RULE:a/b/c/",
        "RULE:(a/b/",
        "RULE:a)/b/",
        "RULE:*a/b/",
        "RULE:a**/b/",
        "RULE:[a/b/",
        "rule:a/b/",
        "DEFAULT,RULE",
    ];
    let failing = ["RULE:x/$1/", "RULE:(x)/$/", "RULE:(x)/$a/", "RULE:(x)/${no}/"];
    let answers = ask(refused
        .iter()
        .chain(&failing)
        .map(|rules| question(rules, "x"))
        .collect());
    for (place, (rules, answer)) in refused.iter().chain(&failing).zip(&answers).enumerate() {
        let expected = if place < refused.len() {
            "refused"
        } else {
            "failed"
        };
        assert_eq!(answer, expected, "{rules}");
        assert!(Rules::parse(rules).is_err(), "{rules}");
    }
}

/// What the documents say that is otherwise here: once and not twice, and names that would look alike.
#[test]
fn differences_are_those_that_are_told() {
    let answers = ask(vec![
        question("RULE:.*/x/", "CN=a"),
        format!("certificate {}", hex(&certificate(&cn(b"\xff"), &[]))),
    ]);
    assert_eq!(
        answers,
        [
            format!("= {}", hex(b"xx")),
            format!("= {}", hex("CN=\u{fffd}".as_bytes()))
        ]
    );
    let rules = Rules::parse("RULE:.*/x/").expect("rules");
    assert_eq!(rules.name_of("CN=a"), Ok("x".to_owned()));
    let found = PrincipalMapping::Subject(rules).principal(&certificate(&cn(b"\xff"), &[]));
    assert_eq!(found, Err(NoPrincipal::NotText));
}

fn question(rules: &str, name: &str) -> String {
    let [rules, name] = [rules, name].map(|text| match text {
        "" => "-".to_owned(),
        text => hex(text.as_bytes()),
    });
    format!("rules {rules} {name}")
}

/// One answer for each question.
fn ask(questions: Vec<String>) -> Vec<String> {
    let folder = DataFolder::create("principals");
    let path = folder.path().join("questions");
    fs::write(&path, questions.join("\n") + "\n").expect("writing questions");
    let version = KafkaVersion::Current;
    let mut program = Java::without_archive(version).options("-Xmx128m");
    let classes = artifacts::java_agent(version);
    program.arg("-cp").arg(format!(
        "{}:{}",
        classes.display(),
        artifacts::class_path(version)
    ));
    program.arg("Principals");
    program.stdin(Stdio::from(fs::File::open(&path).expect("the questions")));
    let answers: Vec<String> = cache::run(&mut program).lines().map(str::to_owned).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
