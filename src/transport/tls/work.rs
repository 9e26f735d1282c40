//! What rustls asks for while it works, and where that goes.

use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus, WriteTraffic};
use rustls::{Error, PeerMisbehaved};

use super::window::Window;
use crate::buffers::BufferPool;

/// What is wanted of rustls, apart from going on.
#[derive(Clone, Copy)]
pub(super) enum Wish<'a> {
    /// To work on what came.
    Open,
    /// To seal this, which is not empty.
    Seal(&'a [u8]),
    /// To say goodbye.
    Goodbye,
}

/// What rustls has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Something was done, and there may be more to do.
    Again,
    /// A record was opened.
    Opened,
    /// The peer says that it sends no more.
    PeerClosed,
    /// More has to come; once the handshake is over, only if something is wanted of the peer.
    Idle,
    /// The wish was granted.
    Granted,
    /// Nothing more can be sealed with these keys, and there are no others.
    WornOut,
}

/// Where things go while rustls works.
pub(super) struct Work<'a> {
    pub(super) wish: Wish<'a>,
    pub(super) plaintext: &'a mut [u8],
    /// How much of `plaintext` is filled.
    pub(super) filled: usize,
    pub(super) opened: &'a mut Window,
    pub(super) outgoing: &'a mut Window,
    pub(super) pool: &'a mut BufferPool,
}

impl Work<'_> {
    /// Does what rustls asks for; says with the outcome how many bytes of what came are used up.
    pub(super) fn take<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
    ) -> (usize, Result<Outcome, Error>) {
        let mut discard = status.discard;
        let outcome = status.state.and_then(|state| match state {
            ConnectionState::ReadTraffic(mut traffic) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    discard = discard.saturating_add(record.discard);
                    self.place(record.payload);
                }
                Ok(Outcome::Opened)
            }
            ConnectionState::EncodeTlsData(mut message) => {
                let needed = match message.encode(&mut []) {
                    Err(EncodeError::InsufficientSize(size)) => size.required_size,
                    _ => 0,
                };
                let place = self.outgoing.room(needed, self.pool);
                let bytes = message.encode(place).map_err(own_fault)?;
                let is_alert = place.first() == Some(&ALERT);
                self.outgoing.add(bytes);
                match is_alert {
                    // rustls would refuse the second time only (TLS-6).
                    true => Err(PeerMisbehaved::TooManyRenegotiationRequests.into()),
                    false => Ok(Outcome::Again),
                }
            }
            // It is behind what was encoded before: nothing overtakes it.
            ConnectionState::TransmitTlsData(transmitted) => {
                transmitted.done();
                Ok(Outcome::Again)
            }
            ConnectionState::PeerClosed => Ok(Outcome::PeerClosed),
            ConnectionState::WriteTraffic(traffic) => self.grant(traffic),
            ConnectionState::BlockedHandshake | ConnectionState::Closed => Ok(Outcome::Idle),
            state => Err(own_fault(format_args!("{state:?}"))),
        });
        (discard, outcome)
    }

    fn grant<Data>(&mut self, mut traffic: WriteTraffic<'_, Data>) -> Result<Outcome, Error> {
        let (mut needed, wish) = match self.wish {
            Wish::Open => return Ok(Outcome::Idle),
            Wish::Seal(plaintext) => (sealed_bytes_max(plaintext.len()), plaintext),
            Wish::Goodbye => (sealed_bytes_max(ALERT_BYTES), [].as_slice()),
        };
        loop {
            let place = self.outgoing.room(needed, self.pool);
            let sealed = match self.wish {
                Wish::Goodbye => traffic.queue_close_notify(place),
                _ => traffic.encrypt(wish, place),
            };
            match sealed {
                Ok(bytes) => {
                    self.outgoing.add(bytes);
                    return Ok(Outcome::Granted);
                }
                // What rustls has to say itself goes first.
                Err(EncryptError::InsufficientSize(size)) if size.required_size > needed => {
                    needed = size.required_size;
                }
                Err(EncryptError::InsufficientSize(size)) => return Err(own_fault(size.required_size)),
                Err(EncryptError::EncryptExhausted) => return Ok(Outcome::WornOut),
            }
        }
    }

    /// Copies what was opened to where it is wanted, and what does not fit to where it waits.
    fn place(&mut self, payload: &[u8]) {
        let wanted = self.plaintext.get_mut(self.filled..).unwrap_or_default();
        let bytes = wanted.len().min(payload.len());
        let (now, later) = payload.split_at(bytes);
        if let Some(place) = wanted.get_mut(..bytes) {
            place.copy_from_slice(now);
        }
        self.filled = self.filled.saturating_add(bytes);
        if !later.is_empty() {
            self.opened.append(later, self.pool);
        }
    }
}

/// How much ciphertext so much plaintext becomes at most, with a KeyUpdate before it.
fn sealed_bytes_max(plaintext: usize) -> usize {
    let records = plaintext.div_ceil(RECORD_PLAINTEXT_BYTES_MAX).saturating_add(1);
    plaintext.saturating_add(records.saturating_mul(RECORD_OVERHEAD_BYTES_MAX))
}

fn own_fault(what: impl std::fmt::Display) -> Error {
    Error::General(what.to_string())
}

/// RFC 8446, 5.1.
pub(super) const RECORD_PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// Header 5, nonce 8, tag 16 in TLS 1.2; header 5, type 1, tag 16 in 1.3; a message of the handshake 5 more.
const RECORD_OVERHEAD_BYTES_MAX: usize = 32;
const ALERT_BYTES: usize = 2;
/// The type of a record. Of TLS 1.3 none has it that is encrypted.
const ALERT: u8 = 21;
