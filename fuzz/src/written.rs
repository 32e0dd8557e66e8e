//! Requests as written in the corpus, and as printed when a drawn one fails.
//!
//! ```json
//! {"headers": [[":path", "/x"], ["x-long", [{"repeat": "a", "times": 9000}, {"hex": "ff"}]]],
//!  "connection": {"uriSans": ["spiffe://td/ns/a/sa/b"], "sourceIp": "10.0.0.7"}}
//! ```
//!
//! A list of pieces may replace any text: [`bytes`].

use serde_json::{Map, Value, json};

use crate::subject::{Connection, MetadataValue, Metadatum, Peer, Request};

/// The filter and the key of the metadata that the rules of cases use.
pub(crate) const METADATA: (&str, &str) = ("envoy.filters.f", "k");

/// More than any request can contain.
pub(crate) const MAX_TIMES: usize = 60_000;

/// A written case.
pub(crate) fn case(data: &[u8]) -> Option<Value> {
    serde_json::from_slice(data).ok().filter(Value::is_object)
}

/// Reads a piece that only some cases have.
pub(crate) type Piece<'p> = &'p mut dyn FnMut(&Value) -> Option<Vec<u8>>;

/// The request of a case.
pub(crate) fn request(case: &Value, other: Piece<'_>) -> Option<Request> {
    let mut headers = Vec::new();
    for line in case.get("headers")?.as_array()? {
        let [name, value] = line.as_array()?.as_slice() else { return None };
        headers.push((bytes(name, other)?, bytes(value, other)?));
    }
    let connection = case.get("connection").map_or_else(Connection::default, connection);
    let end_of_stream = case.get("endOfStream").and_then(Value::as_bool).unwrap_or(true);
    Some(Request { headers, connection, end_of_stream })
}

/// The bytes of a text, of `{"hex": ..}`, of `{"repeat": .., "times": ..}`, or of a list of such.
fn bytes(piece: &Value, other: Piece<'_>) -> Option<Vec<u8>> {
    match piece {
        Value::String(text) => return Some(text.as_bytes().to_vec()),
        Value::Array(pieces) => {
            let pieces: Option<Vec<_>> = pieces.iter().map(|piece| bytes(piece, other)).collect();
            return pieces.map(|pieces| pieces.concat());
        }
        _ => {}
    }
    if let Some(hex) = piece.get("hex") {
        let pairs = hex.as_str()?.as_bytes().chunks(2);
        return pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()).collect();
    }
    if let Some(text) = piece.get("repeat") {
        let times = usize::try_from(piece.get("times")?.as_u64()?).ok()?;
        return Some(text.as_str()?.repeat(times.min(MAX_TIMES)).into_bytes());
    }
    other(piece)
}

fn connection(value: &Value) -> Connection {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let texts = |name: &str| -> Vec<String> {
        let items = value.get(name).and_then(Value::as_array).into_iter().flatten();
        let texts = items.filter_map(|item| bytes(item, &mut |_| None));
        texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
    };
    let address = |name: &str| text(name).parse().ok();
    let peer = Peer {
        uri_sans: texts("uriSans"),
        dns_sans: texts("dnsSans"),
        subject: text("subject"),
        ..Peer::default()
    };
    let metadata = value.get("metadata").map(|value| match value.as_str() {
        Some(text) => MetadataValue::Text(text.to_owned()),
        None => MetadataValue::List(texts("metadata")),
    });
    let (filter, key) = METADATA;
    let metadatum = |value| Metadatum { filter: filter.to_owned(), key: key.to_owned(), value };
    Connection {
        peer: value.get("uriSans").is_some().then_some(peer),
        sni: text("sni"),
        source_ip: address("sourceIp"),
        remote_ip: address("remoteIp"),
        destination_ip: address("destinationIp"),
        destination_port: value
            .get("destinationPort")
            .and_then(Value::as_u64)
            .and_then(|port| u16::try_from(port).ok()),
        metadata: metadata.map(metadatum).into_iter().collect(),
    }
}

/// A request in the form that [`request`] reads.
pub(crate) fn print(request: &Request) -> Value {
    let piece = |bytes: &Vec<u8>| match str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({"hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()}),
    };
    let headers = request.headers.iter().map(|(name, value)| json!([piece(name), piece(value)]));
    let of = &request.connection;
    let mut connection = Map::new();
    let mut add = |name: &str, value: Value| connection.insert(name.to_owned(), value);
    if let Some(peer) = &of.peer {
        add("uriSans", json!(peer.uri_sans));
        add("dnsSans", json!(peer.dns_sans));
        add("subject", json!(peer.subject));
    }
    add("sni", json!(of.sni));
    let addresses = [
        ("sourceIp", of.source_ip),
        ("remoteIp", of.remote_ip),
        ("destinationIp", of.destination_ip),
    ];
    for (name, address) in addresses {
        address.map(|address| add(name, json!(address.to_string())));
    }
    of.destination_port.map(|port| add("destinationPort", json!(port)));
    if let Some(metadatum) = of.metadata.first() {
        add(
            "metadata",
            match &metadatum.value {
                MetadataValue::Text(text) => json!(text),
                MetadataValue::List(items) => json!(items),
            },
        );
    }
    json!({"headers": headers.collect::<Vec<_>>(), "connection": connection,
        "endOfStream": request.end_of_stream})
}
