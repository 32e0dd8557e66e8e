//! Protobuf's JSON form, as Istio reads it (protobuf-go encoding/protojson), without the forms that
//! the schemas of the custom resources refuse: snake_case names and enum values by number.
//!
//! A null field counts as absent; a null item of a list is an error.
//!
//! By hand: a library reads what protobuf takes, stops at the first problem, and does not report its place.

use usher_core::codec::json::Value;
use usher_core::codec::problems::{Node, Object, Problems};

/// The items of a list that are objects; null and others are recorded as errors.
pub(super) fn objects<'v>(list: &Node<'v>, problems: &Problems) -> Vec<Object<'v>> {
    let items = list.list(problems).unwrap_or_default();
    items.iter().filter_map(|item| item.object(problems)).collect()
}

/// The items of a list that are strings, possibly empty; null and others are recorded as errors.
pub(super) fn texts<'v>(list: &Node<'v>, problems: &Problems) -> Vec<(String, &'v str)> {
    let items = list.list(problems).unwrap_or_default();
    items.into_iter().filter_map(|item| Some((item.at.clone(), item.text(problems)?))).collect()
}

/// Records a list that is longer than the resource's schema allows.
pub(super) fn at_most(list: &Node<'_>, most: usize, problems: &Problems) {
    if let Value::Array(items) = list.value
        && items.len() > most
    {
        problems.error(&list.at, format!("expected at most {most} items, found {}", items.len()));
    }
}

/// Records a text of more than `most` characters.
pub(super) fn no_longer_than(text: &Node<'_>, most: usize, problems: &Problems) {
    if let Value::String(found) = text.value {
        // Istio counts bytes, the schema characters: the stricter of the two.
        if found.len() > most {
            let length = found.len();
            problems.error(&text.at, format!("expected at most {most} bytes, found {length}"));
        }
    }
}

/// A word of an enum.
pub(super) fn word(
    node: &Node<'_>,
    words: &[&'static str],
    problems: &Problems,
) -> Option<&'static str> {
    let words: Vec<(&str, &'static str)> = words.iter().map(|word| (*word, *word)).collect();
    node.one_of(&words, problems)
}

/// A 32-bit integer: a whole number. The schema refuses a string, which protobuf would accept.
pub(super) fn integer(node: &Node<'_>, least: i64, most: i64, problems: &Problems) -> Option<i64> {
    let number = match node.value {
        Value::Number(number) => number.as_str().parse::<f64>().ok(),
        _ => None,
    };
    let whole = number.filter(|n| n.fract() == 0.0).and_then(|n| format!("{n:.0}").parse().ok());
    match whole.filter(|n| (least..=most).contains(n)) {
        Some(whole) => Some(whole),
        None => node.expected(&format!("a whole number from {least} to {most}"), problems),
    }
}

/// `google.protobuf.Duration`: seconds with at most nine decimals and an `s`; in nanoseconds.
/// Source: protobuf-go encoding/protojson/well_known_types.go (parseDuration).
pub(super) fn duration(node: &Node<'_>, problems: &Problems) -> Option<i128> {
    let parsed = match node.value {
        Value::String(text) => nanoseconds(text),
        _ => None,
    };
    parsed.or_else(|| node.expected("a duration in seconds such as `5s` or `0.25s`", problems))
}

fn nanoseconds(text: &str) -> Option<i128> {
    // protobuf duration.proto: "Must be from -315,576,000,000 to +315,576,000,000 inclusive."
    const MAX_SECONDS: i128 = 315_576_000_000;
    let number = text.strip_suffix('s')?;
    let (sign, number) = match number.strip_prefix('-') {
        Some(number) => (-1, number),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let fraction_text = fraction.unwrap_or_default();
    if !digits(whole) || !digits(fraction_text) || fraction_text.len() > 9 {
        return None;
    }
    let whole_absent = whole.is_empty() && fraction.is_none();
    if whole_absent || (whole.len() > 1 && whole.starts_with('0')) || whole.len() > 12 {
        return None;
    }
    let seconds: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let nanos: i128 = format!("{fraction_text:0<9}").parse().ok()?;
    (seconds <= MAX_SECONDS).then(|| sign * (seconds * 1_000_000_000 + nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_protobufs() {
        for (text, nanos) in [
            ("5s", Some(5_000_000_000)),
            ("0.25s", Some(250_000_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("-1s", Some(-1_000_000_000)),
            ("+1s", Some(1_000_000_000)),
            ("0.0000000001s", None),
            ("01s", None),
            ("", None),
            ("s", None),
            ("5", None),
            ("100ms", None),
            ("1h30m", None),
            ("1m", None),
            ("5 s", None),
            ("315576000001s", None),
        ] {
            assert_eq!(nanoseconds(text), nanos, "{text}");
        }
    }
}
