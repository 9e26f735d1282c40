//! Who is at the other end of a connection, as refusals and the log name it: an address, and the client id of its
//! requests.
//!
//! The id is the client's own word, and may differ from request to request. Nobody is authenticated by it. What SASL
//! says on its way to the broker is not looked at; where a login ends at the proxy, it names the principal.
//!
//! Executor threads only, until an event carries it away.

use std::net::SocketAddr;
use std::sync::Arc;

use super::principal::Principal;
use crate::foreign::SHOWN_BYTES_MAX;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Where it connected from, or what the load balancer said of that; `None` where there is no socket.
    pub address: Option<SocketAddr>,
    /// Whom its certificate, or its login, names, where the listener asks for one.
    pub principal: Option<Principal>,
    /// What its last request calls itself, cut; empty where it says nothing.
    pub id: Arc<[u8]>,
}

impl Client {
    /// A client that has not said anything yet.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address: Some(address),
            principal: None,
            id: Arc::default(),
        }
    }

    /// Takes the id out of a request, whose first bytes are `frame`, its length among them. What has not arrived whole
    /// leaves the former id.
    pub(crate) fn note(&mut self, frame: &[u8]) {
        let Some(id) = client_id(frame) else { return };
        let id = id.get(..ID_BYTES_MAX).unwrap_or(id);
        // Mostly the same as before: nothing is allocated for a request.
        if *self.id != *id {
            self.id = id.into();
        }
    }
}

/// The client id of a request: behind length, API key, API version and correlation id, in every header version but 0.
fn client_id(frame: &[u8]) -> Option<&[u8]> {
    let (length, rest) = frame.get(CLIENT_ID_AT..)?.split_first_chunk()?;
    match i16::from_be_bytes(*length) {
        length @ 0.. => rest.get(..usize::try_from(length).ok()?),
        _ => Some(&[]),
    }
}

const CLIENT_ID_AT: usize = 4 + 2 + 2 + 4;
/// One byte more than is shown, so that a longer one says that it was cut.
const ID_BYTES_MAX: usize = SHOWN_BYTES_MAX + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_that_of_the_last_request_and_bounded() {
        let mut client = Client::at(([127, 0, 0, 1], 1).into());
        let request = |length: i16, id: &[u8]| {
            let mut frame = vec![0; CLIENT_ID_AT];
            frame.extend(length.to_be_bytes());
            frame.extend(id);
            frame
        };
        client.note(&request(3, b"app, and more"));
        assert_eq!(*client.id, *b"app");
        for part in [&[][..], &request(9, b"short"), &request(0, b"")[..13]] {
            client.note(part);
            assert_eq!(*client.id, *b"app", "nothing was said yet");
        }
        client.note(&request(2, &[0xff, 0xfe]));
        assert_eq!(*client.id, [0xff, 0xfe], "brokers take ids that are no UTF-8");
        client.note(&request(-1, b"body"));
        assert!(client.id.is_empty());
        client.note(&request(i16::MAX, &[b'x'; 40_000]));
        assert_eq!(client.id.len(), ID_BYTES_MAX);
    }
}
