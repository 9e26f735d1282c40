//! Broker addresses in responses: the one place that finds and rewrites all of them.
//!
//! Seven responses carry host and port of brokers. A client that is told a real one goes around the proxy, so that
//! - ADDR-1: no address survives that the caller did not give. An entry that cannot be mapped is cut, or answered as
//!   not available.
//! - ADDR-2: node ids are kept; addresses are mapped by node id and never by host.
//! - ADDR-3: of a Metadata response only what stands before the topics is looked at, and no more than
//!   [`HEAD_BYTES_MAX`] of it: the topics, which may be a million partitions, carry no addresses and go on as they are.
//! - ADDR-4: a host is the name of one or an IP address ([`is_host`]); a response that says anything else is malformed.
//!   Hosts are looked up, kept in files and written to logs.
//!
//! | response | versions with addresses | where |
//! |---|---|---|
//! | Metadata | 0-13 | brokers |
//! | FindCoordinator | 0-3, 4-6 | top level; coordinators |
//! | DescribeCluster | 0-2 | brokers |
//! | Produce (KIP-951) | 10-13 | tagged field 0, node endpoints |
//! | Fetch (KIP-951) | 16-18 | tagged field 0, node endpoints |
//! | ShareFetch, ShareAcknowledge (KIP-932) | 1-2 | node endpoints |

mod describe_cluster;
mod find_coordinator;
mod metadata;
mod share;

pub use super::bounds::BROKERS_MAX;
pub use super::endpoints::{BrokerEndpoint, HOST_BYTES_MAX, NOT_SERVED, Rewrite, is_host};

use super::api_key::{
    DESCRIBE_CLUSTER, FETCH, FIND_COORDINATOR, METADATA, PRODUCE, SHARE_ACKNOWLEDGE, SHARE_FETCH,
};
use super::endpoints::Endpoints;
use super::error::ProtocolError;
use super::fetch_response::FetchResponse;
use super::produce_response;
use super::splice::Splice;

/// Coordinators that one response may name: of more groups than administrators were seen to ask for at a time. It is
/// looked through in one step and written anew in another.
pub const COORDINATORS_MAX: usize = 24_000;
/// How far into a Metadata response its brokers may reach: five thousand of a hundred bytes. It is walked
/// three times, in two steps.
pub const HEAD_BYTES_MAX: usize = 512 * 1024;

/// Whether the response of this API and version has room for broker addresses.
pub fn carries_addresses(api_key: i16, version: i16) -> bool {
    match api_key {
        METADATA => (0..=13).contains(&version),
        FIND_COORDINATOR => (0..=6).contains(&version),
        DESCRIBE_CLUSTER => (0..=2).contains(&version),
        PRODUCE => (10..=13).contains(&version),
        FETCH => (16..=18).contains(&version),
        SHARE_FETCH | SHARE_ACKNOWLEDGE => (1..=2).contains(&version),
        _ => false,
    }
}

/// Shows every broker address of a response frame. Entries that have none (a negative node id or port, an empty host: a
/// coordinator that was not found) are passed over, and so are controllers (DescribeCluster with endpoint type 2).
///
/// The whole message is checked first, but the topics of Metadata (`ADDR-3`). [`ProtocolError::UnsupportedVersion`] for
/// an API that never carries addresses and for versions that are not known.
pub fn visit(
    api_key: i16,
    version: i16,
    frame: &[u8],
    each: &mut dyn FnMut(BrokerEndpoint<'_>),
) -> Result<(), ProtocolError> {
    locate(api_key, version, frame, |endpoints, _| {
        endpoints.visit(frame, each)
    })
}

/// Writes a response frame with its broker addresses mapped, length prefix included, as far as that has to be written
/// anew. Says how much of the frame this stands for; the rest is to follow as it is, and the length counts it.
///
/// `map` is asked once for each entry that has an address. Entries without one stay as they are; controllers, and
/// entries with an address but a negative node id, are treated as unserved. The errors are those of [`visit`].
pub fn rewrite<'m>(
    api_key: i16,
    version: i16,
    frame: &[u8],
    map: &mut dyn FnMut(i32) -> Rewrite<'m>,
    out: &mut Vec<u8>,
) -> Result<usize, ProtocolError> {
    locate(api_key, version, frame, |endpoints, end| {
        let (head, rest) = frame.split_at_checked(end).ok_or(ProtocolError::LayoutMismatch)?;
        Splice::emit_before(head, out, rest.len(), |splice| endpoints.rewrite(splice, map))?;
        Ok(end)
    })
}

/// Finds the addresses, and how far what holds them reaches.
fn locate<T>(
    api_key: i16,
    version: i16,
    frame: &[u8],
    with: impl FnOnce(&Endpoints, usize) -> Result<T, ProtocolError>,
) -> Result<T, ProtocolError> {
    let end = frame.len();
    match api_key {
        METADATA => {
            let (brokers, end) = metadata::locate(frame, version)?;
            with(&brokers, end)
        }
        FIND_COORDINATOR => with(&find_coordinator::locate(frame, version)?, end),
        DESCRIBE_CLUSTER => with(&describe_cluster::locate(frame, version)?, end),
        SHARE_FETCH => with(&share::locate_in_fetch(frame, version)?, end),
        SHARE_ACKNOWLEDGE => with(&share::locate_in_acknowledge(frame, version)?, end),
        PRODUCE => with(&produce_response::locate(frame, version)?, end),
        FETCH => {
            let mut response = FetchResponse::default();
            response.parse(frame, version)?;
            with(&response.partitions().endpoints, end)
        }
        _ => Err(ProtocolError::UnsupportedVersion { api_key, version }),
    }
}

#[cfg(test)]
mod tests;
