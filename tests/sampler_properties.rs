//! What holds of every scheduler configuration, not of those alone that somebody thought of.
#![cfg(feature = "std")]

use proptest::collection::vec;
use proptest::prelude::*;
use semrx::noise::Noise;
use semrx::sampler::{CLASSES, MAX_STEPS, Request, Sampler, Scheduler, Start, Times};
use std::convert::Infallible;

const KEYS: [&str; 40] = [
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "original_inference_steps",
    "clip_sample",
    "clip_sample_range",
    "set_alpha_to_one",
    "steps_offset",
    "prediction_type",
    "thresholding",
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "timestep_spacing",
    "timestep_scaling",
    "rescale_betas_zero_snr",
    "variance_type",
    "solver_order",
    "solver_type",
    "algorithm_type",
    "lower_order_final",
    "euler_at_final",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_lu_lambdas",
    "use_flow_sigmas",
    "flow_shift",
    "final_sigmas_type",
    "lambda_min_clipped",
    "interpolation_type",
    "timestep_type",
    "sigma_min",
    "sigma_max",
    "sigma_data",
    "rho",
    "s_noise",
    "shift",
    "use_dynamic_shifting",
    "shift_terminal",
];

/// Values as they stand in a file.
const WORDS: [&str; 25] = [
    "true",
    "false",
    "null",
    "NaN",
    "-Infinity",
    "Infinity",
    "[]",
    "[0.1, 0.2]",
    "{}",
    "\"linear\"",
    "\"scaled_linear\"",
    "\"squaredcos_cap_v2\"",
    "\"epsilon\"",
    "\"v_prediction\"",
    "\"sample\"",
    "\"flow_prediction\"",
    "\"leading\"",
    "\"trailing\"",
    "\"linspace\"",
    "\"learned_range\"",
    "\"sde-dpmsolver++\"",
    "\"heun\"",
    "\"sigma_min\"",
    "\"log_linear\"",
    "\"continuous\"",
];

/// Sound values of some key, and others.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(&WORDS[..]).prop_map(str::to_owned),
        2 => (0u32..60).prop_map(|number| number.to_string()),
        2 => (0.0f64..1.0).prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
    ]
}

fn config() -> impl Strategy<Value = String> {
    let member = (prop::sample::select(&KEYS[..]), value()).prop_map(|(key, value)| format!("\"{key}\": {value}"));
    (prop::sample::select(&CLASSES[..]), vec(member, 0..6)).prop_map(|(class, members)| {
        format!("{{\"_class_name\": \"{class}\", \"_x\": [{{}}], {}}}", members.join(", "))
    })
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        Just(Start::First),
        (0usize..120).prop_map(Start::Step),
        any::<f64>().prop_map(Start::Strength),
        (0.0f64..1.1).prop_map(Start::Strength),
        any::<f32>().prop_map(Start::Snr),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let few = prop_oneof![0usize..=MAX_STEPS + 1, any::<usize>()];
    (few, start(), any::<Option<f32>>(), proptest::option::of(-2.0f32..2.0))
        .prop_map(|(steps, start, eta, mu)| Request { steps, start, eta, mu })
}

/// Whatever a configuration says: a scheduler or an error, and never more than [`MAX_STEPS`] steps.
fn survives(text: &[u8], class: Option<&str>, request: &Request) {
    let Ok((scheduler, _)) = Scheduler::parse(text, class) else { return };
    let outputs = if scheduler.learns_variance() { 8 } else { 4 };
    let Ok(mut sampler) = Sampler::new(&scheduler, request, 4, outputs) else { return };
    assert!(sampler.steps().len() <= MAX_STEPS && !sampler.steps().is_empty());
    let noise = Noise::new(1, 0);
    let (mut x, mut x0) = ([0.0; 4], [0.0; 4]);
    sampler.start(&noise, &mut x);
    let model = |x: &[f32], _: Times, output: &mut [f32]| {
        output.iter_mut().enumerate().for_each(|(index, output)| *output = x[index % x.len()].tanh());
        Ok::<(), Infallible>(())
    };
    // Absurd numbers may overflow: that is an error too.
    if sampler.run(&noise, &mut x, &mut x0, model, |_| {}).is_ok() {
        assert!(x.iter().all(|value| value.is_finite()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_bytes_are_a_scheduler_or_an_error(bytes in vec(any::<u8>(), 0..200), class in 0..CLASSES.len()) {
        survives(&bytes, Some(CLASSES[class]), &Request::steps(4));
        let object = [b"{\"", &bytes[..], b"}"].concat();
        survives(&object, Some(CLASSES[class]), &Request::steps(4));
    }

    #[test]
    fn a_damaged_config_is_a_scheduler_or_an_error(
        text in config(), at in any::<prop::sample::Index>(), byte in any::<u8>(), request in request(),
    ) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        survives(&bytes, None, &request);
    }

    #[test]
    fn any_config_is_a_scheduler_or_an_error(text in config(), request in request()) {
        survives(text.as_bytes(), None, &request);
    }
}
