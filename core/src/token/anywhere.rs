//! Which of many words are anywhere in a text: one pass over the text, however many words there are.
//!
//! The automaton of Aho and Corasick (Communications of the ACM 18, 1975): where a word does not continue, the
//! search continues with the longest suffix of the text so far that is a prefix of a word.

/// The words to find.
#[derive(Clone, Debug)]
pub(super) struct Anywhere {
    nodes: Vec<Node>,
    /// The next state from the root, by each byte.
    root: Box<[usize]>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// By their bytes, in order.
    children: Vec<(u8, usize)>,
    /// The longest proper suffix of this node's text that is a prefix of a word.
    fallback: usize,
    /// The nearest node along the fallbacks at which a word ends; the root if there is none.
    shorter: usize,
    /// The nearest node at which one ends, this one included.
    ends: usize,
    /// The number of the word that ends here.
    word: Option<usize>,
}

impl Anywhere {
    /// Words with their numbers; none is empty.
    pub(super) fn new(words: &[(&[u8], usize)]) -> Self {
        let mut nodes = vec![Node::default()];
        for (word, number) in words {
            let mut at = 0;
            for byte in *word {
                at = match child(&nodes, at, *byte) {
                    Some(next) => next,
                    None => attach(&mut nodes, at, *byte),
                };
            }
            if let Some(node) = nodes.get_mut(at).filter(|_| at != 0) {
                node.word = Some(*number);
            }
        }
        let root = (0..=u8::MAX).map(|byte| child(&nodes, 0, byte).unwrap_or(0)).collect();
        let mut all = Self { nodes, root };
        all.link();
        all
    }

    /// The next state from `at`, by `byte`.
    fn step(&self, mut at: usize, byte: u8) -> usize {
        while at != 0 {
            if let Some(next) = child(&self.nodes, at, byte) {
                return next;
            }
            at = self.nodes.get(at).map_or(0, |node| node.fallback);
        }
        self.root.get(usize::from(byte)).copied().unwrap_or(0)
    }

    /// Calls `found` with the number of each word in the text, once.
    pub(super) fn each(&self, text: &[u8], found: &mut dyn FnMut(usize)) {
        let mut seen = Vec::new();
        let mut at = 0;
        for byte in text {
            // Mostly no word has begun.
            at = match at {
                0 => self.root.get(usize::from(*byte)).copied().unwrap_or(0),
                _ => self.step(at, *byte),
            };
            if at == 0 {
                continue;
            }
            let mut end = self.nodes.get(at).map_or(0, |node| node.ends);
            while end != 0 {
                if seen.is_empty() {
                    seen.resize(self.nodes.len(), false);
                }
                // If one was seen, the shorter ones were too.
                match seen.get_mut(end) {
                    Some(seen) if !*seen => *seen = true,
                    _ => break,
                }
                let node = self.nodes.get(end);
                node.and_then(|node| node.word).into_iter().for_each(&mut *found);
                end = node.map_or(0, |node| node.shorter);
            }
        }
    }

    /// Sets the fallbacks, those of shorter texts first.
    fn link(&mut self) {
        let mut level: Vec<usize> = vec![0];
        while !level.is_empty() {
            let mut below = Vec::new();
            for at in level {
                let (children, fallback) = match self.nodes.get(at) {
                    Some(node) => (node.children.clone(), node.fallback),
                    None => continue,
                };
                for (byte, number) in children {
                    let fallback = if at == 0 { 0 } else { self.step(fallback, byte) };
                    let shorter = self.nodes.get(fallback).map_or(0, |node| node.ends);
                    if let Some(node) = self.nodes.get_mut(number) {
                        (node.fallback, node.shorter) = (fallback, shorter);
                        node.ends = if node.word.is_some() { number } else { shorter };
                    }
                    below.push(number);
                }
            }
            level = below;
        }
    }
}

fn child(nodes: &[Node], at: usize, byte: u8) -> Option<usize> {
    let children = &nodes.get(at)?.children;
    if let [(only, node)] = children.as_slice() {
        return (*only == byte).then_some(*node);
    }
    let place = children.binary_search_by_key(&byte, |(byte, _)| *byte).ok()?;
    children.get(place).map(|(_, node)| *node)
}

fn attach(nodes: &mut Vec<Node>, at: usize, byte: u8) -> usize {
    let number = nodes.len();
    nodes.push(Node::default());
    if let Some(above) = nodes.get_mut(at) {
        let place = above.children.partition_point(|(other, _)| *other < byte);
        above.children.insert(place, (byte, number));
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_found_once_wherever_it_stands() {
        let words = ["a", "ab", "bab", "bc", "bca", "c", "caa", "abca"];
        // All texts of up to seven letters.
        let mut last = vec![String::new()];
        for _ in 0..7 {
            last = last.iter().flat_map(|t| ["a", "b", "c"].map(|l| format!("{t}{l}"))).collect();
            for chosen in [&words[..], &words[2..], &words[5..], &words[7..], &words[..0]] {
                let numbered = chosen.iter().enumerate().map(|(number, w)| (w.as_bytes(), number));
                let anywhere = Anywhere::new(&numbered.collect::<Vec<_>>());
                for text in &last {
                    let mut found = Vec::new();
                    anywhere.each(text.as_bytes(), &mut |number| found.push(chosen[number]));
                    found.sort_unstable();
                    let mut expected = chosen.to_vec();
                    expected.retain(|word| text.contains(word));
                    expected.sort_unstable();
                    assert_eq!(found, expected, "{chosen:?} in {text}");
                }
            }
        }
    }
}
