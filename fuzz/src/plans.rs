//! Any bytes as the network of a plan file: read, lowered, and run where that is little work.
//!
//! A plan file's own layout and its hash are not gone through: no fuzzer guesses a SHA-256, and `tests/plan_file.rs` goes there. What is promised is checked on the
//! way: no panic, no access outside of the arena, and the same output from the fastest instructions of the machine as from their scalar definition.
#![no_main]

mod networks;

use libfuzzer_sys::fuzz_target;
use semrx::engine::Planned;
use semrx::engine::kernel::Isa;
use semrx::engine::plan::{Machine, Stays};
use std::path::Path;

/// Networks that take more are lowered and not run: they cost time and say nothing that small ones don't.
const MOST_MACS: u64 = 1 << 20;
const MOST_BYTES: usize = 1 << 20;

fuzz_target!(init: networks::write_where_asked(), |data: &[u8]| {
    let Some(own) = output(data, Isa::best()) else { return };
    assert_eq!(Some(own), output(data, Isa::Scalar));
});

/// The bits of all outputs, for inputs that are always the same.
fn output(network: &[u8], isa: Isa) -> Option<Vec<Vec<u32>>> {
    let machine = Machine::one_thread(isa);
    let mut planned = Planned::from_compiled(Path::new("fuzz"), network, &machine, Stays::default(), &[]).ok()?;
    if planned.macs().total() > MOST_MACS || planned.plan().arena_bytes() > MOST_BYTES {
        return None;
    }
    for index in 0..planned.plan().inputs().len() {
        for (at, value) in planned.plan_mut().input_mut(index).iter_mut().enumerate() {
            *value = (at * 37 % 101) as f32 / 25.0 - 2.0;
        }
    }
    planned.run().ok()?;
    // Numbers that are none have no bits of their own.
    let bits = |value: &f32| if value.is_nan() { f32::NAN.to_bits() } else { value.to_bits() };
    let outputs = 0..planned.plan().outputs().len();
    Some(outputs.map(|index| planned.plan().output(index).iter().map(bits).collect()).collect())
}
