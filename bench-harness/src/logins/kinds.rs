//! The kinds of logins: of clients at the proxy, and of the proxy at brokers.

use crate::Failure;

/// How a client shows the proxy who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Not at all, without TLS.
    Nobody,
    /// Not at all.
    Tls,
    Certificate,
    Scram256,
    Scram512,
    Plain,
    Token,
}

/// How brokers are shown whom they see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Not at all, without TLS.
    Nobody,
    /// Not at all.
    Tls,
    Certificate,
    One,
    PerPrincipal,
    DelegationTokens,
    ForwardToken,
}

#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) client: Client,
    pub(super) upstream: Upstream,
}

/// The first is what the others are compared with.
pub(super) const KINDS: [Kind; 11] = [
    Kind::of(Client::Nobody, Upstream::Nobody),
    Kind::of(Client::Tls, Upstream::Tls),
    Kind::of(Client::Certificate, Upstream::Certificate),
    Kind::of(Client::Scram256, Upstream::Tls),
    Kind::of(Client::Scram512, Upstream::Tls),
    Kind::of(Client::Plain, Upstream::Tls),
    Kind::of(Client::Token, Upstream::Tls),
    Kind::of(Client::Scram256, Upstream::One),
    Kind::of(Client::Scram256, Upstream::PerPrincipal),
    Kind::of(Client::Scram256, Upstream::DelegationTokens),
    Kind::of(Client::Token, Upstream::ForwardToken),
];

impl Kind {
    const fn of(client: Client, upstream: Upstream) -> Self {
        Self { client, upstream }
    }

    /// What its cluster is called.
    pub(super) fn cluster(self) -> String {
        format!("{:?}-{:?}", self.client, self.upstream).to_lowercase()
    }

    pub(super) fn explain(self, failure: &Failure) -> Failure {
        format!("{}, {}: {failure}", self.client.name(), self.upstream.name()).into()
    }
}

impl Client {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "without TLS",
            Self::Tls => "TLS",
            Self::Certificate => "TLS with a certificate",
            Self::Scram256 => "SCRAM-SHA-256",
            Self::Scram512 => "SCRAM-SHA-512",
            Self::Plain => "PLAIN",
            Self::Token => "OAUTHBEARER",
        }
    }
}

impl Upstream {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody, without TLS",
            Self::Tls => "nobody",
            Self::Certificate => "the proxy's certificate",
            Self::One => "`one`, by SCRAM-SHA-256",
            Self::PerPrincipal => "`per_principal`, by SCRAM-SHA-256",
            Self::DelegationTokens => "`delegation_tokens`",
            Self::ForwardToken => "`forward_token`",
        }
    }
}
