//! Handshakes over streams in memory, between both ends as the program has them, and with peers that misbehave.

mod bounds;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::task::{Context, Poll};
use std::time::Instant;

use futures_lite::future::{or, yield_now, zip};
use glommio::LocalExecutor;
use rustls::AlertDescription;

use super::bounds::Handshakes;
use super::*;
use crate::buffers::BufferPool;
use crate::channel::channel;
use crate::config::Limits;
use crate::connection::Shared;
use crate::executor::others_first::OthersFirst;
use crate::executor::platform::Glommio;
use crate::ids::{ById, ClusterId, Id as _};
use crate::keys::KeyOptions;
use crate::pipeline::Pipeline;
use crate::testing::tls_meeting::{Meeting, SERVER, VERSIONS, Version, server_name};
use crate::testing::{MemoryStream, client_hello};
use crate::transport::tls::FailureKind;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

/// A stream that counts what is read of it.
struct Metered {
    stream: MemoryStream,
    read: Rc<Cell<usize>>,
}

impl Stream for Metered {
    fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let read = self.stream.poll_read(context, buffer);
        if let Poll::Ready(Ok(bytes)) = read {
            self.read.set(self.read.get() + bytes);
        }
        read
    }

    fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stream.poll_write(context, bytes)
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(context)
    }

    fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(context)
    }
}

/// Two streams that are connected.
struct Cable {
    client: MemoryStream,
    server: MemoryStream,
}

impl Cable {
    fn new() -> Self {
        Self {
            client: MemoryStream::with_room(0),
            server: MemoryStream::with_room(0),
        }
    }

    /// Carries what is written, `piece` bytes at a time, for as long as `ends` needs.
    async fn carrying<T>(&self, piece: usize, ends: impl Future<Output = T>) -> T {
        let carry = async {
            loop {
                for (from, to) in [(&self.client, &self.server), (&self.server, &self.client)] {
                    from.leave_room(piece);
                    to.arrive(&from.take_written());
                }
                yield_now().await;
            }
        };
        or(ends, carry).await
    }
}

fn run<T>(test: impl Future<Output = T>) -> T {
    LocalExecutor::default().run(test)
}

/// An executor's part of it.
fn executor(limits: Limits, others_first: Rc<OthersFirst>) -> (Handshakes, Shared) {
    let handshakes = Handshakes::new(&limits, limits.handshakes_of_each(1), others_first);
    let pipeline = Pipeline::new(0, limits, &KeyOptions::default(), ById::default());
    let (control, keys) = (channel(1).0, channel(1).0);
    (handshakes, Shared::new(0, pipeline, control, keys))
}

fn main() -> ClusterId {
    ClusterId::from_number(0)
}

/// What became of a handshake.
struct Met {
    accepted: Result<u8, TlsFailure>,
    connected: Result<(), TlsFailure>,
    to_client: Wire<MemoryStream>,
    to_server: Wire<MemoryStream>,
    cable: Cable,
}

