//! Whether the cost of a request grows no faster than the request, and the cost of a configuration no faster than its
//! lists: in instructions, which valgrind counts, and never in time.
//!
//! `make linearity`. For each kind of input n is a quarter of the largest accepted (docs/configuration.md), or of
//! Envoy's limit for all headers if Usher has no bound of its own. The increase for 4n may be at most five times the
//! increase for n; a twentieth of a plain request counts as nothing. And a request may cost no more than eight plain
//! ones and 50 instructions for each byte above a plain one's; the kinds that do are listed ([`ABOVE`]). Plain is the
//! demo's GET with a token of 1 KiB that is not in the cache. A stub checks signatures, and its calls are counted
//! separately: 32 at most.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a measurement stops at any surprise"
)]

use std::process::ExitCode;

use measure::{Measured, Point};

/// As in the module, so that its work is counted as it is there.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

mod configurations;
mod measure;
mod requests;

/// The most that 4n may add, as a multiple of what n adds.
const RATIO: f64 = 5.0;
/// The most that a request may cost: this many plain ones, and this many instructions a byte.
const PLAIN: f64 = 8.0;
const PER_BYTE: f64 = 50.0;
/// Kinds that cost more than that, by the beginnings of their names, and how many times the limit they may cost. Each
/// is more than we want, but in proportion to its size, and must not grow. The first match counts.
const ABOVE: [(&str, f64); 15] = [
    ("path of `", 2.7),
    ("query parameters", 3.4),
    ("valuesFrom: query", 2.8),
    ("tokens in the query", 1.7),
    ("header lines", 3.3),
    ("spoofed headers", 5.3),
    ("authorization", 3.5),
    ("websocket protocols far beyond the bound", 2.2),
    // These are in a signed token, so an issuer wrote them, and no client.
    ("claims: a list of numbers", 18.5),
    ("claims: ", 8.5),
    ("a header of a token", 3.0),
    ("a certificate's name of distinct", 1.2),
    // 4,000 of them, each used by this one request.
    ("ask beside: jwtRules of the same issuer", 4.4),
    ("ask beside: outputClaimToHeaders", 5.6),
    ("ask beside: ", 3.4),
];
/// The most signature checks for one request.
const CHECKS: usize = 32;
/// The part of a plain request that counts as nothing.
const FLAT: f64 = 0.05;

/// A kind of input, at a size.
pub(crate) struct Case {
    /// The kind.
    pub(crate) name: String,
    /// The largest size: 4n.
    pub(crate) most: usize,
    /// Whether sizes are of a request, which has a price for each byte, or of a configuration.
    pub(crate) request: bool,
    /// Makes the input.
    pub(crate) make: Box<dyn Fn(usize) -> Input>,
}

/// The input to count.
pub(crate) struct Input {
    /// Its size in bytes.
    pub(crate) bytes: usize,
    /// The work to count. It returns the number of signature checks; the input is dropped outside the count.
    pub(crate) work: Box<dyn FnMut() -> usize>,
}

fn main() -> ExitCode {
    let mut cases = requests::cases();
    cases.extend(configurations::cases());
    let chosen: Vec<String> = std::env::args().skip(1).collect();
    if let [word, part, parts, rest @ ..] = chosen.as_slice()
        && word == measure::WORD
    {
        let (part, parts): (usize, usize) = (part.parse().unwrap(), parts.parse().unwrap());
        let each = only(cases, rest).into_iter().enumerate();
        let mine: Vec<Case> = each.filter(|(at, _)| at % parts == part).map(|(_, c)| c).collect();
        measure::run(&mine);
        return ExitCode::SUCCESS;
    }
    let cases = only(cases, &chosen);
    let points = measure::count(&chosen, cases.len());
    let (plain, points) = points.split_first().expect("the plain request is the first");
    println!("a plain request: {} instructions, {} bytes", plain.instructions, plain.bytes);
    println!("{:<58} {:>8} {:>12} {:>12} {:>6} {:>6}", "", "4n", "f(0)", "f(4n)", "ratio", "limit");
    let (mut failed, mut above) = (0, 0);
    for (case, points) in cases.iter().zip(points.chunks_exact(3)) {
        let measured = Measured::new(plain, points);
        let wrong = measured.wrong(case);
        println!(
            "{:<58} {:>8} {measured}{}",
            case.name,
            case.most,
            wrong.as_deref().unwrap_or_default()
        );
        failed += usize::from(wrong.is_some());
        above += usize::from(case.request && measured.limit > 1.0);
    }
    if failed > 0 {
        println!("linearity: {failed} of {} kinds are not as they should be", cases.len());
        return ExitCode::FAILURE;
    }
    println!(
        "linearity: {} kinds, none grows faster than its input; {above} cost more than we want, as known",
        cases.len()
    );
    ExitCode::SUCCESS
}

/// The cases whose names contain one of these words; all cases if there are no words.
fn only(mut cases: Vec<Case>, words: &[String]) -> Vec<Case> {
    cases.retain(|case| {
        words.is_empty() || words.iter().any(|word| case.name.contains(word.as_str()))
    });
    cases
}

impl Measured {
    fn wrong(&self, case: &Case) -> Option<String> {
        let mut wrong = Vec::new();
        if self.ratio > RATIO {
            wrong.push("grows too fast");
        }
        let above = ABOVE.iter().find(|(name, _)| case.name.starts_with(name));
        if case.request && self.limit > above.map_or(1.0, |(_, limit)| *limit) {
            wrong.push("costs too much");
        }
        if self.checks > CHECKS {
            wrong.push("checks too many signatures");
        }
        (!wrong.is_empty()).then(|| format!("  <== {}", wrong.join(", ")))
    }
}

impl Measured {
    fn new(plain: &Point, points: &[Point]) -> Self {
        let [zero, n, most] = points else { panic!("three points a case") };
        let number =
            |instructions: u64| f64::from(u32::try_from(instructions).expect("a small number"));
        let (base, small, large) =
            (number(zero.instructions), number(n.instructions), number(most.instructions));
        let flat = number(plain.instructions) * FLAT;
        let grown = (large - base - flat).max(0.0);
        let ratio = grown / (small - base).max(flat);
        let above = number(u64::try_from(most.bytes.saturating_sub(plain.bytes)).unwrap());
        let limit = large / (number(plain.instructions) * PLAIN + above * PER_BYTE);
        let checks = zero.checks.max(n.checks).max(most.checks);
        Self { base, large, ratio, limit, checks }
    }
}
