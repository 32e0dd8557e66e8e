//! YAML -> the JSON value that Istio would see, and the place of each of its paths.
//!
//! Scalars have the same meaning as for `kubectl` and istiod (sigs.k8s.io/yaml, YAML 1.1): a plain
//! `yes` is true, `017` is 15, a date is a string. A repeated key, an alias bomb and a number that JSON
//! cannot express are refused.
//!
//! By hand, on saphyr-parser's events: no library has both Go's meanings and the place of every path.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput, Tag};
use usher_core::codec::json::{Map, Value};

use super::{DEPTH, Document, Mark, Marks, Unreadable, scalar};

/// The most values in a text, aliases followed: a 1 MiB manifest has a tenth of that.
const VALUES: usize = 1_000_000;

/// The most bytes that aliases bring into a text.
const ALIAS_BYTES: usize = 16 << 20;

/// The documents of a text, empty ones left out.
pub(super) fn documents(text: &str) -> Result<Vec<Document>, Unreadable> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        anchors: HashMap::new(),
        bytes_left: ALIAS_BYTES,
        left: VALUES,
    };
    let mut documents = Vec::new();
    while let Some((event, span)) = reader.next()? {
        // Stream and document marks have no content.
        if matches!(event, Event::StreamStart | Event::StreamEnd | Event::Nothing)
            || matches!(event, Event::DocumentStart(_) | Event::DocumentEnd)
        {
            continue;
        }
        let mut marks = Marks::default();
        marks.places.insert(String::new(), mark(span.start));
        let value = reader.value(event, span, "", &mut marks, DEPTH)?;
        reader.anchors.clear();
        if !value.is_null() {
            documents.push(Document { value, marks });
        }
    }
    Ok(documents)
}

struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    /// The value of an alias, the number of values in it, and their bytes.
    anchors: HashMap<usize, (Value, usize, usize)>,
    /// The bytes that aliases may still bring.
    bytes_left: usize,
    left: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Unreadable> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok(event)) => Ok(Some(event)),
            Some(Err(error)) => {
                Err(Unreadable { mark: mark(*error.marker()), problem: error.info().to_owned() })
            }
        }
    }

    /// The next event inside a list or an object; the parser closes what it opens.
    fn inner(&mut self, span: Span) -> Result<(Event<'t>, Span), Unreadable> {
        self.next()?.ok_or_else(|| unreadable(span, "the document ends too soon"))
    }

    fn value(
        &mut self,
        event: Event<'t>,
        span: Span,
        path: &str,
        marks: &mut Marks,
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let before = self.left;
        self.spend(1, span)?;
        let deeper = || depth.checked_sub(1).ok_or_else(|| unreadable(span, "nested too deep"));
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref(), span)?;
                if !value.is_string() {
                    marks.words.insert(path.to_owned(), text.into_owned());
                }
                (value, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", span)?;
                (self.list(span, path, marks, deeper()?)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", span)?;
                (self.object(span, path, marks, deeper()?)?, anchor)
            }
            Event::Alias(anchor) => {
                let Some((_, values, bytes)) = self.anchors.get(&anchor) else {
                    return Err(unreadable(span, "an alias inside of what it stands for"));
                };
                let (values, bytes) = (*values, *bytes);
                // Before it is copied.
                self.spend(values, span)?;
                let Some(left) = self.bytes_left.checked_sub(bytes) else {
                    return Err(unreadable(
                        span,
                        format!("more than {ALIAS_BYTES} bytes by aliases"),
                    ));
                };
                self.bytes_left = left;
                let value = self.anchors.get(&anchor).map(|(value, ..)| value.clone());
                (value.unwrap_or_default(), 0)
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd
            | Event::SequenceEnd
            | Event::MappingEnd => return Err(unreadable(span, "expected a value")),
        };
        if anchor != 0 {
            let values = before.saturating_sub(self.left);
            self.anchors.insert(anchor, (value.clone(), values, bytes_of(&value)));
        }
        Ok(value)
    }

    fn list(
        &mut self,
        span: Span,
        path: &str,
        marks: &mut Marks,
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let mut items = Vec::new();
        loop {
            let (event, at) = self.inner(span)?;
            if matches!(event, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let path = format!("{path}[{}]", items.len());
            marks.places.insert(path.clone(), mark(at.start));
            items.push(self.value(event, at, &path, marks, depth)?);
        }
    }

    fn object(
        &mut self,
        span: Span,
        path: &str,
        marks: &mut Marks,
        depth: usize,
    ) -> Result<Value, Unreadable> {
        let mut members = Map::new();
        let mut merged = Vec::new();
        loop {
            let (event, at) = self.inner(span)?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            if is_merge(&event) {
                let (event, at) = self.inner(at)?;
                let value = self.value(event, at, path, &mut Marks::default(), depth)?;
                merged.extend(mergeable(value, at)?);
                continue;
            }
            let name = key(self.value(event, at, path, &mut Marks::default(), depth)?, at)?;
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            if members.contains_key(&name) {
                let first = marks.places.get(&path).map(|m| m.line).unwrap_or_default();
                return Err(unreadable(
                    at,
                    format!("duplicate key `{name}`, first in line {first}"),
                ));
            }
            marks.places.insert(path.clone(), mark(at.start));
            let (event, at) = self.inner(at)?;
            let value = self.value(event, at, &path, marks, depth)?;
            members.insert(name, value);
        }
        // A member of the object itself takes precedence over a merged one, an earlier merged one over
        // a later one.
        for (name, value) in merged {
            members.entry(name).or_insert(value);
        }
        Ok(Value::Object(members))
    }

    fn spend(&mut self, values: usize, span: Span) -> Result<(), Unreadable> {
        match self.left.checked_sub(values) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(unreadable(span, format!("more than {VALUES} values, aliases followed"))),
        }
    }
}

