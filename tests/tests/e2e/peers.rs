//! Who the peer is: by its certificate, or behind a hop by what the hop has left in filter state. In
//! fresh and in resumed TLS sessions the decisions are the same.

use std::sync::LazyLock;

use serde_json::{Value, json};
use tokio_rustls::rustls::SupportedProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::paths;
use usher_testkit::tls::Authority;

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";
const PRINCIPAL: &str = "io.istio.peer_principal";

/// For each path a rule about the peer, in each of the four places that a value can be in.
fn configuration(more: &Value) -> Value {
    let web = ["cluster.local/ns/shop/sa/web"];
    let allow = |path: &str, source: Value| json!({ "from": [{ "source": source }], "to": [{ "operation": { "paths": [path] } }] });
    let mut configuration = json!({ "authorizationPolicies": [
        {
            "name": "allow",
            "rules": [
                allow("/allow", json!({ "principals": web })),
                allow("/allow-any", json!({ "principals": ["*"] })),
                allow("/allow-not", json!({ "notPrincipals": web })),
                allow("/allow-nobody", json!({ "notPrincipals": ["*"] })),
                { "to": [{ "operation": { "paths": ["/deny*"] } }] },
            ],
        },
        {
            "name": "deny",
            "action": "DENY",
            "rules": [
                allow("/deny", json!({ "principals": web })),
                allow("/deny-any", json!({ "principals": ["*"] })),
                allow("/deny-not", json!({ "notPrincipals": web })),
                allow("/deny-nobody", json!({ "notPrincipals": ["*"] })),
            ],
        },
    ]});
    configuration.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    configuration
}

/// The paths, and for each kind of peer which of them it gets in by.
const PATHS: [&str; 8] = [
    "/allow",
    "/allow-any",
    "/allow-not",
    "/allow-nobody",
    "/deny",
    "/deny-any",
    "/deny-not",
    "/deny-nobody",
];
const AS_WEB: [bool; 8] = [true, true, false, false, false, false, true, true];
const AS_OTHER: [bool; 8] = [false, true, true, false, true, false, false, true];
const AS_NOBODY: [bool; 8] = [false, false, true, true, true, true, false, false];
/// Names that may be web's: they refuse as web's do, and allow nothing.
const PERHAPS_WEB: [bool; 8] = [false, false, false, false, false, false, false, false];

/// A filter that puts a text into filter state, as an object of this factory's.
fn set_filter_state(factory: &str, key: &str, format: &str) -> Value {
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": key,
                "factory_key": factory,
                "format_string": { "text_format_source": { "inline_string": format } },
                "shared_with_upstream": "ONCE",
            }],
        },
    })
}

fn http_state(key: &str, format: &str) -> Value {
    set_filter_state("envoy.string", key, format)
}

/// The paths that let this peer in.
fn allowed(send: impl Fn(&Request) -> u16) -> [bool; 8] {
    PATHS.map(|path| match send(&Request::get(path)) {
        200 => true,
        403 => false,
        status => panic!("{path}: {status}"),
    })
}

#[test]
fn without_tls_the_peer_stands_in_filter_state() {
    behind_no_tls(&paths::pinned_envoy());
}

#[test]
fn in_the_oldest_envoy_too() {
    if let Some(binary) = paths::oldest_envoy() {
        behind_no_tls(&binary);
    }
}

fn behind_no_tls(binary: &std::path::Path) {
    let key = json!({ "peerIdentity": { "filterState": "usher.peer" } });
    let connection = json!({ "peerIdentity": "connection" });
    let both = format!("{WEB},{OTHER}");
    let rows = [
        ("web", json!({}), PRINCIPAL, WEB, AS_WEB),
        ("other", json!({}), PRINCIPAL, OTHER, AS_OTHER),
        ("dash", json!({}), PRINCIPAL, "-", AS_NOBODY),
        ("no-spiffe", json!({}), PRINCIPAL, "https://cluster.local/ns/shop/sa/web", AS_NOBODY),
        ("several", json!({}), PRINCIPAL, both.as_str(), PERHAPS_WEB),
        ("another-key", json!({}), "usher.peer", WEB, AS_NOBODY),
        ("own-key", key.clone(), "usher.peer", WEB, AS_WEB),
        ("own-key-alone", key, PRINCIPAL, WEB, AS_NOBODY),
        ("connection", connection, PRINCIPAL, WEB, AS_NOBODY),
    ];
    let mut builder = Envoy::builder()
        .binary(binary)
        .listener("absent", Setup::plugin(configuration(&json!({}))));
    for (name, more, key, value, _) in &rows {
        let setup = Setup::plugin(configuration(more)).ahead(http_state(key, value));
        builder = builder.listener(name, setup);
    }
    let envoy = builder.start();
    let by = |name: &str| allowed(|request| envoy.listener(name).http1(request).status);
    assert_eq!(by("absent"), AS_NOBODY, "absent");
    for (name, _, _, value, expected) in &rows {
        assert_eq!(by(name), *expected, "{name}: {value}");
    }
}

static OURS: LazyLock<Authority> = LazyLock::new(Authority::new);
/// An authority that no listener trusts.
static THEIRS: LazyLock<Authority> = LazyLock::new(Authority::new);

const VERSIONS: [(&str, &SupportedProtocolVersion); 2] = [("TLS 1.2", &TLS12), ("TLS 1.3", &TLS13)];

