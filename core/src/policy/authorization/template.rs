//! Path templates: `{*}` for a segment, `{**}` for any number of them.
//!
//! Source: envoyproxy/envoy source/extensions/path/uri_template_lib, and measurements
//! (docs/semantics.md, "Path templates").

use crate::codec::path_bytes::is_segment_byte;

/// A template, with its outer slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    /// Pieces before `{**}`, or all of them.
    pub(crate) front: Vec<Piece>,
    /// Pieces after `{**}`, if there is one.
    pub(crate) back: Option<Vec<Piece>>,
    /// The name of the capture by `{**}`, if it has one (Usher's own).
    pub(crate) rest_name: Option<String>,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This text.
    Literal(Vec<u8>),
    /// One or more bytes of a segment, captured if there is a name.
    Segment(Option<String>),
}

/// Why a text is not a valid template, for the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidTemplate {
    /// `{**}` is followed by another operator.
    BehindRest,
    /// A brace that is not part of an operator.
    Brace,
    /// A literal segment is empty or contains a byte that no path segment may.
    Literal,
    /// It does not begin with a slash.
    NoSlash,
    /// More than 256 characters (Envoy uri_template_internal.cc).
    TooLong,
}

/// Which templates are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Whole segments `{*}` and `{**}` only.
    Istio,
    /// Also `{*}` inside a segment, captures `{name}`, and `{name=**}`.
    Usher,
}

impl Template {
    /// Parses a template. `None`: the text contains no brace and is not a template.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Option<Result<Self, InvalidTemplate>> {
        text.contains(['{', '}']).then(|| Self::read(text, dialect))
    }

    fn read(text: &str, dialect: Dialect) -> Result<Self, InvalidTemplate> {
        let mut template = Self { front: Vec::new(), back: None, rest_name: None };
        // Istio trims every outer slash before its check; Envoy matches them nevertheless.
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        for segment in inner.split('/') {
            template.push(Piece::Literal(b"/".to_vec()))?;
            template.read_segment(segment, dialect)?;
        }
        if text.ends_with('/') {
            template.push(Piece::Literal(b"/".to_vec()))?;
        }
        if !text.starts_with('/') {
            return Err(InvalidTemplate::NoSlash);
        }
        if text.len() > 256 {
            return Err(InvalidTemplate::TooLong);
        }
        Ok(template)
    }

    fn read_segment(&mut self, segment: &str, dialect: Dialect) -> Result<(), InvalidTemplate> {
        match segment {
            "{*}" => return self.push(Piece::Segment(None)),
            "{**}" => return self.rest(None),
            _ => {}
        }
        if !segment.contains(['{', '}']) {
            return self.literal(segment);
        }
        if dialect == Dialect::Istio {
            return Err(InvalidTemplate::Brace);
        }
        let capture = segment.strip_prefix('{').and_then(|s| s.strip_suffix('}'));
        if let Some(name) =
            capture.and_then(|inner| inner.strip_suffix("=**")).filter(|n| is_name(n))
        {
            return self.rest(Some(name.to_owned()));
        }
        let mut rest = segment;
        while !rest.is_empty() {
            let Some((before, operator)) = rest.split_once('{') else {
                return self.literal(rest);
            };
            if !before.is_empty() {
                self.literal(before)?;
            }
            let (operator, tail) = operator.split_once('}').ok_or(InvalidTemplate::Brace)?;
            // Between two operators in a row, the end of one and the beginning of the other would be
            // ambiguous.
            if tail.starts_with('{') {
                return Err(InvalidTemplate::Brace);
            }
            match operator {
                "*" => self.push(Piece::Segment(None))?,
                name if is_name(name) => self.push(Piece::Segment(Some(name.to_owned())))?,
                _ => return Err(InvalidTemplate::Brace),
            }
            rest = tail;
        }
        Ok(())
    }

    fn literal(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        // Istio's check of a template's literal segments (istio/istio pkg/config/security/security.go,
        // `CheckValidPathTemplate`), which excludes a star.
        let allowed = |b: u8| is_segment_byte(b) && b != b'*';
        if text.is_empty() || !text.bytes().all(allowed) {
            return Err(InvalidTemplate::Literal);
        }
        self.push(Piece::Literal(text.as_bytes().to_vec()))
    }

    fn rest(&mut self, name: Option<String>) -> Result<(), InvalidTemplate> {
        if self.back.is_some() {
            return Err(InvalidTemplate::BehindRest);
        }
        self.back = Some(Vec::new());
        self.rest_name = name;
        Ok(())
    }

    fn push(&mut self, piece: Piece) -> Result<(), InvalidTemplate> {
        let pieces = self.back.as_mut().unwrap_or(&mut self.front);
        match (piece, pieces.last_mut()) {
            (Piece::Literal(text), Some(Piece::Literal(last))) => last.extend(text),
            (piece, _) => pieces.push(piece),
        }
        let behind =
            self.back.as_ref().is_some_and(|b| b.iter().any(|p| matches!(p, Piece::Segment(_))));
        if behind { Err(InvalidTemplate::BehindRest) } else { Ok(()) }
    }

    /// Names of captures.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let front = self.front.iter().filter_map(|piece| match piece {
            Piece::Segment(name) => name.as_deref(),
            Piece::Literal(_) => None,
        });
        front.chain(self.rest_name.as_deref())
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str, dialect: Dialect) -> Result<Template, InvalidTemplate> {
        Template::parse(text, dialect).unwrap()
    }

    #[test]
    fn what_is_no_template_is_told() {
        use InvalidTemplate::{BehindRest, Brace, Literal, NoSlash};
        for (text, why) in [
            ("/{**}/{*}", BehindRest),
            ("/{**}/{**}", BehindRest),
            ("/a{*}", Brace),
            ("/{id}", Brace),
            ("/{", Brace),
            ("/{*}/*", Literal),
            ("/{*}//a", Literal),
            ("/{*}/\u{e9}", Literal),
            ("a/{*}", NoSlash),
        ] {
            assert_eq!(template(text, Dialect::Istio), Err(why), "{text}");
        }
        assert_eq!(template("/{a}{b}", Dialect::Usher), Err(Brace));
        assert_eq!(template("/{a b}", Dialect::Usher), Err(Brace));
        let long = format!("/{{*}}/{}", "a".repeat(300));
        assert_eq!(template(&long, Dialect::Istio), Err(InvalidTemplate::TooLong));
    }
}