/// The bytes of all texts and names in a value.
fn bytes_of(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(bytes_of).fold(0, usize::saturating_add),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| name.len().saturating_add(bytes_of(value)))
            .fold(0, usize::saturating_add),
        _ => 0,
    }
}

fn is_merge(event: &Event<'_>) -> bool {
    matches!(event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<")
}

/// The members that `<<: ..` brings: those of an object, or of each object of a list.
fn mergeable(value: Value, span: Span) -> Result<Vec<(String, Value)>, Unreadable> {
    let objects = match value {
        Value::Array(items) => items,
        value => vec![value],
    };
    let mut members = Vec::new();
    for object in objects {
        let Value::Object(object) = object else {
            return Err(unreadable(span, "a merge key takes an object or a list of objects"));
        };
        members.extend(object);
    }
    Ok(members)
}

/// A key that is not a string is read as its JSON text, as in kubectl.
fn key(value: Value, span: Span) -> Result<String, Unreadable> {
    match value {
        Value::String(name) => Ok(name),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(unreadable(span, "a key must be a string"))
        }
    }
}

fn refuse_tag(tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), Unreadable> {
    match tag {
        Some(tag) if !(tag.is_yaml_core_schema() && tag.suffix == expected) => Err(unreadable(
            span,
            format!("the tag `{}{}` is not supported", tag.handle, tag.suffix),
        )),
        Some(_) | None => Ok(()),
    }
}

fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
    span: Span,
) -> Result<Value, Unreadable> {
    let Some(tag) = tag else {
        return match style {
            ScalarStyle::Plain => scalar::plain(text).map_err(|problem| unreadable(span, problem)),
            _ => Ok(Value::String(text.to_owned())),
        };
    };
    let unsupported = || refuse_tag(Some(tag), "", span).map(|()| Value::Null);
    if !tag.is_yaml_core_schema() {
        return unsupported();
    }
    let value = scalar::plain(text).map_err(|problem| unreadable(span, problem))?;
    match (tag.suffix.as_str(), &value) {
        ("str", _) => Ok(Value::String(text.to_owned())),
        ("bool", Value::Bool(_)) | ("null", Value::Null) => Ok(value),
        ("int" | "float", Value::Number(_)) => Ok(value),
        ("bool" | "null" | "int" | "float", _) => {
            Err(unreadable(span, format!("`{text}` is not of the type `!!{}`", tag.suffix)))
        }
        _ => unsupported(),
    }
}

