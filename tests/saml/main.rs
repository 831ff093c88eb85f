//! SAML responses against the verifier alone: the abuse corpus of `corpus.py`, measured by python3-saml's opinion, mutations of
//! good responses, and what we write, read by others. What the program makes of them is tested through the front door elsewhere.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod abuse;
mod corpus;
mod metadata;
mod mutations;
mod written;
