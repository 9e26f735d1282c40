//! Sets log lines up: to standard error, as text for people or one JSON object a line.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;

use crate::config::{LogConfig, LogFormat};

/// Why lines cannot be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// The filter is none.
    #[error("log.filter is not a filter: {0}")]
    Filter(#[from] ParseError),
    /// Something else in the process logs already.
    #[error("logging is set up already: {0}")]
    Taken(#[from] TryInitError),
}

/// Starts logging for the whole process; once.
///
/// # Errors
/// [`LoggingError`].
pub fn start(log: &LogConfig) -> Result<(), LoggingError> {
    use tracing_subscriber::util::SubscriberInitExt as _;

    let filter = EnvFilter::builder().parse(&log.filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
