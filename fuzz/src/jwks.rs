//! Key sets from any text, and generated ones: a key that is read is usable, and verifies nothing that was not
//! signed with it.
//!
//! A written case is a key set, in JSON or PEM.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use crate::draw::Draw;
use crate::mint::{self, base64url};
use crate::subject::{
    Algorithm, Key, KeySet, Node, Origin, Portable, Problems, Published, SignatureEngine as _, spki,
};
use crate::words;

const WORDS: &[&str] = &[
    "keys",
    "kty",
    "RSA",
    "-----BEGIN CERTIFICATE-----\n",
    "-----END CERTIFICATE-----",
    "n",
    "e",
    "kid",
    "AQAB",
    "{\"keys\":[]}",
];

pub(crate) fn run(data: &[u8]) {
    let Some(mut draw) = Draw::of(data) else {
        let text = json!(String::from_utf8_lossy(data));
        for origin in [Origin::Inline, Origin::Fetched] {
            check(&text, origin, true, &mut Draw::of(&[0]).unwrap());
        }
        return;
    };
    let symmetric = draw.one_in(2);
    let origin = if draw.one_in(2) { Origin::Fetched } else { Origin::Inline };
    let set = match draw.below(4) {
        0 => words::value(&mut draw, 4, WORDS),
        1 => {
            let label = draw.pick(&["PUBLIC KEY", "CERTIFICATE", "PRIVATE KEY", "RSA PUBLIC KEY"]);
            json!(pem(label, &draw.bytes(300)))
        }
        _ => json!({"keys": draw.some(2, jwk)}),
    };
    check(&set, origin, symmetric, &mut draw);
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// Mostly one byte repeated.
fn number(draw: &mut Draw<'_>, length: usize) -> Vec<u8> {
    let mut bytes = vec![draw.byte(); length];
    for _ in 0..draw.below(8) {
        let at = draw.below(length);
        let byte = draw.byte();
        if let Some(at) = bytes.get_mut(at) {
            *at = byte;
        }
    }
    bytes
}

/// An odd number of the full length.
fn modulus(draw: &mut Draw<'_>, length: usize) -> Vec<u8> {
    let mut bytes = vec![draw.byte() | 1; length];
    bytes[0] |= if draw.one_in(2) { 0x80 } else { 1 };
    bytes
}

fn jwk(draw: &mut Draw<'_>) -> Value {
    let mut jwk = Map::new();
    let kty = draw.pick(&["RSA", "RSA", "EC", "OKP", "oct", "AKP", "x"]);
    let mut add = |name: &str, value: Value| jwk.insert(name.to_owned(), value);
    add("kty", json!(kty));
    match kty {
        "RSA" => {
            let length = draw.pick(&[255, 256, 257, 384, 512, 1024, 1025, 64, 2048]);
            add("n", json!(base64url(modulus(draw, length))));
            let exponent = match draw.below(5) {
                0 => vec![3],
                1 => draw.bytes(6),
                2 => [vec![0; draw.below(40)], vec![1, 0, 1]].concat(),
                3 => {
                    let length = draw.pick(&[5, 8, 256, 1024]);
                    modulus(draw, length)
                }
                _ => vec![1, 0, 1],
            };
            add("e", json!(base64url(exponent)));
        }
        "EC" => {
            let curves = [("P-256", 32), ("P-384", 48), ("P-521", 66), ("secp256k1", 32)];
            let (curve, length) = draw.pick(&curves);
            let length = if draw.one_in(6) { draw.below(70) } else { length };
            let (x, y) = match draw.one_in(3) {
                true => mint::ec_public(),
                false => (number(draw, length), number(draw, length)),
            };
            add("crv", json!(curve));
            add("x", json!(base64url(x)));
            add("y", json!(base64url(y)));
        }
        "OKP" => {
            add("crv", json!(draw.pick(&["Ed25519", "Ed25519", "X25519", "Ed448"])));
            let length = if draw.one_in(4) { draw.below(40) } else { 32 };
            let x = if draw.one_in(3) { mint::ed_public() } else { number(draw, length) };
            add("x", json!(base64url(x)));
        }
        "oct" => {
            let length = draw.below(80);
            add("k", json!(base64url(number(draw, length))));
        }
        "AKP" => {
            let kinds = [("ML-DSA-44", 1312), ("ML-DSA-65", 1952), ("ML-DSA-87", 2592)];
            let (alg, length) = draw.pick(&kinds);
            let length = if draw.one_in(4) { draw.below(3000) } else { length };
            add("alg", json!(alg));
            add("pub", json!(base64url(number(draw, length))));
        }
        _ => {}
    }
    for _ in 0..draw.below(3) {
        let name =
            draw.pick(&["kid", "alg", "use", "key_ops", "d", "p", "oth", "x5c", "priv", "k", "x"]);
        let value = match name {
            _ if draw.one_in(3) => words::value(draw, 2, &["sig", "verify", "RS256"]),
            "alg" => {
                let names =
                    ["RS256", "PS512", "ES256", "EdDSA", "Ed25519", "HS256", "none", "ML-DSA-44"];
                json!(draw.pick(&names))
            }
            "use" => json!(draw.pick(&["sig", "enc", "jwt-svid"])),
            "key_ops" => json!(["verify"]),
            _ => json!("AQ"),
        };
        add(name, value);
    }
    Value::Object(jwk)
}

fn check(set: &Value, origin: Origin, symmetric: bool, draw: &mut Draw<'_>) {
    let problems = Problems::default();
    let read = KeySet::read(&Node::root(set), origin, symmetric, Published::Refused, &problems);
    let (errors, _) = problems.into_parts();
    let Some(keys) = read else {
        assert!(!errors.is_empty(), "refused without a problem: {set}");
        return;
    };
    assert!(errors.is_empty(), "read, with {errors:?}: {set}");
    // A server may withdraw its last key, an operator may not.
    assert!(!keys.keys().is_empty() || origin == Origin::Fetched, "no key: {set}");
    for key in keys.keys() {
        check_key(key, symmetric, set);
        for algorithm in &key.algorithms {
            let lengths = [0, 1, 64, 96, 132, 256, 512, 1024, 2420];
            let signature = match draw.one_in(2) {
                true => draw.bytes(90),
                false => vec![draw.byte(); draw.pick(&lengths)],
            };
            let verified = Portable.verify(*algorithm, key, b"e30.e30", &signature);
            assert!(verified != Ok(true), "a made-up signature is good: {algorithm:?} {set}");
        }
    }
}

fn check_key(key: &Key, symmetric: bool, set: &Value) {
    let shared = |algorithm: &Algorithm| algorithm.is_symmetric();
    assert!(!key.algorithms.is_empty(), "a key for nothing: {set}");
    let is_shared = key.algorithms.iter().any(shared);
    // RFC 8725 section 3.1: no key serves as a secret and as a public key.
    assert_eq!(is_shared, key.algorithms.iter().all(shared), "a key of two kinds: {set}");
    assert!(symmetric || !is_shared, "a secret that does not count: {set}");
    let is_rsa = key.algorithms.iter().any(|a| a.name().starts_with(['R', 'P']));
    assert!(!is_rsa || (2048..=8192).contains(&key.bits()), "{} bits: {set}", key.bits());
    if key.spki.is_empty() {
        return;
    }
    let numbers = spki::public_key(&key.spki).expect("its own form can be read");
    assert_eq!(numbers.spki(), key.spki, "{set}");
    let text = json!(pem("PUBLIC KEY", &key.spki));
    let problems = Problems::default();
    let again =
        KeySet::read(&Node::root(&text), Origin::Inline, false, Published::Refused, &problems);
    let again =
        again.unwrap_or_else(|| panic!("not read as PEM: {:?} {set}", problems.into_parts()));
    let same = again.keys().first().map(|other| (&other.thumbprint, other.bits()));
    assert_eq!(same, Some((&key.thumbprint, key.bits())), "another key as PEM: {set}");
}
