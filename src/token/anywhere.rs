//! Which of many words stand in a text, wherever: one walk along the text, however many words there are.
//!
//! The automaton of Aho and Corasick (Communications of the ACM 18, 1975): where a word breaks off, the walk goes
//! on with the longest end of what was read that another word begins with.

/// Words to be found.
#[derive(Clone, Debug)]
pub(super) struct Anywhere {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    /// By their bytes, in order.
    children: Vec<(u8, usize)>,
    /// The longest proper end of this node's text that begins a word.
    fallback: usize,
    /// The nearest node along the fallbacks where a word ends.
    shorter: Option<usize>,
    /// The number of the word that ends here.
    word: Option<usize>,
}

impl Anywhere {
    /// Words with their numbers, none of them empty.
    pub(super) fn new<'w>(words: impl Iterator<Item = (&'w [u8], usize)>) -> Self {
        let mut nodes = vec![Node::default()];
        for (word, number) in words {
            let mut at = 0;
            for byte in word {
                at = match child(&nodes, at, *byte) {
                    Some(next) => next,
                    None => attach(&mut nodes, at, *byte),
                };
            }
            if let Some(node) = nodes.get_mut(at).filter(|_| at != 0) {
                node.word = Some(number);
            }
        }
        link(&mut nodes);
        Self { nodes }
    }

    /// Shows the number of each word in the text, once.
    pub(super) fn each(&self, text: &[u8], found: &mut dyn FnMut(usize)) {
        let mut seen = Vec::new();
        let mut at = 0;
        for byte in text {
            at = step(&self.nodes, at, *byte);
            let mut ends = self.nodes.get(at).and_then(|n| n.word.map(|_| at).or(n.shorter));
            while let Some(end) = ends {
                if seen.is_empty() {
                    seen.resize(self.nodes.len(), false);
                }
                // Where one was seen, the shorter ones were too.
                match seen.get_mut(end) {
                    Some(seen) if !*seen => *seen = true,
                    _ => break,
                }
                let node = self.nodes.get(end);
                node.and_then(|node| node.word).into_iter().for_each(&mut *found);
                ends = node.and_then(|node| node.shorter);
            }
        }
    }
}

fn child(nodes: &[Node], at: usize, byte: u8) -> Option<usize> {
    let children = &nodes.get(at)?.children;
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

/// Where the walk goes from `at` by `byte`.
fn step(nodes: &[Node], mut at: usize, byte: u8) -> usize {
    loop {
        if let Some(next) = child(nodes, at, byte) {
            return next;
        }
        if at == 0 {
            return 0;
        }
        at = nodes.get(at).map_or(0, |node| node.fallback);
    }
}

/// Sets the fallbacks, those of shorter texts first.
fn link(nodes: &mut [Node]) {
    let mut level: Vec<usize> = vec![0];
    while !level.is_empty() {
        let mut below = Vec::new();
        for at in level {
            let (children, fallback) = match nodes.get(at) {
                Some(node) => (node.children.clone(), node.fallback),
                None => continue,
            };
            for (byte, number) in children {
                let fallback = if at == 0 { 0 } else { step(nodes, fallback, byte) };
                let shorter =
                    nodes.get(fallback).and_then(|n| n.word.map(|_| fallback).or(n.shorter));
                if let Some(node) = nodes.get_mut(number) {
                    (node.fallback, node.shorter) = (fallback, shorter);
                }
                below.push(number);
            }
        }
        level = below;
    }
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
                let anywhere = Anywhere::new(numbered);
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
