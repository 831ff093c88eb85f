//! Pages of lists: `?after=<last key>&limit=<n>`.

use serde::{Deserialize, Serialize};

/// Entries on a page unless the client says otherwise.
const DEFAULT_LIMIT: i64 = 50;
/// Most entries on a page.
const MAX_LIMIT: i64 = 200;

/// Which page is wanted.
#[derive(Debug, Clone, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// Key of the last entry of the page before.
    pub after: Option<String>,
    /// Entries wanted, 1 to 200; 50 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<i64>,
    /// Only entries in this state.
    pub state: Option<String>,
}

impl PageQuery {
    /// Number of entries wanted, within its bounds.
    ///
    /// # Errors
    /// The bounds.
    pub fn checked_limit(&self) -> Result<i64, (i64, i64)> {
        match self.limit {
            None => Ok(DEFAULT_LIMIT),
            Some(limit) if (1..=MAX_LIMIT).contains(&limit) => Ok(limit),
            Some(_) => Err((1, MAX_LIMIT)),
        }
    }
}

/// A page.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    /// Its entries.
    pub items: Vec<T>,
    /// Value of `after` for the next page; none on the last.
    pub next: Option<String>,
}
