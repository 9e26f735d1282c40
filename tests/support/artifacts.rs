//! What has to be fetched or compiled before a test can run: Kafka's jars, the Java, Python, Go and Node.js clients,
//! kcat.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{cache, debian, maven};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KafkaVersion {
    /// 4.3.1, the newest that resolves whole.
    Current,
    /// 3.9.2, the last line that knows the old message formats.
    Older,
}

impl KafkaVersion {
    pub(crate) fn number(self) -> &'static str {
        match self {
            KafkaVersion::Current => "4.3.1",
            KafkaVersion::Older => "3.9.2",
        }
    }
}

/// The class path of broker, tools and Java client: `FOLDER/*`.
pub(crate) fn class_path(version: KafkaVersion) -> String {
    let jars = jars(version).unwrap_or_else(|error| panic!("{error}"));
    format!("{}/*", jars.display())
}

/// The Java client of a version that is newer than every broker here: one jar, which goes before those of
/// [`KafkaVersion::Current`].
pub(crate) fn newer_java_client() -> PathBuf {
    cache::prepare("kafka-clients-newer", NEWER_CLIENT, |folder| {
        let mut maven = Command::new("mvn");
        maven.args(["-B", "-ntp", "-q", "dependency:copy"]);
        maven.arg(format!("-Dartifact={NEWER_CLIENT}"));
        maven.arg(format!("-DoutputDirectory={}", folder.display()));
        cache::run(&mut maven);
    })
}

/// Folder of our own compiled Java classes.
pub(crate) fn java_agent(version: KafkaVersion) -> PathBuf {
    let sources = sources("java", "java");
    let recipe = version.number().to_owned() + &contents(&sources);
    cache::prepare(&format!("java-agent-{}", version.number()), &recipe, |folder| {
        let mut javac = Command::new("javac");
        javac
            .arg("-cp")
            .arg(class_path(version))
            .arg("-d")
            .arg(folder)
            .args(&sources);
        cache::run(&mut javac);
    })
}

/// The interpreter of an environment with confluent-kafka and aiokafka.
pub(crate) fn python() -> PathBuf {
    let requirements = clients().join("python/requirements.txt");
    let recipe = contents(std::slice::from_ref(&requirements));
    let environment = cache::prepare("python", &recipe, |folder| {
        cache::run(Command::new("python3").arg("-m").arg("venv").arg(folder));
        cache::run(
            Command::new(folder.join("bin/python"))
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    "-r",
                ])
                .arg(&requirements),
        );
    });
    environment.join("bin/python")
}

/// The franz-go client program.
pub(crate) fn go_agent() -> PathBuf {
    go_program("go", "go-agent")
}

/// The program of readers on sarama and kafka-go.
pub(crate) fn go_reader() -> PathBuf {
    go_program("readers", "go-reader")
}

fn go_program(source: &str, name: &str) -> PathBuf {
    let mut inputs = sources(source, "go");
    inputs.extend(["go.mod", "go.sum"].map(|file| clients().join(source).join(file)));
    let folder = cache::prepare(name, &contents(&inputs), |folder| {
        let mut build = Command::new("go");
        build
            .current_dir(clients().join(source))
            .env("GOTOOLCHAIN", "local");
        build
            .args(["build", "-mod=readonly", "-o"])
            .arg(folder.join("agent"))
            .arg(".");
        cache::run(&mut build);
    });
    folder.join("agent")
}

/// The second emulator of AWS: a program of ours around crates that are not linked to anything else.
pub(crate) fn fakecloud() -> PathBuf {
    let source = clients().join("aws");
    let inputs = ["Cargo.toml", "Cargo.lock", "src/main.rs"].map(|file| source.join(file));
    let folder = cache::prepare("aws-emulator", &contents(&inputs), |folder| {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--locked", "--manifest-path"]);
        build.arg(source.join("Cargo.toml"));
        let target = folder.join("target");
        build.arg("--target-dir").arg(&target);
        cache::run(&mut build);
        // The rest is many times as large.
        fs::rename(target.join("debug/aws-emulator"), folder.join("aws-emulator")).expect("it was built");
        fs::remove_dir_all(target).expect("removed");
    });
    folder.join("aws-emulator")
}

