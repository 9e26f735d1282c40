//! Brokers at which the proxy logs in for its clients, and which lie, or hang, while it does.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::support::wait;

/// What becomes of the proxy's login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// The broker wants the password hashed so often.
    Iterations(u32),
    /// Its nonce is another one.
    Nonce,
    /// It does not know the password.
    Signature,
    /// It lets the proxy in at once.
    Shortcut,
    /// What it says is longer than anybody's.
    Long,
    /// It is no answer.
    Garbage,
    /// It ends the connection.
    End,
    /// It says nothing more.
    Silence,
    /// It refuses the login, as brokers do.
    Refusal,
}

impl Lie {
    pub(super) fn serve(self, mut socket: TcpStream) {
        let mut steps = 0;
        while let Some(request) = read_frame(&mut socket) {
            let (key, version, id) = head(&request);
            let answer = match key {
                ApiVersionsRequest::KEY => answer::<ApiVersionsRequest>(version, id, &everything()),
                SaslHandshakeRequest::KEY => {
                    answer::<SaslHandshakeRequest>(version, id, &SaslHandshakeResponse::default())
                }
                SaslAuthenticateRequest::KEY => {
                    steps += 1;
                    let request = decoded::<SaslAuthenticateRequest>(request, version);
                    match self.answer(steps, &request.auth_bytes) {
                        Some(response) => answer::<SaslAuthenticateRequest>(version, id, &response),
                        None if self == Self::Garbage => vec![0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff],
                        None if self == Self::Silence => return thread::sleep(Duration::from_secs(60)),
                        None => return,
                    }
                }
                // Nothing comes of whoever is not logged in.
                other => panic!("{self:?}: the proxy has asked for {other}"),
            };
            if socket.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(self, step: usize, said: &[u8]) -> Option<SaslAuthenticateResponse> {
        let said = String::from_utf8_lossy(said);
        let nonce = said.split_once(",r=").map_or("", |(_, nonce)| nonce);
        let challenge = |nonce: &str, iterations: u32| format!("r={nonce},s=c2FsdHNhbHQ=,i={iterations}");
        let text = match (self, step) {
            (Self::Iterations(number), 1) => challenge(&format!("{nonce}x"), number),
            (Self::Nonce, 1) => challenge("somethingelse", 4096),
            (Self::Signature, 1) => challenge(&format!("{nonce}x"), 4096),
            (Self::Signature, _) => "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=".to_owned(),
            (Self::Shortcut, _) => String::new(),
            (Self::Long, _) => "x".repeat(1 << 20),
            (Self::Refusal, _) => {
                let refused = SaslAuthenticateResponse::default().with_error_code(58);
                return Some(refused.with_error_message(Some(StrBytes::from_static_str(BROKERS_WORDS))));
            }
            _ => return None,
        };
        Some(SaslAuthenticateResponse::default().with_auth_bytes(text.into_bytes().into()))
    }

    /// What the proxy's log says of it.
    fn fault(self) -> &'static str {
        match self {
            Self::Iterations(_) => "it wants the password hashed",
            Self::Nonce => "its nonce does not go on from ours",
            Self::Signature => "it does not know the password",
            Self::Shortcut => "a first message of a broker without a nonce",
            Self::Long | Self::Garbage => "cannot be read",
            Self::End | Self::Silence => "the broker does not answer the login",
            Self::Refusal => BROKERS_WORDS,
        }
    }
}

/// SERVE-BROKER-LOGIN-1, SERVE-BROKER-LOGIN-2, SERVE-BROKER-LOGIN-3, INITIATOR-1, INITIATOR-2
#[test]
fn a_broker_that_lies_or_hangs_while_the_proxy_logs_in_is_left_without_a_word_to_the_client() {
    let lies = [
        Lie::Iterations(1 << 31),
        Lie::Iterations(1),
        Lie::Nonce,
        Lie::Signature,
        Lie::Shortcut,
        Lie::Long,
        Lie::Garbage,
        Lie::End,
        Lie::Silence,
        Lie::Refusal,
    ];
    thread::scope(|scope| {
        for lie in lies {
            scope.spawn(move || try_lie(lie));
        }
    });
}

fn try_lie(lie: Lie) {
    let brokers = start_broker(move |socket| lie.serve(socket));
    let account = "[[account]]\nprincipals = [\"User:reader\"]\nmechanism = \"SCRAM-SHA-256\"\n\
        user = \"at-the-broker\"\npassword = \"hunter2\"\n";
    let keys = "kind = \"per_principal\"\naccounts = FILE";
    let mut scene = Scene::before(brokers, Arc::default(), Some((keys, account)));
    let begun = Instant::now();
    let (_client, told) = scene.try_to_log_in("reader", PASSWORD);
    assert!(begun.elapsed() < Duration::from_secs(20), "{lie:?}");
    let logins = |result: &str| {
        let label = format!("result={result:?}");
        scene.proxy.metric("sealwire_broker_logins_total", &[&label])
    };
    let (accepted, refused, failed) = (logins("accepted"), logins("refused"), logins("failed"));
    if lie == Lie::Refusal {
        let told = told.expect("an answer");
        let text = told.error_message.expect("a text").to_string();
        assert_eq!(told.error_code, 58);
        assert!(
            !text.contains(BROKERS_WORDS) && !text.contains("at-the-broker"),
            "{text}"
        );
        assert_eq!((accepted, refused, failed), (0.0, 1.0, 0.0));
    } else {
        assert!(told.is_none(), "{lie:?}: {told:?}");
        assert_eq!((accepted, refused, failed), (0.0, 0.0, 1.0), "{lie:?}");
    }
    let what = format!("the log tells of {lie:?}");
    wait::until(&what, Duration::from_secs(10), || {
        scene.proxy.output().contains(lie.fault()).then_some(())
    });
    assert!(!scene.proxy.output().contains("hunter2"));
    scene.proxy.terminate();
}

/// STANDING-5: by the wire.
#[test]
fn a_broker_that_refuses_keeps_nobody_out_of_the_others() {
    let refuses = start_broker(|socket| Lie::Refusal.serve(socket));
    let liar = Arc::<Liar>::default();
    let broker = Arc::clone(&liar);
    let takes = start_broker(move |socket| broker.serve(socket));
    let account = "[[account]]\nprincipals = [\"User:reader\"]\nmechanism = \"PLAIN\"\n\
        user = \"at-the-broker\"\npassword = \"hunter2\"\n";
    let keys = "kind = \"per_principal\"\naccounts = FILE";
    let brokers = format!("{refuses},{takes}");
    let mut scene = Scene::before(brokers, Arc::clone(&liar), Some((keys, account)));
    let begun = Instant::now();
    // Connections begin with one and the other.
    let codes: Vec<i16> = (0..20).map(|_| scene.log_in("reader", PASSWORD).1).collect();
    let taken = codes.iter().filter(|code| **code == 0).count();
    assert_eq!(
        (taken, liar.logins.load(Ordering::Acquire)),
        (10, 10),
        "{codes:?}"
    );
    let refused = scene
        .proxy
        .metric("sealwire_broker_logins_total", &["result=\"refused\""]);
    let seconds = begun.elapsed().as_secs_f64();
    assert!(
        refused <= 1.0 + (1.0 + seconds).log2(),
        "{refused} in {seconds} s"
    );
    scene.proxy.terminate();
}

const BROKERS_WORDS: &str = "at-the-broker is locked";
