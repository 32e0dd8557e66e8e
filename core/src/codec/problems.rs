//! Reading configuration values: what was found, what was expected, and where.
//!
//! A [`Node`] is a JSON value that knows its path. Every reader method records a problem and returns `None` instead of
//! stopping, so that one load reports every mistake. An [`Object`] remembers which fields were read: the others are
//! unknown, and the nearest known name is suggested.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use crate::codec::decimal::Decimal;
use crate::codec::json::{Map, Value};

/// One error in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidConfig {
    /// JSON path, such as `jwtRules[0].jwks`; empty for the whole.
    pub at: String,
    /// What was found and what was expected, a sentence without a full stop.
    pub problem: String,
    /// Of a warning, the name of its kind (docs/cli/warnings.md); empty for an error.
    pub code: &'static str,
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.at.is_empty() {
            f.write_str(&self.problem)
        } else {
            write!(f, "{}: {}", self.at, self.problem)
        }
    }
}

/// All problems recorded while a configuration was read.
#[derive(Debug, Default)]
pub struct Problems {
    errors: RefCell<Vec<InvalidConfig>>,
    warnings: RefCell<Vec<InvalidConfig>>,
    #[cfg(feature = "schema-fields")]
    schema_fields: RefCell<std::collections::BTreeSet<SchemaField>>,
}

/// What a reader accepts at a place: the schema is compared with it.
#[cfg(feature = "schema-fields")]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaField {
    /// A field of the object at this path.
    Field(String, &'static str),
    /// A word that is valid at this path.
    Word(String, String),
}

#[cfg(feature = "schema-fields")]
impl Problems {
    /// The fields and words read so far; paths omit indices, `jwtRules[].issuer`.
    pub fn schema_fields(&self) -> std::collections::BTreeSet<SchemaField> {
        self.schema_fields.borrow().clone()
    }

    /// Records that the object at this path may have a field.
    pub fn know_field(&self, at: &str, name: &'static str) {
        self.know(at, |at| SchemaField::Field(at, name));
    }

    /// Records which words may be at this path.
    pub fn know_words(&self, at: &str, words: &[&str]) {
        for word in words {
            self.know(at, |at| SchemaField::Word(at, (*word).to_owned()));
        }
    }

    fn know(&self, at: &str, known: impl Fn(String) -> SchemaField) {
        let digits = |c: char| c.is_ascii_digit();
        let at = at.split('[').map(|piece| piece.trim_start_matches(digits));
        let at = at.collect::<Vec<_>>().join("[");
        self.schema_fields.borrow_mut().insert(known(at));
    }
}

impl Problems {
    /// Records what makes the configuration invalid.
    pub fn error(&self, at: impl Into<String>, problem: impl Into<String>) {
        let found = InvalidConfig { at: at.into(), problem: problem.into(), code: "" };
        self.errors.borrow_mut().push(found);
    }

    /// Records what is valid and worth a second look; `code`: the name of its kind.
    pub fn warning(&self, code: &'static str, at: impl Into<String>, problem: impl Into<String>) {
        let found = InvalidConfig { at: at.into(), problem: problem.into(), code };
        self.warnings.borrow_mut().push(found);
    }

    /// Whether no error was recorded.
    pub fn is_valid(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// Errors and warnings, in the order in which they were found.
    pub fn into_parts(self) -> (Vec<InvalidConfig>, Vec<InvalidConfig>) {
        (self.errors.into_inner(), self.warnings.into_inner())
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub struct Node<'v> {
    /// JSON path of the value.
    pub at: String,
    /// The value.
    pub value: &'v Value,
}

impl<'v> Node<'v> {
    /// The whole document.
    pub fn root(value: &'v Value) -> Self {
        Self { at: String::new(), value }
    }

    /// Records that this value is not what was expected.
    pub fn expected<T>(&self, expected: &str, problems: &Problems) -> Option<T> {
        let found = describe(self.value);
        problems.error(&self.at, format!("expected {expected}, found {found}"));
        None
    }

    /// An object, whose fields are read one by one.
    pub fn object(&self, problems: &Problems) -> Option<Object<'v>> {
        match self.value {
            Value::Object(members) => {
                Some(Object { at: self.at.clone(), members, asked: RefCell::default() })
            }
            _ => self.expected("an object", problems),
        }
    }

    /// The elements of a list.
    pub fn list(&self, problems: &Problems) -> Option<Vec<Self>> {
        match self.value {
            Value::Array(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(i, value)| Self { at: format!("{}[{i}]", self.at), value })
                    .collect(),
            ),
            _ => self.expected("a list", problems),
        }
    }

