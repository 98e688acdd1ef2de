//! Samplers give what diffusers gives: the values that its own tests name, and trajectories that `models/train/golden.py` recorded with
//! the package, where both sides compute the same model and add the same noise.
#![cfg(feature = "std")]

use npyz::npz::NpzArchive;
use semrx::sampler::{CLASSES, Recorded, Request, Sampler, Scheduler, Times};
use std::convert::Infallible;
use std::path::Path;

/// The largest error, relative to the largest of 1, the value, and the value before the step: both sides round in 32 bits.
const TOLERANCE: f64 = 1e-4;

fn archive() -> NpzArchive<std::io::BufReader<std::fs::File>> {
    NpzArchive::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/schedulers.npz")).unwrap()
}

/// The model of `golden.py`.
fn model(x: &[f32], times: Times, output: &mut [f32]) {
    for (index, output) in output.iter_mut().enumerate() {
        let x = x[index % x.len()] as f64;
        let (t, r) = (0.3 * (0.37 * index as f64 + 0.01 * times.t as f64).sin(), 0.1 * (0.005 * times.r as f64).cos());
        *output = (0.5 * x.tanh() + t + r) as f32;
    }
}

#[test]
fn trajectories_are_those_of_diffusers() {
    let mut archive = archive();
    let mut array = |name: &str| archive.by_name(name).unwrap().map(|array| array.into_vec::<f32>().unwrap());
    let noise = array("noise").unwrap();
    let len = noise.len() / 51;
    let noise = Recorded::new(&noise, len);
    let mut configs = self::archive();
    for class in CLASSES {
        let (mut worst, mut paths) = (0.0f64, 0);
        for index in 0.. {
            let Some(request) = array(&format!("{class}.{index}.request")) else {
                assert!(index >= 3, "{class}: {index} configurations");
                break;
            };
            let config = configs.by_name(&format!("{class}.{index}.config")).unwrap().unwrap();
            let config = config.into_vec::<u8>().unwrap();
            let (scheduler, unknown) = Scheduler::parse(&config, None).unwrap();
            assert!(unknown.is_empty(), "{class} {index}: {unknown:?}");
            let given = |value: f32| Some(value).filter(|value| !value.is_nan());
            for steps in [1, 4, 10, 50] {
                let expected = array(&format!("{class}.{index}.{steps}")).unwrap();
                let request = Request { eta: given(request[0]), mu: given(request[1]), ..Request::steps(steps) };
                let outputs = if scheduler.learns_variance() { 2 * len } else { len };
                let sampler = Sampler::new(&scheduler, &request, len, outputs);
                if expected.is_empty() {
                    assert!(sampler.is_err(), "{class} {index}, {steps} steps: diffusers refuses");
                    continue;
                }
                worst = worst.max(largest_error(&mut sampler.unwrap(), &noise, len, outputs, &expected));
                paths += 1;
            }
        }
        println!("{class}: {paths} trajectories, largest error {worst:.1e}");
        assert!(worst <= TOLERANCE, "{class}: {worst}");
    }
}

/// Over every step of a trajectory.
fn largest_error(sampler: &mut Sampler, noise: &Recorded, len: usize, outputs: usize, expected: &[f32]) -> f64 {
    let (mut x, mut x0, mut input, mut output) = (vec![0.0; len], vec![0.0; len], vec![0.0; len], vec![0.0; outputs]);
    sampler.start(noise, &mut x);
    assert_eq!(sampler.steps(), 0..expected.len() / len);
    let mut worst = 0.0f64;
    for step in sampler.steps() {
        sampler.model_input(step, &x, &mut input);
        model(&input, sampler.times(step), &mut output);
        sampler.estimate(step, &x, &output, &mut x0).unwrap();
        let before = x.clone();
        sampler.advance(step, &mut x, &output, &x0, noise).unwrap();
        for ((x, before), expected) in x.iter().zip(&before).zip(&expected[step * len..]) {
            worst = worst.max(((x - expected).abs() / expected.abs().max(before.abs()).max(1.0)) as f64);
        }
    }
    worst
}

