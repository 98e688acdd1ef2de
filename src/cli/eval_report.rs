//! `semrx eval --report`: the evidence on one page, with curves.

use super::exit::Failure;
use plotters::prelude::*;
use semrx::bundle::CalibratedGate;
use semrx::evaluation::{BINS, GateTrial, Outcome, Row, Score, Scores, risk_by_coverage};
use semrx::report::metrics::Reliability;
use semrx::report::page::escaped;
use semrx::wire::Payload;
use std::fmt::Write;
use std::path::Path;

/// What one bundle gave.
pub struct Evidence {
    pub bundle: String,
    /// Case by case, in the order of `rows`.
    pub outcomes: Vec<(Outcome, Vec<Scores>)>,
    /// The same rows on frames of so many bytes at most.
    pub rates: Vec<(Outcome, Vec<Scores>)>,
    pub trials: Vec<GateTrial>,
    pub gate: Option<CalibratedGate>,
    pub rows: Vec<Row>,
}

/// How the page's frames were made.
pub struct About {
    pub maps: String,
    pub frames: usize,
    pub seeds: u64,
}

type Point = (f64, f64);

/// A line of a chart, in the colour of its place in the legend.
struct Line {
    colour: usize,
    points: Vec<Point>,
}

/// Colours that stay apart on white, also for most of those who see fewer of them (Okabe, Ito; Tol).
const COLOURS: [(u8, u8, u8); 14] = [
    (0, 0, 0),
    (153, 153, 153),
    (0, 158, 115),
    (136, 34, 85),
    (86, 180, 233),
    (187, 187, 0),
    (170, 119, 68),
    (0, 114, 178),
    (230, 159, 0),
    (213, 94, 0),
    (102, 68, 170),
    (204, 121, 167),
    (0, 187, 204),
    (238, 51, 119),
];

fn colour(index: usize) -> RGBColor {
    let (r, g, b) = COLOURS[index % COLOURS.len()];
    RGBColor(r, g, b)
}

/// Writes the page to `path`.
///
/// # Errors
/// [`Failure`]: a chart that can't be drawn, or what the file system says.
pub fn write(path: &Path, about: &About, evidence: &[Evidence]) -> Result<(), Failure> {
    let page = page(about, evidence).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    std::fs::write(path, page).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))
}

fn page(about: &About, evidence: &[Evidence]) -> Result<String, Box<dyn std::error::Error>> {
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>semrx: evidence</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{}</style></head><body><main><h1>What the modes gain over the baselines</h1>\
         <p class=\"intro\">{} frames of <code>{}</code>, {} seed{} of channel and sampler. Truth is what the rule reads off the map that was sent. Intervals are 95 %, by bootstrap over \
         frames. F1: macro mean over the hazards that occur in 2 to 98 % of the frames, through the head where a row has one, else through the rule on the row's map.</p>",
        include_str!("eval_report.css"),
        about.frames,
        escaped(&about.maps),
        about.seeds,
        if about.seeds == 1 { "" } else { "s" },
    );
    for one in evidence {
        let Evidence { bundle, outcomes, rates, trials, gate, rows } = one;
        write!(html, "<section><h2>{}</h2>{}", escaped(bundle), legend(rows))?;
        html += "<div class=\"charts\">";
        for Group { name, axis, cases } in groups(outcomes) {
            let lines = curves(rows, &cases, |x, scores| Some((*x, 100.0 * f1(scores)?.value)));
            html += &figure(&format!("F1 over {name}"), axis, "F1, %", &lines)?;
        }
        let by_bytes: Vec<(f64, &[Scores])> =
            rates.iter().map(|(outcome, scores)| (outcome.mean_bytes, &scores[..])).collect();
        if !by_bytes.is_empty() {
            let lines = curves(rows, &by_bytes, |x, scores| Some((*x, 100.0 * f1(scores)?.value)));
            html += &figure("Utility against bytes, a tenth of the tiles lost", "bytes a frame", "F1, %", &lines)?;
        }
        let means = means(rows, outcomes);
        let points: Vec<Line> = means
            .iter()
            .map(|mean| Line { colour: mean.row, points: vec![(mean.macs / 1e6, 100.0 * mean.f1)] })
            .collect();
        html += &figure("Utility against MACs, mean over all channels", "million MACs a frame", "F1, %", &points)?;
        let mut risks: Vec<Line> = Vec::new();
        for bin in 0..BINS.len() {
            let points =
                risk_by_coverage(trials, bin).into_iter().map(|(coverage, risk)| (100.0 * coverage, 100.0 * risk));
            risks.push(Line { colour: 7 + bin, points: points.collect() });
        }
        html += &figure(
            "Risk against coverage, by bins of the gate: few unknown cells blue, many orange, soft payloads red",
            "frames that are not generated, %",
            "decided worse for it, %",
            &risks,
        )?;
        html += &figure(
            "Reliability on lost cells of hybrid 1, a line a channel; the straight one would be perfect",
            "probability, %",
            "right, %",
            &reliability(rows, outcomes),
        )?;
        html += "</div>";
        html += &gate_words(gate.as_ref(), trials);
        html += &calibration_words(rows, outcomes);
        html += &table(rows, &means);
        html += &cases(rows, outcomes)?;
        html += "</section>";
    }
    html += "</main></body></html>\n";
    Ok(html)
}

