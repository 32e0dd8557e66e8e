//! The configuration as a whole.

use serde_json::{Value, json};
use usher_core::{Decision, load};
use usher_testkit::verdict::{get, problems, rule};

use super::KEY;

const NOTHING: &str = "nothing to check: give `jwtRules` or `authorizationPolicies`; \
                       a filter with nothing to check protects nothing";

#[test]
fn an_empty_configuration_is_an_error() {
    for text in
        ["", " \n", "{}", r#"{"jwtRules":[]}"#, r#"{"jwtRules":null}"#, r#"{"mode":"dryRun"}"#]
    {
        let problems = load::from_json(text.as_bytes()).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, [NOTHING], "{text:?}");
    }
}

#[test]
fn any_error_makes_the_whole_invalid() {
    let good = rule(&KEY);
    for (what, configuration, expected) in [
        (
            "one bad rule beside a good one",
            json!({ "jwtRules": [good, { "issuer": "b", "jwks": "{" }] }),
            vec![
                "jwtRules[1].jwks: expected a JWK set, found no JSON: EOF while parsing an object at line 1 column 1",
            ],
        ),
        (
            "a field that no version knows",
            json!({ "jwtRules": [good], "exemt": [] }),
            vec!["exemt: unknown field `exemt`; did you mean `exempt`?"],
        ),
        (
            "two problems, both told",
            json!({ "jwtRules": [good], "mode": "dry", "missingToken": true }),
            vec![
                "missingToken: expected one of `reject`, `allow`, found `true`",
                "mode: expected one of `enforce`, `dryRun`, found `dry`",
            ],
        ),
    ] {
        assert_eq!(problems(&configuration), expected, "{what}");
    }
}

#[test]
fn while_no_configuration_is_valid_every_request_is_503() {
    let decision = Decision::config_invalid(&get("/"));
    let reply = decision.reply.unwrap();
    assert_eq!((reply.status, reply.details.as_str()), (503, "usher_denied{config_invalid}"));
    assert_eq!(reply.body, "Service Unavailable");
}

#[test]
fn numbers_come_through_a_double_or_as_text() {
    let limits =
        |bytes: Value| json!({ "jwtRules": [rule(&KEY)], "limits": { "tokenBytes": bytes } });
    for good in [json!(60), json!(60.0), json!("60"), serde_json::from_str("6e1").unwrap()] {
        assert_eq!(problems(&limits(good.clone())), [""; 0], "{good}");
    }
    let expected = "limits.tokenBytes: expected a whole number from 1 to 8388608, found";
    for (bad, found) in [(json!(60.5), "`60.5`"), (json!("sixty"), "`sixty`"), (json!(0), "`0`")] {
        assert_eq!(problems(&limits(bad)), [format!("{expected} {found}")]);
    }
}

#[test]
fn null_is_absent() {
    let mut rule = rule(&KEY);
    for field in ["audiences", "jwksUri", "timeout", "outputPayloadToHeader", "types", "maxAge"] {
        rule[field] = Value::Null;
    }
    let mut nothing = json!({ "jwtRules": [rule] });
    for field in ["authorizationPolicies", "exempt", "limits", "mode"] {
        nothing[field] = Value::Null;
    }
    assert_eq!(problems(&nothing), [""; 0]);

    // A null is not a key set either.
    let keyless = json!({ "jwtRules": [{ "issuer": "a", "jwks": null, "jwksUri": null }] });
    assert_eq!(problems(&keyless), ["jwtRules[0]: missing field `jwks`: the issuer's keys"]);
    let encoding = json!({ "jwtRules": [{
        "issuer": "a", "jwks": usher_testkit::mint::jwks([&*KEY]),
        "outputPayloadToHeader": null, "outputPayloadEncoding": "json",
    }] });
    let expected = "jwtRules[0].outputPayloadEncoding: needs `outputPayloadToHeader` beside it";
    assert_eq!(problems(&encoding), [expected]);
}
