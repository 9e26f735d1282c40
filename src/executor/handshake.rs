//! The TLS handshake with a client that has come in, or with a broker that was connected to.
//!
//! - HANDSHAKE-1: it has its time and its bytes, however the peer drips ([`Bounded`]), and whatever it waits for.
//! - HANDSHAKE-2: which certificate a client sees is decided by the name that it asks for, before anything is answered.
//! - HANDSHAKE-3: when it fails, the alert that says why is sent before it ends, unless its time is over, or the peer
//!   has sent more than it may.
//!
//! What all of them together get of an executor is bounded by [`bounds`].
//!
//! Executor threads only.

pub(super) mod bounds;

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::future::poll_once;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use self::bounds::UnderWay;
use super::bounded::Bounded;
use super::platform::Platform;
use crate::connection::{Encrypted, Stream, Wire};
use crate::transport::tls::{HANDSHAKE_BYTES_MAX, TlsFailure, TlsSession};

/// Takes a client's TLS handshake. `choose` is given the name that the client asks for (server name indication, in
/// lower case, `None` where it names none or an address), and says by which configuration it is answered, and whatever
/// else that decides; `None`: refused with the alert `unrecognized_name`.
pub(super) async fn accept<P: Platform, S: Stream, T>(
    client: &mut Wire<S>,
    under_way: UnderWay<'_>,
    at_most: Duration,
    choose: impl FnOnce(Option<&str>) -> Option<(Arc<ServerConfig>, T)>,
) -> Result<T, TlsFailure> {
    let mut handshake = Handshake::<P, S>::of(client, TlsSession::listening(), under_way, at_most);
    let accepted = handshake.meet(at_most, choose).await;
    handshake.say_why_not(accepted).await
}

/// Makes a TLS handshake with a broker, which has to show a certificate for `name`.
pub(super) async fn connect<P: Platform, S: Stream>(
    broker: &mut Wire<S>,
    under_way: UnderWay<'_>,
    at_most: Duration,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<(), TlsFailure> {
    let session = TlsSession::client(config, name)?;
    let mut handshake = Handshake::<P, S>::of(broker, session, under_way, at_most);
    let connected = handshake.compute().await;
    handshake.say_why_not(connected).await
}

struct Handshake<'a, P: Platform, S> {
    tls: &'a mut Encrypted,
    socket: Bounded<P, &'a mut S>,
    under_way: UnderWay<'a>,
}

impl<'a, P: Platform, S: Stream> Handshake<'a, P, S> {
    fn of(wire: &'a mut Wire<S>, session: TlsSession, under_way: UnderWay<'a>, at_most: Duration) -> Self {
        let pool = Rc::clone(&under_way.shared().ciphertexts);
        let (tls, socket) = wire.begin_tls(Encrypted::new(session, pool));
        Self {
            tls,
            socket: Bounded::new(socket, at_most, HANDSHAKE_BYTES_MAX),
            under_way,
        }
    }

    async fn meet<T>(
        &mut self,
        at_most: Duration,
        choose: impl FnOnce(Option<&str>) -> Option<(Arc<ServerConfig>, T)>,
    ) -> Result<T, TlsFailure> {
        let name = loop {
            // It is only looked at.
            match self.tls.step(TlsSession::hello)? {
                Some(name) => break name,
                None => self.hear().await?,
            }
        };
        // HANDSHAKE-2
        let Some((config, chosen)) = choose(name.as_deref()) else {
            return Err(self.tls.refuse_name());
        };
        let may_be_answered = self
            .socket
            .within(self.under_way.may_be_answered::<P>(at_most))
            .await;
        may_be_answered.map_err(|error| TlsFailure::of_socket(&error))?;
        self.is_still_there().await?;
        self.tls.answer(config)?;
        self.compute().await?;
        Ok(chosen)
    }

    /// Goes on to the end, in a turn of its own whenever something has come.
    async fn compute(&mut self) -> Result<(), TlsFailure> {
        loop {
            let turn = self.socket.within(self.under_way.turn::<P>()).await;
            let turn = turn.map_err(|error| TlsFailure::of_socket(&error))?;
            let is_over = self.tls.step(TlsSession::shake_hands);
            drop(turn);
            let is_over = is_over?;
            self.account();
            let sent = poll_fn(|context| self.tls.poll_flush(&mut self.socket, context)).await;
            sent.map_err(|error| TlsFailure::of_socket(&error))?;
            if is_over {
                return Ok(());
            }
            self.hear().await?;
        }
    }

    /// Whoever has left while it waited costs no computing.
    async fn is_still_there(&mut self) -> Result<(), TlsFailure> {
        let heard = poll_once(poll_fn(|context| self.tls.poll_hear(&mut self.socket, context))).await;
        heard.unwrap_or(Ok(()))
    }

    /// Waits until the peer has sent something.
    async fn hear(&mut self) -> Result<(), TlsFailure> {
        self.account();
        poll_fn(|context| self.tls.poll_hear(&mut self.socket, context)).await
    }

    fn account(&self) {
        let held = self.tls.held();
        self.under_way.hold(held.unread.saturating_add(held.unsent));
    }

    /// Has the alert go out where there was a failure (HANDSHAKE-3).
    async fn say_why_not<T>(&mut self, outcome: Result<T, TlsFailure>) -> Result<T, TlsFailure> {
        if outcome.is_err() {
            // Whoever does not take it is not told.
            let _ = poll_fn(|context| self.tls.poll_flush(&mut self.socket, context)).await;
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
