//! Latency as a picture: over time, and how it is distributed.

use std::{ops::Range, path::Path};

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, ChartBuilder, Color, DrawingArea, IntoDrawingArea, IntoLogRange, LineSeries, PathElement, RGBColor,
        SVGBackend, SeriesLabelPosition, TRANSPARENT, WHITE,
    },
};

use super::{run::Outcome, subject::Subject, tally::Times};

const SIZE: (u32, u32) = (1000, 800);
/// Milliseconds at the lower end of the scale, if it goes so far.
const LEAST_MS: f64 = 0.01;
const FONT: (&str, u32) = ("sans-serif", 15);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// Colours of the subjects, in their order: the palette of Okabe and Ito, which is safe for colour-blind readers.
const COLORS: [RGBColor; Subject::ALL.len()] = [
    RGBColor(0, 114, 178),
    RGBColor(240, 228, 66),
    BLACK,
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(0, 158, 115),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 150, 150),
];
/// What is drawn over time, and how strong.
const PARTS: [(f64, f64); 3] = [(0.5, 1.0), (0.99, 0.6), (1.0, 0.25)];
/// Up to this many subjects are drawn with all parts. With more, only the second part is drawn, to stay readable.
const IN_FULL: usize = 2;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One line of a picture.
struct Line {
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the latency of all rounds, each subject in its color.
pub(crate) fn draw(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let subjects =
        Subject::ALL.into_iter().zip(COLORS).map(|(subject, color)| (subject, color, seconds(outcomes, subject)));
    let subjects: Vec<_> = subjects.filter(|(_, _, seconds)| !seconds.is_empty()).collect();
    let (parts, caption) = if subjects.len() > IN_FULL {
        (PARTS.get(1..2), "99 % were delivered within, in ms, by the second in which they were due")
    } else {
        (
            Some(&PARTS[..]),
            "50 %, 99 % (paler) and all (pale) were delivered within, in ms, by the second in which they were due",
        )
    };
    let (mut over_time, mut distribution) = (Vec::new(), Vec::new());
    for (subject, color, seconds) in &subjects {
        for (part, strength) in parts.into_iter().flatten() {
            let values = seconds.iter().map(|times| times.quantile_ms(*part));
            let points = (0..).map(f64::from).zip(values);
            let points = points.filter_map(|(second, value)| Some((second, value?.max(LEAST_MS)))).collect();
            over_time.push(Line { color: faint(*color, *strength), points });
        }
        let mut all = Times::default();
        for second in seconds {
            all.merge(second);
        }
        let points = all.distribution().into_iter().map(|(ms, part)| (ms.max(LEAST_MS), part * 100.0)).collect();
        distribution.push((subject.name(), Line { color: *color, points }));
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    draw_over_time(&upper, caption, &over_time)?;
    draw_distribution(&lower, &distribution)?;
    root.present()?;
    Ok(())
}

/// The seconds of the measurement, those of all rounds taken together.
fn seconds(outcomes: &[Outcome], subject: Subject) -> Vec<Times> {
    let mut all: Vec<Times> = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.turn.subject == subject) {
        all.resize_with(all.len().max(outcome.tally.latency.len()), Times::default);
        all.iter_mut().zip(&outcome.tally.latency).for_each(|(all, times)| all.merge(times));
    }
    all
}

fn draw_over_time(area: &Area<'_>, caption: &str, lines: &[Line]) -> Result<()> {
    let range = around(lines.iter().flat_map(|line| &line.points).map(|point| point.1));
    let last = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, FONT)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, range.log_scale())?;
    let mesh = &mut chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(GRID).x_desc("second").y_desc("ms");
    mesh.y_label_formatter(&f64::to_string).draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), line.color.stroke_width(2)))?;
    }
    Ok(())
}

fn draw_distribution(area: &Area<'_>, lines: &[(&str, Line)]) -> Result<()> {
    let range = around(lines.iter().flat_map(|(_, line)| &line.points).map(|point| point.0));
    let mut chart = ChartBuilder::on(area)
        .caption("so many of what was delivered took at most so long", FONT)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(range.log_scale(), 0.0..100.0)?;
    let mesh = &mut chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT).bold_line_style(GRID).x_desc("ms").y_desc("%");
    mesh.x_label_formatter(&f64::to_string).y_label_formatter(&f64::to_string).draw()?;
    for (name, Line { color, points }) in lines {
        let color = *color;
        chart
            .draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    let labels = &mut chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE).margin(15).draw()?;
    Ok(())
}

/// The powers of ten around all.
fn around(times: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = times.fold((f64::MAX, LEAST_MS), |(least, most), ms| (least.min(ms), most.max(ms)));
    10_f64.powf(least.min(most).log10().floor())..10_f64.powf(most.log10().floor() + 1.0)
}

/// The color mixed with white.
fn faint(color: RGBColor, strength: f64) -> RGBColor {
    let mix = |channel: u8| {
        let white = 255.0 * (1.0 - strength);
        #[expect(clippy::as_conversions, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 255")]
        let mixed = f64::from(channel).mul_add(strength, white) as u8;
        mixed
    };
    RGBColor(mix(color.0), mix(color.1), mix(color.2))
}
