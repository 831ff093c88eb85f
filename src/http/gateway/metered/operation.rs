//! Calls of OpenAI's API that pass: those whose tokens can be counted, and those that use none.

use actix_web::http::Method;

/// A call that passes. There are others that spend the tenant's money, and whose answers do not say how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Operation {
    /// `POST /chat/completions`
    Chat,
    /// `POST /completions`
    Completions,
    /// `POST /responses`
    Responses,
    /// `POST /embeddings`, `POST /moderations`: the answer has no tokens.
    WithoutOutput,
    /// `GET /models`, `GET /models/{id}`: there is nothing to count.
    Models,
}

impl Operation {
    /// What is asked for at a raw path below the API's base, such as `/chat/completions`; `None` for everything else, in whatever
    /// spelling.
    pub(in crate::http) fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/chat/completions") => Some(Self::Chat),
            ("POST", "/completions") => Some(Self::Completions),
            ("POST", "/responses") => Some(Self::Responses),
            ("POST", "/embeddings" | "/moderations") => Some(Self::WithoutOutput),
            ("GET", "/models") => Some(Self::Models),
            ("GET", path) => {
                let id = path.strip_prefix("/models/")?;
                (!id.is_empty() && !id.contains(['/', '%', ';'])).then_some(Self::Models)
            }
            _ => None,
        }
    }

    /// Fields that set the length of one answer; the first is the one that is added.
    pub(super) fn limits(self) -> &'static [&'static str] {
        match self {
            Self::Chat => &["max_completion_tokens", "max_tokens"],
            Self::Completions => &["max_tokens"],
            Self::Responses => &["max_output_tokens"],
            Self::WithoutOutput | Self::Models => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_passes_and_nothing_else() {
        for (path, operation) in [
            ("/chat/completions", Operation::Chat),
            ("/completions", Operation::Completions),
            ("/responses", Operation::Responses),
            ("/embeddings", Operation::WithoutOutput),
            ("/moderations", Operation::WithoutOutput),
        ] {
            assert_eq!(Operation::of(&Method::POST, path), Some(operation), "{path}");
            for method in [Method::GET, Method::PUT, Method::DELETE, Method::HEAD] {
                assert_eq!(Operation::of(&method, path), None, "{method} {path}");
            }
        }
        for path in ["/models", "/models/gpt-4o", "/models/ft:a:b::c"] {
            assert_eq!(Operation::of(&Method::GET, path), Some(Operation::Models), "{path}");
            assert_eq!(Operation::of(&Method::DELETE, path), None, "{path}");
        }
        for path in [
            "",
            "/",
            "/chat/completions/",
            "/Chat/Completions",
            "/chat%2fcompletions",
            "/chat/completions/x",
            "/chat/completions;x",
            "/x/chat/completions",
            "/x/embeddings",
            "/images/generations",
            "/audio/speech",
            "/batches",
            "/files",
            "/threads/x/runs",
            "/responses/x/cancel",
        ] {
            assert_eq!(Operation::of(&Method::POST, path), None, "{path}");
        }
        for path in
            ["/models/", "/models/a/b", "/models/a%2fb", "/responses/x", "/files/x/content", "/chat/completions/x"]
        {
            assert_eq!(Operation::of(&Method::GET, path), None, "{path}");
        }
    }
}
