//! Requests with tokens, good ones and broken ones, at places that rules read and elsewhere.

use serde_json::{Value, json};

use super::Case;
use crate::draw::Draw;
use crate::mint::{SIGNERS, base64url};
use crate::subject::{Connection, MetadataValue, Metadatum, Peer, Request};
use crate::words;
use crate::written::METADATA;

/// The time of most cases; tokens expire about here.
pub(crate) const NOW: u64 = 1_000_000;

const CLAIMS: &[&str] = &[
    "iss",
    "i1",
    "i2",
    "sub",
    "groups",
    "a",
    "g",
    "n",
    "exp",
    "nbf",
    "iat",
    "aud",
    "scope",
    "roles",
    "tenant",
    "q",
    "act",
    "email_verified",
    "read write",
    "admin",
    "\r\nx: y",
    "é\u{0}\u{9b}",
    "%",
    ",",
    "\u{7f}",
    "\u{202e}",
    "\"\\",
    "x,y z",
    " ",
];

const PATHS: &[&str] = &[
    "/",
    "/p",
    "/admin",
    "/a/acme/x",
    "/healthz",
    "/open/x",
    "/optional",
    "/d/x",
    "/p//x",
    "/x/../healthz",
    "/%68ealthz",
];

const PATH_PIECES: &[&str] = &[
    "/", "a", "..", "%2e", "%2f", ";", "\\", "%00", "admin", "open", "%", "25", "#", "acme", "x",
    "//",
];

const NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "x-token",
    "sec-websocket-protocol",
    "origin",
    "access-control-request-method",
    "content-type",
    "connection",
    "x-envoy-original-path",
    "x-request-id",
    "traceparent",
    "x-a",
    "x-evil",
    "user-agent",
    "referer",
];

/// Names that Usher emits or strips, in spellings of a client.
const IDENTITY_NAMES: &[&str] = &[
    "user-info",
    "x-sub",
    "x-groups",
    "x-remote-user",
    "x-roles",
    "x-raw",
    "x-second",
    "x-any",
    "x-two",
    "x-json",
    "x-rep",
];

const VALUES: &[&str] = &[
    "https://o.example",
    "GET",
    "application/grpc",
    "application/grpc+proto",
    "upgrade, user-info",
    "close, X_Sub",
    "1",
    "s1",
    "admin",
    "",
];

pub(super) fn case(draw: &mut Draw<'_>) -> Case {
    let now = match draw.below(5) {
        0 => NOW + 2000,
        1 => draw.number(),
        2 => NOW + 1061,
        _ => NOW,
    };
    let mut signed = Vec::new();
    let tokens = draw.some(1, |draw| token(draw, &mut signed));
    let request = request(draw, &tokens);
    Case { now, request, signed, written: None }
}

