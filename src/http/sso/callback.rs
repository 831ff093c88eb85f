//! Browsers that come back from a provider.

use actix_web::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use actix_web::{HttpRequest, HttpResponse, web};
use openidconnect::url::form_urlencoded;
use secrecy::SecretString;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::browser;
use super::problem::kind_of;
use crate::actors::sso::saml::{self, Posted};
use crate::actors::sso::{self, Back};
use crate::http::extract::{RawBody, TenantScope, Then, read_body};
use crate::http::openapi;
use crate::http::problem::{Problem, kinds};
use crate::http::state::AppState;

/// Largest form that is read, in bytes: responses of SAML are large.
const MAX_FORM: usize = 256 * 1_024;
/// Largest form of OpenID Connect that becomes a link, in bytes.
const MAX_LINK: usize = 16 * 1_024;

/// What a provider sends a browser back with. Providers add words of their own.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct CallbackQuery {
    /// Which flow it was.
    state: Option<String>,
    /// The provider's code.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// The provider (RFC 9207).
    iss: Option<String>,
    /// What waits of a response that was posted here, as its answer says.
    arrival: Option<String>,
}

/// Come back from the provider. A browser whose flow waits is sent on to `return_to`, with a `code` for `POST /auth/sso/token` or with an
/// `error`, which is the `code` of a problem; any other is told here.
#[utoipa::path(get, path = "/auth/sso/callback", tag = "sso", operation_id = "sso.callback", params(CallbackQuery),
    responses((status = 303, description = "To `return_to`", headers(("Location" = String))),
              openapi::TenantProblems))]
pub(in crate::http) async fn callback(
    Then(scope, web::Query(query)): Then<TenantScope, web::Query<CallbackQuery>>,
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let CallbackQuery { state: flow, code, error, iss, arrival } = query;
    let source = scope.caller.source.clone();
    let word = |error: &sso::SsoError| kind_of(error).code;
    if let Some(arrival) = arrival {
        // What nobody here asked for has a browser that left with no cookie; the code is tied to the one that it has from now on.
        let browser = browser::of_or_new(&request, &state)?;
        let url = saml::collect(&state.sso, &scope.tenant, &arrival, &browser, &source, word).await?;
        let cookie = browser::set(&state, &browser)?;
        return Ok(see(url).insert_header((SET_COOKIE, cookie)).finish());
    }
    let Some(flow) = flow else { return Err(Problem::new(&kinds::MALFORMED_REQUEST, "the URL has no state")) };
    let browser = browser::of(&request, &state);
    let back = Back {
        state: &flow,
        code: code.map(SecretString::from),
        error: error.as_deref(),
        issuer: iss.as_deref(),
        browser: browser.as_deref(),
    };
    Ok(see(sso::come_back(&state.sso, &scope.tenant, back, &source, word).await?).finish())
}

/// The same by POST: a response of SAML, or of OpenID Connect (`response_mode=form_post`). Browsers send no cookie along with another
/// site's form, so the answer is a link to the same by GET. A response of SAML is checked and used up here, whoever brings it.
#[utoipa::path(post, path = "/auth/sso/callback", tag = "sso", operation_id = "sso.callback_by_post",
    request_body(content = CallbackForm, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "To the same by GET", headers(("Location" = String))),
              (status = 400, description = "`invalid-sso-state`: nothing waits for it, or `malformed-request`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 403, description = "`sso-failed`: the response is not believed, `tenant-suspended` or `tenant-mismatch`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 413, description = "`payload-too-large`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              (status = 408, description = "`request-timeout`", body = openapi::ProblemSchema, content_type = "application/problem+json"),
              openapi::TenantProblems))]
pub(in crate::http) async fn callback_by_post(
    Then(scope, RawBody(payload)): Then<TenantScope, RawBody>,
    state: web::Data<AppState>,
) -> Result<HttpResponse, Problem> {
    let body = read_body(payload, MAX_FORM).await?;
    let form = Form::read(&body)?;
    let query = match form.response {
        Some(response) => {
            let posted = Posted { response, relay_state: form.relay_state };
            let word = |error: &sso::SsoError| kind_of(error).code;
            let source = scope.caller.source.clone();
            let arrival = saml::arrive(&state.sso, &scope.tenant, posted, &source, word).await?;
            query_of([("arrival", Some(arrival))])
        }
        None if body.len() > MAX_LINK => {
            return Err(Problem::new(&kinds::PAYLOAD_TOO_LARGE, format!("at most {MAX_LINK} bytes become a link")));
        }
        None if form.state.is_none() => return Err(malformed("the form has no state")),
        None => query_of([("state", form.state), ("code", form.code), ("error", form.error), ("iss", form.iss)]),
    };
    Ok(see(format!("/auth/sso/callback?{query}")).finish())
}

/// The form of [`callback_by_post`].
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form in the API document")]
pub(in crate::http) struct CallbackForm {
    /// The response (SAML), in Base64.
    #[schema(rename = "SAMLResponse")]
    response: Option<String>,
    /// Which flow it was (SAML).
    #[schema(rename = "RelayState")]
    relay_state: Option<String>,
    /// Which flow it was (OpenID Connect).
    state: Option<String>,
    /// The provider's code.
    code: Option<String>,
    /// Why there is none.
    error: Option<String>,
    /// The provider (RFC 9207).
    iss: Option<String>,
}

/// What a form says.
#[derive(Debug, Default)]
struct Form {
    response: Option<String>,
    relay_state: Option<String>,
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

impl Form {
    /// Of a field that is there twice nobody knows which is meant.
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            let field = match &*name {
                "SAMLResponse" => &mut form.response,
                "RelayState" => &mut form.relay_state,
                "state" => &mut form.state,
                "code" => &mut form.code,
                "error" => &mut form.error,
                "iss" => &mut form.iss,
                _ => continue,
            };
            if field.replace(value.into_owned()).is_some() {
                return Err(malformed("a field is there twice"));
            }
        }
        Ok(form)
    }
}

fn query_of<const N: usize>(pairs: [(&str, Option<String>); N]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, &value);
        }
    }
    query.finish()
}

fn see(url: String) -> actix_web::HttpResponseBuilder {
    let mut answer = HttpResponse::SeeOther();
    answer.insert_header((LOCATION, url)).insert_header((CACHE_CONTROL, "no-store"));
    answer
}

fn malformed(why: &'static str) -> Problem {
    Problem::new(&kinds::MALFORMED_REQUEST, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        let form = Form::read(b"SAMLResponse=a%2Bb&RelayState=r&other=1&other=2").expect("a form");
        assert_eq!((form.response.as_deref(), form.relay_state.as_deref()), (Some("a+b"), Some("r")));
        assert!(Form::read(b"SAMLResponse=a&RelayState=r&SAMLResponse=b").is_err());
    }
}
