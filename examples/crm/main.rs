//! A service behind the BusinessOS gateway: contacts of a CRM. Copy it to start a service of your own.
//!
//! The platform has already found the tenant, checked the credential and the plan, and counted the request against the
//! tenant's limit. What is left for a service fits into three rules, each with a file that keeps it:
//!
//! 1. Believe what the platform signed, not where a request comes from: `tenant.rs`, with the keys from `keys.rs`.
//! 2. Reach tenants' rows only through a transaction that belongs to one tenant: `db.rs`.
//! 3. Answer errors as problems (RFC 9457), without inner texts: `problem.rs`.
//!
//! `contacts.rs` is then ordinary code. Nothing here uses the platform's own crate: any language could do the same.
//!
//! Environment: `CRM_DATABASE_URL` (required; `businessos db-url crm_rw` prints it), `CRM_PLATFORM_URL` (where this
//! service reaches the platform) and `CRM_LISTEN`. SIGTERM stops it after the requests in flight.

mod contacts;
mod db;
mod keys;
mod problem;
mod tenant;
#[cfg(test)]
mod tests;
mod whoami;

use std::error::Error;
use std::time::Duration;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, get, web};
use tracing_subscriber::EnvFilter;

use crate::db::Db;
use crate::keys::KeyStore;
use crate::problem::Problem;
use crate::tenant::Tenant;

/// Largest request body, in bytes: a contact is small.
const BODY_LIMIT: usize = 16 * 1024;
/// How long requests in flight may take to finish after SIGTERM, in seconds.
const SHUTDOWN_S: u64 = 4;
/// Longer than the gateway keeps an idle connection (4 s), or it would now and then send on one that is just closing.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).init();

    let setting = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_unset| default.to_owned());
    let database_url = std::env::var("CRM_DATABASE_URL").map_err(|error| format!("CRM_DATABASE_URL: {error}"))?;
    let platform_url = setting("CRM_PLATFORM_URL", "http://127.0.0.1:3000");
    let listen = setting("CRM_LISTEN", "127.0.0.1:3100");

    // Neither connects yet: the service starts in any order with its neighbours and says 503 until they are there.
    let db = web::Data::new(Db::new(&database_url)?);
    let keys = web::Data::new(KeyStore::new(&platform_url)?);

    let for_workers = db.clone();
    let server = HttpServer::new(move || {
        let (db, keys) = (for_workers.clone(), keys.clone());
        App::new().configure(|app| routes(app, db, keys))
    })
    .workers(2)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(SHUTDOWN_S)
    .bind(&listen)
    .map_err(|error| format!("CRM_LISTEN={listen}: {error}"))?;
    tracing::info!(%listen, %platform_url, "the example CRM listens");
    server.run().await?;
    db.close().await;
    Ok(())
}

/// All routes. The gateway has taken the prefix `/crm` off the path.
fn routes(app: &mut web::ServiceConfig, db: web::Data<Db>, keys: web::Data<KeyStore>) {
    app.app_data(db)
        .app_data(keys)
        .app_data(web::JsonConfig::default().limit(BODY_LIMIT).error_handler(problem::from_json))
        .app_data(web::QueryConfig::default().error_handler(problem::from_query))
        .app_data(web::PathConfig::default().error_handler(|_id, _| Problem::not_found().into()))
        // The only answer for everybody: the gateway's health check has no tenant.
        .service(healthz)
        .service(
            web::scope("")
                .wrap(from_fn(tenants_only))
                .service(contacts::list)
                .service(contacts::create)
                .service(contacts::get)
                .service(contacts::delete)
                .service(whoami::whoami)
                .default_service(web::to(|| async { Problem::not_found() })),
        );
}

/// Asks for the tenant before anything else of the request is looked at, also for handlers that forget to.
async fn tenants_only(
    tenant: Tenant,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    request.extensions_mut().insert(tenant);
    next.call(request).await
}

#[get("/healthz")]
async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({ "status": "ok" }))
}
