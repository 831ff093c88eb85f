//! The tokens that an answer of OpenAI's API says it used.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::hide::Verdict;

/// Bytes of text that are taken for one token where nobody says how many there are.
const BYTES_PER_TOKEN: u64 = 4;
/// Types of the responses call's events after which no other comes. It has no `[DONE]`.
const LAST_EVENTS: [&str; 3] = ["response.completed", "response.incomplete", "response.failed"];
/// Longest name of a model that is kept, in bytes.
const MAX_MODEL: usize = 128;

/// The object `usage`. The chat and completions calls say `prompt_tokens` and `completion_tokens`, the responses call
/// `input_tokens` and `output_tokens`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(super) struct Usage {
    total_tokens: Option<u64>,
    prompt_tokens: Option<u64>,
    input_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Usage {
    /// All tokens; `None` for an object that names none.
    pub(super) fn total(&self) -> Option<u64> {
        match (self.total_tokens, self.prompt(), self.completion()) {
            (Some(total), _, _) => Some(total),
            (None, None, None) => None,
            (None, prompt, completion) => Some(prompt.unwrap_or(0).saturating_add(completion.unwrap_or(0))),
        }
    }

    /// Tokens of the question.
    pub(super) fn prompt(&self) -> Option<u64> {
        self.prompt_tokens.or(self.input_tokens)
    }

    /// Tokens of the answer.
    pub(super) fn completion(&self) -> Option<u64> {
        self.completion_tokens.or(self.output_tokens)
    }
}

/// What an answer, or one event of it, says about itself. Everything else in it is skipped, not kept.
#[derive(Debug, Default, Deserialize)]
struct Said {
    #[serde(default)]
    model: Option<Lenient<String>>,
    #[serde(default)]
    usage: Option<Lenient<Usage>>,
    #[serde(default)]
    choices: Option<Text>,
    /// What an event of the responses call is.
    #[serde(default, rename = "type")]
    kind: Option<Lenient<String>>,
    /// A piece of the answer, in events of the responses call.
    #[serde(default)]
    delta: Option<Text>,
    /// The whole answer, in the last event of the responses call.
    #[serde(default)]
    response: Option<Lenient<Inner>>,
}

#[derive(Debug, Default, Deserialize)]
struct Inner {
    #[serde(default)]
    model: Option<Lenient<String>>,
    #[serde(default)]
    usage: Option<Lenient<Usage>>,
}

/// A value of the expected form, or something else that is skipped: a field that a server has its own idea of does not make the
/// others unreadable.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Lenient<T> {
    As(T),
    Other(IgnoredAny),
}

fn take<T>(value: Option<Lenient<T>>) -> Option<T> {
    match value {
        Some(Lenient::As(value)) => Some(value),
        Some(Lenient::Other(_)) | None => None,
    }
}

/// Everything that was read of an answer so far.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// What it said last.
    pub(super) usage: Option<Usage>,
    /// The model that answered.
    pub(super) model: Option<String>,
    /// The stream said that it is at its end.
    pub(super) is_done: bool,
    text_bytes: u64,
}

impl Reading {
    /// Reads a whole answer.
    pub(super) fn whole(&mut self, body: &[u8]) {
        if let Ok(said) = serde_json::from_slice(body) {
            self.take_in(said);
        }
    }

    /// Reads an event's data. The event that only says the usage is to be hidden from a client that did not ask for it.
    pub(super) fn event(&mut self, data: &[u8]) -> Verdict {
        if data.trim_ascii() == b"[DONE]" {
            self.is_done = true;
            return Verdict::Pass;
        }
        let Ok(mut said) = serde_json::from_slice::<Said>(data) else { return Verdict::Pass };
        self.is_done |= take(said.kind.take()).is_some_and(|kind| LAST_EVENTS.contains(&kind.as_str()));
        let has_no_choices = said.choices.as_ref().is_some_and(|choices| choices.n_items == 0);
        let says_usage = self.take_in(said);
        if says_usage && has_no_choices { Verdict::Hide } else { Verdict::Pass }
    }

