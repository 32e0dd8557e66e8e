//! docs/reasons.md against the code: every reason is documented, with its status and its body.

use std::collections::BTreeMap;

use usher_core::denial::{Denial, Malformed, phrase};
use usher_core::policy::{Details, Responses};
use usher_core::reply::{Reply, ReplyContext};
use usher_core::request::bounds::Bound;
use usher_testkit::verdict::get;

const REASONS: &str = include_str!("../../../docs/reasons.md");

/// Each reason once. A new one does not compile until it stands here.
fn all() -> Vec<Denial> {
    let all = vec![
        Denial::AlgorithmNotAllowed,
        Denial::AudienceMismatch,
        Denial::ClaimMismatch { claim: "c".to_owned() },
        Denial::ConfigInvalid,
        Denial::DeniedByRule,
        Denial::ExpirationMissing,
        Denial::HeaderUnsupported,
        Denial::HostFailed,
        Denial::IdentitySpoofed,
        Denial::IdentityTooLarge,
        Denial::IssuerUnknown,
        Denial::KeyUnknown,
        Denial::KeysUnavailable { retry_after: 1 },
        Denial::LifetimeTooLong,
        Denial::NoRuleMatched,
        Denial::PathUnsafe,
        Denial::RequestTooComplex(Bound::QueryParameters),
        Denial::SignatureInvalid,
        Denial::SubjectNotAllowed,
        Denial::TokenAmbiguous,
        Denial::TokenExpired,
        Denial::TokenMalformed(Malformed::HeaderJson),
        Denial::TokenMissing,
        Denial::TokenNotYetValid,
        Denial::TokenTooLarge,
        Denial::TokenTooOld,
        Denial::TypeNotAllowed,
    ];
    for denial in &all {
        match denial {
            Denial::AlgorithmNotAllowed
            | Denial::AudienceMismatch
            | Denial::ClaimMismatch { .. }
            | Denial::ConfigInvalid
            | Denial::DeniedByRule
            | Denial::ExpirationMissing
            | Denial::HeaderUnsupported
            | Denial::HostFailed
            | Denial::IdentitySpoofed
            | Denial::IdentityTooLarge
            | Denial::IssuerUnknown
            | Denial::KeyUnknown
            | Denial::KeysUnavailable { .. }
            | Denial::LifetimeTooLong
            | Denial::NoRuleMatched
            | Denial::PathUnsafe
            | Denial::RequestTooComplex(_)
            | Denial::SignatureInvalid
            | Denial::SubjectNotAllowed
            | Denial::TokenAmbiguous
            | Denial::TokenExpired
            | Denial::TokenMalformed(_)
            | Denial::TokenMissing
            | Denial::TokenNotYetValid
            | Denial::TokenTooLarge
            | Denial::TokenTooOld
            | Denial::TypeNotAllowed => {}
        }
    }
    all
}

/// Status and body by code, as documented.
fn told() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = REASONS.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        (cells[1].trim_matches('`'), (cells[2], cells[3]))
    })
    .collect()
}

fn reply(denial: &Denial, details: Details) -> Reply {
    let responses = Responses { details, ..Responses::default() };
    Reply::new(denial, &get("/"), &ReplyContext::default(), &responses)
}

#[test]
fn each_reason_is_told_with_its_status_and_its_body() {
    let mut told = told();
    assert_eq!(told.remove("allowed"), Some(("", "")));
    for denial in all() {
        let code = denial.code();
        let (status, body) = told.remove(code).unwrap_or_else(|| panic!("{code} is not told"));
        let (full, terse) = (reply(&denial, Details::Full), reply(&denial, Details::Terse));
        assert_eq!(status, full.status.to_string(), "{code}");
        let expected = match denial {
            Denial::TokenMalformed(cause) => format!("the cause, such as `{}`", cause.text()),
            _ => format!("`{}`", full.body),
        };
        assert_eq!(body, expected, "{code}");
        assert_eq!(terse.body, phrase(full.status), "{code}");
        assert_eq!((full.details, terse.status), (format!("usher_denied{{{code}}}"), full.status));
        // RFC 9110 section 11.6.1: 401 always carries a challenge; here nothing else does.
        let challenge = (full.status == 401).then_some("Bearer realm=\"https://svc.example\"");
        assert_eq!(terse.challenge(), challenge, "{code}");
    }
    assert!(told.is_empty(), "no such reasons: {told:?}");
}
