//! Where a connection stands with the broker's SASL, which passes through untouched.
//!
//! The proxy never reads a token. It watches the shape of the exchange, so that somebody who has not logged in cannot
//! make it hold large frames or hold a connection for long.
//!
//! - AUTH-1: from SaslHandshake until a SaslAuthenticate answer without an error only the exchange itself is let
//!   through.
//! - AUTH-2: a frame of the exchange, and an ApiVersions request, is at most [`FRAME_BYTES_MAX`] long.
//! - AUTH-3: re-authentication (KIP-368) on a live connection disturbs nothing: earlier answers may still arrive.
//! - AUTH-4: before it is certain that the client is logged in, or need not be, only small requests pass and no records
//!   are worked on. Where no exchange has begun, an answer to an ordinary request is proof. Once one has, only an
//!   answer that names the cluster's brokers is: SCRAM's first round is accepted from whoever knows a name, and within
//!   an exchange Kafka answers any other request with an error before it closes.
//! - AUTH-5: an ordinary request that comes behind a token waits for its answer: a broker reads it when the exchange is
//!   over.

use crate::protocol::api_key::{API_VERSIONS, SASL_AUTHENTICATE, SASL_HANDSHAKE};

/// A broker's `sasl.server.max.receive.size` default, applied to every frame of the exchange and to ApiVersions.
pub(super) const FRAME_BYTES_MAX: usize = 524_288;

/// The state of one connection's login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Login {
    exchange: Exchange,
    /// A round of the exchange was accepted.
    accepted: bool,
    /// An ordinary request was answered, be it with an error.
    answered: bool,
    logged_in: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Exchange {
    /// No SASL seen: the broker may not ask for it.
    #[default]
    None,
    /// A handshake is under way for the first time.
    First,
    /// Logged in.
    Done,
    /// Logged in before, and renewing it.
    Again,
}

impl Login {
    /// Whether a request may be sent now; `false` closes the connection, as a broker would.
    pub(super) fn permits(&self, api_key: i16) -> bool {
        match (self.exchange, api_key) {
            (Exchange::None | Exchange::Done, SASL_AUTHENTICATE) => false,
            (Exchange::First, key) => matches!(key, SASL_HANDSHAKE | API_VERSIONS | SASL_AUTHENTICATE),
            _ => true,
        }
    }

    /// Notes a request that is being passed on.
    pub(super) fn requested(&mut self, api_key: i16) {
        match api_key {
            SASL_HANDSHAKE => {
                self.exchange = match self.exchange {
                    Exchange::None | Exchange::First => Exchange::First,
                    Exchange::Done | Exchange::Again => Exchange::Again,
                };
            }
            API_VERSIONS | SASL_AUTHENTICATE => {}
            // AUTH-3: the first ordinary request after a renewal ends it.
            _ if self.exchange == Exchange::Again => self.exchange = Exchange::Done,
            _ => {}
        }
    }

    /// Notes an answer: `error_code` of a SaslAuthenticate answer, 0 for any other.
    pub(super) fn answered(&mut self, api_key: i16, error_code: i16) {
        match api_key {
            SASL_HANDSHAKE | API_VERSIONS => {}
            SASL_AUTHENTICATE => {
                // Multi-round mechanisms answer 0 on every round. To the bounds that follow from it, one accepted
                // round is proof enough; the broker itself judges the rest.
                if error_code == 0 {
                    self.accepted = true;
                    if self.exchange == Exchange::First {
                        self.exchange = Exchange::Again;
                    }
                }
            }
            _ => {
                self.answered = true;
                self.logged_in |= self.exchange == Exchange::None;
            }
        }
    }

    /// Whether the broker has shown that it takes this client: it accepted a login, or answered an ordinary request.
    pub(super) fn is_proven(&self) -> bool {
        self.accepted || self.answered
    }

    /// The broker has named brokers (AUTH-4).
    pub(super) fn named_brokers(&mut self) {
        self.logged_in = true;
    }

    /// The client has logged in at the proxy, which decides alone.
    pub(super) fn known(&mut self) {
        self.exchange = Exchange::Done;
        self.accepted = true;
        self.logged_in = true;
    }

    /// Whether it is certain that the client is logged in, or need not be (AUTH-4).
    pub(super) fn is_logged_in(&self) -> bool {
        self.logged_in
    }
}

/// Whether a broker takes requests of this API from nobody who is not logged in.
pub(super) fn is_ordinary(api_key: i16) -> bool {
    !matches!(api_key, SASL_HANDSHAKE | API_VERSIONS | SASL_AUTHENTICATE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::api_key::METADATA;

    /// AUTH-1.
    #[test]
    fn between_handshake_and_success_only_the_exchange_passes() {
        let mut state = Login::default();
        assert!(state.permits(API_VERSIONS));
        state.requested(API_VERSIONS);
        state.answered(API_VERSIONS, 0);
        assert!(!state.is_proven());
        assert!(!state.permits(SASL_AUTHENTICATE), "no token before a handshake");
        state.requested(SASL_HANDSHAKE);
        state.answered(SASL_HANDSHAKE, 0);
        assert!(!state.permits(METADATA));
        assert!(state.permits(SASL_AUTHENTICATE));
        state.answered(SASL_AUTHENTICATE, 58);
        assert!(!state.permits(METADATA));
        assert!(!state.is_proven());
        state.answered(SASL_AUTHENTICATE, 0);
        assert!(state.permits(METADATA));
        assert!(state.permits(SASL_AUTHENTICATE), "SCRAM has further rounds");
        assert!(state.is_proven() && !state.is_logged_in(), "AUTH-4");
        state.requested(METADATA);
        assert!(!state.permits(SASL_AUTHENTICATE));
        state.answered(METADATA, 0);
        assert!(!state.is_logged_in(), "it may be an error");
        state.named_brokers();
        assert!(state.is_logged_in());
    }

    /// AUTH-3.
    #[test]
    fn renewal_lets_earlier_answers_arrive() {
        let mut state = Login::default();
        state.requested(SASL_HANDSHAKE);
        state.answered(SASL_AUTHENTICATE, 0);
        state.requested(METADATA);
        state.requested(SASL_HANDSHAKE);
        state.answered(METADATA, 0);
        assert!(state.permits(SASL_AUTHENTICATE));
        state.answered(SASL_AUTHENTICATE, 0);
        assert!(state.permits(METADATA));
    }

    #[test]
    fn without_sasl_the_first_ordinary_answer_proves_the_client() {
        let mut state = Login::default();
        assert!(state.permits(METADATA));
        state.requested(METADATA);
        assert!(!state.is_proven());
        assert!(!state.is_logged_in());
        state.answered(METADATA, 0);
        assert!(state.is_proven() && state.is_logged_in());
    }
}
