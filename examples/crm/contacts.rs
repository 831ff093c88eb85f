//! Contacts: what this service is for.

use actix_web::http::StatusCode;
use actix_web::http::header::LOCATION;
use actix_web::{HttpResponse, delete, get, post, web};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

use crate::db::Db;
use crate::problem::{FieldError, Problem};
use crate::tenant::Tenant;

/// Contacts on a page, unless the client asks for fewer or more.
const DEFAULT_LIMIT: u32 = 50;
/// Contacts on a page at most.
const MAX_LIMIT: u32 = 100;

/// A contact as clients and the database see it.
#[derive(Debug, Serialize, FromRow)]
pub struct Contact {
    id: Uuid,
    name: String,
    email: Option<String>,
    created_at: DateTime<Utc>,
}

/// What a client sends for a new one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewContact {
    name: String,
    email: Option<String>,
}

impl NewContact {
    /// The fields that are wrong. The table checks lengths, too, but only a client that is told can do better.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        let mut expect = |fine: bool, pointer, detail| {
            if !fine {
                errors.push(FieldError { pointer, detail });
            }
        };
        let name = &self.name;
        expect(!name.trim().is_empty() && name.chars().count() <= 255, "/name", "must have 1 to 255 characters");
        // PostgreSQL's text cannot hold it.
        expect(!name.contains('\0'), "/name", "must not contain a NUL character");
        if let Some(email) = &self.email {
            expect((3..=254).contains(&email.chars().count()), "/email", "must have 3 to 254 characters");
            let is_address = email.split_once('@').is_some_and(|(user, host)| !user.is_empty() && !host.is_empty());
            let is_plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
            expect(is_address && is_plain, "/email", "must be an e-mail address");
        }
        errors
    }
}

/// Which page: the contacts after this one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    after: Option<Uuid>,
    limit: Option<u32>,
}

/// Lists contacts in the order of their making (UUIDv7 ids begin with the time). `next` is the `after` of the next page.
#[get("/contacts")]
pub async fn list(tenant: Tenant, db: web::Data<Db>, page: web::Query<Page>) -> Result<HttpResponse, Problem> {
    let limit = page.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Problem::invalid_fields(vec![FieldError { pointer: "/limit", detail: "must be 1 to 100" }]));
    }
    let mut items: Vec<Contact> = db
        .in_tenant(&tenant, async |sql| {
            let query = sqlx::query_as(
                "SELECT id, name, email, created_at FROM crm.contacts
                 WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3",
            );
            let query = query.bind(tenant.id()).bind(page.after.unwrap_or(Uuid::nil()));
            // One more than asked for tells whether there is a next page.
            Ok(query.bind(i64::from(limit) + 1).fetch_all(sql).await?)
        })
        .await?;
    let page_size = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = items.len() > page_size;
    items.truncate(page_size);
    let next = items.last().filter(|_| has_more).map(|last| last.id);
    Ok(HttpResponse::Ok().json(serde_json::json!({ "items": items, "next": next })))
}

/// Makes a contact.
#[post("/contacts")]
pub async fn create(tenant: Tenant, db: web::Data<Db>, new: web::Json<NewContact>) -> Result<HttpResponse, Problem> {
    let errors = new.check();
    if !errors.is_empty() {
        return Err(Problem::invalid_fields(errors));
    }
    let contact: Contact = db
        .in_tenant(&tenant, async |sql| {
            let query = sqlx::query_as(
                "INSERT INTO crm.contacts (tenant_id, id, name, email) VALUES ($1, $2, $3, $4)
                 RETURNING id, name, email, created_at",
            );
            let query = query.bind(tenant.id()).bind(Uuid::now_v7()).bind(&new.name).bind(&new.email);
            query.fetch_one(sql).await.map_err(email_taken)
        })
        .await?;
    // Relative, because only the gateway knows this service's prefix.
    let location = format!("contacts/{}", contact.id);
    Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(contact))
}

/// Shows a contact.
#[get("/contacts/{id}")]
pub async fn get(tenant: Tenant, db: web::Data<Db>, id: web::Path<Uuid>) -> Result<HttpResponse, Problem> {
    let contact: Option<Contact> = db
        .in_tenant(&tenant, async |sql| {
            let query =
                sqlx::query_as("SELECT id, name, email, created_at FROM crm.contacts WHERE tenant_id = $1 AND id = $2");
            Ok(query.bind(tenant.id()).bind(*id).fetch_optional(sql).await?)
        })
        .await?;
    contact.map(|contact| HttpResponse::Ok().json(contact)).ok_or_else(Problem::not_found)
}

/// Deletes a contact.
#[delete("/contacts/{id}")]
pub async fn delete(tenant: Tenant, db: web::Data<Db>, id: web::Path<Uuid>) -> Result<HttpResponse, Problem> {
    let n_deleted = db
        .in_tenant(&tenant, async |sql| {
            let query = sqlx::query("DELETE FROM crm.contacts WHERE tenant_id = $1 AND id = $2");
            Ok(query.bind(tenant.id()).bind(*id).execute(sql).await?.rows_affected())
        })
        .await?;
    if n_deleted == 0 { Err(Problem::not_found()) } else { Ok(HttpResponse::NoContent().finish()) }
}

/// Names the one refusal of the database that is the client's to solve.
fn email_taken(error: sqlx::Error) -> Problem {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    if constraint == Some("contacts_email_key") {
        return Problem::new(StatusCode::CONFLICT, "email-taken", "another contact has this e-mail address");
    }
    error.into()
}
