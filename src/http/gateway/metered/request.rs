//! Requests to OpenAI's API: what they may use at most, and what is added to them so that it can be counted.

use bytes::Bytes;
use serde_json::Value;

use super::fields::{Fields, FieldsError};
use super::operation::Operation;
use super::usage::bounded;
use crate::domain::usage::MAX_QUANTITY;

/// A request whose tokens will be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::http) struct TokenRequest {
    /// The body for the provider; whoever sends it takes it.
    pub(in crate::http) body: Bytes,
    /// Its length, in bytes.
    pub(super) n_bytes: u64,
    /// The answer is to be a stream of events.
    pub(super) is_streamed: bool,
    /// The usage was asked for on our behalf: the client does not expect to see it.
    pub(super) hides_usage: bool,
    /// The model that is asked.
    pub(super) model: Option<String>,
    /// Tokens that the call uses at most. A token is at least one byte of the question, so its bytes are an upper bound.
    pub(in crate::http) most: i64,
}

/// The body is no request that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(in crate::http) enum BodyError {
    /// See there.
    #[error(transparent)]
    Fields(#[from] FieldsError),
    /// The answer would be fetched later, and its usage be seen by nobody.
    #[error("background answers are not served: nobody could count what they use")]
    Background,
}

/// Reads a request and adds what is missing: the usage at the end of a stream and, under a hard limit, a limit on the answer. What is
/// forwarded is what was read: of a field that is there twice, the last. What decides how much is used must be of its type: a
/// provider may be more generous in reading it than we are.
///
/// # Errors
/// [`BodyError`].
pub(in crate::http) fn prepare(
    operation: Operation,
    body: &[u8],
    is_capped: bool,
    max_output_tokens: u32,
) -> Result<TokenRequest, BodyError> {
    let mut fields = Fields::parse(body)?;
    let is_streamed = fields.flag("stream")?.unwrap_or(false);
    if fields.flag("background")? == Some(true) {
        return Err(BodyError::Background);
    }
    let hides_usage =
        is_streamed && matches!(operation, Operation::Chat | Operation::Completions) && ask_for_usage(&mut fields)?;
    let output = match operation {
        Operation::WithoutOutput | Operation::Models => 0,
        Operation::Chat | Operation::Completions | Operation::Responses => {
            output_limit(&mut fields, operation, is_capped, max_output_tokens)?
        }
    };
    let n_answers = n_answers(&fields)?;
    let model = fields.text("model").map(|model| bounded(&model));
    let body = Bytes::from(fields.into_body()?);
    let n_bytes = body.len() as u64;
    let most = n_bytes.saturating_add(n_answers.saturating_mul(output));
    let most = i64::try_from(most).unwrap_or(MAX_QUANTITY).min(MAX_QUANTITY);
    Ok(TokenRequest { body, n_bytes, is_streamed, hides_usage, model, most })
}

/// Sets `stream_options.include_usage`; false if the client did. The options are always written anew, so that the provider reads
/// what was read here.
fn ask_for_usage(fields: &mut Fields) -> Result<bool, FieldsError> {
    const NAME: &str = "include_usage";
    let mut options = fields.object("stream_options")?.unwrap_or_default();
    let was_asked_for = options.get(NAME) == Some(&Value::Bool(true));
    options.retain(|name, _| !name.eq_ignore_ascii_case(NAME));
    options.insert(NAME.to_owned(), Value::Bool(true));
    fields.set("stream_options", &options)?;
    Ok(!was_asked_for)
}

/// Tokens of one answer at most: what the request says, else what the route says, which is then put in under a hard limit. Limits of
/// other calls must be of their type, too, and count for nothing.
fn output_limit(
    fields: &mut Fields,
    operation: Operation,
    is_capped: bool,
    route_limit: u32,
) -> Result<u64, FieldsError> {
    let mut stated = None;
    for name in ["max_completion_tokens", "max_tokens", "max_output_tokens"] {
        let limit = fields.number(name)?;
        if operation.limits().contains(&name) {
            stated = stated.max(limit);
        }
    }
    if let (None, Some(name), true) = (stated, operation.limits().first(), is_capped) {
        fields.set(name, &route_limit)?;
    }
    Ok(stated.unwrap_or_else(|| u64::from(route_limit)))
}