/// A server that answers to no name but `known` meets a client, in pieces of so many bytes.
async fn meet(known: &str, piece: usize, server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Met {
    let (cable, (handshakes, shared)) = (Cable::new(), executor(Limits::default(), Rc::default()));
    let (mut to_client, mut to_server) = (
        Wire::plain(cable.server.clone()),
        Wire::plain(cable.client.clone()),
    );
    let choose = |name: Option<&str>| (name == Some(known)).then_some((server, 7));
    let with_client = handshakes.with_client(&shared, 1, main()).expect("the only one");
    let with_broker = handshakes.with_broker(&shared, 1, main());
    let accepting = accept::<Glommio, _, _>(&mut to_client, with_client, LONG, choose);
    let connecting = connect::<Glommio, _>(&mut to_server, with_broker, LONG, client, server_name());
    let (accepted, connected) = cable.carrying(piece, zip(accepting, connecting)).await;
    Met {
        accepted,
        connected,
        to_client,
        to_server,
        cable,
    }
}

/// HANDSHAKE-2
#[test]
fn the_name_that_a_client_asks_for_decides_who_answers() {
    run(async {
        for version in VERSIONS {
            for (mutual, piece) in [(false, 1), (false, 100_000), (true, 700)] {
                let meeting = Meeting {
                    mutual,
                    ..Meeting::of(version)
                };
                let met = meet(SERVER, piece, meeting.server(), meeting.client()).await;
                assert_eq!((met.accepted, met.connected), (Ok(7), Ok(())), "{version:?}");
                for (wire, shows) in [(&met.to_client, mutual), (&met.to_server, true)] {
                    let session = wire.tls().expect("it has TLS").session();
                    assert_eq!(session.peer_certificates().is_some(), shows);
                    assert_eq!(session.held(), (0, 0), "whoever waits holds no buffer");
                }
                let met = meet("other.test", piece, meeting.server(), meeting.client()).await;
                assert_eq!(kind(met.accepted), FailureKind::UnknownName);
                let told = FailureKind::Alert(AlertDescription::UnrecognisedName);
                assert_eq!(kind(met.connected), told);
            }
        }
    });
}

fn kind<T: std::fmt::Debug>(outcome: Result<T, TlsFailure>) -> FailureKind {
    outcome.expect_err("a failure").kind
}

/// HANDSHAKE-3: whichever side finds something wrong, the other is told.
#[test]
fn who_is_refused_is_told_why() {
    run(async {
        for version in VERSIONS {
            let meeting = Meeting::of(version);
            let foreign = Meeting {
                strange: true,
                ..meeting
            };
            let met = meet(SERVER, 100_000, foreign.server(), meeting.client()).await;
            assert_eq!(kind(met.connected), FailureKind::Certificate, "{version:?}");
            let told = FailureKind::Alert(AlertDescription::UnknownCA);
            assert_eq!(kind(met.accepted), told);

            let other = match version {
                Version::Tls12 => Version::Tls13,
                Version::Tls13 => Version::Tls12,
            };
            let met = meet(SERVER, 100_000, meeting.server(), Meeting::of(other).client()).await;
            assert_eq!(kind(met.accepted), FailureKind::Incompatible);
            let told = FailureKind::Alert(AlertDescription::ProtocolVersion);
            assert_eq!(kind(met.connected), told);

            let mutual = Meeting {
                mutual: true,
                ..meeting
            };
            let met = meet(SERVER, 100_000, mutual.server(), meeting.client()).await;
            assert_eq!(kind(met.accepted.clone()), FailureKind::Certificate);
            let told = told_later(met).await;
            assert!(matches!(told, FailureKind::Alert(_)), "{told:?}");
        }
    });
}

/// In TLS 1.3 the client's handshake is over before the server has seen its certificate.
async fn told_later(mut met: Met) -> FailureKind {
    if met.connected.is_err() {
        return kind(met.connected);
    }
    let read = poll_fn(|context| Stream::poll_read(&mut met.to_server, context, &mut [0; 10]));
    let read = met.cable.carrying(100_000, read).await;
    assert!(read.is_err(), "{read:?}");
    let failure = met.to_server.tls().and_then(|tls| tls.session().failure());
    failure.expect("a failure").kind
}

/// What a server says of a peer that sends `bytes`, and then ends if it `ends`; and how much it has read.
async fn hear(bytes: &[u8], ends: bool, at_most: Duration) -> (FailureKind, usize, Vec<u8>) {
    let server = Meeting::of(Version::Tls13).server();
    hear_with(bytes, ends, at_most, |_| Some(server)).await
}

/// The same of a server that is chosen by the name.
async fn hear_with(
    bytes: &[u8],
    ends: bool,
    at_most: Duration,
    choose: impl FnOnce(Option<&str>) -> Option<Arc<ServerConfig>>,
) -> (FailureKind, usize, Vec<u8>) {
    let stream = MemoryStream::with_room(1 << 20);
    stream.arrive(bytes);
    if ends {
        stream.end();
    }
    let read = Rc::new(Cell::new(0));
    let mut wire = Wire::plain(Metered {
        stream: stream.clone(),
        read: Rc::clone(&read),
    });
    let choose = |name: Option<&str>| Some((choose(name)?, ()));
    let (handshakes, shared) = executor(Limits::default(), Rc::default());
    let under_way = handshakes.with_client(&shared, 1, main()).expect("the only one");
    let heard = accept::<Glommio, _, _>(&mut wire, under_way, at_most, choose).await;
    (kind(heard), read.get(), stream.take_written())
}

/// HANDSHAKE-1
#[test]
fn whoever_goes_on_for_ever_has_his_time_and_his_bytes() {
    run(async {
        let begun = Instant::now();
        let (kind, ..) = hear(&[22, 3, 1, 1], false, SHORT).await;
        assert_eq!(kind, FailureKind::TimedOut);
        assert!((SHORT..LONG).contains(&begun.elapsed()));
        // A byte of a ClientHello in each record.
        let head = [1, 0, 0xff, 0xff];
        let drip: Vec<u8> = head
            .into_iter()
            .chain(std::iter::repeat(0))
            .take(60_000)
            .flat_map(|byte| [22, 3, 1, 0, 1, byte])
            .collect();
        let (kind, read, _) = hear(&drip, false, LONG).await;
        assert_eq!(kind, FailureKind::TooMuch);
        assert!(read <= HANDSHAKE_BYTES_MAX, "{read}");
    });
}

/// HANDSHAKE-1: nobody is asked whether he is a host whose name cannot be one (RFC 1035), however long it is.
#[test]
fn names_of_64_kib_are_refused_before_anybody_looks_for_them() {
    run(async {
        let name = |bytes: usize| [b'a', b'.'].into_iter().cycle().take(bytes).collect::<Vec<_>>();
        for (bytes, is_name) in [(253, true), (255, false), (60_001, false), (65_499, false)] {
            let mut asked = None;
            let hello = client_hello(&name(bytes));
            let (kind, read, said) = hear_with(&hello, false, LONG, |name| {
                asked = name.map(str::len);
                None
            })
            .await;
            let expected = match is_name {
                true => FailureKind::UnknownName,
                false => FailureKind::Malformed,
            };
            assert_eq!((kind, asked), (expected, is_name.then_some(bytes)));
            assert!(read <= HANDSHAKE_BYTES_MAX, "{read}");
            assert!(matches!(said[..], [21, 3, _, 0, 2, 2, _]), "{bytes}: {said:?}");
        }
    });
}

#[test]
fn whoever_leaves_or_speaks_something_else_is_known_for_it() {
    run(async {
        let (left, ..) = hear(&[22, 3, 1, 1], true, LONG).await;
        assert_eq!(left, FailureKind::Left);
        let (left, ..) = hear(&[], true, LONG).await;
        assert_eq!(left, FailureKind::Left);
        let (kind, _, said) = hear(b"GET / HTTP/1.1\r\n\r\n", false, LONG).await;
        assert!(matches!(kind, FailureKind::OtherProtocol(_)), "{kind:?}");
        assert!(said.is_empty());
        let (kind, _, said) = hear(&[9; 100], false, LONG).await;
        assert_eq!(kind, FailureKind::Malformed);
        assert!(matches!(said[..], [21, 3, _, 0, 2, 2, _]), "an alert: {said:?}");
    });
}

/// The first request of a client is looked at before a broker is connected to, and taken by the relay afterwards.
#[test]
fn what_is_peeked_at_is_what_the_client_has_said() {
    use crate::executor::platform::Socket as _;
    use crate::testing::simulated::SimulatedSocket;
    run(async {
        let meeting = Meeting::of(Version::Tls13);
        let (socket, stream) = SimulatedSocket::accepted(1 << 20);
        let mut session = TlsSession::client(meeting.client(), server_name()).expect("a session");
        let mut pool = BufferPool::default();
        let mut wire = Wire::plain(socket);
        let (server, (handshakes, shared)) = (meeting.server(), executor(Limits::default(), Rc::default()));
        let under_way = handshakes.with_client(&shared, 1, main()).expect("the only one");
        let accepting = accept::<Glommio, _, _>(&mut wire, under_way, LONG, |_| Some((server, ())));
        let talk = async {
            let mut said = false;
            loop {
                let written = stream.take_written();
                session.room(written.len(), &mut pool).copy_from_slice(&written);
                session.add(written.len());
                if session.shake_hands(&mut pool).expect("they meet") && !said {
                    said = true;
                    session.seal(b"first word", &mut pool).expect("sealed");
                }
                stream.arrive(session.outgoing());
                session.sent(usize::MAX);
                if said {
                    return;
                }
                yield_now().await;
            }
        };
        let (accepted, ()) = zip(accepting, talk).await;
        assert_eq!(accepted, Ok(()));
        let mut beginning = [0; 5];
        for _ in 0..2 {
            assert_eq!(wire.peek(&mut beginning).await.expect("shown"), 5);
            assert_eq!(beginning, *b"first");
        }
        let mut all = [0; 20];
        let read = poll_fn(|context| Stream::poll_read(&mut wire, context, &mut all)).await;
        assert_eq!(
            read.map(|bytes| all[..bytes].to_vec()).expect("read"),
            b"first word"
        );
        stream.end();
        assert_eq!(wire.peek(&mut beginning).await.expect("the end"), 0);
    });
}
