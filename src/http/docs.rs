//! The API document, and a page to browse it that needs nothing from the internet.

use std::sync::{Arc, OnceLock};

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::{HttpResponse, web};
use bytes::Bytes;
use utoipa_swagger_ui::Config;

use super::extract::Caller;
use super::openapi;
use super::problem::{Problem, kinds};

/// The OpenAPI 3.1 document of the platform's own calls.
#[utoipa::path(get, path = "/openapi.json", tag = "platform", operation_id = "docs.openapi",
    responses((status = 200, description = "OpenAPI 3.1", body = Object), openapi::CommonProblems))]
pub(super) async fn openapi(_caller: Caller) -> HttpResponse {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| Bytes::from(openapi::json()));
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/json")).body(text.clone())
}

/// The page.
#[utoipa::path(get, path = "/docs", tag = "platform", operation_id = "docs.page",
    responses((status = 200, description = "A page to browse the API", content_type = "text/html", body = String), openapi::CommonProblems))]
pub(super) async fn page(_caller: Caller) -> Result<HttpResponse, Problem> {
    let (bytes, _) = file("index.html")?;
    // The page's links are relative, and it is served without a trailing slash.
    let html = String::from_utf8_lossy(&bytes).replacen("<head>", "<head><base href=\"/docs/\">", 1);
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(html))
}

/// The page's scripts and styles.
#[utoipa::path(get, path = "/docs/{file}", tag = "platform", operation_id = "docs.asset",
    params(("file" = String, Path, description = "Name of a file of the page")),
    responses((status = 200, description = "The file", content_type = "text/css", body = String),
              (status = 404, description = "`not-found`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::CommonProblems))]
pub(super) async fn asset(_caller: Caller, name: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (bytes, content_type) = file(&name)?;
    Ok(HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, content_type))
        .insert_header((CACHE_CONTROL, "public, max-age=3600"))
        .body(bytes))
}

fn file(name: &str) -> Result<(Vec<u8>, String), Problem> {
    static CONFIG: OnceLock<Arc<Config<'static>>> = OnceLock::new();
    let config = CONFIG.get_or_init(|| Arc::new(Config::from("/openapi.json").try_it_out_enabled(true)));
    match utoipa_swagger_ui::serve(name, Arc::clone(config)) {
        Ok(Some(file)) => Ok((file.bytes.into_owned(), file.content_type)),
        Ok(None) | Err(_) => Err(Problem::new(&kinds::NOT_FOUND, "there is no such file")),
    }
}
