//! How claims are written into headers: no control character ever, numbers as they were signed.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use crate::json::{Map, Value};

/// `outputPayloadEncoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// RFC 4648 section 4, padded.
    Base64,
    /// RFC 4648 section 5, unpadded: the payload's own bytes, as in Istio.
    #[default]
    Base64Url,
    /// RFC 4648 section 5, padded.
    Base64UrlPadded,
    /// One line of JSON, non-ASCII as `\u` escapes.
    Json,
}

/// `outputClaimToHeaders.format`: how a list is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClaimFormat {
    /// Items joined by commas.
    #[default]
    Csv,
    /// JSON, for any value: a text in its quotes too, so that a reader can tell `true` from `"true"`.
    Json,
    /// A header line for each item.
    Repeat,
    /// Items joined by spaces.
    Space,
}

/// `outputClaimToHeaders.encoding`: how bytes are written that are no printable ASCII.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEncoding {
    /// The whole text as unpadded base64url.
    Base64Url,
    /// `%`, control and non-ASCII bytes as percent codes; in an item of a list its separator too.
    #[default]
    Percent,
    /// UTF-8 as it is; control bytes as percent codes all the same.
    Raw,
}

/// The value of a payload header. `signed` is the payload as it stands in the token, `claims` what is
/// to be sent of it, `chosen` whether that is less than all.
pub fn payload(
    signed: &str,
    claims: &Map<String, Value>,
    chosen: bool,
    encoding: PayloadEncoding,
) -> Vec<u8> {
    let json = || ascii_json(claims);
    let bytes = || {
        if chosen {
            json().into_bytes()
        } else {
            URL_SAFE_NO_PAD.decode(signed).unwrap_or_default()
        }
    };
    let text = match encoding {
        PayloadEncoding::Base64 => STANDARD.encode(bytes()),
        PayloadEncoding::Base64Url if chosen => URL_SAFE_NO_PAD.encode(bytes()),
        PayloadEncoding::Base64Url => signed.to_owned(),
        PayloadEncoding::Base64UrlPadded => URL_SAFE.encode(bytes()),
        PayloadEncoding::Json => json(),
    };
    text.into_bytes()
}

/// The header lines for a claim's values: one value usually, several after `[*]`, which count as a
/// list. Null, an empty text and an empty list give no line.
pub fn claim(values: &[&Value], format: ClaimFormat, encoding: TextEncoding) -> Vec<Vec<u8>> {
    let lines: Vec<String> = match (values, format) {
        ([Value::Null], _) => Vec::new(),
        ([Value::String(text)], ClaimFormat::Json) if text.is_empty() => Vec::new(),
        ([Value::Array(items)], ClaimFormat::Json) if items.is_empty() => Vec::new(),
        ([value], ClaimFormat::Json) => vec![write(&ascii_json(value), encoding, None)],
        ([Value::Array(items)], _) => list(items.iter(), format, encoding),
        ([value], _) => vec![write(&scalar_or_json(value), encoding, None)],
        (many, ClaimFormat::Json) => vec![write(&ascii_json(&many), encoding, None)],
        (many, _) => list(many.iter().copied(), format, encoding),
    };
    lines.into_iter().filter(|line| !line.is_empty()).map(String::into_bytes).collect()
}

fn list<'v>(
    items: impl Iterator<Item = &'v Value>,
    format: ClaimFormat,
    encoding: TextEncoding,
) -> Vec<String> {
    let texts = items.filter(|item| !item.is_null()).map(scalar_or_json);
    let separator = match format {
        ClaimFormat::Csv => ',',
        ClaimFormat::Space => ' ',
        ClaimFormat::Json | ClaimFormat::Repeat => {
            return texts.map(|text| write(&text, encoding, None)).collect();
        }
    };
    // base64url hides the separators, so it is put round the list, not into it.
    let joined = |encoding| {
        let items: Vec<String> = texts.map(|t| write(&t, encoding, Some(separator))).collect();
        items.join(separator.encode_utf8(&mut [0; 4]))
    };
    vec![match encoding {
        TextEncoding::Base64Url => {
            write(&joined(TextEncoding::Percent), TextEncoding::Base64Url, None)
        }
        TextEncoding::Percent | TextEncoding::Raw => joined(encoding),
    }]
}

