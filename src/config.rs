//! Configuration: defaults, then a TOML file, then environment variables, then flags; and everything that is wrong with
//! them.
//!
//! ```text
//! schema (every key, its range, its default)
//!    |
//! read::sources (merge by figment, remember where each value was written)
//!    |
//! read::node (typed reads, mistakes collected)
//!    |
//! read and below it (one file for each part) --> model::Config, or problem::ConfigErrors
//! ```
//!
//! - CONFIG-1: a [`Config`] cannot hold a mistake; code behind it does not check again.
//! - CONFIG-2: all mistakes are reported at once, each with file and line (or variable, or flag), key, value and what
//!   to write.
//! - CONFIG-3: there is no default that lets plaintext through: no rule means refusal, and every listener says who
//!   vouches for its clients.
//! - CONFIG-4: no text makes it panic, and what it may cost is bounded: file size, rules, ranges, regular expressions.
//!
//! It reads files (which blocks) and belongs to the start of the program and to the control thread.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod model;
mod problem;
mod read;
#[cfg(feature = "testing")]
mod reference;
mod scalars;
pub mod schema;

pub use crate::kms::KmsKind;
pub use crate::kms::keystore::MasterKeySource;
pub use model::{
    AccountsFileError, AdminConfig, AuditConfig, AuditTarget, ClientAuth, ClusterConfig, Config,
    CredentialsFileError, Executors, ForgeableKek, GroupFile, GroupFileError, HostPort, KeySetFileError,
    KeySetSource, KeySetUrl, KmsConfig, Limits, ListenerConfig, ListenerSasl, LogConfig, LogFilter,
    LogFormat, OauthBearerConfig, OnFull, OwnAccount, OwnAccountError, PlacedTemplate, RuntimeConfig,
    TokenEndpoint, UpstreamLogin, read_accounts, read_credentials, read_key_set,
};
pub use problem::{ConfigError, ConfigErrors, Origin};
pub use read::Overrides;
pub(crate) use read::OwnPorts;
#[cfg(feature = "testing")]
pub use reference::reference;