/// How many answers are asked for: `n`, or `best_of`, for each of the prompts.
fn n_answers(fields: &Fields) -> Result<u64, FieldsError> {
    let n = fields.number("n")?.max(fields.number("best_of")?).unwrap_or(1);
    // A list of numbers is one prompt in tokens, and is taken for many: an upper bound all the same.
    Ok(n.max(1).saturating_mul(fields.n_items("prompt").max(1)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHAT: Operation = Operation::Chat;

    fn prepared(operation: Operation, body: &str, is_capped: bool) -> (TokenRequest, Value) {
        let request = prepare(operation, body.as_bytes(), is_capped, 100).expect("an object");
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
        for (operation, body) in
            [(CHAT, r#"{"stream":false}"#), (CHAT, "{}"), (Operation::Responses, r#"{"stream":true}"#)]
        {
            let (request, sent) = prepared(operation, body, false);
            assert!(!request.hides_usage, "{body}");
            assert_eq!(sent, serde_json::from_str::<Value>(body).expect("JSON"));
        }
    }

    #[test]
    fn under_a_hard_limit_every_answer_has_a_longest_length() {
        for (operation, field) in [
            (CHAT, "max_completion_tokens"),
            (Operation::Completions, "max_tokens"),
            (Operation::Responses, "max_output_tokens"),
        ] {
            let (request, body) = prepared(operation, "{}", true);
            assert_eq!(body, json!({ field: 100 }));
            assert_eq!(request.most, request.body.len() as i64 + 100);
            let (request, body) = prepared(operation, &json!({ field: 7 }).to_string(), true);
            assert_eq!(body, json!({ field: 7 }));
            assert_eq!(request.most, request.body.len() as i64 + 7);
            let (_, body) = prepared(operation, &json!({ field: null }).to_string(), true);
            assert_eq!(body, json!({ field: 100 }), "null is no limit");
            assert_eq!(prepared(operation, "{}", false).1, json!({}), "nothing is added without need");
        }
        assert_eq!(prepared(Operation::WithoutOutput, "{}", true).0.most, 2);
    }

    #[test]
    fn what_is_set_aside_is_never_too_little() {
        for (body, output) in [
            (r#"{"n":3}"#, 300),
            (r#"{"n":3,"best_of":5}"#, 500),
            (r#"{"n":0}"#, 100),
            (r#"{"max_tokens":5,"max_completion_tokens":9}"#, 9),
            (r#"{"max_tokens":5,"n":2}"#, 10),
            (r#"{"max_tokens":null,"n":null}"#, 100),
            (r#"{"max_output_tokens":9}"#, 100),
            (r#"{"prompt":[[1,2],[3]],"n":2}"#, 400),
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
    fn the_options_of_a_stream_are_written_anew() {
        for (options, is_hidden) in [
            (r#"{"include_usage":true,"include_usage":false}"#, true),
            (r#"{"include_usage":false,"include_usage":true}"#, false),
            (r#"{"include_usage":true,"Include_Usage":false}"#, false),
            ("null", true),
        ] {
            let body = format!(r#"{{"stream":true,"stream_options":{options}}}"#);
            let request = prepare(CHAT, body.as_bytes(), false, 1).expect("an object");
            assert_eq!(request.body, r#"{"stream":true,"stream_options":{"include_usage":true}}"#, "{options}");
            assert_eq!(request.hides_usage, is_hidden, "{options}");
        }
    }

    #[test]
    fn what_decides_about_usage_is_of_its_type_or_refused() {
        for (name, bad) in [
            ("n", "\"5\""),
            ("n", "5.0"),
            ("n", "5e0"),
            ("n", "-1"),
            ("best_of", "[2]"),
            ("max_tokens", "-5"),
            ("max_tokens", "1e9"),
            ("max_completion_tokens", "\"900\""),
            ("max_output_tokens", "18446744073709551616"),
            ("stream", "\"true\""),
            ("stream", "1"),
            ("background", "1"),
        ] {
            let body = format!("{{\"{name}\":{bad}}}");
            let error = prepare(CHAT, body.as_bytes(), false, 1).expect_err(&body);
            assert!(
                matches!(error, BodyError::Fields(FieldsError::Type { name: found, .. }) if found == name),
                "{body}"
            );
        }
        let body = br#"{"stream":true,"stream_options":[]}"#;
        let error = prepare(CHAT, body, false, 1).expect_err("no object");
        assert!(matches!(error, BodyError::Fields(FieldsError::Type { name: "stream_options", .. })));
        for operation in [CHAT, Operation::Responses] {
            let error = prepare(operation, br#"{"background":true}"#, false, 1);
            assert_eq!(error, Err(BodyError::Background));
            assert!(prepare(operation, br#"{"background":false}"#, false, 1).is_ok());
        }
    }
}
