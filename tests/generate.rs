//! Models that were exported elsewhere: their contracts, and the samples that they give.

#![cfg(feature = "cli")]

#[path = "common/folder.rs"]
mod folder;
#[path = "common/hash.rs"]
mod hash;
#[path = "common/model.rs"]
mod model;

use folder::Folder;
use hash::sha256;
use model::Model;
use semrx::bundle::{Contract, Generative};
use semrx::engine::Arrays;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::Machine;
use semrx::generate::{Generator, Given, Known, Settings, calibrate};
use semrx::noise::Noise;
use semrx::sampler::{Cache, Normals, Request, Sampler, Scheduler, Spent, Times};
use std::cell::RefCell;
use std::convert::Infallible;
use std::fs;
use std::process::{Command, Output};
use tract_onnx::pb::tensor_proto::DataType;

const DDIM: &str = r#"{"_class_name": "DDIMScheduler", "clip_sample": false}"#;

impl Folder {
    /// With a model and its scheduler.
    fn exported(test: &str, model: Model, scheduler: &str) -> Self {
        let folder = Folder::new(test);
        fs::write(folder.path("model.onnx"), model.file()).unwrap();
        fs::write(folder.path("scheduler_config.json"), scheduler).unwrap();
        folder
    }

    /// Makes it a bundle with these roles and this contract.
    fn list(&self, roles: &[(&str, &str)], contract: &str) {
        let entry = |(role, file): &(&str, &str)| {
            let hash = sha256(&fs::read(self.path(file)).unwrap());
            format!(r#"{{"role": "{role}", "file": "{file}", "sha256": "{hash}"}}"#)
        };
        let files: Vec<_> = roles.iter().map(entry).collect();
        let text =
            format!(r#"{{"schema": 1, "name": "mine", "files": [{}], "generate": {contract}}}"#, files.join(", "));
        fs::write(self.path("bundle.json"), text).unwrap();
    }

    fn open(&self) -> Generative {
        Generative::open(&self.0).unwrap()
    }
}

/// `out_sample = sample / 2 + timestep / 1000`, with a whole timestep: diffusers' names.
fn plain() -> Model {
    Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Int64, &[])
        .constant("half", &[], &[0.5])
        .constant("thousandth", &[], &[0.001])
        .node("Mul", &["sample", "half"], "halved")
        .node("Cast", &["timestep"], "time")
        .node("Mul", &["time", "thousandth"], "share")
        .node("Add", &["halved", "share"], "out_sample")
        .output("out_sample", &X)
}

/// `out_sample = sample / 2 + text`, told a time that it doesn't use.
fn conditioned() -> Model {
    Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Float, &[1])
        .input("text", DataType::Float, &[1, 1, 1, 2])
        .constant("half", &[], &[0.5])
        .node("Mul", &["sample", "half"], "halved")
        .node("Add", &["halved", "text"], "out_sample")
        .output("out_sample", &X)
}

const X: [i64; 4] = [1, 1, 2, 2];

fn settings(steps: usize) -> Settings {
    Settings { request: Request::steps(steps), guidance: vec![1.0], cache: None }
}

fn open(generative: &Generative, settings: &Settings, arrays: &Arrays) -> Result<Generator, String> {
    let scheduler = generative.scheduler(None).unwrap();
    let machine = Machine::one_thread(Isa::best());
    Generator::open(generative, &scheduler, settings, arrays, &machine).map_err(|error| error.to_string())
}

/// What the sampler makes of the same model in Rust.
fn expected(scheduler: &str, steps: usize, model: impl Fn(usize, f32, Times) -> f32) -> Vec<f32> {
    let (scheduler, _) = Scheduler::parse(scheduler.as_bytes(), None).unwrap();
    let mut sampler = Sampler::new(&scheduler, &Request::steps(steps), 4, 4).unwrap();
    let (mut x, mut x0) = (vec![0.0; 4], [0.0; 4]);
    let noise = Noise::new(1, 2);
    sampler.start(&noise, &mut x);
    let ask = |input: &[f32], times: Times, output: &mut [f32]| {
        output.iter_mut().enumerate().for_each(|(index, out)| *out = model(index, input[index], times));
        Ok::<(), Infallible>(())
    };
    sampler.run(&noise, &mut x, &mut x0, ask, |_| {}).unwrap();
    x
}

fn close(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    let differ =
        found.iter().zip(expected).any(|(found, expected)| (found - expected).abs() > 1e-5 * expected.abs().max(1.0));
    assert!(!differ, "{found:?} is not {expected:?}");
}

