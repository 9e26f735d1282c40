//! A client program that is driven by JSON lines: `tests/clients/PROTOCOL.md`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::artifacts::{self, KafkaVersion};
use super::java::Java;
use super::launch::{DataFolder, Process};

/// Which client library a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Library {
    /// Apache Kafka's own, in the broker's version.
    Java(KafkaVersion),
    /// Applications of Kafka Streams instead of clients.
    KafkaStreams,
    /// The same, in a version that is newer than every broker here.
    NewerJava,
    /// librdkafka, by confluent-kafka.
    Librdkafka,
    Aiokafka,
    FranzGo,
    Kafkajs,
}

/// A running client program. Calls may be made from several threads at once.
pub(crate) struct Agent {
    library: Library,
    commands: Mutex<ChildStdin>,
    waiting: Arc<Mutex<HashMap<u64, Sender<Answer>>>>,
    next_id: AtomicU64,
    process: Mutex<Process>,
    _folder: DataFolder,
}

impl Agent {
    pub(crate) fn start(library: Library) -> Self {
        let folder = DataFolder::create("agent");
        let command = command(library, &folder);
        let log = folder.path().join("agent.log");
        let (process, commands, answers) = Process::start_piped(&format!("{library:?}"), &command, &log);
        let waiting = Arc::new(Mutex::new(HashMap::new()));
        let inbox = Arc::clone(&waiting);
        thread::spawn(move || deliver_answers(answers, &inbox));
        Agent {
            library,
            commands: Mutex::new(commands),
            waiting,
            next_id: AtomicU64::new(1),
            process: Mutex::new(process),
            _folder: folder,
        }
    }

    pub(crate) fn library(&self) -> Library {
        self.library
    }

    /// Runs one operation. `Err` is what the client says when it fails; a client that dies or does not answer within
    /// `limit` fails the test.
    pub(crate) fn call<T: DeserializeOwned>(
        &self,
        op: &str,
        body: Value,
        limit: Duration,
    ) -> Result<T, String> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = channel();
        self.waiting.lock().expect("answers").insert(id, sender);
        let mut command = body;
        command["id"] = json!(id);
        command["op"] = json!(op);
        let mut line = command.to_string();
        line.push('\n');
        let written = self.commands.lock().expect("commands").write_all(line.as_bytes());
        if let Err(error) = written {
            panic!(
                "{op}: {:?} takes no commands: {error}\n{}",
                self.library,
                self.log_end()
            );
        }
        let answer: Answer = match answer.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                panic!(
                    "{op}: no answer from {:?} within {limit:?}\n{}",
                    self.library,
                    self.log_end()
                )
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{op}: {:?} has ended\n{}", self.library, self.log_end())
            }
        };
        if !answer.ok {
            return Err(answer.error.unwrap_or_default());
        }
        let result = answer.result.unwrap_or(Value::Null);
        Ok(serde_json::from_value(result).unwrap_or_else(|error| panic!("{op}: unexpected answer: {error}")))
    }

    /// What the client's library had to say.
    pub(crate) fn log(&self) -> String {
        self.process.lock().expect("process").output()
    }

    /// The end of that.
    pub(crate) fn log_end(&self) -> String {
        self.process.lock().expect("process").output_end()
    }
}

fn command(library: Library, folder: &DataFolder) -> Command {
    match library {
        Library::Java(version) => {
            let agent = artifacts::java_agent(version);
            let class_path = format!("{}:{}", artifacts::class_path(version), agent.display());
            java(&Java::of(version), &class_path, folder, "Agent")
        }
        Library::KafkaStreams => {
            let version = KafkaVersion::Current;
            let class_path = format!(
                "{}:{}",
                artifacts::class_path(version),
                artifacts::kafka_streams()
            );
            java(&Java::of(version), &class_path, folder, "KTables")
        }
        Library::NewerJava => {
            let client = artifacts::newer_java_client();
            let agent = artifacts::java_agent(KafkaVersion::Current);
            let rest = artifacts::class_path(KafkaVersion::Current);
            let class_path = format!("{}/*:{}:{rest}", client.display(), agent.display());
            let java_of_any = Java::without_archive(KafkaVersion::Current);
            java(&java_of_any, &class_path, folder, "Agent")
        }
        Library::Librdkafka | Library::Aiokafka => {
            let mut command = Command::new(artifacts::python());
            command.arg(artifacts::clients().join("python/agent.py"));
            command.arg(if library == Library::Librdkafka {
                "confluent"
            } else {
                "aiokafka"
            });
            command.env("PYTHONDONTWRITEBYTECODE", "1");
            command
        }
        Library::FranzGo => Command::new(artifacts::go_agent()),
        Library::Kafkajs => {
            let mut command = Command::new(artifacts::node());
            command.arg(artifacts::clients().join("node/agent.js"));
            command.arg(artifacts::kafkajs());
            command
        }
    }
}

fn java(java: &Java, class_path: &str, folder: &DataFolder, class: &str) -> Command {
    let mut command = java.options("-Xmx768m");
    command.args(quiet_logging(java.version, folder));
    command.args(["-cp", class_path, class]);
    command
}

/// Warnings and errors only, to standard error.
fn quiet_logging(version: KafkaVersion, folder: &DataFolder) -> [String; 1] {
    let (file, text, option) = match version {
        KafkaVersion::Current => ("log4j2.properties", LOG4J2, "-Dlog4j2.configurationFile="),
        KafkaVersion::Older => ("log4j.properties", LOG4J, "-Dlog4j.configuration=file:"),
    };
    let path = folder.path().join(file);
    std::fs::write(&path, text).expect("writing the logging configuration");
    [format!("{option}{}", path.display())]
}

fn deliver_answers(answers: ChildStdout, waiting: &Mutex<HashMap<u64, Sender<Answer>>>) {
    for line in BufReader::new(answers).lines() {
        let Ok(line) = line else { break };
        // A line that is no answer is dropped: the call that waits for it then fails by its deadline, with the log.
        if let Ok(answer) = serde_json::from_str::<Answer>(&line) {
            let sender = waiting.lock().expect("answers").remove(&answer.id);
            if let Some(sender) = sender {
                let _ = sender.send(answer);
            }
        }
    }
    // Dropping the senders tells every call that waits.
    waiting.lock().expect("answers").clear();
}

#[derive(Deserialize)]
struct Answer {
    id: u64,
    ok: bool,
    result: Option<Value>,
    error: Option<String>,
}

const LOG4J2: &str = "\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
appender.out.type = Console
appender.out.name = OUT
appender.out.target = SYSTEM_ERR
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
";

const LOG4J: &str = "\
log4j.rootLogger=WARN, OUT
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.target=System.err
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
";
