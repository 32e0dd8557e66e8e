//! The request headers that Envoy's Lua filter sets, as far as its code has their names as
//! literals.

use usher_core::codec::json::Value;

use super::field;

/// The names as written; `None` if the code is elsewhere, or computes a name.
pub(super) fn sets(config: &Value) -> Option<Vec<String>> {
    let inline = |source: &Value| Some(field(source, "inline_string")?.as_str()?.to_owned());
    let mut codes = Vec::new();
    if let Some(source) = field(config, "default_source_code") {
        codes.push(inline(source)?);
    }
    if let Some(code) = field(config, "inline_code").and_then(Value::as_str) {
        codes.push(code.to_owned());
    }
    // The code for routes.
    for (_, source) in
        field(config, "source_codes").and_then(Value::as_object).into_iter().flatten()
    {
        codes.push(inline(source)?);
    }
    let mut names = Vec::new();
    for code in codes {
        names.extend(of_code(&code)?);
    }
    Some(names)
}

/// The names in `..:add("name", ..)` and `..:replace("name", ..)`.
fn of_code(code: &str) -> Option<Vec<String>> {
    let lines = code.lines().map(|line| line.split_once("--").map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut names = Vec::new();
    for part in code.split("function envoy_on_").filter(|part| !part.starts_with("response")) {
        for call in [":add(", ":replace("] {
            for rest in part.split(call).skip(1) {
                let mut quoted = rest.trim_start().chars();
                let quote = quoted.next().filter(|quote| matches!(quote, '"' | '\''))?;
                let (name, behind) = quoted.as_str().split_once(quote)?;
                // `"x-" .. name`
                behind.trim_start().strip_prefix(',')?;
                names.push(name.to_owned());
            }
        }
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_from_the_code() {
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        for (code, expected) in [
            ("", names(&[])),
            ("function envoy_on_request(h) h:headers():remove('x') end", names(&[])),
            ("function envoy_on_request(h) h:headers():add('x-user', 'a') end", names(&["x-user"])),
            ("h:headers():replace( \"X-User\" , v)", names(&["X-User"])),
            ("-- h:headers():add('x-user', 'a')", names(&[])),
            (
                "function envoy_on_response(h) h:headers():add('x-user', 'a') end\n\
                 function envoy_on_request(h) h:headers():add('y', 'a') end",
                names(&["y"]),
            ),
            ("h:headers():add(name, 'a')", None),
            ("h:headers():add('x-' .. name, 'a')", None),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
        }
    }
}
