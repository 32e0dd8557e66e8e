//! Values by the beginnings of texts: all that begin a text are found in one walk along it.
//!
//! However many beginnings there are and however long, a walk costs no more than the text's length. Read
//! backwards, the same tree is for endings.

/// A radix tree.
#[derive(Clone, Debug)]
pub(crate) struct PrefixTree<V> {
    /// The root first; the others at whatever place they were made.
    nodes: Vec<Node<V>>,
}

#[derive(Clone, Debug)]
struct Node<V> {
    /// What stands between the node above and this one.
    label: Vec<u8>,
    value: Option<V>,
    /// By the first byte of their labels, in order.
    children: Vec<(u8, usize)>,
}

impl<V> Default for PrefixTree<V> {
    fn default() -> Self {
        Self { nodes: vec![Node { label: Vec::new(), value: None, children: Vec::new() }] }
    }
}

impl<V> PrefixTree<V> {
    pub(crate) fn is_empty(&self) -> bool {
        let root = self.nodes.first();
        root.is_none_or(|root| root.value.is_none() && root.children.is_empty())
    }

    /// Puts `value` at a text, or what `merge` makes of the value that is there.
    pub(crate) fn add(
        &mut self,
        text: impl Iterator<Item = u8>,
        value: V,
        merge: impl FnOnce(&mut V, V),
    ) {
        let text: Vec<u8> = text.collect();
        let (mut rest, mut at) = (text.as_slice(), 0);
        while let Some(first) = rest.first() {
            let next = self.child(at, *first);
            let Some(next) = next else {
                let node = Node { label: rest.to_vec(), value: None, children: Vec::new() };
                at = self.attach(at, *first, node);
                break;
            };
            let shared = self.nodes.get(next).map_or(0, |node| shared(&node.label, rest));
            self.split(next, shared);
            rest = rest.get(shared..).unwrap_or_default();
            at = next;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            match &mut node.value {
                Some(old) => merge(old, value),
                None => node.value = Some(value),
            }
        }
    }

    /// Shows each value that stands at a beginning of `text`, the shortest first, with the beginning's
    /// length, until `stop` says so. Says whether it did.
    pub(crate) fn walk<'t>(
        &'t self,
        text: impl Iterator<Item = u8>,
        mut stop: impl FnMut(usize, &'t V) -> bool,
    ) -> bool {
        let mut text = text.peekable();
        let (mut node, mut length) = (self.nodes.first(), 0_usize);
        while let Some(here) = node {
            let mut label = here.label.iter();
            if !label.all(|byte| text.next() == Some(*byte)) {
                return false;
            }
            length = length.saturating_add(here.label.len());
            if here.value.as_ref().is_some_and(|value| stop(length, value)) {
                return true;
            }
            node =
                text.peek().and_then(|first| here.child(*first)).and_then(|at| self.nodes.get(at));
        }
        false
    }

    fn child(&self, at: usize, first: u8) -> Option<usize> {
        self.nodes.get(at)?.child(first)
    }

    fn attach(&mut self, at: usize, first: u8, node: Node<V>) -> usize {
        let number = self.nodes.len();
        self.nodes.push(node);
        if let Some(above) = self.nodes.get_mut(at) {
            let place = above.children.partition_point(|(byte, _)| *byte < first);
            above.children.insert(place, (first, number));
        }
        number
    }

    /// Cuts a node's label to its first `length` bytes; the rest goes to a node below.
    fn split(&mut self, at: usize, length: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        if length >= node.label.len() {
            return;
        }
        let label = node.label.split_off(length);
        let Some(first) = label.first().copied() else { return };
        let (value, children) = (node.value.take(), std::mem::take(&mut node.children));
        self.attach(at, first, Node { label, value, children });
    }
}

impl<V> Node<V> {
    fn child(&self, first: u8) -> Option<usize> {
        let at = self.children.binary_search_by_key(&first, |(byte, _)| *byte).ok()?;
        self.children.get(at).map(|(_, node)| *node)
    }
}

/// How many bytes two texts begin with alike.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All texts of up to four letters `a` and `b`.
    fn texts() -> Vec<Vec<u8>> {
        let mut texts = vec![Vec::new()];
        let mut last = texts.clone();
        for _ in 0..4 {
            last = last
                .iter()
                .flat_map(|t| [b'a', b'b'].map(|b| [t.as_slice(), &[b]].concat()))
                .collect();
            texts.extend(last.clone());
        }
        texts
    }

    #[test]
    fn all_that_begin_a_text_are_found_and_nothing_else() {
        let texts = texts();
        // Each pair and each triple, in either order, of which one may be there twice.
        for (i, first) in texts.iter().enumerate() {
            for (j, second) in texts.iter().enumerate() {
                let third = &texts[(i * 7 + j * 3) % texts.len()];
                let mut tree = PrefixTree::default();
                for text in [first, second, third] {
                    tree.add(text.iter().copied(), 1, |old, new| *old += new);
                }
                for text in &texts {
                    let mut found = Vec::new();
                    tree.walk(text.iter().copied(), |length, times| {
                        found.extend(std::iter::repeat_n(length, *times));
                        false
                    });
                    let begins = [first, second, third].into_iter().filter(|t| text.starts_with(t));
                    let mut expected: Vec<usize> = begins.map(Vec::len).collect();
                    expected.sort_unstable();
                    assert_eq!(found, expected, "{first:?} {second:?} {third:?} in {text:?}");
                }
            }
        }
    }

    #[test]
    fn a_walk_stops_where_it_is_told_to() {
        let mut tree = PrefixTree::default();
        assert!(tree.is_empty() && !tree.walk(b"a".iter().copied(), |_, ()| true));
        for text in ["a", "ab", "abc"] {
            tree.add(text.bytes(), (), |(), ()| ());
        }
        let mut seen = 0;
        assert!(tree.walk("abcd".bytes(), |length, ()| {
            seen += 1;
            length == 2
        }));
        assert_eq!(seen, 2);
        assert!(!tree.is_empty() && !tree.walk("b".bytes(), |_, ()| true));
    }
}
