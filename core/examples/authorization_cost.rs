//! The cost of evaluating a request with 5 rules and with 5,000, in instructions (valgrind counts them).
//!
//! `cargo run --release --example authorization_cost`; exit status 1 if the many cost more than 1.5 times
//! the few. The token's verification is left out: it costs the same in both and would hide the rules.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement stops at any surprise"
)]

use std::process::{Command, ExitCode};

use serde_json::{Value, json};
use usher_core::authorize::evaluate;
use usher_core::claims::{Claims, Identity};
use usher_core::request::{Connection, Peer};
use usher_core::{Request, load};

const FEW: usize = 5;
const MANY: usize = 5000;
const REQUESTS: usize = 2000;
const MOST: f64 = 1.5;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [kind, rules, requests] = arguments.as_slice() {
        run(kind, rules.parse().unwrap(), requests.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    let mut worst = 0.0_f64;
    println!("{:<24} {:>12} {:>12} {:>6}", "instructions a request", FEW, MANY, "ratio");
    for kind in ["path", "template", "claim", "principal", "request-principal", "all", "refused"] {
        let [few, many] = [FEW, MANY].map(|rules| {
            let all = instructions(kind, rules, REQUESTS) - instructions(kind, rules, 0);
            all / f64::from(u32::try_from(REQUESTS).unwrap())
        });
        let ratio = many / few;
        worst = worst.max(ratio);
        println!("{kind:<24} {few:>12.0} {many:>12.0} {ratio:>6.2}");
    }
    if worst > MOST { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// The instructions of this program with these arguments.
fn instructions(kind: &str, rules: usize, requests: usize) -> f64 {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([kind, &rules.to_string(), &requests.to_string()])
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    count.unwrap_or_else(|| panic!("no count in:\n{said}")).trim().parse().unwrap()
}

fn run(kind: &str, rules: usize, requests: usize) {
    let list: Vec<Value> = (0..rules).map(|i| rule(kind, i)).collect();
    let config =
        json!({"authorizationPolicies": [{"name": "p", "namespace": "shop", "rules": list}]});
    let policy = load::from_value(&config).unwrap().policy;
    // The same requests for any number of rules, made before counting begins.
    let made: Vec<(Request, Identity)> = (0..FEW).map(|i| request(kind, i)).collect();
    let mut matched = 0;
    for (request, identity) in made.iter().cycle().take(requests) {
        let authorization = evaluate(&policy.authorization, request, Some(identity));
        matched += usize::from(authorization.rule.is_some());
    }
    assert_eq!(matched, if kind == "refused" { 0 } else { requests });
}

fn rule(kind: &str, i: usize) -> Value {
    let path =
        json!([{"operation": {"paths": [format!("/service-{i}/*")], "methods": ["GET", "POST"]}}]);
    let template = json!([{"operation": {"paths": [format!("/api/{{*}}/service-{i}/{{**}}")]}}]);
    let claim = json!([{"key": "request.auth.claims[groups]", "values": [format!("group-{i}")]}]);
    let principal =
        json!([{"source": {"principals": [format!("cluster.local/ns/ns-{i}/sa/web")]}}]);
    let request_principal =
        json!([{"source": {"requestPrincipals": [format!("https://idp.example.com/user-{i}")]}}]);
    match kind {
        "path" => json!({"to": path}),
        "template" => json!({"to": template}),
        "claim" => json!({"when": claim}),
        "principal" => json!({"from": principal}),
        "request-principal" => json!({"from": request_principal}),
        _ => json!({"from": principal, "to": path, "when": claim}),
    }
}

fn request(kind: &str, i: usize) -> (Request, Identity) {
    let path = match kind {
        "template" => format!("/api/v1/service-{i}/orders/7"),
        _ => format!("/service-{i}/orders/7?page=2"),
    };
    let headers = [
        (":method", "GET"),
        (":authority", "shop.example.com"),
        (":path", &path),
        (":scheme", "https"),
        ("accept", "*/*"),
        ("x-request-id", "b1f0c1e2-7c1d-4f7e-9c55-0f1c1b7e2d11"),
    ];
    // In a refused one only the group is wrong.
    let group = if kind == "refused" { "nobody".to_owned() } else { format!("group-{i}") };
    let claims = json!({
        "iss": "https://idp.example.com", "sub": format!("user-{i}"), "aud": "shop",
        "groups": ["everyone", group], "exp": 4_102_444_800_u64,
    });
    let identity =
        Identity { claims: Claims(claims.as_object().unwrap().clone()), ..Identity::default() };
    let peer = Peer {
        uri_sans: vec![format!("spiffe://cluster.local/ns/ns-{i}/sa/web")],
        ..Peer::default()
    };
    let request = Request {
        headers: headers
            .iter()
            .map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()))
            .collect(),
        connection: Connection { peer: Some(peer), ..Connection::default() },
        end_of_stream: true,
    };
    (request, identity)
}
