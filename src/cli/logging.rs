//! Sets log lines up: to standard error, as text for people or one JSON object a line. Whoever logs does not wait for
//! whoever reads.

use std::io;

use tracing_subscriber::Layer as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::log_writer::LogWriter;
use crate::config::{LogConfig, LogFormat};

/// Why lines cannot be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// Something else in the process logs already.
    #[error("logging is set up already: {0}")]
    Taken(#[from] TryInitError),
    /// There is no thread to write it.
    #[error("the log's thread does not start: {0}")]
    Thread(#[from] io::Error),
}

/// Logging has been started; at the end of this value what waits is written.
pub struct Logging {
    writer: LogWriter,
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.writer.finish();
    }
}

/// Starts logging for the whole process; once.
///
/// # Errors
/// [`LoggingError`].
pub fn start(log: &LogConfig) -> Result<Logging, LoggingError> {
    let filter = log.filter.targets();
    let say_lost = match log.format {
        LogFormat::Text => |lines| format!(" WARN sealwire: {LOST} lines={lines}\n"),
        LogFormat::Json => |lines| {
            format!(
                "{{\"level\":\"WARN\",\"message\":\"{LOST}\",\"lines\":{lines},\"target\":\"sealwire\"}}\n"
            )
        },
    };
    let writer = LogWriter::start(io::stderr(), say_lost)?;
    let lines = tracing_subscriber::fmt::layer().with_writer(writer.clone());
    let lines = match log.format {
        // Colours would be the only characters of a line that are not printable (LOG-3).
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter))
        .try_init()?;
    Ok(Logging { writer })
}

const LOST: &str = "log lines were lost: nobody read them in time";
