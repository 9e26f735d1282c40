//! The audit log of the real program: its file, what happens when that is moved away, and while it cannot be written.

mod keys;

use std::fs;
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;

use crate::support::configuration::Cluster;
use crate::support::frames::{answer, head, only_broker, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::raw_client::{RawClient, batch};
use crate::support::{HOST, admin_page, wait};

/// AUDIT-WRITE-1, AUDIT-WRITE-3
#[test]
fn what_is_refused_is_in_the_file_and_a_new_one_begins_where_it_was_moved_away() {
    let mut proxy = Proxy::start("hold", |_| {});
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    assert_eq!(client.produce("unnamed", batch(None, CANARY)).error_code, 44);
    let lines = proxy.lines_with(&proxy.file, "refused");
    assert_eq!(lines[0]["event"], "rules_loaded");
    assert_eq!(
        (&lines[0]["cluster"], &lines[0]["rules"]),
        (&"main".into(), &1.into())
    );
    let refused = &lines[1];
    for (field, expected) in [
        ("cluster", "main"),
        ("operation", "produce"),
        ("topic", "unnamed"),
        ("reason", "no_rule"),
        ("principal", "User:NETWORK"),
    ] {
        assert_eq!(refused[field], expected, "{refused}");
    }
    let client_address = refused["client"].as_str().expect("an address");
    assert!(client_address.starts_with(HOST), "{refused}");
    let time = refused["time"].as_str().expect("a time");
    assert!(time.starts_with("20") && time.ends_with('Z'), "{refused}");
    let mode = fs::metadata(&proxy.file).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!proxy.process.output().contains("sealwire::audit"), "not twice");

    let moved = proxy.file.with_extension("1");
    fs::rename(&proxy.file, &moved).expect("it is moved");
    assert_eq!(client.produce("other", batch(None, CANARY)).error_code, 44);
    let lines = proxy.lines_with(&proxy.file, "refused");
    assert_eq!((lines.len(), &lines[0]["topic"]), (1, &"other".into()));
    for file in [&proxy.file, &moved] {
        assert!(!fs::read_to_string(file).expect("the file").contains(CANARY));
    }
    proxy.process.terminate(EVENTUALLY);
}

/// AUDIT-4, AUDIT-WRITE-2
#[test]
fn while_the_disk_is_full_producers_wait_and_probes_do_not() {
    let mut proxy = Proxy::start("hold", |file| symlink("/dev/full", file).expect("a link"));
    proxy.until_ready(503, "audit log cannot be written");
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    let verdict = client.produce("orders", batch(None, CANARY));
    assert_eq!(verdict.error_code, 19);
    let message = verdict.error_message.expect("a message");
    assert!(message.contains("audit log"), "{message}");
    let (status, _) = admin_page::get(proxy.admin.number(), "/livez").expect("an answer");
    assert_eq!(status, 200);
    let text = admin_page::metrics(proxy.admin.number());
    let metric = |name| admin_page::metric(&text, name, &[]);
    assert_eq!(
        (
            metric("sealwire_audit_held"),
            metric("sealwire_audit_dropped_total")
        ),
        (1.0, 0.0)
    );

    let waiting = std::thread::spawn(move || client.produce("orders", batch(None, CANARY)).error_code);
    wait::until("a request that waits", EVENTUALLY, || {
        let text = admin_page::metrics(proxy.admin.number());
        (admin_page::metric(&text, "sealwire_frames_parked", &["kind=\"produce\""]) == 1.0).then_some(())
    });
    let begun = Instant::now();
    fs::remove_file(&proxy.file).expect("it is removed");
    assert_eq!(waiting.join().expect("an answer"), 0);
    assert!(begun.elapsed() < SEAL_WAIT / 2, "it goes on when it can");
    proxy.until_ready(200, "");
    let mut lines = proxy.lines_with(&proxy.file, "rules_loaded");
    lines.retain(|line| line["event"] != "key_made");
    assert_eq!(lines.len(), 1, "{lines:?}");
    proxy.process.terminate(EVENTUALLY);
}

/// AUDIT-4: a key that is disabled meanwhile goes at once.
#[test]
fn revocations_do_not_wait_for_a_disk_that_is_full() {
    let mut proxy = Proxy::start("hold", |_| {});
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    assert_eq!(client.produce("orders", batch(None, CANARY)).error_code, 0);
    let until = |name: &str, value: f64| {
        wait::until(name, EVENTUALLY, || {
            let text = admin_page::metrics(proxy.admin.number());
            (admin_page::metric(&text, name, &["purpose=\"sealing\""]) == value).then_some(())
        });
    };
    until("sealwire_keys_held", 1.0);
    proxy.lines_with(&proxy.file, "rules_loaded");
    fs::remove_file(&proxy.file).expect("it is removed");
    symlink("/dev/full", &proxy.file).expect("a link");
    assert_eq!(client.produce("unnamed", batch(None, CANARY)).error_code, 44);
    proxy.until_ready(503, "audit log cannot be written");
    proxy.keystore.command("disable", &["orders"]);
    until("sealwire_keys_held", 0.0);
    proxy.until_ready(503, "audit log cannot be written");
    proxy.process.terminate(EVENTUALLY);
}

