//! All that the typesetter can reach: the template, the data of one document, the typefaces.

use std::path::PathBuf;

use typst::diag::{FileError, FileResult};
use typst::foundations::{Bytes, Datetime, Duration};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};

use super::error::StartError;
use super::fonts;

const TEMPLATE: &str = include_str!("invoice.typ");

/// What all documents share.
pub(super) struct Assets {
    library: LazyHash<Library>,
    book: LazyHash<FontBook>,
    pub(super) fonts: Vec<Font>,
    template: Source,
    data: FileId,
    xml: FileId,
    code: FileId,
}

impl Assets {
    pub(super) fn load() -> Result<Self, StartError> {
        let fonts = fonts::load()?;
        Ok(Self {
            library: LazyHash::new(<Library as LibraryExt>::default()),
            book: LazyHash::new(FontBook::from_fonts(&fonts)),
            fonts,
            template: Source::new(file_id("/invoice.typ")?, TEMPLATE.to_owned()),
            data: file_id("/invoice.json")?,
            xml: file_id("/factur-x.xml")?,
            code: file_id("/payment.svg")?,
        })
    }
}

fn file_id(path: &str) -> Result<FileId, StartError> {
    let path = VirtualPath::new(path).map_err(|_invalid| StartError::Asset("file name"))?;
    Ok(RootedPath::new(VirtualRoot::Project, path).intern())
}

/// The world of one document.
pub(super) struct Desk<'a> {
    pub(super) assets: &'a Assets,
    /// The page's texts, as JSON.
    pub(super) data: Bytes,
    /// The Factur-X XML.
    pub(super) xml: Bytes,
    /// The code to pay with, as SVG; empty if there is none, and then the template does not ask for it.
    pub(super) code: Bytes,
}

impl World for Desk<'_> {
    fn library(&self) -> &LazyHash<Library> {
        &self.assets.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &self.assets.book
    }

    fn main(&self) -> FileId {
        self.assets.template.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.assets.template.id() { Ok(self.assets.template.clone()) } else { Err(not_found()) }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        let assets = self.assets;
        [(assets.data, &self.data), (assets.xml, &self.xml), (assets.code, &self.code)]
            .into_iter()
            .find(|(known, _)| *known == id)
            .map(|(_, bytes)| bytes.clone())
            .ok_or_else(not_found)
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.assets.fonts.get(index).cloned()
    }

    /// No clock: the same document gives the same bytes.
    fn today(&self, _offset: Option<Duration>) -> Option<Datetime> {
        None
    }
}

fn not_found() -> FileError {
    FileError::NotFound(PathBuf::new())
}
