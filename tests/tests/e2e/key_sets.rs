//! Key sets in the forms in which issuers and people write them: what native jwt_authn takes, Usher takes, or
//! docs/differences.md has the form, by the name that it has here.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_core::decide::{WorkerState, decide};
use usher_core::load;
use usher_core::time::UnixSeconds;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::{jwt_authn, paths};

const ISSUER: &str = "https://idp.example.com";

static RSA: LazyLock<Key> = LazyLock::new(|| Key::new("RS256", "rsa"));
static EC: LazyLock<Key> = LazyLock::new(|| with_leading_zero("x"));
static EC_Y: LazyLock<Key> = LazyLock::new(|| with_leading_zero("y"));
static ED: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "ed"));

/// A key of which a coordinate begins with a zero, as one of 256 does.
fn with_leading_zero(coordinate: &str) -> Key {
    let has_zero = |key: &Key| mint::decode(key.jwk()[coordinate].as_str().unwrap())[0] == 0;
    std::iter::repeat_with(|| Key::new("ES256", "ec")).find(has_zero).unwrap()
}

/// What becomes of a token of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Used,
    Refused,
}
use Answer::{Refused, Used};

struct Form {
    name: &'static str,
    /// The text of the set.
    set: String,
    key: &'static Key,
    native: Answer,
    /// With a part of Usher's reason, if it refuses.
    usher: Result<(), &'static str>,
}

/// The set of the key's JWK with these members changed.
fn with(key: &Key, members: Value) -> Value {
    let mut jwk = key.jwk();
    for (name, member) in members.as_object().unwrap() {
        jwk[name] = member.clone();
    }
    json!({ "keys": [jwk] })
}

fn text(key: &Key, member: &str) -> String {
    key.jwk()[member].as_str().unwrap().to_owned()
}

/// A number in base64url with bytes ahead, or without its first.
fn number(key: &Key, member: &str, change: impl Fn(&mut Vec<u8>)) -> String {
    let mut bytes = mint::decode(&text(key, member));
    change(&mut bytes);
    mint::encode(bytes)
}

