//! Tells in the PDF's metadata that a Factur-X invoice is attached, which typst cannot.
//!
//! The specification (Factur-X 1.0, section 6.3) asks for four properties in the XMP packet, and PDF/A for a description of
//! them (ISO 19005-3, 6.6.2.3.3). The exporter writes the packet as an unfiltered stream and a plain cross-reference table, so
//! both are inserted where they belong, the stream's length is corrected, and the offsets behind it are moved. Anything that
//! does not look as expected is an error, never a file that is only half right.

use crate::domain::facturx;

/// The PDF does not look as the exporter writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the exported PDF has no usable {0}")]
pub struct XmpError(&'static str);

/// Bytes of an entry of the cross-reference table (ISO 32000-1, 7.5.4).
const ENTRY: usize = 20;
/// Ends the list of described schemas in the packet.
const SCHEMAS_END: &str = "</rdf:Bag></pdfaExtension:schemas>";
/// Ends the packet's properties.
const RDF_END: &str = "</rdf:RDF>";
const NAMESPACE: &str = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#";

/// The same PDF with the properties of Factur-X in its metadata.
pub(super) fn with_facturx(pdf: Vec<u8>) -> Result<Vec<u8>, XmpError> {
    let table = CrossReferences::read(&pdf)?;
    let stream = table.metadata(&pdf)?;
    let old = pdf.get(stream.begin..stream.end).ok_or(XmpError("metadata"))?;
    let old = std::str::from_utf8(old).map_err(|_utf8: std::str::Utf8Error| XmpError("text in its metadata"))?;
    let new = described(old)?;

    let mut edited = Vec::with_capacity(pdf.len() + new.len());
    let part = |range: std::ops::Range<usize>| pdf.get(range).ok_or(XmpError("order of its parts"));
    edited.extend_from_slice(part(0..stream.length.start)?);
    edited.extend_from_slice(new.len().to_string().as_bytes());
    edited.extend_from_slice(part(stream.length.end..stream.begin)?);
    edited.extend_from_slice(new.as_bytes());
    let moved_by = (edited.len()).checked_sub(stream.end).ok_or(XmpError("room"))?;
    edited.extend_from_slice(part(stream.end..table.first)?);
    for (number, entry) in table.entries.iter().enumerate() {
        let is_moved = !entry.is_free && entry.offset > stream.begin;
        let offset = if is_moved { entry.offset + moved_by } else { entry.offset };
        edited.extend_from_slice(format!("{offset:010}").as_bytes());
        let rest = table.first + number * ENTRY + 10;
        edited.extend_from_slice(part(rest..rest + 10)?);
    }
    let after = table.first + table.entries.len() * ENTRY;
    edited.extend_from_slice(part(after..table.start_number.start)?);
    edited.extend_from_slice((table.begin + moved_by).to_string().as_bytes());
    edited.extend_from_slice(part(table.start_number.end..pdf.len())?);
    Ok(edited)
}

/// The packet with the properties and their description.
fn described(packet: &str) -> Result<String, XmpError> {
    let schemas = packet.rfind(SCHEMAS_END).ok_or(XmpError("list of schemas"))?;
    let end = packet.rfind(RDF_END).filter(|end| *end > schemas).ok_or(XmpError("end of its metadata"))?;
    let (before, rest) = packet.split_at(schemas);
    let (middle, tail) = rest.split_at(end - schemas);
    Ok(format!("{before}{}{middle}{}{tail}", schema(), properties()))
}

fn properties() -> String {
    format!(
        "<rdf:Description rdf:about=\"\" xmlns:fx=\"{NAMESPACE}\"><fx:DocumentType>INVOICE</fx:DocumentType>\
         <fx:DocumentFileName>{}</fx:DocumentFileName><fx:Version>1.0</fx:Version>\
         <fx:ConformanceLevel>{}</fx:ConformanceLevel></rdf:Description>",
        facturx::FILE_NAME,
        facturx::CONFORMANCE_LEVEL
    )
}

fn schema() -> String {
    let property = |(name, description)| {
        format!(
            "<rdf:li rdf:parseType=\"Resource\"><pdfaProperty:name>{name}</pdfaProperty:name>\
             <pdfaProperty:valueType>Text</pdfaProperty:valueType><pdfaProperty:category>external</pdfaProperty:category>\
             <pdfaProperty:description>{description}</pdfaProperty:description></rdf:li>"
        )
    };
    let properties: String = [
        ("DocumentFileName", "The name of the embedded XML document"),
        ("DocumentType", "The type of the hybrid document in capital letters"),
        ("Version", "The version of the standard of the embedded XML document"),
        ("ConformanceLevel", "The conformance level of the embedded XML document"),
    ]
    .into_iter()
    .map(property)
    .collect();
    format!(
        "<rdf:li rdf:parseType=\"Resource\"><pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>\
         <pdfaSchema:namespaceURI>{NAMESPACE}</pdfaSchema:namespaceURI><pdfaSchema:prefix>fx</pdfaSchema:prefix>\
         <pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li>"
    )
}

/// The metadata's stream.
struct Stream {
    /// Where the digits of its length stand.
    length: std::ops::Range<usize>,
    begin: usize,
    end: usize,
}

struct Entry {
    offset: usize,
    is_free: bool,
}

/// The cross-reference table at the end of the file.
struct CrossReferences {
    begin: usize,
    /// Where its first entry stands.
    first: usize,
    entries: Vec<Entry>,
    /// Where the digits stand that say where the table begins.
    start_number: std::ops::Range<usize>,
}

impl CrossReferences {
    fn read(pdf: &[u8]) -> Result<Self, XmpError> {
        let broken = XmpError("cross-reference table");
        let keyword = b"startxref\n";
        let start_number = last(pdf, keyword).ok_or(broken)? + keyword.len();
        let start_number = digits(pdf, start_number).ok_or(broken)?;
        let begin = number(pdf, start_number.clone()).ok_or(broken)?;
        let head = b"xref\n0 ";
        if !pdf.get(begin..).is_some_and(|table| table.starts_with(head)) {
            return Err(broken);
        }
        let count = digits(pdf, begin + head.len()).ok_or(broken)?;
        // The table may have a carriage return or not: the first entry is the first digit after the line's end.
        let first = count.end + 1;
        let n_entries = number(pdf, count).ok_or(broken)?;
        let entries: Option<Vec<_>> = (0..n_entries)
            .map(|at| {
                let entry = pdf.get(first + at * ENTRY..first + (at + 1) * ENTRY)?;
                let offset = number(entry, 0..10)?;
                match entry.get(17)? {
                    b'n' => Some(Entry { offset, is_free: false }),
                    b'f' => Some(Entry { offset, is_free: true }),
                    _ => None,
                }
            })
            .collect();
        let entries = entries.ok_or(broken)?;
        if start_number.start < first + entries.len() * ENTRY {
            return Err(broken);
        }
        Ok(Self { begin, first, entries, start_number })
    }

    /// The only object that is a metadata stream and is not filtered.
    fn metadata(&self, pdf: &[u8]) -> Result<Stream, XmpError> {
        let broken = XmpError("metadata stream");
        let mut found = None;
        for entry in self.entries.iter().filter(|entry| !entry.is_free) {
            let object = pdf.get(entry.offset..).ok_or(broken)?;
            let Some(dictionary) = find(object, b"stream\n") else {
                continue;
            };
            let head = object.get(..dictionary).ok_or(broken)?;
            // An object without a stream reaches into the next one that has one.
            if find(head, b"endobj").is_some() || find(head, b"/Metadata").is_none() || find(head, b"/Filter").is_some()
            {
                continue;
            }
            let length = find(head, b"/Length ").ok_or(broken)? + b"/Length ".len();
            let length = digits(pdf, entry.offset + length).ok_or(broken)?;
            let begin = entry.offset + dictionary + b"stream\n".len();
            let end = begin + number(pdf, length.clone()).ok_or(broken)?;
            if found.replace(Stream { length, begin, end }).is_some() || end > self.begin {
                return Err(broken);
            }
        }
        found.ok_or(broken)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn last(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::rfind(bytes, what)
}

/// The run of digits that begins at a place; `None` if there is none.
fn digits(bytes: &[u8], begin: usize) -> Option<std::ops::Range<usize>> {
    let n = bytes.get(begin..)?.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (n > 0).then(|| begin..begin + n)
}

fn number(bytes: &[u8], at: std::ops::Range<usize>) -> Option<usize> {
    std::str::from_utf8(bytes.get(at)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as the exporter writes it, with this packet and an object behind it.
    fn pdf(packet: &str, filter: &str) -> Vec<u8> {
        let head = "%PDF-1.7\n";
        let metadata = format!(
            "1 0 obj\n<<\n  /Length {}\n  /Type /Metadata{filter}\n>>\nstream\n{packet}\nendstream\nendobj\n",
            packet.len()
        );
        let catalog = "2 0 obj\n<< /Type /Catalog /Metadata 1 0 R >>\nendobj\n";
        let at = head.len() + metadata.len();
        let table = at + catalog.len();
        let table_text = format!("xref\n0 3\n0000000000 65535 f\r\n{:010} 00000 n\r\n{at:010} 00000 n\r\n", head.len());
        format!("{head}{metadata}{catalog}{table_text}trailer\n<< >>\nstartxref\n{table}\n%%EOF").into_bytes()
    }

    const PACKET: &str = "<rdf:RDF><pdfaExtension:schemas><rdf:Bag></rdf:Bag></pdfaExtension:schemas></rdf:RDF>";

    #[test]
    fn what_is_inserted_moves_what_comes_after_it() {
        let edited = with_facturx(pdf(PACKET, "")).expect("edited");
        let table = CrossReferences::read(&edited).expect("a table");
        let stream = table.metadata(&edited).expect("metadata");
        let packet = std::str::from_utf8(&edited[stream.begin..stream.end]).expect("text");
        assert!(packet.starts_with("<rdf:RDF>") && packet.ends_with("</rdf:RDF>"), "{packet}");
        assert!(packet.contains("<fx:ConformanceLevel>EN 16931</fx:ConformanceLevel>"));
        assert_eq!(packet.matches("<rdf:Bag>").count(), 1, "one list of schemas");
        assert!(edited[stream.end..].starts_with(b"\nendstream"));
        assert!(edited[table.entries[2].offset..].starts_with(b"2 0 obj"));
        assert!(edited[table.entries[1].offset..].starts_with(b"1 0 obj"));
    }

    #[test]
    fn a_file_that_looks_different_is_refused() {
        let right = pdf(PACKET, "");
        for wrong in [
            Vec::new(),
            b"%PDF-1.7\nstartxref\n9999\n%%EOF".to_vec(),
            pdf("<rdf:RDF></rdf:RDF>", ""),
            pdf("</rdf:RDF><rdf:Bag></rdf:Bag></pdfaExtension:schemas>", ""),
            pdf(PACKET, " /Filter /FlateDecode"),
            right[..right.len() - 20].to_vec(),
            String::from_utf8(right.clone()).expect("text").replace("/Length 85", "/Length 99999").into_bytes(),
            String::from_utf8(right).expect("text").replace("xref\n0 3", "xref\n0 9").into_bytes(),
        ] {
            assert!(with_facturx(wrong.clone()).is_err(), "{}", String::from_utf8_lossy(&wrong));
        }
    }
}
