//! Whether the broker at the other end is the one that the client came for.
//!
//! A client that comes to a node's port has to reach that broker or none. Any replica answers a fetch with what it has,
//! so that at another broker a consumer skips or rereads, without an error.
//!
//! - PLACE-1: on a node's port only what every broker answers alike passes, until an answer on this very connection has
//!   said that the node is at the address to which it leads, and no other node is. What was learned elsewhere proves
//!   nothing: two brokers may have swapped their addresses since.
//! - PLACE-2: a connection of a node's port is closed as soon as another address is learned for the node, whoever
//!   learned it.

use crate::config::HostPort;
use crate::protocol::ProtocolError;
use crate::protocol::addresses::visit;
use crate::protocol::api_key::{
    API_VERSIONS, DESCRIBE_CLUSTER, FIND_COORDINATOR, METADATA, SASL_AUTHENTICATE, SASL_HANDSHAKE,
};

/// Where a connection leads.
#[derive(Debug)]
pub(super) enum Place {
    /// The client did not come for a node: any broker will do.
    Anywhere,
    /// To this address, where the node may be.
    Sought { node_id: i32, address: HostPort },
    /// To the node.
    Found,
}

/// What an answer that names the cluster's brokers says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) whereabouts: Whereabouts,
    /// It names any broker.
    pub(super) any: bool,
}

/// What it says of the node that is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It is where the connection leads.
    Here,
    /// It has another address.
    Elsewhere,
    /// Nothing, or it names another node at the same address.
    Unsaid,
}

impl Place {
    /// `node`: the node on whose port the client came, and the address that was connected to.
    pub(super) fn new(node: Option<(i32, HostPort)>) -> Self {
        node.map_or(Self::Anywhere, |(node_id, address)| Self::Sought {
            node_id,
            address,
        })
    }

    /// Whether requests of this API may go out (PLACE-1).
    pub(super) fn admits(&self, api_key: i16) -> bool {
        !self.is_sought() || is_alike_everywhere(api_key)
    }

    /// Whether it is still to be found out whether the node is there.
    pub(super) fn is_sought(&self) -> bool {
        matches!(self, Self::Sought { .. })
    }

    /// Takes note of a broker's answer.
    pub(super) fn take_answer(
        &mut self,
        api_key: i16,
        version: i16,
        frame: &[u8],
    ) -> Result<Told, ProtocolError> {
        let (mut any, mut here, mut elsewhere, mut shared) = (false, false, false, false);
        if names_brokers(api_key) {
            visit(api_key, version, frame, &mut |endpoint| {
                any = true;
                let Self::Sought { node_id, address } = self else {
                    return;
                };
                let is_here = endpoint.host == address.host && endpoint.port == i32::from(address.port);
                match (endpoint.node_id == *node_id, is_here) {
                    (true, true) => here = true,
                    (true, false) => elsewhere = true,
                    (false, true) => shared = true,
                    (false, false) => {}
                }
            })?;
        }
        let whereabouts = match self {
            Self::Anywhere | Self::Found => Whereabouts::Here,
            Self::Sought { .. } if elsewhere => Whereabouts::Elsewhere,
            Self::Sought { .. } if !here || shared => Whereabouts::Unsaid,
            Self::Sought { .. } => {
                *self = Self::Found;
                Whereabouts::Here
            }
        };
        Ok(Told { whereabouts, any })
    }
}

/// Answers of these APIs name all brokers.
fn names_brokers(api_key: i16) -> bool {
    matches!(api_key, METADATA | DESCRIBE_CLUSTER)
}

/// Any broker of the cluster gives the same answer.
fn is_alike_everywhere(api_key: i16) -> bool {
    names_brokers(api_key)
        || matches!(
            api_key,
            API_VERSIONS | SASL_HANDSHAKE | SASL_AUTHENTICATE | FIND_COORDINATOR
        )
}
