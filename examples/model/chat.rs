//! Chat completions with made-up tokens.

use std::time::Duration;

use actix_web::error::InternalError;
use actix_web::http::header::AUTHORIZATION;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// Tokens of an answer, unless the request says how many.
const DEFAULT_TOKENS: u64 = 16;
/// Tokens of an answer at most.
const MAX_TOKENS: u64 = 100_000;
/// What an answer is made of: a word is a token here.
const WORDS: &[&str] = &["the", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", " and"];

/// Time between two tokens of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Pace(pub Duration);

/// What is read of a request; the rest is as welcome as it is ignored.
#[derive(Debug, Deserialize)]
pub struct ChatRequest {
    #[serde(default = "default_model")]
    model: String,
    messages: Vec<Value>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

fn default_model() -> String {
    "made-up-1".to_owned()
}

/// The tokens of one exchange.
#[derive(Debug, Clone, Copy)]
struct Tokens {
    prompt: u64,
    completion: u64,
    is_cut: bool,
}

impl Tokens {
    fn of(request: &ChatRequest) -> Self {
        // A token for four bytes of the question, as a rule of thumb.
        let n_bytes: usize = request.messages.iter().map(|message| message.to_string().len()).sum();
        let limit = request.max_completion_tokens.or(request.max_tokens);
        let completion = limit.unwrap_or(DEFAULT_TOKENS).clamp(1, MAX_TOKENS);
        Self { prompt: (n_bytes as u64).div_ceil(4), completion, is_cut: limit.is_some() }
    }

    fn usage(self) -> Value {
        let Self { prompt, completion, is_cut: _ } = self;
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }

    fn finish_reason(self) -> &'static str {
        if self.is_cut { "length" } else { "stop" }
    }
}

/// An error as OpenAI's API says it.
fn error(status: actix_web::http::StatusCode, kind: &str, message: &str) -> HttpResponse {
    HttpResponse::build(status).json(json!({ "error": { "type": kind, "message": message, "code": null } }))
}

/// The answer to a body that cannot be read.
pub fn bad_request(cause: &actix_web::error::JsonPayloadError) -> actix_web::Error {
    let text = cause.to_string();
    let answer = error(actix_web::http::StatusCode::BAD_REQUEST, "invalid_request_error", &text);
    InternalError::from_response(text, answer).into()
}

/// The answer to a request without a key; any key will do.
fn refuse_without_key(request: &HttpRequest) -> Option<HttpResponse> {
    let key = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let has_key = key.is_some_and(|key| !key.trim().is_empty());
    (!has_key).then(|| {
        error(actix_web::http::StatusCode::UNAUTHORIZED, "invalid_request_error", "You didn't provide an API key")
    })
}

/// `GET /v1/models`
pub async fn models(request: HttpRequest) -> HttpResponse {
    if let Some(refusal) = refuse_without_key(&request) {
        return refusal;
    }
    let model = json!({ "id": default_model(), "object": "model", "created": 0, "owned_by": "nobody" });
    HttpResponse::Ok().json(json!({ "object": "list", "data": [model] }))
}

/// `POST /v1/chat/completions`
pub async fn completions(request: HttpRequest, pace: web::Data<Pace>, chat: web::Json<ChatRequest>) -> HttpResponse {
    if let Some(refusal) = refuse_without_key(&request) {
        return refusal;
    }
    let tokens = Tokens::of(&chat);
    let id = format!("chatcmpl-{}", Uuid::new_v4().simple());
    if chat.stream {
        return streamed(&id, &chat, tokens, *pace.get_ref());
    }
    let text: String = (0..tokens.completion).map(word).collect();
    HttpResponse::Ok().json(json!({
        "id": id, "object": "chat.completion", "created": 0, "model": chat.model,
        "choices": [{
            "index": 0, "message": { "role": "assistant", "content": text }, "finish_reason": tokens.finish_reason(),
        }],
        "usage": tokens.usage(),
    }))
}

fn word(n: u64) -> &'static str {
    usize::try_from(n).ok().and_then(|n| WORDS.iter().cycle().nth(n % WORDS.len())).copied().unwrap_or_default()
}

/// One event for each token, one that says why it ended, one with the usage if that was asked for, and `[DONE]`.
fn streamed(id: &str, chat: &ChatRequest, tokens: Tokens, Pace(pace): Pace) -> HttpResponse {
    let includes_usage = chat.stream_options.as_ref().is_some_and(|options| options.include_usage);
    let (id, model) = (id.to_owned(), chat.model.clone());
    let event = move |choices: Value, usage: Option<Value>| {
        let mut chunk =
            json!({ "id": id, "object": "chat.completion.chunk", "created": 0, "model": model, "choices": choices });
        if let Some(fields) = chunk.as_object_mut().filter(|_| includes_usage) {
            fields.insert("usage".to_owned(), usage.unwrap_or(Value::Null));
        }
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let end_event = event.clone();
    let words = stream::iter(0..tokens.completion).then(move |n| {
        let delta = json!([{ "index": 0, "delta": { "content": word(n) }, "finish_reason": null }]);
        let chunk = event(delta, None);
        async move {
            tokio::time::sleep(pace).await;
            chunk
        }
    });
    let end = json!([{ "index": 0, "delta": {}, "finish_reason": tokens.finish_reason() }]);
    let mut last = vec![end_event(end, None)];
    if includes_usage {
        last.push(end_event(json!([]), Some(tokens.usage())));
    }
    last.push(Bytes::from_static(b"data: [DONE]\n\n"));
    let body = words.chain(stream::iter(last)).map(Ok::<_, std::convert::Infallible>);
    HttpResponse::Ok().content_type("text/event-stream").streaming(body)
}
