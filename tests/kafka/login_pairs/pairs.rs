//! How clients log in, how the proxy logs in for them, and which of the one goes with which of the other.

/// How a client shows the proxy who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// Not at all, without TLS.
    Network,
    /// It logs in at the brokers, and the proxy passes that on.
    Broker,
    Certificate,
    Scram256,
    Scram512,
    Plain,
    Token,
}

/// How brokers are shown whom they see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upstream {
    Pass,
    OnePlain,
    OneScram,
    OneToken,
    OneCertificate,
    AccountPlain,
    AccountScram,
    AccountCertificate,
    DelegationToken,
    ForwardToken,
}

pub(super) const CLIENTS: [Client; 7] = [
    Client::Network,
    Client::Broker,
    Client::Certificate,
    Client::Scram256,
    Client::Scram512,
    Client::Plain,
    Client::Token,
];

pub(super) const UPSTREAMS: [Upstream; 10] = [
    Upstream::Pass,
    Upstream::OnePlain,
    Upstream::OneScram,
    Upstream::OneToken,
    Upstream::OneCertificate,
    Upstream::AccountPlain,
    Upstream::AccountScram,
    Upstream::AccountCertificate,
    Upstream::DelegationToken,
    Upstream::ForwardToken,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) upstream: Upstream,
}

impl Client {
    /// As its principal is called, `User:` left away, where it has one at the proxy.
    pub(super) fn principal(self) -> &'static str {
        match self {
            Self::Network => "NETWORK",
            Self::Broker => "passed-on",
            Self::Certificate => "CN=by-certificate",
            Self::Scram256 => "by-scram-256",
            Self::Scram512 => "by-scram-512",
            Self::Plain => "by-plain",
            Self::Token => "by-token",
        }
    }

    /// The user of its own that brokers have for it; by certificate this is the common name.
    pub(super) fn account(self) -> String {
        format!("account-{self:?}").to_lowercase()
    }

    /// Whether the proxy knows who it is.
    pub(super) fn has_a_name(self) -> bool {
        !matches!(self, Self::Network | Self::Broker)
    }
}

impl Upstream {
    pub(super) fn is_one(self) -> bool {
        matches!(
            self,
            Self::OnePlain | Self::OneScram | Self::OneToken | Self::OneCertificate
        )
    }
}

impl Pair {
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let of = |upstream| CLIENTS.map(|client| Self { client, upstream });
        UPSTREAMS.into_iter().flat_map(of)
    }

    pub(super) fn possible() -> impl Iterator<Item = Self> {
        Self::all().filter(|pair| pair.refusal().is_none())
    }

    /// What the configuration says of a pair that makes no sense.
    pub(super) fn refusal(self) -> Option<&'static str> {
        let Self { client, upstream } = self;
        match upstream {
            Upstream::Pass => None,
            Upstream::DelegationToken => {
                (!client.has_a_name()).then_some("clients have no names of their own")
            }
            _ if client == Client::Broker => Some("clients log in at brokers"),
            Upstream::ForwardToken => (client != Client::Token).then_some("takes clients without a token"),
            _ => None,
        }
    }

    /// Of its cluster; what it may use at the brokers begins with [`Self::prefix`].
    pub(super) fn name(self) -> String {
        format!("{:?}-{:?}", self.client, self.upstream).to_lowercase()
    }

    /// No two pairs have one of which the other begins; the first word is that of a rule that seals.
    pub(super) fn prefix(self) -> String {
        format!("sealed-{}-", self.name())
    }

    /// Whom brokers see, `User:` left away.
    pub(super) fn seen(self) -> String {
        let Self { client, upstream } = self;
        match upstream {
            Upstream::Pass if client != Client::Broker => format!("CN={PASSING}"),
            Upstream::OnePlain | Upstream::OneScram | Upstream::OneToken => self.own().to_owned(),
            Upstream::OneCertificate => format!("CN={}", self.own()),
            Upstream::AccountPlain => format!("plain-{}", client.account()),
            Upstream::AccountScram => client.account(),
            Upstream::AccountCertificate => format!("CN={}", client.account()),
            Upstream::Pass | Upstream::DelegationToken | Upstream::ForwardToken => {
                client.principal().to_owned()
            }
        }
    }

    /// The proxy's own name at brokers; by certificate this is the common name.
    pub(super) fn own(self) -> &'static str {
        match self.upstream {
            Upstream::Pass => PASSING,
            Upstream::OnePlain => "own-plain",
            Upstream::OneScram => "own-scram",
            Upstream::OneToken => "own-token",
            Upstream::OneCertificate => "own-certificate",
            Upstream::DelegationToken => "own-delegating",
            Upstream::AccountPlain
            | Upstream::AccountScram
            | Upstream::AccountCertificate
            | Upstream::ForwardToken => "asking",
        }
    }

    /// Whether brokers are shown a certificate, and asked for nothing else.
    pub(super) fn is_by_certificate(self) -> bool {
        match self.upstream {
            Upstream::Pass => self.client != Client::Broker,
            Upstream::OneCertificate | Upstream::AccountCertificate => true,
            _ => false,
        }
    }
}

const PASSING: &str = "passing";
