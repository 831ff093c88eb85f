//! Who the tenant's invoices are for.

use actix_web::{HttpResponse, web};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::db::billing_profiles::{self, BillingProfile};
use crate::db::{TenantTx, audit};
use crate::domain::audit::{AuditEvent, AuditOutcome};
use crate::domain::identity::EmailAddress;
use crate::domain::invoice_document::PartyFault;
use crate::http::extract::{BillingUser, Json, SteppedUp, Then};
use crate::http::openapi;
use crate::http::problem::{FieldError, Problem, kinds};
use crate::http::state::AppState;

/// Longest name, line of an address, or number, in characters.
const MAX_TEXT: usize = 200;
/// Most addresses for mail.
const MAX_EMAILS: usize = 5;

/// Who invoices are for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ProfileBody {
    /// The tenant's name in law, 1 to 200 characters.
    #[schema(example = "Acme GmbH")]
    legal_name: String,
    /// Street and the like, at most 3 lines.
    #[serde(default)]
    address_lines: Vec<String>,
    /// City.
    #[serde(default)]
    city: String,
    /// Postcode; empty where there are none.
    #[serde(default)]
    postcode: String,
    /// Country (ISO 3166-1, two capitals).
    #[schema(example = "DE")]
    country: String,
    /// Its number for value added or sales tax; one for value added tax begins with its country.
    #[schema(example = "DE123456789")]
    tax_id: Option<String>,
    /// Who gets invoices by mail, at most 5 addresses; none = the owners and admins.
    #[serde(default)]
    emails: Vec<String>,
}

impl From<BillingProfile> for ProfileBody {
    fn from(profile: BillingProfile) -> Self {
        let BillingProfile { legal_name, address_lines, city, postcode, country, tax_id, emails } = profile;
        Self { legal_name, address_lines, city, postcode, country, tax_id, emails }
    }
}

/// Who the tenant's invoices are for; 404 until somebody has said.
#[utoipa::path(get, path = "/billing/profile", tag = "billing", operation_id = "billing.profile.get", security(("bearer" = [])),
    responses((status = 200, description = "The profile", body = ProfileBody), openapi::ThingProblems))]
pub(in crate::http) async fn get_profile(
    user: BillingUser,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let mut tx = TenantTx::begin_read(&state.db, user.scope.tenant.id()).await?;
    let found = billing_profiles::find(&mut tx).await;
    tx.finish();
    let profile = found?.ok_or_else(|| Problem::new(&kinds::NOT_FOUND, "PUT it first"))?;
    Ok(HttpResponse::Ok().json(ProfileBody::from(profile)))
}

/// Say who the tenant's invoices are for, from the next one on. Asks for a second factor within the last five minutes.
#[utoipa::path(put, path = "/billing/profile", tag = "billing", operation_id = "billing.profile.put", security(("bearer" = [])),
    request_body = ProfileBody,
    responses((status = 200, description = "The profile", body = ProfileBody), openapi::BodyProblems, openapi::SignedInProblems))]
pub(in crate::http) async fn put_profile(
    Then(user, Json(body)): Then<SteppedUp<BillingUser>, Json<ProfileBody>>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let profile = checked(body)?;
    let tenant = user.scope.tenant.id();
    let mut tx = TenantTx::begin(&state.db, tenant).await?;
    billing_profiles::upsert(&mut tx, &profile).await?;
    let event = AuditEvent {
        actor: user.audit_actor(),
        action: "billing.profile",
        target_kind: "tenant",
        target_id: Some(tenant.to_string()),
        outcome: AuditOutcome::Success,
        code: None,
        source: user.scope.caller.source.clone(),
        detail: json!({ "legal_name": profile.legal_name, "country": profile.country, "tax_id": profile.tax_id }),
    };
    audit::insert(&mut tx, &event).await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok().json(ProfileBody::from(profile)))
}

