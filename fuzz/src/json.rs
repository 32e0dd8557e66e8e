//! The strict reader of JSON, against an independent reader of RFC 8259, and against serde_json.

use serde_json::{Map, Value};

use crate::subject::strict_json;

/// The depth to which serde_json reads.
const DEPTH: usize = 127;

/// serde_json's name for a number that is not a 64-bit integer.
const MARK: &str = "$serde_json::private::Number";

/// The prefix of all names that serde_json reserves; which of them it uses depends on its other features.
const PRIVATE: &str = "$serde_json::private::";

pub(crate) fn run(data: &[u8]) {
    let strict = strict_json(data, DEPTH);
    let reference = Reader::read(data);
    let shown = data.escape_ascii();
    let taken = reference.as_ref().filter(|read| read.is_unique && read.depth <= DEPTH);
    match (&strict, taken) {
        // No document has a reason to use it, and it may replace another document's value.
        (Err(invalid), Some(_)) if invalid.problem == "reserved member name" => {
            let marks = data.windows(MARK.len()).any(|window| window == MARK.as_bytes());
            assert!(marks, "reserved: {shown}");
        }
        (Err(invalid), Some(_)) => panic!("refused: {invalid}\n{shown}"),
        (Ok(value), None) => panic!("taken: {value}\n{shown}"),
        (Ok(value), Some(read)) => {
            assert_eq!(with_number_texts(value), read.value, "{shown}");
            // Spelled with escapes the mark is a name like any other. serde_json takes it for its own, and it is
            // refused once it is written without escapes.
            if !names_mark(value) {
                let plain: Value = serde_json::from_slice(data).expect("serde_json reads it");
                assert_eq!(*value, plain, "serde_json reads something else: {shown}");
                let again = strict_json(value.to_string().as_bytes(), DEPTH);
                assert_eq!(again.as_ref(), Ok(value), "written and read again: {shown}");
            }
            // The bound is exact.
            assert!(strict_json(data, read.depth).is_ok(), "refused at its own depth: {shown}");
            if let Some(less) = read.depth.checked_sub(1) {
                assert!(strict_json(data, less).is_err(), "taken at depth {less}: {shown}");
            }
        }
        (Err(_), None) => {}
    }
}

fn names_mark(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(names_mark),
        Value::Object(members) => {
            members.iter().any(|(name, m)| name.contains(PRIVATE) || names_mark(m))
        }
        _ => false,
    }
}

/// The value: numbers are texts behind a `#`, and strings follow a `"`.
struct Read {
    value: Value,
    depth: usize,
    /// Whether no member is repeated.
    is_unique: bool,
}

/// RFC 8259, by its grammar.
struct Reader<'t> {
    rest: &'t [u8],
    depth: usize,
    is_unique: bool,
}

impl<'t> Reader<'t> {
    fn read(text: &'t [u8]) -> Option<Read> {
        str::from_utf8(text).ok()?;
        let mut reader = Self { rest: text, depth: 0, is_unique: true };
        let value = reader.value(0)?;
        reader.space();
        let Self { rest, depth, is_unique } = reader;
        rest.is_empty().then_some(Read { value, depth, is_unique })
    }

    fn space(&mut self) {
        while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn takes(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word.as_bytes());
        rest.map(|rest| self.rest = rest).is_some()
    }

    /// The items between brackets, each read by `item`.
    fn items(&mut self, end: &str, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.space();
        if self.takes(end) {
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.takes(end) {
                return Some(());
            }
            self.takes(",").then_some(())?;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        // This target does not test the stack.
        if depth > 4 * DEPTH {
            return None;
        }
        self.space();
        let inner = depth + 1;
        match self.rest.first()? {
            b'n' => self.takes("null").then_some(Value::Null),
            b't' => self.takes("true").then_some(true.into()),
            b'f' => self.takes("false").then_some(false.into()),
            b'"' => self.string().map(|text| format!("\"{text}").into()),
            b'[' => {
                self.takes("[");
                self.depth = self.depth.max(inner);
                let mut items = Vec::new();
                self.items("]", |reader| {
                    items.push(reader.value(inner)?);
                    Some(())
                })?;
                Some(items.into())
            }
            b'{' => {
                self.takes("{");
                self.depth = self.depth.max(inner);
                let mut members = Map::new();
                self.items("}", |reader| {
                    let name = reader.string()?;
                    reader.space();
                    reader.takes(":").then_some(())?;
                    let value = reader.value(inner)?;
                    reader.is_unique &= members.insert(name, value).is_none();
                    Some(())
                })?;
                Some(members.into())
            }
            _ => self.number().map(|text| number(&text)),
        }
    }

    fn digits(&mut self) -> Option<String> {
        let length = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(length);
        self.rest = rest;
        (length > 0).then(|| String::from_utf8_lossy(digits).into_owned())
    }

    fn number(&mut self) -> Option<String> {
        let mut text = String::from(if self.takes("-") { "-" } else { "" });
        let whole = self.digits()?;
        if whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        text += &whole;
        if self.takes(".") {
            text += ".";
            text += &self.digits()?;
        }
        if self.takes("e") || self.takes("E") {
            let sign = if self.takes("-") { "-" } else { "+" };
            if sign == "+" {
                self.takes("+");
            }
            text += "e";
            text += sign;
            text += &self.digits()?;
        }
        Some(text)
    }

    fn unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let all = digits.iter().all(u8::is_ascii_hexdigit);
        all.then(|| u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok())?
    }

    fn string(&mut self) -> Option<String> {
        self.takes("\"").then_some(())?;
        let mut text = Vec::new();
        loop {
            let (first, rest) = self.rest.split_first()?;
            self.rest = rest;
            match first {
                b'"' => return String::from_utf8(text).ok(),
                0..=0x1f => return None,
                b'\\' => {
                    let (escape, rest) = self.rest.split_first()?;
                    self.rest = rest;
                    let char = match escape {
                        b'"' | b'\\' | b'/' => char::from(*escape),
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.escaped()?,
                        _ => return None,
                    };
                    text.extend(char.encode_utf8(&mut [0; 4]).bytes());
                }
                plain => text.push(*plain),
            }
        }
    }

    /// A character of one `\u` escape, or of a surrogate pair.
    fn escaped(&mut self) -> Option<char> {
        let first = self.unit()?;
        if let Some(Ok(char)) = char::decode_utf16([first]).next() {
            return Some(char);
        }
        self.takes("\\u").then_some(())?;
        let second = self.unit()?;
        char::decode_utf16([first, second]).next()?.ok()
    }
}

/// A number's text with the exponent in one spelling, which serde_json leaves to the writer.
fn number(text: &str) -> Value {
    let text = text.replace('E', "e");
    match text.split_once('e') {
        Some((digits, power)) if !power.starts_with(['-', '+']) => {
            format!("#{digits}e+{power}").into()
        }
        _ => format!("#{text}").into(),
    }
}

fn with_number_texts(value: &Value) -> Value {
    match value {
        Value::Number(read) => number(read.as_str()),
        Value::String(text) => format!("\"{text}").into(),
        Value::Array(items) => items.iter().map(with_number_texts).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(n, value)| (n.clone(), with_number_texts(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}
