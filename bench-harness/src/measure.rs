//! What is measured of a system while load goes through it: every number has one name, by which files, limits and
//! tables know it.

pub(crate) mod allocations;
mod exchanged;
pub(crate) mod machine;
pub(crate) mod process;
mod system_calls;

use serde::{Deserialize, Serialize};

pub(crate) use self::exchanged::{Exchanged, Latency, Measured, System};
pub(crate) use self::system_calls::{SystemCalls, Tracer};

/// One number of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    CpuSPerGb,
    CpuSPerMillionRecords,
    CpuUsPerFrame,
    BrokerCpuSPerGb,
    MbPerS,
    FramesPerS,
    LatencyP50Ms,
    LatencyP90Ms,
    LatencyP99Ms,
    #[serde(rename = "latency_p999_ms")]
    LatencyP999Ms,
    #[serde(rename = "latency_p9999_ms")]
    LatencyP9999Ms,
    ResidentMb,
    PeakMb,
    WakeUpsPerFrame,
    InvoluntarySwitchesPerFrame,
    BusiestThreadShare,
    KmsCalls,
    StartMs,
    FirstFrameMs,
    SystemCallsPerFrame,
    RingEntersPerFrame,
    RingEntersPerRead,
}

/// Which of two numbers is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

impl Measure {
    /// All of them, in the order in which they are told.
    pub(crate) const ALL: [Self; 22] = [
        Self::CpuSPerGb,
        Self::CpuSPerMillionRecords,
        Self::CpuUsPerFrame,
        Self::BrokerCpuSPerGb,
        Self::MbPerS,
        Self::FramesPerS,
        Self::LatencyP50Ms,
        Self::LatencyP90Ms,
        Self::LatencyP99Ms,
        Self::LatencyP999Ms,
        Self::LatencyP9999Ms,
        Self::ResidentMb,
        Self::PeakMb,
        Self::WakeUpsPerFrame,
        Self::InvoluntarySwitchesPerFrame,
        Self::BusiestThreadShare,
        Self::KmsCalls,
        Self::StartMs,
        Self::FirstFrameMs,
        Self::SystemCallsPerFrame,
        Self::RingEntersPerFrame,
        Self::RingEntersPerRead,
    ];

