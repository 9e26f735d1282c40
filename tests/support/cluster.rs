//! A Kafka cluster of one or three brokers that are controllers as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use regex::bytes::Regex;

use super::artifacts::{self, KafkaVersion};
use super::broker_properties::{BrokerProperties, Listener, Login, PASSWORD, USER};
use super::cache;
use super::java::Java;
use super::launch::{DataFolder, Process};
use super::ports::ReservedPort;
use super::wait;

pub(crate) struct KafkaCluster {
    java: Java,
    logins: Vec<Login>,
    brokers: Vec<Broker>,
    /// Properties for every broker.
    more: Vec<(String, String)>,
    /// After the brokers, so that it goes when they have gone.
    _folder: DataFolder,
}

struct Broker {
    node: i32,
    /// In the order of the cluster's logins.
    ports: Mutex<Vec<ReservedPort>>,
    controller: ReservedPort,
    folder: PathBuf,
    /// `None` after it was killed.
    process: Mutex<Option<Process>>,
}

impl KafkaCluster {
    /// `logins`: a listener for each, [`Login::Plaintext`] among them. `more`: properties for every broker.
    pub(crate) fn start(
        version: KafkaVersion,
        brokers: i32,
        logins: &[Login],
        more: &[(&str, &str)],
    ) -> Self {
        Self::start_with(Java::of(version), brokers, logins, more)
    }

    pub(crate) fn start_with(java: Java, brokers: i32, logins: &[Login], more: &[(&str, &str)]) -> Self {
        assert!(
            logins.contains(&Login::Plaintext),
            "brokers talk to each other in plain text"
        );
        let folder = DataFolder::create_in_memory("kafka");
        let more: Vec<(String, String)> = more
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let places: Vec<Broker> = (1..=brokers)
            .map(|node| Broker {
                node,
                ports: Mutex::new(logins.iter().map(|login| port_of(*login)).collect()),
                controller: ReservedPort::take(),
                folder: folder.path().join(format!("broker-{node}")),
                process: Mutex::new(None),
            })
            .collect();
        let cluster = KafkaCluster {
            java,
            logins: logins.to_owned(),
            brokers: places,
            more,
            _folder: folder,
        };
        let voters = cluster.voters();
        std::thread::scope(|scope| {
            for broker in &cluster.brokers {
                broker.configure(logins, &voters, &cluster.more);
                scope.spawn(|| broker.format(&cluster.java, logins));
            }
        });
        let heap = if brokers == 1 { "-Xmx512m" } else { "-Xmx384m" };
        for broker in &cluster.brokers {
            broker.launch(&cluster.java, heap);
        }
        for broker in &cluster.brokers {
            broker.await_start();
        }
        cluster
    }

    pub(crate) fn version(&self) -> KafkaVersion {
        self.java.version
    }

    /// Of one broker, while it runs.
    pub(crate) fn process_id(&self, node: i32) -> Option<u32> {
        self.broker(node).process().as_ref().map(Process::id)
    }

    pub(crate) fn nodes(&self) -> Vec<i32> {
        self.brokers.iter().map(|broker| broker.node).collect()
    }

    /// Addresses of the listener without SASL, separated by commas.
    pub(crate) fn bootstrap(&self) -> String {
        self.bootstrap_of(Login::Plaintext)
    }

    pub(crate) fn bootstrap_of(&self, login: Login) -> String {
        let place = self
            .logins
            .iter()
            .position(|known| *known == login)
            .expect("the cluster has that listener");
        let addresses: Vec<String> = self
            .brokers
            .iter()
            .map(|broker| broker.ports()[place].address())
            .collect();
        addresses.join(",")
    }

    /// The address of one broker's listener without SASL.
    pub(crate) fn address_of(&self, node: i32) -> String {
        let place = self.logins.iter().position(|login| *login == Login::Plaintext);
        self.broker(node).ports()[place.expect("there is one")].address()
    }

    /// SIGTERM to all, and waits until they have ended in order.
    pub(crate) fn stop(self) {
        for broker in &self.brokers {
            if let Some(mut process) = broker.process().take() {
                process.terminate(STOP_LIMIT);
            }
        }
    }

