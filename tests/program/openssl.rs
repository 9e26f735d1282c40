//! The program's TLS sessions beside OpenSSL's, in both roles: what one seals the other opens, also when either changes
//! its keys, and each end is told from a goodbye.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use sealwire::testing::TlsPeer;
use sealwire::testing::tls_meeting::{CLIENT, Meeting, SERVER, VERSIONS, Version, server_name, write_files};

use crate::support::launch::{DataFolder, Process};
use crate::support::ports::ReservedPort;
use crate::support::{HOST, debian, wait};

const SOON: Duration = Duration::from_secs(30);

/// OpenSSL's program at the other end.
pub(crate) struct OpenSsl {
    pub(crate) process: Process,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What it has printed and nobody has looked for.
    printed: Vec<u8>,
    _folder: DataFolder,
}

impl OpenSsl {
    pub(crate) fn start(program: &str, meeting: Meeting, more: impl FnOnce(&Path, &mut Command)) -> Self {
        let openssl = debian::installed("openssl", "version", &["openssl"]);
        let folder = DataFolder::create("openssl");
        let path = folder.path().to_owned();
        write_files(&path);
        let mut command = Command::new(openssl);
        command.arg(program);
        command.arg(match meeting.version {
            Version::Tls12 => "-tls1_2",
            Version::Tls13 => "-tls1_3",
        });
        command.arg("-CAfile").arg(path.join("ca.pem"));
        more(&path, &mut command);
        let log = path.join("openssl.log");
        let (process, input, mut printed) = Process::start_piped("openssl", &command, &log);
        let (sender, output) = channel();
        thread::spawn(move || {
            let mut chunk = vec![0; 64 * 1024];
            while let Ok(bytes @ 1..) = printed.read(&mut chunk) {
                if sender.send(chunk[..bytes].to_vec()).is_err() {
                    return;
                }
            }
        });
        Self {
            process,
            input,
            output,
            printed: Vec::new(),
            _folder: folder,
        }
    }

    /// Everything that is typed, it sends; but for a `K` at the beginning, which changes its keys. (Other letters at
    /// the beginning mean something as well: Q, q, R, r, c, P, S.)
    pub(crate) fn types(&mut self, text: &[u8]) {
        self.input.write_all(text).expect("openssl reads its input");
        self.input.flush().expect("openssl reads its input");
    }

    /// Reads on until it has printed `text`.
    fn prints(&mut self, text: &[u8]) {
        loop {
            // Where keys have changed it says this, in the middle of a line if need be.
            let note = b"Read BLOCK\n";
            while let Some(at) = self.printed.windows(note.len()).position(|window| window == note) {
                self.printed.drain(at..at + note.len());
            }
            let found = self.printed.windows(text.len()).position(|window| window == text);
            if let Some(at) = found {
                self.printed.drain(..at + text.len());
                return;
            }
            let Ok(chunk) = self.output.recv_timeout(SOON) else {
                panic!("it prints no more: {}", self.process.output_end());
            };
            self.printed.extend(chunk);
        }
    }
}

fn reads(peer: &mut TlsPeer, expected: &[u8]) {
    let mut read = vec![0; expected.len()];
    peer.read_exact(&mut read).expect("it is sent");
    assert!(read == expected);
}

fn line(letter: u8, length: usize) -> Vec<u8> {
    let mut line = vec![letter; length];
    line.push(b'\n');
    line
}

/// Lines both ways, long and short, with keys changed by both, as often as there are lines: `changed` says that OpenSSL
/// has done so, the nth time.
fn talk(
    peer: &mut TlsPeer,
    openssl: &mut OpenSsl,
    version: Version,
    changed: impl Fn(&mut TlsPeer, &mut OpenSsl, usize),
) {
    for (round, length) in (1..).zip([1, 100, 20_000, 300_000, 5, 16_384]) {
        if version == Version::Tls13 {
            // With an answer, or without.
            openssl.types(if round % 2 == 0 { b"K\n" } else { b"k\n" });
            changed(peer, openssl, round);
        }
        let (question, answer) = (line(b'x', length), line(b'a', length));
        openssl.types(&question);
        reads(peer, &question);
        peer.write_all(&answer).expect("sealed");
        openssl.prints(&answer);
    }
}

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

