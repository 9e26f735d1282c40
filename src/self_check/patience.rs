//! How long one broker is waited for (SELF-CHECK-1).

use std::time::{Duration, Instant};

use super::left;
use crate::kafka_client::Patience;

/// Of what is left until `deadline`.
pub(super) fn patience(deadline: Instant) -> Patience {
    // A time-out of zero would be none at all.
    let wait = |most| left(deadline, most).max(Duration::from_millis(1));
    Patience {
        connect: wait(CONNECT_MAX),
        answer: wait(ANSWER_MAX),
        answer_bytes_max: ANSWER_BYTES_MAX,
    }
}

pub(super) const CONNECT_MAX: Duration = Duration::from_secs(3);
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// The brokers and partitions of a cluster that is larger than anybody's take less.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
