//! The report page: one HTML file that stands alone, without network or scripts.
//!
//! It is written from plain values, so that a drive, a capture or a test can fill it. Summary, a plot over the drive, the
//! legend, then a card a frame: what was sent, what arrived, what was refined, what was decided.

mod card;
mod html;
mod overlay;
mod plot;
mod summary;

use std::io::{self, Write};

use crate::scene::rule::{COLUMNS, HazardSet, PAIRS};
use crate::scene::{ClassMap, LabelSet};

pub use html::escaped;
use overlay::Zones;

/// Everything that a page shows.
pub struct PageData {
    pub title: String,
    /// How the drive was made, in pairs of name and value: seed, bundle, channel, grid.
    pub settings: Vec<(String, String)>,
    /// What a reader must know before they trust the figures, such as thresholds that are not calibrated.
    pub notes: Vec<String>,
    pub labels: &'static LabelSet,
    /// In the order of the drive: one entry a record.
    pub frames: Vec<PageFrame>,
}

/// How a frame ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Decided,
    /// Decided after its deadline.
    DecidedLate,
    Lost,
    Refused,
}

/// One frame, or one gap in the sequence.
pub struct PageFrame {
    pub sequence: u64,
    /// Capture time.
    pub time_us: u64,
    pub outcome: Outcome,
    /// Name of the mode that decided, as records have it; empty for a frame that nothing decided.
    pub mode: String,
    pub steps: u32,
    pub bytes: u64,
    pub macs: u64,
    /// As the radio reported it.
    pub snr_db: Option<f32>,
    /// Share of the tiles that did not arrive, 0..=1.
    pub lost_share: f32,
    /// Share of the cells that are known after reception, 0..=1.
    pub known_share: f32,
    /// From the arrival to the final decision.
    pub decision_us: Option<u64>,
    pub deadline_us: Option<u64>,
    /// What was sent, where the page's maker knows it.
    pub sent: Option<ClassMap>,
    pub received: Option<Received>,
    /// The refined map, or why there is none, in a few words.
    pub refined: Result<ClassMap, String>,
    pub decision: Option<Decision>,
    /// The rule on the sent map.
    pub truth: Option<Truth>,
    /// The record as a readable line.
    pub line: String,
}

/// A received map.
pub struct Received {
    pub map: ClassMap,
    /// Which cells arrived; one value a cell.
    pub known: Vec<bool>,
}

/// What the receiver decided.
pub struct Decision {
    /// Free space of each column, in thousandths of the height.
    pub free: [u16; COLUMNS],
    /// Probability of each zone x type pair, in thousandths.
    pub probability: [u16; PAIRS],
    /// Pairs that were called.
    pub present: HazardSet,
}

/// What the rule reads off the sent map.
pub struct Truth {
    /// Free space of each column, in thousandths of the height.
    pub free: [u16; COLUMNS],
    pub present: HazardSet,
}

impl PageFrame {
    /// The mode, or what became of the frame where none decided.
    fn group(&self) -> &str {
        match self.outcome {
            Outcome::Lost => "lost",
            Outcome::Refused => "refused",
            Outcome::Decided | Outcome::DecidedLate => &self.mode,
        }
    }

    /// Hazard pairs missed and called falsely, where decision and truth are both known.
    fn hazard_errors(&self) -> Option<(u32, u32)> {
        let (decision, truth) = (self.decision.as_ref()?, self.truth.as_ref()?);
        let (said, is) = (decision.present.0, truth.present.0);
        Some(((is & !said).count_ones(), (said & !is).count_ones()))
    }

    /// Mean absolute error of the free space over the columns, as a share of the height.
    fn free_error(&self) -> Option<f64> {
        let (decision, truth) = (self.decision.as_ref()?, self.truth.as_ref()?);
        let total: u32 = decision.free.iter().zip(truth.free).map(|(said, is)| u32::from(said.abs_diff(is))).sum();
        Some(f64::from(total) / 1000.0 / COLUMNS as f64)
    }
}

/// Writes the page. A drive without frames gives a page that says so.
///
/// # Errors
/// What `out` reports, and `InvalidData` for a map that no picture can be made of (one without cells).
pub fn write_page(data: &PageData, out: &mut impl Write) -> io::Result<()> {
    let title = escaped(&data.title);
    write!(
        out,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><style>{}</style></head><body><main><h1>{title}</h1>",
        include_str!("style.css")
    )?;
    out.write_all(include_str!("intro.html").as_bytes())?;
    if !data.settings.is_empty() {
        out.write_all(b"<dl class=\"settings\">")?;
        for (name, value) in &data.settings {
            write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(name), escaped(value))?;
        }
        out.write_all(b"</dl>")?;
    }
    for note in &data.notes {
        write!(out, "<p class=\"note\">{}</p>", escaped(note))?;
    }
    if data.frames.is_empty() {
        return out.write_all(b"<p class=\"note\">No frame arrived and none was lost: there is nothing to show.</p></main></body></html>\n");
    }
    out.write_all(summary::tiles(&data.frames).as_bytes())?;
    out.write_all(summary::table(&data.frames).as_bytes())?;
    out.write_all(plot::lanes(&data.frames).as_bytes())?;
    out.write_all(card::legend(data.labels).as_bytes())?;

    out.write_all(b"<section id=\"frames\"><h2>Frame by frame</h2>")?;
    let mut zones: Option<Zones> = None;
    for (index, frame) in data.frames.iter().enumerate() {
        // One stream has one grid: the zones are laid out with the first map seen.
        if zones.is_none()
            && let Some(map) = frame.any_map()
        {
            let laid_out = Zones::new(map.grid);
            out.write_all(laid_out.definitions().as_bytes())?;
            zones = Some(laid_out);
        }
        let card = card::card(frame, index, zones.as_ref(), data.labels)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        out.write_all(card.as_bytes())?;
    }
    out.write_all(b"</section></main></body></html>\n")
}