    /// A string, possibly empty.
    pub fn text(&self, problems: &Problems) -> Option<&'v str> {
        match self.value {
            Value::String(text) => Some(text),
            _ => self.expected("a string", problems),
        }
    }

    /// A string of at least one character.
    pub fn filled_text(&self, problems: &Problems) -> Option<&'v str> {
        match self.text(problems)? {
            "" => self.expected("a string that is not empty", problems),
            text => Some(text),
        }
    }

    /// A list of non-empty strings.
    pub fn texts(&self, problems: &Problems) -> Option<Vec<&'v str>> {
        self.list(problems)?.iter().map(|item| item.filled_text(problems)).collect()
    }

    /// `true` or `false`.
    pub fn boolean(&self, problems: &Problems) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.expected("true or false", problems),
        }
    }

    /// A whole number within `range`. Istio's numbers pass through a double, so `60`, `60.0` and `6e1` are the same; a
    /// string of digits is accepted too (proto JSON mapping of 64-bit integers).
    pub fn integer(
        &self,
        range: std::ops::RangeInclusive<u64>,
        problems: &Problems,
    ) -> Option<u64> {
        let number = match self.value {
            Value::Number(number) => whole(number.as_str()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match number.filter(|n| range.contains(n)) {
            Some(number) => Some(number),
            None => self.expected(
                &format!("a whole number from {} to {}", range.start(), range.end()),
                problems,
            ),
        }
    }

    /// A duration in Istio's spelling: `5s`, `1h30m`, `100ms`, `0s`.
    pub fn duration(&self, problems: &Problems) -> Option<Duration> {
        let parsed = match self.value {
            Value::String(text) => parse_duration(text),
            _ => None,
        };
        match parsed {
            Some(duration) => Some(duration),
            None => self.expected("a duration such as `5s` or `1h30m`", problems),
        }
    }

    /// One word of a closed list: its value.
    pub fn one_of<T: Copy>(&self, words: &[(&str, T)], problems: &Problems) -> Option<T> {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        words.get(self.word(&names, problems)?).map(|(_, value)| *value)
    }

    /// One word of a closed list: its place there.
    pub fn word(&self, words: &[&str], problems: &Problems) -> Option<usize> {
        #[cfg(feature = "schema-fields")]
        problems.know_words(&self.at, words);
        let text = self.value.as_str();
        let index = text.and_then(|text| words.iter().position(|word| *word == text));
        if index.is_none() {
            let hint = text.map(|text| did_you_mean(text, words.iter().copied()));
            let (list, found) = (words.join("`, `"), describe(self.value));
            let problem =
                format!("expected one of `{list}`, found {found}{}", hint.unwrap_or_default());
            problems.error(&self.at, problem);
        }
        index
    }
}

/// An object whose fields are being read.
#[derive(Debug)]
pub struct Object<'v> {
    /// JSON path of the object.
    pub at: String,
    members: &'v Map<String, Value>,
    asked: RefCell<Vec<&'static str>>,
}

impl<'v> Object<'v> {
    /// The field, unless it is absent or null (proto JSON: null is absent).
    pub fn field(&self, name: &'static str) -> Option<Node<'v>> {
        self.asked.borrow_mut().push(name);
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        Some(Node { at: self.path(name), value })
    }

    /// The field; records that it is missing.
    pub fn required(&self, name: &'static str, problems: &Problems) -> Option<Node<'v>> {
        let field = self.field(name);
        if field.is_none() {
            problems.error(&self.at, format!("missing field `{name}`"));
        }
        field
    }

    /// Whether the field is present and not null, which counts as absent.
    pub fn gives(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is present, null included.
    pub fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// The path of a field.
    pub fn path(&self, name: &str) -> String {
        if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) }
    }

    /// Records every field that was not read.
    pub fn finish(self, problems: &Problems) {
        let asked = self.asked.borrow();
        #[cfg(feature = "schema-fields")]
        for name in asked.iter() {
            problems.know_field(&self.at, name);
        }
        for name in self.members.keys() {
            if !asked.contains(&name.as_str()) {
                let hint = did_you_mean(name, asked.iter().copied());
                problems.error(self.path(name), format!("unknown field `{name}`{hint}"));
            }
        }
    }
}

/// `; did you mean ..?` if a known name is near, else an empty text. By hand: it is twenty lines, with strsim as without.
pub fn did_you_mean<'n>(found: &str, known: impl Iterator<Item = &'n str>) -> String {
    let nearest = known
        .map(|name| (distance(found, name), name))
        .filter(|(edits, name)| *edits <= (name.len() / 4).saturating_add(1))
        .min();
    nearest.map(|(_, name)| format!("; did you mean `{name}`?")).unwrap_or_default()
}

