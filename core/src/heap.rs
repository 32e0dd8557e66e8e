//! The heap memory of a value, counted as an allocator allocates it: a block is larger than requested, and a tree's
//! node has room for eleven members even if it holds one.
//!
//! For limits that memory depends on. Where the size is not known it is overestimated, never underestimated.

use crate::codec::json::{Map, Value};

/// A block of at least `bytes` bytes: with its header, in steps of two words (dlmalloc, as in the module; glibc's is
/// the same).
pub(crate) fn block(bytes: usize) -> usize {
    const WORD: usize = size_of::<usize>();
    match bytes {
        0 => 0,
        _ => bytes.saturating_add(WORD).next_multiple_of(2 * WORD).max(4 * WORD),
    }
}

/// A reference-counted value on the heap.
pub(crate) fn shared(bytes: usize) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    block(bytes.saturating_add(COUNTS))
}

/// The memory of a text in addition to the value itself.
pub(crate) fn text(text: &String) -> usize {
    block(text.capacity())
}

/// The memory of an object in addition to the value itself.
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

/// The nodes of a tree (`alloc::collections::btree`, B = 6): at most eleven members in each, at least five except in a
/// single node.
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