fn mark(marker: Marker) -> Mark {
    Mark { line: marker.line(), column: marker.col().saturating_add(1) }
}

fn unreadable(span: Span, problem: impl Into<String>) -> Unreadable {
    Unreadable { mark: mark(span.start), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let values: Vec<String> =
            documents(text).unwrap().iter().map(|d| d.value.to_string()).collect();
        values.join(" ")
    }

    fn refused(text: &str) -> (usize, usize, String) {
        let e = documents(text).unwrap_err();
        (e.mark.line, e.mark.column, e.problem)
    }

    #[test]
    fn scalars_mean_what_they_mean_to_kubectl() {
        for (text, json) in [
            ("yes", "true"),
            ("off", "false"),
            ("'yes'", "\"yes\""),
            ("017", "15"),
            ("08", "8"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("-0b11", "-3"),
            ("1_000", "1000"),
            ("+12", "12"),
            ("12e03", "12000"),
            (".5", "0.5"),
            ("1.", "1"),
            ("60.0", "60"),
            ("1e21", "1e+21"),
            ("9007199254740993", "9007199254740992"),
            ("2024-01-02", "\"2024-01-02\""),
            ("1.2.3", "\"1.2.3\""),
            ("10.0.0.0/8", "\"10.0.0.0/8\""),
            ("12:30", "\"12:30\""),
            ("-", "[null]"),
            ("--", "\"--\""),
            ("5s", "\"5s\""),
            ("~", ""),
            ("!!str 12", "\"12\""),
            ("!!float 12", "12"),
            ("|\n a\n b\n", "\"a\\nb\\n\""),
        ] {
            assert_eq!(read(text), json, "{text}");
        }
    }

    #[test]
    fn several_documents_aliases_and_merges() {
        assert_eq!(read("---\na: 1\n---\n# nothing\n---\nb: 2\n...\n"), "{\"a\":1} {\"b\":2}");
        assert_eq!(
            read("x: &x {a: 1, b: 2}\nw:\n  <<: *x\n  b: 3\nz: *x\n"),
            "{\"w\":{\"a\":1,\"b\":3},\"x\":{\"a\":1,\"b\":2},\"z\":{\"a\":1,\"b\":2}}"
        );
        assert_eq!(read("1: a\ntrue: b\n"), "{\"1\":\"a\",\"true\":\"b\"}");
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for (text, place) in [
            ("a: 1\nb: 2\na: 3\n", (3, 1, "duplicate key `a`, first in line 1")),
            ("a:\n  '1': x\n  1: y\n", (3, 3, "duplicate key `1`, first in line 2")),
            ("a: .inf\n", (1, 4, "`.inf` is not a number that JSON can express")),
            ("a: 1e999\n", (1, 4, "`1e999` is not a number that JSON can express")),
            ("? [a]\n: b\n", (1, 3, "a key must be a string")),
            ("a: !mine x\n", (1, 4, "the tag `!mine` is not supported")),
            ("a: &a [*a]\n", (1, 8, "an alias inside of what it stands for")),
            ("a: !!int x\n", (1, 4, "`x` is not of the type `!!int`")),
        ] {
            let (line, column, problem) = refused(text);
            let (l, c, p) = place;
            assert_eq!((line, column, problem.as_str()), (l, c, p), "{text}");
        }
        assert!(documents("a: [1\nb: 2").is_err(), "a list that does not end");
        assert!(documents(&"[".repeat(10_000)).is_err(), "deep");
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for i in 1..10 {
            let p = i - 1;
            bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{p}"); 10].join(", "));
        }
        assert!(refused(&bomb).2.contains("more than"), "an alias bomb");
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1 << 20), "*a, ".repeat(20));
        assert!(refused(&long).2.contains("bytes by aliases"), "one by bytes");
    }
}
