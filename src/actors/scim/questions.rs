//! Finding resources. Without a filter and an order the database cuts the page. Otherwise it narrows the question down by what it has
//! an index for, and what it finds is asked one by one, in batches, up to a bound.

use serde_json::Value;
use uuid::Uuid;

use super::{Desk, Found, ScimFailure};
use crate::db::{DbError, TenantTx, scim_groups, scim_users};
use crate::domain::scim::error::ScimType;
use crate::domain::scim::list::{Query, Question, SortKey};
use crate::domain::scim::{MAX_EXAMINED, MAX_PAGE, ResourceKind, ScimError, Tree, fold};

/// Resources that are read at once to be examined.
const BATCH: usize = 500;

/// A page, and how many resources there are in all.
#[derive(Debug)]
pub struct Page {
    /// In all.
    pub total: usize,
    /// Before the page.
    pub skip: usize,
    /// On it, with what is wanted of each.
    pub resources: Vec<Value>,
}

/// A resource by its id; a group's members only if they are wanted.
///
/// # Errors
/// 404.
pub async fn get(desk: &Desk, kind: ResourceKind, id: Uuid, with_members: bool) -> Result<Found, ScimFailure> {
    let mut tx = TenantTx::begin_read(&desk.context.db, desk.tenant.id()).await?;
    let source = Source::by_id(kind, id, with_members);
    let found = source.read(&mut tx, desk, Uuid::nil(), 0, 1).await?.pop();
    tx.finish();
    let (_, found) = found.ok_or_else(ScimError::not_found)?;
    Ok(found)
}

/// Answers a question for resources of one kind.
///
/// # Errors
/// `invalidFilter`, `invalidValue` or `tooMany`.
pub async fn ask(desk: &Desk, kind: ResourceKind, question: &Question) -> Result<Page, ScimFailure> {
    let query = question.resolve(kind)?;
    let mut tx = TenantTx::begin_read(&desk.context.db, desk.tenant.id()).await?;
    let page = run(&mut tx, desk, &query).await;
    tx.finish();
    page
}

/// Answers a question for resources of all kinds, one after the other. A filter that only some kinds have the attributes for finds
/// those.
///
/// # Errors
/// As [`ask`]; `invalidFilter` if no kind has the attributes.
pub async fn ask_all(desk: &Desk, question: &Question) -> Result<Page, ScimFailure> {
    let mut page: Option<Page> = None;
    let mut refusal = None;
    for kind in ResourceKind::ALL {
        let mut query = match question.resolve(kind) {
            Ok(query) => query,
            Err(error) => {
                refusal = Some(error);
                continue;
            }
        };
        let before = page.as_ref().map_or(0, |page| page.total);
        let n = page.as_ref().map_or(0, |page| page.resources.len());
        let skip = query.skip;
        query.skip = skip.saturating_sub(before);
        query.take = query.take.saturating_sub(n);
        let mut tx = TenantTx::begin_read(&desk.context.db, desk.tenant.id()).await?;
        let found = run(&mut tx, desk, &query).await;
        tx.finish();
        let found = found?;
        let page = page.get_or_insert(Page { total: 0, skip, resources: Vec::new() });
        page.total += found.total;
        page.resources.extend(found.resources);
    }
    match (page, refusal) {
        (Some(page), _) => Ok(page),
        (None, Some(refusal)) => Err(refusal.into()),
        (None, None) => Err(ScimError::not_found().into()),
    }
}

async fn run(tx: &mut TenantTx, desk: &Desk, query: &Query) -> Result<Page, ScimFailure> {
    let source = Source::of(query);
    if query.filter.is_none() && query.sort.is_none() {
        let total = source.count(tx).await?;
        let skip = i64::try_from(query.skip).unwrap_or(i64::MAX);
        let found =
            if query.take == 0 { Vec::new() } else { source.read(tx, desk, Uuid::nil(), skip, query.take).await? };
        let resources = found.into_iter().map(|(_, found)| wanted(query, found.resource)).collect();
        return Ok(Page { total: usize::try_from(total).unwrap_or(usize::MAX), skip: query.skip, resources });
    }
    let (total, resources) = examine(tx, desk, query, &source).await?;
    Ok(Page { total, skip: query.skip, resources })
}

fn wanted(query: &Query, resource: Tree) -> Value {
    Value::Object(query.projection.apply(query.kind, resource))
}