    /// Looks for the usage in the end of an answer whose beginning was not kept. A quotation mark within a text has a backslash
    /// before it, so a text cannot pass for the field.
    pub(super) fn tail(&mut self, tail: &[u8]) {
        const FIELD: &[u8] = b"\"usage\"";
        for at in memchr::memmem::rfind_iter(tail, FIELD) {
            let is_in_text = at.checked_sub(1).and_then(|before| tail.get(before)) == Some(&b'\\');
            let rest = tail.get(at + FIELD.len()..).unwrap_or_default().trim_ascii_start();
            let Some(rest) = rest.strip_prefix(b":").filter(|_| !is_in_text) else { continue };
            let first = serde_json::Deserializer::from_slice(rest).into_iter::<Usage>().next();
            if let Some(Ok(usage)) = first
                && usage.total().is_some()
            {
                self.usage = Some(usage);
                return;
            }
        }
    }

    /// What the answer's text and the question's bytes come to, where nobody says the number of tokens.
    pub(super) fn estimate(&self, request_bytes: u64) -> u64 {
        self.text_bytes.saturating_add(request_bytes).div_ceil(BYTES_PER_TOKEN)
    }

    /// Adds text that cannot be read as JSON, for the estimate.
    pub(super) fn add_opaque(&mut self, n_bytes: usize) {
        self.text_bytes = self.text_bytes.saturating_add(n_bytes as u64);
    }

    /// Whether anything came that somebody may have to pay for.
    pub(super) fn has_text(&self) -> bool {
        self.text_bytes > 0
    }

    fn take_in(&mut self, said: Said) -> bool {
        let Said { model, usage, choices, kind: _, delta, response } = said;
        let inner = take(response).unwrap_or_default();
        let usage = take(usage).or_else(|| take(inner.usage)).filter(|usage| usage.total().is_some());
        if let Some(model) = take(model).or_else(|| take(inner.model)) {
            self.model = Some(bounded(&model));
        }
        for text in [choices, delta].into_iter().flatten() {
            self.text_bytes = self.text_bytes.saturating_add(text.n_bytes);
        }
        if usage.is_some() {
            self.usage = usage;
        }
        usage.is_some()
    }
}

/// A model's name as it is kept: a word of the client's or the provider's, so neither of any length nor with control characters.
pub(super) fn bounded(name: &str) -> String {
    let mut kept = String::new();
    for c in name.chars().filter(|c| !c.is_control()) {
        if kept.len() + c.len_utf8() > MAX_MODEL {
            break;
        }
        kept.push(c);
    }
    kept
}