#[test]
fn standard_output_has_it_where_that_is_wanted() {
    let mut proxy = Proxy::start_to(Some("stdout"), "hold", |_| {});
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    assert_eq!(client.produce("unnamed", batch(None, CANARY)).error_code, 44);
    wait::until("the line", EVENTUALLY, || {
        let log = proxy.process.output();
        let line = log.lines().find(|line| line.contains("no_rule"))?;
        let line: Value = serde_json::from_str(line).expect("JSON");
        (line["event"] == "refused").then_some(())
    });
    proxy.process.terminate(EVENTUALLY);
}

/// AUDIT-6
#[test]
fn while_the_disk_is_full_events_are_lost_and_counted_where_that_is_wanted() {
    let mut proxy = Proxy::start("drop", |file| symlink("/dev/full", file).expect("a link"));
    proxy.until_ready(200, "audit log cannot be written");
    let mut client = RawClient::connect(&proxy.bootstrap.address());
    let mut topics = 0..;
    wait::until("events that are dropped", EVENTUALLY, || {
        for topic in topics.by_ref().take(50) {
            assert_eq!(
                client
                    .produce(&format!("unnamed-{topic}"), batch(None, CANARY))
                    .error_code,
                44
            );
        }
        let text = admin_page::metrics(proxy.admin.number());
        (admin_page::metric(&text, "sealwire_audit_dropped_total", &[]) > 0.0).then_some(())
    });
    assert_eq!(client.produce("orders", batch(None, CANARY)).error_code, 0);
    proxy.process.terminate(EVENTUALLY);
}

/// ACCESS-FILES-1
#[test]
fn a_group_that_changes_is_told_and_one_that_cannot_be_used_is_a_warning() {
    let mut proxy = Proxy::start("hold", |_| {});
    let group = proxy.file.with_file_name(GROUP);
    let set = |text: &str| {
        let new = group.with_extension("new");
        fs::write(&new, text).expect("written");
        fs::rename(&new, &group).expect("renamed");
    };
    let current = || {
        let text = admin_page::metrics(proxy.admin.number());
        let labels = ["kind=\"group\"", "cluster=\"main\"", "name=\"payers\""];
        admin_page::metric(&text, "sealwire_access_file_current", &labels)
    };
    let at_start = &proxy.lines_with(&proxy.file, "rules_loaded")[0];
    assert_eq!(at_start["group"], Value::Null, "{at_start}");
    assert_eq!(current(), 1.0);
    set("User:other\n");
    let changed = wait::until("the group", EVENTUALLY, || {
        let lines = proxy.lines_with(&proxy.file, "rules_loaded");
        lines.into_iter().nth(1)
    });
    for (field, expected) in [
        ("event", Value::from("rules_loaded")),
        ("cluster", "main".into()),
        ("rules", 1.into()),
        ("group", GROUP.into()),
    ] {
        assert_eq!(changed[field], expected, "{changed}");
    }
    set("nonsense\n");
    proxy.until_ready(200, "the file of group");
    assert_eq!(current(), 0.0);
    assert_eq!(proxy.lines_with(&proxy.file, "rules_loaded").len(), 2);
    proxy.process.terminate(EVENTUALLY);
}

/// AUDIT-7: at a disk that is full, and at a pipe whose reader stands still.
#[test]
fn what_could_not_be_written_before_the_end_is_told() {
    let mut held = Vec::new();
    for is_pipe in [false, true] {
        let mut proxy = Proxy::start("hold", |file| match is_pipe {
            false => symlink("/dev/full", file).expect("a link"),
            true => held.push(full_pipe(file)),
        });
        let mut client = RawClient::connect(&proxy.bootstrap.address());
        assert_eq!(client.produce("unnamed", batch(None, CANARY)).error_code, 44);
        proxy.process.terminate(EVENTUALLY);
        let log = proxy.process.output();
        let told = "so many events of the audit log could not be written lost=2";
        assert!(log.contains(told), "a pipe: {is_pipe}: {log}");
    }
}

/// A pipe that takes nothing more for as long as what is returned lives.
fn full_pipe(path: &Path) -> fs::File {
    let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
    assert!(made.success());
    let mut pipe = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .expect("a pipe");
    for length in [4096, 1] {
        while pipe.write_all(&vec![b' '; length]).is_ok() {}
    }
    pipe
}