fn token(draw: &mut Draw<'_>, signed: &mut Vec<String>) -> String {
    let (_, signer) = draw.pick(SIGNERS);
    let alg = signer.algorithm();
    let header = match draw.below(8) {
        0 => draw.text(61),
        1 => format!(r#"{{"alg":"{alg}","kid":"{}"}}"#, draw.pick(&["k1", "ec", "hs", "none", ""])),
        2 => format!(r#"{{"typ":"{}","alg":"{alg}"}}"#, draw.pick(&["JWT", "at+jwt", "x"])),
        3 => {
            let other = draw.pick(&["none", "RS256", "HS256", "EdDSA", "ES256"]);
            format!("{{\n\"alg\":\"{other}\"}}")
        }
        _ => format!(r#"{{"alg":"{alg}"}}"#),
    };
    let payload = payload(draw);
    let good = signer.token(&header, &payload);
    if signer.is_known() {
        signed.push(good.clone());
    }
    if draw.one_in(3) { broken(draw, good) } else { good }
}

fn payload(draw: &mut Draw<'_>) -> String {
    let seconds = |draw: &mut Draw<'_>, end: usize| u64::try_from(draw.below(end)).unwrap();
    let (exp, full) =
        (NOW + 1000, json!({"iss": "i1", "exp": NOW + 1000, "iat": NOW, "sub": "s1"}));
    let claims = match draw.below(8) {
        0 => return draw.text(201),
        1 => {
            let iat = NOW - seconds(draw, 300);
            json!({"iss": "i1", "exp": exp, "iat": iat, "sub": "s", "groups": ["admin", "x"], "aud": "aud"})
        }
        2 => {
            let mut claims = full;
            for _ in 0..=draw.below(3) {
                words::mutate(&mut claims, draw, CLAIMS);
            }
            claims
        }
        3 => {
            let value = words::value(draw, 3, CLAIMS);
            let sub = value.as_str().unwrap_or("s");
            json!({"iss": "i1", "sub": sub, "groups": value, "a": value, "g": [{"n": value}, value]})
        }
        4 => {
            let (exp, nbf) = (NOW + seconds(draw, 200) - 100, NOW + seconds(draw, 200) - 100);
            json!({"iss": draw.pick(&["i1", "i2", "i3"]), "exp": exp, "nbf": nbf})
        }
        5 => json!({"iss": "i1", "exp": exp, "iat": NOW, "sub": "s", "groups": "x-dev",
            "tenant": ["acme", "t2"], "scope": "read write", "g": [{"n": "x"}], "act": {"sub": "z"},
            "q": "1", "aud": "https://aud/"}),
        6 => json!({"iss": "i1", "exp": exp, "pad": "x".repeat(draw.below(30_000))}),
        _ => json!({"iss": "i1", "exp": exp, "sub": "s"}),
    };
    claims.to_string()
}

/// A token after changes, most of which break it.
fn broken(draw: &mut Draw<'_>, token: String) -> String {
    let mut token = token.into_bytes();
    for _ in 0..=draw.below(3) {
        let at = draw.below(token.len() + 1);
        let parts: Vec<Vec<u8>> = token.split(|b| *b == b'.').map(<[u8]>::to_vec).collect();
        match (draw.below(7), parts.as_slice()) {
            (0, [header, _, signature]) => {
                let payload = r#"{"iss":"i1","sub":"root","exp":1001000,"groups":["admin"]}"#;
                token = [header.clone(), base64url(payload).into(), signature.clone()].join(&b'.');
            }
            (1, [_, payload, _]) => {
                let signature = draw.pick(&["", "AA"]);
                let header = base64url(r#"{"alg":"none"}"#);
                token = [header.into(), payload.clone(), signature.into()].join(&b'.');
            }
            (2, _) => token.extend(draw.pick(&["=", "==", ".", " ", "\n", ".x"]).bytes()),
            (3, _) => token.truncate(at),
            (4, _) => token.insert(0, b'.'),
            (5, _) if at < token.len() => token[at] = draw.byte(),
            _ => {
                let byte = draw.byte();
                token.insert(at, byte);
            }
        }
    }
    String::from_utf8_lossy(&token).into_owned()
}

fn request(draw: &mut Draw<'_>, tokens: &[String]) -> Request {
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if !draw.one_in(20) {
        headers.push((
            b":method".to_vec(),
            match draw.one_in(10) {
                true => draw.bytes(7),
                false => draw.pick(&["GET", "POST", "OPTIONS"]).into(),
            },
        ));
    }
    if !draw.one_in(20) {
        headers.push((b":path".to_vec(), path(draw, tokens)));
    }
    headers.push((b":scheme".to_vec(), draw.pick(&["https", "http"]).into()));
    if !draw.one_in(10) {
        let authority = match draw.one_in(4) {
            true => draw.bytes(13),
            false => draw.pick(&["a.example", "A.example:80"]).into(),
        };
        headers.push((b":authority".to_vec(), authority));
    }
    for _ in 0..draw.below(9) {
        let name = match draw.below(5) {
            0 => draw.bytes(15),
            1 => {
                let separator = draw.pick(&["-", "_", ".", "~", "!", " "]);
                let times = 1 + draw.below(2);
                draw.pick(IDENTITY_NAMES).replacen('-', separator, times).into_bytes()
            }
            _ => draw.pick(NAMES).into(),
        };
        headers.push((name.to_ascii_lowercase(), value(draw, tokens)));
    }
    let connection = if draw.one_in(2) { connection(draw) } else { Connection::default() };
    Request { headers, connection, end_of_stream: !draw.one_in(3) }
}

fn one<'t>(draw: &mut Draw<'_>, tokens: &'t [String]) -> &'t String {
    &tokens[draw.below(tokens.len())]
}

fn path(draw: &mut Draw<'_>, tokens: &[String]) -> Vec<u8> {
    let mut path = match draw.below(6) {
        0 => draw.bytes(41),
        1 => draw.joined(PATH_PIECES, 8).into_bytes(),
        _ => draw.pick(PATHS).into(),
    };
    if draw.one_in(3) {
        path.extend(format!("/{}", one(draw, tokens)).bytes());
    }
    for _ in 0..draw.below(4) {
        let separator = if path.contains(&b'?') { '&' } else { '?' };
        let name = draw.pick(&["access_token", "t", "%74", "q", "access%5Ftoken", "x"]);
        let token = one(draw, tokens);
        let value = match draw.below(6) {
            0 => draw.text(9),
            1 => "1".to_owned(),
            2 => token.replace('.', "%2E"),
            3 => token.bytes().map(|b| format!("%{b:02x}")).collect(),
            _ => token.clone(),
        };
        path.extend(format!("{separator}{name}={value}").bytes());
    }
    path
}

fn value(draw: &mut Draw<'_>, tokens: &[String]) -> Vec<u8> {
    let token = one(draw, tokens);
    let text = match draw.below(12) {
        0 => return draw.bytes(41),
        1 | 2 => {
            let schemes = [
                "Bearer ",
                "bearer\t",
                "Bearer",
                "Token ",
                "T=",
                "",
                "Basic x, Bearer ",
                " Bearer ",
            ];
            draw.pick(&schemes).to_owned() + token
        }
        3 => {
            let end = draw.pick(&["", "\"", " "]);
            format!("a=1; sess={token}{end}; b={}", one(draw, tokens))
        }
        4 => format!("chat, bearer.{token}{}", draw.pick(&["", ", x", " , bearer.y"])),
        5 => format!("sess=\"{token}\""),
        6 => token.clone(),
        7 => draw.pick(VALUES).to_owned(),
        8 => format!("{token} {}", one(draw, tokens)),
        9 => format!("{},{token}", draw.text(6)),
        10 => format!("/x?access_token={token}&a=1"),
        _ => draw.text(21),
    };
    text.into_bytes()
}

fn connection(draw: &mut Draw<'_>) -> Connection {
    let uri = match draw.one_in(3) {
        true => draw.text(21),
        false => draw.pick(&["spiffe://td/ns/a/sa/b", "spiffe://x/ns/b/sa/c"]).to_owned(),
    };
    let (filter, key) = METADATA;
    let metadatum = Metadatum {
        filter: filter.to_owned(),
        key: key.to_owned(),
        value: MetadataValue::Text(draw.text(5)),
    };
    Connection {
        peer: Some(Peer {
            uri_sans: vec![uri],
            dns_sans: vec![draw.text(6)],
            subject: draw.text(6),
            ..Peer::default()
        }),
        sni: draw.pick(&["", "a.example"]).to_owned(),
        source_ip: draw.pick(&["10.9.1.1", "10.0.0.1", "::1"]).parse().ok(),
        remote_ip: draw.pick(&["10.9.1.1", "127.0.0.1", "::1"]).parse().ok(),
        destination_ip: None,
        destination_port: Some(443),
        metadata: vec![metadatum],
    }
}

/// The claims of a payload, if it is an object.
pub(super) fn claims(token: &str) -> Option<Value> {
    let payload = crate::mint::unbase64url(token.split('.').nth(1)?)?;
    serde_json::from_slice(&payload).ok()
}
