//! The session itself: rustls's connection, and the buffers around it.

use std::io;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, CommonState, ServerConfig};

use super::failure::{FailureKind, TlsFailure};
use super::hello::{Hello, ServerNameIndication, UNRECOGNIZED_NAME};
use super::window::Window;
use super::work::{Outcome, RECORD_PLAINTEXT_BYTES_MAX, Wish, Work};
use crate::buffers::BufferPool;
use crate::protocol::preface::Preface;

/// One end of a connection; see the module.
pub(crate) struct TlsSession {
    role: Role,
    /// Ciphertext that came and is not used up.
    incoming: Window,
    /// So many bytes of it rustls has looked at, and found no whole record in them.
    quiet: usize,
    /// Plaintext of the last record that was opened, and that did not fit where it was wanted.
    opened: Window,
    /// Ciphertext that is to be sent.
    outgoing: Window,
    /// The peer has said that it sends no more.
    said_goodbye: bool,
    /// We have said so, or have ended it by an alert.
    ended: bool,
    failure: Option<TlsFailure>,
    /// What has come since the handshake, less what was opened of it (TLS-5).
    barren: usize,
}

enum Role {
    /// A server that has not seen the whole ClientHello.
    Listening(Box<Hello>),
    Server(Box<UnbufferedServerConnection>),
    Client(Box<UnbufferedClientConnection>),
}

impl TlsSession {
    /// A server's end, which waits for a ClientHello: [`TlsSession::hello`].
    pub(crate) fn listening() -> Self {
        Self::new(Role::Listening(Box::new(Hello::new())))
    }

    /// A client's end, which wants to meet the server `name`.
    pub(crate) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsFailure> {
        let connection = UnbufferedClientConnection::new(config, name)?;
        Ok(Self::new(Role::Client(Box::new(connection))))
    }

    fn new(role: Role) -> Self {
        Self {
            role,
            incoming: Window::default(),
            quiet: 0,
            opened: Window::default(),
            outgoing: Window::default(),
            said_goodbye: false,
            ended: false,
            failure: None,
            barren: 0,
        }
    }

    /// Which name the client asks for, once its ClientHello is there; then [`TlsSession::answer`] or
    /// [`TlsSession::refuse_name`] has to follow.
    pub(crate) fn hello(
        &mut self,
        pool: &mut BufferPool,
    ) -> Result<Option<ServerNameIndication>, TlsFailure> {
        self.check()?;
        let Role::Listening(hello) = &mut self.role else {
            return Err(TlsFailure::new(FailureKind::Internal, "the ClientHello is gone"));
        };
        match hello.look(self.incoming.held()) {
            Ok(name) => Ok(name),
            Err((failure, alert)) => {
                let failure = self.recognised(failure);
                if !matches!(failure.kind, FailureKind::OtherProtocol(_)) {
                    self.outgoing.append(&alert, pool);
                }
                Err(self.fail(failure))
            }
        }
    }

    /// Answers the ClientHello by `config`.
    pub(crate) fn answer(&mut self, config: Arc<ServerConfig>) -> Result<(), TlsFailure> {
        let connection = UnbufferedServerConnection::new(config)?;
        self.role = Role::Server(Box::new(connection));
        Ok(())
    }

    /// Answers the ClientHello by an alert: nobody here has that name.
    pub(crate) fn refuse_name(&mut self, pool: &mut BufferPool) -> TlsFailure {
        self.outgoing.append(&UNRECOGNIZED_NAME, pool);
        self.fail(TlsFailure::new(FailureKind::UnknownName, "unrecognized name"))
    }

    /// The socket failed in the handshake.
    pub(crate) fn socket_failed(&self, error: &io::Error) -> TlsFailure {
        match &self.role {
            Role::Client(connection) => TlsFailure::of_brokers_socket(error, connection),
            Role::Listening(_) | Role::Server(_) => TlsFailure::of_socket(error),
        }
    }

    /// Goes on with the handshake by what has come; `true` once it is over. Meanwhile there may be something to send,
    /// also once it is over, and after a failure.
    pub(crate) fn shake_hands(&mut self, pool: &mut BufferPool) -> Result<bool, TlsFailure> {
        while self.work(Wish::Open, usize::MAX, &mut [], pool)?.0 == Outcome::Again {}
        Ok(!self.is_handshaking())
    }

    /// Opens what has come into `plaintext`, as far as there is room for it, or a part of that (TLS-5). Says how many
    /// bytes it put there; none: more has to come, unless [`TlsSession::has_ended`].
    pub(crate) fn open(&mut self, plaintext: &mut [u8], pool: &mut BufferPool) -> Result<usize, TlsFailure> {
        let mut filled = self.take_opened(plaintext, pool);
        let mut steps = 0_usize;
        while let Some(place) = plaintext.get_mut(filled..).filter(|place| !place.is_empty()) {
            if filled > 0 && steps >= STEPS_MAX {
                break;
            }
            steps = steps.saturating_add(1);
            match self.work(Wish::Open, usize::MAX, place, pool) {
                Ok((Outcome::Idle, _)) => break,
                Ok((_, bytes)) => filled = filled.saturating_add(bytes),
                // What was verified before counts; the failure is found again.
                Err(_) if filled > 0 => break,
                Err(failure) => return Err(failure),
            }
        }
        self.barren = self.barren.saturating_sub(filled.saturating_mul(WORTH_OF_A_BYTE));
        if filled == 0 {
            self.refuse_barren()?;
        }
        Ok(filled)
    }

