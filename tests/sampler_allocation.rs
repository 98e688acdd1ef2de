//! A sampler allocates when it is made, and never again. Counters are of the whole process: no test harness runs beside it.

use semrx::noise::Noise;
use semrx::sampler::{CLASSES, Cache, Depth, Guidance, Guided, Network, Question, Request, Sampler, Scheduler, Times};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::convert::Infallible;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

struct Same;

impl Network for Same {
    type Error = Infallible;

    fn ask(&mut self, input: &[f32], _: Question, output: &mut [f32]) -> Result<(), Infallible> {
        output.copy_from_slice(input);
        Ok(())
    }

    fn macs(&self, _: Depth) -> u64 {
        1
    }
}

fn main() {
    no_cache_allocates_while_it_steps();
    no_class_allocates_while_it_steps();
}

fn no_cache_allocates_while_it_steps() {
    for cache in ["deep", "difference", "taylor", "bounded:0.1"] {
        let guidance = Guidance { scales: vec![2.0], embedded: false };
        let cache = Cache::parse(cache, None).unwrap();
        let mut guided = Guided::new(guidance, Some(cache), 10, 24, 24).unwrap();
        let mut output = [0.0; 24];
        let region = Region::new(ALLOCATOR);
        guided.begin();
        for step in 0..10 {
            guided.ask(&mut Same, &[1.0 + step as f32; 24], Times { t: 0.0, r: 0.0 }, &mut output).unwrap();
        }
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{cache:?}");
    }
}

fn no_class_allocates_while_it_steps() {
    let noise = Noise::new(1, 0);
    let (mut x, mut x0) = ([0.0; 24], [0.0; 24]);
    for class in CLASSES {
        let config = br#"{"thresholding": true, "algorithm_type": "sde-dpmsolver++"}"#;
        let (scheduler, _) = Scheduler::parse(config, Some(class)).unwrap();
        let mut sampler = Sampler::new(&scheduler, &Request::steps(10), x.len(), x.len()).unwrap();
        let model = |input: &[f32], _: Times, output: &mut [f32]| {
            output.copy_from_slice(input);
            Ok::<(), Infallible>(())
        };
        let region = Region::new(ALLOCATOR);
        sampler.start(&noise, &mut x);
        sampler.run(&noise, &mut x, &mut x0, model, |_| {}).unwrap();
        let change = region.change();
        assert_eq!((change.allocations, change.reallocations), (0, 0), "{class}");
    }
}
