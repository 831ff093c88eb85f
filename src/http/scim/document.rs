//! How the API document describes SCIM. Resources are described by SCIM itself, at `/scim/v2/Schemas`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoParams, IntoResponses, ToSchema};

use crate::domain::scim::MEDIA_TYPE;

/// An error answer (RFC 7644 §3.12).
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScimErrorSchema {
    /// Always `urn:ietf:params:scim:api:messages:2.0:Error`.
    schemas: Vec<String>,
    /// The HTTP status again, as a text.
    #[schema(example = "400")]
    status: String,
    /// What is wrong, for programs.
    #[serde(rename = "scimType")]
    #[schema(example = "invalidFilter")]
    scim_type: Option<String>,
    /// What is wrong, for people.
    detail: String,
}

/// A user or group, as `/scim/v2/Schemas` describes it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::http) struct ScimResource {
    /// URNs of the schemas.
    schemas: Vec<String>,
}

/// A page (RFC 7644 §3.4.2).
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ScimList {
    /// Always `urn:ietf:params:scim:api:messages:2.0:ListResponse`.
    schemas: Vec<String>,
    /// How many there are in all.
    #[serde(rename = "totalResults")]
    total_results: u64,
    /// Place of the first, from 1.
    #[serde(rename = "startIndex")]
    start_index: u64,
    /// How many there are on the page.
    #[serde(rename = "itemsPerPage")]
    items_per_page: u64,
    /// Those.
    #[serde(rename = "Resources")]
    #[schema(value_type = Vec<Object>)]
    resources: Vec<serde_json::Value>,
}

/// A message of SCIM's, such as a search, operations of a PATCH, or a bulk request.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(in crate::http) struct ScimMessage {
    /// URN of the message.
    schemas: Vec<String>,
}

/// What is wanted of a resource.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub(in crate::http) struct OneParams {
    /// Attributes that are wanted, with commas between them.
    attributes: Option<String>,
    /// Attributes that are not.
    #[param(rename = "excludedAttributes")]
    excluded_attributes: Option<String>,
}

/// Which resources are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only described")]
pub(in crate::http) struct ListParams {
    /// RFC 7644 §3.4.2.2, such as `userName eq "ann@acme.test"`.
    filter: Option<String>,
    /// Attribute by which they are sorted.
    #[param(rename = "sortBy")]
    sort_by: Option<String>,
    /// `ascending` or `descending`.
    #[param(rename = "sortOrder")]
    sort_order: Option<String>,
    /// Place of the first, from 1.
    #[param(rename = "startIndex")]
    start_index: Option<i64>,
    /// How many at most; more than 200 are never answered.
    count: Option<i64>,
    /// Attributes that are wanted, with commas between them.
    attributes: Option<String>,
    /// Attributes that are not.
    #[param(rename = "excludedAttributes")]
    excluded_attributes: Option<String>,
}

fn errors(list: &[(&str, &str)]) -> BTreeMap<String, RefOr<Response>> {
    list.iter()
        .map(|(status, description)| {
            let content = Content::new(Some(Ref::from_schema_name("ScimErrorSchema")));
            let response = ResponseBuilder::new().description(*description).content(MEDIA_TYPE, content).build();
            ((*status).to_owned(), RefOr::T(response))
        })
        .collect()
}

macro_rules! error_set {
    ($(#[$doc:meta])* $name:ident $(extends $base:ident)? : $($status:literal $description:literal),+) => {
        $(#[$doc])*
        pub(in crate::http) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let bases: Vec<BTreeMap<String, RefOr<Response>>> = vec![$($base::responses())?];
                let own = errors(&[$(($status, $description)),+]);
                bases.into_iter().flatten().chain(own).collect()
            }
        }
    };
}

error_set!(
    /// What every call may answer.
    ScimErrors:
    "400" "Malformed; `scimType` says how",
    "401" "No token, or none of this tenant's for SCIM",
    "403" "The tenant is suspended, or host and header name different tenants",
    "404" "No such tenant",
    "414" "The target is too long",
    "417" "The expectation cannot be met",
    "429" "Too many requests: wait for `Retry-After` seconds",
    "431" "The head is too large",
    "500" "A bug; quote the request id",
    "503" "Not available: wait for `Retry-After` seconds"
);
error_set!(
    /// What a call on one resource may answer.
    ResourceErrors extends ScimErrors:
    "403" "The resource is guarded against the change (`mutability`), or as everywhere",
    "404" "No such resource (the same for one of another tenant), or no such tenant",
    "412" "`If-Match` names another version"
);
error_set!(
    /// What a call with a body may answer besides.
    BodyErrors:
    "408" "The body did not arrive in time",
    "413" "The body is too large, or has too many operations",
    "415" "Send JSON"
);
error_set!(
    /// What a call that sets values may answer besides.
    TakenErrors:
    "409" "Another resource has the value (`uniqueness`)"
);
