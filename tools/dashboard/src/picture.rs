//! A picture of what a dashboard showed over a time: the panels two by two, as Grafana arranges them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use plotters::coord::Shift;
use plotters::prelude::*;

use usher_testkit::dashboard::Panel;

/// A panel and its series: names, and points of time in seconds and value.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// What it is.
    pub(crate) panel: Panel,
    /// What it showed.
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const COLUMNS: usize = 2;
const PANEL: (u32, u32) = (620, 190);
/// Where the names of the series stand, to the right of the curves.
const NAMES: i32 = 210;
const LONGEST_NAME: usize = 31;

const INK: RGBColor = RGBColor(36, 41, 46);
const FAINT: RGBColor = RGBColor(228, 231, 235);
const GOOD: RGBColor = RGBColor(86, 166, 75);
const BAD: RGBColor = RGBColor(224, 47, 68);
/// For what is neither good nor bad. Colour-blind readers see the difference too.
const OTHERS: [RGBColor; 7] = [
    RGBColor(50, 116, 217),
    RGBColor(255, 152, 48),
    RGBColor(143, 59, 184),
    RGBColor(20, 160, 160),
    RGBColor(190, 140, 20),
    RGBColor(199, 80, 140),
    RGBColor(110, 118, 128),
];

/// Writes all panels to an SVG file.
///
/// # Panics
/// When it cannot be written.
pub(crate) fn draw(output: &Path, recorded: &[Recorded], time: Duration) {
    let rows = recorded.len().div_ceil(COLUMNS);
    let (width, height) = PANEL;
    let size = (width * u32::try_from(COLUMNS).unwrap(), height * u32::try_from(rows).unwrap());
    let root = SVGBackend::new(output, size).into_drawing_area();
    root.fill(&WHITE).unwrap();
    for (area, one) in root.split_evenly((rows, COLUMNS)).iter().zip(recorded) {
        panel(area, one, time.as_secs_f64());
    }
    root.present().unwrap();
}

fn panel(area: &Area<'_>, one: &Recorded, seconds: f64) {
    let (width, height) = (i32::try_from(PANEL.0).unwrap(), i32::try_from(PANEL.1).unwrap());
    let frame = Rectangle::new([(4, 4), (width - 4, height - 4)], FAINT.stroke_width(1));
    area.draw(&frame).unwrap();
    let title = ("sans-serif", 15).into_font().style(FontStyle::Bold).color(&INK);
    area.draw(&Text::new(one.panel.title.clone(), (14, 11), title)).unwrap();

    let curves = if one.panel.stacked { stacked(&one.lines) } else { one.lines.clone() };
    let most = curves.iter().flat_map(|(_, points)| points).map(|(_, value)| *value);
    let (step, most) = scale(most.fold(0.0, f64::max));
    let mut chart = ChartBuilder::on(area)
        .margin_top(36)
        .margin_left(8)
        .margin_right(NAMES + 12)
        .margin_bottom(8)
        .x_label_area_size(20)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..seconds, 0.0..most)
        .unwrap();
    let unit = one.panel.unit.clone();
    let label = ("sans-serif", 12).into_font().color(&INK);
    chart
        .configure_mesh()
        .x_labels(5)
        .y_labels(4)
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .label_style(label.clone())
        .x_label_formatter(&|x| format!("{:.0}:{:02.0}", (x / 60.0).floor(), x % 60.0))
        .y_label_formatter(&move |y| quantity(*y, step, &unit))
        .draw()
        .unwrap();
    let colors = colors(&curves);
    // What is stacked is drawn from the top, so that each hides the lower part of the one above. Lines that
    // lie on each other are seen by their widths.
    for (n, (_, points)) in curves.iter().enumerate().rev() {
        let color = colors[n];
        if one.panel.stacked {
            let area = AreaSeries::new(points.iter().copied(), 0.0, WHITE.mix(1.0));
            chart.draw_series(area).unwrap();
            let area = AreaSeries::new(points.iter().copied(), 0.0, color.mix(0.4));
            chart.draw_series(area.border_style(color.stroke_width(1))).unwrap();
        } else {
            let width = 2 + u32::try_from(n).unwrap().min(3);
            let line = LineSeries::new(points.iter().copied(), color.stroke_width(width));
            chart.draw_series(line).unwrap();
        }
    }
    for (n, (name, _)) in curves.iter().enumerate() {
        let at = (width - NAMES, 36 + 17 * i32::try_from(n).unwrap());
        area.draw(&Rectangle::new([at, (at.0 + 11, at.1 + 9)], colors[n].filled())).unwrap();
        let mut shown: String = name.chars().take(LONGEST_NAME).collect();
        if shown.len() < name.len() {
            shown.push('\u{2026}');
        }
        area.draw(&Text::new(shown, (at.0 + 17, at.1 - 1), label.clone())).unwrap();
    }
}

/// Each series on top of those before it.
fn stacked(lines: &[(String, Vec<(f64, f64)>)]) -> Vec<(String, Vec<(f64, f64)>)> {
    // By milliseconds: a time cannot be a key.
    let mut sums: BTreeMap<i64, f64> = BTreeMap::new();
    let key = |time: f64| (time * 1000.0) as i64;
    for (time, _) in lines.iter().flat_map(|(_, points)| points) {
        sums.insert(key(*time), 0.0);
    }
    let on_top = |(name, points): &(String, Vec<(f64, f64)>)| {
        for (time, value) in points {
            *sums.entry(key(*time)).or_default() += value;
        }
        let points = sums.iter().map(|(time, sum)| (*time as f64 / 1000.0, *sum));
        (name.clone(), points.collect())
    };
    lines.iter().map(on_top).collect()
}

/// The distance of the axis's labels, and where the axis ends.
fn scale(most: f64) -> (f64, f64) {
    let most = if most > 0.0 { most * 1.1 } else { 1.0 };
    (most / 4.0, most)
}

fn quantity(value: f64, step: f64, unit: &str) -> String {
    let (value, step, unit) = match unit {
        "percentunit" => (value * 100.0, step * 100.0, " %"),
        "reqps" | "ops" => (value, step, " /s"),
        "s" => (value, step, " s"),
        _ => (value, step, ""),
    };
    let decimals = if step < 0.2 { 2 } else { usize::from(step < 2.0) };
    format!("{value:.decimals$}{unit}")
}

fn colors(lines: &[(String, Vec<(f64, f64)>)]) -> Vec<RGBColor> {
    let mut others = OTHERS.iter().cycle();
    let color = |(name, _): &(String, Vec<(f64, f64)>)| {
        if name == "allowed" || name.ends_with(" success") {
            GOOD
        } else if name.ends_with(" failure") || name == "keys_unavailable" {
            BAD
        } else {
            *others.next().unwrap()
        }
    };
    lines.iter().map(color).collect()
}
