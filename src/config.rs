//! Configuration: defaults, then a TOML file, then environment variables, then flags; and everything that is wrong with them.

mod limits;
mod model;

pub use limits::Limits;
pub use model::{
    AdminConfig, ClientAuth, ClusterConfig, Config, Executors, HostPort, KmsConfig, KmsKind, ListenerConfig,
    LogConfig, LogFormat, MasterKeySource, RuntimeConfig,
};
