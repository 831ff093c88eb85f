//! A group as a SCIM resource, and changes of its members as changes of a set.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::error::{ScimError, ScimType};
use super::patch::{self, Operation, Target, Verb};
use super::schema::ResourceKind;
use super::{MAX_MEMBERS_NAMED, Tree};
use crate::domain::ids::{ScimGroupId, UserId};

/// A group as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScimGroup {
    /// Id.
    pub id: ScimGroupId,
    /// Name.
    pub display_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
    /// Members; none where they were not asked for.
    pub members: Option<Vec<UserId>>,
    /// Counts changes.
    pub version: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl ScimGroup {
    /// What a client can set, besides the members.
    #[must_use]
    pub fn settable(&self) -> Tree {
        let mut tree = Tree::new();
        tree.insert("displayName".to_owned(), json!(self.display_name));
        if let Some(id) = &self.external_id {
            tree.insert("externalId".to_owned(), json!(id));
        }
        tree
    }

    /// Where the resource is, under the base of all.
    #[must_use]
    pub fn location(&self, base: &str) -> String {
        format!("{base}/Groups/{}", self.id)
    }

    /// The whole resource; `base` is the URL that all are under.
    #[must_use]
    pub fn resource(&self, base: &str) -> Tree {
        let mut tree = self.settable();
        tree.insert("schemas".to_owned(), json!(ResourceKind::Group.schemas_of(&tree)));
        tree.insert("id".to_owned(), json!(self.id));
        let meta = super::user::meta(
            ResourceKind::Group,
            &self.location(base),
            self.created_at,
            self.updated_at,
            self.version,
        );
        tree.insert("meta".to_owned(), meta);
        let member = |id: &UserId| json!({ "value": id, "$ref": format!("{base}/Users/{id}"), "type": "User" });
        if let Some(members) = self.members.as_ref().filter(|members| !members.is_empty()) {
            tree.insert("members".to_owned(), members.iter().map(member).collect());
        }
        tree
    }
}

/// What a client wants a group to be, besides its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Name.
    pub display_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
}

impl Wish {
    /// Reads what a client set.
    ///
    /// # Errors
    /// `invalidValue`.
    pub fn read(mut tree: Tree) -> Result<Self, ScimError> {
        super::input::check_required(ResourceKind::Group, &tree)?;
        let mut text = |name: &str| match tree.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        Ok(Self { display_name: text("displayName").unwrap_or_default(), external_id: text("externalId") })
    }
}

/// One change of a group's members.
#[derive(Debug, Clone)]
pub enum MemberChange {
    /// These are in it, too.
    Add(BTreeSet<UserId>),
    /// These are not.
    Remove(BTreeSet<UserId>),
    /// These are in it and no others.
    Set(BTreeSet<UserId>),
    /// Those are not whose value passes the filter.
    RemoveMatching(patch::Matching),
}

/// Changes of a group's members, in order.
#[derive(Debug, Clone, Default)]
pub struct MemberChanges {
    changes: Vec<MemberChange>,
    n_named: usize,
}

/// What comes of changes: who comes and who goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberDelta {
    /// Who is in the group and was not.
    pub added: BTreeSet<UserId>,
    /// Who was in the group and is not.
    pub removed: BTreeSet<UserId>,
}

impl MemberChanges {
    /// The members of a whole resource: those and no others. A group without `members` has none (RFC 7644 §3.5.1).
    ///
    /// # Errors
    /// `invalidValue`.
    pub fn of_resource(tree: &mut Tree) -> Result<Self, ScimError> {
        let members = ids(tree.remove("members").as_ref())?;
        Ok(Self { n_named: members.len(), changes: vec![MemberChange::Set(members)] })
    }

    /// Nobody is in the group any more.
    #[must_use]
    pub fn nobody() -> Self {
        Self { n_named: 0, changes: vec![MemberChange::Set(BTreeSet::new())] }
    }

