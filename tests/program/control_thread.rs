//! What nobody outside may keep waiting: keys, probes, signals. Neither a broker that answers each Metadata request
//! with another port, as fast as it is asked, nor whoever does not read the log.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest};
use sealwire::config::Config;
use sealwire::server::Running;

use crate::support::configuration::{Cluster, Configuration};
use crate::support::frames::{all_stored, answer, decoded, head, only_broker, read_frame, start_broker};
use crate::support::keystore::Keystore;
use crate::support::launch::DataFolder;
use crate::support::ports::ReservedPort;
use crate::support::raw_client::{RawClient, batch};
use crate::support::{HOST, admin_page, wait};

/// CONTROL-3, SPREAD-2, ERRANDS-2
#[test]
#[expect(clippy::too_many_lines, reason = "one story")]
fn a_restless_broker_keeps_no_other_clusters_keys_nor_probes_waiting() {
    let keystore = Keystore::create(&["orders", "invoices"]);
    let state = DataFolder::create("state");
    let (restless, sound) = (FakeBroker::start(), FakeBroker::start());
    let ports: Vec<ReservedPort> = (0..5).map(|_| ReservedPort::take()).collect();
    let [restless_port, restless_node, sound_port, sound_node, admin] = &ports[..] else {
        panic!("five ports were taken");
    };
    let cluster = |configuration: Configuration,
                   name: &str,
                   broker: &FakeBroker,
                   ports: [&ReservedPort; 2]| {
        configuration.cluster(&Cluster {
            name,
            brokers: vec![broker.address.to_string()],
            port: ports[0].number(),
            nodes: vec![(0, ports[1].number())],
            rules: &format!(
                "[[cluster.{name}.topics]]\nmatch = {{ regex = '^(.*)$' }}\nkms = \"local\"\nkek = \"${{1}}\"\n\
                 domain = \"${{cluster}}/${{topic}}\"\n"
            ),
            more: &format!("state_file = \"{}/{name}.json\"", state.path().display()),
            ..Cluster::default()
        })
    };
    let text = keystore
        .configuration("[runtime]\nexecutors = 2\nself_check = false\n[limits]\ndrain_timeout = \"1s\"");
    let text = cluster(text, "restless", &restless, [restless_port, restless_node]);
    let text = cluster(text, "sound", &sound, [sound_port, sound_node]);
    let text = text.admin(admin.number()).text();
    let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
        .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
    let running = Running::start(config, |kms| kms).expect("the proxy starts");
    let probe = |path: &str| {
        let asked = Instant::now();
        let answer = admin_page::get(admin.number(), path).filter(|(status, _)| *status == 200);
        answer.map(|_| asked.elapsed())
    };
    wait::until("/readyz", EVENTUALLY, || probe("/readyz"));

    let over = AtomicBool::new(false);
    let asked = AtomicU64::new(0);
    let mut client = RawClient::connect(&sound_port.address());
    assert_eq!(client.produce("orders", batch(None, "value")).error_code, 0);
    thread::scope(|scope| {
        for _ in 0..RESTLESS_CLIENTS {
            scope.spawn(|| ask_for_metadata(&restless_port.address(), &over, &asked));
        }
        let ended = Ended(&over);
        let started = Instant::now();
        wait::until("the load", EVENTUALLY, || {
            (asked.load(Ordering::Relaxed) > 100).then_some(())
        });
        let wanted = Instant::now();
        wait::until("a record under a fresh key", EVENTUALLY, || {
            (client.produce("invoices", batch(None, "value")).error_code == 0).then_some(())
        });
        let fresh_key = wanted.elapsed();

        let mut probes = Vec::new();
        let mut connections = Vec::new();
        for _ in 0..SAMPLES {
            probes
                .extend(["/readyz", "/livez"].map(|path| probe(path).expect("a probe is answered with 200")));
            let begun = Instant::now();
            let mut another = RawClient::connect(&sound_port.address());
            assert_eq!(another.produce("orders", batch(None, "value")).error_code, 0);
            connections.push(begun.elapsed());
        }

        keystore.command("disable", &["orders"]);
        let disabled = Instant::now();
        wait::until("that the disabled key seals no more", EVENTUALLY, || {
            (client.produce("orders", batch(None, "value")).error_code != 0).then_some(())
        });
        let revoked = disabled.elapsed();
        assert_eq!(client.produce("invoices", batch(None, "value")).error_code, 0);
        drop(ended);
        let rate = asked.load(Ordering::Relaxed) as f64 / started.elapsed().as_secs_f64();
        let (probes, connections) = (Spread::of(probes), Spread::of(connections));
        let figures = format!(
            "{rate:.0} answers/s; fresh key {fresh_key:?}, revoked {revoked:?}, probes {probes:?}, \
             connections {connections:?}"
        );
        assert!(
            rate > 10.0,
            "the restless cluster's clients get answers: {figures}"
        );
        assert!(fresh_key < REVOKED_WITHIN, "{figures}");
        assert!(revoked < REVOKED_WITHIN, "{figures}");
        assert!(probes.median < PROBED_WITHIN, "{figures}");
        assert!(connections.median < PROBED_WITHIN, "{figures}");
    });
    running.stop().expect("the proxy ends well");
    // What was heard last is kept, and whole.
    let kept = std::fs::read_to_string(state.path().join("restless.json")).expect("a state file");
    let kept: std::collections::BTreeMap<i32, String> = serde_json::from_str(&kept).expect("JSON");
    assert!(kept[&0].starts_with(&format!("{HOST}:")), "{kept:?}");
}

