//! Configurations and manifests as written: YAML or JSON, several documents.
//!
//! A document becomes the JSON value that Istio would see, with the line and column of each of its paths. Only its
//! form is checked here; other modules check its meaning.

mod scalar;
mod yaml;

use std::collections::BTreeMap;
use usher_core::codec::json::{self, Value};

/// Levels of nesting that are read, several times the depth of the deepest real configuration.
pub const DEPTH: usize = 64;

/// A file that a verb works on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name in messages: as given on a command line, `-` for standard input.
    pub name: String,
    /// Its content.
    pub text: String,
    /// Whether it was meant by itself, or found in a folder, which may hold files about something else.
    pub named: bool,
}

/// A place in a text, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// A text that is not acceptable YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// The place.
    pub mark: Mark,
    /// The problem there.
    pub problem: String,
}

/// One document of a file.
#[derive(Clone, Debug)]
pub struct Document {
    /// The value; every number has passed through a double, as in Istio.
    pub value: Value,
    marks: Marks,
}

/// The places of a document's paths, and how it spells values that are not strings.
#[derive(Clone, Debug, Default)]
struct Marks {
    places: BTreeMap<String, Mark>,
    /// By path: a plain `yes`, `017`, `~` that became true, 15, null.
    words: BTreeMap<String, String>,
}

impl Document {
    /// A value that no text has, so that none of its paths has a place.
    pub(crate) fn without_places(value: Value) -> Self {
        Self { value, marks: Marks::default() }
    }

    /// The place of `path`, or of its nearest ancestor with a place: a missing field is missing from an object
    /// that has one.
    pub fn locate(&self, path: &str) -> Option<Mark> {
        let mut path = path;
        loop {
            if let Some(mark) = self.marks.places.get(path) {
                return Some(*mark);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).and_then(|end| path.get(..end)).unwrap_or_default();
        }
    }

    /// The word at `path` that would be a string only in quotes.
    pub(crate) fn unquoted(&self, path: &str) -> Option<&str> {
        self.marks.words.get(path).map(String::as_str)
    }
}

/// The documents of a text. Empty ones (a stray `---`, only comments) are left out, but a text with nothing else
/// is one empty object: the meaning of an empty pluginConfig (docs/semantics.md, "How pluginConfig reaches the
/// plugin").
///
/// # Errors
/// The first place where the text is not YAML, or repeats a key.
pub fn documents(text: &str) -> Result<Vec<Document>, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let from_yaml = yaml::documents(text);
    // JSON is nearly, but not entirely, a part of YAML: JSON text has its JSON meaning.
    if let Ok(mut value) = json::parse(text.as_bytes(), DEPTH) {
        if !through_doubles(&mut value)
            && let Some(unreadable) = too_large(text)
        {
            return Err(unreadable);
        }
        let marks = from_yaml.ok().and_then(|documents| documents.into_iter().next());
        return Ok(vec![Document { value, marks: marks.map(|d| d.marks).unwrap_or_default() }]);
    }
    let mut documents = from_yaml.map_err(|unreadable| {
        let mut unreadable = tab(text).unwrap_or(unreadable);
        if text.contains("{{") {
            let hint = "; `{{` is a template's: render it first (`helm template`)";
            unreadable.problem.push_str(hint);
        }
        unreadable
    })?;
    if documents.is_empty() {
        let mut marks = Marks::default();
        marks.places.insert(String::new(), Mark { line: 1, column: 1 });
        documents.push(Document { value: Value::Object(json::Map::new()), marks });
    }
    Ok(documents)
}

/// The first number of a JSON text that no double can hold.
fn too_large(text: &str) -> Option<Unreadable> {
    let (mut line, mut column, mut word) = (1_usize, 1_usize, String::new());
    let (mut is_string, mut is_escape) = (false, false);
    // The end of the text ends a word too.
    for char in text.chars().chain(['\n']) {
        if !is_string && (char.is_ascii_alphanumeric() || "+-.".contains(char)) {
            word.push(char);
        } else if let Err(problem) = scalar::plain(&word) {
            let mark = Mark { line, column: column.saturating_sub(word.len()) };
            return Some(Unreadable { mark, problem });
        } else {
            word.clear();
        }
        is_string ^= char == '"' && !is_escape;
        is_escape = is_string && char == '\\' && !is_escape;
        (line, column) = match char {
            '\n' => (line.saturating_add(1), 1),
            _ => (line, column.saturating_add(1)),
        };
    }
    None
}

