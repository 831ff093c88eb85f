//! Pages of lists: `?after=<last key>&limit=<n>`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::http::problem::Problem;

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

impl PageQuery {
    /// Number of entries wanted, or the 422 that says how many one may want.
    ///
    /// # Errors
    /// `validation-failed`.
    pub fn limit_or_problem(&self) -> Result<i64, Problem> {
        let range = |(min, max)| Problem::invalid_field("/limit", format!("must be between {min} and {max}"));
        self.checked_limit().map_err(range)
    }

    /// The id after which the page begins; the least one if none is named.
    ///
    /// # Errors
    /// `validation-failed`.
    pub fn after_id<T: From<Uuid>>(&self) -> Result<T, Problem> {
        let Some(text) = self.after.as_deref() else { return Ok(Uuid::nil().into()) };
        let id = Uuid::parse_str(text);
        id.map(T::from)
            .map_err(|_malformed: uuid::Error| Problem::invalid_field("/after", "must be an id of this list"))
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

impl<T> Page<T> {
    /// A page of `limit` entries from a list that was asked for one more, which shows whether there is a next page.
    #[must_use]
    pub fn cut(mut items: Vec<T>, limit: i64, key: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = if has_more { items.last().map(key) } else { None };
        Self { items, next }
    }
}
