//! Requests to OpenAI's API: what they may use at most, and what is added to them so that it can be counted.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};

use super::usage::bounded;
use crate::domain::usage::MAX_QUANTITY;

/// A request whose tokens will be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct TokenRequest {
    /// The body for the provider.
    pub(in crate::http) body: Bytes,
    /// The answer is to be a stream of events.
    pub(super) is_streamed: bool,
    /// The usage was asked for on our behalf: the client does not expect to see it.
    pub(super) hides_usage: bool,
    /// The model that is asked.
    pub(super) model: Option<String>,
    /// Tokens that the call uses at most. A token is at least one byte of the question, so its bytes are an upper bound.
    pub(in crate::http) most: i64,
}

/// The body is no request of this API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the body is not a JSON object")]
pub(in crate::http) struct NotAnObject;

/// Calls that differ in how the length of the answer is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `…/chat/completions`
    Chat,
    /// `…/completions`
    Completions,
    /// `…/responses`
    Responses,
    /// `…/embeddings`, `…/moderations`: the answer has no tokens.
    WithoutOutput,
    /// Anything else.
    Other,
}

impl Call {
    fn of(path: &str) -> Self {
        let path = path.trim_end_matches('/');
        let last = path.rsplit('/').next().unwrap_or_default();
        match last {
            "completions" if path.ends_with("/chat/completions") => Self::Chat,
            "completions" => Self::Completions,
            "responses" => Self::Responses,
            "embeddings" | "moderations" => Self::WithoutOutput,
            _ => Self::Other,
        }
    }

    /// Fields that set the length of one answer; the first is the one that is added.
    fn limits(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["max_completion_tokens", "max_tokens"],
            Self::Completions => &["max_tokens"],
            Self::Responses => &["max_output_tokens"],
            Self::WithoutOutput | Self::Other => &[],
        }
    }
}

/// Reads a request and adds what is missing: the usage at the end of a stream and, under a hard limit, a limit on the answer. What is
/// forwarded is what was read: of a field that is there twice, the last.
///
/// # Errors
/// [`NotAnObject`].
pub(in crate::http) fn prepare(
    path: &str,
    body: &[u8],
    is_capped: bool,
    max_output_tokens: u32,
) -> Result<TokenRequest, NotAnObject> {
    let call = Call::of(path);
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(body).map_err(|_json: serde_json::Error| NotAnObject)?;
    let is_streamed = read::<bool>(&fields, "stream").unwrap_or(false);
    let hides_usage = is_streamed && matches!(call, Call::Chat | Call::Completions) && ask_for_usage(&mut fields);
    let output = match call {
        Call::WithoutOutput => 0,
        Call::Chat | Call::Completions | Call::Responses | Call::Other => {
            output_limit(&mut fields, call, is_capped, max_output_tokens)
        }
    };
    let model = read::<String>(&fields, "model").map(|model| bounded(&model));
    let n_answers = n_answers(&fields);
    let body = serde_json::to_vec(&fields).map_err(|_never: serde_json::Error| NotAnObject)?;
    let most = (body.len() as u64).saturating_add(n_answers.saturating_mul(output));
    let most = i64::try_from(most).unwrap_or(MAX_QUANTITY).min(MAX_QUANTITY);
    Ok(TokenRequest { body: body.into(), is_streamed, hides_usage, model, most })
}

fn read<'a, T: Deserialize<'a>>(fields: &'a BTreeMap<String, Box<RawValue>>, name: &str) -> Option<T> {
    fields.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok())
}

/// Sets `stream_options.include_usage`; false if the client did.
fn ask_for_usage(fields: &mut BTreeMap<String, Box<RawValue>>) -> bool {
    let mut options: Map<String, Value> = read(fields, "stream_options").unwrap_or_default();
    let was_asked_for = options.insert("include_usage".to_owned(), Value::Bool(true)) == Some(Value::Bool(true));
    if !was_asked_for && let Ok(raw) = to_raw_value(&options) {
        fields.insert("stream_options".to_owned(), raw);
    }
    !was_asked_for
}

/// Tokens of one answer at most: what the request says, else what the route says, which is then put in under a hard limit.
fn output_limit(fields: &mut BTreeMap<String, Box<RawValue>>, call: Call, is_capped: bool, route_limit: u32) -> u64 {
    let stated = call.limits().iter().filter_map(|name| read::<u64>(fields, name)).max();
    if let (None, Some(name), true) = (stated, call.limits().first(), is_capped)
        && let Ok(raw) = to_raw_value(&route_limit)
    {
        fields.insert((*name).to_owned(), raw);
    }
    stated.unwrap_or_else(|| u64::from(route_limit))
}

