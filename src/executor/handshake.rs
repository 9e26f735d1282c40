//! The TLS handshake with a client that has come in, or with a broker that was connected to.
//!
//! - HANDSHAKE-1: it has its time and its bytes, however the peer drips ([`Bounded`]).
//! - HANDSHAKE-2: which certificate a client sees is decided by the name that it asks for, before anything is answered.
//! - HANDSHAKE-3: when it fails, the alert that says why is sent before it ends, unless its time is over.
//!
//! Executor threads only.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use super::bounded::Bounded;
use super::platform::Platform;
use crate::buffers::BufferPool;
use crate::connection::{Encrypted, Stream, Wire};
use crate::transport::tls::{HANDSHAKE_BYTES_MAX, TlsFailure, TlsSession};

/// Takes a client's TLS handshake. `choose` is given the name that the client asks for (server name indication, in
/// lower case, `None` where it names none or an address), and says by which configuration it is answered, and whatever
/// else that decides; `None`: refused with the alert `unrecognized_name`.
pub(super) async fn accept<P: Platform, S: Stream, T>(
    client: &mut Wire<S>,
    at_most: Duration,
    pool: &Rc<RefCell<BufferPool>>,
    choose: impl FnOnce(Option<&str>) -> Option<(Arc<ServerConfig>, T)>,
) -> Result<T, TlsFailure> {
    let tls = Encrypted::new(TlsSession::listening(), Rc::clone(pool));
    let (tls, socket) = client.begin_tls(tls);
    let mut socket = Bounded::<P, _>::new(socket, at_most, HANDSHAKE_BYTES_MAX);
    let accepted = meet(tls, &mut socket, choose).await;
    say_why_not(tls, &mut socket, accepted).await
}

/// Makes a TLS handshake with a broker, which has to show a certificate for `name`.
pub(super) async fn connect<P: Platform, S: Stream>(
    broker: &mut Wire<S>,
    at_most: Duration,
    pool: &Rc<RefCell<BufferPool>>,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<(), TlsFailure> {
    let session = TlsSession::client(config, name)?;
    let (tls, socket) = broker.begin_tls(Encrypted::new(session, Rc::clone(pool)));
    let mut socket = Bounded::<P, _>::new(socket, at_most, HANDSHAKE_BYTES_MAX);
    let connected = shake_hands(tls, &mut socket).await;
    say_why_not(tls, &mut socket, connected).await
}

async fn meet<S: Stream, T>(
    tls: &mut Encrypted,
    socket: &mut S,
    choose: impl FnOnce(Option<&str>) -> Option<(Arc<ServerConfig>, T)>,
) -> Result<T, TlsFailure> {
    let name = poll_fn(|context| tls.poll_stage(socket, context, TlsSession::hello)).await?;
    // HANDSHAKE-2
    let Some((config, chosen)) = choose(name.as_deref()) else {
        return Err(tls.refuse_name());
    };
    tls.answer(config)?;
    shake_hands(tls, socket).await?;
    Ok(chosen)
}

async fn shake_hands<S: Stream>(tls: &mut Encrypted, socket: &mut S) -> Result<(), TlsFailure> {
    poll_fn(|context| {
        tls.poll_stage(socket, context, |session, pool| {
            Ok(session.shake_hands(pool)?.then_some(()))
        })
    })
    .await
}

/// Has the alert go out where there was a failure (HANDSHAKE-3).
async fn say_why_not<S: Stream, T>(
    tls: &mut Encrypted,
    socket: &mut S,
    outcome: Result<T, TlsFailure>,
) -> Result<T, TlsFailure> {
    if outcome.is_err() {
        // Whoever does not take it is not told.
        let _ = poll_fn(|context| tls.poll_flush(socket, context)).await;
    }
    outcome
}

#[cfg(test)]
mod tests;
