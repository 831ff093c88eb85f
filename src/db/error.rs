//! What can go wrong with the database, in the words of those who must react.

/// A database operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection was free in time: too much at once.
    #[error("no database connection was free in time")]
    Busy,
    /// The database cannot be reached, or is starting or stopping.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The database said nothing in time; whatever was begun is over, because its connection is closed.
    #[error("the database did not answer in time")]
    Silent,
    /// The statement ran longer than it may.
    #[error("the statement took too long")]
    Timeout(#[source] sqlx::Error),
    /// Two transactions waited for each other, and this one gave way (SQLSTATE class 40). Nothing was changed; it may be tried again.
    #[error("the transaction gave way to another one")]
    GaveWay(#[source] sqlx::Error),
    /// A named constraint was violated.
    #[error("constraint {name} was violated")]
    Constraint {
        /// Name of the constraint.
        name: String,
        #[source]
        /// What the database said.
        source: sqlx::Error,
    },
    /// The connection was lost while committing: the transaction may or may not have happened.
    #[error("the outcome of the transaction is unknown")]
    OutcomeUnknown(#[source] sqlx::Error),
    /// The database refused a value that no type of ours forbids, such as text with a NUL.
    #[error("the database refused a value")]
    BadValue(#[source] sqlx::Error),
    /// A row holds what the program cannot understand.
    #[error("a stored value of {0} cannot be understood")]
    Corrupt(&'static str),
    /// A bug: a statement that can never work, a right that is missing.
    #[error("the database refused a statement")]
    Statement(#[source] sqlx::Error),
}

impl DbError {
    /// The violated constraint's name, if that is what happened.
    #[must_use]
    pub fn constraint(&self) -> Option<&str> {
        match self {
            Self::Constraint { name, .. } => Some(name),
            Self::Busy
            | Self::Unavailable(_)
            | Self::Silent
            | Self::Timeout(_)
            | Self::GaveWay(_)
            | Self::OutcomeUnknown(_)
            | Self::BadValue(_)
            | Self::Corrupt(_)
            | Self::Statement(_) => None,
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::PoolTimedOut => Self::Busy,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            sqlx::Error::Database(database) => {
                let code = database.code().unwrap_or_default().into_owned();
                let constraint = database.constraint().map(str::to_owned);
                match (code.get(..2), constraint) {
                    (Some("23"), Some(name)) => Self::Constraint { name, source: error },
                    (Some("22"), _) => Self::BadValue(error),
                    (Some("40"), _) if code != "40003" => Self::GaveWay(error),
                    (Some("08" | "53"), _) => Self::Unavailable(error),
                    // 55000 and 57P04: closed to connections or dropped, as a provider does for maintenance and restores.
                    _ if matches!(code.as_str(), "57P01" | "57P02" | "57P03" | "57P04" | "25006" | "55000") => {
                        Self::Unavailable(error)
                    }
                    _ if matches!(code.as_str(), "57014" | "55P03") => Self::Timeout(error),
                    _ => Self::Statement(error),
                }
            }
            _ => Self::Statement(error),
        }
    }
}
