//! What the command line says.

use clap::{CommandFactory, Parser};
use semrx::bundle::MANIFEST;
use semrx_quantize::{Bounds, TaskLoss};
use std::path::{Path, PathBuf};

/// Quantize a float ONNX model to int8 QDQ after training, without retraining.
///
/// Runs the model on calibration inputs, chooses scales for what flows through it, and rounds the weights so that each makes good the errors of those
/// before it. The result is standard ONNX: semrx runs it in int8, and so does onnxruntime.
#[derive(Debug, Parser)]
#[command(
    bin_name = "semrx-quantize",
    version,
    max_term_width = 110,
    after_help = "\
Exit codes: 0 done, 1 failed, 2 usage, 3 refused input.

Examples:
  semrx-quantize model.onnx -o model.int8.onnx --calib samples/
  semrx-quantize models/street-float -o mine --calib maps/ --report mine.html
  semrx-quantize models/street-float/restore.onnx -o restore.int4.onnx --weights 4 --bundle models/street-float --calib maps/"
)]
pub struct Arguments {
    /// Float ONNX model, operator set 13 or later; or a bundle, whose networks are quantized one after another, each on what it is given there
    pub model: PathBuf,
    /// Where the int8 model goes; of a bundle the folder, which gets its other files too
    #[arg(short, long, value_name = "FILE.onnx|DIR")]
    pub output: PathBuf,
    /// Calibration: an .npz with an array NAME or in:NAME for each input, or a folder of them; with --bundle a folder of label maps, for the role generate one of conditions
    #[arg(long, value_name = "DIR|FILE.npz")]
    pub calib: PathBuf,
    /// The bundle that the model belongs to. Its head, restore network or shallow part is calibrated on what the receiver gives it while it works
    /// on the maps, over channels, samplers and noise levels; the model of its role generate on what a sampler asks it, with guidance and without
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Samples that are drawn from the maps, 1 to 1000 (default: 96); with --bundle
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub samples: Option<u16>,
    /// Take the maps alone whose file names begin so: a recording of several; with --bundle
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub only: String,
    /// Maps a second: what the receiver holds of a scene ages in seconds
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = semrx::sender::fps)]
    pub fps: f64,
    /// Write the samples into a folder, an .npz each, and take those that are there: to go on with a calibration that was cut off, or to
    /// quantize with another tool on the same inputs; with --bundle
    #[arg(long, value_name = "DIR")]
    pub save_samples: Option<PathBuf>,
    /// Bits of weights: 4 are in blocks of 32 input channels with a factor each
    #[arg(long, value_name = "8|4", default_value_t = 8, value_parser = bits)]
    pub weights: u8,
    /// Kilobytes of 1024 for the weights of all layers that can be quantized, of each network of a bundle or of the role that is named: within them, layers that cost the outputs most for their
    /// size get 8 bits in the place of 4, or stay in float, with weights in float16; of a bundle it may be given for several roles
    #[arg(long, value_name = "[ROLE=]N", value_parser = budget)]
    pub budget_kib: Vec<Budget>,
    /// At most so many percent of an output's answers may change on the calibration inputs: of an image the largest channel at each place, of others which
    /// side of 0 a value is on; layers that cost most for their size get more bits until that holds, within --budget-kib if it is given
    #[arg(long, value_name = "OUTPUT=PERCENT", value_parser = task_loss)]
    pub task_loss: Option<TaskLoss>,
    /// Leave this node in float, as onnxruntime's nodes_to_exclude: its name as the report has it; may be given several times
    #[arg(long, value_name = "NODE")]
    pub exclude: Vec<String>,
    /// Round weights to nearest, without making errors good
    #[arg(long)]
    pub nearest: bool,
    /// Seed of samples, and of the places that calibration looks at
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Write a page: bits, SQNR, MACs and bytes of each layer, BOPs and arena of the whole
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
}

/// Of the network in one role of a bundle, or of every one.
#[derive(Debug, Clone)]
pub struct Budget {
    pub role: Option<String>,
    pub bytes: usize,
}

