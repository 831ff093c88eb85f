//! A provider with OpenAI's chat API and made-up tokens, to try AI routes without an account; and a few workflows that use them.
//!
//! - `chat.rs`: `POST /v1/chat/completions`, streamed and not, with usage as OpenAI's API says it (`stream_options.include_usage`),
//!   and `GET /v1/models`. It wants a bearer key and takes any. `max_tokens` or `max_completion_tokens` say how many tokens come.
//! - `workflows.rs`: `POST /workflows/runs`, which reports what a run used in `X-Usage`.
//!
//! Nothing here uses the platform's own crate. Environment: `MODEL_LISTEN`, and `MODEL_TOKEN_MS`, the time between two tokens of a
//! stream (default 5). SIGTERM stops it after the requests in flight.

mod chat;
mod workflows;

use std::error::Error;
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::json;

/// Largest request body, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// How long requests in flight may take to finish after SIGTERM, in seconds.
const SHUTDOWN_S: u64 = 4;
/// Longer than the gateway keeps an idle connection (4 s), or it would now and then send on one that is just closing.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().init();
    let listen = std::env::var("MODEL_LISTEN").unwrap_or_else(|_unset| "127.0.0.1:3101".to_owned());
    let token_ms = match std::env::var("MODEL_TOKEN_MS") {
        Ok(text) => text.parse().map_err(|error| format!("MODEL_TOKEN_MS: {error}"))?,
        Err(_unset) => 5,
    };
    let pace = chat::Pace(Duration::from_millis(token_ms));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(pace))
            .app_data(web::JsonConfig::default().limit(BODY_LIMIT).error_handler(|error, _| chat::bad_request(&error)))
            .route("/healthz", web::get().to(healthz))
            .route("/v1/chat/completions", web::post().to(chat::completions))
            .route("/v1/models", web::get().to(chat::models))
            .route("/workflows/runs", web::post().to(workflows::run))
    })
    .workers(1)
    .keep_alive(KEEP_ALIVE)
    .shutdown_timeout(SHUTDOWN_S)
    .bind(&listen)
    .map_err(|error| format!("MODEL_LISTEN={listen}: {error}"))?;
    tracing::info!(%listen, "the example model listens");
    server.run().await?;
    Ok(())
}

async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok" }))
}
