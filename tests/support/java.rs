//! Kafka's own Java programs: brokers, tools, clients.
//!
//! A JVM that starts Kafka spends most of that time on reading its classes. They are kept as a JVM has them in memory
//! (class data sharing): a broker is started once for that, and every other program maps what it has left. A JVM to
//! which the archive does not fit starts without it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::artifacts::{self, KafkaVersion};
use super::broker_properties::Login;
use super::cache;
use super::cluster::KafkaCluster;

/// How programs of one version are started.
#[derive(Debug, Clone)]
pub(crate) struct Java {
    pub(crate) version: KafkaVersion,
    archive: Option<String>,
    /// Whether it compiles what runs for long as well as it can.
    runs_long: bool,
    /// System properties with their values.
    properties: Vec<String>,
}

impl Java {
    pub(crate) fn of(version: KafkaVersion) -> Self {
        let archive = archive(version);
        Java {
            version,
            archive: Some(format!("-XX:SharedArchiveFile={}", archive.display())),
            runs_long: false,
            properties: Vec::new(),
        }
    }

    /// As brokers and clients are in production: quick after a while.
    pub(crate) fn that_runs_long(version: KafkaVersion) -> Self {
        Java {
            runs_long: true,
            ..Self::of(version)
        }
    }

    /// Whatever class path it has.
    pub(crate) fn without_archive(version: KafkaVersion) -> Self {
        Java {
            version,
            archive: None,
            runs_long: false,
            properties: Vec::new(),
        }
    }

    /// With a system property, beside those that it has.
    pub(crate) fn with_property(mut self, name: &str, value: &str) -> Self {
        self.properties.push(format!("-D{name}={value}"));
        self
    }

    fn that_archives(version: KafkaVersion, archive: &Path) -> Self {
        Java {
            version,
            archive: Some(format!("-XX:ArchiveClassesAtExit={}", archive.display())),
            runs_long: false,
            properties: Vec::new(),
        }
    }

    /// `java` with its options: quick to start, rather than quick after a while, if it does not run long. What the JVM
    /// has to say of archives would stand among the program's output.
    pub(crate) fn options(&self, heap: &str) -> Command {
        let mut command = Command::new("java");
        command.args(["-XX:+UseSerialGC", "-Xlog:disable", heap]);
        if !self.runs_long {
            command.arg("-XX:TieredStopAtLevel=1");
        }
        command.args(&self.archive).args(&self.properties);
        command
    }

    /// One of Kafka's command-line tools, ready for its arguments.
    pub(crate) fn tool(&self, class: &str) -> Command {
        let mut command = self.options("-Xmx256m");
        command
            .arg("-cp")
            .arg(artifacts::class_path(self.version))
            .arg(class);
        command
    }
}

/// An archive is of one class path, word for word, and of what is added behind it.
fn archive(version: KafkaVersion) -> PathBuf {
    let name = format!("kafka-classes-{}", version.number());
    let folder = cache::prepare(&name, &artifacts::class_path(version), |folder| {
        let java = Java::that_archives(version, &folder.join(ARCHIVE));
        KafkaCluster::start_with(java, 1, &[Login::Plaintext], &[]).stop();
    });
    folder.join(ARCHIVE)
}

const ARCHIVE: &str = "classes.jsa";