impl Arguments {
    /// Of the network in that role: a budget for it alone goes before one for all.
    pub fn bounds(&self, role: &str) -> Bounds {
        let of = |role: Option<&str>| self.budget_kib.iter().find(|budget| budget.role.as_deref() == role);
        Bounds { bytes: of(Some(role)).or(of(None)).map(|budget| budget.bytes), task_loss: self.task_loss.clone() }
    }

    /// Ends with a usage error where one file would take the place of another.
    pub fn check(&self) {
        let refuse =
            |told: &str| -> ! { Arguments::command().error(clap::error::ErrorKind::ArgumentConflict, told).exit() };
        let inputs = [&self.model, &self.calib];
        let outputs = || std::iter::once(&self.output).chain(&self.report);
        let same =
            |a: &Path, b: &Path| a == b || a.canonicalize().is_ok_and(|a| b.canonicalize().is_ok_and(|b| a == b));
        let is_clash = |output: &PathBuf| inputs.iter().any(|input| same(output, input));
        let both = self.report.as_ref().is_some_and(|report| same(report, &self.output));
        let is_bundle = self.model.join(MANIFEST).is_file();
        if !is_bundle && self.budget_kib.iter().any(|budget| budget.role.is_some()) {
            refuse("--budget-kib takes a role with a whole bundle alone");
        }
        let clashes =
            |(at, budget): (usize, &Budget)| self.budget_kib[..at].iter().any(|other| other.role == budget.role);
        if self.budget_kib.iter().enumerate().any(clashes) {
            refuse("--budget-kib is given once for a role");
        }
        let only_of_bundles = self.bundle.is_none()
            && !is_bundle
            && (self.save_samples.is_some() || self.samples.is_some() || !self.only.is_empty());
        if only_of_bundles
            || (is_bundle && (self.bundle.is_some() || self.save_samples.is_some() || self.task_loss.is_some()))
        {
            let told = match only_of_bundles {
                true => "--samples, --only and --save-samples go with --bundle",
                false => "--bundle, --save-samples and --task-loss go with one model, not with a whole bundle",
            };
            refuse(told);
        }
        // Neither among what is read, nor in the place of another file of the bundle.
        let lies_in = |file: &Path, folder: &Path| {
            let folder = folder.canonicalize().ok().filter(|folder| folder.is_dir());
            let beside =
                file.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
            let own = beside.and_then(|parent| parent.canonicalize().ok());
            own.zip(folder).is_some_and(|(own, folder)| own.starts_with(folder))
        };
        let is_among = |output: &PathBuf| {
            let of_bundle = self.bundle.as_deref().is_some_and(|bundle| output.exists() && lies_in(output, bundle));
            lies_in(output, &self.calib) || of_bundle
        };
        if outputs().any(is_among) {
            let told = "the output and the report go neither into the calibration folder nor in the place of a file of the bundle";
            refuse(told);
        }
        if both || outputs().any(is_clash) {
            let told = "the output, the report, the model and the calibration are files of their own";
            refuse(told);
        }
    }
}

fn bits(text: &str) -> Result<u8, String> {
    match text {
        "8" => Ok(8),
        "4" => Ok(4),
        _ => Err("weights have 8 bits or 4".into()),
    }
}

fn budget(text: &str) -> Result<Budget, String> {
    let (role, kib) = text.split_once('=').map_or((None, text), |(role, kib)| (Some(role.to_owned()), kib));
    let kib: u32 =
        kib.parse().map_err(|_| "it is a number of kilobytes below 2^32, or ROLE=N for a network of a bundle")?;
    Ok(Budget { role, bytes: kib as usize * 1024 })
}

fn task_loss(text: &str) -> Result<TaskLoss, String> {
    let (output, percent) = text.rsplit_once('=').ok_or("it is the name of an output, =, and a percentage")?;
    let percent = percent.parse::<f64>().ok().filter(|percent| (0.0..100.0).contains(percent));
    let percent = percent.ok_or("the percentage is from 0 to below 100")?;
    Ok(TaskLoss { output: output.to_owned(), share: percent / 100.0 })
}
