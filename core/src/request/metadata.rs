//! Dynamic metadata of other filters, from Envoy's own message.
//!
//! For a single key Envoy returns bare bytes, which do not distinguish a text from a list; for `metadata` it
//! returns `envoy.config.core.v3.Metadata`, which has the types. Only the parts of protobuf that this needs are
//! read; everything else in the message is skipped.

use super::{MetadataValue, Metadatum};
use crate::codec::protobuf::fields;
use crate::hash::FastMap;
use crate::lookup::Lookup;

/// The values in `message` for the wanted filters and keys, in their order. Empty if it cannot be read.
pub fn read(message: &[u8], wanted: &[(String, String)]) -> Vec<Metadatum> {
    // Metadata.filter_metadata, then Struct.fields; each map is read once.
    let filters = Entries::of(message);
    let mut maps: FastMap<Box<[u8]>, usize> = FastMap::default();
    let mut read: Vec<Entries<'_>> = Vec::new();
    let mut all = Vec::new();
    for (filter, key) in wanted {
        let next = read.len();
        let at = *maps.entry(filter.as_bytes().into()).or_insert(next);
        if at == next {
            read.push(filters.find(filter).map(Entries::of).unwrap_or_default());
        }
        let value = read.get(at).and_then(|fields| metadata_value(fields.find(key)?));
        all.extend(value.map(|value| Metadatum {
            filter: filter.clone(),
            key: key.clone(),
            value,
        }));
    }
    all
}

/// A map's keys, and its values.
#[derive(Default)]
struct Entries<'m> {
    keys: Lookup<'m>,
    values: Vec<&'m [u8]>,
}

impl<'m> Entries<'m> {
    /// The map that is field 1; empty if it cannot be read.
    fn of(message: &'m [u8]) -> Self {
        let pair = |(_, entry): (u64, &'m [u8])| {
            let pair = fields(entry)?;
            let part = |n| pair.iter().rev().find(|field| field.0 == n).map(|field| field.1);
            Some((part(1).unwrap_or_default(), part(2).unwrap_or_default()))
        };
        let entries = fields(message).unwrap_or_default().into_iter();
        let (keys, values): (Vec<&[u8]>, Vec<&[u8]>) =
            entries.filter(|field| field.0 == 1).filter_map(pair).unzip();
        Self { keys: Lookup::of(keys.into_iter()), values }
    }

    /// The value of a key; protobuf: the last of equal keys counts.
    fn find(&self, key: &str) -> Option<&'m [u8]> {
        let (_, at) = self.keys.all(key.as_bytes()).last()?;
        self.values.get(*at).copied()
    }
}

/// `google.protobuf.Value`: string_value is field 3, list_value field 6. Others match no rule.
fn metadata_value(value: &[u8]) -> Option<MetadataValue> {
    match fields(value)?.last()? {
        (3, text) => Some(MetadataValue::Text(str::from_utf8(text).ok()?.to_owned())),
        (6, list) => {
            // A list in a list is not a text, at any depth: it is not followed.
            let text = |item| match fields(item)?.last()? {
                (3, text) => str::from_utf8(text).ok(),
                _ => None,
            };
            let items = fields(list)?.into_iter().filter(|field| field.0 == 1);
            let texts = items.filter_map(|(_, item)| text(item).map(str::to_owned));
            Some(MetadataValue::List(texts.collect()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        // A varint of two bytes, the first of which may be a zero with the continuation bit.
        let length = u8::try_from(content.len()).unwrap();
        [&[number << 3 | 2, length & 0x7f | 0x80, length >> 7], content].concat()
    }

    fn pair(key: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
    }

    fn text(text: &str) -> Vec<u8> {
        field(3, text.as_bytes())
    }

    fn number() -> Vec<u8> {
        [&[2 << 3 | 1][..], &1.5_f64.to_le_bytes()].concat()
    }

    fn message() -> Vec<u8> {
        let list = [field(1, &text("a")), field(1, &number()), field(1, &text("b"))].concat();
        let fields = [
            pair("text", &text("red")),
            pair("list", &field(6, &list)),
            pair("empty", &field(6, b"")),
            pair("number", &number()),
            pair("bool", &[4 << 3, 1]),
            pair("object", &field(5, &pair("x", &text("y")))),
        ]
        .concat();
        let other = pair("text", &text("other"));
        [pair("envoy.filters.a", &other), pair("envoy.filters.b", &fields), field(2, b"")].concat()
    }

    fn find(message: &[u8], filter: &str, key: &str) -> Option<MetadataValue> {
        let wanted = [(filter.to_owned(), key.to_owned())];
        let found = read(message, &wanted);
        found.into_iter().next().map(|metadatum| metadatum.value)
    }

    #[test]
    fn texts_and_lists_are_told_apart() {
        let list = |items: &[&str]| {
            Some(MetadataValue::List(items.iter().map(|item| (*item).to_owned()).collect()))
        };
        let words = |text: &str| Some(MetadataValue::Text(text.to_owned()));
        for (filter, key, expected) in [
            ("envoy.filters.b", "text", words("red")),
            ("envoy.filters.a", "text", words("other")),
            ("envoy.filters.b", "list", list(&["a", "b"])),
            ("envoy.filters.b", "empty", list(&[])),
            ("envoy.filters.b", "number", None),
            ("envoy.filters.b", "bool", None),
            ("envoy.filters.b", "object", None),
            ("envoy.filters.b", "absent", None),
            ("envoy.filters.c", "text", None),
        ] {
            assert_eq!(find(&message(), filter, key), expected, "{filter} {key}");
        }
    }

    #[test]
    fn a_list_in_a_list_is_not_followed() {
        fn long_field(number: u8, content: &[u8]) -> Vec<u8> {
            let length = content.len();
            let low = |shift: usize| u8::try_from(length >> shift & 0x7f).unwrap();
            [&[number << 3 | 2, low(0) | 0x80, low(7) | 0x80, low(14)], content].concat()
        }
        // Twenty thousand levels: a recursive reader would overflow the stack.
        let mut value = text("deep");
        for _ in 0..20_000 {
            value = long_field(6, &long_field(1, &value));
        }
        let list = long_field(6, &[field(1, &text("a")), long_field(1, &value)].concat());
        let pair = |key: &str, value: &[u8]| {
            long_field(1, &[field(1, key.as_bytes()), long_field(2, value)].concat())
        };
        let message = pair("f", &pair("k", &list));
        assert_eq!(find(&message, "f", "k"), Some(MetadataValue::List(vec!["a".to_owned()])));
    }

    #[test]
    fn what_cannot_be_read_is_nothing() {
        let good = message();
        for end in 0..good.len() {
            // However it is cut, no value is found that was not there.
            let found = find(&good[..end], "envoy.filters.b", "text");
            assert!(
                matches!(&found, None | Some(MetadataValue::Text(_))),
                "cut at {end}: {found:?}"
            );
        }
        for bytes in
            [&b"\x0a"[..], b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0b", b"\x80"]
        {
            assert_eq!(find(bytes, "a", "b"), None, "{bytes:?}");
        }
    }
}
