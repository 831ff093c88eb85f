//! Finding resources. Without a filter and an order the database cuts the page. Otherwise it narrows the question down by what it has
//! an index for, and what it finds is asked one by one, in batches, up to a bound.

use serde_json::Value;
use uuid::Uuid;

use super::{Desk, Found, ScimFailure};
use crate::db::{DbError, TenantTx, scim_groups, scim_users};
use crate::domain::scim::error::ScimType;
use crate::domain::scim::list::{Query, Question, SortKey};
use crate::domain::scim::{MAX_EXAMINED, ResourceKind, ScimError, fold};

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
    let read = Source::by_ids(kind, vec![id]).read(&mut tx, desk, with_members, Uuid::nil(), 0, 1).await;
    tx.finish();
    let (_, found) = read?.found.pop().ok_or_else(ScimError::not_found)?;
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
    let with_members = query.projection.has("members");
    let (total, found) = if query.filter.is_none() && query.sort.is_none() {
        let total = usize::try_from(source.count(tx).await?).unwrap_or(usize::MAX);
        let skip = i64::try_from(query.skip).unwrap_or(i64::MAX);
        let found = match query.take {
            0 => Vec::new(),
            take => source.read(tx, desk, with_members, Uuid::nil(), skip, take).await?.found,
        };
        (total, found)
    } else {
        let (total, ids) = examine(tx, desk, query, &source).await?;
        let n = ids.len();
        (total, Source::by_ids(query.kind, ids).read(tx, desk, with_members, Uuid::nil(), 0, n).await?.found)
    };
    let wanted = |(_, found): (Uuid, Found)| Value::Object(query.projection.apply(query.kind, found.resource));
    Ok(Page { total, skip: query.skip, resources: found.into_iter().map(wanted).collect() })
}

/// Asks every resource that the database finds; returns how many pass, and the ids of those on the page.
async fn examine(
    tx: &mut TenantTx,
    desk: &Desk,
    query: &Query,
    source: &Source,
) -> Result<(usize, Vec<Uuid>), ScimFailure> {
    let (mut after, mut n_examined) = (Uuid::nil(), 0);
    let mut passed: Vec<(SortKey, Uuid)> = Vec::new();
    loop {
        let Batch { found, is_last } = source.read(tx, desk, query.looks_at("members"), after, 0, BATCH).await?;
        n_examined += found.len();
        if n_examined > MAX_EXAMINED {
            let detail = format!(
                "more than {MAX_EXAMINED} resources would have to be looked at: ask for userName, externalId or id"
            );
            return Err(ScimError::bad(ScimType::TooMany, detail).into());
        }
        after = found.last().map_or(Uuid::max(), |(id, _)| *id);
        for (id, Found { resource, .. }) in found {
            if query.filter.as_ref().is_none_or(|filter| filter.matches(&resource)) {
                passed.push((query.sort.as_ref().map(|sort| sort.key(&resource)).unwrap_or_default(), id));
            }
        }
        if is_last {
            break;
        }
        // Other requests of this worker have their turn.
        tokio::task::yield_now().await;
    }
    if let Some(sort) = &query.sort {
        sort.sort(&mut passed);
    }
    let total = passed.len();
    Ok((total, passed.into_iter().skip(query.skip).take(query.take).map(|(_, id)| id).collect()))
}

/// Resources that were read at once.
struct Batch {
    found: Vec<(Uuid, Found)>,
    /// Whether there are no more behind it.
    is_last: bool,
}

/// Where resources of a kind are read, narrowed down as far as the database can.
enum Source {
    Users(scim_users::Narrow),
    Groups(scim_groups::Narrow),
}

/// An id that no resource has: what cannot be an id is nobody's.
fn id_or_nobody(text: &str) -> Uuid {
    Uuid::parse_str(text).unwrap_or(Uuid::max())
}

impl Source {
    fn by_ids(kind: ResourceKind, ids: Vec<Uuid>) -> Self {
        match kind {
            ResourceKind::User => Self::Users(scim_users::Narrow { ids: Some(ids), ..Default::default() }),
            ResourceKind::Group => Self::Groups(scim_groups::Narrow { ids: Some(ids), ..Default::default() }),
        }
    }

    fn of(query: &Query) -> Self {
        let required =
            |name: &str, sub: Option<&str>| query.filter.as_ref().and_then(|filter| filter.required_text(name, sub));
        let ids = required("id", None).map(|id| vec![id_or_nobody(id)]);
        let external_id = required("externalId", None).map(str::to_owned);
        match query.kind {
            ResourceKind::User => {
                let email = required("emails", Some("value")).or_else(|| required("emails", None));
                Self::Users(scim_users::Narrow {
                    ids,
                    external_id,
                    user_name: required("userName", None).map(fold),
                    needle: email.filter(|text| is_plain(text)).map(str::to_owned),
                })
            }
            ResourceKind::Group => {
                let member = required("members", Some("value")).or_else(|| required("members", None));
                Self::Groups(scim_groups::Narrow {
                    ids,
                    external_id,
                    display_name: required("displayName", None).map(fold),
                    member: member.map(id_or_nobody),
                })
            }
        }
    }

    async fn count(&self, tx: &mut TenantTx) -> Result<i64, DbError> {
        match self {
            Self::Users(_) => scim_users::count(tx).await,
            Self::Groups(_) => scim_groups::count(tx).await,
        }
    }

    /// Up to `n` resources, in the order of their ids, or that in which they are named; fewer groups if their members are wanted and are very many.
    async fn read(
        &self,
        tx: &mut TenantTx,
        desk: &Desk,
        with_members: bool,
        after: Uuid,
        skip: i64,
        n: usize,
    ) -> Result<Batch, DbError> {
        let limit = i64::try_from(n).unwrap_or(i64::MAX);
        match self {
            Self::Users(narrow) => {
                let mut users = scim_users::list(tx, narrow, after, skip, limit).await?;
                put_in_order(&mut users, narrow.ids.as_deref(), |user| user.id.uuid());
                let found = users.iter().map(|user| (user.id.uuid(), desk.user_found(user, false))).collect();
                Ok(Batch { found, is_last: users.len() < n })
            }
            Self::Groups(narrow) => {
                let mut groups = scim_groups::list(tx, narrow, after, skip, limit).await?;
                let n_listed = groups.len();
                put_in_order(&mut groups, narrow.ids.as_deref(), |group| group.id.uuid());
                if with_members {
                    scim_groups::fill_members(tx, &mut groups).await?;
                }
                let found: Vec<_> =
                    groups.iter().map(|group| (group.id.uuid(), desk.group_found(group, false))).collect();
                Ok(Batch { is_last: n_listed < n && found.len() == n_listed, found })
            }
        }
    }
}

/// Puts resources in the order in which they are asked for by id.
fn put_in_order<T>(resources: &mut [T], ids: Option<&[Uuid]>, id_of: impl Fn(&T) -> Uuid) {
    if let Some(ids) = ids {
        resources.sort_by_key(|resource| ids.iter().position(|id| *id == id_of(resource)));
    }
}

/// Whether a text looks the same inside of JSON, and in lower case whatever its language.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'@' | b'.' | b'-' | b'_' | b'+'))
}
