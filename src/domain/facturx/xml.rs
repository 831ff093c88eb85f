//! Writes XML: elements, text, nothing else.

use crate::domain::invoice_document::one_line;

/// An XML document under construction, indented by a space for each level.
pub(super) struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { text: "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned(), depth: 0 }
    }

    /// An element with elements in it.
    pub(super) fn group(&mut self, tag: &str, inner: impl FnOnce(&mut Self)) {
        self.within(tag, &[], inner);
    }

    /// An element with attributes and elements in it.
    pub(super) fn within(&mut self, tag: &str, attributes: &[(&str, &str)], inner: impl FnOnce(&mut Self)) {
        self.open(tag, attributes);
        self.text.push_str(">\n");
        self.depth += 1;
        inner(self);
        self.depth -= 1;
        self.indent();
        self.close(tag);
    }

    /// An element with text; nothing when the text is blank.
    pub(super) fn text(&mut self, tag: &str, text: &str) {
        self.attributed(tag, &[], text);
    }

    /// An element with attributes and text; nothing when the text is blank.
    pub(super) fn attributed(&mut self, tag: &str, attributes: &[(&str, &str)], text: &str) {
        let text = one_line(text);
        if !text.is_empty() {
            self.open(tag, attributes);
            self.text.push('>');
            self.escape(&text);
            self.close(tag);
        }
    }

    pub(super) fn finish(self) -> String {
        self.text
    }

    fn open(&mut self, tag: &str, attributes: &[(&str, &str)]) {
        self.indent();
        self.text.push('<');
        self.text.push_str(tag);
        for (name, value) in attributes {
            self.text.push(' ');
            self.text.push_str(name);
            self.text.push_str("=\"");
            self.escape(value);
            self.text.push('"');
        }
    }

    fn close(&mut self, tag: &str) {
        self.text.push_str("</");
        self.text.push_str(tag);
        self.text.push_str(">\n");
    }

    fn indent(&mut self) {
        self.text.extend(std::iter::repeat_n(' ', self.depth));
    }

    /// XML 1.0, section 2.4; quotes too, for attributes.
    fn escape(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.text.push_str("&amp;"),
                '<' => self.text.push_str("&lt;"),
                '>' => self.text.push_str("&gt;"),
                '"' => self.text.push_str("&quot;"),
                _ => self.text.push(c),
            }
        }
    }
}
