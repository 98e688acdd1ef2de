//! What was quantized, how well, and what it saves: as text, as JSON, and as a page.

use crate::network::Product;
use crate::{Compared, Layer, Left, Network, Quantized, Rounded, sinks};
use semrx::report::page::escaped;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// Fewer samples are said to be few.
const FEW: usize = 16;
/// An output's SQNR below which it is said to be bad, in dB.
const BAD: f64 = 10.0;

/// Everything that there is to say.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    pub network: &'a Network,
    pub quantized: &'a Quantized<'a>,
    pub compared: &'a Compared,
    /// Calibration inputs, on which the outputs were compared.
    pub samples: usize,
    /// Parts of concatenations with a scale of their own.
    pub parts: usize,
    /// Of the file, in hex: what a bundle says of it.
    pub sha256: &'a str,
}

impl Report<'_> {
    pub fn text(&self) -> String {
        let mut text =
            format!("{:<44} {:<8} {:>18} {:>10} {:>13}\n", "layer", "operator", "weights", "MMAC", "weights' SQNR");
        for (layer, rounded) in &self.quantized.layers {
            let shape = format!("{:?}", layer.shape);
            let macs = self.macs(layer) as f64 / 1e6;
            let db = rounded.sqnr_db;
            let _ = writeln!(text, "{:<44} {:<8} {shape:>18} {macs:>10.2} {db:>10.1} dB", layer.name, layer.operator);
        }
        for left in self.left() {
            let _ = writeln!(text, "{:<44} {:<8} left in float: {}", left.name, left.operator, left.reason);
        }
        for output in &self.compared.outputs {
            let _ = writeln!(
                text,
                "output {}: SQNR {:.1} dB, {:.2} % of its answers changed, on the {} calibration inputs",
                output.output,
                output.db,
                100.0 * output.changed,
                self.samples
            );
        }
        for (what, before, after) in self.totals() {
            let _ = writeln!(text, "{what:<18} {before:>16} -> {after:>14}   {:>12}", change(before, after));
        }
        let _ = writeln!(text, "{:<18} {:>15.2} %", "MACs in int8", 100.0 * self.int8_share());
        if self.parts > 0 {
            let _ = writeln!(text, "{:<18} {:>15}   with a scale of their own", "concatenated parts", self.parts);
        }
        let _ = writeln!(text, "sha256 {}", self.sha256);
        text
    }

    /// What should be looked at before the result is used, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.samples < FEW {
            warnings.push(format!(
                "{} calibration inputs are few: what they don't show is clipped; give {FEW} or more",
                self.samples
            ));
        }
        if self.quantized.layers.is_empty() {
            warnings.push("every layer stays in float within these bounds: nothing is quantized".into());
        }
        for output in self.compared.outputs.iter().filter(|output| output.db.is_nan() || output.db < BAD) {
            warnings.push(format!(
                "output {} is at {:.1} dB on the calibration inputs: see which layer with --budget-kib",
                output.output, output.db
            ));
        }
        warnings
    }

    pub fn json(&self) -> Value {
        let scale = |name: &str| {
            self.quantized.scales.get(name).map(|scale| json!({"scale": scale.scale, "zero_point": scale.zero_point}))
        };
        let layer = |(layer, rounded): &(&Layer, Rounded)| {
            json!({"name": layer.name, "operator": layer.operator, "weights": layer.shape, "bits": rounded.bits, "macs": self.macs(layer),
                "weights_sqnr_db": rounded.sqnr_db, "input": scale(&layer.input), "bytes_before": 4 * layer.weights.values.len(),
                "bytes": rounded.bytes()})
        };
        let layers: Vec<Value> = self.quantized.layers.iter().map(layer).collect();
        let left = |left: &Left| json!({"name": left.name, "operator": left.operator, "reason": left.reason});
        let left: Vec<Value> = self.left().map(left).collect();
        let outputs: Vec<Value> = self
            .compared
            .outputs
            .iter()
            .map(|sqnr| json!({"output": sqnr.output, "sqnr_db": sqnr.db, "changed": sqnr.changed}))
            .collect();
        let totals =
            self.totals().into_iter().map(|(what, before, after)| (what.replace(' ', "_"), json!([before, after])));
        json!({"sha256": self.sha256, "samples": self.samples, "outputs": outputs, "totals": totals.collect::<serde_json::Map<_, _>>(),
            "int8_share_of_macs": self.int8_share(), "parts_with_own_scale": self.parts, "layers": layers, "left_in_float": left})
    }

    /// A section of a [`page`].
    pub fn html(&self) -> String {
        let mut rows = String::new();
        for (layer, rounded) in &self.quantized.layers {
            let _ = writeln!(
                rows,
                "<tr><td>{}<td>{}<td>{:?}<td>{}<td>{:.2}<td>{:.1}<td>{}<td>{}",
                escaped(&layer.name),
                escaped(&layer.operator),
                layer.shape,
                rounded.bits,
                self.macs(layer) as f64 / 1e6,
                rounded.sqnr_db,
                4 * layer.weights.values.len(),
                rounded.bytes(),
            );
        }
        for left in self.left() {
            let (name, operator, reason) = (escaped(&left.name), escaped(&left.operator), escaped(&left.reason));
            let _ = writeln!(rows, "<tr><td>{name}<td>{operator}<td colspan=6>left in float: {reason}");
        }
        let mut totals = String::new();
        for output in &self.compared.outputs {
            let name = escaped(&output.output);
            let _ = writeln!(totals, "<tr><td>SQNR of {name}, dB<td><td>{:.1}<td>", output.db);
            let _ =
                writeln!(totals, "<tr><td>answers of {name} that changed<td><td>{:.2} %<td>", 100.0 * output.changed);
        }
        for (what, before, after) in self.totals() {
            let _ = writeln!(totals, "<tr><td>{what}<td>{before}<td>{after}<td>{}", change(before, after));
        }
        let share = 100.0 * self.int8_share();
        format!(
            "<h2>{title}</h2>\n<p>Quantized by semrx-quantize {version} on {samples} calibration inputs, on which the outputs were compared; {share:.2} % of the multiply-accumulates run in int8.\n\
             <table>\n<tr><th>whole model<th>float<th>quantized<th>\n{totals}</table>\n\
             <table>\n<tr><th>layer<th>operator<th>weights<th>bits<th>MMAC<th>SQNR of its weights, dB<th>bytes, float<th>bytes\n{rows}</table>\n",
            title = escaped(&self.network.file.display().to_string()),
            version = env!("CARGO_PKG_VERSION"),
            samples = self.samples,
        )
    }

    /// Layers in float.
    fn left(&self) -> impl Iterator<Item = &Left> {
        self.network.left.iter().chain(&self.quantized.sensitive)
    }

    /// What is counted, before and after.
    fn totals(&self) -> [(&'static str, u64, u64); 5] {
        let Compared { float, quantized, .. } = self.compared;
        [
            ("file bytes", float.file_bytes as u64, quantized.file_bytes as u64),
            ("weights in memory", float.weights_bytes as u64, quantized.weights_bytes as u64),
            ("arena bytes", float.arena_bytes as u64, quantized.arena_bytes as u64),
            ("MACs", float.macs.total(), quantized.macs.total()),
            ("BOPs", self.bops(false), self.bops(true)),
        ]
    }

    /// Bit operations of a run: multiply-accumulates times the bits of their weights and of their activations.
    fn bops(&self, is_quantized: bool) -> u64 {
        let Compared { float, quantized, .. } = self.compared;
        if !is_quantized {
            return float.macs.total() * 32 * 32;
        }
        // Those of 4 bits are among the engine's in integers.
        let fours = self.quantized.layers.iter().filter(|(_, rounded)| rounded.bits == 4);
        let fours: u64 = fours.map(|(layer, _)| self.macs(layer)).sum();
        quantized.macs.float * 32 * 32
            + (quantized.macs.int8.saturating_sub(fours) * 8 + fours.min(quantized.macs.int8) * 4) * 8
    }

    fn int8_share(&self) -> f64 {
        let macs = self.compared.quantized.macs;
        macs.int8 as f64 / macs.total().max(1) as f64
    }

    fn macs(&self, layer: &Layer) -> u64 {
        let elements = self.quantized.elements.get(sinks::of(self.network, layer)).copied().unwrap_or(0);
        // A place of a transposed convolution meets one in so many of its taps.
        let skips = if let Product::Spread(window) = layer.product { window.stride[0] * window.stride[1] } else { 1 };
        elements * layer.weights.columns as u64 / skips as u64
    }
}

/// A page that stands for itself: what `model` became, in sections of [`Report::html`].
pub fn page(model: &Path, sections: &[&str]) -> String {
    format!(
        "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body{{font:14px system-ui,sans-serif;margin:2em;max-width:72em}}table{{border-collapse:collapse;margin:1em 0}}\
         td,th{{padding:.2em .7em;border-bottom:1px solid #ccc;text-align:right}}td:first-child,th:first-child{{text-align:left}}</style>\n\
         <h1>{title}</h1>\n{sections}",
        title = escaped(&model.display().to_string()),
        sections = sections.concat(),
    )
}

fn change(before: u64, after: u64) -> String {
    let less = 100.0 * (1.0 - after as f64 / before.max(1) as f64);
    format!("{:.1} % {}", less.abs(), if less < 0.0 { "more" } else { "less" })
}