/// How much text a JSON value has: the bytes of all strings in it, without names of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Text {
    n_bytes: u64,
    /// Values directly in it, if it is a list or an object.
    n_items: u64,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text { n_bytes: text.len() as u64, n_items: 0 })
    }

    fn visit_unit<E>(self) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Text, E> {
        Ok(Text::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Text, A::Error> {
        let mut sum = Text::default();
        while let Some(item) = items.next_element::<Text>()? {
            sum.n_bytes = sum.n_bytes.saturating_add(item.n_bytes);
            sum.n_items += 1;
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Text, A::Error> {
        let mut sum = Text::default();
        while let Some((IgnoredAny, value)) = fields.next_entry::<IgnoredAny, Text>()? {
            sum.n_bytes = sum.n_bytes.saturating_add(value.n_bytes);
            sum.n_items += 1;
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Reading {
        let mut reading = Reading::default();
        reading.whole(body.as_bytes());
        reading
    }

    #[test]
    fn usage_is_read_in_every_dialect() {
        for (body, total, prompt) in [
            (r#"{"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#, Some(7), Some(3)),
            (r#"{"usage":{"input_tokens":3,"output_tokens":4}}"#, Some(7), Some(3)),
            (
                r#"{"usage":{"input_tokens":3,"prompt_tokens":3,"output_tokens":4,"completion_tokens":4}}"#,
                Some(7),
                Some(3),
            ),
            (r#"{"usage":{"prompt_tokens":3,"total_tokens":3,"details":{"cached":1}}}"#, Some(3), Some(3)),
            (r#"{"type":"response.completed","response":{"model":"m","usage":{"total_tokens":9}}}"#, Some(9), None),
            (r#"{"usage":null}"#, None, None),
            (r#"{"usage":{}}"#, None, None),
            (r#"{"usage":{"total_tokens":-1}}"#, None, None),
            (r#"{"usage":"much"}"#, None, None),
            (r#"{"model":7,"usage":{"total_tokens":1}}"#, Some(1), None),
            ("[]", None, None),
            ("", None, None),
            ("{\"usage\":", None, None),
        ] {
            let usage = read(body).usage;
            assert_eq!(usage.and_then(|usage| usage.total()), total, "{body}");
            assert_eq!(usage.and_then(|usage| usage.prompt()), prompt, "{body}");
        }
    }

    #[test]
    fn only_the_event_that_says_nothing_but_the_usage_is_hidden() {
        for (data, verdict) in [
            (r#"{"choices":[],"usage":{"total_tokens":7}}"#, Verdict::Hide),
            (r#"{"choices":[{"delta":{"content":"a"}}],"usage":{"total_tokens":7}}"#, Verdict::Pass),
            (r#"{"choices":[{"delta":{"content":"a"}}],"usage":null}"#, Verdict::Pass),
            (r#"{"choices":[],"usage":null,"prompt_filter_results":[]}"#, Verdict::Pass),
            (r#"{"usage":{"total_tokens":7}}"#, Verdict::Pass),
            ("[DONE]", Verdict::Pass),
            ("no JSON", Verdict::Pass),
        ] {
            assert_eq!(Reading::default().event(data.as_bytes()), verdict, "{data}");
        }
    }

    #[test]
    fn a_models_name_is_kept_short_and_plain() {
        assert_eq!(bounded("gpt\0-\n4"), "gpt-4");
        assert_eq!(bounded(&"ü".repeat(100)), "ü".repeat(64));
    }

    #[test]
    fn the_last_usage_of_a_stream_counts() {
        let mut reading = Reading::default();
        for n in [1, 5, 9] {
            reading.event(format!(r#"{{"model":"m-{n}","choices":[{{}}],"usage":{{"total_tokens":{n}}}}}"#).as_bytes());
        }
        assert!(!reading.is_done);
        reading.event(b"[DONE]");
        assert!(reading.is_done);
        assert_eq!(reading.usage.and_then(|usage| usage.total()), Some(9));
        assert_eq!(reading.model.as_deref(), Some("m-9"));
    }

    #[test]
    fn a_streamed_response_is_over_with_the_event_that_says_how_it_ended() {
        for last in ["completed", "incomplete", "failed"] {
            let mut reading = Reading::default();
            for event in [
                r#"{"type":"response.created","response":{"model":"m","usage":null}}"#,
                r#"{"type":"response.output_text.delta","delta":"response.completed"}"#,
                r#"{"type":"response.output_text.done","text":"response.completed"}"#,
                r#"{"type":7}"#,
            ] {
                reading.event(event.as_bytes());
                assert!(!reading.is_done, "{event}");
            }
            let event = format!(r#"{{"type":"response.{last}","response":{{"usage":{{"total_tokens":9}}}}}}"#);
            assert_eq!(reading.event(event.as_bytes()), Verdict::Pass);
            assert!(reading.is_done, "{last}");
            assert_eq!(reading.usage.and_then(|usage| usage.total()), Some(9));
        }
    }

    #[test]
    fn usage_is_found_in_the_end_of_an_answer_and_not_in_its_text() {
        let tail = |text: &str| {
            let mut reading = Reading::default();
            reading.tail(text.as_bytes());
            reading.usage.and_then(|usage| usage.total())
        };
        assert_eq!(tail(r#"0.1,0.2]}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8},"x":1}"#), Some(8));
        assert_eq!(tail(r#"0.1]}],"usage" : { "total_tokens": 8 } }"#), Some(8));
        assert_eq!(tail(r#"{"content":"say \"usage\":{\"total_tokens\":99} to me"}"#), None);
        assert_eq!(tail(r#""usage":{"total_tokens":8},"content":"\"usage\":{}"}"#), Some(8));
        assert_eq!(tail(r#""usage":null}"#), None);
        assert_eq!(tail(r#""usage""#), None);
    }

    #[test]
    fn an_estimate_is_a_quarter_of_the_text_rounded_up() {
        let mut reading = Reading::default();
        assert_eq!(reading.estimate(9), 3);
        assert!(!reading.has_text());
        reading.event(r#"{"id":"ignored","choices":[{"index":0,"delta":{"content":"1234"}}]}"#.as_bytes());
        reading.event(r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"5"}}]}}]}"#.as_bytes());
        assert!(reading.has_text());
        assert_eq!(reading.estimate(0), 2);
    }
}
