//! Configuration: defaults, then a TOML file, then environment variables, then flags; and everything that is wrong with them.
//!
//! ```text
//! schema (every key, its range, its default)
//!    |
//! sources (merge by figment, remember where each value was written) --> node (typed reads, mistakes collected)
//!    --> load, clusters, sharing, listeners, topics, keystores, limits (one part each) --> Config, or ConfigErrors
//! ```
//!
//! - CONFIG-1: a [`Config`] cannot hold a mistake; code behind it does not check again.
//! - CONFIG-2: all mistakes are reported at once, each with file and line (or variable, or flag), key, value and what to write.
//! - CONFIG-3: there is no default that lets plaintext through: no rule means refusal, and every listener says who vouches for
//!   its clients.
//! - CONFIG-4: no text makes it panic, and what it may cost is bounded: file size, rules, ranges, regular expressions.
//!
//! It reads files (which blocks) and belongs to the start of the program and to the control thread.

mod clusters;
mod forgeable;
mod keystores;
mod later;
mod limits;
mod listeners;
mod load;
mod log_filter;
mod model;
mod node;
mod own_ports;
mod problem;
#[cfg(feature = "testing")]
mod reference;
mod scalars;
pub mod schema;
mod sharing;
mod sources;
mod topics;

pub use crate::kms::KmsKind;
pub use crate::kms::keystore::MasterKeySource;
pub use forgeable::ForgeableKek;
pub use limits::Limits;
pub use load::Overrides;
pub use log_filter::LogFilter;
pub use model::{
    AdminConfig, ClientAuth, ClusterConfig, Config, Executors, HostPort, KmsConfig, ListenerConfig,
    LogConfig, LogFormat, RuntimeConfig,
};
pub(crate) use own_ports::OwnPorts;
pub use problem::{ConfigError, ConfigErrors, Origin};
#[cfg(feature = "testing")]
pub use reference::reference;

#[cfg(test)]
mod tests;
