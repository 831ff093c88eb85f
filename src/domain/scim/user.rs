//! A user as a SCIM resource.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::error::{ScimError, ScimType};
use super::schema::ResourceKind;
use super::{Tree, values};
use crate::domain::identity::{EmailAddress, IdentityError, parse_person_name};
use crate::domain::ids::{ScimGroupId, UserId};

/// Most bytes of JSON that are kept of one user: 200 of them are on a page.
const MAX_ATTRIBUTES_BYTES: usize = 65_536;

/// A user as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct ScimUser {
    /// Id.
    pub id: UserId,
    /// Name by which the provider knows the user.
    pub user_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
    /// Everything else that the provider set.
    pub attributes: Tree,
    /// Whether the user may sign in.
    pub is_active: bool,
    /// Whether the provider says so. An admin may have suspended the user all the same.
    pub is_wanted_active: bool,
    /// Groups that the user is in, with their names.
    pub groups: Vec<(ScimGroupId, String)>,
    /// Counts changes.
    pub version: i64,
    /// When the provider made it, or took it over.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

/// A moment as SCIM writes it (RFC 7643 §2.3.5).
#[must_use]
pub fn moment(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The entity tag of a version (RFC 7644 §3.14).
#[must_use]
pub fn entity_tag(version: i64) -> String {
    format!("W/\"{version}\"")
}

/// `meta` of a resource.
#[must_use]
pub fn meta(kind: ResourceKind, location: &str, created: DateTime<Utc>, changed: DateTime<Utc>, version: i64) -> Value {
    json!({
        "resourceType": kind.name(), "created": moment(created), "lastModified": moment(changed),
        "location": location, "version": entity_tag(version),
    })
}

impl ScimUser {
    /// What a client can set, as it is set: to be changed and read back by [`Wish::read`].
    #[must_use]
    pub fn settable(&self) -> Tree {
        let mut tree = self.attributes.clone();
        tree.insert("userName".to_owned(), json!(self.user_name));
        tree.insert("active".to_owned(), json!(self.is_wanted_active));
        if let Some(id) = &self.external_id {
            tree.insert("externalId".to_owned(), json!(id));
        }
        tree
    }

    /// Where the resource is, under the base of all.
    #[must_use]
    pub fn location(&self, base: &str) -> String {
        format!("{base}/Users/{}", self.id)
    }

    /// The whole resource; `base` is the URL that all are under.
    #[must_use]
    pub fn resource(&self, base: &str) -> Tree {
        let mut tree = self.settable();
        tree.insert("active".to_owned(), json!(self.is_active));
        tree.insert("schemas".to_owned(), json!(ResourceKind::User.schemas_of(&tree)));
        tree.insert("id".to_owned(), json!(self.id));
        let location = self.location(base);
        let meta = meta(ResourceKind::User, &location, self.created_at, self.updated_at, self.version);
        tree.insert("meta".to_owned(), meta);
        if !self.groups.is_empty() {
            let group = |(id, display): &(ScimGroupId, String)| json!({ "value": id, "$ref": format!("{base}/Groups/{id}"), "display": display, "type": "direct" });
            tree.insert("groups".to_owned(), self.groups.iter().map(group).collect());
        }
        tree
    }
}

/// What a client wants a user to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// Name by which the provider knows the user.
    pub user_name: String,
    /// The provider's own id.
    pub external_id: Option<String>,
    /// Everything else that is kept.
    pub attributes: Tree,
    /// Whether the user may sign in; true where nothing is said (RFC 7644 §3.5.1).
    pub is_active: bool,
    /// The address to sign in with: the primary one, the one for work, the first, or `userName` if that is one.
    pub email: Option<EmailAddress>,
    /// The name that is shown.
    pub name: Option<String>,
}

impl Wish {
    /// Reads what a client set.
    ///
    /// # Errors
    /// `invalidValue`.
    pub fn read(mut tree: Tree) -> Result<Self, ScimError> {
        let invalid = |detail: String| ScimError::bad(ScimType::InvalidValue, detail);
        super::input::check_required(ResourceKind::User, &tree)?;
        let mut text = |name: &str| match tree.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        };
        let user_name = text("userName").unwrap_or_default();
        let external_id = text("externalId");
        let is_active = match tree.remove("active") {
            None => true,
            Some(value) => values::boolean(&value).ok_or_else(|| invalid("active must be true or false".to_owned()))?,
        };
        for name in ["id", "schemas", "meta", "groups"] {
            tree.remove(name);
        }
        let email = match address(&tree) {
            Some(text) => Some(
                EmailAddress::parse(text).map_err(|error: IdentityError| invalid(format!("emails.value {error}")))?,
            ),
            None => EmailAddress::parse(&user_name).ok(),
        };
        let name = match display_name(&tree) {
            None => None,
            Some(text) => {
                Some(parse_person_name(&text).map_err(|error: IdentityError| invalid(format!("displayName {error}")))?)
            }
        };
        let attributes = Value::Object(tree);
        if attributes.to_string().len() > MAX_ATTRIBUTES_BYTES {
            return Err(invalid(format!("the attributes have more than {MAX_ATTRIBUTES_BYTES} bytes together")));
        }
        let Value::Object(attributes) = attributes else { return Err(invalid("not an object".to_owned())) };
        Ok(Self { user_name, external_id, attributes, is_active, email, name })
    }
}

/// The address among `emails` that counts.
fn address(tree: &Tree) -> Option<&str> {
    let emails = tree.get("emails")?.as_array()?;
    let is_for_work = |email: &&Value| {
        email.get("type").and_then(Value::as_str).is_some_and(|kind| kind.eq_ignore_ascii_case("work"))
    };
    let primary = emails.iter().find(|email| values::is_primary(email));
    let counts = primary.or_else(|| emails.iter().find(is_for_work)).or_else(|| emails.first())?;
    counts.get("value")?.as_str()
}

fn display_name(tree: &Tree) -> Option<String> {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let name = tree.get("name");
    let part = |part: &str| text(name.and_then(|name| name.get(part)));
    let joined = || {
        let parts: Vec<String> = [part("givenName"), part("familyName")].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" "))
    };
    text(tree.get("displayName")).or_else(|| part("formatted")).or_else(joined)
}