/// Edit distance of two names, without letter case (of ASCII: the known names have no other) and word separators.
fn distance(a: &str, b: &str) -> usize {
    let fold = |s: &str| -> Vec<char> {
        s.chars().filter(|c| *c != '_' && *c != '-').map(|c| c.to_ascii_lowercase()).collect()
    };
    let (a, b) = (fold(a), fold(b));
    // Levenshtein, one row at a time.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        let mut next = vec![left];
        for (y, above) in b.iter().zip(row.iter().skip(1)) {
            let edit = diagonal.saturating_add(usize::from(x != y));
            left = edit.min(left.saturating_add(1)).min(above.saturating_add(1));
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// How a value is named in `found ..`; long or structured values only by their kind.
pub fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(b) => format!("`{b}`"),
        Value::Number(n) => format!("`{n}`"),
        Value::String(s) if s.is_empty() => "an empty string".to_owned(),
        Value::String(s) if s.chars().count() <= 80 => format!("`{s}`"),
        Value::String(s) => format!("a string of {} bytes", s.len()),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}

/// A JSON number's text as a whole number, if it is one; at most 2^53 if it has decimals or an exponent.
fn whole(text: &str) -> Option<u64> {
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let whole = Decimal::parse(text)?.times(1)?;
    (whole.exact && whole.number <= 1 << 53).then_some(whole.number)
}

/// Go's duration syntax as protobuf and Istio use it: decimal numbers with h, m, s, ms, us, ns. By hand: crates for
/// durations take words and units that Go does not.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at_checked(digits)?;
        let unit = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at_checked(unit)?;
        let nanoseconds = match unit {
            "h" => 3_600_000_000_000,
            "m" => 60_000_000_000,
            "s" => 1_000_000_000,
            "ms" => 1_000_000,
            "us" | "µs" => 1_000,
            "ns" => 1,
            _ => return None,
        };
        let part = Decimal::parse(number)?.times(nanoseconds)?;
        total = total.checked_add(Duration::from_nanos(part.number))?;
        rest = tail;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, f: impl Fn(&Node<'_>, &Problems) -> Option<T>) -> Result<T, String> {
        let value = crate::codec::json::parse(text.as_bytes(), 16).unwrap();
        let problems = Problems::default();
        let read = f(&Node::root(&value), &problems);
        read.ok_or_else(|| problems.into_parts().0.first().unwrap().to_string())
    }

    #[test]
    fn integers_come_as_doubles_and_strings() {
        for text in ["60", "60.0", "6e1", "\"60\"", "0.6e2"] {
            assert_eq!(read(text, |n, p| n.integer(0..=100, p)), Ok(60), "{text}");
        }
        for text in ["60.5", "-1", "\"x\"", "true", "1e30", "101"] {
            let error = read(text, |n, p| n.integer(0..=100, p)).unwrap_err();
            assert!(error.starts_with("expected a whole number from 0 to 100, found"), "{error}");
        }
    }

    #[test]
    fn durations_are_istios() {
        for (text, seconds) in [
            ("5s", 5.0),
            ("1h30m", 5400.0),
            ("0s", 0.0),
            ("100ms", 0.1),
            // Go's ParseDuration also accepts a number without a whole part after a unit.
            (".5s", 0.5),
            ("1m.5s", 60.5),
            ("5.s", 5.0),
        ] {
            let found = read(&format!("\"{text}\""), |n, p| n.duration(p)).unwrap();
            assert_eq!(found, Duration::from_secs_f64(seconds), "{text}");
        }
        for text in ["5", "s", "", "5 s", "-5s", "5d", "1..5s", "1m.s", ".s", "1m."] {
            assert!(read(&format!("\"{text}\""), |n, p| n.duration(p)).is_err(), "{text}");
        }
    }

    #[test]
    fn unknown_fields_get_a_suggestion() {
        let value =
            crate::codec::json::parse(br#"{"audience":1,"jwt_rules":2,"zzz":3}"#, 4).unwrap();
        let problems = Problems::default();
        let object = Node::root(&value).object(&problems).unwrap();
        object.field("audiences");
        object.field("jwtRules");
        object.finish(&problems);
        let (errors, _) = problems.into_parts();
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "audience: unknown field `audience`; did you mean `audiences`?",
                "jwt_rules: unknown field `jwt_rules`; did you mean `jwtRules`?",
                "zzz: unknown field `zzz`",
            ]
        );
    }
}
