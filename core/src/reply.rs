//! The reply to a refused client: status, body, challenge.
//!
//! Of the request it only repeats scheme and authority: Envoy's challenge contains path and query, and
//! with them a token in the query (docs/semantics.md, "The response to a refused token").

use std::borrow::Cow;

use crate::denial::{Denial, phrase};
use crate::policy::{Details, Format, Responses};
use crate::request::Request;

/// The answer to a refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header lines, names in lower case; the host sets `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// Body; for gRPC requests the host turns it into the message.
    pub body: String,
    /// Envoy's `RESPONSE_CODE_DETAILS`.
    pub details: String,
}

/// The reply that a policy configures, and what a challenge depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyContext {
    /// Whether a token was in the request (RFC 6750 section 3.1: without one there is no error code).
    pub token_present: bool,
    /// The policy's `denyStatus`.
    pub status: Option<u16>,
    /// The policy's `denyMessage`.
    pub message: Option<String>,
    /// The scopes that a rule requires of a verified caller.
    pub scopes: Vec<String>,
}

impl Reply {
    /// The reply to `denial`.
    pub fn new(
        denial: &Denial,
        request: &Request,
        context: &ReplyContext,
        responses: &Responses,
    ) -> Self {
        let status = context.status.unwrap_or_else(|| denial.status());
        let cause = match responses.details {
            Details::Full => context.message.as_deref().or_else(|| denial.text()),
            Details::Terse => None,
        };
        let mut headers = Vec::new();
        let body = match responses.format {
            Format::ProblemJson if !request.is_grpc() => {
                headers.push(("content-type", "application/problem+json".to_owned()));
                problem(status, cause, (responses.details == Details::Full).then(|| denial.code()))
            }
            Format::ProblemJson | Format::Text => {
                headers.push(("content-type", "text/plain".to_owned()));
                cause.unwrap_or(phrase(status)).to_owned()
            }
        };
        if let Some(challenge) = challenge(denial, status, request, context, responses) {
            headers.push(("www-authenticate", challenge));
        }
        // RFC 9110 section 10.2.3.
        if let Denial::KeysUnavailable { retry_after } = denial {
            headers.push(("retry-after", retry_after.to_string()));
        }
        Self { status, headers, body, details: format!("usher_denied{{{}}}", denial.code()) }
    }

    /// The challenge, if the reply has one.
    pub fn challenge(&self) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(name, _)| *name == "www-authenticate").map(|(_, value)| value.as_str())
    }
}

/// RFC 6750 section 3: 401 always has a challenge; 403 if more scope would help.
fn challenge(
    denial: &Denial,
    status: u16,
    request: &Request,
    context: &ReplyContext,
    responses: &Responses,
) -> Option<String> {
    let realm = realm(request);
    match status {
        401 if context.token_present => {
            let cause = match responses.details {
                Details::Full => denial.text().unwrap_or_else(|| denial.code()),
                Details::Terse => phrase(status),
            };
            Some(format!(
                "Bearer realm=\"{realm}\", error=\"invalid_token\", error_description=\"{}\"",
                quotable(cause)
            ))
        }
        401 => Some(format!("Bearer realm=\"{realm}\"")),
        403 if !context.scopes.is_empty() => Some(format!(
            "Bearer realm=\"{realm}\", error=\"insufficient_scope\", scope=\"{}\"",
            quotable(&context.scopes.join(" "))
        )),
        _ => None,
    }
}

/// `<scheme>://<authority>`. An authority that cannot be quoted is left out.
fn realm(request: &Request) -> String {
    let text = |name, fallback| {
        let value = request.header(name).and_then(|value| std::str::from_utf8(value).ok());
        value.filter(|text| *text == quotable(text)).unwrap_or(fallback).to_owned()
    };
    format!("{}://{}", text(":scheme", "http"), text(":authority", ""))
}

/// The characters that RFC 6750 section 3 allows in `error_description` and `scope`.
fn quotable(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\');
    if text.chars().all(allowed) {
        return Cow::Borrowed(text);
    }
    text.chars().filter(|c| allowed(*c)).collect()
}