fn scalar_or_json(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => ascii_json(value),
    }
}

/// Writes a text so that a header can hold it.
fn write(text: &str, encoding: TextEncoding, separator: Option<char>) -> String {
    let escaped = |c: char| match encoding {
        TextEncoding::Percent => !matches!(c, ' '..='~') || c == '%' || Some(c) == separator,
        // The C1 controls too: terminals obey them.
        TextEncoding::Base64Url | TextEncoding::Raw => c.is_control(),
    };
    if encoding == TextEncoding::Base64Url {
        return URL_SAFE_NO_PAD.encode(text);
    }
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        if escaped(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                written.push('%');
                written.extend([byte >> 4, byte & 0xf].map(hex_digit));
            }
        } else {
            written.push(c);
        }
    }
    written
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).unwrap_or('0').to_ascii_uppercase()
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
        for c in fragment.chars() {
            if matches!(c, ' '..='~') {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
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
    use super::*;

    fn value(json: &str) -> Value {
        crate::json::parse(json.as_bytes(), 16).unwrap()
    }

    fn lines(json: &str, format: ClaimFormat, encoding: TextEncoding) -> Vec<String> {
        let lines = claim(&[&value(json)], format, encoding);
        lines.into_iter().map(|line| String::from_utf8(line).unwrap()).collect()
    }

    #[test]
    fn claims_are_written_for_headers() {
        use ClaimFormat::{Csv, Json, Repeat, Space};
        use TextEncoding::{Base64Url, Percent, Raw};
        for (json, format, encoding, expected) in [
            (r#""plain, text""#, Csv, Percent, vec!["plain, text"]),
            (r#""100%""#, Csv, Percent, vec!["100%25"]),
            (r#""\u017b\r\n""#, Csv, Percent, vec!["%C5%BB%0D%0A"]),
            (r#""\u017b\r\n""#, Csv, Raw, vec!["\u{17b}%0D%0A"]),
            (r#""\u017b""#, Csv, Base64Url, vec!["xbs"]),
            ("9007199254740993", Csv, Percent, vec!["9007199254740993"]),
            ("1.50", Csv, Percent, vec!["1.50"]),
            ("true", Csv, Percent, vec!["true"]),
            ("null", Csv, Percent, vec![]),
            (r#""""#, Csv, Percent, vec![]),
            ("[]", Csv, Percent, vec![]),
            (r#"["a,b","c",1,null]"#, Csv, Percent, vec!["a%2Cb,c,1"]),
            (r#"["a b","c"]"#, Space, Percent, vec!["a%20b c"]),
            (r#"["a","b"]"#, Repeat, Percent, vec!["a", "b"]),
            (r#"["a","b"]"#, Json, Percent, vec![r#"["a","b"]"#]),
            (r#"{"b":"\u00e9","a":1}"#, Csv, Percent, vec![r#"{"a":1,"b":"\u00e9"}"#]),
            (r#"["a","b"]"#, Csv, Base64Url, vec!["YSxi"]),
            (r#""\u007f""#, Json, Percent, vec![r#""\u007f""#]),
            (r#""true""#, Json, Percent, vec![r#""true""#]),
            (r#""""#, Json, Percent, vec![]),
            ("[]", Json, Percent, vec![]),
            (r#"["a",1]"#, Json, Raw, vec![r#"["a",1]"#]),
            (r#""\u009b\u00e9""#, Csv, Raw, vec!["%C2%9B\u{e9}"]),
        ] {
            assert_eq!(lines(json, format, encoding), expected, "{json} {format:?} {encoding:?}");
        }
    }

    #[test]
    fn a_payload_is_written_four_ways() {
        let claims = value(r#"{"n":"\u00e9?>","i":9007199254740993}"#);
        let signed = URL_SAFE_NO_PAD.encode("{\"n\":\"\u{e9}?>\",\"i\":9007199254740993}");
        let text = |chosen, encoding| {
            let claims = claims.as_object().unwrap();
            String::from_utf8(payload(&signed, claims, chosen, encoding)).unwrap()
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
