//! Where a token may be in a request, which tokens a request has, and how one is removed.
//!
//! Envoy finds a prefix anywhere in a value, leaves cookies in place and rewrites a query when it removes a
//! token (source/extensions/filters/http/jwt_authn/extractor.cc; docs/semantics.md, "How a token is removed").
//! Here a prefix must begin the value, a token can be removed from every place, and the rest keeps its bytes
//! and its order. [`crate::compact`] parses the tokens.

use std::borrow::Cow;

use crate::codec::percent::percent_decode;
use crate::codec::query::{is, pair, split_once};
use crate::policy::Prefix;
use crate::request::Request;

mod anywhere;
mod locations;
mod take;

pub use locations::Locations;

/// A token in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'r> {
    /// Index of the place in the list that was searched.
    pub place: usize,
    /// The token's bytes, percent-decoded if it was in a query; for a misplaced one the whole line.
    pub token: Cow<'r, [u8]>,
    /// Whether it is where its place expects it.
    pub placement: Placement,
}

/// Whether a token is where its place expects it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The prefix is in the header line, but not at the beginning. Envoy would read what follows as a token,
    /// and remove it (docs/semantics.md, "The prefix of a header"): here it is neither used nor forwarded.
    Misplaced,
    /// As expected.
    Right,
}

/// Whether two tokens are the same. Tokens are long, and a request's one is compared several times: with
/// itself at no cost, with another one eight bytes at a time, which a compiler for wasm does not do by itself.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    if std::ptr::eq(a, b) {
        return true;
    }
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let number = |chunk: &[u8; 8]| u64::from_ne_bytes(*chunk);
    a.iter().map(number).eq(b.iter().map(number)) && a_rest == b_rest
}

impl Prefix {
    fn len(&self) -> usize {
        match self {
            Self::Exact(text) => text.len(),
            Self::Bearer | Self::BearerOpen => "bearer".len(),
        }
    }

    /// Whether the scheme is anywhere in the line; for [`Prefix::Exact`], only whether the line begins with
    /// it.
    fn is_in(&self, line: &[u8]) -> bool {
        let is_scheme = |rest: &[u8]| {
            let (scheme, rest) = rest.split_at_checked("bearer".len()).unwrap_or_default();
            let ends =
                *self == Self::BearerOpen || rest.first().is_some_and(u8::is_ascii_whitespace);
            ends && scheme.eq_ignore_ascii_case(b"bearer")
        };
        match self {
            Self::Exact(text) => line.starts_with(text.as_bytes()),
            Self::Bearer | Self::BearerOpen => {
                // Two letters at a time: a line may be full of the first one.
                let mut rest = line;
                while let [first, tail @ ..] = rest {
                    if matches!(first, b'b' | b'B')
                        && matches!(tail.first(), Some(b'e' | b'E'))
                        && is_scheme(rest)
                    {
                        return true;
                    }
                    rest = tail;
                }
                false
            }
        }
    }

    /// The rest of the line behind the prefix, without white space around it. `None` if the line has another
    /// prefix.
    fn strip<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let rest = match self {
            Self::Exact(text) => line.strip_prefix(text.as_bytes())?,
            Self::Bearer | Self::BearerOpen => {
                let (scheme, rest) = line.split_at_checked("bearer".len())?;
                // `Bearer` alone is not a token, as in Istio, whose prefix ends with a space.
                let ends =
                    *self == Self::BearerOpen || rest.first().is_some_and(u8::is_ascii_whitespace);
                if !scheme.eq_ignore_ascii_case(b"bearer") || !ends {
                    return None;
                }
                rest
            }
        };
        Some(once(rest.trim_ascii(), &|piece| self.strip(piece)))
    }
}

/// The token, where a proxy has joined several header lines that hold the same one: `T, Bearer T`. `strip` takes a prefix
/// away.
fn once<'l>(text: &'l [u8], strip: &dyn Fn(&'l [u8]) -> Option<&'l [u8]>) -> &'l [u8] {
    let mut pieces = text.split(is(b',')).map(<[u8]>::trim_ascii);
    let first = pieces.next().unwrap_or_default();
    if first.len() < text.len() && pieces.all(|piece| strip(piece).unwrap_or(piece) == first) {
        return first;
    }
    text
}

/// A query parameter: name and value, percent-decoded.
pub(crate) type Param<'r> = (Cow<'r, [u8]>, Cow<'r, [u8]>);

/// The query's parameters in their order, names and values percent-decoded.
pub(crate) fn params(request: &Request) -> Vec<Param<'_>> {
    let pairs = query(request).into_iter().flat_map(|query| query.split(is(b'&')));
    let decoded = pairs.map(|text| {
        let (name, value) = pair(text);
        (name, percent_decode(value))
    });
    decoded.collect()
}

