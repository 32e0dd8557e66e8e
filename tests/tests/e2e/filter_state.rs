//! `filterState`: what access logs can show of a decision, or that they cannot.

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};

#[test]
fn facts_are_set_unless_the_configuration_says_otherwise() {
    let (issuer, key) = ("https://idp.example", Key::new("ES256", "k"));
    let setup = |fields: &[(&str, bool)]| {
        let mut config = json!({ "jwtRules": [{ "issuer": issuer, "jwks": mint::jwks([&key]) }] });
        for (name, value) in fields {
            config[*name] = (*value).into();
        }
        Setup::plugin(config)
    };
    let envoy = Envoy::builder()
        .listener("default", setup(&[]))
        .listener("on", setup(&[("filterState", true)]))
        .listener("off", setup(&[("filterState", false)]))
        .start();
    let token = key.token(&mint::claims(issuer, "mmosley"));
    for (name, shown) in [("default", true), ("on", true), ("off", false)] {
        let listener = envoy.listener(name);
        let told = |text: &str| shown.then(|| text.to_owned());
        let reply = listener.http1(&Request::get("/").bearer(&token));
        reply.passed();
        let entry = listener.entry(&reply);
        assert_eq!(entry.decision, told("allow"), "{name}");
        assert_eq!(entry.reason, told("allowed"), "{name}");
        assert_eq!(entry.sub, told("mmosley"), "{name}");
        let reply = listener.http1(&Request::get("/"));
        assert_eq!(reply.status, 401, "{name}: {reply}");
        let entry = listener.entry(&reply);
        assert_eq!(entry.details.as_deref(), Some("usher_denied{token_missing}"), "{name}");
        assert_eq!(entry.reason, told("token_missing"), "{name}");
    }
}
