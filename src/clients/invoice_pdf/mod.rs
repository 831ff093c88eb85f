//! Prints invoices: PDF/A-3a and PDF/UA-1 with the Factur-X XML inside, by typst, in this process.
//!
//! Printing is arithmetic: no file, network, package or clock is reached, and the same document gives the same bytes. It takes
//! some milliseconds of a core, so it happens on threads of its own: as many at once as there are threads, a short queue, then
//! [`PrintError::Busy`]. What a page may take is bounded by what [`InvoiceDocument::check`] lets through.

mod error;
mod fonts;
mod page;
mod render;
#[cfg(test)]
mod tests;
mod view;
mod world;
mod xmp;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

pub use self::error::{PrintError, StartError};
use self::render::Renderer;
use crate::domain::invoice_document::InvoiceDocument;

/// A printed invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrintedInvoice {
    /// The PDF.
    pub pdf: Vec<u8>,
    /// The XML that is attached to it.
    pub xml: String,
    /// Its pages.
    pub n_pages: usize,
    /// Characters that no typeface of ours has; the page shows a mark in their place, the XML has them.
    pub n_unprintable: usize,
}

/// Prints invoices. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct InvoicePrinter {
    inner: Arc<Inner>,
}

struct Inner {
    /// Made for the first document: most programs never print, and the typesetter takes megabytes.
    renderer: Arc<OnceLock<Renderer>>,
    /// The threads; typst's own parallel work stays on them too.
    threads: rayon::ThreadPool,
    /// Those who print.
    running: Arc<Semaphore>,
    /// Those who print or wait.
    admitted: Arc<Semaphore>,
}

impl std::fmt::Debug for InvoicePrinter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("InvoicePrinter")
    }
}

impl InvoicePrinter {
    /// Starts `threads` threads (at least one) and lets `queue` more documents wait.
    ///
    /// # Errors
    /// [`StartError`]: no thread could be started.
    pub fn start(threads: usize, queue: usize) -> Result<Self, StartError> {
        let n_threads = threads.max(1);
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .thread_name(|number| format!("invoice-{number}"))
            // Without this a panic in typst's own parallel work would end the process.
            .panic_handler(|_| tracing::error!("printing an invoice panicked beside its thread"))
            .build()?;
        Ok(Self {
            inner: Arc::new(Inner {
                renderer: Arc::default(),
                threads,
                running: Arc::new(Semaphore::new(n_threads)),
                admitted: Arc::new(Semaphore::new(n_threads + queue)),
            }),
        })
    }

    /// Checks a document and prints it, within `within`. What has begun cannot be stopped: it ends on its thread after the
    /// caller has left, and until then that thread prints nothing else.
    ///
    /// # Errors
    /// [`PrintError`].
    pub async fn print(&self, document: InvoiceDocument, within: Duration) -> Result<PrintedInvoice, PrintError> {
        let deadline = Instant::now() + within;
        let inner = &self.inner;
        let admitted = Arc::clone(&inner.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_full: tokio::sync::TryAcquireError| PrintError::Busy)?;
        let turn = timeout_at(deadline, Arc::clone(&inner.running).acquire_owned());
        let turn = turn.await.map_err(|_elapsed: tokio::time::error::Elapsed| PrintError::TooLate)?;
        let turn = turn.map_err(|_closed: tokio::sync::AcquireError| PrintError::Failed)?;
        let (sender, printed) = oneshot::channel();
        let renderer = Arc::clone(&inner.renderer);
        inner.threads.spawn(move || {
            let print = || made(&renderer)?.render(&document);
            let result = catch_unwind(AssertUnwindSafe(print)).unwrap_or_else(|_panic| {
                tracing::error!(number = %document.number, "printing an invoice panicked");
                Err(PrintError::Failed)
            });
            // The places go with the work: a caller who leaves does not make room that is not there.
            drop((turn, admitted));
            // Nobody may wait for the answer any more.
            let _ = sender.send(result);
        });
        let printed = timeout_at(deadline, printed).await;
        let printed = printed.map_err(|_elapsed: tokio::time::error::Elapsed| PrintError::TooLate)?;
        printed.map_err(|_died: oneshot::error::RecvError| PrintError::Failed)?
    }
}

/// The renderer, which the first document has made. Two at once may both make one, and one of them is dropped.
fn made(renderer: &OnceLock<Renderer>) -> Result<&Renderer, PrintError> {
    if let Some(renderer) = renderer.get() {
        return Ok(renderer);
    }
    let new = Renderer::new().map_err(|broken| {
        tracing::error!(error = &broken as &dyn std::error::Error, "invoices cannot be printed");
        PrintError::Failed
    })?;
    Ok(renderer.get_or_init(|| new))
}
