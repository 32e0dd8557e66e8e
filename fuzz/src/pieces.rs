//! The small readers, through the public functions that use them.
//!
//! A written case is the name of a piece, a space, and its input.

use serde_json::{Value, json};

use crate::compact::whole;
use crate::draw::Draw;
use crate::mint::Signer;
use crate::subject::{
    Location, Locations, MetadataValue, Node, PeerIdentity, Prefix, Problems, Record, Request,
    TokenLocation, UnixMillis, certificate, metadata, peer, redaction, spki,
};

/// A piece: its name, how its input is drawn, and its invariant.
type Piece = (&'static str, fn(&mut Draw<'_>) -> Vec<u8>, fn(&[u8]));

const PIECES: &[Piece] = &[
    ("certificate", draw_certificate, certificate_names),
    ("duration", draw_duration, durations),
    ("number", draw_number, numbers),
    ("params", draw_params, params),
    ("peer", draw_peer, peers),
    ("protobuf", draw_protobuf, protobuf),
    ("record", draw_record, record),
    ("redaction", draw_redaction, redacted),
    ("spki", draw_der, key_info),
    ("url", draw_url, url),
];

pub(crate) fn run(data: &[u8]) {
    if let Some(mut draw) = Draw::of(data) {
        let (_, input, check) = draw.pick(PIECES);
        check(&input(&mut draw));
    } else if let Some(at) = data.iter().position(|b| *b == b' ') {
        let piece = PIECES.iter().find(|(name, ..)| name.as_bytes() == &data[..at]);
        piece.inspect(|(.., check)| check(&data[at + 1..]));
    }
}

fn shown(input: &[u8]) -> std::slice::EscapeAscii<'_> {
    input.escape_ascii()
}

/// DER with the known object identifiers, and lengths that may be wrong.
fn draw_der(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut der = Vec::new();
    value(draw, 5, &mut der);
    der
}

fn value(draw: &mut Draw<'_>, depth: u32, der: &mut Vec<u8>) {
    const CONTENTS: &[&[u8]] = &[
        b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01",
        b"\x06\x03\x2b\x65\x70",
        b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
        b"\x06\x03\x55\x1d\x11",
        b"\x01\x01\xff",
        b"\x86\x08spiffe:a",
        b"\x82\x01a",
    ];
    let tag = draw.pick(&[0x30, 0x30, 0x30, 0x02, 0x03, 0x06, 0x05, 0xa0, 0x04, 0xa3, 0x82, 0x86]);
    let mut content = if tag == 3 { vec![0] } else { Vec::new() };
    if depth > 0 && draw.one_in(2) {
        for _ in 0..draw.below(8) {
            value(draw, depth - 1, &mut content);
        }
    } else if draw.one_in(3) {
        content.extend(draw.bytes(41));
    } else {
        content.extend(draw.pick(CONTENTS));
    }
    der.push(tag);
    let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
    let [high, low] = length.to_be_bytes();
    match (draw.below(12), length) {
        (0, _) => der.extend([0x84, 0xff, 0xff, 0xff, 0xff]),
        (1, _) => der.push(draw.byte()),
        (2, _) => der.extend([0x83, 0, high, low]),
        (_, 0..=0x7f) => der.push(low),
        _ => der.extend([0x82, high, low]),
    }
    der.extend(content);
}

fn key_info(der: &[u8]) {
    spki::certificate_key(der);
    let Some(numbers) = spki::public_key(der) else { return };
    let written = numbers.spki();
    let again = spki::public_key(&written).map(|numbers| numbers.spki());
    assert_eq!(again, Some(written), "{}", shown(der));
}

/// A certificate with known names, or any DER; in PEM.
fn draw_certificate(draw: &mut Draw<'_>) -> Vec<u8> {
    use base64::Engine as _;
    let der = draw_der(draw);
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n").into_bytes()
}

fn certificate_names(pem: &[u8]) {
    let names = certificate::names(pem);
    // Percent codes mean their bytes; a `%` that is not one is in no certificate.
    let coded: String = pem.iter().map(|b| format!("%{b:02X}")).collect();
    if !pem.contains(&b'%') {
        assert_eq!(certificate::names(coded.as_bytes()), names, "{}", shown(pem));
    }
}

fn draw_number(draw: &mut Draw<'_>) -> Vec<u8> {
    let pieces = [
        "0",
        "1",
        "9",
        "5",
        "00",
        ".",
        "e",
        "E",
        "-",
        "+",
        "18446744073709551615",
        "9007199254740993",
    ];
    draw.joined(&pieces, 12).into_bytes()
}

