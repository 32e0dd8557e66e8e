//! The hello-world service of the guides. It knows nothing of tokens: the caller is the one that `User-Info` names.

use std::collections::BTreeMap;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Json;
use axum::routing::get;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

/// `/` greets, `/headers` returns every header as received, `/who-am-i` the caller's name and groups,
/// `/health_check` is for probes.
pub fn router() -> Router {
    Router::new()
        .route("/", get(hello))
        .route("/headers", get(headers))
        .route("/who-am-i", get(who_am_i))
        .route("/health_check", get(|| async { Json(json!({ "status": "ok" })) }))
        .fallback(get(hello))
}

async fn hello() -> Json<Value> {
    let host = gethostname::gethostname().to_string_lossy().into_owned();
    Json(json!({ "msg": "hello world!", "host": host }))
}

/// A header that came once is a text, one that came more often a list.
async fn headers(headers: HeaderMap) -> Json<Value> {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        all.entry(name.as_str()).or_default().push(value);
    }
    let all: BTreeMap<&str, Value> = all
        .into_iter()
        .map(|(name, values)| match values.as_slice() {
            [one] => (name, json!(one)),
            several => (name, json!(several)),
        })
        .collect();
    Json(json!({ "headers": all }))
}

async fn who_am_i(headers: HeaderMap) -> (StatusCode, Json<Value>) {
    let Some(header) = headers.get("user-info") else {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "nobody told who is calling" })));
    };
    match user_info(header.as_bytes()) {
        Some(user) => {
            let answer = json!({ "name": user.get("sub"), "groups": user.get("groups") });
            (StatusCode::OK, Json(answer))
        }
        None => {
            let error = json!({ "error": "User-Info is no JSON in base64" });
            (StatusCode::BAD_REQUEST, Json(error))
        }
    }
}

/// Reads `User-Info` in any of the encodings that Usher can give it: either base64, padded or not, or JSON.
pub fn user_info(header: &[u8]) -> Option<Value> {
    if header.starts_with(b"{") {
        return serde_json::from_slice(header).ok();
    }
    let lenient =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decoded = [alphabet::URL_SAFE, alphabet::STANDARD]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(&alphabet, lenient).decode(header).ok())?;
    serde_json::from_slice(&decoded).ok()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    #[test]
    fn every_encoding_of_user_info_is_read() {
        let text = r#"{"sub":"m?~\u00e9","groups":["a"]}"#;
        let expected: Value = serde_json::from_str(text).unwrap();
        for (what, header) in [
            ("base64url", URL_SAFE_NO_PAD.encode(text)),
            ("base64url-padded", URL_SAFE.encode(text)),
            ("base64", STANDARD.encode(text)),
            ("json", text.to_owned()),
        ] {
            assert_eq!(user_info(header.as_bytes()), Some(expected.clone()), "{what}");
        }
        assert_eq!(user_info(b"mmosley"), None);
    }
}
