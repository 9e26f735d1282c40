//! The fixed vocabularies of why something was refused or closed: small enums that index arrays and name label values.

/// Defines an enum whose variants carry their label text, in one place.
macro_rules! labels {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident => $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        #[allow(dead_code, reason = "not every vocabulary is listed, or the index of an array")]
        impl $name {
            /// Every value, in the order of [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];
            /// How many values there are.
            pub const COUNT: usize = Self::ALL.len();

            /// The label text: lower case, words joined by underscores.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// The value's place in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}
pub(crate) use labels;

labels! {
    /// Why records of a partition were not sealed, or not delivered.
    RefusalReason {
        /// No rule names the topic.
        NoRule => "no_rule",
        /// A rule rejects the topic.
        Rejected => "rejected",
        /// The topic's rule does not name the client (`open_for`, `seal_for`).
        NotNamed => "not_named",
        /// Of a client that `raw_for` names, records that are not sealed for the topic were produced.
        NotSealed => "not_sealed",
        /// One of Kafka's own topics was produced to.
        InternalTopic => "internal_topic",
        /// The audit log could not be written when the wait ended.
        AuditHeld => "audit_held",
        /// The key had not arrived when the wait ended.
        KeyWaiting => "key_waiting",
        /// The KMS cannot be reached, or refuses our credentials.
        KmsUnavailable => "kms_unavailable",
        /// The KMS refuses the KEK: disabled, destroyed or not found.
        KekRefused => "kek_refused",
        /// The rule does not name the record's KEK.
        KekNotNamed => "kek_not_named",
        /// An earlier batch of the same producer was refused on this connection; higher sequences wait for it.
        SequenceGuard => "sequence_guard",
        /// The producer used the marker header's name.
        ClientMarker => "client_marker",
        /// The sealed batch is larger than the rule's `max_message_bytes`, or the request than
        /// `limits.request_bytes_max`.
        TooLarge => "too_large",
        /// The broker refuses the sealed batch: it is larger than the topic's `max.message.bytes`.
        TooLargeForBroker => "too_large_for_broker",
        /// What was sealed before in the request left no room for it.
        RequestFull => "request_full",
        /// The batch, or what it decompresses to, is not a valid record batch.
        Malformed => "malformed",
        /// A batch in a form that cannot be sealed or opened (magic 0 or 1, a codec that is not known).
        Unsupported => "unsupported",
        /// The authentication tag of a record, or of the data key in it, does not verify.
        Tag => "tag",
        /// The seal is of a format that is not known, or not in its canonical form.
        UnknownFormat => "unknown_format",
        /// The seal is bound to a domain that the rule does not name.
        Domain => "domain",
        /// The record's headers are less protected than the rule demands of what is read.
        WeakHeaders => "weak_headers",
        /// The keyring has no stable key for the record keys of the topic.
        NoStableKey => "no_stable_key",
        /// The topic is compacted, and its log holds record keys that are stored in another way than the rule says.
        KeysUnfit => "keys_unfit",
        /// Whether it does had not been found out when the wait ended.
        KeysUnseen => "keys_unseen",
        /// The record's key is not sealed, where the rule is for sealed ones.
        ClearKey => "clear_key",
        /// The record's key is sealed, where the rule is for readable ones.
        KeySealed => "key_sealed",
        /// The record's key is sealed under a stable key that is unknown, or not that of its domain.
        StableKey => "stable_key",
        /// A record without a seal where the rule demands one.
        Plaintext => "plaintext",
        /// A tombstone without a seal where the rule does not accept it.
        Tombstone => "tombstone",
        /// A record in a foreign form that the rule does not accept.
        ForeignForm => "foreign_form",
        /// Two marker headers in one record.
        MarkerTwice => "marker_twice",
        /// Anything else; never expected.
        Other => "other",
    }
}

labels! {
    /// What a request was about that was not its client's to send.
    RequestRefusal {
        /// The cluster: `admin_for` does not name the client.
        Cluster => "cluster",
        /// A topic: its rule does not name the client.
        Topic => "topic",
        /// A group: `groups_for` does not name the client.
        Group => "group",
        /// A transactional id: the same.
        TransactionalId => "transactional_id",
    }
}

labels! {
    /// What became of a login of the proxy's own at a broker.
    BrokerLoginResult {
        /// The broker has taken it.
        Accepted => "accepted",
        /// The same of a later one on a connection.
        Renewed => "renewed",
        /// The broker has refused it.
        Refused => "refused",
        /// There is no account for the client, or it is left alone for a while, or no answer came that could be
        /// understood.
        Failed => "failed",
    }
}

labels! {
    /// How the proxy logs in at brokers (`upstream_login.kind`).
    BrokerLoginKind {
        /// By an account of its own, whoever the client is.
        One => "one",
        /// By an account for each client.
        PerPrincipal => "per_principal",
        /// By the client's own token.
        ForwardToken => "forward_token",
        /// By tokens that brokers make for each client.
        DelegationTokens => "delegation_tokens",
    }
}

labels! {
    /// Why a login of the proxy's own at a broker came to nothing.
    BrokerLoginFault {
        /// The broker has refused it.
        Refused => "refused",
        /// The broker has refused a delegation token; another is made.
        TokenRefused => "token_refused",
        /// No account is for the client, or what it is to show cannot be used.
        NoAccount => "no_account",
        /// Another account is the client's now than the one by which its connection has begun.
        OtherAccount => "other_account",
        /// The account was refused before, and is left alone for a while.
        LeftAlone => "left_alone",
        /// There is no token: none is made, or none could be made or fetched.
        NoToken => "no_token",
        /// A token was waited for in vain.
        NoTokenInTime => "no_token_in_time",
        /// Others tried the account for too long.
        TriedTooLong => "tried_too_long",
        /// The password was not hashed in time.
        NotHashed => "not_hashed",
        /// What the broker has answered is not right, or cannot be read.
        BrokersAnswer => "brokers_answer",
        /// The broker has not answered.
        BrokerSilent => "broker_silent",
        /// The client has left a request half sent until the time of the login was over.
        HalfSent => "half_sent",
        /// There is no randomness to be had.
        Internal => "internal",
    }
}

impl BrokerLoginFault {
    /// As it is counted.
    #[must_use]
    pub fn result(self) -> BrokerLoginResult {
        match self {
            Self::Refused | Self::TokenRefused => BrokerLoginResult::Refused,
            _ => BrokerLoginResult::Failed,
        }
    }
}

labels! {
    /// Why a client connection ended.
    CloseReason {
        /// The client closed it.
        ClientClosed => "client_closed",
        /// The broker closed it.
        BrokerClosed => "broker_closed",
        /// The client's socket failed.
        ClientError => "client_error",
        /// The broker's socket failed.
        BrokerError => "broker_error",
        /// The broker did not answer in time what the proxy asked it first.
        BrokerSilent => "broker_silent",
        /// No broker could be connected to in time.
        ConnectFailed => "connect_failed",
        /// A node's port led to another broker, or the node has moved: closed so that the client comes back to the
        /// right one.
        Learned => "learned",
        /// It came from this very program, by way of others.
        Loop => "loop",
        /// It says that it has passed eight other proxies, which is more than anybody chains.
        TooManyProxies => "too_many_proxies",
        /// It came to a listener with `proxy_protocol` from outside of `proxy_protocol_sources`.
        ProxySource => "proxy_source",
        /// The preface of a load balancer was missing, malformed, too long or late.
        ProxyPreface => "proxy_preface",
        /// Nothing passed for the idle time-out.
        Idle => "idle",
        /// Nothing passed for the shorter idle time-out that holds before authentication.
        IdleUnauthenticated => "idle_unauthenticated",
        /// The client could not log in.
        LoginFailed => "login_failed",
        /// It could not be said whether the client may log in: there were too many at a time, or nothing to compare
        /// with.
        LoginUnavailable => "login_unavailable",
        /// A broker did not take the login that the proxy made for the client, or there is no account for that.
        BrokerLogin => "broker_login",
        /// A login's time was over, and the client went on.
        LoginExpired => "login_expired",
        /// As many logins from its address had failed within the minute as `limits.failed_logins_per_address_max` says.
        LoginLimit => "login_limit",
        /// Its address had as many connections as `limits.connections_per_address_max` says.
        AddressLimit => "address_limit",
        /// Its principal had as many connections as `limits.connections_per_principal_max` says.
        PrincipalLimit => "principal_limit",
        /// TLS was not agreed on, or somebody refused the other's certificate.
        TlsFailed => "tls_failed",
        /// As many TLS handshakes were under way as `limits.handshakes_max` says, and its client was the slowest, or
        /// all others went on; or `limits.handshakes_per_second_max` left it no time.
        HandshakeLimit => "handshake_limit",
        /// It began with something else than TLS where that is spoken.
        OtherProtocol => "other_protocol",
        /// A frame announced more bytes than the cap.
        FrameTooLarge => "frame_too_large",
        /// A frame that cannot be parsed.
        MalformedFrame => "malformed_frame",
        /// A response that matches no request in flight, or that names a topic which its request did not ask for.
        UnexpectedResponse => "unexpected_response",
        /// A request in a version that is not advertised.
        VersionOutsideRange => "version_outside_range",
        /// A request of an API that is not let through.
        DeniedApi => "denied_api",
        /// A produce request without acknowledgement that could not be sealed: there is no other way to say so.
        AcksZeroUnsealable => "acks_zero_unsealable",
        /// The program is draining.
        Drain => "drain",
        /// A limit was reached (connections, bytes held, refused sequences remembered).
        Limit => "limit",
        /// A fault of our own.
        Internal => "internal",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn labels_are_distinct_and_indices_are_places() {
        let texts: BTreeSet<_> = RefusalReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(texts.len(), RefusalReason::COUNT);
        for (place, reason) in RefusalReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
        let texts: BTreeSet<_> = CloseReason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(texts.len(), CloseReason::COUNT);
        for (place, reason) in CloseReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }
}
