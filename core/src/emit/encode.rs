//! How claims are written into headers: without control characters, numbers as signed.

use std::borrow::Cow;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::codec::json::{Map, Value, unicode_escape};
use crate::codec::percent::push_encoded;
use crate::policy::{ClaimFormat, PayloadEncoding, TextEncoding};

/// The value of a payload header. `signed` is the payload as in the token, `claims` the part to be sent,
/// `chosen` whether that is less than all.
pub fn payload(
    signed: &str,
    claims: &Map<String, Value>,
    chosen: bool,
    encoding: PayloadEncoding,
) -> String {
    let json = || ascii_json(claims);
    let bytes = || {
        if chosen {
            json().into_bytes()
        } else {
            URL_SAFE_NO_PAD.decode(signed).unwrap_or_default()
        }
    };
    match encoding {
        PayloadEncoding::Base64 => STANDARD.encode(bytes()),
        PayloadEncoding::Base64Url if chosen => URL_SAFE_NO_PAD.encode(bytes()),
        PayloadEncoding::Base64Url => signed.to_owned(),
        PayloadEncoding::Base64UrlPadded => URL_SAFE.encode(bytes()),
        PayloadEncoding::Json => json(),
    }
}

/// The header lines of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// These lines; empty if there is no value.
    Lines(Vec<String>),
    /// `raw` cannot express it: a reader would take it for another value.
    Withheld,
}

/// How a claim's values are written, beyond their JSON type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape<'c> {
    /// As their JSON type: one value, or none.
    Value,
    /// A text that is a list of these words.
    Words(Vec<&'c str>),
    /// Elements of a list, however many: the values at `[*]`.
    Elements,
}

/// Writes a claim's values. Null, an empty text and an empty list give no line.
pub fn claim(
    values: &[&Value],
    shape: &Shape<'_>,
    format: Option<ClaimFormat>,
    encoding: TextEncoding,
) -> Written {
    use ClaimFormat::{Csv, Json, Repeat, Space};
    let texts = match (values, shape, format) {
        ([] | [Value::Null], ..) => Vec::new(),
        ([Value::String(text)], _, Some(Json)) if text.is_empty() => Vec::new(),
        ([Value::Array(items)], _, Some(Json)) if items.is_empty() => Vec::new(),
        ([value], _, Some(Json)) => return lines([ascii_json(value).into()], None, encoding),
        (many, _, Some(Json)) => return lines([ascii_json(&many).into()], None, encoding),
        // As Istio writes it: a text is not a list unless the configuration says so.
        ([value @ (Value::String(_) | Value::Object(_))], Shape::Value | Shape::Words(_), None) => {
            return lines([scalar_or_json(value)], None, encoding);
        }
        (_, Shape::Words(words), Some(Csv | Space)) => {
            words.iter().map(|word| Cow::Borrowed(*word)).collect()
        }
        ([Value::Array(items)], ..) => elements(items.iter()),
        (many, ..) => elements(many.iter().copied()),
    };
    match format {
        Some(Csv) | None => list(&texts, ',', encoding),
        Some(Space) => list(&texts, ' ', encoding),
        // RFC 9110 section 5.3: a reader may join lines of one name by commas.
        Some(Json | Repeat) => lines(texts, Some(','), encoding),
    }
}

/// The elements of a list. RFC 9110 section 5.6.1: a reader skips those that are empty.
fn elements<'v>(items: impl Iterator<Item = &'v Value>) -> Vec<Cow<'v, str>> {
    let texts = items.filter(|item| !item.is_null()).map(scalar_or_json);
    texts.filter(|text| !text.is_empty()).collect()
}

/// A line for each text that is not empty.
fn lines<'t>(
    texts: impl IntoIterator<Item = Cow<'t, str>>,
    separator: Option<char>,
    encoding: TextEncoding,
) -> Written {
    let mut lines = Vec::new();
    for text in texts.into_iter().filter(|text| !text.is_empty()) {
        let mut line = String::with_capacity(text.len());
        if !write(&mut line, &text, encoding, separator) {
            return Written::Withheld;
        }
        lines.push(line);
    }
    Written::Lines(lines)
}

