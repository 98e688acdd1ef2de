//! The drive in figures: the headline tiles and the table by mode.

use std::fmt::Write;

use super::html::{escaped, mean, percent, scaled};
use super::{Outcome, PageFrame};
use crate::scene::rule::PAIRS;

/// Groups in the order in which tables and legends show them: modes by name, then frames without a decision.
pub fn groups(frames: &[PageFrame]) -> Vec<&str> {
    const KNOWN: [&str; 4] = ["semantic_first", "hybrid", "latent", "view"];
    let mut groups: Vec<&str> = Vec::new();
    for frame in frames {
        if !groups.contains(&frame.group()) {
            groups.push(frame.group());
        }
    }
    let rank = |group: &str| match group {
        "lost" => 8,
        "refused" => 9,
        mode => KNOWN.iter().position(|known| *known == mode).unwrap_or(KNOWN.len()),
    };
    groups.sort_by_key(|group| rank(group));
    groups
}

/// CSS class that gives a group its colour.
pub fn colour(group: &str) -> &'static str {
    match group {
        "semantic_first" => "g-semantic",
        "hybrid" => "g-hybrid",
        "latent" => "g-latent",
        "view" => "g-view",
        "lost" => "g-lost",
        "refused" => "g-refused",
        _ => "g-other",
    }
}

/// Share of the hazard pairs that agree with the rule on the sent map.
fn agreement<'a>(frames: impl Iterator<Item = &'a PageFrame>) -> Option<f64> {
    mean(
        frames
            .filter_map(PageFrame::hazard_errors)
            .map(|(missed, false_calls)| 1.0 - f64::from(missed + false_calls) / PAIRS as f64),
    )
}

pub fn tiles(frames: &[PageFrame]) -> String {
    let count = |outcome: Outcome| frames.iter().filter(|frame| frame.outcome == outcome).count();
    let decided = count(Outcome::Decided) + count(Outcome::DecidedLate);
    let dash = || String::from("–");
    let tiles = [
        (format!("{decided} of {}", frames.len()), "frames decided"),
        (count(Outcome::DecidedLate).to_string(), "of them late"),
        (format!("{} + {}", count(Outcome::Lost), count(Outcome::Refused)), "lost + refused"),
        (
            mean(frames.iter().filter(|frame| frame.bytes > 0).map(|frame| frame.bytes as f64))
                .map_or_else(dash, |bytes| format!("{bytes:.0}")),
            "bytes a frame",
        ),
        (percent(mean(frames.iter().map(|frame| f64::from(frame.known_share))).unwrap_or(0.0)), "of the cells known"),
        (agreement(frames.iter()).map_or_else(dash, percent), "hazards as the rule says"),
    ];
    let mut html = String::from("<ul class=\"tiles\">");
    for (value, name) in tiles {
        let _ = write!(html, "<li><b>{value}</b><span>{name}</span></li>");
    }
    html.push_str("</ul>");
    html
}

pub fn table(frames: &[PageFrame]) -> String {
    let mut html = String::from(
        "<section><h2>By mode</h2><div class=\"scroll\"><table><thead><tr><th>mode<th>frames<th>share<th>bytes<th>MACs<th>cells known\
         <th>hazards as<br>the rule says<th>free-space<br>error<th>late</tr></thead><tbody>",
    );
    for group in groups(frames) {
        let name = format!("<i class=\"dot {}\"></i>{}", colour(group), escaped(group));
        let of_group: Vec<&PageFrame> = frames.iter().filter(|frame| frame.group() == group).collect();
        row(&mut html, &name, &of_group, frames.len());
    }
    html.push_str("</tbody><tfoot>");
    row(&mut html, "all", &frames.iter().collect::<Vec<_>>(), frames.len());
    html.push_str(
        "</tfoot></table></div><p class=\"small\">Means over the frames of each mode. Bytes count headers and checksums. MACs are the multiply-accumulates of the models \
         that ran. <em>Hazards as the rule says</em>: share of the 27 zone and type pairs decided as the rule reads them off the sent map; most pairs are \
         absent in most frames, so 90 % is easily had. Free-space error: mean over 16 columns, in per cent of the height.</p></section>",
    );
    html
}

fn row(html: &mut String, name: &str, frames: &[&PageFrame], of: usize) {
    let dash = || String::from("–");
    let over = |value: fn(&PageFrame) -> Option<f64>| mean(frames.iter().filter_map(|frame| value(frame)));
    let late = frames.iter().filter(|frame| frame.outcome == Outcome::DecidedLate).count();
    let cells = [
        frames.len().to_string(),
        percent(frames.len() as f64 / of as f64),
        over(|frame| (frame.bytes > 0).then_some(frame.bytes as f64)).map_or_else(dash, |bytes| format!("{bytes:.0}")),
        over(|frame| frame.decision.as_ref().map(|_| frame.macs as f64)).map_or_else(dash, scaled),
        over(|frame| Some(f64::from(frame.known_share))).map_or_else(dash, percent),
        agreement(frames.iter().copied()).map_or_else(dash, percent),
        over(PageFrame::free_error).map_or_else(dash, percent),
        late.to_string(),
    ];
    let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
    for cell in cells {
        let _ = write!(html, "<td>{cell}</td>");
    }
    html.push_str("</tr>");
}
