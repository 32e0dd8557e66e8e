//! Alternative names in a client's certificate, as Envoy supplies it: PEM, percent-encoded.
//!
//! Envoy's attributes have the first URI SAN and the first DNS SAN only, while its RBAC filter compares
//! each; all of them are in `connection.peer_certificate` only (Envoy 1.38 and later). The TLS layer
//! has verified the certificate: only its names are read here, and nothing else in it is used or
//! checked.

use crate::codec::der::{self, BOOLEAN, OCTET_STRING, SEQUENCE, VERSION};
use crate::codec::pem;
use crate::codec::percent::percent_decode;

/// Alternative names of both kinds that rules compare, in certificate order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// URI SANs.
    pub uris: Vec<String>,
    /// DNS SANs.
    pub dns: Vec<String>,
}

/// OBJECT IDENTIFIER id-ce-subjectAltName (RFC 5280 section 4.2.1.6), tag and length included.
const SUBJECT_ALT_NAME: &[u8] = b"\x06\x03\x55\x1d\x11";
const EXTENSIONS: u8 = 0xa3;
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// Reads the first certificate of a percent-encoded PEM text. `None` if there is none, or if it cannot
/// be read to its end: a part of the names must not pass for all of them.
pub fn names(encoded: &[u8]) -> Option<Names> {
    let text = percent_decode(encoded);
    let blocks = pem::blocks(std::str::from_utf8(&text).ok()?)?;
    names_of(&blocks.first()?.der)
}

/// The names of a certificate in DER (RFC 5280 section 4.1).
fn names_of(certificate: &[u8]) -> Option<Names> {
    let (certificate, _) = der::expect(SEQUENCE, certificate)?;
    let (tbs, _) = der::expect(SEQUENCE, certificate)?;
    let mut rest = der::expect(VERSION, tbs).map_or(tbs, |(_, rest)| rest);
    // serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo.
    for _ in 0..6 {
        rest = der::value(rest)?.2;
    }
    // issuerUniqueID and subjectUniqueID may precede the extensions.
    while !rest.is_empty() {
        let (tag, content, tail) = der::value(rest)?;
        if tag == EXTENSIONS {
            return extensions(content);
        }
        rest = tail;
    }
    Some(Names::default())
}

fn extensions(der: &[u8]) -> Option<Names> {
    let (mut rest, _) = der::expect(SEQUENCE, der)?;
    while !rest.is_empty() {
        let (extension, tail) = der::expect(SEQUENCE, rest)?;
        rest = tail;
        if let Some(value) = extension.strip_prefix(SUBJECT_ALT_NAME) {
            let value = der::expect(BOOLEAN, value).map_or(value, |(_, rest)| rest);
            return general_names(der::expect(OCTET_STRING, value)?.0);
        }
    }
    Some(Names::default())
}

fn general_names(der: &[u8]) -> Option<Names> {
    let (mut rest, _) = der::expect(SEQUENCE, der)?;
    let mut names = Names::default();
    while !rest.is_empty() {
        let (tag, content, tail) = der::value(rest)?;
        rest = tail;
        let list = match tag {
            URI => &mut names.uris,
            DNS_NAME => &mut names.dns,
            _ => continue,
        };
        list.push(std::str::from_utf8(content).ok()?.to_owned());
    }
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// A certificate of empty values, with these extensions.
    fn certificate(extensions: &[u8]) -> Vec<u8> {
        let empty = tlv(SEQUENCE, b"").repeat(6);
        let tbs = [tlv(VERSION, b""), empty, extensions.to_vec()].concat();
        tlv(SEQUENCE, &[tlv(SEQUENCE, &tbs), tlv(SEQUENCE, b"")].concat())
    }

    fn extension(oid: &[u8], critical: &[u8], value: &[u8]) -> Vec<u8> {
        tlv(SEQUENCE, &[oid, critical, &tlv(OCTET_STRING, value)].concat())
    }

    fn subject_alt_names(critical: &[u8]) -> Vec<u8> {
        let names = [
            tlv(URI, b"spiffe://td/ns/a/sa/b"),
            tlv(0x87, &[127, 0, 0, 1]),
            tlv(DNS_NAME, b"b.example"),
            tlv(URI, b"spiffe://td/ns/a/sa/c"),
        ];
        let other = extension(b"\x06\x03\x55\x1d\x0f", b"", b"");
        let names = extension(SUBJECT_ALT_NAME, critical, &tlv(SEQUENCE, &names.concat()));
        tlv(EXTENSIONS, &tlv(SEQUENCE, &[other, names].concat()))
    }

    #[test]
    fn every_name_is_read() {
        let both = Names {
            uris: vec!["spiffe://td/ns/a/sa/b".to_owned(), "spiffe://td/ns/a/sa/c".to_owned()],
            dns: vec!["b.example".to_owned()],
        };
        for (extensions, expected, what) in [
            (subject_alt_names(b""), both.clone(), "among other extensions"),
            (subject_alt_names(b"\x01\x01\xff"), both.clone(), "critical"),
            (
                [tlv(0x81, b"\0x"), subject_alt_names(b"")].concat(),
                both,
                "behind a unique identifier",
            ),
            (Vec::new(), Names::default(), "no extension"),
            (tlv(EXTENSIONS, &tlv(SEQUENCE, b"")), Names::default(), "no alternative name"),
        ] {
            assert_eq!(names_of(&certificate(&extensions)), Some(expected), "{what}");
        }
    }

    #[test]
    fn half_a_certificate_has_no_names() {
        let good = certificate(&subject_alt_names(b""));
        for end in 0..good.len() {
            assert_eq!(names_of(&good[..end]), None, "cut at {end}");
        }
        let binary = [tlv(URI, b"spiffe://td/\xff")].concat();
        let binary = extension(SUBJECT_ALT_NAME, b"", &tlv(SEQUENCE, &binary));
        let binary = certificate(&tlv(EXTENSIONS, &tlv(SEQUENCE, &binary)));
        assert_eq!(names_of(&binary), None, "a name that is not a text");
    }

    #[test]
    fn envoys_encoding_is_undone() {
        use base64::Engine as _;
        let der = certificate(&subject_alt_names(b""));
        let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
        let pem = format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n");
        let mut encoded = String::new();
        for byte in pem.bytes() {
            match byte {
                b'\n' | b' ' | b'+' | b'/' | b'=' => encoded.push_str(&format!("%{byte:02X}")),
                _ => encoded.push(char::from(byte)),
            }
        }
        assert_eq!(names(encoded.as_bytes()), names_of(&der));
        assert_eq!(names(b""), None);
        assert_eq!(names(b"%00"), None);
        assert_eq!(names(b"not PEM"), None);
    }
}