/// The F1 that a row is judged by.
fn f1(scores: &Scores) -> Option<Score> {
    scores.head_f1.or(scores.rule_f1)
}

/// Cases that differ in one number.
struct Group<'a> {
    name: &'static str,
    /// What the number is.
    axis: &'static str,
    /// Each case's scores by it.
    cases: Vec<(f64, &'a [Scores])>,
}

fn groups(outcomes: &[(Outcome, Vec<Scores>)]) -> Vec<Group<'_>> {
    let pick = |wanted: fn(&Outcome) -> Option<f64>| {
        let mut group: Vec<(f64, &[Scores])> =
            outcomes.iter().filter_map(|(outcome, scores)| Some((wanted(outcome)?, &scores[..]))).collect();
        group.sort_by(|a, b| a.0.total_cmp(&b.0));
        group
    };
    let losses = pick(|outcome| map_loss(outcome).filter(|_| outcome.case.channel.burst <= 1.0));
    let bursts = pick(|outcome| map_loss(outcome).filter(|_| outcome.case.channel.burst > 1.0));
    let noise = pick(|outcome| outcome.case.channel.sigma.filter(|_| outcome.case.channel.tile_loss == 0.0));
    let all = [
        Group { name: "tile loss", axis: "share of the tiles lost", cases: losses },
        Group { name: "tile loss in bursts", axis: "share of the tiles lost", cases: bursts },
        Group { name: "noise on soft values", axis: "sigma", cases: noise },
    ];
    all.into_iter().filter(|group| group.cases.len() > 1).collect()
}

/// Tile loss, of map payloads.
fn map_loss(outcome: &Outcome) -> Option<f64> {
    (outcome.case.payload == Payload::Map).then_some(outcome.case.channel.tile_loss)
}

fn curves(rows: &[Row], cases: &[(f64, &[Scores])], point: impl Fn(&f64, &Scores) -> Option<Point>) -> Vec<Line> {
    let line = |row: usize| Line {
        colour: row,
        points: cases.iter().filter_map(|(x, scores)| point(x, &scores[row])).collect(),
    };
    (0..rows.len()).map(line).filter(|line| !line.points.is_empty()).collect()
}

/// A chart with its caption. Lines of one point are dots.
fn figure(caption: &str, across: &str, up: &str, lines: &[Line]) -> Result<String, Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    if points().next().is_none() {
        return Ok(String::new());
    }
    let range = |of: fn(Point) -> f64| {
        let (low, high) = points().map(of).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let margin = 0.04 * (high - low).max(1e-3);
        low - margin..high + margin
    };
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (520, 340)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d(range(|point| point.0), range(|point| point.1))?;
        chart.configure_mesh().x_desc(across).y_desc(up).light_line_style(WHITE).x_labels(7).y_labels(7).draw()?;
        for line in lines {
            let colour = colour(line.colour);
            if line.points.len() > 1 {
                chart.draw_series(LineSeries::new(line.points.iter().copied(), colour.stroke_width(2)))?;
            }
            if line.points.len() < 40 {
                chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
        }
        root.present()?;
    }
    Ok(format!("<figure>{svg}<figcaption>{}</figcaption></figure>", escaped(caption)))
}

fn legend(rows: &[Row]) -> String {
    let mut html = String::from("<ul class=\"legend\">");
    for (index, row) in rows.iter().enumerate() {
        let (r, g, b) = COLOURS[index % COLOURS.len()];
        let _ = write!(html, "<li><i style=\"background:rgb({r},{g},{b})\"></i>{}</li>", escaped(&row.name()));
    }
    html + "</ul>"
}

/// A row over all channels that it applies to.
struct Mean {
    row: usize,
    channels: usize,
    f1: f64,
    free_error: f64,
    macs: f64,
    generated: f64,
}

fn means(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Vec<Mean> {
    let of = |row: usize| {
        let scored: Vec<(&Scores, f64, f64)> = outcomes
            .iter()
            .filter_map(|(_, scores)| {
                let scores = &scores[row];
                let free = scores.head_free_error.or(scores.rule_free_error)?;
                Some((scores, f1(scores)?.value, free.value))
            })
            .collect();
        let count = scored.len() as f64;
        let mean = |value: &dyn Fn(&(&Scores, f64, f64)) -> f64| scored.iter().map(value).sum::<f64>() / count;
        (!scored.is_empty()).then(|| Mean {
            row,
            channels: scored.len(),
            f1: mean(&|row| row.1),
            free_error: mean(&|row| row.2),
            macs: mean(&|row| row.0.mean_macs),
            generated: mean(&|row| row.0.generated),
        })
    };
    (0..rows.len()).filter_map(of).collect()
}

fn table(rows: &[Row], means: &[Mean]) -> String {
    let mut html = String::from(
        "<div class=\"scroll\"><table><caption>Means over the channels that a row applies to</caption><thead><tr><th>row<th>channels<th>F1, %<th>free-space error, %<th>M MACs<th>generated, %</tr></thead><tbody>",
    );
    for Mean { row, channels, f1, free_error, macs, generated } in means {
        let _ = write!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{channels}<td>{:.1}<td>{:.2}<td>{:.0}<td>{:.0}</tr>",
            escaped(&rows[*row].name()),
            100.0 * f1,
            100.0 * free_error,
            macs / 1e6,
            100.0 * generated
        );
    }
    html + "</tbody></table></div>"
}

