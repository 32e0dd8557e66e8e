//! Decimal numbers, read exactly: the standard library's floats would bring their own reader and writer, and
//! their tables, into the module.

/// A number's text (RFC 8259 section 6): its digits, and where the point is among them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decimal {
    negative: bool,
    /// The significant digits: 25 at most.
    digits: u128,
    /// The power of ten that they are multiplied by.
    exponent: i64,
    /// Whether digits other than zero were cut off.
    cut: bool,
}

/// A whole number, and whether the conversion was exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    pub(crate) number: u64,
    pub(crate) exact: bool,
}

impl Decimal {
    /// Parses digits, with or without a point, as JSON writes them and a little more: `.5`, `5.`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        const MOST: u128 = 10_u128.pow(24);
        let (negative, text) = match text.strip_prefix('-') {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, power(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let mut read = Self { negative, digits: 0, exponent, cut: false };
        let places = [(whole, 0, 1), (fraction, -1, 0)];
        for (digits, kept, dropped) in places {
            for digit in digits.chars() {
                let digit = digit.to_digit(10)?;
                let step = if read.digits < MOST {
                    read.digits = read.digits.saturating_mul(10).saturating_add(digit.into());
                    kept
                } else {
                    read.cut |= digit != 0;
                    dropped
                };
                read.exponent = read.exponent.saturating_add(step);
            }
        }
        Some(read)
    }

    /// The product with a factor below 2^43, decimals cut off; `None` below zero and from 2^64 on.
    pub(crate) fn times(self, factor: u64) -> Option<Whole> {
        let mut product = self.digits.saturating_mul(factor.into());
        let mut exact = !self.cut;
        if product == 0 {
            return Some(Whole { number: 0, exact });
        }
        for _ in 0..self.exponent {
            // Ends after 39 steps at most.
            product = product.checked_mul(10)?;
        }
        for _ in self.exponent..0 {
            if product == 0 {
                break;
            }
            exact &= product.is_multiple_of(10);
            product /= 10;
        }
        let number = u64::try_from(product).ok().filter(|_| !self.negative)?;
        Some(Whole { number, exact })
    }
}

/// An exponent. One that is too large for the type is replaced by another that is too large.
fn power(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() {
        return None;
    }
    let mut power = 0_i64;
    for digit in digits.chars() {
        power = power.saturating_mul(10).saturating_add(digit.to_digit(10)?.into());
    }
    Some(if negative { power.saturating_neg() } else { power })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        for (text, factor, number, exact) in [
            ("0", 1, 0, true),
            ("-0", 1, 0, true),
            ("-0.0e5", 1, 0, true),
            ("60.0", 1, 60, true),
            ("6e1", 1, 60, true),
            ("0.6E+2", 1, 60, true),
            ("600e-1", 1, 60, true),
            ("60.5", 1, 60, false),
            ("1e-400", 1, 0, false),
            ("1e-99999999999999999999", 1, 0, false),
            ("0e99999999999999999999", 1, 0, true),
            (".5", 1000, 500, true),
            ("5.", 1, 5, true),
            ("1.5", 3_600_000_000_000, 5_400_000_000_000, true),
            ("9007199254740993.0", 1, 9_007_199_254_740_993, true),
            ("18446744073709551615", 1, u64::MAX, true),
            ("1.0000000000000000000000000000000000001", 1, 1, false),
            ("1.0000000000000000000000000000000000000", 1, 1, true),
        ] {
            let read = Decimal::parse(text).and_then(|decimal| decimal.times(factor));
            assert_eq!(read, Some(Whole { number, exact }), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_none() {
        for text in
            ["-1", "-0.5", "18446744073709551616", "1e20", "1e400", "1e99999999999999999999"]
        {
            assert_eq!(Decimal::parse(text).unwrap().times(1), None, "{text}");
        }
        let long = format!("1{}", "0".repeat(10_000));
        assert_eq!(Decimal::parse(&long).unwrap().times(1), None);
        assert_eq!(Decimal::parse(&format!("{long}e-10000")).unwrap().times(1).unwrap().number, 1);
    }

    #[test]
    fn what_is_no_number_is_none() {
        for text in ["", "-", ".", "1..5", "1.5.", "e5", "1e", "1e+", "1e-", "0x1", "inf", "1 "] {
            assert!(Decimal::parse(text).is_none(), "{text}");
        }
    }
}