/// The query of `:path`: from the first `?` (docs/semantics.md, "Query parameters").
fn query(request: &Request) -> Option<&[u8]> {
    split_once(request.path()?, b'?').map(|(_, query)| query)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TokenLocation;

    #[test]
    fn tokens_that_differ_anywhere_are_not_the_same() {
        for length in 0..40_u8 {
            let token: Vec<u8> = (0..length).collect();
            assert!(same(&token, &token) && same(&token, &token.clone()), "{length}");
            for at in 0..token.len() {
                let mut other = token.clone();
                other[at] ^= 1;
                assert!(!same(&token, &other), "{length}: byte {at}");
                assert!(!same(&token, &token[..at]), "{length}: cut at {at}");
            }
        }
    }

    pub(super) fn request(path: &str, headers: &[(&str, &str)]) -> Request {
        let mut all = vec![(b":path".to_vec(), path.as_bytes().to_vec())];
        all.extend(headers.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())));
        Request { headers: all, ..Request::default() }
    }

    fn tokens(places: &[TokenLocation], path: &str, headers: &[(&str, &str)]) -> Vec<String> {
        Locations::new(places)
            .find(&request(path, headers))
            .iter()
            .map(|found| String::from_utf8_lossy(&found.token).into_owned())
            .collect()
    }

    #[test]
    fn header_prefixes_are_anchored() {
        let header =
            |prefix| TokenLocation::Header { name: "x".to_owned(), prefix: Prefix::new(prefix) };
        for (prefix, value, expected) in [
            ("Bearer ", "Bearer t", Some("t")),
            ("Bearer ", "bearer   t ", Some("t")),
            ("Bearer", "BEARER\tt", Some("t")),
            ("bearer", "Bearert", Some("t")),
            ("Bearer ", "Bearer", None),
            ("Bearer", "Bearer", Some("")),
            ("Bearer ", "Bearer t, Bearer t", Some("t")),
            ("Bearer ", "Bearer t,bearer t ,t", Some("t")),
            ("Bearer ", "Bearer t, Bearer u", Some("t, Bearer u")),
            ("Bearer ", "Bearer t,", Some("t,")),
            ("Bearer ", "Bearer t, Bearer t, Basic x", Some("t, Bearer t, Basic x")),
            ("Bearer ", "Bearert", None),
            ("Bearer ", "Basic t", None),
            ("Bearer ", "", None),
            ("Value ", "Value t", Some("t")),
            ("Value ", "Value t, Value t", Some("t")),
            ("", "t,t", Some("t")),
            ("", "t,u", Some("t,u")),
            ("Value ", "value t", None),
            ("", "t", Some("t")),
            ("", "", Some("")),
        ] {
            let found = tokens(&[header(prefix)], "/", &[("x", value)]);
            assert_eq!(found.first().map(String::as_str), expected, "{prefix:?} {value:?}");
        }
    }

    #[test]
    fn a_prefix_elsewhere_than_at_the_beginning_leads_a_token_astray() {
        for (prefix, value, misplaced) in [
            ("Bearer ", "x Bearer t", true),
            ("Bearer ", "Basic dTpw,bearer\tt", true),
            ("Bearer ", "xBearer t", true),
            ("Bearer ", "x Bearert", false),
            ("Bearer ", "Basic dTpw", false),
            ("Bearer", "xBearert", true),
            ("CCCDDD", "preamble CCCDDD=t", true),
            ("CCCDDD", "preamble cccddd=t", false),
            ("Value ", "", false),
        ] {
            let place =
                [TokenLocation::Header { name: "x".to_owned(), prefix: Prefix::new(prefix) }];
            let request = request("/", &[("x", value)]);
            let found = Locations::new(&place).find(&request);
            let placement: Vec<Placement> = found.iter().map(|found| found.placement).collect();
            let expected: &[Placement] = if misplaced { &[Placement::Misplaced] } else { &[] };
            assert_eq!(placement, expected, "{prefix:?} {value:?}");
        }
    }

    #[test]
    fn a_line_is_read_behind_the_longest_prefix_that_begins_it() {
        let header =
            |prefix| TokenLocation::Header { name: "x".to_owned(), prefix: Prefix::new(prefix) };
        let places = [header(""), header("T="), header("Token T="), header("Bearer ")];
        for (value, expected) in [
            ("t", vec!["t"]),
            ("T=t", vec!["t"]),
            ("Token T=t", vec!["t"]),
            ("bearer t", vec!["t"]),
            ("x T=t", vec!["x T=t"]),
        ] {
            assert_eq!(tokens(&places, "/", &[("x", value)]), expected, "{value}");
        }
    }

    #[test]
    fn params_are_compared_decoded() {
        let place = [TokenLocation::Param("access_token".to_owned())];
        for (path, expected) in [
            ("/p?access_token=t", vec!["t"]),
            ("/p?a=1&access_token=t&b", vec!["t"]),
            ("/p?access%5ftoken=%74", vec!["t"]),
            ("/p?access_token=a&access_token=b", vec!["a", "b"]),
            ("/p?access_token=", vec![""]),
            ("/p?access_token", vec![""]),
            ("/p?Access_token=t", vec![]),
            ("/access_token=t", vec![]),
            ("/p?x=?access_token=t", vec![]),
            ("/p?access_token=a+b%2", vec!["a+b%2"]),
        ] {
            assert_eq!(tokens(&place, path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn cookies_and_subprotocols_are_found() {
        let cookie = [TokenLocation::Cookie("auth".to_owned())];
        for (line, expected) in [
            ("auth=t", vec!["t"]),
            ("a=b; auth=\"t\" ; c", vec!["t"]),
            ("xauth=t", vec![]),
            ("auth=a; auth=b", vec!["a", "b"]),
            ("auth=\"t", vec!["\"t"]),
        ] {
            assert_eq!(tokens(&cookie, "/", &[("cookie", line)]), expected, "{line}");
        }
        let socket = [TokenLocation::WebSocketProtocol("bearer.".to_owned())];
        let found = tokens(&socket, "/", &[("sec-websocket-protocol", "chat, bearer.a.b.c , x")]);
        assert_eq!(found, ["a.b.c"]);
    }
}
