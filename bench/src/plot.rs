//! Bars for the CPU cost of each variant, as SVG.

use std::path::Path;

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::measure::Outcome;
use crate::stats::Spread;

/// A bar for each of `rows` (label, value), the longest first to last as given.
fn bars(file: &Path, title: &str, rows: &[(String, Spread)]) -> Result<()> {
    const ROW: i32 = 26;
    const LEFT: i32 = 300;
    const WIDTH: i32 = 860;
    let height = 56 + ROW * i32::try_from(rows.len())?;
    let root =
        SVGBackend::new(file, (u32::try_from(WIDTH)?, u32::try_from(height)?)).into_drawing_area();
    root.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    root.draw_text(title, &text(16), (12, 14))?;
    let most = rows.iter().map(|(_, spread)| spread.high).fold(1e-9, f64::max);
    let scale = f64::from(WIDTH - LEFT - 90) / most;
    for (number, (label, spread)) in rows.iter().enumerate() {
        let top = 44 + ROW * i32::try_from(number)?;
        let right = text(13).pos(Pos::new(HPos::Right, VPos::Center));
        root.draw_text(label, &right, (LEFT - 8, top + ROW / 2 - 2))?;
        let x = |value: f64| LEFT + (value.max(0.0) * scale) as i32;
        let colour =
            if label.contains("usher") { RGBColor(46, 110, 160) } else { RGBColor(150, 150, 150) };
        let bar = [(LEFT, top + 3), (x(spread.median), top + ROW - 7)];
        root.draw(&Rectangle::new(bar, colour.filled()))?;
        let whisker = [(x(spread.low), top + ROW / 2 - 2), (x(spread.high), top + ROW / 2 - 2)];
        root.draw(&PathElement::new(whisker, BLACK.stroke_width(1)))?;
        let value = text(12).pos(Pos::new(HPos::Left, VPos::Center));
        let figure = format!("{:.1}", spread.median);
        root.draw_text(
            &figure,
            &value,
            (x(spread.high.max(spread.median)) + 6, top + ROW / 2 - 2),
        )?;
    }
    root.present()?;
    Ok(())
}

/// `cpu.svg`: what each variant costs above the empty chain, all workloads but those of a variant that would
/// dwarf the rest.
pub(crate) fn all(directory: &Path, outcomes: &[Outcome]) -> Result<()> {
    for outcome in outcomes {
        let mut rows = Vec::new();
        for cost in outcome.costs.iter().skip(1) {
            rows.push((cost.variant.clone(), Spread::of(&outcome.above_empty(&cost.variant)?)));
        }
        let title = format!("{}: CPU µs a request above no filter", outcome.name);
        let name = outcome.name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        bars(&directory.join(format!("{name}.svg")), &title, &rows)?;
    }
    Ok(())
}
