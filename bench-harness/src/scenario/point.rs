//! One point of a scenario: what is held fixed while systems take turns.

use serde::{Deserialize, Serialize};

use super::{Client, ClientCodec, Direction, StoredCodec, Tls, What};
use crate::Failure;
use crate::measure::Measure;

/// One combination of what a scenario varies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) what: What,
    pub(crate) direction: Direction,
    pub(crate) frame_kib: usize,
    pub(crate) record_bytes: usize,
    pub(crate) codec: ClientCodec,
    pub(crate) stored_codec: StoredCodec,
    /// Runs that were recorded before there was a choice do not say it.
    #[serde(default)]
    pub(crate) client: Client,
    pub(crate) connections: usize,
    pub(crate) topics: usize,
    pub(crate) rules: usize,
    pub(crate) keks: usize,
    pub(crate) deks: usize,
    pub(crate) idle_connections: usize,
    /// Runs that were recorded before there was a choice do not say it.
    #[serde(default = "one")]
    pub(crate) executors: usize,
    pub(crate) rate_mb_per_s: Option<f64>,
    /// Of these two recorded runs may say nothing either.
    #[serde(default)]
    pub(crate) tls: Tls,
    #[serde(default)]
    pub(crate) reconnects: bool,
}

impl Point {
    /// One record of 1 KiB at a time, and one of everything else.
    pub(crate) fn of(what: What, direction: Direction) -> Self {
        Self {
            what,
            direction,
            frame_kib: 1,
            record_bytes: 1024,
            codec: ClientCodec::None,
            stored_codec: StoredCodec::Lz4,
            client: Client::Generator,
            connections: 1,
            topics: 1,
            rules: 2,
            keks: 1,
            deks: 1,
            idle_connections: 0,
            executors: one(),
            rate_mb_per_s: None,
            tls: Tls::None,
            reconnects: false,
        }
    }

    pub(super) fn check(&self) -> Result<(), Failure> {
        for (field, value, [least, most]) in [
            ("frame_kib", self.frame_kib, [1, 8 << 10]),
            ("record_bytes", self.record_bytes, [64, 1 << 20]),
            ("connections", self.connections, [1, 10_000]),
            ("topics", self.topics, [1, 100_000]),
            ("rules", self.rules, [2, 1_000]),
            ("keks", self.keks, [1, 1_000]),
            ("deks", self.deks, [1, DEKS_MAX]),
            ("idle_connections", self.idle_connections, [0, 10_000]),
            ("executors", self.executors, [1, 64]),
        ] {
            if !(least..=most).contains(&value) {
                return Err(format!("{field} = {value}: {least} to {most} can be").into());
            }
        }
        if self.rate_mb_per_s.is_some_and(|rate| !(rate > 0.0 && rate < 1e5)) {
            return Err("rate_mb_per_s: more than nothing".into());
        }
        let usual = Self::of(self.what, self.direction);
        for (field, value, usual) in [
            ("connections", self.connections, usual.connections),
            ("topics", self.topics, usual.topics),
            ("rules", self.rules, usual.rules),
            ("deks", self.deks, usual.deks),
            ("idle_connections", self.idle_connections, usual.idle_connections),
        ] {
            if self.client.is_real() && value != usual {
                return Err(format!("{field} = {value}: {usual} with a real broker").into());
            }
        }
        if self.client.is_real() && self.direction == Direction::Both {
            return Err("what: \"both\" not with a real broker".into());
        }
        if self.client.is_real() && (self.tls != Tls::None || self.reconnects) {
            return Err("tls, reconnects: not with a real broker".into());
        }
        if self.reconnects && self.rate_mb_per_s.is_some() {
            return Err("reconnects: not at a rate".into());
        }
        let is_paced_fetch = self.direction == Direction::Fetch && self.rate_mb_per_s.is_some();
        if self.client == Client::Java && is_paced_fetch {
            return Err("rate_mb_per_s: Java's tool fetches as fast as it can, librdkafka at a rate".into());
        }
        if self.keks > self.topics {
            return Err("keks: as many as topics at most, since a topic has one".into());
        }
        if self.deks > 1 && self.keks > 1 {
            return Err("deks: only where `keks` is 1".into());
        }
        if self.deks * (self.frame_kib << 10) > HISTORY_BYTES_MAX {
            return Err("deks: times frame_kib, more than the broker holds (512 MiB)".into());
        }
        if self.direction == Direction::Both && self.connections < 2 {
            return Err("connections: 2 at least, where half of them fetch".into());
        }
        Ok(())
    }

    /// Whether what goes through `sealwire` is sealed at the broker.
    pub(crate) fn is_sealed(&self) -> bool {
        self.what != What::Pass
    }

    /// What is done, and which way it goes where that is not said by it.
    pub(crate) fn work(&self) -> &'static str {
        match (self.what, self.direction) {
            (What::Pass, Direction::Produce) => "pass produce",
            (What::Pass, Direction::Fetch) => "pass fetch",
            (What::Pass, Direction::Both) => "pass both",
            (What::Seal, _) => "seal",
            (What::Open, _) => "open",
            (What::Both, _) => "seal and open",
        }
    }

    /// What its CPU is told for: a measure, and of what that is.
    pub(crate) fn cost(&self) -> (Measure, &'static str) {
        match self.reconnects {
            true => (Measure::CpuUsPerFrame, "connection"),
            false => (Measure::CpuSPerGb, "GB"),
        }
    }

    /// The work, size of frames, and whatever else is not as usual.
    pub(crate) fn label(&self) -> String {
        let mut label = format!("{} {} KiB", self.work(), self.frame_kib);
        let usual = Self::of(self.what, self.direction);
        let unusual = [
            ("records of", self.record_bytes, usual.record_bytes),
            ("connections", self.connections, self.client.usual_connections()),
            ("topics", self.topics, usual.topics),
            ("rules", self.rules, usual.rules),
            ("KEKs", self.keks, usual.keks),
            ("DEKs", self.deks, usual.deks),
            ("idle", self.idle_connections, usual.idle_connections),
            ("executors", self.executors, usual.executors),
        ];
        for (name, value, usual) in unusual {
            if value != usual {
                label += &format!(", {name} {value}");
            }
        }
        match self.client {
            Client::Generator => {}
            Client::Java => label += ", Java",
            Client::Librdkafka => label += ", librdkafka",
        }
        match self.codec {
            ClientCodec::None => {}
            ClientCodec::Lz4 => label += ", lz4",
            ClientCodec::Zstd => label += ", zstd",
        }
        if self.stored_codec == StoredCodec::None {
            label += ", stored none";
        }
        match self.tls {
            Tls::None => {}
            Tls::Ecdsa => label += ", TLS",
            Tls::Rsa => label += ", TLS with RSA",
            Tls::Mtls => label += ", mTLS",
        }
        if self.reconnects {
            label += ", a connection each";
        }
        if let Some(rate) = self.rate_mb_per_s {
            label += &format!(", {rate} MB/s");
        }
        label
    }
}

fn one() -> usize {
    1
}

/// As many as an executor remembers by default: what it has to ask for anew comes late, and is no measurement of
/// opening.
const DEKS_MAX: usize = 4096;
/// What the stand-in broker holds to answer with.
const HISTORY_BYTES_MAX: usize = 512 << 20;
