//! What an answer of Stripe's means for the request that it answers
//! (<https://docs.stripe.com/error-low-level>, <https://docs.stripe.com/api/idempotent_requests>).

/// What is known of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told<'a> {
    /// HTTP status.
    pub status: u16,
    /// `error.type`.
    pub kind: Option<&'a str>,
    /// Whether it is a recording of the answer to the first request with this key.
    pub is_replayed: bool,
    /// What Stripe itself says about another attempt.
    pub should_retry: Option<bool>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It was done.
    Done,
    /// It was not and never will be.
    Refused,
    /// The same request under the same key again.
    Again,
    /// The key answers for ever as it did, and that answer does not say whether it was done: look, and only then take a new key.
    Look,
    /// Our credentials are not accepted, so nothing was done: somebody must put the configuration right.
    Locked,
}

/// Judges an answer.
#[must_use]
pub fn judge(told: Told<'_>) -> Verdict {
    match told.status {
        200..=299 => Verdict::Done,
        401 | 403 => Verdict::Locked,
        // Another request with this key is under way; too many requests. Neither is recorded.
        409 | 429 => Verdict::Again,
        // What the key was first used for differs from this.
        400 if told.kind == Some("idempotency_error") => Verdict::Look,
        400..=499 => Verdict::Refused,
        // A recorded failure comes again whatever is done, and it may have come after the deed.
        _ if told.is_replayed || told.should_retry == Some(false) => Verdict::Look,
        _ => Verdict::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged() {
        let told = |status, kind, is_replayed, should_retry| judge(Told { status, kind, is_replayed, should_retry });
        for (verdict, expected) in [
            (told(200, None, false, None), Verdict::Done),
            (told(200, None, true, None), Verdict::Done),
            (told(400, Some("invalid_request_error"), false, None), Verdict::Refused),
            (told(400, Some("idempotency_error"), false, None), Verdict::Look),
            (told(401, Some("invalid_request_error"), false, None), Verdict::Locked),
            (told(402, Some("card_error"), true, None), Verdict::Refused),
            (told(404, Some("invalid_request_error"), false, None), Verdict::Refused),
            (told(409, Some("idempotency_error"), false, None), Verdict::Again),
            (told(429, None, false, Some(true)), Verdict::Again),
            (told(500, Some("api_error"), false, None), Verdict::Again),
            (told(500, Some("api_error"), true, None), Verdict::Look),
            (told(503, None, false, Some(false)), Verdict::Look),
            (told(302, None, false, None), Verdict::Again),
        ] {
            assert_eq!(verdict, expected);
        }
    }
}