/// The first line that is indented with a tab: the usual reason for unreadable YAML, for which the parser reports
/// another place.
fn tab(text: &str) -> Option<Unreadable> {
    text.lines().enumerate().find_map(|(number, line)| {
        let indentation = line.len().saturating_sub(line.trim_start().len());
        let column = line.find('\t').filter(|at| *at < indentation)?;
        let (line, column) = (number.saturating_add(1), column.saturating_add(1));
        let problem = "a tab in the indentation; YAML wants spaces".to_owned();
        Some(Unreadable { mark: Mark { line, column }, problem })
    })
}

/// Whether a value stays what it is on its way through YAML and doubles.
pub(crate) fn is_same_through_doubles(value: &Value) -> bool {
    let mut through = value.clone();
    through_doubles(&mut through) && through == *value
}

/// A number after passing through a double and Go's JSON encoder (docs/semantics.md, "How pluginConfig reaches the
/// plugin"). Returns whether doubles can hold all of them.
fn through_doubles(value: &mut Value) -> bool {
    match value {
        Value::Number(number) => {
            let double = number.as_str().parse().ok().and_then(scalar::number);
            double.map(|double| *number = double).is_some()
        }
        Value::Array(items) => items.iter_mut().all(through_doubles),
        Value::Object(members) => members.values_mut().all(through_doubles),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_missing_field_is_placed_at_its_nearest_ancestor() {
        let text = "a:\n  b:\n  - c: 1\n  - d: 2\n";
        let [document] = documents(text).unwrap().try_into().unwrap();
        let place = |path: &str| document.locate(path).map(|m| (m.line, m.column));
        assert_eq!(place("a.b[1].d"), Some((4, 5)));
        assert_eq!(place("a.b[1].missing.deep"), Some((4, 5)), "the list's item");
        assert_eq!(place("a.b"), Some((2, 3)));
        assert_eq!(place("zzz"), Some((1, 1)), "the document");
        assert_eq!(place(""), Some((1, 1)));
    }

    #[test]
    fn json_keeps_its_meaning_and_gets_places() {
        let text =
            "{\"a\": \"\\ud83d\\ude00 \\/\",\n \"n\": [1.50, 9007199254740993, 1e21, -0.0000001]}";
        let [document] = documents(text).unwrap().try_into().unwrap();
        assert_eq!(
            document.value.to_string(),
            "{\"a\":\"😀 /\",\"n\":[1.5,9007199254740992,1e+21,-1e-7]}"
        );
        let [plain] = documents("{\"a\":1,\n \"n\":2}").unwrap().try_into().unwrap();
        assert_eq!(plain.locate("n"), Some(Mark { line: 2, column: 2 }));
    }

    #[test]
    fn a_number_that_no_double_holds_is_refused_in_both_forms() {
        for (text, line, column) in [
            ("a: 1e400\n", 1, 4),
            ("{\"b\": 1,\n \"a\": [1e400]}", 2, 8),
            ("{\n\t\"a\": \"\\\"1e400\",\n\t\"b\":1e400}", 3, 6),
            ("{\"\\ud83d\\ude00\": 1, \"b\": 1e400 }", 1, 26),
            ("[1, 2.5e-3, true,1e400]", 1, 18),
            (" 1e400", 1, 2),
        ] {
            let unreadable = documents(text).unwrap_err();
            assert_eq!(unreadable.mark, Mark { line, column }, "{text}");
            assert_eq!(
                unreadable.problem, "`1e400` is not a number that JSON can express",
                "{text}"
            );
        }
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            "[ :#&*!|>'\"%@`{}\\[\\],?~-]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z.]{0,4}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[ \\n\ta-c0-9:#&*!|>'\"%@`{}\\[\\],?~<.-]{0,60}") {
            let _ = documents(&text);
        }

        #[test]
        fn json_read_as_yaml_is_the_same_json(value in json_value()) {
            let mut expected = value.clone();
            through_doubles(&mut expected);
            for text in [value.to_string(), format!("{value:#}")] {
                let Ok(read) = yaml::documents(&text) else { continue };
                let read = read.into_iter().next().map_or(Value::Null, |document| document.value);
                prop_assert_eq!(&read, &expected, "{}", text);
            }
        }
    }
}
