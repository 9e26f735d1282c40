//! SCRAM beside Kafka's own classes: what is kept of a password, and logins of Kafka's client. No broker runs.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use sealwire::identity::sasl::Failure;
use sealwire::identity::sasl::credentials::Credentials;
use sealwire::identity::sasl::scram::{Challenge, ServerNonce};
use sealwire::identity::sasl::verifier::{Mechanism, Verifier};

use crate::support::artifacts::{self, KafkaVersion};
use crate::support::java::Java;

const MECHANISMS: [Mechanism; 2] = [Mechanism::Sha256, Mechanism::Sha512];
/// Users and passwords that have gone wrong somewhere.
const HARD: [(&str, &str); 6] = [
    ("alice", "secret"),
    ("a=b,c", "p,a=s"),
    ("Grüße", "注文\u{a0}x"),
    ("o\u{308}", "\u{f6}\u{ad}\u{fb01}"),
    ("a b%20", " "),
    ("#x", "ß"),
];

/// The text of a credentials file is what a broker keeps.
#[test]
fn what_is_kept_is_what_kafka_keeps() {
    let mut kafka = Kafka::start();
    let mut credentials = Credentials::new().expect("randomness");
    for (user, password) in HARD {
        for (mechanism, iterations) in MECHANISMS.into_iter().zip([4096, 9000]) {
            let verifier = Verifier::new(mechanism, password.as_bytes(), iterations).expect("randomness");
            credentials.set(user, mechanism, verifier).expect("a name");
        }
    }
    let passwords = |user: &str| {
        HARD.into_iter()
            .find(|(name, _)| *name == user)
            .expect("one of ours")
            .1
    };
    let mut compared = 0;
    for (user, mechanism, verifier) in credentials.users() {
        let ours = verifier.to_string();
        let salt = ours.strip_prefix("salt=").and_then(|text| text.split_once(','));
        let salt = base64(salt.expect("a salt").0);
        let (password, iterations) = (hex(passwords(user).as_bytes()), verifier.iterations());
        let theirs = kafka.ask(&format!(
            "credential {mechanism} {password} {} {iterations}",
            hex(&salt)
        ));
        assert_eq!(theirs, Answer::Says(ours.into_bytes()), "{user}");
        compared += 1;
    }
    assert_eq!(compared, 2 * HARD.len());
}

#[test]
fn kafkas_client_logs_in_by_the_right_password_and_by_no_other() {
    let mut kafka = Kafka::start();
    let mut credentials = Credentials::new().expect("randomness");
    for (user, password) in HARD {
        for mechanism in MECHANISMS {
            let verifier = Verifier::new(mechanism, password.as_bytes(), 4096).expect("randomness");
            credentials.set(user, mechanism, verifier).expect("a name");
        }
    }
    for mechanism in MECHANISMS {
        for (user, password) in HARD {
            let answer = kafka.log_in(mechanism, user, password, &credentials);
            let answer = answer.unwrap_or_else(|failure| panic!("{user}: {failure}"));
            assert_eq!(kafka.next(&answer), Answer::Done, "{user}");
            let mut altered = answer;
            altered[10] ^= 1;
            kafka
                .log_in(mechanism, user, password, &credentials)
                .expect("again");
            assert_eq!(kafka.next(&altered), Answer::Failed, "it checks what we say");
            let wrong = kafka.log_in(mechanism, user, "other", &credentials);
            assert_eq!(wrong, Err(Failure::WrongPassword), "{user}");
        }
        let unknown = kafka.log_in(mechanism, "mallory", "secret", &credentials);
        assert_eq!(unknown, Err(Failure::UnknownUser));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Says(Vec<u8>),
    Done,
    Failed,
}

/// Kafka's classes in a JVM, until it is dropped.
struct Kafka {
    program: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Kafka {
    fn start() -> Self {
        let version = KafkaVersion::Current;
        let classes = artifacts::java_agent(version);
        let class_path = format!("{}:{}", classes.display(), artifacts::class_path(version));
        let mut program = Java::without_archive(version).options("-Xmx128m");
        program.args(["-cp", &class_path, "Scram"]);
        let program = program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = program.spawn().expect("java starts");
        Self {
            questions: program.stdin.take().expect("it is piped"),
            answers: BufReader::new(program.stdout.take().expect("it is piped")),
            program,
        }
    }

    fn ask(&mut self, question: &str) -> Answer {
        writeln!(self.questions, "{question}").expect("it reads");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("it answers");
        match answer.trim_end() {
            "done" => Answer::Done,
            "failed" => Answer::Failed,
            said => Answer::Says(unhex(said.strip_prefix("= ").expect("a message"))),
        }
    }

    fn next(&mut self, message: &[u8]) -> Answer {
        self.ask(&format!("next {}", hex(message)))
    }

    /// Up to the message that lets the client in.
    fn log_in(
        &mut self,
        mechanism: Mechanism,
        user: &str,
        password: &str,
        credentials: &Credentials,
    ) -> Result<Vec<u8>, Failure> {
        let [hex_user, password] = [user, password].map(|text| hex(text.as_bytes()));
        let Answer::Says(first) = self.ask(&format!("open {mechanism} {hex_user} {password}")) else {
            panic!("a client speaks first")
        };
        let nonce = ServerNonce::new().expect("randomness");
        let challenge = Challenge::new(mechanism, &first, credentials, &nonce)?;
        assert_eq!(challenge.user(), user);
        let Answer::Says(last) = self.next(challenge.message()) else {
            panic!("a client takes the challenge")
        };
        challenge.finish(&last)
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hexadecimal digits")
        })
        .collect()
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD
        .decode(text)
        .expect("base64")
}
