//! Clients that only read as a member of a group, for what these libraries make of a response: kafkajs, sarama,
//! kafka-go.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use super::artifacts;
use super::launch::{DataFolder, Process};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderLibrary {
    Kafkajs,
    Sarama,
    KafkaGo,
}

/// A running reader; it ends with this.
pub(crate) struct GroupReader {
    pub(crate) library: ReaderLibrary,
    offsets: Arc<Mutex<Vec<i64>>>,
    process: Process,
    _input: ChildStdin,
    _folder: DataFolder,
}

impl GroupReader {
    /// Reads the topic, of one partition, from its beginning, as the only member of `group`.
    pub(crate) fn start(library: ReaderLibrary, bootstrap: &str, topic: &str, group: &str) -> Self {
        let folder = DataFolder::create("reader");
        let mut command = match library {
            ReaderLibrary::Kafkajs => {
                let mut node = Command::new(artifacts::node());
                node.arg(artifacts::clients().join("readers/read.js"));
                node.arg(artifacts::kafkajs());
                node
            }
            ReaderLibrary::Sarama | ReaderLibrary::KafkaGo => {
                let mut reader = Command::new(artifacts::go_reader());
                reader.arg(if library == ReaderLibrary::Sarama {
                    "sarama"
                } else {
                    "kafka-go"
                });
                reader
            }
        };
        command.args([bootstrap, topic, group]);
        let log = folder.path().join("reader.log");
        let (process, input, output) = Process::start_piped(&format!("{library:?}"), &command, &log);
        let offsets = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&offsets);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let offset = line.trim().parse();
                let offset = offset.unwrap_or_else(|error| panic!("{library:?}: {line}: {error}"));
                read.lock().expect("offsets").push(offset);
            }
        });
        GroupReader {
            library,
            offsets,
            process,
            _input: input,
            _folder: folder,
        }
    }

    /// The offsets of the records that it was given so far, in order.
    pub(crate) fn offsets(&mut self) -> Vec<i64> {
        self.process.assert_running();
        self.offsets.lock().expect("offsets").clone()
    }
}
