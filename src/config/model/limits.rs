//! Every bound of the running program that an operator may set.

use std::time::Duration;

/// Declares the bounds once: as fields, and as names to be read.
macro_rules! limits {
    (
        |$quantity:ident, $duration:ident|
        $(#[$meta:meta])*
        $name:ident { $($(#[$field_meta:meta])* $field:ident: $kind:ident $type:ty,)+ }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name { $($(#[$field_meta])* pub $field: $type,)+ }

        impl $name {
            /// What the two readers find under the name of each; all are read, so that all mistakes are noted.
            pub(in crate::config) fn read(
                $quantity: impl Fn(&str) -> Option<usize>,
                $duration: impl Fn(&str) -> Option<Duration>,
            ) -> Option<Self> {
                $(let $field = $kind(stringify!($field));)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    };
}

limits! {
    |quantity, duration|
    /// `[limits]`. Sizes are in bytes. What happens at each bound is said in `docs/configuration.md`.
    Limits {
        /// Client connections of the whole process; one more is accepted and closed at once.
        connections_max: quantity usize,
        /// Connections from one address; each executor has its share. One more is closed.
        connections_per_address_max: quantity usize,
        /// Connections of one principal of one cluster; each executor has its share. One more is closed.
        connections_per_principal_max: quantity usize,
        /// Logins from one address that fail in a minute; each executor has its share. Then nobody there logs in.
        failed_logins_per_address_max: quantity usize,
        /// TLS handshakes with clients that the process has under way; for one more the oldest is closed whose client
        /// has to say something. See [`Limits::handshakes_of_each`].
        handshakes_max: quantity usize,
        /// TLS handshakes with clients that one executor answers in a second; further ones wait.
        handshakes_per_second_max: quantity usize,
        /// Requests of one connection that are not answered yet; at the bound no more is read from it.
        in_flight_requests_max: quantity usize,
        /// Bytes of one connection's requests that are not answered yet; at the bound no more is read from it.
        in_flight_bytes_max: quantity usize,
        /// One request frame of an authenticated connection; a longer one closes the connection.
        request_bytes_max: quantity usize,
        /// One request frame before SASL authentication has succeeded; a longer one closes the connection.
        unauthenticated_request_bytes_max: quantity usize,
        /// One Fetch response; a longer one closes the connection.
        fetch_response_bytes_max: quantity usize,
        /// One batch after decompression; a larger one is refused.
        decompressed_batch_bytes_max: quantity usize,
        /// Bytes that one executor holds for all its connections; at the bound long frames take turns.
        executor_bytes_max: quantity usize,
        /// Topics whose rule an executor remembers and that have counters of their own.
        topics_max: quantity usize,
        /// Opened keys that one executor remembers; the least recently used one goes.
        opened_keys_max: quantity usize,
        /// KEKs that the process holds sealing keys for; the least recently used one goes.
        sealing_keys_max: quantity usize,
        /// Batches that one data key seals; its successor is fetched at half of them.
        data_key_batches_max: quantity usize,
        /// Bytes of plaintext that one data key seals; its successor is fetched at half of them.
        data_key_bytes_max: quantity usize,
        /// At this age a data key that is in use is replaced; at twice this age it seals no longer.
        data_key_age_max: duration Duration,
        /// How long keys are used on while their KMS confirms nothing.
        outage_grace: duration Duration,
        /// A connection without a frame for this long is closed.
        idle_timeout: duration Duration,
        /// The same, before the connection's first request that a broker only answers to authenticated clients.
        idle_timeout_unauthenticated: duration Duration,
        /// How long connecting to a broker may take, the look-up of its name included.
        connect_timeout: duration Duration,
        /// How long a produce request waits for a sealing key before its partitions are refused as retriable.
        seal_wait: duration Duration,
        /// How long a fetch response that has nothing to deliver yet is held back.
        fetch_hold: duration Duration,
        /// How long what is in flight may take to finish after SIGTERM.
        drain_timeout: duration Duration,
    }
}

impl Limits {
    /// How many TLS handshakes with clients each of so many executors may have under way. In all that is half of
    /// `connections_max` at most: the other half is for those who have said what they want.
    pub fn handshakes_of_each(&self, executors: usize) -> usize {
        let all = self.handshakes_max.min(self.connections_max / 2);
        all.checked_div(executors).unwrap_or(all).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshakes_leave_half_of_the_connections_to_others() {
        let each = |handshakes_max, connections_max, executors| {
            let limits = Limits {
                handshakes_max,
                connections_max,
                ..Limits::default()
            };
            limits.handshakes_of_each(executors)
        };
        assert_eq!(each(5000, 10_000, 1), 5000);
        assert_eq!(each(5000, 10_000, 8), 625);
        assert_eq!(each(5000, 1000, 2), 250);
        assert_eq!(each(100, 10_000, 3), 33);
        assert_eq!(each(1, 1, 64), 1);
    }
}
