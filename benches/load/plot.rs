//! Latency as a picture: over time, and how it is distributed.

use std::path::Path;

use anyhow::Result;
use plotters::{
    coord::Shift,
    prelude::{
        BLACK, BLUE, CYAN, ChartBuilder, Color, DrawingArea, GREEN, IntoDrawingArea, IntoLogRange, LineSeries, MAGENTA,
        PathElement, RED, RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
    },
};

use super::{run::Outcome, subject::Subject, tally::Times};

const SIZE: (u32, u32) = (1000, 800);
/// Milliseconds at the lower end of the scale.
const LEAST_MS: f64 = 0.01;
const FONT: (&str, u32) = ("sans-serif", 15);
const ORANGE: RGBColor = RGBColor(230, 130, 0);
const BROWN: RGBColor = RGBColor(130, 80, 40);
/// Of the subjects, in their order.
const COLORS: [RGBColor; Subject::ALL.len()] = [BLUE, RED, GREEN, MAGENTA, CYAN, ORANGE, BROWN, BLACK];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One line of a picture.
struct Line {
    label: String,
    color: RGBColor,
    points: Vec<(f64, f64)>,
}

/// Draws the latency of all rounds, each subject in its color.
pub(crate) fn draw(path: &Path, outcomes: &[Outcome]) -> Result<()> {
    let (mut over_time, mut distribution) = (Vec::new(), Vec::new());
    for (subject, color) in Subject::ALL.into_iter().zip(COLORS) {
        let seconds = seconds(outcomes, subject);
        if seconds.is_empty() {
            continue;
        }
        for (name, part, strength) in [("50 %", 0.5, 1.0), ("99 %", 0.99, 0.6), ("longest", 1.0, 0.25)] {
            let values = seconds.iter().map(|times| times.quantile_ms(part));
            let points =
                (0..).map(f64::from).zip(values).filter_map(|(second, value)| Some((second, value?.max(LEAST_MS))));
            over_time.push(Line {
                label: format!("{} {name}", subject.name()),
                color: faint(color, strength),
                points: points.collect(),
            });
        }
        let mut all = Times::default();
        for second in &seconds {
            all.merge(second);
        }
        let points = all.distribution().into_iter().map(|(ms, part)| (ms.max(LEAST_MS), part * 100.0)).collect();
        distribution.push(Line { label: subject.name().to_owned(), color, points });
    }
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1 / 2);
    let longest = over_time.iter().flat_map(|line| &line.points).map(|point| point.1).fold(1.0, f64::max) * 1.5;
    draw_over_time(&upper, &over_time, longest)?;
    draw_distribution(&lower, &distribution, longest)?;
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

fn draw_over_time(area: &Area<'_>, lines: &[Line], longest: f64) -> Result<()> {
    let last = lines.iter().flat_map(|line| &line.points).map(|point| point.0).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("from due to delivered, in ms, by the second in which the message was due", FONT)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..last, (LEAST_MS..longest).log_scale())?;
    chart.configure_mesh().x_desc("second").y_desc("ms").draw()?;
    for line in lines {
        let color = line.color;
        chart
            .draw_series(LineSeries::new(line.points.iter().copied(), color.stroke_width(2)))?
            .label(&line.label)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], color.stroke_width(2)));
    }
    let labels = &mut chart.configure_series_labels();
    labels.position(SeriesLabelPosition::LowerRight).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

fn draw_distribution(area: &Area<'_>, lines: &[Line], longest: f64) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .caption("deliveries that took at most so long, in %", FONT)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((LEAST_MS..longest).log_scale(), 0.0..100.0)?;
    chart.configure_mesh().x_desc("ms").y_desc("%").draw()?;
    for line in lines {
        chart.draw_series(LineSeries::new(line.points.iter().copied(), line.color.stroke_width(2)))?;
    }
    Ok(())
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