/// One line with all texts.
fn list(texts: &[Cow<'_, str>], separator: char, encoding: TextEncoding) -> Written {
    // base64url hides the separators, so it is applied to the list, not to its items.
    let inner = match encoding {
        TextEncoding::Base64Url => TextEncoding::Percent,
        TextEncoding::Percent | TextEncoding::Raw => encoding,
    };
    let mut joined = String::new();
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            joined.push(separator);
        }
        if !write(&mut joined, text, inner, Some(separator)) {
            return Written::Withheld;
        }
    }
    match encoding {
        TextEncoding::Base64Url => lines([joined.into()], None, encoding),
        TextEncoding::Percent | TextEncoding::Raw if joined.is_empty() => {
            Written::Lines(Vec::new())
        }
        TextEncoding::Percent | TextEncoding::Raw => Written::Lines(vec![joined]),
    }
}

fn scalar_or_json(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Number(number) => Cow::Borrowed(number.as_str()),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        Value::Null => Cow::Borrowed("null"),
        Value::Array(_) | Value::Object(_) => ascii_json(value).into(),
    }
}

/// Writes a text so that a header can hold it, as an element of a list if there is a separator. `false` if
/// `raw` cannot express it.
fn write(
    written: &mut String,
    text: &str,
    encoding: TextEncoding,
    separator: Option<char>,
) -> bool {
    // Percent codes distinguish separators inside an item from those of the list, in `raw` too.
    let coded = |c: char| separator.is_some_and(|separator| c == separator || c == '%');
    let escaped = |c: char| match encoding {
        TextEncoding::Percent => !matches!(c, ' '..='~') || c == '%' || coded(c),
        // The C1 controls too: terminals interpret them.
        TextEncoding::Base64Url | TextEncoding::Raw => c.is_control() || coded(c),
    };
    match encoding {
        TextEncoding::Base64Url => {
            URL_SAFE_NO_PAD.encode_string(text, written);
            return true;
        }
        TextEncoding::Raw if trim(text) != text => return false,
        TextEncoding::Raw | TextEncoding::Percent => {}
    }
    // Most texts need no change.
    if text.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !escaped(char::from(byte))) {
        written.push_str(text);
        return true;
    }
    // RFC 9110 section 5.5: a reader strips white space at both ends of a value, and section 5.6.1: of each
    // element of a list. `admin ` must not become `admin`.
    let kept = trim(text).len();
    let begin = text.len().saturating_sub(text.trim_start_matches(is_stripped).len());
    let inside = begin..begin.saturating_add(kept);
    for (at, c) in text.char_indices() {
        if escaped(c) || !inside.contains(&at) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                push_encoded(written, byte);
            }
        } else {
            written.push(c);
        }
    }
    true
}

fn trim(text: &str) -> &str {
    text.trim_matches(is_stripped)
}

/// Characters that readers strip from a value's ends: RFC 9110 section 5.6.3 (SP, HTAB), and what
/// programming languages treat as white space beyond ASCII; JavaScript's `trim` strips the byte order mark
/// too.
fn is_stripped(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{feff}') || c.is_whitespace() && !c.is_control()
}

/// Compact JSON in printable ASCII.
fn ascii_json(value: &impl Serialize) -> String {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Ascii);
    // Writing JSON values into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    String::from_utf8(text).unwrap_or_default()
}

