//! Colours, which appear on a terminal only: every stream is wrapped so that they are taken out
//! elsewhere (and with `NO_COLOR`).

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DOUBTFUL: Style = AnsiColor::Yellow.on_default().bold();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Standard output.
pub(crate) fn stdout() -> impl Write {
    io::BufWriter::new(anstream::AutoStream::auto(io::stdout().lock()))
}

/// Standard error.
pub(crate) fn stderr() -> impl Write {
    anstream::AutoStream::auto(io::stderr().lock())
}