#[test]
fn a_file_that_cannot_be_opened_keeps_the_program_from_starting() {
    let keystore = Keystore::create(&["orders"]);
    let folder = DataFolder::create("proxy");
    let [bootstrap, node] = [(); 2].map(|()| ReservedPort::take());
    let text = configuration(
        &keystore,
        "no/such/folder/audit",
        "hold",
        "127.0.0.1:1",
        &bootstrap,
        &node,
    );
    let path = folder.path().join("sealwire.toml");
    fs::write(&path, text.text()).expect("writing the configuration");
    let run = Command::new(env!("CARGO_BIN_EXE_sealwire"))
        .args(["run", "--config"])
        .arg(&path)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(!run.status.success() && told.contains("audit.to"), "{told}");
}

/// The program in front of a broker that stores nothing and says that it has.
struct Proxy {
    process: Process,
    bootstrap: ReservedPort,
    admin: ReservedPort,
    file: PathBuf,
    _node: ReservedPort,
    _folder: DataFolder,
    keystore: Keystore,
}

impl Proxy {
    /// `prepare` is given the path of the audit log.
    fn start(on_full: &str, prepare: impl FnOnce(&Path)) -> Self {
        Self::start_to(None, on_full, prepare)
    }

    /// `to`: where, if not that file.
    fn start_to(to: Option<&str>, on_full: &str, prepare: impl FnOnce(&Path)) -> Self {
        let keystore = Keystore::create(&["orders"]);
        let folder = DataFolder::create("proxy");
        let file = folder.path().join("audit.jsonl");
        fs::write(folder.path().join(GROUP), "User:somebody\n").expect("writing the group");
        prepare(&file);
        let [bootstrap, node, admin] = [(); 3].map(|()| ReservedPort::take());
        let broker = start_broker(serve);
        let to = to.unwrap_or(file.to_str().expect("text"));
        let text = configuration(&keystore, to, on_full, &broker, &bootstrap, &node)
            .admin(admin.number())
            .text();
        let path = folder.path().join("sealwire.toml");
        fs::write(&path, text).expect("writing the configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sealwire"));
        command.args(["run", "--config"]).arg(&path);
        let mut process = Process::start("sealwire", &command, &folder.path().join("sealwire.log"));
        wait::until("/livez", EVENTUALLY, || {
            process.assert_running();
            admin_page::get(admin.number(), "/livez").filter(|(status, _)| *status == 200)
        });
        Self {
            process,
            bootstrap,
            admin,
            file,
            _node: node,
            _folder: folder,
            keystore,
        }
    }

    fn until_ready(&self, status: u16, text: &str) {
        wait::until("/readyz", EVENTUALLY, || {
            admin_page::get(self.admin.number(), "/readyz")
                .filter(|(found, body)| *found == status && body.contains(text))
        });
    }

    /// The lines of a file, once there is one of this event.
    fn lines_with(&self, file: &Path, event: &str) -> Vec<Value> {
        wait::until(event, EVENTUALLY, || {
            let text = fs::read_to_string(file).ok()?;
            let lines: Vec<Value> = text
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            lines.iter().any(|line| line["event"] == event).then_some(lines)
        })
    }
}

fn configuration(
    keystore: &Keystore,
    to: &str,
    on_full: &str,
    broker: &str,
    bootstrap: &ReservedPort,
    node: &ReservedPort,
) -> crate::support::configuration::Configuration {
    let tables = format!(
        "[runtime]\nexecutors = 1\n[limits]\nseal_wait = \"{}s\"\n[audit]\nto = {to:?}\non_full = {on_full:?}",
        SEAL_WAIT.as_secs()
    );
    keystore.configuration(&tables).cluster(&Cluster {
        brokers: vec![broker.to_owned()],
        port: bootstrap.number(),
        nodes: vec![(0, node.number())],
        rules: "[cluster.main.groups]\npayers = \"payers\"\n\
                [[cluster.main.topics]]\nmatch = \"orders\"\nkms = \"local\"\nkek = \"orders\"\n",
        ..Cluster::default()
    })
}

fn serve(mut socket: TcpStream) {
    let port = socket.local_addr().expect("an address").port();
    while let Some(request) = read_frame(&mut socket) {
        let (api_key, version, correlation_id) = head(&request);
        let stores = request.windows(6).any(|bytes| bytes == b"orders");
        let answer = if api_key == ApiKey::Metadata as i16 {
            answer::<MetadataRequest>(version, correlation_id, &only_broker(HOST, port))
        } else {
            let topic = TopicProduceResponse::default()
                .with_name(StrBytes::from_static_str("orders").into())
                .with_partition_responses(vec![PartitionProduceResponse::default()]);
            let topics = if stores { vec![topic] } else { Vec::new() };
            let response = ProduceResponse::default().with_responses(topics);
            answer::<ProduceRequest>(version, correlation_id, &response)
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

/// In every value: what must not be found in the file.
const CANARY: &str = "audit-canary-51e0";
/// A group, and the file of its members.
const GROUP: &str = "payers";
/// For how long requests are held.
const SEAL_WAIT: Duration = Duration::from_secs(5);
const EVENTUALLY: Duration = Duration::from_secs(60);