#[test]
fn a_client_of_openssls_is_met_and_understood() {
    for meeting in meetings() {
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let mut openssl = OpenSsl::start("s_client", meeting, |path, command| {
            command.args(["-brief", "-verify_return_error", "-connect", &address]);
            command.args(["-servername", SERVER, "-verify_hostname", SERVER]);
            if meeting.mutual {
                let (certificate, key) = files_of(path, CLIENT);
                command.arg("-cert").arg(certificate).arg("-key").arg(key);
            }
        });
        let (socket, _) = listener.accept().expect("openssl connects");
        let (mut peer, name) = TlsPeer::accept(socket, meeting.server()).expect("they meet");
        assert_eq!(name.as_deref(), Some(SERVER));
        talk(&mut peer, &mut openssl, meeting.version, |_, openssl, times| {
            wait::until("a change of keys", SOON, || {
                let said = openssl.process.output().matches("KEYUPDATE").count();
                (said >= times).then_some(())
            });
        });
        // It says goodbye at the end of its input.
        let OpenSsl {
            mut process, input, ..
        } = openssl;
        drop(input);
        assert_eq!(peer.read(&mut [0; 10]).expect("the end"), 0);
        assert!(peer.has_ended());
        peer.close().expect("closed");
        process.kill();
    }
}

#[test]
fn a_server_of_openssls_is_met_and_understood() {
    for meeting in meetings() {
        let port = ReservedPort::take();
        let mut openssl = OpenSsl::start("s_server", meeting, |path, command| {
            let (certificate, key) = files_of(path, SERVER);
            command.args(["-naccept", "1", "-accept", &port.address()]);
            command.arg("-cert").arg(certificate).arg("-key").arg(key);
            if meeting.mutual {
                command.args(["-Verify", "1", "-verify_return_error"]);
            }
        });
        let socket = wait::until("openssl to listen", SOON, || {
            TcpStream::connect(port.address()).ok()
        });
        let mut peer = TlsPeer::connect(socket, meeting.client(), server_name()).expect("they meet");
        peer.write_all(b"hello\n").expect("sealed");
        openssl.prints(b"hello\n");
        talk(&mut peer, &mut openssl, meeting.version, |peer, openssl, _| {
            // It looks at what is typed before it looks at what has come.
            peer.write_all(b"then this\n").expect("sealed");
            openssl.prints(b"then this\n");
        });
        peer.close().expect("closed");
        // It is told so: "DONE" is printed where a peer says goodbye, "ERROR" where it only goes.
        openssl.prints(b"DONE");
        assert_eq!(peer.read(&mut [0; 10]).expect("the end"), 0);
    }
}

fn files_of(path: &Path, name: &str) -> (PathBuf, PathBuf) {
    (path.join(format!("{name}.pem")), path.join(format!("{name}.key")))
}

/// Each is told what is wrong with it.
#[test]
fn openssl_is_told_why_it_is_refused() {
    for version in VERSIONS {
        let mutual = Meeting {
            mutual: true,
            ..Meeting::of(version)
        };
        let listener = TcpListener::bind((HOST, 0)).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let openssl = OpenSsl::start("s_client", mutual, |_, command| {
            command.args(["-brief", "-connect", &address, "-servername", SERVER]);
        });
        let (socket, _) = listener.accept().expect("openssl connects");
        let refused = TlsPeer::accept(socket, mutual.server())
            .err()
            .expect("it has no certificate");
        assert!(refused.to_string().contains("no certificates"), "{refused}");
        let told = "alert certificate required";
        wait::until(told, SOON, || {
            openssl.process.output().contains(told).then_some(())
        });
    }
}
