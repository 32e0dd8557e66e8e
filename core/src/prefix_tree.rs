//! Numbers by prefixes: all prefixes of a text are found in one pass over it.
//!
//! However many prefixes there are and however long, a look-up costs no more than the text's length. Read
//! backwards, the same tree is for suffixes.

/// A radix tree. Each text in it has a number from the caller.
#[derive(Clone, Debug)]
pub(crate) struct PrefixTree {
    /// The root first; the others in the order in which they were added.
    nodes: Vec<Node>,
    direction: Direction,
    /// The first bytes of all texts, a bit each: they exclude most other texts quickly.
    firsts: [u64; 4],
    /// Whether the empty text has a number, which is a prefix of every text.
    has_empty: bool,
}

/// The end from which texts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// For suffixes.
    Backward,
    /// For prefixes.
    Forward,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// The text between the parent node and this one.
    label: Vec<u8>,
    number: Option<usize>,
    /// By the first byte of their labels, in order.
    children: Vec<(u8, usize)>,
}

impl PrefixTree {
    pub(crate) fn new(direction: Direction) -> Self {
        Self { nodes: vec![Node::default()], direction, firsts: [0; 4], has_empty: false }
    }

    pub(crate) fn is_empty(&self) -> bool {
        !self.has_empty && self.firsts == [0; 4]
    }

    /// Adds a text with a number, unless it has one; returns the number that it has now.
    pub(crate) fn add(&mut self, text: &[u8], number: usize) -> usize {
        let mut text = text.to_vec();
        if self.direction == Direction::Backward {
            text.reverse();
        }
        match text.first() {
            Some(first) => {
                let (word, bit) = place(*first);
                self.firsts.get_mut(word).into_iter().for_each(|bits| *bits |= bit);
            }
            None => self.has_empty = true,
        }
        let (mut rest, mut at) = (text.as_slice(), 0);
        while let Some(first) = rest.first() {
            let next = self.nodes.get(at).and_then(|node| node.child(*first));
            let Some(next) = next else {
                at = self.attach(at, *first, Node { label: rest.to_vec(), ..Node::default() });
                break;
            };
            let shared = self.nodes.get(next).map_or(0, |node| shared(&node.label, rest));
            self.split(next, shared);
            rest = rest.get(shared..).unwrap_or_default();
            at = next;
        }
        self.nodes.get_mut(at).map_or(number, |node| *node.number.get_or_insert(number))
    }

    /// Calls `stop` with the number and length of each prefix of `text`, the shortest first, until it returns
    /// true. Returns whether it did.
    pub(crate) fn walk(&self, text: &[u8], stop: &mut dyn FnMut(usize, usize) -> bool) -> bool {
        if !self.has_empty && !self.direction.first(text).is_some_and(|first| self.begins(first)) {
            return false;
        }
        let (mut node, mut rest) = (self.nodes.first(), text);
        while let Some(here) = node {
            let Some(behind) = self.direction.strip(rest, &here.label) else {
                return false;
            };
            rest = behind;
            let length = text.len().saturating_sub(rest.len());
            if here.number.is_some_and(|number| stop(length, number)) {
                return true;
            }
            let next = self.direction.first(rest);
            node = next.and_then(|first| here.child(first)).and_then(|at| self.nodes.get(at));
        }
        false
    }

    /// Whether a text begins with this byte.
    fn begins(&self, first: u8) -> bool {
        let (word, bit) = place(first);
        self.firsts.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn attach(&mut self, at: usize, first: u8, node: Node) -> usize {
        let number = self.nodes.len();
        self.nodes.push(node);
        if let Some(above) = self.nodes.get_mut(at) {
            let place = above.children.partition_point(|(byte, _)| *byte < first);
            above.children.insert(place, (first, number));
        }
        number
    }

    /// Cuts a node's label to its first `length` bytes; the rest becomes a node below.
    fn split(&mut self, at: usize, length: usize) {
        let Some(node) = self.nodes.get_mut(at) else { return };
        if length >= node.label.len() {
            return;
        }
        let label = node.label.split_off(length);
        let Some(first) = label.first().copied() else { return };
        let (number, children) = (node.number.take(), std::mem::take(&mut node.children));
        self.attach(at, first, Node { label, number, children });
    }
}

/// The position of a byte's bit.
fn place(byte: u8) -> (usize, u64) {
    (usize::from(byte >> 6), 1_u64.wrapping_shl(u32::from(byte)))
}

impl Direction {
    /// The byte that is read first.
    fn first(self, text: &[u8]) -> Option<u8> {
        match self {
            Self::Forward => text.first().copied(),
            Self::Backward => text.last().copied(),
        }
    }

    /// The rest of a text behind a label, which is written in this direction.
    fn strip<'t>(self, text: &'t [u8], label: &[u8]) -> Option<&'t [u8]> {
        match self {
            Self::Forward => text.strip_prefix(label),
            Self::Backward => {
                let (rest, end) = text.split_at_checked(text.len().checked_sub(label.len())?)?;
                end.iter().rev().eq(label).then_some(rest)
            }
        }
    }
}

impl Node {
    fn child(&self, first: u8) -> Option<usize> {
        let at = self.children.binary_search_by_key(&first, |(byte, _)| *byte).ok()?;
        self.children.get(at).map(|(_, node)| *node)
    }
}

/// The length of the common prefix of two texts.
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
        // Each pair and each triple, in either order; one text may be repeated.
        for (i, first) in texts.iter().enumerate() {
            for (j, second) in texts.iter().enumerate() {
                let third = &texts[(i * 7 + j * 3) % texts.len()];
                for direction in [Direction::Forward, Direction::Backward] {
                    let mut tree = PrefixTree::new(direction);
                    for (number, text) in [first, second, third].into_iter().enumerate() {
                        tree.add(text, number);
                    }
                    for text in &texts {
                        let mut found = Vec::new();
                        tree.walk(text, &mut |length, number| {
                            found.push((length, number));
                            false
                        });
                        let is_there = |other: &Vec<u8>| match direction {
                            Direction::Forward => text.starts_with(other),
                            Direction::Backward => text.ends_with(other),
                        };
                        let all = [first, second, third].into_iter().enumerate();
                        let all = all.filter(|(_, other)| is_there(other));
                        let mut expected: Vec<_> = all.map(|(n, other)| (other.len(), n)).collect();
                        expected.sort_unstable();
                        expected.dedup_by_key(|(length, _)| *length);
                        assert_eq!(found, expected, "{first:?} {second:?} {third:?} in {text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_walk_stops_where_it_is_told_to() {
        let mut tree = PrefixTree::new(Direction::Forward);
        assert!(tree.is_empty() && !tree.walk(b"a", &mut |_, _| true));
        for (number, text) in ["a", "ab", "abc"].into_iter().enumerate() {
            assert_eq!(tree.add(text.as_bytes(), number), number);
        }
        assert_eq!(tree.add(b"ab", 9), 1);
        let mut seen = 0;
        assert!(tree.walk(b"abcd", &mut |length, _| {
            seen += 1;
            length == 2
        }));
        assert_eq!(seen, 2);
        assert!(!tree.is_empty() && !tree.walk(b"b", &mut |_, _| true));
    }
}