    /// SIGKILL, as a crash would be.
    pub(crate) fn kill_broker(&self, node: i32) {
        let process = self.broker(node).process().take();
        process.expect("the broker runs").kill();
    }

    /// Starts a broker that was killed, on the same ports and data; returns when it is ready.
    pub(crate) fn restart_broker(&self, node: i32) {
        let broker = self.broker(node);
        assert!(broker.process().is_none(), "broker {node} runs already");
        broker.launch(&self.java, "-Xmx384m");
        broker.await_start();
    }

    /// Stops two brokers, and starts each at the other's address; returns when both are ready.
    pub(crate) fn swap_addresses(&self, one: i32, other: i32) {
        let brokers = [one, other].map(|node| self.broker(node));
        for node in [one, other] {
            self.kill_broker(node);
        }
        let [first, second] = brokers;
        std::mem::swap(&mut *first.ports(), &mut *second.ports());
        let voters = self.voters();
        for broker in brokers {
            broker.configure(&self.logins, &voters, &self.more);
            broker.launch(&self.java, "-Xmx384m");
        }
        for broker in brokers {
            broker.await_start();
        }
    }

    /// The files in the brokers' data folders that hold these bytes as they are. What a codec has compressed is found
    /// by [`Self::dump_log`] only.
    pub(crate) fn canary_in_data_dir(&self, canary: &[u8]) -> Vec<PathBuf> {
        let text = std::str::from_utf8(canary).expect("canaries are text");
        let pattern = Regex::new(&regex::escape(text)).expect("an escaped text is a pattern");
        let mut found = Vec::new();
        for broker in &self.brokers {
            for file in files(&broker.data()) {
                if let Ok(bytes) = fs::read(&file)
                    && pattern.is_match(&bytes)
                {
                    found.push(file);
                }
            }
        }
        found
    }

    /// Everything that Kafka's own tool reads from the log segments of the topics whose names start with `prefix`:
    /// batches decompressed, keys and values in clear, header keys.
    pub(crate) fn dump_log(&self, prefix: &str) -> String {
        let segments = self.segments(prefix);
        assert!(
            !segments.is_empty(),
            "no topic has a name that starts with {prefix}"
        );
        let names: Vec<String> = segments.iter().map(|file| file.display().to_string()).collect();
        let mut command = self.tool(match self.version() {
            KafkaVersion::Current => "org.apache.kafka.tools.DumpLogSegments",
            KafkaVersion::Older => "kafka.tools.DumpLogSegments",
        });
        command
            .args(["--print-data-log", "--deep-iteration", "--files"])
            .arg(names.join(","));
        cache::run(&mut command)
    }

    /// Log segments of the topics whose names start with `prefix`.
    pub(crate) fn segments(&self, prefix: &str) -> Vec<PathBuf> {
        let of_topic = |file: &PathBuf| {
            let partition = file.parent().and_then(Path::file_name).unwrap_or_default();
            partition.to_string_lossy().starts_with(prefix)
                && file.extension().is_some_and(|extension| extension == "log")
        };
        self.brokers
            .iter()
            .flat_map(|broker| files(&broker.data()))
            .filter(of_topic)
            .collect()
    }

    /// What the brokers have logged.
    pub(crate) fn output(&self) -> String {
        self.brokers
            .iter()
            .filter_map(|broker| broker.process().as_ref().map(Process::output))
            .collect()
    }

    /// One of Kafka's command-line tools, ready for its arguments.
    pub(crate) fn tool(&self, class: &str) -> Command {
        self.java.tool(class)
    }

    /// Node and controller port of every broker.
    fn voters(&self) -> Vec<(i32, u16)> {
        self.brokers
            .iter()
            .map(|broker| (broker.node, broker.controller.number()))
            .collect()
    }

    fn broker(&self, node: i32) -> &Broker {
        self.brokers
            .iter()
            .find(|broker| broker.node == node)
            .expect("the cluster has that node")
    }
}

