//! Clients that only read as a member of a group, for what these libraries make of a response: kafkajs, sarama,
//! kafka-go.

use std::io::{BufRead, BufReader};
use std::process::{ChildStdin, Command};
use std::sync::{Arc, Mutex};
use std::thread;

use crc_fast::CrcAlgorithm;

use super::artifacts;
use super::launch::{DataFolder, Process};
use super::records::{Bytes, Consumed, Header};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReaderLibrary {
    Kafkajs,
    Sarama,
    KafkaGo,
}

/// A running reader; it ends with this.
pub(crate) struct GroupReader {
    pub(crate) library: ReaderLibrary,
    lines: Arc<Mutex<Vec<String>>>,
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
        let lines = Arc::new(Mutex::new(Vec::new()));
        let read = Arc::clone(&lines);
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                read.lock().expect("lines").push(line);
            }
        });
        GroupReader {
            library,
            lines,
            process,
            _input: input,
            _folder: folder,
        }
    }

    /// The offsets of the records that it was given so far, in order.
    pub(crate) fn offsets(&mut self) -> Vec<i64> {
        let offset = |line: String| {
            let offset = line.split(' ').next().and_then(|offset| offset.parse().ok());
            offset.unwrap_or_else(|| panic!("{line}"))
        };
        self.lines().into_iter().map(offset).collect()
    }

    /// The same as they were printed: sarama and kafka-go say with each offset what [`checksum`] says.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        self.process.assert_running();
        self.lines.lock().expect("lines").clone()
    }
}

/// Of all bytes of a record's key, value and headers.
pub(crate) fn checksum(record: &Consumed) -> u64 {
    let bytes = |field: &Option<Bytes>| field.as_ref().map_or(Vec::new(), |bytes| bytes.0.clone());
    let mut whole = [bytes(&record.key), bytes(&record.value)].concat();
    for Header(name, value) in &record.headers {
        whole.extend(name.as_bytes());
        whole.extend(bytes(value));
    }
    crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, &whole)
}