/// A listener that takes any certificate.
fn accepting_untrusted() -> Value {
    let mut tls = OURS.downstream(false);
    tls["typed_config"]["common_tls_context"]["validation_context"]["trust_chain_verification"] =
        json!("ACCEPT_UNTRUSTED");
    tls
}

#[test]
fn with_tls_the_certificate_is_the_peer_whatever_filter_state_says() {
    let tls = OURS.downstream(false);
    let setup = |more: &Value| {
        Setup::plugin(configuration(more)).ahead(http_state(PRINCIPAL, WEB)).tls(tls.clone())
    };
    let envoy = Envoy::builder()
        .listener("auto", setup(&json!({})))
        .listener("key", setup(&json!({ "peerIdentity": { "filterState": PRINCIPAL } })))
        .start();
    let (web, other) = (OURS.client(&[WEB], &[]), OURS.client(&[OTHER], &[]));
    for (listener, identity, expected, what) in [
        ("auto", Some(&web), AS_WEB, "its own"),
        ("auto", Some(&other), AS_OTHER, "another certificate"),
        ("auto", None, AS_NOBODY, "no certificate"),
        ("key", Some(&other), AS_WEB, "another certificate"),
        ("key", None, AS_WEB, "no certificate"),
    ] {
        for (version, protocol) in VERSIONS {
            let caller = OURS.caller(identity, protocol);
            let by = allowed(|request| envoy.listener(listener).tls_as(&caller, request).0.status);
            assert_eq!(by, expected, "{listener}: {what}, {version}");
        }
    }
}

#[test]
fn a_resumed_session_is_decided_as_a_fresh_one() {
    let validated = json!({ "requireValidatedPeer": true });
    let plain = Setup::plugin(configuration(&json!({})));
    let required = Setup::plugin(configuration(&validated));
    let envoy = Envoy::builder()
        .listener("trusted", plain.clone().tls(OURS.downstream(false)))
        .listener("any", plain.tls(accepting_untrusted()))
        .listener("trusted-required", required.clone().tls(OURS.downstream(false)))
        .listener("any-required", required.tls(accepting_untrusted()))
        .start();
    let (web, forged) = (OURS.client(&[WEB], &[]), THEIRS.client(&[WEB], &[]));
    for (listener, identity, fresh, resumed, what) in [
        ("trusted", &web, AS_WEB, AS_WEB, "honest"),
        ("any", &web, AS_WEB, AS_WEB, "honest, where any certificate is taken"),
        // What `check` refuses: it cannot be distinguished from an honest one.
        ("any", &forged, AS_WEB, AS_WEB, "forged, where any certificate is taken"),
        ("trusted-required", &web, AS_WEB, PERHAPS_WEB, "honest, required"),
        ("any-required", &web, AS_WEB, PERHAPS_WEB, "honest, any taken, required"),
        ("any-required", &forged, PERHAPS_WEB, PERHAPS_WEB, "forged, any taken, required"),
    ] {
        for (version, protocol) in VERSIONS {
            // A caller that has no session yet, for each request.
            let by = allowed(|request| {
                let (reply, resumed) = envoy
                    .listener(listener)
                    .tls_as(&OURS.caller(Some(identity), protocol), request);
                assert!(!resumed, "{what}, {version}: resumed");
                reply.status
            });
            assert_eq!(by, fresh, "{what}, {version}, fresh");
            let caller = OURS.caller(Some(identity), protocol);
            envoy.listener(listener).tls_as(&caller, &Request::get("/"));
            let by = allowed(|request| {
                let (reply, resumed) = envoy.listener(listener).tls_as(&caller, request);
                assert!(resumed, "{what}, {version}: not resumed");
                reply.status
            });
            assert_eq!(by, resumed, "{what}, {version}, resumed");
        }
    }
}

#[test]
fn behind_a_hop_the_peer_is_the_hops() {
    // Hashable: requests of different peers never share a connection to the internal listener.
    let factory = "envoy.hashable_string";
    let hop = vec![set_filter_state(factory, PRINCIPAL, "%DOWNSTREAM_PEER_URI_SAN%")];
    let setup = |more: &Value| {
        let setup = Setup::plugin(configuration(more)).behind_a_hop(hop.clone());
        setup.tls(OURS.downstream(false))
    };
    let envoy = Envoy::builder()
        .listener("auto", setup(&json!({})))
        .listener("connection", setup(&json!({ "peerIdentity": "connection" })))
        .start();
    let (web, other, two) = (
        OURS.client(&[WEB], &[]),
        OURS.client(&[OTHER], &["web.example"]),
        OURS.client(&[OTHER, WEB], &[]),
    );
    for (listener, identity, expected, what) in [
        ("auto", Some(&web), AS_WEB, "its own"),
        ("auto", Some(&other), AS_OTHER, "another certificate"),
        ("auto", Some(&two), PERHAPS_WEB, "two names"),
        ("auto", None, AS_NOBODY, "no certificate"),
        ("connection", Some(&web), AS_NOBODY, "the connection has none"),
    ] {
        let caller = OURS.caller(identity, &TLS13);
        let by = allowed(|request| envoy.listener(listener).tls_as(&caller, request).0.status);
        assert_eq!(by, expected, "{listener}: {what}");
    }
}