/// The profile, or everything that is wrong with it.
fn checked(body: ProfileBody) -> Result<BillingProfile, Problem> {
    let ProfileBody { legal_name, address_lines, city, postcode, country, tax_id, emails } = body;
    let mut errors = Vec::new();
    let mut wrong = |pointer: String, detail: String| errors.push(FieldError { pointer, detail });
    let mut check_text = |pointer: &str, text: &str, is_needed: bool| {
        let is_short = text.chars().count() <= MAX_TEXT && !text.chars().any(char::is_control);
        if !is_short || (is_needed && text.trim().is_empty()) {
            wrong(pointer.to_owned(), format!("must be 1 to {MAX_TEXT} characters, none of them a control character"));
        }
    };
    check_text("/legal_name", &legal_name, true);
    check_text("/city", &city, false);
    check_text("/postcode", &postcode, false);
    check_text("/tax_id", tax_id.as_deref().unwrap_or_default(), false);
    for (index, line) in address_lines.iter().enumerate() {
        check_text(&format!("/address_lines/{index}"), line, true);
    }
    if emails.len() > MAX_EMAILS {
        wrong("/emails".to_owned(), format!("at most {MAX_EMAILS} addresses"));
    }
    for (index, email) in emails.iter().enumerate() {
        if let Err(error) = EmailAddress::parse(email) {
            wrong(format!("/emails/{index}"), error.to_string());
        }
    }
    let tax_id = tax_id.filter(|id| !id.trim().is_empty());
    let profile = BillingProfile { legal_name, address_lines, city, postcode, country, tax_id, emails };
    // What is taken in is printed on invoices that are never changed.
    for fault in profile.party().faults() {
        let pointer = match fault {
            PartyFault::Name => "/legal_name",
            PartyFault::Country => "/country",
            PartyFault::AddressLines => "/address_lines",
            PartyFault::VatId => "/tax_id",
        };
        if errors.iter().all(|error| error.pointer != pointer) {
            errors.push(FieldError { pointer: pointer.to_owned(), detail: format!("must be {}", fault.expected()) });
        }
    }
    if errors.is_empty() { Ok(profile) } else { Err(Problem::invalid_fields(errors)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::invoice_document::InvoiceDocument;

    fn body(country: &str, address_lines: Vec<String>, tax_id: &str) -> ProfileBody {
        ProfileBody {
            legal_name: "Acme".to_owned(),
            address_lines,
            city: String::new(),
            postcode: String::new(),
            country: country.to_owned(),
            tax_id: Some(tax_id.to_owned()),
            emails: Vec::new(),
        }
    }

    /// Whether the sample invoice can be printed for that buyer.
    fn can_be_printed(profile: &BillingProfile) -> bool {
        let sample = include_str!("../../../docs/sample-invoice.json");
        let mut document: InvoiceDocument = serde_json::from_str(sample).expect("the sample");
        document.buyer = profile.party();
        document.check().is_ok()
    }

    #[test]
    fn what_no_document_can_name_is_refused_and_what_is_unusual_is_not() {
        let lines = |n: usize| vec!["1 Street".to_owned(); n];
        for right in [
            body("DE", lines(3), "EU826010755"),
            body("GB", lines(0), "XI123456789"),
            body("MX", lines(1), "XAXX010101000"),
            body("US", lines(1), "12-3456789"),
        ] {
            assert!(can_be_printed(&checked(right.clone()).unwrap_or_else(|_| panic!("{right:?} is refused"))));
        }
        for wrong in
            [body("UK", lines(1), ""), body("XX", lines(1), ""), body("de", lines(1), ""), body("DE", lines(4), "")]
        {
            assert!(checked(wrong.clone()).is_err(), "{wrong:?} is taken");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_can_be_printed(
            legal_name in any::<String>(),
            address_lines in prop::collection::vec(any::<String>(), 0..5),
            place in any::<[String; 2]>(),
            country in prop_oneof!["[A-Z]{2}", Just("DE".to_owned()), any::<String>()],
            tax_id in prop_oneof!["[A-Z]{2}[0-9]{0,9}", any::<String>()],
        ) {
            let [city, postcode] = place;
            let body = ProfileBody { legal_name, city, postcode, ..body(&country, address_lines, &tax_id) };
            if let Ok(profile) = checked(body) {
                prop_assert!(can_be_printed(&profile), "{profile:?}");
            }
        }
    }
}
