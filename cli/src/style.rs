//! Output to a terminal: colours on a terminal only (elsewhere, and with `NO_COLOR`, they are removed), and
//! no control character from any input.
//!
//! A path, a claim or a file's text may contain terminal controls, so both streams escape control characters
//! as JSON does (`\u001b`), in JSON output too. Styles pass since they are between marks that no one outside
//! this process can know.

use std::borrow::Cow;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::io::{self, Write};
use std::sync::LazyLock;

use anstyle::AnsiColor;

pub(crate) const BAD: Style = Style(AnsiColor::Red.on_default().bold());
pub(crate) const DOUBTFUL: Style = Style(AnsiColor::Yellow.on_default().bold());
pub(crate) const GOOD: Style = Style(AnsiColor::Green.on_default().bold());
pub(crate) const FAINT: Style = Style(anstyle::Style::new().dimmed());

/// Begins and ends a sequence of ours.
static MARK: LazyLock<String> =
    LazyLock::new(|| format!("\u{1b}{:016x}", RandomState::new().hash_one("usher")));

/// `{}` begins it, `{:#}` ends it.
#[derive(Clone, Copy)]
pub(crate) struct Style(anstyle::Style);

impl fmt::Display for Style {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = MARK.as_str();
        if f.alternate() {
            write!(f, "{mark}{}{mark}", self.0.render_reset())
        } else {
            write!(f, "{mark}{}{mark}", self.0.render())
        }
    }
}

/// Standard output.
pub(crate) fn stdout() -> impl Write {
    Escaped::new(io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock())))
}

/// Standard error.
pub(crate) fn stderr() -> impl Write {
    Escaped::new(anstream::AutoStream::auto(io::stderr().lock()))
}

/// Foreign text for one line: line ends and tabs are escaped too.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\r', '\t']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('\n', "\\n").replace('\r', "\\r").replace('\t', "\\t"))
}

/// A stream that escapes, line by line.
struct Escaped<W: Write> {
    inner: W,
    /// The line so far: a write may end anywhere.
    line: Vec<u8>,
}

impl<W: Write> Escaped<W> {
    fn new(inner: W) -> Self {
        Self { inner, line: Vec::new() }
    }

    fn drain(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.inner.write_all(escape(&String::from_utf8_lossy(&line)).as_bytes())
    }
}

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.drain()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.inner.flush()
    }
}

impl<W: Write> Drop for Escaped<W> {
    fn drop(&mut self) {
        // There is no way to report a failure.
        let _ = self.flush();
    }
}

/// Every second part is one of our styles, see [`MARK`].
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split(MARK.as_str()).enumerate() {
        if index % 2 == 1 {
            out.push_str(part);
            continue;
        }
        for c in part.chars() {
            if is_obeyed(c) {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
    }
    out
}

/// What a terminal interprets instead of showing: C0 except line ends and tabs, DEL, C1, and characters that
/// change the direction of the text around them (Unicode's bidirectional controls). Each has four
/// hexadecimal digits.
fn is_obeyed(c: char) -> bool {
    let plain = matches!(c, '\n' | '\t');
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() && !plain || turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_styles_pass() {
        for (text, expected) in [
            ("plain\ttext\n", "plain\ttext\n"),
            ("\u{1b}]0;x\u{7}a\u{1b}[2J\n", "\\u001b]0;x\\u0007a\\u001b[2J\n"),
            ("over\rwrites\u{8}", "over\\u000dwrites\\u0008"),
            ("del \u{7f}, C1 \u{9b}31m", "del \\u007f, C1 \\u009b31m"),
            ("turned \u{202e}round\u{2066}", "turned \\u202eround\\u2066"),
            (
                "a mark of others: \u{1b}0123456789abcdef",
                "a mark of others: \\u001b0123456789abcdef",
            ),
        ] {
            let mut written = Vec::new();
            // Cut at every byte, as a formatter may.
            let mut stream = Escaped::new(&mut written);
            text.bytes().for_each(|byte| stream.write_all(&[byte]).unwrap());
            drop(stream);
            assert_eq!(String::from_utf8(written).unwrap(), expected, "{text:?}");
        }
        let styled = escape(&format!("{BAD}bad{BAD:#} \u{1b}[1m"));
        let inner = BAD.0;
        assert_eq!(styled, format!("{inner}bad{inner:#} \\u001b[1m"));
        assert_eq!(one_line("a\nb\r\tc"), "a\\nb\\r\\tc");
    }
}
