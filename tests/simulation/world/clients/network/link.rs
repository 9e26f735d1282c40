//! One connection of a client: what has come and is not a whole frame yet, and what is unanswered.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::{ApiKey, ApiVersionsResponse};

use super::login::LinkLogin;
use super::{Address, Peer};
use crate::wire::decode_response;

pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) address: Address,
    /// Whether it has said what it can do.
    pub(super) is_ready: bool,
    /// The versions that it has announced, by API.
    pub(super) versions: BTreeMap<i16, (i16, i16)>,
    pub(super) login: LinkLogin,
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
    Versions,
    Metadata,
    /// The choice of a mechanism, and a message of a login.
    Mechanism,
    Token,
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
            login: LinkLogin::default(),
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

    /// Whether a request may be sent that is no part of a login.
    pub(super) fn may_send(&self) -> bool {
        self.is_ready && !self.login.is_under_way()
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

    /// Takes over what the peer can do.
    ///
    /// # Errors
    /// The version to ask in instead: the highest that the peer names, or 0.
    pub(super) fn learn_versions(&mut self, frame: &[u8], version: i16) -> Result<(), i16> {
        let error_code = i16::from_be_bytes([frame[4], frame[5]]);
        // Such an answer always has the form of version 0.
        let form = if error_code == UNSUPPORTED_VERSION {
            0
        } else {
            // The oracle knows no later one, and that is alike.
            version.min(4)
        };
        let response: ApiVersionsResponse = decode_response(frame, form);
        let mut versions = response.api_keys.iter();
        if error_code == UNSUPPORTED_VERSION && version > 0 {
            let own = versions.find(|api| api.api_key == ApiKey::ApiVersions as i16);
            return Err(own.map_or(0, |api| api.max_version.min(version - 1)));
        }
        assert_eq!(error_code, 0, "ApiVersions is refused");
        self.versions = versions
            .map(|api| (api.api_key, (api.min_version, api.max_version)))
            .collect();
        Ok(())
    }
}

const UNSUPPORTED_VERSION: i16 = 35;
