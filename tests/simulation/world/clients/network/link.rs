//! One connection of a client: what has come and is not a whole frame yet, and what is unanswered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::ApiVersionsResponse;

use super::{Address, Peer};
use crate::wire::decode_response;

pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) address: Address,
    /// Whether it has said what it can do.
    pub(super) is_ready: bool,
    /// The versions that it has announced, by API.
    pub(super) versions: BTreeMap<i16, (i16, i16)>,
    pub(super) input: Vec<u8>,
    pub(super) unanswered: VecDeque<Sent>,
    begun: Duration,
}

pub(super) struct Sent {
    pub(super) correlation_id: i32,
    pub(super) asked: Asked,
    pub(super) version: i16,
    at: Duration,
}

pub(super) enum Asked {
    /// In this version.
    Versions(i16),
    Metadata,
    /// The client knows.
    Other,
}

impl Link {
    pub(super) fn new(peer: Peer, address: Address, now: Duration) -> Self {
        Self {
            peer,
            address,
            is_ready: false,
            versions: BTreeMap::new(),
            input: Vec::new(),
            unanswered: VecDeque::new(),
            begun: now,
        }
    }

    pub(super) fn sent(&mut self, correlation_id: i32, asked: Asked, version: i16, now: Duration) {
        self.unanswered.push_back(Sent {
            correlation_id,
            asked,
            version,
            at: now,
        });
    }

    /// When it is given up if nothing comes.
    pub(super) fn deadline(&self, request_timeout: Duration) -> Duration {
        match self.unanswered.front() {
            Some(sent) => sent.at + request_timeout,
            None if self.is_ready => Duration::MAX,
            None => self.begun + request_timeout,
        }
    }

    /// The next whole frame, without its length.
    pub(super) fn next_frame(&mut self) -> Option<Vec<u8>> {
        let length = i32::from_be_bytes(*self.input.first_chunk()?);
        let end = 4 + usize::try_from(length).expect("a length");
        (self.input.len() >= end).then(|| self.input.drain(..end).skip(4).collect())
    }

    /// Whether the peer could say it in the version that was asked for.
    pub(super) fn learn_versions(&mut self, frame: &[u8], version: i16) -> bool {
        // An answer that a version is not known always has the form of version 0.
        let error_code = i16::from_be_bytes([frame[4], frame[5]]);
        if error_code == 35 && version > 0 {
            return false;
        }
        assert_eq!(error_code, 0, "ApiVersions is refused");
        let response: ApiVersionsResponse = decode_response(frame, version);
        self.versions = response
            .api_keys
            .iter()
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        self.is_ready = true;
        true
    }
}