    /// TLS-5: to be asked when all that has come is worked off.
    fn refuse_barren(&mut self) -> Result<(), TlsFailure> {
        if self.barren <= BARREN_BYTES_MAX {
            return Ok(());
        }
        let barren = TlsFailure::new(FailureKind::Malformed, "its records hold nothing");
        Err(self.fail(barren))
    }

    /// Shows what is opened and not taken, of which there is something where a whole record has come.
    pub(crate) fn peek(&mut self, pool: &mut BufferPool) -> Result<&[u8], TlsFailure> {
        while self.opened.is_empty() && self.work(Wish::Open, usize::MAX, &mut [], pool)?.0 != Outcome::Idle {
        }
        if self.opened.is_empty() {
            self.refuse_barren()?;
        }
        Ok(self.opened.held())
    }

    /// Seals the beginning of `plaintext` into what is to be sent. Says how many bytes it took; none where as much as
    /// may be is to be sent already.
    pub(crate) fn seal(&mut self, plaintext: &[u8], pool: &mut BufferPool) -> Result<usize, TlsFailure> {
        let room = SEALED_BYTES_MAX.saturating_sub(self.outgoing.len());
        let plaintext = plaintext.get(..room).unwrap_or(plaintext);
        if plaintext.is_empty() {
            return Ok(0);
        }
        if self.ended {
            return Err(self.fail(TlsFailure::new(FailureKind::Internal, "sealed after the end")));
        }
        self.wish(Wish::Seal(plaintext), pool)?;
        Ok(plaintext.len())
    }

    /// Says goodbye (close_notify), once, behind what is sealed; where there was a failure, nothing is added.
    pub(crate) fn close(&mut self, pool: &mut BufferPool) {
        if !self.ended && self.failure.is_none() && !self.is_handshaking() {
            self.ended = true;
            // Where that fails there is nothing left to be said.
            let _ = self.wish(Wish::Goodbye, pool);
        }
    }

    fn wish(&mut self, wish: Wish<'_>, pool: &mut BufferPool) -> Result<(), TlsFailure> {
        loop {
            match self.work(wish, self.quiet, &mut [], pool)?.0 {
                Outcome::Again | Outcome::PeerClosed => {}
                Outcome::Granted => return Ok(()),
                Outcome::WornOut => {
                    self.send_own(pool);
                    let worn_out = "its keys are worn out, and TLS 1.2 has no others";
                    return Err(self.fail(TlsFailure::new(FailureKind::WornOut, worn_out)));
                }
                Outcome::Opened | Outcome::Idle => {
                    let out_of_turn = TlsFailure::new(FailureKind::Internal, "sealed out of turn");
                    return Err(self.fail(out_of_turn));
                }
            }
        }
    }

    /// Room for ciphertext: `bytes` of it, for [`TlsSession::add`].
    pub(crate) fn room(&mut self, bytes: usize, pool: &mut BufferPool) -> &mut [u8] {
        self.incoming.room(bytes, pool)
    }

