//! Every SQL statement of the program.

pub mod bootstrap;
pub mod embedded;
pub mod rls_check;
