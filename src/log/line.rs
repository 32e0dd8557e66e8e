//! One line of JSON, bounded, in printable ASCII alone.
//!
//! No byte of a request can end the line, drive a terminal or turn its text round: everything but
//! printable ASCII is a `\u` escape. What looks like a token is struck out wherever it stands.

use super::LINE_BYTES;
use super::words::{escape, redact};

/// A JSON object under way.
pub(super) struct Line {
    text: String,
    cut: bool,
}

/// What ends each line: room that is always kept.
const ENDS: [&str; 2] = ["}", ",\"cut\":true}"];

impl Line {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned(), cut: false }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.member(name, &value.to_string());
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.member(name, if value { "true" } else { "false" });
    }

    /// A text of at most `most` bytes as written.
    pub(super) fn text(&mut self, name: &str, text: &str, most: usize) {
        self.bytes(name, Some(text.as_bytes()), most);
    }

    pub(super) fn optional(&mut self, name: &str, text: Option<&str>, most: usize) {
        self.bytes(name, text.map(str::as_bytes), most);
    }

    /// Bytes that need be no text.
    pub(super) fn bytes(&mut self, name: &str, bytes: Option<&[u8]>, most: usize) {
        if let Some(bytes) = bytes {
            let text = self.quoted(bytes, most);
            self.member(name, &text);
        }
    }

    /// A list of texts, of at most `most` bytes together.
    pub(super) fn texts(&mut self, name: &str, texts: &[String], most: usize) {
        let mut list = String::new();
        for text in texts {
            let item = self.quoted(text.as_bytes(), most);
            self.append(&mut list, &item, most);
        }
        self.member(name, &format!("[{list}]"));
    }

    /// An object of texts, each of at most `each` bytes, `most` together.
    pub(super) fn object<'n>(
        &mut self,
        name: &str,
        members: impl Iterator<Item = (&'n str, String)>,
        each: usize,
        most: usize,
    ) {
        let mut object = String::new();
        for (name, text) in members {
            let item = format!(
                "{}:{}",
                self.quoted(name.as_bytes(), each),
                self.quoted(text.as_bytes(), each)
            );
            self.append(&mut object, &item, most);
        }
        self.member(name, &format!("{{{object}}}"));
    }

    pub(super) fn finish(mut self) -> String {
        let [whole, cut] = ENDS;
        self.text.push_str(if self.cut { cut } else { whole });
        self.text
    }

    fn append(&mut self, items: &mut String, item: &str, most: usize) {
        if items.len().saturating_add(item.len()) > most {
            self.cut = true;
            return;
        }
        if !items.is_empty() {
            items.push(',');
        }
        items.push_str(item);
    }

    fn quoted(&mut self, bytes: &[u8], most: usize) -> String {
        // What lies far behind the cut need not be looked through.
        let near = bytes.get(..most.saturating_mul(2)).unwrap_or(bytes);
        let (text, cut) = escape(&redact(near), most);
        self.cut |= cut || near.len() < bytes.len();
        format!("\"{text}\"")
    }

    /// Adds a member whose value is JSON already; not if the line would become too long by it.
    fn member(&mut self, name: &str, value: &str) {
        let [_, end] = ENDS;
        let punctuation = ",\"\":".len();
        let parts = [self.text.len(), name.len(), value.len(), punctuation, end.len()];
        if parts.into_iter().fold(0, usize::saturating_add) > LINE_BYTES {
            self.cut = true;
            return;
        }
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\":");
        self.text.push_str(value);
    }
}
