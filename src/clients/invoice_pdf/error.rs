//! What can go wrong with printing.

use super::xmp::XmpError;
use crate::domain::invoice_document::DocumentError;

/// The printer cannot be started, or has nothing to print with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No threads.
    #[error("the printing threads cannot be started")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A typeface or the template, which are part of this program, cannot be used.
    #[error("the built-in {0} cannot be used")]
    Asset(&'static str),
}

/// A document was not printed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrintError {
    /// It must not be issued as it is.
    #[error("the document is refused")]
    Refused(#[from] DocumentError),
    /// As many documents as may wait are waiting.
    #[error("too many invoices are being printed")]
    Busy,
    /// It was not done in time.
    #[error("the invoice was not printed in time")]
    TooLate,
    /// The typesetter refused, which is a defect of the template.
    #[error("the invoice could not be typeset: {0}")]
    Typesetting(String),
    /// The metadata could not be completed, which is a defect of this module.
    #[error("the invoice's metadata could not be written")]
    Metadata(#[from] XmpError),
    /// The thread panicked, or a part of this program is broken; the log says which.
    #[error("the invoice could not be printed")]
    Failed,
}
