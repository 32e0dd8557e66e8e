//! The part of protobuf's wire format that Envoy uses with filters. By hand: few fields of few messages, for which prost
//! would come into the module.

/// Protobuf's wire type of texts and bytes.
pub(crate) const LENGTH_DELIMITED: u8 = 2;

/// The fields of a message: numbers, and contents of those with a length (others: empty). `None` if
/// it is cut off or contains a group.
pub(crate) fn fields(mut message: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (tag, rest) = varint(message)?;
        let (content, rest) = match tag & 7 {
            0 => (&[][..], varint(rest)?.1),
            1 => (&[][..], rest.get(8..)?),
            2 => {
                let (length, rest) = varint(rest)?;
                rest.split_at_checked(usize::try_from(length).ok()?)?
            }
            5 => (&[][..], rest.get(4..)?),
            _ => return None,
        };
        fields.push((tag >> 3, content));
        message = rest;
    }
    Some(fields)
}

/// Base 128, the lowest seven bits first.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(10) {
        let shift = u32::try_from(index).ok()?.checked_mul(7)?;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((number, bytes.get(index..)?.get(1..)?));
        }
    }
    None
}

/// Writes a text or bytes field, numbered below 16.
pub(crate) fn field(message: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    message.push(number << 3 | LENGTH_DELIMITED);
    let mut length = bytes.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            message.push(low);
            break;
        }
        message.push(low | 0x80);
    }
    message.extend_from_slice(bytes);
}