/// The folder of kafkajs, which needs no other package.
pub(crate) fn kafkajs() -> PathBuf {
    node();
    let folder = cache::prepare("kafkajs", KAFKAJS, |folder| {
        let mut install = Command::new("npm");
        install.current_dir(folder);
        install.args([
            "install",
            "--silent",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
            ".",
        ]);
        cache::run(install.arg(KAFKAJS));
    });
    folder.join("node_modules/kafkajs")
}

/// Node.js, for kafkajs.
pub(crate) fn node() -> &'static str {
    debian::installed("node", "--version", &["nodejs", "npm"])
}

/// kcat, the command-line client.
pub(crate) fn kcat() -> &'static str {
    debian::installed("kcat", "-V", &["kcat"])
}

const KAFKAJS: &str = "kafkajs@2.2.4";

const NEWER_CLIENT: &str = "org.apache.kafka:kafka-clients:4.4.0";

pub(crate) fn clients() -> PathBuf {
    cache::workspace().join("tests/clients")
}

/// The folder of the jars of broker, tools and Java client; or what Maven says of why they cannot be had.
pub(crate) fn jars(version: KafkaVersion) -> Result<PathBuf, String> {
    let number = version.number();
    let of_kafka = |name: &str| format!("org.apache.kafka:{name}:{number}");
    let tools = of_kafka("kafka-tools");
    let without = [
        "org.apache.kafka:connect-runtime",
        "com.fasterxml.jackson.jakarta.rs:*",
    ];
    let mut dependencies = vec![
        maven::dependency(&of_kafka("kafka_2.13")),
        maven::dependency_without(&tools, &without),
    ];
    // Kafka 4 logs through log4j 2, whose binding has to be named: Kafka brings slf4j 1.7. Kafka 3.9 brings reload4j.
    if version == KafkaVersion::Current {
        let binding = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4";
        dependencies.push(maven::dependency(binding));
    }
    maven::jars(&format!("kafka-{number}"), &dependencies)
}

/// The class path of Kafka Streams, with our program on it: what stands behind [`class_path`].
pub(crate) fn kafka_streams() -> String {
    let version = KafkaVersion::Current;
    let libraries = application("kafka-streams", &["kafka-streams"]);
    let sources = sources("streams", "java");
    let agent = java_agent(version);
    let class_path = format!("{}:{libraries}", agent.display());
    let recipe = class_path.clone() + &contents(&sources);
    let folder = cache::prepare("java-streams", &recipe, |folder| {
        let behind = format!("{}:{class_path}", self::class_path(version));
        let mut javac = Command::new("javac");
        javac.args(["-cp", &behind, "-d"]).arg(folder).args(&sources);
        cache::run(&mut javac);
    });
    format!("{}:{class_path}", folder.display())
}

/// The class path of a worker of Kafka Connect, and of connectors that read and write files: what stands behind
/// [`class_path`].
pub(crate) fn kafka_connect() -> String {
    application("kafka-connect", &["connect-runtime", "connect-file"])
}

fn application(name: &str, packages: &[&str]) -> String {
    let number = KafkaVersion::Current.number();
    let package = |package: &&str| maven::dependency(&format!("org.apache.kafka:{package}:{number}"));
    let dependencies: Vec<String> = packages.iter().map(package).collect();
    let jars = maven::jars(&format!("{name}-{number}"), &dependencies);
    let jars = jars.unwrap_or_else(|error| panic!("{error}"));
    format!("{}/*", jars.display())
}

fn sources(folder: &str, extension: &str) -> Vec<PathBuf> {
    let folder = clients().join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("listing the client sources").path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    files.sort();
    files
}

fn contents(files: &[impl AsRef<Path>]) -> String {
    files
        .iter()
        .map(|file| {
            let file = file.as_ref();
            fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
        })
        .collect()
}
