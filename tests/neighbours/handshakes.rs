//! What a client waits while a crowd shakes hands, all of it at once, with a certificate that makes that slow.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use sealwire::config::Config;
use sealwire::server::Running;
use sealwire::testing::authority::Wanted;
use sealwire::transport::suites::TlsChoice;
use sealwire::transport::tls_client::{Trust, UpstreamTls};

use super::broker::{Broker, HOST, NODE};
use super::siege::{ExecutorClock, Neighbour, RULES, give_way, go_first};
use super::support::configuration::{Cluster, ListenerTls, listener};
use super::support::keystore::Keystore;
use super::support::launch::DataFolder;
use super::support::ports::ReservedPort;
use super::support::wait;
use super::{ALONE, TRIES};

/// HANDSHAKES-1
#[test]
fn a_neighbour_waits_for_a_few_handshakes_however_many_there_are() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let crowded = Crowded::start();
    go_first();
    let clock = wait::until("an executor", PATIENCE, || {
        ExecutorClock::of(std::process::id()).ok()
    });
    let mut too_long = Vec::new();
    for _ in 0..TRIES {
        let (longest, each) = crowded.besiege(&clock);
        if longest <= FEW * each + CLOCK_STEP {
            too_long.clear();
            break;
        }
        too_long.push(format!("{longest:?}, where each took {each:?}"));
    }
    crowded.running.stop().expect("the proxy ends well");
    assert!(
        too_long.is_empty(),
        "longer than {FEW} handshakes each time: {too_long:?}"
    );
}

/// A proxy with one executor and two ports.
struct Crowded {
    running: Running,
    /// Of TLS, for the crowd.
    crowded: ReservedPort,
    quiet: ReservedPort,
    hello: Vec<u8>,
    _kept: (Keystore, DataFolder, [ReservedPort; 2], Broker),
}

impl Crowded {
    fn start() -> Self {
        let (keystore, folder) = (Keystore::create(&["quickstart"]), DataFolder::create("crowd"));
        let broker = Broker::start().expect("a broker");
        let [crowded, quiet, crowded_node, quiet_node] = [(); 4].map(|()| ReservedPort::take());
        let wanted = Wanted {
            is_rsa: true,
            ..Wanted::for_hosts(&[HOST])
        };
        let files = wanted.self_signed().write(folder.path(), "server");
        let tls = ListenerTls {
            certificate: files.certificate,
            key: files.key,
            client_ca: None,
            more: String::new(),
        };
        let nodes = [(NODE, quiet_node.number())];
        let beside = listener("main", "quiet", "network", HOST, quiet.number(), &nodes);
        let text = keystore
            .configuration(
                "[runtime]\nexecutors = 1\nself_check = false\n\
                 [limits]\ndrain_timeout = \"1s\"\nhandshakes_per_second_max = 1000000",
            )
            .cluster(&Cluster {
                brokers: vec![broker.address()],
                port: crowded.number(),
                nodes: vec![(NODE, crowded_node.number())],
                rules: &format!("{beside}{RULES}"),
                tls: Some(&tls),
                ..Cluster::default()
            })
            .text();
        let config = Config::from_toml_text(&text, Path::new("/sealwire.toml"))
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        Self {
            running: Running::start(config, |kms| kms).expect("the proxy starts"),
            crowded,
            quiet,
            hello: hello(),
            _kept: (keystore, folder, [crowded_node, quiet_node], broker),
        }
    }

    /// How long the executor ran at most while a neighbour waited for one answer, and for each of a crowd's handshakes.
    fn besiege(&self, clock: &ExecutorClock) -> (Duration, Duration) {
        let mut neighbour = Neighbour::connect(&self.quiet.address(), clock).expect("it is served");
        let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let before = clock.now().expect("it runs");
        thread::scope(|scope| {
            let crowd = scope.spawn(|| {
                give_way();
                while !over.load(Ordering::Relaxed) {
                    let met = shake_hands(&self.crowded.address(), &self.hello)?;
                    answered.fetch_add(met, Ordering::Relaxed);
                }
                io::Result::Ok(())
            });
            let watched =
                neighbour.watch(|| answered.load(Ordering::Relaxed) < ROUNDS * CROWD && !crowd.is_finished());
            over.store(true, Ordering::Relaxed);
            watched.expect("it is served");
            crowd.join().expect("no panic").expect("it is served");
        });
        let ran = clock.now().expect("it runs").saturating_sub(before);
        let answered = u32::try_from(answered.into_inner()).expect("a few thousand");
        (neighbour.executor_ran, ran / answered)
    }
}

/// What a client says first.
fn hello() -> Vec<u8> {
    let tls = UpstreamTls {
        trust: Trust::Anybody,
        server_name: None,
        client: None,
        choice: TlsChoice::default(),
    };
    let set = tls.load(SystemTime::now()).expect("it has no files");
    let mut session = set.session(HOST).expect("a name");
    let mut hello = Vec::new();
    session.write_tls(&mut hello).expect("into memory");
    hello
}

/// A crowd of clients that all say hello at once, and leave when they are answered; says how many were.
fn shake_hands(address: &str, hello: &[u8]) -> io::Result<usize> {
    let connect = || {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(socket)
    };
    let mut crowd = (0..CROWD).map(|_| connect()).collect::<io::Result<Vec<_>>>()?;
    for socket in &mut crowd {
        socket.write_all(hello)?;
    }
    for socket in &mut crowd {
        socket.read_exact(&mut [0; 100])?;
    }
    Ok(crowd.len())
}

const CROWD: usize = 100;
const ROUNDS: usize = 10;
/// An exchange has a few steps, of which each may meet one.
const FEW: u32 = 12;
/// The kernel's clock of a thread that runs goes in such steps.
const CLOCK_STEP: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