/// A whole number is read from each of its spellings, and from nothing else.
fn numbers(text: &[u8]) {
    let Ok(value) = serde_json::from_slice::<Value>(text) else { return };
    let Value::Number(number) = &value else { return };
    let problems = Problems::default();
    let read = Node::root(&value).integer(0..=u64::MAX, &problems);
    assert_eq!(read.is_some(), problems.is_valid(), "{}", shown(text));
    let spelled = number.as_str();
    let is_whole = {
        let (digits, power) = spelled.split_once(['e', 'E']).unwrap_or((spelled, "0"));
        let (before, behind) = digits.split_once('.').unwrap_or((digits, ""));
        let all = before.trim_start_matches('-').to_owned() + behind;
        // The number of zeros at the end, in addition to those for the power.
        let zeros = all.len() - all.trim_end_matches('0').len();
        let power = power.parse::<i64>().unwrap_or(if power.starts_with('-') {
            i64::MIN / 2
        } else {
            i64::MAX / 2
        });
        let needed = i64::try_from(behind.len()).unwrap().saturating_sub(power);
        all.bytes().all(|digit| digit == b'0') || needed <= i64::try_from(zeros).unwrap()
    };
    let plain = spelled.bytes().all(|b| b.is_ascii_digit());
    // Above 2^53 a double differs from what was written; a plain integer does not.
    let expected = whole(spelled).filter(|n| is_whole && (plain || *n <= 1 << 53));
    if let (Some(read), Some(expected)) = (read, expected) {
        assert_eq!(read, expected, "{}", shown(text));
    }
    assert!(read.is_none() || is_whole, "no whole number: {}", shown(text));
    assert!(read.is_some() || expected.is_none_or(|n| n > 1 << 53), "{}", shown(text));
}

fn draw_duration(draw: &mut Draw<'_>) -> Vec<u8> {
    draw.joined(
        &["1", "5", "0", ".", "h", "m", "s", "ms", "us", "µs", "ns", "999999999999", "-", " "],
        9,
    )
    .into_bytes()
}

fn durations(text: &[u8]) {
    let value = json!(String::from_utf8_lossy(text));
    let problems = Problems::default();
    let read = Node::root(&value).duration(&problems);
    assert_eq!(read.is_some(), problems.is_valid(), "{value}");
    let Some(read) = read else { return };
    // The same duration, a minute longer.
    let longer = json!(format!("1m{}", value.as_str().unwrap()));
    let more = Node::root(&longer).duration(&problems);
    let minute = std::time::Duration::from_secs(60);
    assert_eq!(more, read.checked_add(minute), "{longer}");
}

fn draw_params(draw: &mut Draw<'_>) -> Vec<u8> {
    let pieces = [
        "a", "t", "%74", "=", "&", "?", "%", "%2", "%26", "%3D", "%25", "+", "#", "tt", "%C3%A9",
        "/",
    ];
    draw.joined(&pieces, 20).into_bytes()
}

/// Parameters are split at `&` and `=`, then percent-decoded.
fn params(query: &[u8]) {
    let place = [TokenLocation::Param("t".to_owned()), TokenLocation::Cookie("t".to_owned())];
    let locations = Locations::new(&place);
    let path = [b"/x?", query].concat();
    let headers = vec![(b":path".to_vec(), path), (b"cookie".to_vec(), query.to_vec())];
    let request = Request { headers, ..Request::default() };
    let found = |place: usize| -> Vec<Vec<u8>> {
        let all = locations.find(&request).into_iter().filter(|found| found.place == place);
        all.map(|found| found.token.into_owned()).collect()
    };
    let pairs = |separator: u8| {
        query.split(move |b| *b == separator).map(|pair| {
            let at = pair.iter().position(|b| *b == b'=');
            at.map_or((pair, None), |at| (&pair[..at], Some(&pair[at + 1..])))
        })
    };
    let expected: Vec<Vec<u8>> = pairs(b'&')
        .filter(|(name, _)| decoded(name) == b"t")
        .map(|(_, value)| decoded(value.unwrap_or_default()))
        .collect();
    assert_eq!(found(0), expected, "{}", shown(query));
    let unquoted = |value: &[u8]| {
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        inner.unwrap_or(value).to_vec()
    };
    let expected: Vec<Vec<u8>> = pairs(b';')
        .filter_map(|(name, value)| Some((name.trim_ascii_start(), value?.trim_ascii_end())))
        .filter(|(name, _)| *name == b"t")
        .map(|(_, value)| unquoted(value))
        .collect();
    assert_eq!(found(1), expected, "as cookies: {}", shown(query));
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let text: String = text.iter().map(|b| char::from(*b)).collect();
    let mut parts = text.split('%');
    let mut decoded: String = parts.next().unwrap_or_default().to_owned();
    // A `%` that begins no code stays, and may precede another one.
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte.into());
                decoded += &part[2..];
            }
            None => {
                decoded.push('%');
                decoded += part;
            }
        }
    }
    decoded.chars().map(|char| u8::try_from(char).unwrap()).collect()
}