fn forms() -> Vec<Form> {
    let n = text(&RSA, "n");
    let ed = |members: Value| with(&ED, members).to_string();
    let rsa = |members: Value| with(&RSA, members).to_string();
    let form = |name, set: String, key: &'static LazyLock<Key>, native, usher| Form {
        name,
        set,
        key,
        native,
        usher,
    };
    let longer = |bytes: &mut Vec<u8>| bytes.insert(0, 0);
    let shorter = |bytes: &mut Vec<u8>| {
        bytes.remove(0);
    };
    let plain = mint::jwks([&*ED]).to_string();
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let beside = |member: String| plain.replacen('{', &format!("{{{member},"), 1);
    vec![
        form("plain", plain.clone(), &ED, Used, Ok(())),
        // Members without a value, as .NET and others write them.
        form(
            "nulls",
            rsa(json!({"use": null, "alg": null, "key_ops": null, "x5c": null, "x5t": null,
            "d": null, "p": null, "q": null, "dp": null, "dq": null, "qi": null, "oth": null})),
            &RSA,
            Used,
            Ok(()),
        ),
        form(
            "empty-texts",
            rsa(json!({"use": "", "alg": "", "x5t": "", "d": "", "p": "", "q": "", "k": ""})),
            &RSA,
            Used,
            Ok(()),
        ),
        form("empty-lists", rsa(json!({"key_ops": [], "x5c": [], "oth": []})), &RSA, Used, Ok(())),
        form("kid-null", ed(json!({"kid": null})), &ED, Used, Ok(())),
        form("kid-empty", ed(json!({"kid": ""})), &ED, Used, Ok(())),
        form("kid-number", ed(json!({"kid": 7})), &ED, Used, Ok(())),
        form("kid-list", ed(json!({"kid": ["ed"]})), &ED, Used, Ok(())),
        form("use-number", ed(json!({"use": 7})), &ED, Used, Err("`use` is not a string")),
        form("alg-number", ed(json!({"alg": 7})), &ED, Used, Err("`alg` is not a string")),
        form("key-ops-text", ed(json!({"key_ops": "verify"})), &ED, Used, Ok(())),
        form(
            "key-ops-object",
            ed(json!({"key_ops": {}})),
            &ED,
            Used,
            Err("`key_ops` does not hold `verify`"),
        ),
        form(
            "key-ops-sign",
            ed(json!({"key_ops": ["sign"]})),
            &ED,
            Used,
            Err("`key_ops` does not hold `verify`"),
        ),
        form("use-enc", ed(json!({"use": "enc"})), &ED, Used, Err("`use` is not `sig`")),
        form(
            "alg-of-another-kind",
            ed(json!({"alg": "ES256"})),
            &ED,
            Refused,
            Err("`alg` `ES256` does not fit the key"),
        ),
        form(
            "alg-for-encryption",
            rsa(json!({"alg": "RSA-OAEP"})),
            &RSA,
            Refused,
            Err("`alg` `RSA-OAEP` does not fit the key"),
        ),
        // Numbers.
        form("padded", ed(json!({"x": text(&ED, "x") + "="})), &ED, Used, Ok(())),
        form("padded-rsa", rsa(json!({"n": n.clone() + "=="})), &RSA, Used, Ok(())),
        form(
            "lines",
            rsa(json!({"n": format!("{}\r\n{}\n", &n[..76], &n[76..])})),
            &RSA,
            Used,
            Ok(()),
        ),
        form(
            "spaces",
            rsa(json!({"n": format!(" {} {}\t", &n[..76], &n[76..])})),
            &RSA,
            Used,
            Ok(()),
        ),
        form("unused-bits", ed(json!({"x": unused_bits(&text(&ED, "x"))})), &ED, Used, Ok(())),
        form("base64", rsa(json!({"n": standard(&n)})), &RSA, Refused, Err("not base64url")),
        form("n-with-zero", rsa(json!({"n": number(&RSA, "n", longer)})), &RSA, Used, Ok(())),
        form("e-with-zero", rsa(json!({"e": "AAEAAQ"})), &RSA, Used, Ok(())),
        form(
            "x-too-short",
            with(&EC, json!({"x": number(&EC, "x", shorter)})).to_string(),
            &EC,
            Used,
            Ok(()),
        ),
        form(
            "y-too-short",
            with(&EC_Y, json!({"y": number(&EC_Y, "y", shorter)})).to_string(),
            &EC_Y,
            Used,
            Ok(()),
        ),
        form(
            "x-too-long",
            with(&EC, json!({"x": number(&EC, "x", longer)})).to_string(),
            &EC,
            Used,
            Ok(()),
        ),
        form(
            "y-too-long",
            with(&EC, json!({"y": number(&EC, "y", longer)})).to_string(),
            &EC,
            Used,
            Ok(()),
        ),
        form(
            "okp-too-long",
            ed(json!({"x": number(&ED, "x", longer)})),
            &ED,
            Refused,
            Err("Ed25519"),
        ),
        form(
            "off-the-curve",
            with(&EC, json!({"x": text(&EC, "y")})).to_string(),
            &EC,
            Refused,
            Err("not on the curve"),
        ),
        form(
            "a-curve-is-named",
            with(&EC, json!({})).to_string().replacen("\"crv\":\"P-256\",", "", 1),
            &EC,
            Used,
            Err("`crv` is missing"),
        ),
        form(
            "curve-null",
            with(&EC, json!({"crv": null})).to_string(),
            &EC,
            Refused,
            Err("`crv` is missing"),
        ),
        form("private-part", ed(json!({"d": "AQ"})), &ED, Used, Err("holds private part `d`")),
        // The set.
        form("deep-members", beside(format!("\"x\":{}", deep(90))), &ED, Used, Ok(())),
        form("deeper-members", beside(format!("\"x\":{}", deep(120))), &ED, Refused, Ok(())),
        form(
            "line-in-x5c",
            ed(json!({"x5c": ["MIIC~AAAA"]})).replace('~', "\n"),
            &ED,
            Used,
            Ok(()),
        ),
        form(
            "control-in-x5c",
            ed(json!({"x5c": ["MIIC~AAAA"]})).replace('~', "\u{1}"),
            &ED,
            Used,
            Ok(()),
        ),
        form(
            "member-twice",
            plain.replacen("\"kid\"", "\"kid\":\"z\",\"kid\"", 1),
            &ED,
            Refused,
            Err("kid"),
        ),
        form("keys-twice", plain.replacen('{', "{\"keys\":[],", 1), &ED, Refused, Err("keys")),
        form("byte-order-mark", format!("\u{feff}{plain}"), &ED, Refused, Err("byte order mark")),
        form("comment", plain.replacen('{', "{/* c */", 1), &ED, Refused, Err("no JSON")),
        form("trailing-comma", plain.replacen("]}", ",]}", 1), &ED, Used, Err("no JSON")),
        form("text-behind", plain.clone() + "x", &ED, Refused, Err("no JSON")),
        form("single-quotes", plain.replace('"', "'"), &ED, Used, Err("no JSON")),
        form("Keys", plain.replacen("keys", "Keys", 1), &ED, Refused, Err("`Keys`")),
        form(
            "data",
            json!({ "data": mint::jwks([&*ED]) }).to_string(),
            &ED,
            Refused,
            Err("`data` holds a set"),
        ),
        form("list", json!([ED.jwk()]).to_string(), &ED, Refused, Err("no object")),
        form("single-key", ED.jwk().to_string(), &ED, Refused, Err("a single key")),
        form("url", "https://idp.example.com/keys".to_owned(), &ED, Refused, Err("a URL")),
        form("encoded", mint::encode(&plain), &ED, Refused, Err("base64 of JSON")),
        form(
            "keys-object",
            json!({"keys": {"ed": ED.jwk()}}).to_string(),
            &ED,
            Refused,
            Err("to be a list"),
        ),
        form(
            "junk-beside",
            json!({"keys": ["text", null, 7, {}, ED.jwk()]}).to_string(),
            &ED,
            Used,
            Ok(()),
        ),
        form(
            "yaml-n",
            rsa(json!({"false": n})).replacen("\"n\":", "\"m\":", 1),
            &RSA,
            Refused,
            Err("`false` is there"),
        ),
    ]
}

