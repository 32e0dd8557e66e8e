//! What a value holds on the heap, counted as an allocator gives it out: a block is larger than what was asked for, and a
//! tree's node has room for eleven members though it holds one.
//!
//! For bounds that memory depends on. Where it can't be told it is counted too high, never too low.

use crate::codec::json::{Map, Value};

/// A block of at least so many bytes: with its header, in steps of two words (dlmalloc, as in the module; glibc's is the
/// same).
pub(crate) fn block(bytes: usize) -> usize {
    const WORD: usize = size_of::<usize>();
    match bytes {
        0 => 0,
        _ => bytes.saturating_add(WORD).next_multiple_of(2 * WORD).max(4 * WORD),
    }
}

/// A counted value on the heap.
pub(crate) fn shared(bytes: usize) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    block(bytes.saturating_add(COUNTS))
}

/// What a text holds beside itself.
pub(crate) fn text(text: &String) -> usize {
    block(text.capacity())
}

/// What an object holds beside itself.
pub(crate) fn members(object: &Map<String, Value>) -> usize {
    let held = object.iter().map(|(name, member)| text(name).saturating_add(value(member)));
    held.fold(tree(object.len()), usize::saturating_add)
}

fn value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => block(number.as_str().len()),
        Value::String(string) => text(string),
        Value::Array(items) => {
            let list = block(items.capacity().saturating_mul(size_of::<Value>()));
            items.iter().map(self::value).fold(list, usize::saturating_add)
        }
        Value::Object(object) => members(object),
    }
}

/// The nodes of a tree (`alloc::collections::btree`, B = 6): eleven members at most, five at least but in the only one.
fn tree(members: usize) -> usize {
    const LEAF: usize = 2 * size_of::<usize>() + 11 * size_of::<(String, Value)>();
    const INNER: usize = LEAF + 12 * size_of::<usize>();
    match members {
        0 => 0,
        1..=11 => block(LEAF),
        _ => {
            let leaves = members.div_ceil(5);
            let inner = leaves.div_ceil(5).saturating_add(1);
            let leaves = leaves.saturating_mul(block(LEAF));
            leaves.saturating_add(inner.saturating_mul(block(INNER)))
        }
    }
}
