//! Envoy's matchers of texts, headers and addresses -> Istio's forms of a value.

use serde_json::json;
use usher_core::codec::json::Value;

/// A text matcher (`envoy.type.matcher.v3.StringMatcher`): `a`, `a*`, `*a`, `*`.
pub(super) fn text(matcher: &Value) -> Result<String, String> {
    if matcher.get("ignore_case") == Some(&Value::Bool(true)) {
        return Err("`ignore_case`: values are compared with their case".to_owned());
    }
    only(matcher, &["exact", "ignore_case", "prefix", "safe_regex", "suffix"])?;
    let of = |form: &str| matcher.get(form).and_then(Value::as_str);
    let (exact, prefix, suffix) = (of("exact"), of("prefix"), of("suffix"));
    let regex = matcher.get("safe_regex").and_then(|regex| regex.get("regex"));
    match (exact, prefix, suffix, regex.and_then(Value::as_str)) {
        (Some(text), ..) if text.starts_with('*') || text.ends_with('*') => {
            Err(format!("`{text}`: a `*` at an end is a wildcard here"))
        }
        (Some(text), ..) => Ok(text.to_owned()),
        (_, Some(text), ..) => Ok(format!("{text}*")),
        (_, _, Some(text), _) => Ok(format!("*{text}")),
        (_, _, _, Some(".+" | ".*")) => Ok("*".to_owned()),
        (_, _, _, Some(regex)) => Err(format!("the regex `{regex}`: there are none in rules")),
        _ => Err("a matcher of an unknown form".to_owned()),
    }
}

/// Refuses a field that is not known here: it may change what matches.
fn only(matcher: &Value, known: &[&str]) -> Result<(), String> {
    let mut names = matcher.as_object().into_iter().flat_map(|members| members.keys());
    match names.find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("`{name}`: a field of a matcher that is not known here")),
        None => Ok(()),
    }
}

/// The header and value that a header matcher requires.
pub(super) struct Header {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) inverted: bool,
}

/// `envoy.config.route.v3.HeaderMatcher`.
pub(super) fn header(matcher: &Value) -> Result<Header, String> {
    only(
        matcher,
        &[
            "exact_match",
            "invert_match",
            "name",
            "prefix_match",
            "present_match",
            "safe_regex_match",
            "string_match",
            "suffix_match",
        ],
    )?;
    let name = matcher.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let inverted = matcher.get("invert_match") == Some(&Value::Bool(true));
    let of = |form: &str| matcher.get(form);
    let old = |form: &str| of(form).and_then(Value::as_str);
    let value = if let Some(matcher) = of("string_match") {
        text(matcher)?
    } else if let Some(present) = of("present_match") {
        let inverted = inverted != (*present == Value::Bool(false));
        return Ok(Header { name, value: "*".to_owned(), inverted });
    } else if let Some(exact) = old("exact_match") {
        text(&json!({ "exact": exact }))?
    } else if let Some(prefix) = old("prefix_match") {
        format!("{prefix}*")
    } else if let Some(suffix) = old("suffix_match") {
        format!("*{suffix}")
    } else {
        return Err(format!("the header `{name}` is matched in a form that rules do not have"));
    };
    Ok(Header { name, value, inverted })
}

/// `envoy.config.core.v3.CidrRange`.
pub(super) fn addresses(range: &Value) -> Result<String, String> {
    let address = range.get("address_prefix").and_then(Value::as_str);
    let address = address.ok_or("an address range without an address")?;
    let length = range.get("prefix_len").map(ToString::to_string);
    Ok(match length {
        Some(length) => format!("{address}/{}", length.trim_matches('"')),
        None => format!("{address}/0"),
    })
}
