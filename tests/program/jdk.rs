//! The program's TLS sessions beside the JDK's, in both roles: what one seals the other opens, also where the JDK
//! changes its keys, and has ours changed, because they have sealed as much as `jdk.tls.keyLimits` lets them, and where
//! ours have sealed as much as we let them.

use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

use sealwire::testing::TlsPeer;
use sealwire::testing::tls_meeting::{CLIENT, Meeting, SERVER, VERSIONS, Version, server_name, write_files};

use crate::support::HOST;
use crate::support::artifacts::{self, KafkaVersion};
use crate::support::java::Java;
use crate::support::launch::{DataFolder, Process};

/// A JVM that sends back what it is sent: `tests/clients/java/TlsEcho.java`.
struct Jdk {
    process: Process,
    printed: Box<dyn std::io::BufRead>,
    _folder: DataFolder,
}

impl Jdk {
    fn start(role: &str, meeting: Meeting, identity: &str, more: &[&str]) -> Self {
        let folder = DataFolder::create("jdk");
        let path = folder.path();
        write_files(path);
        let limits = path.join("limits.security");
        // Where ours are to be seen, the JDK has none.
        let text = match meeting.records_per_key {
            Some(_) => "",
            None => KEY_LIMITS,
        };
        fs::write(&limits, text).expect("it is written");
        let mut command = Java::without_archive(KafkaVersion::Current).options("-Xmx128m");
        command.arg(format!("-Djava.security.properties={}", limits.display()));
        command.arg("-Djavax.net.debug=ssl:handshake");
        command
            .arg("-cp")
            .arg(artifacts::java_agent(KafkaVersion::Current));
        command.args(["TlsEcho", role]);
        command.arg(match meeting.version {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        });
        command.arg(path).arg(identity).args(more);
        let (process, _, printed) = Process::start_piped("jdk", &command, &path.join("jdk.log"));
        Self {
            process,
            printed: Box::new(BufReader::new(printed)),
            _folder: folder,
        }
    }

    /// How often it has said this.
    fn said(&self, text: &str) -> usize {
        self.process.output().matches(text).count()
    }
}

/// Keys of the JDK's wear out, without certificates of clients and with them; and then ours.
fn meetings() -> impl Iterator<Item = Meeting> {
    VERSIONS.into_iter().flat_map(|version| {
        let plain = Meeting::of(version);
        let mutual = Meeting {
            mutual: true,
            ..plain
        };
        // Of a TLS 1.2 connection it would be the end.
        let updating = Meeting {
            records_per_key: (version == Version::Tls13).then_some(6),
            ..plain
        };
        [plain, mutual, updating]
    })
}

/// Sends blocks of many lengths, and compares what comes back with them; then each end says goodbye.
fn talk(mut peer: TlsPeer, jdk: &Jdk, meeting: Meeting) {
    for (round, length) in (0_u8..).zip([1, 100, 20_000, 200_000, 5, 16_384, 16_385, 150_000, 200_000]) {
        let sent: Vec<u8> = (round..=250).cycle().take(length).collect();
        peer.write_all(&sent).expect("sealed");
        let mut read = vec![0; length];
        peer.read_exact(&mut read)
            .unwrap_or_else(|error| panic!("{error}: {}", jdk.process.output_end()));
        assert!(read == sent, "{meeting:?}, {length} bytes");
    }
    peer.close().expect("closed");
    assert_eq!(peer.read(&mut [0; 10]).expect("the end"), 0);
    assert!(peer.has_ended(), "it has said goodbye");
    let (sent, received) = (jdk.said("Produced KeyUpdate"), jdk.said("Consuming KeyUpdate"));
    if meeting.version == Version::Tls12 {
        return assert_eq!((sent, received), (0, 0));
    }
    // 600 KB each way, of which a key of the JDK's may seal or open 64 KiB, and one of ours seal 96. Whoever changes a
    // key has the other change his: the JDK asks until it is answered, once for all with what is sealed next.
    let are_enough = match meeting.records_per_key {
        Some(_) => received >= 5 && sent <= received,
        None => sent >= 5 && received >= 2,
    };
    assert!(are_enough, "{meeting:?}: {sent} sent, {received} received");
}

#[test]
fn a_client_of_the_jdks_is_met_and_understood() {
    for meeting in meetings() {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port().to_string();
        let identity = if meeting.mutual { CLIENT } else { "none" };
        let jdk = Jdk::start("client", meeting, identity, &[SERVER, &port]);
        let (socket, _) = listener.accept().expect("the JDK connects");
        let (peer, name) = TlsPeer::accept(socket, meeting.server()).expect("they meet");
        assert_eq!(name.as_deref(), Some(SERVER));
        talk(peer, &jdk, meeting);
    }
}

#[test]
fn a_server_of_the_jdks_is_met_and_understood() {
    for meeting in meetings() {
        let demanded = if meeting.mutual { "demanded" } else { "open" };
        let mut jdk = Jdk::start("server", meeting, SERVER, &[demanded]);
        let mut port = String::new();
        jdk.printed.read_line(&mut port).expect("it listens");
        let socket = TcpStream::connect((HOST, port.trim().parse().expect("a port"))).expect("it listens");
        let peer = TlsPeer::connect(socket, meeting.client(), server_name()).expect("they meet");
        talk(peer, &jdk, meeting);
    }
}

const KEY_LIMITS: &str =
    "jdk.tls.keyLimits=AES/GCM/NoPadding KeyUpdate 2^16, ChaCha20-Poly1305 KeyUpdate 2^16\n";