/// Asks every resource that the database finds. In no particular order only those of the page are kept; in an order, all that pass.
async fn examine(
    tx: &mut TenantTx,
    desk: &Desk,
    query: &Query,
    source: &Source,
) -> Result<(usize, Vec<Value>), ScimFailure> {
    let (mut after, mut n_examined, mut total) = (Uuid::nil(), 0, 0);
    let mut kept: Vec<(SortKey, Value)> = Vec::new();
    let page = query.skip..query.skip.saturating_add(query.take);
    loop {
        let batch = source.read(tx, desk, after, 0, BATCH).await?;
        let (n, last) = (batch.len(), batch.last().map(|(id, _)| *id));
        n_examined += n;
        if n_examined > MAX_EXAMINED {
            let detail = format!(
                "more than {MAX_EXAMINED} resources would have to be looked at: ask for userName, externalId or id"
            );
            return Err(ScimError::bad(ScimType::TooMany, detail).into());
        }
        for (_, Found { resource, .. }) in batch {
            if query.filter.as_ref().is_some_and(|filter| !filter.matches(&resource)) {
                continue;
            }
            match &query.sort {
                Some(sort) => kept.push((sort.key(&resource), wanted(query, resource))),
                None if page.contains(&total) => kept.push((SortKey::default(), wanted(query, resource))),
                None => {}
            }
            total += 1;
        }
        match last {
            Some(last) if n == BATCH => after = last,
            Some(_) | None => break,
        }
        // Other requests of this worker have their turn.
        tokio::task::yield_now().await;
    }
    let resources = match &query.sort {
        None => kept.into_iter().map(|(_, resource)| resource).collect(),
        Some(sort) => {
            sort.sort(&mut kept);
            kept.into_iter().skip(query.skip).take(query.take.min(MAX_PAGE)).map(|(_, resource)| resource).collect()
        }
    };
    Ok((total, resources))
}

/// Where resources of a kind are read, narrowed down as far as the database can.
enum Source {
    Users(scim_users::Narrow),
    Groups(scim_groups::Narrow, bool),
}

/// An id that no resource has: what cannot be an id is nobody's.
fn id_or_nobody(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or(Uuid::max())
}

impl Source {
    fn by_id(kind: ResourceKind, id: Uuid, with_members: bool) -> Self {
        match kind {
            ResourceKind::User => Self::Users(scim_users::Narrow { id: Some(id), ..Default::default() }),
            ResourceKind::Group => {
                Self::Groups(scim_groups::Narrow { id: Some(id), ..Default::default() }, with_members)
            }
        }
    }

    fn of(query: &Query) -> Self {
        let required =
            |name: &str, sub: Option<&str>| query.filter.as_ref().and_then(|filter| filter.required_text(name, sub));
        let id = required("id", None).map(id_or_nobody);
        let external_id = required("externalId", None).map(str::to_owned);
        match query.kind {
            ResourceKind::User => Self::Users(scim_users::Narrow {
                id,
                external_id,
                user_name: required("userName", None).map(fold),
                needle: required("emails", Some("value")).filter(|text| is_plain(text)).map(str::to_owned),
            }),
            ResourceKind::Group => {
                let member = required("members", Some("value")).or_else(|| required("members", None));
                let narrow = scim_groups::Narrow {
                    id,
                    external_id,
                    display_name: required("displayName", None).map(fold),
                    member: member.map(id_or_nobody),
                };
                // A filter may look at the members although they are not answered.
                Self::Groups(narrow, query.filter.is_some() || query.projection.has("members"))
            }
        }
    }

    async fn count(&self, tx: &mut TenantTx) -> Result<i64, DbError> {
        match self {
            Self::Users(_) => scim_users::count(tx).await,
            Self::Groups(..) => scim_groups::count(tx).await,
        }
    }

    async fn read(
        &self,
        tx: &mut TenantTx,
        desk: &Desk,
        after: Uuid,
        skip: i64,
        n: usize,
    ) -> Result<Vec<(Uuid, Found)>, DbError> {
        let n = i64::try_from(n).unwrap_or(i64::MAX);
        Ok(match self {
            Self::Users(narrow) => {
                let users = scim_users::list(tx, narrow, after, skip, n).await?;
                users.iter().map(|user| (user.id.uuid(), desk.user_found(user, false))).collect()
            }
            Self::Groups(narrow, with_members) => {
                let groups = scim_groups::list(tx, narrow, *with_members, after, skip, n).await?;
                groups.iter().map(|group| (group.id.uuid(), desk.group_found(group, false))).collect()
            }
        })
    }
}

/// Whether a text looks the same inside of JSON, and in lower case whatever its language.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-' | b'_' | b'+'))
}
