//! One document, from its struct to bytes.

use chrono::Datelike as _;
use typst::diag::SourceDiagnostic;
use typst::foundations::{Bytes, Datetime, Smart};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards, Timestamp};

use super::error::{PrintError, StartError};
use super::fonts::{Care, Glyphs};
use super::world::{Assets, Desk};
use super::{PrintedInvoice, page, xmp};
use crate::domain::facturx;
use crate::domain::invoice_document::{DocumentKind, InvoiceDocument};

/// Prints documents, one after the other.
pub(super) struct Renderer {
    assets: Assets,
    glyphs: Glyphs,
    standards: PdfStandards,
}

impl Renderer {
    pub(super) fn new() -> Result<Self, StartError> {
        let assets = Assets::load()?;
        let glyphs = Glyphs::of(&assets.fonts);
        let standards = PdfStandards::new(&[PdfStandard::A_3a, PdfStandard::Ua_1])
            .map_err(|_incompatible| StartError::Asset("choice of PDF standards"))?;
        Ok(Self { assets, glyphs, standards })
    }

    /// Checks, typesets and exports a document. Where the typesetter finds no glyph for a combination of characters, that is once
    /// more with utmost care: an odd name must not keep anybody from getting an invoice.
    pub(super) fn render(&self, document: &InvoiceDocument) -> Result<PrintedInvoice, PrintError> {
        let xml = facturx::xml(document)?;
        match self.render_with(Care::Usual, document, &xml) {
            Err(PrintError::Typesetting(reason)) => {
                tracing::warn!(number = %document.number, reason, "printing an invoice again, without rare characters");
                self.render_with(Care::Utmost, document, &xml)
            }
            result => result,
        }
    }

    /// The same with texts reduced to what `care` allows.
    pub(super) fn render_with(
        &self,
        care: Care,
        document: &InvoiceDocument,
        xml: &str,
    ) -> Result<PrintedInvoice, PrintError> {
        let page = page::of(document, &self.glyphs, care)?;
        let desk = Desk {
            assets: &self.assets,
            data: Bytes::new(page.data),
            xml: Bytes::from_string(xml.to_owned()),
            code: Bytes::from_string(page.code),
        };
        let printed = self.typeset(&desk, document);
        // What was remembered for this document is of no use to the next one.
        typst::comemo::evict(0);
        let (pdf, n_pages) = printed?;
        Ok(PrintedInvoice {
            pdf: xmp::with_facturx(pdf)?,
            xml: xml.to_owned(),
            n_pages,
            n_unprintable: page.n_unprintable,
        })
    }

    fn typeset(&self, desk: &Desk<'_>, document: &InvoiceDocument) -> Result<(Vec<u8>, usize), PrintError> {
        let compiled = typst::compile::<PagedDocument>(desk);
        if !compiled.warnings.is_empty() {
            tracing::warn!(number = %document.number, warnings = first(&compiled.warnings), "typesetting an invoice");
        }
        let pages = compiled.output.map_err(|errors| PrintError::Typesetting(first(&errors)))?;
        let options = PdfOptions {
            ident: Smart::Custom(ident(document)),
            creator: Smart::Custom(Some("BusinessOS".to_owned())),
            timestamp: timestamp(document),
            standards: self.standards.clone(),
            ..PdfOptions::default()
        };
        let pdf = typst_pdf::pdf(&pages, &options).map_err(|errors| PrintError::Typesetting(first(&errors)))?;
        Ok((pdf, pages.pages().len()))
    }
}

/// Names the document among all others for ever: a number is the seller's alone.
fn ident(document: &InvoiceDocument) -> String {
    let kind = match document.kind {
        DocumentKind::Invoice => "invoice",
        DocumentKind::CreditNote { .. } => "credit note",
    };
    format!("{}\n{kind}\n{}", document.seller.name, document.number)
}

/// The begin of the day of issue: the only date that a reprint has in common with the first print.
fn timestamp(document: &InvoiceDocument) -> Option<Timestamp> {
    let day = document.issued_on;
    let (month, of_month) = (u8::try_from(day.month()).ok()?, u8::try_from(day.day()).ok()?);
    Datetime::from_ymd_hms(day.year(), month, of_month, 0, 0, 0).map(Timestamp::new_utc)
}

/// The first complaint in one line; the others mostly follow from it.
fn first(complaints: &[SourceDiagnostic]) -> String {
    complaints.first().map(|complaint| complaint.message.to_string()).unwrap_or_default()
}