fn gate_words(gate: Option<&CalibratedGate>, trials: &[GateTrial]) -> String {
    let mut html = String::from("<p>");
    match gate {
        None => html += "The bundle's gate is not calibrated, and promises no risk.",
        Some(gate) => {
            let _ = write!(
                html,
                "The gate promises a risk of {} % at most, at confidence {} %. Here: ",
                f64::from(gate.alpha_permille) / 10.0,
                100.0 - f64::from(gate.delta_permille) / 10.0
            );
            let mut words = Vec::new();
            for (index, (channel, from, below)) in BINS.iter().enumerate() {
                let bin = gate.bins.iter().find(|bin| (bin.channel, bin.from, bin.below) == (*channel, *from, *below));
                let of_bin: Vec<&GateTrial> = trials.iter().filter(|trial| trial.bin == index).collect();
                let (Some(bin), false) = (bin, of_bin.is_empty()) else { continue };
                let skips = |trial: &&&GateTrial| trial.doubt_permille <= bin.doubt_permille;
                let worse = of_bin.iter().filter(skips).filter(|trial| trial.worse).count();
                let skipped = of_bin.iter().filter(|trial| !trial.refines || skips(trial)).count();
                words.push(format!(
                    "{channel:?} {from} to {below}: of {} frames {:.1} % decided worse, {:.1} % not generated",
                    of_bin.len(),
                    100.0 * worse as f64 / of_bin.len() as f64,
                    100.0 * skipped as f64 / of_bin.len() as f64
                ));
            }
            html += &escaped(&words.join("; "));
            html += ".";
        }
    }
    html + "</p>"
}

/// Of the rows that fill cells in with probabilities: a curve for each map channel that loses tiles, with the diagonal.
fn reliability(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Vec<Line> {
    let mut lines = vec![Line { colour: 1, points: vec![(0.0, 0.0), (100.0, 100.0)] }];
    let Some(row) = rows.iter().position(|row| row.name() == "hybrid 1") else { return lines };
    for (index, (outcome, _)) in outcomes.iter().enumerate() {
        let mut pooled = Reliability::default();
        outcome.samples[row].iter().for_each(|sample| pooled.merge(&sample.reliability));
        if pooled.count() > 0 {
            let points = pooled.points().map(|(said, right)| (100.0 * said, 100.0 * right)).collect();
            lines.push(Line { colour: 2 + index, points });
        }
    }
    lines
}

fn calibration_words(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> String {
    let Some(row) = rows.iter().position(|row| row.name() == "hybrid 1") else { return String::new() };
    let errors: Vec<String> = outcomes
        .iter()
        .filter_map(|(outcome, scores)| Some(format!("{} {:.3}", outcome.case.channel, scores[row].reliability_error?)))
        .collect();
    match errors.is_empty() {
        true => String::new(),
        false => format!(
            "<p>Expected calibration error of hybrid 1 on lost cells, and on all cells of noisy payloads: {}.</p>",
            escaped(&errors.join("; "))
        ),
    }
}

fn cases(rows: &[Row], outcomes: &[(Outcome, Vec<Scores>)]) -> Result<String, std::fmt::Error> {
    let mut html = String::from("<details><summary>Every channel and row</summary>");
    let cell = |score: Option<Score>| match score {
        Some(Score { value, interval }) => {
            format!("{:.1} <small>[{:.1}, {:.1}]</small>", 100.0 * value, 100.0 * interval.low, 100.0 * interval.high)
        }
        None => "–".into(),
    };
    for (outcome, scores) in outcomes {
        write!(
            html,
            "<div class=\"scroll\"><table><caption>{}, {}: {:.0} bytes a frame</caption><thead><tr><th>row<th>F1<th>F1 of the rule<th>free-space error<th>mIoU<th>mIoU of lost cells<th>M MACs</tr></thead><tbody>",
            outcome.case.payload.name(),
            escaped(&outcome.case.channel.to_string()),
            outcome.mean_bytes
        )?;
        for (row, scores) in rows.iter().zip(scores).filter(|(_, scores)| f1(scores).is_some()) {
            let columns = [
                f1(scores),
                scores.rule_f1,
                scores.head_free_error.or(scores.rule_free_error),
                scores.all_miou,
                scores.lost_miou,
            ];
            write!(html, "<tr><th scope=\"row\">{}</th>", escaped(&row.name()))?;
            columns.into_iter().try_for_each(|score| write!(html, "<td>{}", cell(score)))?;
            write!(html, "<td>{:.0}</tr>", scores.mean_macs / 1e6)?;
        }
        html += "</tbody></table></div>";
    }
    Ok(html + "</details>")
}