fn draw_peer(draw: &mut Draw<'_>) -> Vec<u8> {
    let pieces =
        ["spiffe://td/ns/a/sa/b", ",", "-", "spiffe://", "a", "é", "\u{0}", ";", "URI=", "\""];
    draw.joined(&pieces, 8).into_bytes()
}

/// A text from another filter: only the name of a workload is a peer, and several names are doubtful.
fn peers(text: &[u8]) {
    let of = |identity: &PeerIdentity, tls: bool| {
        peer::find(identity, true, &|path| match path {
            ["filter_state", _] | ["connection", "uri_san_peer_certificate"] => Some(text.to_vec()),
            ["connection", "peer_certificate"] => Some(text.to_vec()),
            ["connection", "mtls"] => Some(vec![u8::from(tls)]),
            ["connection", "tls_version"] if tls => Some(b"TLSv1.3".to_vec()),
            _ => None,
        })
    };
    for identity in [PeerIdentity::Auto, PeerIdentity::FilterState("k".to_owned())] {
        let Some(found) = of(&identity, false) else { continue };
        let is_spiffe = |uri: &String| uri.starts_with("spiffe://");
        assert!(found.uri_sans.iter().any(is_spiffe), "{}", shown(text));
        let is_certain = found.certainty == peer::Certainty::Certain;
        assert_eq!(is_certain, found.uri_sans.len() == 1, "{}", shown(text));
    }
    assert_eq!(of(&PeerIdentity::Connection, false), None, "{}", shown(text));
    // This certificate was not validated.
    for identity in [PeerIdentity::Auto, PeerIdentity::Connection] {
        let found = of(&identity, true).map(|peer| peer.certainty);
        assert_eq!(found, Some(peer::Certainty::Doubtful), "{}", shown(text));
    }
}

/// Messages in messages; tags and lengths may be wrong.
fn draw_protobuf(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut message = Vec::new();
    fields(draw, 6, &mut message);
    message
}

fn fields(draw: &mut Draw<'_>, depth: u32, message: &mut Vec<u8>) {
    for _ in 0..draw.below(4) {
        let number = 1 + u8::try_from(draw.below(7)).unwrap();
        let mut content = Vec::new();
        if depth > 0 && !draw.one_in(3) {
            fields(draw, depth - 1, &mut content);
        } else {
            content.extend(draw.pick(&["f", "k", "v", ""]).bytes());
        }
        if draw.one_in(12) {
            message.push(number << 3 | draw.byte() & 7);
            message.extend(draw.bytes(7));
        } else {
            field(number, &content, message);
        }
    }
}

