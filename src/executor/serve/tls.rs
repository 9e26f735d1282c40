//! What TLS is to a connection: the stage in which it is agreed on, and what is told of it when it fails.
//!
//! Executor threads only.

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use super::{Arrival, Serving};
use crate::config::HostPort;
use crate::connection::{Encrypted, Wire};
use crate::executor::dial::Listener;
use crate::executor::handshake;
use crate::executor::parting::Sockets;
use crate::executor::platform::Platform;
use crate::ids::ClusterId;
use crate::messages::{ConnectError, Notice, NoticeKind};
use crate::metrics::CloseReason;
use crate::transport::tls::{FailureKind, TlsFailure};

impl Arrival {
    /// Agrees on TLS with the client, where the listener speaks it. Where several share the port, the name that the
    /// client asks for says which listener it has come to, and which broker.
    pub(super) async fn shake_hands<P: Platform>(
        &mut self,
        listener: &mut Rc<Listener>,
        sockets: &mut Sockets<P>,
    ) -> Result<(), CloseReason> {
        let Some(tls) = listener.tls.clone() else {
            return Ok(());
        };
        let asked_for = Cell::new((self.listener, self.node));
        // By what is in force when the name is known.
        let choose = |name: Option<&str>| {
            if let Some(routes) = &listener.routes {
                let destination = routes.find(name?)?;
                asked_for.set((destination.listener, destination.node));
            }
            let listeners = self.serving.listeners.borrow();
            let chosen = listeners.get(asked_for.get().0)?;
            let config = Arc::clone(&chosen.tls.as_ref()?.config);
            Some((config, Rc::clone(chosen)))
        };
        let Serving {
            shared, handshakes, ..
        } = &*self.serving;
        let under_way = handshakes
            .with_client(shared, self.id, listener.map.cluster)
            .map_err(|reason| self.note_limit(reason))?;
        let (client, at_most) = (&mut sockets.client, tls.handshake_timeout);
        let met = self
            .clients_stage(pin!(handshake::accept::<P, _, _>(
                client, under_way, at_most, choose
            )))
            .await;
        // Whatever has become of it.
        (self.listener, self.node) = asked_for.get();
        let met = met.map_err(|reason| self.note_limit(reason))?;
        *listener = met.map_err(|failure| self.note_failure(&failure))?;
        self.name_client(listener, &sockets.client)
    }

    /// Whom the client's certificate names, where the listener asks for one. Nobody is let in without a name, and who
    /// has none has been told by now (TLS-SERVER-4).
    fn name_client<S>(&mut self, listener: &Listener, client: &Wire<S>) -> Result<(), CloseReason> {
        let mapping = listener.tls.as_ref().and_then(|tls| tls.principals.as_ref());
        let Some(mapping) = mapping else { return Ok(()) };
        let shown = client.tls().and_then(|tls| tls.session().peer_certificates());
        let certificate = shown.and_then(<[_]>::first).map(|first| &**first);
        match mapping.principal(certificate.unwrap_or_default()) {
            Ok(principal) => {
                self.client.principal = Some(principal);
                Ok(())
            }
            Err(why) => {
                let failure = TlsFailure::new(FailureKind::Certificate, format_args!("no principal: {why}"));
                Err(self.note_failure(&failure))
            }
        }
    }

    /// Tells of a handshake that has failed, unless the client only was not there for it.
    pub(super) fn note_failure(&self, failure: &TlsFailure) -> CloseReason {
        let (reason, looks_like) = match failure.kind {
            FailureKind::Left => return CloseReason::ClientClosed,
            FailureKind::Socket => return CloseReason::ClientError,
            FailureKind::TimedOut => return CloseReason::IdleUnauthenticated,
            FailureKind::OtherProtocol(preface) => (CloseReason::OtherProtocol, Some(preface.as_str())),
            _ => (CloseReason::TlsFailed, None),
        };
        self.notice_handshake(looks_like, failure.to_string());
        reason
    }

    /// Tells of a handshake that a limit has ended.
    fn note_limit(&self, reason: CloseReason) -> CloseReason {
        let limit = match reason {
            CloseReason::HandshakeLimit => "limits.handshakes_max",
            CloseReason::Limit => "limits.executor_bytes_max",
            _ => return reason,
        };
        self.notice_handshake(
            None,
            format!("it was too slow for as many as there are ({limit})"),
        );
        reason
    }

    fn notice_handshake(&self, looks_like: Option<&'static str>, fault: String) {
        self.serving.shared.errands.notice(Notice {
            kind: NoticeKind::Handshake {
                listener: self.listener,
                address: self.client.address.map(|address| address.ip()),
                looks_like,
            },
            client: self.client.clone(),
            fault: Some(fault),
        });
    }

    /// Where TLS is why it has ended: tells of it. In TLS 1.3 a broker may refuse our certificate when the handshake is
    /// over for us.
    pub(super) fn end_of_tls<P: Platform>(
        &self,
        sockets: &Sockets<P>,
        cluster: ClusterId,
        broker: HostPort,
    ) -> Option<CloseReason> {
        let has_left = |wire: &Wire<P::Socket>| wire.tls().is_some_and(Encrypted::ended_unannounced);
        let mut pipeline = self.serving.shared.pipeline.borrow_mut();
        let brokers = sockets.broker.as_ref().is_some_and(has_left);
        let connections = &mut pipeline.metrics.connections;
        connections.ended_unannounced(has_left(&sockets.client), brokers);
        drop(pipeline);
        let failure = |wire: &Wire<P::Socket>| wire.tls().and_then(|tls| tls.session().failure()).cloned();
        if let Some(failure) = failure(&sockets.client) {
            return Some(self.note_failure(&failure));
        }
        let failure = sockets.broker.as_ref().and_then(failure)?;
        let error = ConnectError::Tls(failure.to_string().into());
        self.note_no_broker(cluster, broker, error);
        Some(CloseReason::TlsFailed)
    }
}