    /// Whether nothing is said of members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether the present members must be known to tell what changes.
    #[must_use]
    pub fn needs_all(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, MemberChange::Set(_) | MemberChange::RemoveMatching(_)))
    }

    /// Everybody who is named.
    #[must_use]
    pub fn named(&self) -> BTreeSet<UserId> {
        let mut named = BTreeSet::new();
        for change in &self.changes {
            match change {
                MemberChange::Add(ids) | MemberChange::Remove(ids) | MemberChange::Set(ids) => named.extend(ids),
                MemberChange::RemoveMatching(_) => {}
            }
        }
        named
    }

    /// Everybody who is named to be in the group, and must therefore exist.
    #[must_use]
    pub fn wanted(&self) -> BTreeSet<UserId> {
        let mut wanted = BTreeSet::new();
        for change in &self.changes {
            match change {
                MemberChange::Add(ids) | MemberChange::Set(ids) => wanted.extend(ids),
                MemberChange::Remove(_) | MemberChange::RemoveMatching(_) => {}
            }
        }
        wanted
    }

    /// What changes, given who is in the group: all of them, or, where [`MemberChanges::needs_all`] is false, those who are named.
    #[must_use]
    pub fn delta(&self, before: &BTreeSet<UserId>) -> MemberDelta {
        let mut after = before.clone();
        for change in &self.changes {
            match change {
                MemberChange::Add(ids) => after.extend(ids),
                MemberChange::Remove(ids) => after.retain(|id| !ids.contains(id)),
                MemberChange::Set(ids) => after.clone_from(ids),
                MemberChange::RemoveMatching(matching) => {
                    after.retain(|id| !matching.matches(&json!({ "value": id, "type": "User" })));
                }
            }
        }
        MemberDelta { added: &after - before, removed: before - &after }
    }

    fn push(&mut self, operation: &Operation) -> Result<(), ScimError> {
        let change = match (&operation.target, operation.verb) {
            (Target::Values(named, matching), Verb::Remove) if named.sub.is_none() => match matching.only_value() {
                Some(text) => MemberChange::Remove(text.parse::<UserId>().into_iter().collect()),
                None => MemberChange::RemoveMatching(matching.clone()),
            },
            (Target::Attribute(named), _) if named.sub.is_some() => return Err(whole_only()),
            (Target::Attribute(_), Verb::Add) => MemberChange::Add(ids(Some(&operation.value))?),
            (Target::Attribute(_), Verb::Replace) => MemberChange::Set(ids(Some(&operation.value))?),
            (Target::Attribute(_), Verb::Remove) if operation.value.is_null() => MemberChange::Set(BTreeSet::new()),
            (Target::Attribute(_), Verb::Remove) => MemberChange::Remove(lenient_ids(&operation.value)),
            (Target::Values(..) | Target::Resource | Target::Extension(_), _) => return Err(whole_only()),
        };
        self.n_named += match &change {
            MemberChange::Add(ids) | MemberChange::Remove(ids) | MemberChange::Set(ids) => ids.len(),
            MemberChange::RemoveMatching(_) => 0,
        };
        self.changes.push(change);
        if self.n_named > MAX_MEMBERS_NAMED {
            return Err(ScimError::bad(
                ScimType::TooMany,
                format!("at most {MAX_MEMBERS_NAMED} members are changed at once"),
            ));
        }
        Ok(())
    }
}

fn whole_only() -> ScimError {
    ScimError::bad(ScimType::Mutability, "a member is added or removed, and not changed")
}

/// The members' ids in a value.
fn ids(value: Option<&Value>) -> Result<BTreeSet<UserId>, ScimError> {
    let unknown = |what: &Value| {
        let what: String = what.to_string().chars().take(100).collect();
        ScimError::bad(ScimType::InvalidValue, format!("there is no user {what}"))
    };
    elements(value)
        .iter()
        .map(|element| {
            let kind = element.get("type").and_then(Value::as_str);
            if kind.is_some_and(|kind| !kind.eq_ignore_ascii_case("User")) {
                return Err(ScimError::bad(ScimType::InvalidValue, "members are users: groups have no groups in them"));
            }
            id_of(element).ok_or_else(|| unknown(element))
        })
        .collect()
}

/// The same for a removal, where what is no user is in no group either.
fn lenient_ids(value: &Value) -> BTreeSet<UserId> {
    elements(Some(value)).iter().filter_map(id_of).collect()
}

fn elements(value: Option<&Value>) -> &[Value] {
    match value {
        None | Some(Value::Null) => &[],
        Some(Value::Array(elements)) => elements,
        Some(one) => std::slice::from_ref(one),
    }
}

fn id_of(element: &Value) -> Option<UserId> {
    element.get("value").unwrap_or(element).as_str()?.parse().ok()
}

/// Applies operations to what a client can set of a group, and collects those on members.
///
/// # Errors
/// As [`patch::apply`].
pub fn apply(settable: &mut Tree, operations: Vec<Operation>) -> Result<MemberChanges, ScimError> {
    let mut changes = MemberChanges::default();
    for operation in operations {
        for operation in patch::spread(ResourceKind::Group, operation)? {
            let is_of_members = match &operation.target {
                Target::Attribute(named) | Target::Values(named, _) => named.attribute.name == "members",
                Target::Resource | Target::Extension(_) => false,
            };
            if is_of_members {
                changes.push(&operation)?;
            } else {
                patch::apply(ResourceKind::Group, settable, operation)?;
            }
        }
    }
    Ok(changes)
}