fn field(number: u8, content: &[u8], message: &mut Vec<u8>) {
    message.push(number << 3 | 2);
    let mut length = content.len();
    while length > 0x7f {
        message.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    message.push(u8::try_from(length).unwrap());
    message.extend(content);
}

/// After any other entries, the last entry of a key counts.
fn protobuf(message: &[u8]) {
    let wanted = [("f", "k"), ("f", "k"), ("", "")].map(|(f, k)| (f.to_owned(), k.to_owned()));
    let before = metadata::read(message, &wanted);
    assert!(before.len() <= wanted.len(), "{}", shown(message));
    let entry = |key: &[u8], value: &[u8]| {
        let (mut pair, mut entry) = (Vec::new(), Vec::new());
        field(1, key, &mut pair);
        field(2, value, &mut pair);
        field(1, &pair, &mut entry);
        entry
    };
    let mut text = Vec::new();
    field(3, b"text", &mut text);
    let mut more = message.to_vec();
    more.extend(entry(b"f", &entry(b"k", &text)));
    let found = metadata::read(&more, &wanted);
    // A message that ends in the middle of a field takes in what follows, or cannot be read.
    let is_whole = whole_message(message);
    if is_whole {
        let first = found.first().map(|metadatum| &metadatum.value);
        assert_eq!(first, Some(&MetadataValue::Text("text".to_owned())), "{}", shown(message));
    }
}

fn whole_message(mut message: &[u8]) -> bool {
    let varint = |bytes: &mut &[u8]| -> Option<u64> {
        let mut number = 0_u64;
        for shift in 0..10 {
            let (byte, rest) = bytes.split_first()?;
            *bytes = rest;
            number |= u64::from(byte & 0x7f) << (7 * shift);
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    };
    let next = |message: &mut &[u8]| -> Option<()> {
        let tag = varint(message)?;
        let length = match tag & 7 {
            0 => varint(message).map(|_| 0)?,
            1 => 8,
            2 => usize::try_from(varint(message)?).ok()?,
            5 => 4,
            _ => return None,
        };
        *message = message.get(length..)?;
        Some(())
    };
    while !message.is_empty() {
        if next(&mut message).is_none() {
            return false;
        }
    }
    true
}

fn draw_record(draw: &mut Draw<'_>) -> Vec<u8> {
    let mut text = "usher-keys-2;".to_owned();
    let numbers = ["0", "1", "7", "1700000000000", "18446744073709551615", "4294967296"];
    for count in [9, 3, draw.below(3), draw.below(3), 2 * draw.below(3), draw.below(3)] {
        let list: Vec<&str> = (0..count).map(|_| draw.pick(&numbers)).collect();
        text += &list.join(",");
        text += ";";
    }
    text.pop();
    if draw.one_in(4) {
        text += &draw.text(6);
    }
    text += "\n";
    text += draw.pick(&["", "{\"keys\":[]}", "x"]);
    text.into_bytes()
}

fn record(bytes: &[u8]) {
    let Some(record) = Record::from_bytes(bytes) else { return };
    let written = record.to_bytes();
    let again = Record::from_bytes(&written).expect("what is written can be read");
    assert_eq!(again.to_bytes(), written, "{}", shown(bytes));
    for now in [0, 1, 1_700_000_000_000, u64::MAX] {
        let next = record.next_attempt(UnixMillis(now)).0;
        let looks = crate::subject::look_after(&record, UnixMillis(now)).as_millis();
        assert!((1..=1000).contains(&looks), "{next} {}", shown(bytes));
        record.is_usable(UnixMillis(now), u64::MAX);
        record.is_worth_waiting(Some("x"), UnixMillis(u64::MAX), UnixMillis(now));
    }
}

fn draw_redaction(draw: &mut Draw<'_>) -> Vec<u8> {
    let pieces = [
        "eyJ", "eyI", "ewo", "%65", "%", "a", ".", "-", " ", "/", "é", "\u{202e}", "\n", "\"",
        "\\", "=",
    ];
    draw.joined(&pieces, 20).into_bytes()
}

fn redacted(text: &[u8]) {
    let is_plain = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
    let lossy = String::from_utf8_lossy(text);
    for most in [0, 1, 20, 1000] {
        let clean = redaction::clean(text, most);
        assert!(clean.len() <= most && is_plain(&clean), "{clean}: {}", shown(text));
        let json: Result<String, _> = serde_json::from_str(&format!("\"{clean}\""));
        assert!(json.is_ok(), "no string: {clean}: {}", shown(text));
        let printable = redaction::printable(&lossy, most);
        assert!(printable.len() <= most && is_plain(&printable), "{printable}: {}", shown(text));
    }
    let line = redaction::one_line(&lossy);
    assert!(!line.chars().any(char::is_control), "{line}: {}", shown(text));
    // A token is redacted anywhere in a text.
    let token = Signer::Ed.token(r#"{"alg":"EdDSA"}"#, r#"{"sub":"somebody in particular"}"#);
    let payload = token.split('.').nth(1).unwrap();
    for written in [token.clone(), token.replace('.', "%2E"), token.replace('.', "%2e")] {
        let around = [text, written.as_bytes(), text].concat();
        let redacted = redaction::redact(&around);
        let redacted = String::from_utf8_lossy(&redacted);
        assert!(!redacted.contains(payload), "{redacted}");
    }
}

fn draw_url(draw: &mut Draw<'_>) -> Vec<u8> {
    let pieces = [
        "https://", "http://", "a", "[::1]", ":", "80", "99999", "@", "/", "\\", "?", "#", "%",
        "%2f", ".", "]", "é", " ",
    ];
    let begin = draw.pick(&["https://", "http://", "https://a", ""]);
    (begin.to_owned() + &draw.joined(&pieces, 8)).into_bytes()
}

fn url(text: &[u8]) {
    let Ok(text) = str::from_utf8(text) else { return };
    let Ok(location) = Location::parse(text) else { return };
    assert_eq!(Location::parse(&location.to_string()), Ok(location.clone()), "{text}");
    let Location { scheme, authority, path } = &location;
    assert!(["http", "https"].contains(scheme) && path.starts_with('/'), "{text}");
    // Every reader reads it the same way.
    let separators = ['/', '\\', '@', '?', '#', '%', ' '];
    assert!(!authority.is_empty() && !authority.contains(separators), "{text}");
    assert!(!path.contains(['\\', '#', ' ']) && text.is_ascii(), "{text}");
    let host = location.host();
    let port = authority.strip_prefix(host).expect("a host begins its authority");
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    assert!(!host.is_empty() && (port.is_empty() || is_port(&port[1..])), "{text}");
    let prefix = Prefix::new(text);
    assert_eq!(prefix, Prefix::Exact(text.to_owned()), "a URL is not a scheme");
}
