//! What the server says of itself (RFC 7643 §5–§7, RFC 7644 §4).

use serde_json::{Value, json};

use super::schema::{Attribute, ResourceKind, Schema};
use super::{MAX_BODY_BYTES, MAX_BULK_OPERATIONS, MAX_PAGE, list};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
const CONFIG: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";

fn all_schemas() -> Vec<&'static Schema> {
    ResourceKind::ALL.iter().flat_map(|kind| std::iter::once(kind.schema()).chain(kind.extension())).collect()
}

/// `/Schemas`.
#[must_use]
pub fn schemas(base: &str) -> Value {
    let all: Vec<Value> = all_schemas().into_iter().map(|schema| schema_json(schema, base)).collect();
    list::response(all.len(), 0, all)
}

/// `/Schemas/{id}`.
#[must_use]
pub fn schema(base: &str, id: &str) -> Option<Value> {
    let found = all_schemas().into_iter().find(|schema| schema.id.eq_ignore_ascii_case(id))?;
    Some(schema_json(found, base))
}

fn schema_json(schema: &Schema, base: &str) -> Value {
    json!({
        "schemas": [SCHEMA],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": schema.attributes.iter().map(attribute_json).collect::<Vec<_>>(),
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{}", schema.id) },
    })
}

fn attribute_json(attribute: &Attribute) -> Value {
    let mut column = json!({
        "name": attribute.name,
        "type": attribute.data_type.as_str(),
        "multiValued": attribute.is_multi,
        "description": attribute.description,
        "required": attribute.is_required,
        "caseExact": attribute.is_case_exact,
        "mutability": if attribute.is_read_only { "readOnly" } else { "readWrite" },
        "returned": if attribute.is_always_returned { "always" } else { "default" },
        "uniqueness": if attribute.is_unique { "server" } else { "none" },
    });
    if let Value::Object(column) = &mut column {
        if !attribute.canonical.is_empty() {
            column.insert("canonicalValues".to_owned(), json!(attribute.canonical));
        }
        if !attribute.refers_to.is_empty() {
            column.insert("referenceTypes".to_owned(), json!(attribute.refers_to));
        }
        if !attribute.sub.is_empty() {
            column.insert("subAttributes".to_owned(), attribute.sub.iter().map(attribute_json).collect());
        }
    }
    column
}

/// `/ResourceTypes`.
#[must_use]
pub fn resource_types(base: &str) -> Value {
    let all: Vec<Value> = ResourceKind::ALL.iter().map(|kind| resource_type_json(*kind, base)).collect();
    list::response(all.len(), 0, all)
}

/// `/ResourceTypes/{name}`.
#[must_use]
pub fn resource_type(base: &str, name: &str) -> Option<Value> {
    let found = ResourceKind::ALL.into_iter().find(|kind| kind.name().eq_ignore_ascii_case(name))?;
    Some(resource_type_json(found, base))
}

fn resource_type_json(kind: ResourceKind, base: &str) -> Value {
    let extensions: Vec<Value> =
        kind.extension().map(|schema| json!({ "schema": schema.id, "required": false })).into_iter().collect();
    json!({
        "schemas": [RESOURCE_TYPE],
        "id": kind.name(),
        "name": kind.name(),
        "description": kind.schema().description,
        "endpoint": kind.endpoint(),
        "schema": kind.schema().id,
        "schemaExtensions": extensions,
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{}", kind.name()) },
    })
}

/// `/ServiceProviderConfig`.
#[must_use]
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": [CONFIG],
        "patch": { "supported": true },
        "bulk": {
            "supported": true, "maxOperations": MAX_BULK_OPERATIONS, "maxPayloadSize": MAX_BODY_BYTES,
        },
        "filter": { "supported": true, "maxResults": MAX_PAGE },
        "changePassword": { "supported": false },
        "sort": { "supported": true },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "A token that an admin of the tenant made by POST /scim/tokens",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}
