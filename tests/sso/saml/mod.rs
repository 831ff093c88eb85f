//! Connections of SAML: against a provider that signs whatever a test wants (npm `samlp`), and against whole ones.

mod abuse;
mod connections;
mod corpus;
mod flow;
mod keys;
mod metadata;
mod real;
mod signer;
mod stage;
mod step_up;
mod tenants;
