//! Where something is fetched from: a URL, as far as a request through a cluster needs it.

use std::fmt;
use std::net::Ipv6Addr;

/// An absolute `http` or `https` URL without user, fragment or white space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// `http` or `https`. The cluster decides which protocol is used; this is the request's
    /// `:scheme`.
    pub scheme: &'static str,
    /// Host and port as written, the `:authority` of the request.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl Location {
    /// Parses a URL (RFC 3986).
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let secure = url.strip_prefix("https://").map(|rest| ("https", rest));
        let plain = || url.strip_prefix("http://").map(|rest| ("http", rest));
        let (scheme, rest) =
            secure.or_else(plain).ok_or("a URL that begins with `https://` or `http://`")?;
        if !url.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
            return Err("a URL in printable ASCII");
        }
        if rest.contains('#') {
            return Err("a URL without `#`");
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or("a URL")?;
        if authority.contains('@') {
            return Err("a URL without user information");
        }
        if !url.split('%').skip(1).all(begins_with_hex) {
            return Err("a URL in which two hexadecimal digits follow each `%`");
        }
        // RFC 3986 does not allow it, and many readers take it for `/`.
        if url.contains('\\') {
            return Err("a URL without `\\`");
        }
        check_authority(authority)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Self { scheme, authority: authority.to_ascii_lowercase(), path })
    }

    /// The host, without a port.
    pub fn host(&self) -> &str {
        match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.authority,
        }
    }
}

fn begins_with_hex(text: &str) -> bool {
    matches!(text.as_bytes(), [a, b, ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit())
}

/// A name, an IPv4 address or an IPv6 address in brackets, and perhaps a port (RFC 3986 section 3.2).
fn check_authority(authority: &str) -> Result<(), &'static str> {
    let bracketed = authority.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let port = if let Some((address, rest)) = bracketed {
        if address.parse::<Ipv6Addr>().is_err() {
            return Err("a URL with an IPv6 address in its brackets");
        }
        rest
    } else {
        let end = authority.find(':').unwrap_or(authority.len());
        let (host, rest) = authority.split_at_checked(end).ok_or("a URL")?;
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        if host.is_empty() || !host.bytes().all(unreserved) {
            return Err("a URL with a host");
        }
        rest
    };
    let number = port.strip_prefix(':');
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let good = |text: &str| digits(text) && text.parse::<u16>().is_ok_and(|number| number > 0);
    if port.is_empty() || number.is_some_and(good) {
        return Ok(());
    }
    Err("a URL with a port from 1 to 65535 after `:`")
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_absolute_and_plain() {
        for (url, expected) in [
            ("https://idp.example.com/keys", Ok(("idp.example.com", "/keys"))),
            ("http://idp.example.com:8080/a?b=c", Ok(("idp.example.com:8080", "/a?b=c"))),
            ("https://IDP.example.com", Ok(("idp.example.com", "/"))),
            ("https://idp.example.com?a", Ok(("idp.example.com", "/?a"))),
            ("https://[::1]:8443/k", Ok(("[::1]:8443", "/k"))),
            ("ftp://a/", Err("a URL that begins with `https://` or `http://`")),
            ("idp.example.com/keys", Err("a URL that begins with `https://` or `http://`")),
            ("https:///keys", Err("a URL with a host")),
            ("https://:80/keys", Err("a URL with a host")),
            ("https://my_idp.example.com./k", Ok(("my_idp.example.com.", "/k"))),
            ("https://a:65535/k%2f", Ok(("a:65535", "/k%2f"))),
            ("https://a:8a/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://a:99999/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://a:0/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://a:+1/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://a:/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://a:1:2/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://[::1]x/k", Err("a URL with a port from 1 to 65535 after `:`")),
            ("https://[a]/k", Err("a URL with an IPv6 address in its brackets")),
            ("https://[::1/k", Err("a URL with a host")),
            ("https://a]/k", Err("a URL with a host")),
            ("https://a|b/k", Err("a URL with a host")),
            ("https://idp\\evil/k", Err("a URL without `\\`")),
            ("https://a/k\\x", Err("a URL without `\\`")),
            ("https://a/%zz", Err("a URL in which two hexadecimal digits follow each `%`")),
            ("https://a/%2", Err("a URL in which two hexadecimal digits follow each `%`")),
            ("https://a/#b", Err("a URL without `#`")),
            ("https://user:secret@a/", Err("a URL without user information")),
            ("https://a/ b", Err("a URL in printable ASCII")),
            ("https://a/\r\nx: y", Err("a URL in printable ASCII")),
            ("https://\u{e9}/", Err("a URL in printable ASCII")),
        ] {
            let parsed = Location::parse(url);
            let parts = parsed.as_ref().map(|l| (l.authority.as_str(), l.path.as_str()));
            assert_eq!(parts.map_err(|problem| *problem), expected, "{url}");
        }
        assert_eq!(Location::parse("https://[::1]:8443/").unwrap().host(), "[::1]");
        assert_eq!(Location::parse("https://[::1]/").unwrap().host(), "[::1]");
        assert_eq!(Location::parse("https://a:1/").unwrap().host(), "a");
    }
}
