//! Logging set-up. Traces and errors go to standard error, the access log to standard output.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;

use crate::config::{LogFormat, LogSettings};

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` cannot be read.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// It was set up already.
    #[error("the log was set up already")]
    Twice,
}

/// Sets up the log for the process.
///
/// # Errors
/// [`TelemetryError`].
pub fn init(settings: &LogSettings) -> Result<(), TelemetryError> {
    let filter: EnvFilter = settings.level.parse()?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people: in a file or a journal they would be control characters.
    let builder = builder.with_ansi(std::io::stderr().is_terminal());
    let timer = ChronoUtc::new("%Y-%m-%dT%H:%M:%S%.3fZ".to_owned());
    let result = match settings.format {
        LogFormat::Text => builder.with_timer(timer).with_target(false).try_init(),
        LogFormat::Json => builder.with_timer(timer).json().flatten_event(true).try_init(),
    };
    result.map_err(|_twice| TelemetryError::Twice)
}
