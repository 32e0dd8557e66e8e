//! One line of JSON, bounded, in printable ASCII only.
//!
//! No byte of a request can end the line, control a terminal or reverse its text: everything but printable ASCII
//! is a `\u` escape. Everything that looks like a token is redacted.

use super::LINE_BYTES;
use crate::codec::redaction::{escape, redact};

/// A JSON object that is being written.
pub(super) struct Line {
    text: String,
    cut: bool,
}

/// The end of each line: room for it is always reserved.
const ENDS: [&str; 2] = ["}", ",\"cut\":true}"];

impl Line {
    pub(super) fn new() -> Self {
        Self { text: "{".to_owned(), cut: false }
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.member(name, &mut |text| {
            text.push_str(itoa::Buffer::new().format(value));
            false
        });
    }

    pub(super) fn boolean(&mut self, name: &str, value: bool) {
        self.member(name, &mut |text| {
            text.push_str(if value { "true" } else { "false" });
            false
        });
    }

    /// A text of at most `most` bytes as written.
    pub(super) fn text(&mut self, name: &str, text: &str, most: usize) {
        self.bytes(name, Some(text.as_bytes()), most);
    }

    pub(super) fn optional(&mut self, name: &str, text: Option<&str>, most: usize) {
        self.bytes(name, text.map(str::as_bytes), most);
    }

    /// Bytes, which need not be text.
    pub(super) fn bytes(&mut self, name: &str, bytes: Option<&[u8]>, most: usize) {
        if let Some(bytes) = bytes {
            self.member(name, &mut |text| quoted(text, bytes, most));
        }
    }

    /// A list of texts, of at most `most` bytes together.
    pub(super) fn texts(&mut self, name: &str, texts: &[String], most: usize) {
        self.member(name, &mut |text| {
            text.push('[');
            let (begin, mut cut) = (text.len(), false);
            for item in texts {
                let write = &mut |text: &mut String| quoted(text, item.as_bytes(), most);
                cut |= append(text, begin, most, write);
            }
            text.push(']');
            cut
        });
    }

    /// An object of texts, each of at most `each` bytes, `most` together.
    pub(super) fn object(
        &mut self,
        name: &str,
        members: &[(&str, String)],
        each: usize,
        most: usize,
    ) {
        self.member(name, &mut |text| {
            text.push('{');
            let (begin, mut cut) = (text.len(), false);
            for (name, value) in members {
                cut |= append(text, begin, most, &mut |text| {
                    let cut = quoted(text, name.as_bytes(), each);
                    text.push(':');
                    quoted(text, value.as_bytes(), each) || cut
                });
            }
            text.push('}');
            cut
        });
    }

    pub(super) fn finish(mut self) -> String {
        let [whole, cut] = ENDS;
        self.text.push_str(if self.cut { cut } else { whole });
        self.text
    }

    /// Adds a member, unless the line would become too long. `write` appends its value as JSON, and returns
    /// whether some of it was cut off.
    fn member(&mut self, name: &str, write: &mut dyn FnMut(&mut String) -> bool) {
        let [_, end] = ENDS;
        let before = self.text.len();
        self.text.push_str(if before > 1 { ",\"" } else { "\"" });
        self.text.push_str(name);
        self.text.push_str("\":");
        self.cut |= write(&mut self.text);
        if self.text.len().saturating_add(end.len()) > LINE_BYTES {
            self.text.truncate(before);
            self.cut = true;
        }
    }
}

/// Appends an item to a list that began at `begin`, unless its items would have more than `most` bytes together.
/// Returns whether something was cut off.
fn append(
    text: &mut String,
    begin: usize,
    most: usize,
    write: &mut dyn FnMut(&mut String) -> bool,
) -> bool {
    let before = text.len();
    if before > begin {
        text.push(',');
    }
    let cut = write(text);
    if text.len().saturating_sub(begin) > most {
        text.truncate(before);
        return true;
    }
    cut
}

/// Appends a string of at most `most` bytes between its quotes. Returns whether something was cut off.
fn quoted(text: &mut String, bytes: &[u8], most: usize) -> bool {
    // Bytes far behind the cut need not be searched.
    let near = bytes.get(..most.saturating_mul(2)).unwrap_or(bytes);
    text.push('"');
    let cut = escape(text, &redact(near), most);
    text.push('"');
    cut || near.len() < bytes.len()
}
