//! A worker of Kafka Connect, which keeps connectors, their offsets and their states in compacted topics: two
//! connectors carry a file's lines to a topic and on to another file, and go on where they were after the worker has
//! started again.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{RIG, assert_keys_are_sealed, readable};
use crate::support::admin_page::{self, Request};
use crate::support::artifacts::{self, KafkaVersion};
use crate::support::java::Java;
use crate::support::launch::{DataFolder, Process};
use crate::support::operations::From;
use crate::support::ports::ReservedPort;
use crate::support::records::Bytes;
use crate::support::rig::{Topic, unique};
use crate::support::wait;

#[test]
fn a_worker_of_kafka_connect_goes_on_where_it_was() {
    let mut worker = Worker::create();
    worker.start();
    let topic = &worker.topic("lines");
    RIG.create(&Topic {
        name: topic,
        partitions: 1,
        replicas: 1,
        configs: &[],
    });
    let (source, sink) = (worker.file(&format!("{KEY}-source")), worker.file("sink"));
    worker.write(&source, 0..100);
    worker.carry("Source", "source", &source);
    worker.carry("Source", "deleted", &worker.file("nothing"));
    worker.carry("Sink", "sink", &sink);
    await_lines(&sink, 100);
    worker.ask("DELETE", "/connectors/deleted", "");
    worker.stop();

    worker.start();
    wait::until("the connectors that were there", LIMIT, || {
        let mut names: Vec<String> = serde_json::from_str(&worker.ask("GET", "/connectors", "")).ok()?;
        names.sort();
        (names == ["sink", "source"]).then_some(())
    });
    worker.write(&source, 100..200);
    await_lines(&sink, 200);
    worker.stop();
    let read = RIG.java.consume(&RIG.options(), &From::partitions(topic, 1), 200);
    let values: Vec<Option<Bytes>> = read.into_iter().map(|record| record.value).collect();
    let lines: Vec<Option<Bytes>> = (0..200)
        .map(|number| Some(line(number).as_str().into()))
        .collect();
    assert!(values == lines, "each line once: {values:?}");

    if RIG.seals() {
        for (topic, partitions) in INTERNAL.into_iter().zip([1, 2, 2]) {
            assert_keys_are_sealed(&worker.topic(topic), partitions);
        }
        let found = readable(&[KEY, VALUE]);
        assert!(found.is_empty(), "readable at rest: {found:?}");
    }
}

/// A worker that is alone in its group.
struct Worker {
    name: String,
    port: ReservedPort,
    folder: DataFolder,
    process: Option<Process>,
}

impl Worker {
    fn create() -> Self {
        Worker {
            name: unique("stable-worker"),
            port: ReservedPort::take(),
            folder: DataFolder::create("connect"),
            process: None,
        }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Adds these lines to a file.
    fn write(&self, file: &Path, numbers: std::ops::Range<u32>) {
        let text: String = numbers.map(|number| line(number) + "\n").collect();
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(file)
            .expect("a file");
        file.write_all(text.as_bytes()).expect("written");
    }

    /// Returns when it can be asked.
    fn start(&mut self) {
        let properties = self.file("worker.properties");
        fs::write(&properties, self.properties()).expect("written");
        let version = KafkaVersion::Current;
        let mut command = Java::of(version).options("-Xmx512m");
        let class_path = format!(
            "{}:{}",
            artifacts::class_path(version),
            artifacts::kafka_connect()
        );
        command.args([
            "-cp",
            &class_path,
            "org.apache.kafka.connect.cli.ConnectDistributed",
        ]);
        command.arg(properties);
        let mut process = Process::start("worker", &command, &self.file("worker.log"));
        wait::until("the worker", LIMIT, || {
            process.assert_running();
            let answer = admin_page::get(self.port.number(), "/connectors");
            answer.filter(|(status, _)| *status == 200)
        });
        self.process = Some(process);
    }

    fn stop(&mut self) {
        self.process.take().expect("it runs").terminate(LIMIT);
    }

    /// Has a connector read a file into the topic of lines, or write it from there.
    fn carry(&self, direction: &str, name: &str, file: &Path) {
        let mut configuration =
            json!({"connector.class": format!("FileStream{direction}"), "tasks.max": "1", "file": file});
        let topics = if direction == "Sink" { "topics" } else { "topic" };
        configuration[topics] = json!(self.topic("lines"));
        let path = format!("/connectors/{name}/config");
        self.ask("PUT", &path, &configuration.to_string());
    }

    /// Again while it says that it is not ready.
    fn ask(&self, method: &str, path: &str, body: &str) -> String {
        wait::until(&format!("{method} {path}"), LIMIT, || {
            let request = Request { method, path, body };
            let (status, text) = admin_page::ask(self.port.number(), &request)?;
            assert!(
                status < 300 || status == 409 || status >= 500,
                "{path}: {status} {text}"
            );
            (status < 300).then_some(text)
        })
    }

    fn properties(&self) -> String {
        let mut text = format!(
            "bootstrap.servers={}\ngroup.id={}\nlisteners=http://127.0.0.1:{}\n",
            RIG.bootstrap(),
            self.name,
            self.port.number()
        );
        for converter in ["key", "value"] {
            text += &format!("{converter}.converter=org.apache.kafka.connect.storage.StringConverter\n");
        }
        for (kept, topic) in ["config", "offset", "status"].iter().zip(INTERNAL) {
            text += &format!("{kept}.storage.topic={}\n", self.topic(topic));
            text += &format!("{kept}.storage.replication.factor=1\n");
        }
        text + "offset.storage.partitions=2\nstatus.storage.partitions=2\nplugin.discovery=service_load\n"
    }
}

fn await_lines(file: &Path, count: usize) {
    wait::until("lines in the other file", LIMIT, || {
        let text = fs::read_to_string(file).ok()?;
        (text.lines().count() >= count).then_some(())
    });
    let text = fs::read_to_string(file).expect("a file");
    let expected: String = (0..u32::try_from(count).expect("a few"))
        .map(|number| line(number) + "\n")
        .collect();
    assert_eq!(text, expected);
}

fn line(number: u32) -> String {
    format!("{VALUE} {number}")
}

/// What a worker keeps for itself: connectors, their offsets, their states.
const INTERNAL: [&str; 3] = ["configs", "offsets", "status"];
/// In keys of offsets: the name of the file.
const KEY: &str = "key-58c2";
/// In every line.
const VALUE: &str = "value-e07d";
const LIMIT: Duration = Duration::from_secs(60);