    /// As it is written in files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuSPerGb => "cpu_s_per_gb",
            Self::CpuSPerMillionRecords => "cpu_s_per_million_records",
            Self::CpuUsPerFrame => "cpu_us_per_frame",
            Self::BrokerCpuSPerGb => "broker_cpu_s_per_gb",
            Self::MbPerS => "mb_per_s",
            Self::FramesPerS => "frames_per_s",
            Self::LatencyP50Ms => "latency_p50_ms",
            Self::LatencyP90Ms => "latency_p90_ms",
            Self::LatencyP99Ms => "latency_p99_ms",
            Self::LatencyP999Ms => "latency_p999_ms",
            Self::LatencyP9999Ms => "latency_p9999_ms",
            Self::ResidentMb => "resident_mb",
            Self::PeakMb => "peak_mb",
            Self::WakeUpsPerFrame => "wake_ups_per_frame",
            Self::InvoluntarySwitchesPerFrame => "involuntary_switches_per_frame",
            Self::BusiestThreadShare => "busiest_thread_share",
            Self::KmsCalls => "kms_calls",
            Self::StartMs => "start_ms",
            Self::FirstFrameMs => "first_frame_ms",
            Self::SystemCallsPerFrame => "system_calls_per_frame",
            Self::RingEntersPerFrame => "ring_enters_per_frame",
            Self::RingEntersPerRead => "ring_enters_per_read",
        }
    }

    /// Which side is the good one.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::MbPerS | Self::FramesPerS => Better::More,
            _ => Better::Less,
        }
    }

    /// Whether it says how fast the load itself was, so that it says nothing of a system where the load was at its
    /// limit.
    pub(crate) fn is_of_speed(self) -> bool {
        matches!(
            self,
            Self::MbPerS
                | Self::FramesPerS
                | Self::LatencyP50Ms
                | Self::LatencyP90Ms
                | Self::LatencyP99Ms
                | Self::LatencyP999Ms
                | Self::LatencyP9999Ms
        )
    }

    /// Whether it says nothing where nothing was exchanged.
    fn is_of_records(self) -> bool {
        !matches!(
            self,
            Self::MbPerS
                | Self::FramesPerS
                | Self::ResidentMb
                | Self::PeakMb
                | Self::KmsCalls
                | Self::StartMs
                | Self::FirstFrameMs
        )
    }

    /// Its value in a turn; none where it was not, or cannot be, measured.
    pub(crate) fn of(self, turn: &Measured) -> Option<f64> {
        let is_of_calls = matches!(
            self,
            Self::SystemCallsPerFrame | Self::RingEntersPerFrame | Self::RingEntersPerRead
        );
        if is_of_calls != turn.system_calls.is_some() {
            // A turn in which calls are counted is slow, and says nothing of anything else.
            return None;
        }
        let exchanged = &turn.exchanged;
        if exchanged.records == 0 && self.is_of_records() {
            return None;
        }
        // Not every client says how many there were.
        let frames = (exchanged.frames > 0).then_some(exchanged.frames as f64);
        let bytes = exchanged.bytes.max(1) as f64;
        let latency = exchanged.latency_ns.as_ref();
        let system = turn.of_system.as_ref();
        let cpu_s = system.map(|system| system.cpu_ns as f64 / 1e9);
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        let calls = turn.system_calls.as_ref();
        match self {
            Self::CpuSPerGb => Some(cpu_s? * 1e9 / bytes),
            Self::CpuSPerMillionRecords => Some(cpu_s? * 1e6 / exchanged.records.max(1) as f64),
            Self::CpuUsPerFrame => Some(cpu_s? * 1e6 / frames?),
            Self::BrokerCpuSPerGb => Some(exchanged.broker_cpu_ns? as f64 / bytes),
            Self::MbPerS => Some(exchanged.bytes as f64 * 1e3 / exchanged.wall_ns.max(1) as f64),
            Self::FramesPerS => Some(frames? * 1e9 / exchanged.wall_ns.max(1) as f64),
            Self::LatencyP50Ms => Some(milliseconds(latency?.p50)),
            Self::LatencyP90Ms => latency?.p90.map(milliseconds),
            Self::LatencyP99Ms => Some(milliseconds(latency?.p99)),
            Self::LatencyP999Ms => Some(milliseconds(latency?.p999)),
            Self::LatencyP9999Ms => latency?.p9999.map(milliseconds),
            Self::ResidentMb => Some(system?.resident_bytes as f64 / 1e6),
            Self::PeakMb => Some(system?.peak_bytes as f64 / 1e6),
            Self::WakeUpsPerFrame => Some(system?.voluntary_switches as f64 / frames?),
            Self::InvoluntarySwitchesPerFrame => Some(system?.involuntary_switches as f64 / frames?),
            Self::BusiestThreadShare => {
                let system = system?;
                Some(system.busiest_thread_ns as f64 / system.cpu_ns.max(1) as f64)
            }
            Self::KmsCalls => system?.kms_calls.map(|calls| calls as f64),
            Self::StartMs => turn.start_ns.map(milliseconds),
            Self::FirstFrameMs => turn.first_frame_ns.map(milliseconds),
            Self::SystemCallsPerFrame => Some(calls?.all as f64 / frames?),
            Self::RingEntersPerFrame => Some(calls?.ring_enters as f64 / frames?),
            Self::RingEntersPerRead => {
                let calls = calls?;
                (calls.ring_enters > 0).then(|| calls.ring_enters as f64 / calls.reads.max(1) as f64)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_know_a_measure_by_its_name() {
        for measure in Measure::ALL {
            let written = serde_json::to_string(&measure).unwrap();
            assert_eq!(written, format!("{:?}", measure.name()));
        }
    }
}