/// RFC 9457 section 3, with the reason code as an extension member.
fn problem(status: u16, detail: Option<&str>, code: Option<&str>) -> String {
    let mut problem = serde_json::Map::new();
    problem.insert("title".to_owned(), phrase(status).into());
    problem.insert("status".to_owned(), status.into());
    problem.extend(detail.map(|detail| ("detail".to_owned(), detail.into())));
    problem.extend(code.map(|code| ("code".to_owned(), code.into())));
    serde_json::Value::Object(problem).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authority: &str, content_type: &str) -> Request {
        let headers = [
            (":scheme", "https"),
            (":authority", authority),
            (":path", "/secret?access_token=T"),
            ("content-type", content_type),
        ];
        let line = |(name, value): (&str, &str)| (name.into(), value.into());
        Request { headers: headers.map(line).into(), ..Request::default() }
    }

    fn reply(denial: &Denial, token_present: bool, responses: &Responses) -> Reply {
        let context = ReplyContext { token_present, ..ReplyContext::default() };
        Reply::new(denial, &request("svc.example", ""), &context, responses)
    }

    #[test]
    fn a_challenge_names_an_error_only_where_a_token_was() {
        let responses = Responses::default();
        let missing = reply(&Denial::TokenMissing, false, &responses);
        assert_eq!(missing.status, 401);
        assert_eq!(missing.body, "Jwt is missing");
        assert_eq!(missing.challenge(), Some("Bearer realm=\"https://svc.example\""));
        assert_eq!(missing.details, "usher_denied{token_missing}");
        let expired = reply(&Denial::TokenExpired, true, &responses);
        assert_eq!(
            expired.challenge(),
            Some(
                "Bearer realm=\"https://svc.example\", error=\"invalid_token\", \
                 error_description=\"Jwt is expired\""
            )
        );
        assert_eq!(reply(&Denial::NoRuleMatched, true, &responses).challenge(), None);
    }

    #[test]
    fn terse_says_the_standard_phrase_only() {
        let responses = Responses { details: Details::Terse, ..Responses::default() };
        let expired = reply(&Denial::TokenExpired, true, &responses);
        assert_eq!(expired.body, "Unauthorized");
        assert!(expired.challenge().unwrap().ends_with("error_description=\"Unauthorized\""));
        assert_eq!(reply(&Denial::DeniedByRule, true, &responses).body, "Forbidden");
        let full = reply(&Denial::TypeNotAllowed, true, &Responses::default());
        assert_eq!(full.body, "Unauthorized", "the section-3 table gives no text");
    }

    #[test]
    fn problems_are_rfc_9457() {
        let responses = Responses { format: Format::ProblemJson, ..Responses::default() };
        let expired = reply(&Denial::TokenExpired, true, &responses);
        assert_eq!(expired.headers.first().unwrap().1, "application/problem+json");
        assert_eq!(
            expired.body,
            r#"{"code":"token_expired","detail":"Jwt is expired","status":401,"title":"Unauthorized"}"#
        );
        let grpc = Reply::new(
            &Denial::TokenExpired,
            &request("svc.example", "application/grpc"),
            &ReplyContext::default(),
            &responses,
        );
        assert_eq!(grpc.body, "Jwt is expired");
    }

    #[test]
    fn nothing_of_the_client_breaks_out_of_the_quotes() {
        for authority in ["a\"b", "a\\b", "a\u{e9}", "a\r\nb"] {
            let context = ReplyContext::default();
            let request = request(authority, "");
            let reply =
                Reply::new(&Denial::TokenMissing, &request, &context, &Responses::default());
            assert_eq!(reply.challenge(), Some("Bearer realm=\"https://\""), "{authority}");
        }
    }

    #[test]
    fn a_policy_may_choose_status_and_message() {
        let context = ReplyContext {
            status: Some(404),
            message: Some("no such thing".to_owned()),
            ..ReplyContext::default()
        };
        let request = request("svc.example", "");
        let reply = Reply::new(&Denial::DeniedByRule, &request, &context, &Responses::default());
        assert_eq!((reply.status, reply.body.as_str()), (404, "no such thing"));
        let scoped = ReplyContext {
            token_present: true,
            scopes: vec!["read".to_owned(), "write".to_owned()],
            ..ReplyContext::default()
        };
        let reply = Reply::new(&Denial::NoRuleMatched, &request, &scoped, &Responses::default());
        assert_eq!(
            reply.challenge(),
            Some(
                "Bearer realm=\"https://svc.example\", error=\"insufficient_scope\", \
                 scope=\"read write\""
            )
        );
    }
}
