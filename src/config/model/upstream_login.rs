//! `[cluster.NAME.upstream_login]`: whom brokers see.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use reqwest::Url;
use zeroize::Zeroizing;

use super::HostPort;
use crate::broker_login::{AccountsError, BrokerAccounts, ReadCertificate};
use crate::durable_file::{self, FileError};
use crate::identity::sasl::exchange::LoginMechanism;
use crate::identity::sasl::initiator::{Account, Credential, Proof};
use crate::secret_source::{SecretError, SecretSource};
use crate::transport::certificates::CertificateFiles;
use crate::transport::tls_client::{Trust, UpstreamTls};

/// Whom brokers see, where the proxy itself logs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamLogin {
    /// An account for each principal, by this file.
    PerPrincipal {
        /// Which file.
        accounts: PathBuf,
        /// Whether passwords may be sent without TLS.
        allows_plaintext: bool,
    },
    /// The proxy's own account, whoever the client is.
    One(OwnAccount),
    /// Each client by the token that it logs in with.
    ForwardToken,
    /// The client's principal, by a token that brokers make for the proxy (KIP-48, KIP-373).
    DelegationTokens {
        /// Who the proxy is when it has one made.
        own: OwnAccount,
        /// How long a token is to be good.
        lifetime: Duration,
        /// Where brokers make tokens, if that is elsewhere than where they are asked first.
        made_at: Vec<HostPort>,
    },
}

impl UpstreamLogin {
    /// Who the proxy itself is, where it has an account of its own.
    #[must_use]
    pub fn own(&self) -> Option<&OwnAccount> {
        match self {
            Self::PerPrincipal { .. } | Self::ForwardToken => None,
            Self::One(own) | Self::DelegationTokens { own, .. } => Some(own),
        }
    }

    /// Where brokers make tokens, if that is elsewhere than where they are asked first.
    #[must_use]
    pub fn made_at(&self) -> &[HostPort] {
        match self {
            Self::DelegationTokens { made_at, .. } => made_at,
            _ => &[],
        }
    }
}

/// Who the proxy itself is at brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnAccount {
    /// Whoever its certificate says (`upstream_tls.certificate`), or nobody.
    Certificate,
    /// A user, by SCRAM or PLAIN.
    Password {
        /// By which mechanism.
        mechanism: LoginMechanism,
        /// Its name at the brokers.
        user: String,
        /// Where its password is.
        password: SecretSource,
    },
    /// Whose token this is (OAUTHBEARER).
    Token(SecretSource),
    /// Whom the tokens name that are fetched there (OAUTHBEARER).
    Fetched(Box<TokenEndpoint>),
}

/// Who gives tokens to the proxy (RFC 6749, 4.4), and who the proxy is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEndpoint {
    /// Where it is, by HTTPS.
    pub url: Url,
    /// Who vouches for whoever is there.
    pub trust: Trust,
    /// The proxy's name there.
    pub client_id: String,
    /// Where its secret is.
    pub client_secret: SecretSource,
    /// What the token is to be for, where that has to be said.
    pub scope: Option<String>,
    /// Whom it is to be for, where that has to be said.
    pub audience: Option<String>,
}

impl TokenEndpoint {
    /// The secret, as it is now. It blocks.
    ///
    /// # Errors
    /// [`OwnAccountError`].
    pub fn secret(&self) -> Result<Zeroizing<String>, OwnAccountError> {
        read_secret(&self.client_secret)
    }
}

/// Why the proxy's own account cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OwnAccountError {
    /// Its secret cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is none.
    #[error("the secret is empty, has a NUL, or is no text")]
    Empty,
}

impl OwnAccount {
    /// What is proven to brokers; `None` where that is by TLS, or by what has to be fetched. It blocks.
    ///
    /// # Errors
    /// [`OwnAccountError`].
    pub fn read(&self) -> Result<Option<Credential>, OwnAccountError> {
        let proof = match self {
            Self::Certificate | Self::Fetched(_) => return Ok(None),
            Self::Password {
                mechanism,
                user,
                password,
            } => {
                let account = Account::new(user.clone(), read_secret(password)?);
                match mechanism {
                    LoginMechanism::Scram(hash) => Proof::Scram(*hash, account, None),
                    LoginMechanism::Plain | LoginMechanism::OauthBearer => Proof::Plain(account),
                }
            }
            Self::Token(token) => Proof::Token(read_secret(token)?),
        };
        Ok(Some(Credential::new(proof)))
    }

    /// Where its token is fetched, where that is so.
    #[must_use]
    pub fn endpoint(&self) -> Option<&TokenEndpoint> {
        match self {
            Self::Fetched(endpoint) => Some(endpoint),
            Self::Certificate | Self::Password { .. } | Self::Token(_) => None,
        }
    }

    /// The file that its secret is in, if it is in one that may change.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Certificate | Self::Fetched(_) => None,
            Self::Password { password: source, .. } | Self::Token(source) => source.path(),
        }
    }
}

fn read_secret(source: &SecretSource) -> Result<Zeroizing<String>, OwnAccountError> {
    let secret = source.read_line()?;
    let secret = secret.filter(|secret| !secret.contains('\0'));
    secret.ok_or(OwnAccountError::Empty)
}

/// Why a file of accounts cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AccountsFileError {
    /// It cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// What is in it.
    #[error("{}: {error}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        error: AccountsError,
    },
}

/// Reads a file of accounts, and the certificates that it names, for brokers that are spoken to by `tls`; passwords
/// that are sent as they are may stand there if `allows_plaintext`. What `before` held as well is kept. It blocks.
///
/// # Errors
/// [`AccountsFileError`].
#[expect(
    clippy::disallowed_methods,
    reason = "certificates are compared with the date when they are read"
)]
pub fn read_accounts(
    path: &Path,
    tls: Option<&UpstreamTls>,
    allows_plaintext: bool,
    before: &BrokerAccounts,
) -> Result<BrokerAccounts, AccountsFileError> {
    let (bytes, _) = durable_file::read(path, FILE_BYTES_MAX)?;
    let bytes = Zeroizing::new(bytes);
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut shown = tls.map(|tls| {
        move |files: &mut CertificateFiles| {
            for named in [&mut files.certificate, &mut files.key] {
                *named = folder.join(&*named);
            }
            let tls = UpstreamTls {
                client: Some(files.clone()),
                ..tls.clone()
            };
            tls.load(SystemTime::now())
        }
    });
    let shown = shown.as_mut().map(|shown| shown as &mut ReadCertificate<'_>);
    let read = BrokerAccounts::parse(&bytes, before, shown).and_then(|read| {
        let mut mechanisms = read.mechanisms();
        let is_heard = !allows_plaintext && mechanisms.any(|mechanism| mechanism.needs_tls());
        drop(mechanisms);
        if is_heard {
            Err(AccountsError::Plaintext)
        } else {
            Ok(read)
        }
    });
    read.map_err(|error| AccountsFileError::Content {
        path: path.to_path_buf(),
        error,
    })
}

/// Ten thousand accounts, with 400 bytes each.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