impl PageFrame {
    fn any_map(&self) -> Option<&ClassMap> {
        let received = self.received.as_ref().map(|received| &received.map);
        self.sent.as_ref().or(received).or(self.refined.as_ref().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::CAMVID12;
    use crate::wire::Grid;

    fn frame(sequence: u64, outcome: Outcome, mode: &str) -> PageFrame {
        let map = ClassMap::filled(Grid::new(16, 12), 3);
        let decided = matches!(outcome, Outcome::Decided | Outcome::DecidedLate);
        let mut present = HazardSet::default();
        present.insert(4);
        PageFrame {
            sequence,
            time_us: sequence * 100_000,
            outcome,
            mode: mode.into(),
            steps: 2,
            bytes: 300,
            macs: 1_000_000,
            snr_db: Some(-3.5),
            lost_share: 0.25,
            known_share: 0.75,
            decision_us: decided.then_some(5_000),
            deadline_us: Some(20_000),
            sent: Some(map.clone()),
            received: decided.then(|| Received { known: vec![true; map.cells.len()], map: map.clone() }),
            refined: if mode == "hybrid" { Ok(map) } else { Err("a <reason>".into()) },
            decision: decided.then_some(Decision { free: [500; COLUMNS], probability: [0; PAIRS], present }),
            truth: Some(Truth { free: [400; COLUMNS], present: HazardSet::default() }),
            line: "a & b".into(),
        }
    }

    fn page(frames: Vec<PageFrame>) -> String {
        let data = PageData {
            title: "<script>".into(),
            settings: vec![("seed".into(), "7 \"x\"".into())],
            notes: vec!["a < b".into()],
            labels: &CAMVID12,
            frames,
        };
        let mut bytes = Vec::new();
        write_page(&data, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_page_stands_alone_and_shows_every_frame_once() {
        let page = page(vec![
            frame(0, Outcome::Decided, "semantic_first"),
            frame(1, Outcome::DecidedLate, "hybrid"),
            frame(2, Outcome::Lost, ""),
            frame(3, Outcome::Refused, ""),
        ]);
        assert!(!page.contains("<script") && !page.contains("http"));
        assert_eq!(page.matches("src=\"").count(), page.matches("src=\"data:image/png;base64,").count());
        for index in 0..4 {
            assert_eq!(page.matches(&format!("<article id=\"f{index}\">")).count(), 1);
        }
        for text in [
            "not generated: a &lt;reason&gt;",
            "a &amp; b",
            "a &lt; b",
            "7 &quot;x&quot;",
            "2 of 4",
            "nothing arrived",
            "refined, 2 steps",
        ] {
            assert!(page.contains(text), "{text}");
        }
        for tag in ["section", "article", "figure", "svg", "div", "ul", "li", "table", "p", "a", "text", "title"] {
            let opened = page.matches(&format!("<{tag}>")).count() + page.matches(&format!("<{tag} ")).count();
            assert_eq!(opened, page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }

    #[test]
    fn figures_follow_from_decision_and_truth() {
        let frame = frame(0, Outcome::Decided, "hybrid");
        assert_eq!(frame.hazard_errors(), Some((0, 1)));
        assert!((frame.free_error().unwrap() - 0.1).abs() < 1e-9);
        let page = page(vec![frame]);
        // 26 of 27 pairs agree.
        assert!(page.contains("<td>96.3 %</td><td>10.0 %</td>"));
    }

    #[test]
    fn odd_drives_give_a_page_too() {
        assert!(page(Vec::new()).contains("nothing to show"));
        // One frame, no times, nothing known about it.
        let bare = PageFrame {
            sent: None,
            received: None,
            decision: None,
            truth: None,
            snr_db: None,
            decision_us: None,
            time_us: u64::MAX,
            ..frame(9, Outcome::Refused, "")
        };
        assert!(page(vec![bare]).contains("no decision"));
        // Times that run backwards fall back to the order of the records.
        let page =
            page(vec![PageFrame { time_us: 900_000, ..frame(1, Outcome::Lost, "") }, frame(0, Outcome::Lost, "")]);
        assert!(page.contains("x=\"1.00\""));
    }

    #[test]
    fn a_map_without_cells_is_an_error() {
        let empty = PageFrame { sent: Some(ClassMap::filled(Grid::new(0, 0), 0)), ..frame(0, Outcome::Lost, "") };
        let data =
            PageData { title: String::new(), settings: vec![], notes: vec![], labels: &CAMVID12, frames: vec![empty] };
        assert_eq!(write_page(&data, &mut Vec::new()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