impl Broker {
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ports(&self) -> MutexGuard<'_, Vec<ReservedPort>> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn properties(&self) -> PathBuf {
        self.folder.join("server.properties")
    }

    /// Writes `server.properties`.
    fn configure(&self, logins: &[Login], voters: &[(i32, u16)], more: &[(String, String)]) {
        fs::create_dir_all(&self.folder).expect("creating a broker's folder");
        let listeners: Vec<Listener> = logins
            .iter()
            .zip(&*self.ports())
            .map(|(login, port)| (*login, port.number()))
            .collect();
        let properties = BrokerProperties {
            node: self.node,
            data: &self.data(),
            listeners: &listeners,
            controller_port: self.controller.number(),
            voters,
            more,
        };
        fs::write(self.properties(), properties.text()).expect("writing server.properties");
    }

    fn format(&self, java: &Java, logins: &[Login]) {
        let logging = match java.version {
            KafkaVersion::Current => ("log4j2.properties", LOG4J2),
            KafkaVersion::Older => ("log4j.properties", LOG4J),
        };
        fs::write(self.folder.join(logging.0), logging.1).expect("writing the logging configuration");

        let mut command = java.tool("kafka.tools.StorageTool");
        command.args(["format", "-t", CLUSTER_ID]);
        command.arg("-c").arg(self.properties());
        if [Login::Sasl, Login::SaslTls]
            .iter()
            .any(|login| logins.contains(login))
        {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command
                    .arg("--add-scram")
                    .arg(format!("{mechanism}=[name={USER},password={PASSWORD}]"));
            }
        }
        cache::run(&mut command);
    }

    fn launch(&self, java: &Java, heap: &str) {
        let mut command = java.options(heap);
        command.arg(match java.version {
            KafkaVersion::Current => {
                format!(
                    "-Dlog4j2.configurationFile={}",
                    self.folder.join("log4j2.properties").display()
                )
            }
            KafkaVersion::Older => {
                format!(
                    "-Dlog4j.configuration=file:{}",
                    self.folder.join("log4j.properties").display()
                )
            }
        });
        command
            .arg("-cp")
            .arg(artifacts::class_path(java.version))
            .arg("kafka.Kafka");
        command.arg(self.properties());
        let log = self.folder.join("broker.log");
        // What an earlier start has said would be taken for this one's.
        let _ = fs::remove_file(&log);
        *self.process() = Some(Process::start(&format!("broker {}", self.node), &command, &log));
    }

    fn await_start(&self) {
        let mut process = self.process();
        let process = process.as_mut().expect("the broker was launched");
        wait::until("Kafka Server started", START_LIMIT, || {
            process.assert_running();
            process.output().contains("Kafka Server started").then_some(())
        });
    }
}

fn port_of(login: Login) -> ReservedPort {
    match login {
        Login::Relayed { port, .. } => ReservedPort::at(port),
        _ => ReservedPort::take(),
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // Kafka deletes and renames files while we look.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found
}

/// Two cores that eight JVMs want at once make the slowest start.
const START_LIMIT: Duration = Duration::from_secs(90);

const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Any 16 bytes in Base64 do.
const CLUSTER_ID: &str = "c2VhbHdpcmUtdGVzdC0xMQ";

const LOG4J2: &str = "\
rootLogger.level = WARN
rootLogger.appenderRef.out.ref = OUT
logger.server.name = kafka.server
logger.server.level = INFO
logger.authorizer.name = kafka.authorizer.logger
logger.authorizer.level = ${sys:sealwire.test.authorizer:-WARN}
appender.out.type = Console
appender.out.name = OUT
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{HH:mm:ss.SSS} %p %c{1} %m%n
";

const LOG4J: &str = "\
log4j.rootLogger=WARN, OUT
log4j.logger.kafka.server=INFO
log4j.appender.OUT=org.apache.log4j.ConsoleAppender
log4j.appender.OUT.layout=org.apache.log4j.PatternLayout
log4j.appender.OUT.layout.ConversionPattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n
";