#[test]
fn a_plain_export_is_sampled_by_its_defaults() {
    let folder = Folder::exported("plain", plain(), DDIM);
    let mut generator = open(&folder.open(), &settings(5), &Arrays::default()).unwrap();
    assert_eq!((generator.shape(), generator.steps(), generator.draws()), (&[1, 1, 2, 2][..], 5, 1));
    let expected = expected(DDIM, 5, |_, x, times| x / 2.0 + times.t / 1000.0);
    for _ in 0..2 {
        let mut steps = 0;
        close(generator.run(&Noise::new(1, 2), Given::default(), || steps += 1).unwrap(), &expected);
        assert_eq!((steps, generator.spent().asked), (5, 5));
    }
}

#[test]
fn what_is_known_is_put_back_by_its_weight() {
    let folder = Folder::exported("known", plain(), r#"{"_class_name": "LCMScheduler"}"#);
    let mut generator = open(&folder.open(), &settings(3), &Arrays::default()).unwrap();
    let noise = Noise::new(1, 2);
    let free = generator.run(&noise, Given::default(), || {}).unwrap().to_vec();
    let mut take = |weight: &[f32]| {
        let known = Some(Known { sample: &[5.0, -6.0, 7.0, -8.0], weight });
        generator.run(&noise, Given { known, beginning: None }, || {}).map(<[f32]>::to_vec).map_err(|e| e.to_string())
    };
    // LCM's last step ends on its estimate.
    close(&take(&[1.0; 4]).unwrap(), &[5.0, -6.0, 7.0, -8.0]);
    let part = take(&[1.0, 0.0, 0.5, 0.0]).unwrap();
    close(&[part[0], part[1], part[3]], &[5.0, free[1], free[3]]);
    assert!(part[2] > free[2].min(7.0) && part[2] < free[2].max(7.0), "{part:?} {free:?}");
    for weight in [&[1.0, 0.0, 0.0][..], &[0.0, 1.5, 0.0, 0.0], &[f32::NAN; 4]] {
        assert!(take(weight).unwrap_err().starts_with("known: "));
    }
}

#[test]
fn guidance_leads_away_from_zeros_or_from_a_file() {
    let folder = Folder::exported("guided", conditioned(), DDIM);
    let mut arrays = Arrays::default();
    arrays.insert_floats("text", &[1, 1, 1, 2], &[0.25, -0.5]);
    let mut generative = folder.open();
    generative.contract = Contract::read(br#"{"condition": ["text"]}"#).unwrap().0;
    let text = [0.25f32, -0.5];
    let guided = Settings { guidance: vec![3.0, 1.0, 0.0], ..settings(3) };
    let mut generator = open(&generative, &guided, &arrays).unwrap();
    let step = |times: Times| [666.0, 333.0, 0.0].iter().position(|&t| t == times.t).unwrap();
    let from_zeros = expected(DDIM, 3, |index, x, times| x / 2.0 + guided.guidance[step(times)] * text[index % 2]);
    close(generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap(), &from_zeros);
    assert_eq!(generator.spent(), Spent { asked: 5, ..generator.spent() });

    // Without guidance, the condition is written once.
    let mut generator = open(&generative, &settings(3), &arrays).unwrap();
    let conditioned = expected(DDIM, 3, |index, x, _| x / 2.0 + text[index % 2]);
    for _ in 0..2 {
        close(generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap(), &conditioned);
    }

    let mut null = Arrays::default();
    null.insert_floats("text", &[1, 1, 1, 2], &[1.0, 1.0]);
    null.write(folder.0.join("null.npz").as_path()).unwrap();
    let roles = [("generate", "model.onnx"), ("scheduler", "scheduler_config.json"), ("null_condition", "null.npz")];
    folder.list(&roles, r#"{"condition": ["text"], "mine": 1}"#);
    let twice = Settings { guidance: vec![2.0], ..settings(3) };
    let mut generator = open(&folder.open(), &twice, &arrays).unwrap();
    let from_file = expected(DDIM, 3, |index, x, _| x / 2.0 + 2.0 * text[index % 2] - 1.0);
    close(generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap(), &from_file);
}

#[test]
fn two_times_and_an_embedded_scale() {
    let model = Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Float, &[])
        .input("until", DataType::Float, &[1])
        .input("timestep_cond", DataType::Float, &[1, 2])
        .constant("thousandth", &[], &[0.001])
        .node("Sub", &["timestep", "until"], "left")
        .node("Mul", &["left", "thousandth"], "share")
        .node("Mul", &["sample", "share"], "scaled")
        .node("ReduceSum", &["timestep_cond"], "scale")
        .node("Add", &["scaled", "scale"], "out_sample")
        .output("out_sample", &X);
    let scheduler = r#"{"_class_name": "FlowMapEulerDiscreteScheduler"}"#;
    let folder = Folder::exported("two-times", model, scheduler);
    let roles = [("generate", "model.onnx"), ("scheduler", "scheduler_config.json")];
    folder.list(&roles, r#"{"r": "until", "guidance": "timestep_cond", "kind": "flow"}"#);
    let mut generator =
        open(&folder.open(), &Settings { guidance: vec![1.001], ..settings(4) }, &Arrays::default()).unwrap();
    // 1000 (1.001 - 1) is 1 within rounding.
    let scale = 1f32.sin() + 1f32.cos();
    let expected = expected(scheduler, 4, |_, x, times| x * (times.t - times.r) / 1000.0 + scale);
    let found = generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap();
    assert!(
        found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-3),
        "{found:?} {expected:?}"
    );
    let mut generative = folder.open();
    generative.contract.r = None;
    assert!(open(&generative, &settings(4), &Arrays::default()).unwrap_err().contains("names no r"));
}

#[test]
fn a_model_that_breaks_its_contract_is_refused_by_name() {
    let folder = Folder::exported("contract", conditioned(), DDIM);
    let (mut text, mut turned) = (Arrays::default(), Arrays::default());
    text.insert_floats("text", &[1, 1, 1, 2], &[0.25, -0.5]);
    turned.insert_floats("text", &[1, 1, 2, 1], &[0.25, -0.5]);
    for (contract, arrays, words) in [
        ("{}", &text, ["wants an input text F32[1, 1, 1, 2]", "doesn't name"]),
        (r#"{"x": "latent", "condition": ["text"]}"#, &text, ["no input \"latent\"", "sample F32[1, 1, 2, 2]"]),
        (r#"{"condition": ["text"], "mask": "mask"}"#, &text, ["no input \"mask\"", "it has"]),
        (r#"{"x": "timestep", "t": "sample"}"#, &text, ["sample", "a time should be one F32 or I64"]),
        (r#"{"condition": ["text"], "r": "until"}"#, &text, ["names an r", "DDIMScheduler"]),
        (r#"{"condition": ["text"], "kind": "flow"}"#, &text, ["gives flow", "takes it for epsilon"]),
        (r#"{"condition": ["text"], "output": "out"}"#, &text, ["no output \"out\"", "out_sample"]),
        (r#"{"condition": ["text"], "learned_variance": true}"#, &text, ["out_sample", "[1, 2, 2, 2]"]),
        (r#"{"condition": ["text"]}"#, &turned, ["text F32[1, 1, 1, 2]", "F32[1, 1, 2, 1]"]),
        (r#"{"condition": ["text"]}"#, &Arrays::default(), ["\"text\" has no array", "no array was given"]),
    ] {
        let mut generative = folder.open();
        generative.contract = Contract::read(contract.as_bytes()).unwrap().0;
        let error = open(&generative, &settings(3), arrays).unwrap_err();
        assert!(words.iter().all(|word| error.contains(word)) && error.contains("model.onnx"), "{error}");
    }
}

#[test]
fn whole_times_need_whole_timesteps() {
    let scheduler = r#"{"_class_name": "CMStochasticIterativeScheduler"}"#;
    let folder = Folder::exported("whole", plain(), scheduler);
    let error = open(&folder.open(), &settings(3), &Arrays::default()).unwrap_err();
    assert!(error.contains("I64") && error.contains("at step 0"), "{error}");
}

#[test]
fn a_variance_is_left_alone() {
    let model = Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Int64, &[1])
        .constant("half", &[], &[0.5])
        .node("Mul", &["sample", "half"], "halved")
        .node("Exp", &["sample"], "variance")
        .node("Concat", &["halved", "variance"], "out_sample")
        .output("out_sample", &[1, 2, 2, 2]);
    let folder = Folder::exported("variance", model, DDIM);
    let error = open(&folder.open(), &settings(3), &Arrays::default()).unwrap_err();
    assert!(error.contains("learned_variance"), "{error}");
    let mut generative = folder.open();
    generative.contract.learned_variance = true;
    let mut generator = open(&generative, &settings(3), &Arrays::default()).unwrap();
    close(generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap(), &expected(DDIM, 3, |_, x, _| x / 2.0));
}

/// `deep = sample / 2`, `out_sample = deep + timestep / 1000`; its shallow part takes the deep feature.
fn split(shallow: bool) -> Model {
    let model = Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Float, &[])
        .constant("half", &[], &[0.5])
        .constant("thousandth", &[], &[0.001])
        .node("Mul", &["timestep", "thousandth"], "share");
    let model = match shallow {
        true => model.input("deep", DataType::Float, &X),
        false => model.node("Mul", &["sample", "half"], "deep").output("deep", &X),
    };
    model.node("Add", &["deep", "share"], "out_sample").output("out_sample", &X)
}

#[test]
fn cached_steps_run_the_shallow_graph_on_the_deep_feature() {
    let folder = Folder::exported("deep", split(false), DDIM);
    fs::write(folder.path("shallow.onnx"), split(true).file()).unwrap();
    let roles =
        [("generate", "model.onnx"), ("generate_shallow", "shallow.onnx"), ("scheduler", "scheduler_config.json")];
    folder.list(&roles, r#"{"deep": "deep"}"#);
    let cached = Settings { cache: Some(Cache::Deep { interval: 2 }), ..settings(4) };
    let mut generator = open(&folder.open(), &cached, &Arrays::default()).unwrap();
    let deep = RefCell::new([0.0; 4]);
    let expected = expected(DDIM, 4, |index, x, times| {
        if [750.0, 250.0].contains(&times.t) {
            deep.borrow_mut()[index] = x / 2.0;
        }
        deep.borrow()[index] + times.t / 1000.0
    });
    for _ in 0..2 {
        close(generator.run(&Noise::new(1, 2), Given::default(), || {}).unwrap(), &expected);
        assert_eq!((generator.spent().asked, generator.spent().cached_steps), (4, 2));
    }

    let mut generative = folder.open();
    generative.contract.deep = None;
    assert!(open(&generative, &cached, &Arrays::default()).unwrap_err().contains("generate_shallow"));
    // A model whose x is its own deep feature, and another shape.
    let other = Model::default()
        .input("sample", DataType::Float, &[1, 1, 2, 1])
        .input("deep", DataType::Float, &X)
        .node("Neg", &["sample"], "out_sample")
        .output("out_sample", &[1, 1, 2, 1]);
    fs::write(folder.path("shallow.onnx"), other.file()).unwrap();
    folder.list(&roles, r#"{"deep": "deep"}"#);
    let error = open(&folder.open(), &cached, &Arrays::default()).unwrap_err();
    assert!(error.contains("shallow.onnx") && error.contains("[1, 1, 2, 1]"), "{error}");
}

#[test]
fn a_threshold_is_found_that_keeps_its_word() {
    let folder = Folder::exported("calibrated", plain(), DDIM);
    let mut generator = open(&folder.open(), &settings(20), &Arrays::default()).unwrap();
    let mut tried = 0;
    let found = calibrate(&mut generator, Noise::new(1, 2), 3, 0.02, |_| tried += 1).unwrap().unwrap();
    assert!(found.error <= 0.02 && found.spent.cached_steps > 0 && tried > 5, "{found:?}");
    let next = calibrate(&mut generator, Noise::new(1, 2), 3, 0.2, |_| {}).unwrap().unwrap();
    assert!(next.threshold > found.threshold && next.spent.saved_macs >= found.spent.saved_macs, "{next:?}");
    let strict = calibrate(&mut generator, Noise::new(1, 2), 3, 1e-12, |_| {}).unwrap();
    assert!(strict.is_none_or(|found| found.error <= 1e-12), "{strict:?}");

    let told = semrx(&["sample", &folder.path(""), "--steps", "20", "--calibrate-cache", "0.02", "--json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert!(told["cache_threshold"].as_f64().unwrap() > 0.0 && told["error"].as_f64().unwrap() <= 0.02, "{told}");
}

#[test]
fn the_verb_says_what_a_cache_saved() {
    let folder = Folder::exported("cached", plain(), DDIM);
    let (dir, out) = (folder.path(""), folder.path("out.npz"));
    let sample = ["sample", &dir, "--steps", "8", "--out", &out, "--json", "--cache"];
    let told = semrx(&[&sample[..], &["taylor:2"]].concat());
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told["asked"].as_u64(), told["cached_steps"].as_u64()), (Some(5), Some(3)));
    failed(&[&sample[..], &["bounded"]].concat(), 2, &["cache", "cache_threshold"]);
    failed(&[&sample[..], &["deep"]].concat(), 2, &["cache", "generate_shallow"]);
    failed(&[&sample[..], &["difference"]].concat(), 2, &["cache", "guided"]);
    folder.list(&[("generate", "model.onnx"), ("scheduler", "scheduler_config.json")], r#"{"cache_threshold": 100}"#);
    let told = semrx(&[&sample[..], &["bounded"]].concat());
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told["asked"].as_u64(), told["cached_steps"].as_u64()), (Some(2), Some(6)));
}

fn semrx(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_semrx")).args(arguments).env_remove("RUST_LOG").output().unwrap()
}

/// It failed with `code`, and one line that holds all of `words`.
fn failed(arguments: &[&str], code: i32, words: &[&str]) {
    let output = semrx(arguments);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.starts_with("semrx: ") && text.lines().count() == 1, "{text}");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn the_verb_takes_recorded_noise_and_starts_where_it_is_told() {
    let folder = Folder::exported("verb", plain(), DDIM);
    let (dir, out, noise) = (folder.path(""), folder.path("out.npz"), folder.path("noise.npz"));
    let drawn: Vec<f32> = (0..4).map(|index| Noise::new(1, 2).normal(0, index)).collect();
    let mut arrays = Arrays::default();
    arrays.insert_floats("noise", &[1, 1, 2, 2], &drawn);
    arrays.insert_floats("sample", &[1, 1, 2, 2], &drawn);
    arrays.write(noise.as_ref()).unwrap();
    let told = semrx(&["sample", &dir, "--steps", "5", "--noise", &noise, "--out", &out, "--json"]);
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!((told["steps"].as_u64(), told["scheduler"].as_str()), (Some(5), Some("DDIMScheduler")));
    let sample = Arrays::read(out.as_ref()).unwrap();
    close(sample.floats("sample").unwrap(), &expected(DDIM, 5, |_, x, times| x / 2.0 + times.t / 1000.0));

    let picture = folder.path("out.png");
    let told = semrx(&["sample", &dir, "--steps", "5", "--out", &out, "--picture", &picture]);
    assert_eq!(told.status.code(), Some(0), "{}", String::from_utf8_lossy(&told.stderr));
    assert!(fs::read(&picture).unwrap().starts_with(b"\x89PNG"));

    let told = semrx(&["sample", &dir, "--steps", "5", "--from", &noise, "--start", "snr=0", "--out", &out]);
    assert!(String::from_utf8(told.stdout).unwrap().contains("DDIMScheduler, 3 steps"));
    let class = ["--scheduler", "DDPMScheduler"];
    let arguments = [&["sample", &dir, "--steps", "5", "--noise", &noise, "--out", &out][..], &class].concat();
    failed(&arguments, 3, &["noise.npz", "5 draws"]);
    failed(&["sample", &dir, "--steps", "5", "--guidance", "2", "--out", &out], 2, &["guidance"]);
    failed(&["sample", &dir, "--steps", "5", "--scheduler", "PNDMScheduler", "--out", &out], 3, &["PNDMScheduler"]);
    let told = String::from_utf8(semrx(&["inspect", &dir]).stdout).unwrap();
    assert!(told.contains("DDIMScheduler") && told.contains("out_sample"), "{told}");
    failed(&["sample", &folder.path("none"), "--steps", "5", "--out", &out], 3, &["none"]);
}

#[test]
fn not_a_number_ends_a_sample_with_its_step() {
    // 0 / 0 from the step at 400 on.
    let model = Model::default()
        .input("sample", DataType::Float, &X)
        .input("timestep", DataType::Float, &[])
        .constant("at", &[], &[500.0])
        .node("Sub", &["timestep", "at"], "left")
        .node("Sqrt", &["left"], "root")
        .node("Mul", &["sample", "root"], "out_sample")
        .output("out_sample", &X);
    let folder = Folder::exported("nan", model, DDIM);
    let (dir, out) = (folder.path(""), folder.path("out.npz"));
    failed(&["sample", &dir, "--steps", "5", "--out", &out], 1, &["model.onnx", "step 2", "NaN"]);
    assert!(!folder.0.join("out.npz").exists());
}
