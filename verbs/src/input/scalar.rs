//! Plain YAML scalars -> their meaning for `kubectl` and istiod: YAML 1.1, as sigs.k8s.io/yaml reads it.

use std::borrow::Cow;

use usher_core::codec::json::{Number, Value};

/// A plain scalar, by the rules of kubernetes-sigs/yaml goyaml.v2/resolve.go.
///
/// # Errors
/// A number that JSON cannot express.
pub(super) fn plain(text: &str) -> Result<Value, String> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Ok(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Ok(Value::Bool(false));
        }
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        _ => {}
    }
    let first = text.bytes().next().unwrap_or_default();
    if !matches!(first, b'0'..=b'9' | b'+' | b'-' | b'.') {
        return Ok(Value::String(text.to_owned()));
    }
    let digits: Cow<'_, str> = if first != b'.' && text.contains('_') {
        text.replace('_', "").into()
    } else {
        text.into()
    };
    let double = integer(&digits).or_else(|| float(&digits));
    let infinite = matches!(
        text.trim_start_matches(['+', '-']),
        ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN"
    );
    match double {
        Some(double) => number(double).map(Value::Number).ok_or(()),
        None if infinite => Err(()),
        None => return Ok(Value::String(text.to_owned())),
    }
    .map_err(|()| format!("`{text}` is not a number that JSON can express"))
}

/// Go's `strconv.ParseInt(text, 0, 64)`, as a double.
fn integer(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let prefixes = [("0x", 16), ("0o", 8), ("0b", 2), ("0", 8)];
    let (digits, radix) = prefixes
        .iter()
        .find_map(|(prefix, radix)| {
            lower.strip_prefix(prefix).filter(|rest| !rest.is_empty()).map(|rest| (rest, *radix))
        })
        .unwrap_or((&lower, 10));
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = u64::from_str_radix(digits, radix).ok()?;
    // Through its decimal text: the nearest double, without a cast.
    let double: f64 = magnitude.to_string().parse().ok()?;
    Some(sign * double)
}

/// `^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`
fn float(text: &str) -> Option<f64> {
    let form = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
    // Rust's own grammar differs from it only in words (`inf`, `nan`) and in accepting a dot without
    // digits.
    if text.chars().all(form) && text.contains(|c: char| c.is_ascii_digit()) {
        text.parse().ok()
    } else {
        None
    }
}

/// A double as Go's JSON encoder writes it: plain digits from 1e-6 to 1e21, else with an exponent.
pub(super) fn number(double: f64) -> Option<Number> {
    if !double.is_finite() {
        return None;
    }
    let magnitude = double.abs();
    let text = if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        double.to_string()
    } else {
        let text = format!("{double:e}");
        if text.contains("e-") { text } else { text.replace('e', "e+") }
    };
    text.parse().ok()
}