    /// So many bytes have come into the room.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.incoming.add(bytes);
        if !self.is_handshaking() {
            self.barren = self.barren.saturating_add(bytes);
        }
    }

    /// Ciphertext that is to be sent; [`TlsSession::sent`] when it was.
    pub(crate) fn outgoing(&self) -> &[u8] {
        self.outgoing.held()
    }

    /// So many bytes of it were sent.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.outgoing.consume(bytes);
    }

    /// Gives back what memory is not needed until something happens (TLS-2).
    pub(crate) fn rest(&mut self, pool: &mut BufferPool) {
        self.incoming.rest(RECORD_BYTES_MAX, pool);
        self.opened.rest(RECORD_BYTES_MAX, pool);
        self.outgoing.rest(usize::MAX, pool);
    }

    /// Bytes of memory that its buffers own: of what has come, the copy of a ClientHello among it, and of what is to be
    /// sent.
    #[inline]
    pub(crate) fn held(&self) -> (usize, usize) {
        let copied = match &self.role {
            Role::Listening(hello) => hello.seen(),
            Role::Server(_) | Role::Client(_) => 0,
        };
        let own = self.incoming.capacity().saturating_add(self.opened.capacity());
        let unread = own.saturating_add(copied);
        (unread, self.outgoing.capacity())
    }

    /// Whether the peer has said that it sends no more (TLS-4).
    pub(crate) fn has_ended(&self) -> bool {
        self.said_goodbye
    }

    /// What went wrong, if anything has.
    pub(crate) fn failure(&self) -> Option<&TlsFailure> {
        self.failure.as_ref()
    }

    /// The certificates that the peer has shown, its own first, once they are verified; `None` where it has shown none.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        self.state()
            .filter(|state| !state.is_handshaking())
            .and_then(CommonState::peer_certificates)
    }

    /// What rustls knows of the connection, once there is one.
    pub(crate) fn state(&self) -> Option<&CommonState> {
        match &self.role {
            Role::Listening(_) => None,
            Role::Server(connection) => Some(connection),
            Role::Client(connection) => Some(connection),
        }
    }

    fn is_handshaking(&self) -> bool {
        self.state().is_none_or(CommonState::is_handshaking)
    }

    /// TLS-3
    fn check(&self) -> Result<(), TlsFailure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn fail(&mut self, failure: TlsFailure) -> TlsFailure {
        self.failure.get_or_insert(failure).clone()
    }

    /// The failure, or what the peer speaks instead of TLS, where it has shown no sign of that.
    fn recognised(&self, failure: TlsFailure) -> TlsFailure {
        let has_greeted = matches!(self.role, Role::Server(_));
        if failure.kind != FailureKind::Malformed || has_greeted || !self.is_handshaking() {
            return failure;
        }
        match Preface::instead_of_tls(self.incoming.held()) {
            None => failure,
            Some(other) => TlsFailure::new(FailureKind::OtherProtocol(other), other.as_str()),
        }
    }

    fn take_opened(&mut self, plaintext: &mut [u8], pool: &mut BufferPool) -> usize {
        let held = self.opened.held();
        let bytes = held.len().min(plaintext.len());
        if let (Some(place), Some(taken)) = (plaintext.get_mut(..bytes), held.get(..bytes)) {
            place.copy_from_slice(taken);
        }
        self.opened.consume(bytes);
        self.opened.rest(usize::MAX, pool);
        bytes
    }

    /// Lets rustls work on the first `bytes_max` bytes that came; says with the outcome how much was opened into
    /// `plaintext`.
    fn work(
        &mut self,
        wish: Wish<'_>,
        bytes_max: usize,
        plaintext: &mut [u8],
        pool: &mut BufferPool,
    ) -> Result<(Outcome, usize), TlsFailure> {
        self.check()?;
        let input = self.incoming.front_mut(bytes_max);
        let length = input.len();
        let mut work = Work {
            wish,
            plaintext,
            filled: 0,
            opened: &mut self.opened,
            outgoing: &mut self.outgoing,
            pool,
        };
        let (discard, outcome) = match &mut self.role {
            Role::Listening(_) => (0, Ok(Outcome::Idle)),
            Role::Server(connection) => work.take(connection.process_tls_records(input)),
            Role::Client(connection) => work.take(connection.process_tls_records(input)),
        };
        let filled = work.filled;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                let failure = self.recognised(error.into());
                if !matches!(failure.kind, FailureKind::OtherProtocol(_)) {
                    self.send_own(pool);
                }
                return Err(self.fail(failure));
            }
        };
        self.incoming.consume(discard);
        self.quiet = match outcome {
            // A record ends there, and no message of the handshake stretches over it.
            Outcome::Opened => 0,
            Outcome::Again | Outcome::PeerClosed => self.quiet.saturating_sub(discard),
            Outcome::Idle | Outcome::Granted | Outcome::WornOut => length.saturating_sub(discard),
        };
        self.said_goodbye |= outcome == Outcome::PeerClosed;
        Ok((outcome, filled))
    }

    /// Puts what rustls has to say itself at the end, an alert, among what is to be sent.
    fn send_own(&mut self, pool: &mut BufferPool) {
        self.ended = true;
        while self.state().is_some_and(CommonState::wants_write) {
            let mut work = Work {
                wish: Wish::Open,
                plaintext: &mut [],
                filled: 0,
                opened: &mut self.opened,
                outgoing: &mut self.outgoing,
                pool,
            };
            // While it has something to say it looks at nothing that came.
            let (_, outcome) = match &mut self.role {
                Role::Listening(_) => return,
                Role::Server(connection) => work.take(connection.process_tls_records(&mut [])),
                Role::Client(connection) => work.take(connection.process_tls_records(&mut [])),
            };
            if outcome != Ok(Outcome::Again) {
                return;
            }
        }
    }
}

/// With its header: 2048 more than the plaintext in TLS 1.2 (RFC 5246, 6.2.3), 256 more in 1.3.
const RECORD_BYTES_MAX: usize = RECORD_PLAINTEXT_BYTES_MAX + 2048 + 5;
/// Plaintext of what is to be sent and has not gone out. Four records: enough that a call of the kernel is little
/// beside sealing, and little enough that it stays in a cache until it is sent.
const SEALED_BYTES_MAX: usize = 64 * 1024;
/// Of what came and held nothing: room for one record that is on its way, and for many messages beside the data.
const BARREN_BYTES_MAX: usize = 64 * 1024;
/// A record with one byte in it takes 23 bytes in TLS 1.3, and 30 in 1.2.
const WORTH_OF_A_BYTE: usize = 32;
/// Records that are opened in one go: some microseconds each, where they change keys.
const STEPS_MAX: usize = 256;
/// What a peer may send before the handshake is over. Chains of certificates have some KiB; rustls itself would take 64
/// KiB of each message.
pub(crate) const HANDSHAKE_BYTES_MAX: usize = 64 * 1024;