/// How many answers are asked for: `n`, or `best_of`, for each of the prompts.
fn n_answers(fields: &BTreeMap<String, Box<RawValue>>) -> u64 {
    let n = ["n", "best_of"].iter().filter_map(|name| read::<u64>(fields, name)).max().unwrap_or(1);
    // A list of numbers is one prompt in tokens, and is taken for many: an upper bound all the same.
    let n_prompts = read::<Vec<&RawValue>>(fields, "prompt").map_or(1, |prompts| prompts.len() as u64);
    n.max(1).saturating_mul(n_prompts.max(1))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHAT: &str = "/v1/chat/completions";

    fn prepared(path: &str, body: &str, is_capped: bool) -> (TokenRequest, Value) {
        let request = prepare(path, body.as_bytes(), is_capped, 100).expect("an object");
        let body = serde_json::from_slice(&request.body).expect("JSON");
        (request, body)
    }

    #[test]
    fn a_stream_is_asked_for_its_usage() {
        let (request, body) = prepared(CHAT, r#"{"model":"m","stream":true,"messages":[]}"#, false);
        assert_eq!(
            body,
            json!({ "model": "m", "stream": true, "messages": [], "stream_options": { "include_usage": true } })
        );
        assert!(request.hides_usage && request.is_streamed);
        assert_eq!(request.model.as_deref(), Some("m"));
        let (request, body) =
            prepared(CHAT, r#"{"stream":true,"stream_options":{"include_usage":false,"x":1}}"#, false);
        assert_eq!(body["stream_options"], json!({ "include_usage": true, "x": 1 }));
        assert!(request.hides_usage);
        let (request, _) = prepared(CHAT, r#"{"stream":true,"stream_options":{"include_usage":true}}"#, false);
        assert!(!request.hides_usage && request.is_streamed, "the client asked for it");
        for (path, body) in [(CHAT, r#"{"stream":false}"#), (CHAT, "{}"), ("/v1/responses", r#"{"stream":true}"#)] {
            let (request, sent) = prepared(path, body, false);
            assert!(!request.hides_usage, "{body}");
            assert_eq!(sent, serde_json::from_str::<Value>(body).expect("JSON"));
        }
    }

    #[test]
    fn under_a_hard_limit_every_answer_has_a_longest_length() {
        for (path, field) in
            [(CHAT, "max_completion_tokens"), ("/completions", "max_tokens"), ("/v1/responses/", "max_output_tokens")]
        {
            let (request, body) = prepared(path, "{}", true);
            assert_eq!(body, json!({ field: 100 }));
            assert_eq!(request.most, request.body.len() as i64 + 100);
            let (request, body) = prepared(path, &json!({ field: 7 }).to_string(), true);
            assert_eq!(body, json!({ field: 7 }));
            assert_eq!(request.most, request.body.len() as i64 + 7);
            let (_, body) = prepared(path, &json!({ field: null }).to_string(), true);
            assert_eq!(body, json!({ field: 100 }), "null is no limit");
            assert_eq!(prepared(path, "{}", false).1, json!({}), "nothing is added without need");
        }
        assert_eq!(prepared("/v1/embeddings", "{}", true).0.most, 2);
        assert_eq!(prepared("/v1/images", "{}", true).0.most, 102);
    }

    #[test]
    fn what_is_set_aside_is_never_too_little() {
        for (body, output) in [
            (r#"{"n":3}"#, 300),
            (r#"{"n":3,"best_of":5}"#, 500),
            (r#"{"n":0}"#, 100),
            (r#"{"max_tokens":5,"max_completion_tokens":9}"#, 9),
            (r#"{"max_tokens":5,"n":2}"#, 10),
            (r#"{"max_tokens":-5}"#, 100),
            (r#"{"prompt":["a","b"],"n":2}"#, 400),
            (r#"{"n":1,"n":4}"#, 400),
        ] {
            let (request, _) = prepared(CHAT, body, true);
            assert_eq!(request.most, request.body.len() as i64 + output, "{body}");
        }
        let huge = format!(r#"{{"max_tokens":{},"n":{}}}"#, u64::MAX, u64::MAX);
        assert_eq!(prepared(CHAT, &huge, true).0.most, MAX_QUANTITY);
    }

    #[test]
    fn numbers_and_texts_stay_as_they_were_written() {
        let body = r#"{"a":0.10,"b":1e400,"c":12345678901234567890123,"d":"\u00e9\/"}"#;
        assert_eq!(prepare(CHAT, body.as_bytes(), false, 1).expect("an object").body, body);
    }

    #[test]
    fn only_an_object_is_a_request() {
        for bad in ["", "[]", "1", "\"a\"", "{", "{}x", "null"] {
            assert_eq!(prepare(CHAT, bad.as_bytes(), false, 1), Err(NotAnObject), "{bad}");
        }
    }
}
