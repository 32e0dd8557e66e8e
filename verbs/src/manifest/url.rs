//! URLs as Go's net/url reads them, with the same errors: scheme, authority, escapes.

/// The parts of a URL that are checked here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    /// In lower case; empty if there is none.
    pub(super) scheme: String,
}

/// Go's `url.Parse`.
///
/// # Errors
/// What was found instead of a URL, for `found ..`.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    check_controls(text)?;
    let text = match text.split_once('#') {
        Some((text, fragment)) => {
            check_escapes(fragment)?;
            text
        }
        None => text,
    };
    parse_rest(text, Via::Reference)
}

/// Istio's check of a plugin's `url` (validation.go, strictParseURL): a request URI, else one after
/// `http://`.
pub(super) fn parse_module(text: &str) -> Result<Url, String> {
    check_controls(text)?;
    let parsed = parse_rest(text, Via::Request);
    match parsed {
        Ok(url) => parse(text).map(|_| url),
        Err(found) => {
            let assumed = format!("http://{text}");
            let url = parse_rest(&assumed, Via::Request).map_err(|_| found)?;
            parse(&assumed).map(|_| url)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Via {
    Reference,
    Request,
}

fn check_controls(text: &str) -> Result<(), String> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) {
        return Err("a control character".to_owned());
    }
    Ok(())
}

fn parse_rest(text: &str, via: Via) -> Result<Url, String> {
    if text.is_empty() && via == Via::Request {
        return Err("an empty URL".to_owned());
    }
    if text == "*" {
        return Ok(Url { scheme: String::new() });
    }
    let (scheme, rest) = split_scheme(text)?;
    let url = Url { scheme: scheme.to_ascii_lowercase() };
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            return Ok(url);
        }
        if via == Via::Request {
            return Err("no absolute URL".to_owned());
        }
        // Avoid confusion with malformed schemes, like cache_object:foo/bar (Go's own words).
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("a first path segment with a colon".to_owned());
        }
    }
    let authority = rest.strip_prefix("//").filter(|after| {
        let path_only = url.scheme.is_empty() && (via == Via::Request || after.starts_with('/'));
        !path_only
    });
    let path = match authority {
        Some(after) => {
            let end = after.find('/').unwrap_or(after.len());
            let (authority, path) = after.split_at_checked(end).unwrap_or((after, ""));
            check_authority(authority)?;
            path
        }
        None => rest,
    };
    check_escapes(path)?;
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("no scheme before the colon".to_owned()),
            ':' => return Ok(text.split_once(':').unwrap_or(("", text))),
            _ => break,
        }
    }
    Ok(("", text))
}

fn check_authority(authority: &str) -> Result<(), String> {
    let host = match authority.rsplit_once('@') {
        Some((user, host)) => {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
            if !user.bytes().all(allowed) {
                return Err("bad user information before the `@`".to_owned());
            }
            check_escapes(user)?;
            host
        }
        None => authority,
    };
    if let Some(bracketed) = host.strip_prefix('[') {
        let Some((address, port)) = bracketed.rsplit_once(']') else {
            return Err("a `[` without its `]`".to_owned());
        };
        check_port(port)?;
        // A zone (`%25eth0`) may contain escapes of any byte, the address none.
        let (address, zone) = address.split_once("%25").unwrap_or((address, ""));
        check_escapes(zone)?;
        return check_host(address);
    }
    if let Some((_, port)) = host.rsplit_once(':') {
        check_port(&format!(":{port}"))?;
    }
    check_host(host)
}

/// A port is empty or digits; its size is not checked.
fn check_port(port: &str) -> Result<(), String> {
    let digits = match port {
        "" => "",
        port => port.strip_prefix(':').ok_or_else(|| format!("the port `{port}`"))?,
    };
    // Go's strconv.Atoi: 64 bits.
    let too_long = digits.len() > 18 && digits.parse::<i64>().is_err();
    if digits.bytes().all(|b| b.is_ascii_digit()) && !too_long {
        Ok(())
    } else {
        Err(format!("the port `{digits}`"))
    }
}

/// Escapes in a host are only allowed for bytes beyond ASCII (RFC 6874, Go's unescape).
fn check_host(host: &str) -> Result<(), String> {
    for c in host.chars() {
        let allowed =
            c.is_ascii_alphanumeric() || !c.is_ascii() || "-_.~!$&'()*+,;=:[]<>\"%".contains(c);
        if !allowed {
            return Err(format!("the character `{c}` in the host"));
        }
    }
    check_escapes(host)?;
    let ascii = |escape: &str| escape.bytes().next().is_some_and(|b| (b'0'..=b'7').contains(&b));
    if host.split('%').skip(1).any(ascii) {
        return Err("an escaped ASCII character in the host".to_owned());
    }
    Ok(())
}

fn check_escapes(text: &str) -> Result<(), String> {
    for after in text.split('%').skip(1) {
        let digits: Vec<u8> = after.bytes().take(2).collect();
        if digits.len() < 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err("a `%` that begins no escape".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_gos() {
        // Go's net/url, by its own tests (url_test.go) and by trial.
        for (text, scheme) in [
            ("https://idp.example.com/keys", Some("https")),
            ("HTTPS://a/", Some("https")),
            ("http://a:99999/", Some("http")),
            ("http://a:/", Some("http")),
            ("http://[::1]:8080/x", Some("http")),
            ("http://user:pw@a/", Some("http")),
            ("http://a/%41", Some("http")),
            ("mailto:a@b", Some("mailto")),
            ("file:///etc/x", Some("file")),
            ("a/b", Some("")),
            ("", Some("")),
            ("https://a b/", None),
            ("http://a:8x/", None),
            ("http://a/%zz", None),
            ("http://%41/", None),
            ("http://[::1/", None),
            ("http://a\n/", None),
            ("://", None),
            ("1a:b", None),
        ] {
            let parsed = parse(text).ok().map(|url| url.scheme);
            assert_eq!(parsed.as_deref(), scheme, "{text}");
        }
        for (text, scheme) in [
            ("oci://r/x:1", Some("oci")),
            ("usher:1", Some("usher")),
            ("registry.example/usher:1", Some("http")),
            ("://", Some("http")),
            ("/opt/x.wasm", Some("")),
            ("oci://a b/c", Some("http")),
            ("oci://r/%zz", None),
        ] {
            let parsed = parse_module(text).ok().map(|url| url.scheme);
            assert_eq!(parsed.as_deref(), scheme, "{text}");
        }
    }
}
