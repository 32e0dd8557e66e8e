//! Counting instructions: runs this program again under callgrind, which counts inside one function only.

use std::fmt;
use std::hint::black_box;
use std::process::Command;

use crate::{Case, requests};

/// The first argument of the counted program.
pub(crate) const WORD: &str = "--counted";

/// The cost of one input.
pub(crate) struct Point {
    pub(crate) bytes: usize,
    pub(crate) checks: usize,
    pub(crate) instructions: u64,
}

/// The cost of a kind of input.
pub(crate) struct Measured {
    pub(crate) base: f64,
    pub(crate) large: f64,
    /// What 4n adds, as a multiple of what n adds; 0 if that is negligible.
    pub(crate) ratio: f64,
    /// The cost of the largest input, as a multiple of its limit.
    pub(crate) limit: f64,
    pub(crate) checks: usize,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12} {:>12} {:>6.2} {:>6.2}", self.base, self.large, self.ratio, self.limit)
    }
}

/// Runs everything once, in order, and prints the size and checks of each.
pub(crate) fn run(cases: &[Case]) {
    let mut all = vec![requests::plain()];
    for case in cases {
        all.extend([0, case.most / 4, case.most].map(|size| (case.make)(size)));
    }
    for mut input in all {
        // An allocator's extra work for the first input of a kind does not count.
        (input.work)();
        println!("{} {}", input.bytes, counted(&mut input.work));
    }
}

/// Valgrind finds it by its name: it counts what happens in here, and writes the count when it returns.
#[inline(never)]
fn counted(work: &mut dyn FnMut() -> usize) -> usize {
    black_box(work())
}

/// Counts the plain request and each case's three points, on all processors.
pub(crate) fn count(chosen: &[String], cases: usize) -> Vec<Point> {
    let parts = std::thread::available_parallelism().map_or(1, usize::from).min(cases.max(1));
    let counted: Vec<Vec<Point>> = std::thread::scope(|scope| {
        let part = |part| scope.spawn(move || count_part(chosen, part, parts));
        let running: Vec<_> = (0..parts).map(part).collect();
        running.into_iter().map(|part| part.join().expect("counted")).collect()
    });
    let mut counted: Vec<_> = counted.into_iter().map(Vec::into_iter).collect();
    // Each begins with the plain request.
    let mut points: Vec<Point> = counted.iter_mut().filter_map(Iterator::next).collect();
    points.truncate(1);
    for case in 0..cases {
        points.extend(counted[case % parts].by_ref().take(3));
    }
    assert_eq!(points.len(), 1 + 3 * cases);
    points
}

fn count_part(chosen: &[String], part: usize, parts: usize) -> Vec<Point> {
    let folder =
        std::env::temp_dir().join(format!("usher-linearity-{}-{part}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            "--toggle-collect=linearity::measure::counted",
            "--dump-after=linearity::measure::counted",
        ])
        .arg(format!("--callgrind-out-file={}", folder.join("out").display()))
        .arg(std::env::current_exe().unwrap())
        .args([WORD.to_owned(), part.to_string(), parts.to_string()])
        .args(chosen)
        .output()
        .expect("valgrind runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let point = |(dump, line): (usize, &str)| {
        let numbers: Vec<usize> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [bytes, checks] = numbers.as_slice() else { panic!("{line}") };
        let instructions = instructions(&folder.join(format!("out.{}", dump + 1)));
        Point { bytes: *bytes, checks: *checks, instructions }
    };
    let points = said.lines().enumerate().map(point).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    points
}

fn instructions(file: &std::path::Path) -> u64 {
    let text = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let text = String::from_utf8_lossy(&text);
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("summary: ").or(line.strip_prefix("totals: ")));
    total.expect("a sum").trim().parse().unwrap()
}
