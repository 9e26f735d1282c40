//! The ClientHello, looked at before it is known by which configuration it is answered.

use rustls::server::Acceptor;

use super::failure::{FailureKind, TlsFailure};

/// A copy of what a client has sent so far, as far as it was looked at.
pub(super) struct Hello {
    acceptor: Acceptor,
    /// So many bytes were looked at.
    seen: usize,
}

impl Hello {
    pub(super) fn new() -> Self {
        Self {
            acceptor: Acceptor::default(),
            seen: 0,
        }
    }

    /// So many bytes were looked at, and copied.
    pub(super) fn seen(&self) -> usize {
        self.seen
    }

    /// Looks at what has come, the bytes that were looked at before among it; `None`: more has to come. With a failure:
    /// the alert that tells the client. It is not asked again after either.
    ///
    /// rustls takes a ClientHello of 64 KiB at most.
    pub(super) fn look(
        &mut self,
        came: &[u8],
    ) -> Result<Option<ServerNameIndication>, (TlsFailure, Vec<u8>)> {
        let mut new = came.get(self.seen..).unwrap_or_default();
        self.seen = came.len();
        while !new.is_empty() {
            if let Err(error) = self.acceptor.read_tls(&mut new) {
                let failure = TlsFailure::new(FailureKind::TooMuch, error);
                return Err((failure, DECODE_ERROR.to_vec()));
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Some(name));
                }
                Err((error, mut alert)) => {
                    let mut bytes = Vec::new();
                    // INVARIANT: nothing fails that writes to a vector.
                    let _ = alert.write_all(&mut bytes);
                    // Of a message that announces too much it has none.
                    if bytes.is_empty() {
                        bytes.extend(DECODE_ERROR);
                    }
                    return Err((error.into(), bytes));
                }
            }
        }
        Ok(None)
    }
}

/// The name of the server that a client wants, in lower case, if it says one. An IP address is no name.
pub(crate) type ServerNameIndication = Option<String>;

/// A fatal alert (RFC 8446, 6), not encrypted yet: `unrecognized_name`.
pub(super) const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];
const DECODE_ERROR: [u8; 7] = [21, 3, 3, 0, 2, 2, 50];