/// The same number in base64's own alphabet; the same text where it has neither of the two letters.
fn standard(text: &str) -> String {
    // Both letters, so that the text always differs.
    format!("{}+/", text[..text.len() - 2].replace('-', "+").replace('_', "/"))
}

/// The last digit, with bits set that no byte has.
fn unused_bits(text: &str) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (head, last) = text.split_at(text.len() - 1);
    let at = DIGITS.iter().position(|digit| *digit == last.as_bytes()[0]).unwrap();
    format!("{head}{}", char::from(DIGITS[at | 1]))
}

/// What Usher makes of the form: used, or its reasons.
fn usher(form: &Form, token: &str) -> Result<(), String> {
    let config = json!({ "jwtRules": [{ "issuer": ISSUER, "jwks": form.set }] });
    let loaded = load::from_value(&config).map_err(|problems| {
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    })?;
    let line = (b"authorization".to_vec(), format!("Bearer {token}").into_bytes());
    let headers = vec![(b":path".to_vec(), b"/".to_vec()), line];
    let request = usher_core::Request { headers, ..usher_core::Request::default() };
    let now = UnixSeconds(mint::now().try_into().unwrap());
    let decision = decide(&loaded.policy, &request, now, &mut WorkerState::portable());
    match decision.reply {
        None => Ok(()),
        Some(_) => Err(format!("{:?}", decision.denial)),
    }
}

#[test]
fn what_native_takes_usher_takes_or_the_list_of_differences_has_it() {
    let forms = forms();
    let mut builder = Envoy::builder();
    for form in &forms {
        let rules = json!([{ "issuer": ISSUER, "jwks": form.set }]);
        builder = builder.listener(form.name, Setup::open().ahead(jwt_authn::filter(&rules)));
    }
    let envoy = builder.start();
    let differences = std::fs::read_to_string(paths::root().join("docs/differences.md")).unwrap();
    let listed = |name: &str| differences.contains(&format!("`{name}`"));
    let (mut wrong, mut names) = (Vec::new(), BTreeSet::new());
    for form in &forms {
        assert!(names.insert(form.name), "{} twice", form.name);
        let token = form.key.token(&mint::claims(ISSUER, "s"));
        // Without a usable key Envoy takes no such listener.
        let request = Request::get("/").bearer(&token);
        let status =
            envoy.has_listener(form.name).then(|| envoy.listener(form.name).http1(&request).status);
        let native = if status == Some(200) { Used } else { Refused };
        if native != form.native {
            wrong.push(format!("{}: native {native:?}, {status:?}", form.name));
        }
        let found = usher(form, &token);
        let as_expected = match (&found, form.usher) {
            (Ok(()), Ok(())) => true,
            (Err(found), Err(expected)) => found.contains(expected),
            _ => false,
        };
        if !as_expected {
            wrong.push(format!("{}: usher {found:?}", form.name));
        }
        if native == Used && found.is_err() && !listed(form.name) {
            wrong.push(format!("{}: docs/differences.md does not have it", form.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
