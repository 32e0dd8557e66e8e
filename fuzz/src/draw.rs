//! Choices by the bytes of an input.

use arbitrary::Unstructured;

/// An input whose first byte is below this is a plan. No text begins with such a byte.
pub(crate) const PLANS: u8 = 9;

/// The source of choices. When the bytes are used up, each choice is the first.
pub(crate) struct Draw<'d>(Unstructured<'d>);

impl<'d> Draw<'d> {
    /// For an input that is a plan.
    pub(crate) fn of(data: &'d [u8]) -> Option<Self> {
        let (first, rest) = data.split_first()?;
        (*first < PLANS).then(|| Self(Unstructured::new(rest)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The source itself, for types that draw themselves.
    pub(crate) fn source(&mut self) -> &mut Unstructured<'d> {
        &mut self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0.int_in_range(0..=end.saturating_sub(1)).unwrap_or_default()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        !self.is_empty() && self.below(n) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0.arbitrary().unwrap_or_default()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or_default()
    }

    /// Fewer than `end` bytes.
    pub(crate) fn bytes(&mut self, end: usize) -> Vec<u8> {
        let length = self.below(end).min(self.0.len());
        self.0.bytes(length).unwrap_or_default().to_vec()
    }

    /// The same as a text.
    pub(crate) fn text(&mut self, end: usize) -> String {
        String::from_utf8_lossy(&self.bytes(end)).into_owned()
    }

    /// Fewer than `end` of these, concatenated.
    pub(crate) fn joined(&mut self, of: &[&str], end: usize) -> String {
        (0..self.below(end)).map(|_| self.pick(of)).collect()
    }

    /// From one to `most` results of `draw`.
    pub(crate) fn some<T>(&mut self, most: usize, mut draw: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..=self.below(most)).map(|_| draw(self)).collect()
    }
}