/// LOG-1
#[test]
fn a_log_that_nobody_reads_stops_nothing() {
    let keystore = Keystore::create(&["orders"]);
    let folder = DataFolder::create("proxy");
    let ports: Vec<ReservedPort> = (0..3).map(|_| ReservedPort::take()).collect();
    let [bootstrap, node, admin] = &ports[..] else {
        panic!("three ports were taken");
    };
    let text = keystore
        .configuration("")
        .cluster(&Cluster {
            brokers: vec![format!("{HOST}:1")],
            port: bootstrap.number(),
            nodes: vec![(0, node.number())],
            rules: "[[cluster.main.topics]]\nmatch = \"*\"\nkms = \"local\"\nkek = \"orders\"",
            ..Cluster::default()
        })
        .admin(admin.number())
        .text();
    let configuration = folder.path().join("sealwire.toml");
    std::fs::write(&configuration, text).expect("writing the configuration");
    let (_unread, log) = std::io::pipe().expect("a pipe");
    fill(log.try_clone().expect("the same pipe"));
    let mut program = Command::new(env!("CARGO_BIN_EXE_sealwire"));
    program.args(["run", "--config"]).arg(configuration).stderr(log);
    let mut child = Killed(program.spawn().expect("the program starts"));
    wait::until("/readyz", EVENTUALLY, || {
        admin_page::get(admin.number(), "/readyz").filter(|(status, _)| *status == 200)
    });
    let id = child.0.id().to_string();
    let told = Command::new("kill").args(["-TERM", &id]).status();
    assert!(told.expect("kill").success());
    let status = wait::until("the end", EVENTUALLY, || child.0.try_wait().expect("a child"));
    assert_eq!(status.code(), Some(0));
}

/// Returns when the pipe takes no more; the thread that has found it out waits until it is closed.
fn fill(mut pipe: std::io::PipeWriter) {
    let (written, progress) = std::sync::mpsc::channel();
    thread::spawn(move || while pipe.write_all(&[b'.'; 4096]).is_ok() && written.send(()).is_ok() {});
    while progress.recv_timeout(Duration::from_millis(200)).is_ok() {}
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says that it is over however the test ends, or its threads would go on.
struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long each of a number of tries took.
#[derive(Debug)]
struct Spread {
    median: Duration,
    #[expect(dead_code, reason = "for whoever reads a failure")]
    longest: Duration,
}

impl Spread {
    fn of(mut tries: Vec<Duration>) -> Self {
        tries.sort_unstable();
        Self {
            median: tries[tries.len() / 2],
            longest: tries[tries.len() - 1],
        }
    }
}

/// Asks for metadata again as soon as the answer is there.
fn ask_for_metadata(address: &str, over: &AtomicBool, asked: &AtomicU64) {
    const CORRELATION_ID: [u8; 4] = [0, 0, 0, 7];
    // API key 3, version 1, no client id, no topics.
    let request = [
        &[0, 0, 0, 14, 0, 3, 0, 1][..],
        &CORRELATION_ID,
        &[0xff, 0xff, 0, 0, 0, 0],
    ]
    .concat();
    while !over.load(Ordering::Relaxed) {
        let Ok(mut socket) = TcpStream::connect(address) else {
            continue;
        };
        let patience = socket.set_read_timeout(Some(Duration::from_secs(1)));
        patience.expect("setting a time-out");
        while !over.load(Ordering::Relaxed) && socket.write_all(&request).is_ok() {
            if read_frame(&mut socket).is_none() {
                break;
            }
            asked.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Answers Metadata with itself at another port each time, and Produce as if everything were stored.
struct FakeBroker {
    address: String,
}

impl FakeBroker {
    fn start() -> Self {
        let told = AtomicU64::new(0);
        let address = start_broker(move |socket| serve(socket, &told));
        Self { address }
    }
}

fn serve(mut socket: TcpStream, told: &AtomicU64) {
    while let Some(request) = read_frame(&mut socket) {
        let (api_key, version, correlation_id) = head(&request);
        let answer = if api_key == ApiKey::Metadata as i16 {
            let port = 1024 + told.fetch_add(1, Ordering::Relaxed) % 60_000;
            let port = u16::try_from(port).expect("a port");
            answer::<MetadataRequest>(version, correlation_id, &only_broker(HOST, port))
        } else {
            // None where the proxy has refused them all.
            let topics = decoded::<ProduceRequest>(request, version).topic_data.into_iter();
            let stored = all_stored(topics.map(|topic| topic.name));
            answer::<ProduceRequest>(version, correlation_id, &stored)
        };
        if socket.write_all(&answer).is_err() {
            return;
        }
    }
}

const RESTLESS_CLIENTS: usize = 24;
const SAMPLES: usize = 30;
/// The keystore is looked at once a second, and keys in use are checked once a second; the rest is for a busy machine.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);
/// What a probe may take, and a connection with its first record.
const PROBED_WITHIN: Duration = Duration::from_millis(100);
const EVENTUALLY: Duration = Duration::from_secs(60);
