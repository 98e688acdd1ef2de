//! A frame's card: four pictures and the record's line; and the legend to them.

use std::fmt::Write;

use super::html::{escaped, scaled};
use super::overlay::{LETTERS, Zones};
use super::summary::colour;
use super::{Outcome, PageFrame};
use crate::report::picture::data_uri;
use crate::scene::rule::TYPE_NAMES;
use crate::scene::{ClassMap, LabelSet};

pub fn card(
    frame: &PageFrame,
    index: usize,
    zones: Option<&Zones>,
    labels: &LabelSet,
) -> Result<String, png::EncodingError> {
    let group = frame.group();
    let late = if frame.outcome == Outcome::DecidedLate { "<span class=\"late\">late</span>" } else { "" };
    let mut html = format!(
        "<article id=\"f{index}\"><header><b>{:.2} s</b><span class=\"badge {}\">{}</span>{late}<span class=\"facts\">{}</span></header><div class=\"pictures\">",
        frame.time_us as f64 / 1e6,
        colour(group),
        escaped(group),
        facts(frame),
    );
    match &frame.sent {
        Some(map) => picture(&mut html, "sent", map, None, labels, "")?,
        None => empty(&mut html, "sent", "not known to the receiver"),
    }
    match &frame.received {
        Some(received) => picture(&mut html, "received", &received.map, Some(&received.known), labels, "")?,
        None => empty(&mut html, "received", "nothing arrived"),
    }
    match &frame.refined {
        Ok(map) => picture(&mut html, &format!("refined, {}", steps(frame.steps)), map, None, labels, "")?,
        Err(reason) => empty(&mut html, "refined", &format!("not generated: {}", escaped(reason))),
    }
    let base = match (&frame.refined, &frame.received) {
        (Ok(map), _) => Some((map, None)),
        (Err(_), Some(received)) => Some((&received.map, Some(received.known.as_slice()))),
        (Err(_), None) => None,
    };
    match (&frame.decision, base, zones) {
        (Some(decision), Some((map, known)), Some(zones)) => {
            let drawing = zones.overlay(decision, frame.truth.as_ref());
            picture(&mut html, "decided", map, known, labels, &drawing)?;
        }
        _ => empty(&mut html, "decided", "no decision"),
    }
    let _ = write!(html, "<code>{}</code></div></article>", escaped(&frame.line));
    Ok(html)
}

fn steps(steps: u32) -> String {
    format!("{steps} step{}", if steps == 1 { "" } else { "s" })
}

fn facts(frame: &PageFrame) -> String {
    let mut facts = vec![format!("#{}", frame.sequence)];
    if let Some(snr) = frame.snr_db {
        facts.push(format!("{snr:.1} dB"));
    }
    facts.push(format!("{:.0} % known", frame.known_share * 100.0));
    facts.push(format!("{} bytes", frame.bytes));
    facts.push(format!("{} MACs", scaled(frame.macs as f64)));
    if let Some((missed, called)) = frame.hazard_errors() {
        facts.push(match missed + called {
            0 => String::from("all hazards right"),
            wrong => format!("{wrong} hazard{} wrong", if wrong == 1 { "" } else { "s" }),
        });
    }
    facts.join(" · ")
}

fn picture(
    html: &mut String,
    caption: &str,
    map: &ClassMap,
    known: Option<&[bool]>,
    labels: &LabelSet,
    drawing: &str,
) -> Result<(), png::EncodingError> {
    let dim = if drawing.is_empty() { "" } else { " class=\"dim\"" };
    let _ = write!(
        html,
        "<figure><div class=\"pic\" style=\"aspect-ratio:{}/{}\"><img{dim} alt=\"map {caption}\" src=\"{}\">{drawing}</div><figcaption>{caption}</figcaption></figure>",
        map.grid.width,
        map.grid.height,
        data_uri(map, known, labels)?,
    );
    Ok(())
}

fn empty(html: &mut String, caption: &str, reason: &str) {
    let _ = write!(
        html,
        "<figure><div class=\"pic none\"><span>{reason}</span></div><figcaption>{caption}</figcaption></figure>"
    );
}

/// What colours, hatching, letters and lines mean.
pub fn legend(labels: &LabelSet) -> String {
    let mut html = String::from("<section id=\"legend\"><h2>How to read the pictures</h2><ul class=\"classes\">");
    for class in labels.classes {
        let [r, g, b] = class.rgb;
        let _ = write!(html, "<li><i style=\"background:rgb({r},{g},{b})\"></i>{}</li>", escaped(class.name));
    }
    html.push_str("<li><i class=\"hatch\"></i>unknown: did not arrive</li></ul><ul class=\"marks\">");
    let types: Vec<String> =
        LETTERS.iter().zip(TYPE_NAMES).map(|(letter, name)| format!("<b>{letter}</b> {name}")).collect();
    let _ = write!(
        html,
        "<li><svg viewBox=\"0 0 36 20\"><text class=\"sample hit\" x=\"18\" y=\"15\">V</text></svg><span>hazard called: {}</span></li>",
        types.join(", ")
    );
    html.push_str(
        "<li><svg viewBox=\"0 0 36 20\"><text class=\"sample false\" x=\"18\" y=\"15\">+V</text></svg>false alarm: called, but not on the sent map</li>\
         <li><svg viewBox=\"0 0 36 20\"><text class=\"sample miss\" x=\"18\" y=\"15\">−V</text></svg>missed: on the sent map, but not called</li>\
         <li><svg viewBox=\"0 0 36 20\"><path class=\"fb\" d=\"M2 12H18L18 6H34\"/><path class=\"fd\" d=\"M2 12H18L18 6H34\"/></svg>free space decided: drivable below the line</li>\
         <li><svg viewBox=\"0 0 36 20\"><path class=\"ft\" d=\"M2 12H18L18 6H34\"/></svg>free space on the sent map</li>\
         <li><svg viewBox=\"0 0 36 20\"><rect class=\"zs\" x=\"3\" y=\"3\" width=\"30\" height=\"14\"/></svg>the nine zones ahead: left, centre, right; near, middle, far</li></ul></section>",
    );
    html
}