#[test]
fn timesteps_are_those_of_diffusers_for_every_number_of_steps() {
    for spacing in ["linspace", "leading", "trailing"] {
        let expected = archive().by_name(spacing).unwrap().unwrap().into_vec::<i16>().unwrap();
        let config = format!(r#"{{"_class_name": "DDIMScheduler", "timestep_spacing": "{spacing}"}}"#);
        let (scheduler, _) = Scheduler::parse(config.as_bytes(), None).unwrap();
        let mut expected = expected.iter();
        for steps in 1..=100 {
            let sampler = Sampler::new(&scheduler, &Request::steps(steps), 1, 1).unwrap();
            for step in sampler.steps() {
                assert_eq!(sampler.times(step).t, f32::from(*expected.next().unwrap()), "{spacing}, {steps} steps");
            }
        }
        assert!(expected.next().is_none());
    }
}

/// The sum of sizes that diffusers' `dummy_sample_deter` of 768 values ends with, under its `dummy_model`.
fn full_loop(config: &str, request: &Request) -> f64 {
    let (scheduler, _) = Scheduler::parse(config.as_bytes(), None).unwrap();
    let (batch, len) = (4, 3 * 8 * 8);
    // arange(768) / 768 in (3, 8, 8, 4), with the last axis first. Draw 0 is this, the others are not asked for.
    let at = |sample: usize, place: usize| (place * batch + sample) as f32 / (batch * len) as f32;
    let mut sum = 0.0;
    for sample in 0..batch {
        let start: Vec<f32> = (0..len).map(|place| at(sample, place)).collect();
        let noise: Vec<f32> = start.into_iter().chain(vec![0.0; len * request.steps]).collect();
        let noise = Recorded::new(&noise, len);
        let mut sampler = Sampler::new(&scheduler, request, len, len).unwrap();
        let (mut x, mut x0) = (vec![0.0; len], vec![0.0; len]);
        sampler.start(&noise, &mut x);
        let model = |x: &[f32], times: Times, output: &mut [f32]| {
            output.iter_mut().zip(x).for_each(|(output, x)| *output = x * times.t / (times.t + 1.0));
            Ok::<(), Infallible>(())
        };
        sampler.run(&noise, &mut x, &mut x0, model, |_| {}).unwrap();
        sum += x.iter().map(|&value| value.abs() as f64).sum::<f64>();
    }
    sum
}

/// The values that diffusers' own tests name, within a unit of their last digit: the package gives 192.7613 where its test has 192.7614.
#[test]
fn full_loops_give_the_values_of_diffusers_tests() {
    let ddim = r#"{"_class_name": "DDIMScheduler", "clip_sample": true}"#;
    let cm = r#"{"_class_name": "CMStochasticIterativeScheduler", "num_train_timesteps": 201}"#;
    let (lcm, tcd) = (r#"{"_class_name": "LCMScheduler"}"#, r#"{"_class_name": "TCDScheduler"}"#);
    let without_noise = |steps| Request { eta: Some(0.0), ..Request::steps(steps) };
    for (config, request, sum, mean) in [
        (ddim, Request::steps(10), 172.0067, 0.223967),
        (cm, Request::steps(1), 192.7614, 0.2510),
        (lcm, Request::steps(1), 18.7097, 0.0244),
        (tcd, without_noise(1), 29.8715, 0.0389),
        (tcd, without_noise(10), 181.2040, 0.2359),
    ] {
        let found = full_loop(config, &request);
        println!("{config}, {} steps: {:.4} {:.6}", request.steps, found, found / 768.0);
        assert!((found - sum).abs() < 1e-4, "{config}, {} steps: {found}", request.steps);
        let digit = if mean == 0.223967 { 1e-6 } else { 1e-4 };
        assert!((found / 768.0 - mean).abs() < digit, "{config}, {} steps", request.steps);
    }
}