/// serde_json escapes what JSON requires; this one escapes DEL and everything above it too.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        // Most are entirely printable.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    writer.write_all(&unicode_escape(*unit))?;
                }
            }
        }
        Ok(())
    }

    fn write_number_str<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        value: &str,
    ) -> io::Result<()> {
        CompactFormatter.write_number_str(writer, value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(json: &str) -> Value {
        crate::codec::json::parse(json.as_bytes(), 16).unwrap()
    }

    fn written(
        json: &str,
        shape: &Shape<'_>,
        format: Option<ClaimFormat>,
        encoding: TextEncoding,
    ) -> Written {
        claim(&[&value(json)], shape, format, encoding)
    }

    fn lines_of(lines: &[&str]) -> Written {
        Written::Lines(lines.iter().map(|line| (*line).to_owned()).collect())
    }

    #[test]
    fn claims_are_written_for_headers() {
        use ClaimFormat::{Csv, Json, Repeat, Space};
        use TextEncoding::{Base64Url, Percent, Raw};
        for (json, format, encoding, expected) in [
            (r#""plain, text""#, None, Percent, vec!["plain, text"]),
            (r#""CN=a, O=b""#, None, Percent, vec!["CN=a, O=b"]),
            (r#""plain, text""#, None, Raw, vec!["plain, text"]),
            (r#""plain, text""#, Some(Csv), Percent, vec!["plain%2C text"]),
            (r#""plain, text""#, Some(Csv), Raw, vec!["plain%2C text"]),
            (r#""plain%2C text""#, Some(Csv), Raw, vec!["plain%252C text"]),
            (r#""plain, text""#, Some(Space), Percent, vec!["plain,%20text"]),
            (r#""plain, text""#, Some(Space), Raw, vec!["plain,%20text"]),
            (r#""plain, text""#, Some(Repeat), Percent, vec!["plain%2C text"]),
            (r#""plain, text""#, Some(Csv), Base64Url, vec!["cGxhaW4lMkMgdGV4dA"]),
            (r#""plain, text""#, None, Base64Url, vec!["cGxhaW4sIHRleHQ"]),
            (r#""100%""#, None, Percent, vec!["100%25"]),
            (r#""100%""#, None, Raw, vec!["100%"]),
            (r#""\u017b\r\n""#, None, Percent, vec!["%C5%BB%0D%0A"]),
            (r#""\u017b\r\n""#, None, Raw, vec!["\u{17b}%0D%0A"]),
            (r#""\u017b""#, None, Base64Url, vec!["xbs"]),
            ("9007199254740993", None, Percent, vec!["9007199254740993"]),
            ("9007199254740993", Some(Csv), Percent, vec!["9007199254740993"]),
            ("1.50", None, Percent, vec!["1.50"]),
            ("true", None, Percent, vec!["true"]),
            ("null", None, Percent, vec![]),
            ("null", Some(Csv), Percent, vec![]),
            (r#""""#, None, Percent, vec![]),
            (r#""""#, Some(Csv), Percent, vec![]),
            (r#""""#, None, Base64Url, vec![]),
            ("[]", None, Percent, vec![]),
            ("[]", Some(Csv), Base64Url, vec![]),
            (r#"["a,b","c",1,null]"#, None, Percent, vec!["a%2Cb,c,1"]),
            (r#"["a,b","c",1,null]"#, None, Raw, vec!["a%2Cb,c,1"]),
            (r#"["a,b","c",1,null]"#, Some(Csv), Percent, vec!["a%2Cb,c,1"]),
            (r#"["a","","b",""]"#, None, Percent, vec!["a,b"]),
            (r#"["",""]"#, Some(Csv), Percent, vec![]),
            (r#"["a b","c"]"#, Some(Space), Percent, vec!["a%20b c"]),
            (r#"["","a",""]"#, Some(Space), Percent, vec!["a"]),
            (r#"["a","b"]"#, Some(Repeat), Percent, vec!["a", "b"]),
            (r#"["a,b","","c"]"#, Some(Repeat), Percent, vec!["a%2Cb", "c"]),
            (r#"["a,b","c"]"#, Some(Repeat), Raw, vec!["a%2Cb", "c"]),
            (r#"["a","b"]"#, Some(Json), Percent, vec![r#"["a","b"]"#]),
            (r#"{"b":"\u00e9","a":1}"#, None, Percent, vec![r#"{"a":1,"b":"\u00e9"}"#]),
            (r#"{"a":"b,admin,c"}"#, Some(Csv), Percent, vec![r#"{"a":"b%2Cadmin%2Cc"}"#]),
            (
                r#"[{"a":"b,admin,c"},["x","y"]]"#,
                None,
                Percent,
                vec![r#"{"a":"b%2Cadmin%2Cc"},["x"%2C"y"]"#],
            ),
            (r#"["a","b"]"#, None, Base64Url, vec!["YSxi"]),
            (r#""\u007f""#, Some(Json), Percent, vec![r#""\u007f""#]),
            (r#""true""#, Some(Json), Percent, vec![r#""true""#]),
            (r#""""#, Some(Json), Percent, vec![]),
            ("[]", Some(Json), Percent, vec![]),
            (r#"["a",1]"#, Some(Json), Raw, vec![r#"["a",1]"#]),
            (r#"" a ""#, Some(Json), Raw, vec![r#"" a ""#]),
            (r#""\u009b\u00e9""#, None, Raw, vec!["%C2%9B\u{e9}"]),
        ] {
            let found = written(json, &Shape::Value, format, encoding);
            assert_eq!(found, lines_of(&expected), "{json} {format:?} {encoding:?}");
        }
    }

    #[test]
    fn a_claim_that_is_absent_gives_no_line() {
        use ClaimFormat::{Csv, Json, Repeat, Space};
        for format in [None, Some(Csv), Some(Json), Some(Repeat), Some(Space)] {
            for shape in [Shape::Value, Shape::Elements] {
                let found = claim(&[], &shape, format, TextEncoding::Percent);
                assert_eq!(found, lines_of(&[]), "{format:?} {shape:?}");
            }
        }
    }

    #[test]
    fn white_space_at_the_ends_is_never_left_to_a_reader() {
        use ClaimFormat::{Csv, Repeat, Space};
        use TextEncoding::{Base64Url, Percent, Raw};
        for (json, format, percent) in [
            (r#""admin ""#, None, "admin%20"),
            (r#"" admin""#, None, "%20admin"),
            (r#""\tadmin\t""#, None, "%09admin%09"),
            (r#""  a  b  ""#, None, "%20%20a  b%20%20"),
            (r#"" ""#, None, "%20"),
            (r#""admin\u00a0""#, None, "admin%C2%A0"),
            (r#""\u3000admin""#, None, "%E3%80%80admin"),
            (r#""\ufeffadmin""#, None, "%EF%BB%BFadmin"),
            (r#""admin ""#, Some(Csv), "admin%20"),
            (r#""admin ""#, Some(Space), "admin%20"),
            (r#"["a","admin ","b"]"#, None, "a,admin%20,b"),
            (r#"["a"," admin"]"#, Some(Csv), "a,%20admin"),
            (r#"["a"," "]"#, Some(Csv), "a,%20"),
            (r#"["a"," "]"#, Some(Space), "a %20"),
            (r#"[" admin"]"#, Some(Repeat), "%20admin"),
        ] {
            let found = written(json, &Shape::Value, format, Percent);
            assert_eq!(found, lines_of(&[percent]), "{json} {format:?}");
            let found = written(json, &Shape::Value, format, Raw);
            assert_eq!(found, Written::Withheld, "{json} {format:?} raw");
        }
        assert_eq!(written(r#""admin ""#, &Shape::Value, None, Base64Url), lines_of(&["YWRtaW4g"]));
        assert_eq!(written(r#""a  b""#, &Shape::Value, None, Raw), lines_of(&["a  b"]));
    }

    #[test]
    fn lists_of_words_and_elements_are_lists_at_any_length() {
        use ClaimFormat::{Csv, Json, Repeat, Space};
        use TextEncoding::Percent;
        let words = Shape::Words(vec!["read", "wri,te"]);
        for (json, shape, format, expected) in [
            (r#"" read wri,te""#, &words, None, vec!["%20read wri,te"]),
            (r#""read wri,te""#, &words, Some(Csv), vec!["read,wri%2Cte"]),
            (r#""read wri,te""#, &words, Some(Space), vec!["read wri,te"]),
            (r#""read wri,te""#, &words, Some(Json), vec![r#""read wri,te""#]),
            (r#""read wri,te""#, &words, Some(Repeat), vec!["read wri%2Cte"]),
            (r#""a,b""#, &Shape::Elements, None, vec!["a%2Cb"]),
            (r#""a,b""#, &Shape::Elements, Some(Repeat), vec!["a%2Cb"]),
            (r#"{"a":"b,c"}"#, &Shape::Elements, None, vec![r#"{"a":"b%2Cc"}"#]),
        ] {
            let found = written(json, shape, format, Percent);
            assert_eq!(found, lines_of(&expected), "{json} {shape:?} {format:?}");
        }
    }

    proptest! {
        /// A reader that splits, strips and decodes gets the signed elements, and no others.
        #[test]
        fn a_list_is_read_as_it_was_signed(
            items in proptest::collection::vec("[ ,%\tab\u{a0}\u{e9}\u{0}\u{85}]{0,6}", 0..5),
            csv in any::<bool>(),
            raw in any::<bool>(),
        ) {
            let (format, separator) = if csv { (ClaimFormat::Csv, ',') } else { (ClaimFormat::Space, ' ') };
            let encoding = if raw { TextEncoding::Raw } else { TextEncoding::Percent };
            let array = Value::from(items.clone());
            let Written::Lines(lines) = claim(&[&array], &Shape::Value, Some(format), encoding) else {
                prop_assert!(raw && items.iter().any(|item| trim(item) != item));
                return Ok(());
            };
            let split = lines.iter().flat_map(|line| line.trim().split(separator)).map(str::trim);
            let read: Vec<String> = split.map(decoded).collect();
            let signed: Vec<String> = items.into_iter().filter(|item| !item.is_empty()).collect();
            prop_assert_eq!(read, signed);
        }
    }

    fn decoded(text: &str) -> String {
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while let [first, tail @ ..] = rest {
            (bytes, rest) = match (first, tail) {
                (b'%', [high, low, tail @ ..]) => {
                    let code = str::from_utf8(&[*high, *low]).unwrap().to_owned();
                    bytes.push(u8::from_str_radix(&code, 16).unwrap());
                    (bytes, tail)
                }
                _ => {
                    bytes.push(*first);
                    (bytes, tail)
                }
            };
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_payload_is_written_four_ways() {
        let claims = value(r#"{"n":"\u00e9?>","i":9007199254740993}"#);
        let signed = URL_SAFE_NO_PAD.encode("{\"n\":\"\u{e9}?>\",\"i\":9007199254740993}");
        let text = |chosen, encoding| {
            let claims = claims.as_object().unwrap();
            payload(&signed, claims, chosen, encoding)
        };
        assert_eq!(text(false, PayloadEncoding::Base64Url), signed);
        let json = r#"{"i":9007199254740993,"n":"\u00e9?>"}"#;
        assert_eq!(text(false, PayloadEncoding::Json), json);
        assert_eq!(text(true, PayloadEncoding::Base64Url), URL_SAFE_NO_PAD.encode(json));
        let padded = text(false, PayloadEncoding::Base64UrlPadded);
        assert!(padded.len() % 4 == 0 && padded.trim_end_matches('=') == signed);
        let standard = text(false, PayloadEncoding::Base64);
        assert_eq!(STANDARD.decode(standard).unwrap(), URL_SAFE_NO_PAD.decode(&signed).unwrap());
    }
}
