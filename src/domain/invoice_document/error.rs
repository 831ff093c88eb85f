//! What is wrong with a document.

/// A document that must not be issued, with the rule of EN 16931 or of this program that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Something that must be there is not.
    #[error("{what} is missing ({rule})")]
    Missing {
        /// What.
        what: &'static str,
        /// By which rule.
        rule: &'static str,
    },
    /// Something is there that is not well formed or not allowed.
    #[error("{what} is not allowed: `{value}` ({rule})")]
    Malformed {
        /// What.
        what: &'static str,
        /// What it says.
        value: String,
        /// What it must be.
        rule: &'static str,
    },
    /// A figure is not what it must be.
    #[error("{what} is {stated} and must be {computed} ({rule})")]
    Sum {
        /// Which figure.
        what: &'static str,
        /// What the document says, in minor units.
        stated: i128,
        /// What it must say.
        computed: i128,
        /// By which rule.
        rule: &'static str,
    },
    /// The net amount of a line is not its quantity × price.
    #[error("line {line} is {stated} and must be {computed}: quantity × price, rounded half away from zero")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// What it says, in minor units.
        stated: i64,
        /// What it must say.
        computed: i128,
    },
    /// Tax groups and lines do not match.
    #[error("tax category {category} at {rate} millionths: {rule}")]
    TaxGroup {
        /// The category's code.
        category: &'static str,
        /// The rate.
        rate: u32,
        /// What is wrong.
        rule: &'static str,
    },
    /// More lines or a longer text than a document may have.
    #[error("{what}: {n}, at most {most}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// How much.
        n: usize,
        /// How much is allowed.
        most: usize,
    },
}
