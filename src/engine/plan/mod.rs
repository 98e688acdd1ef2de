//! A network as a flat list of steps over one arena: known to the byte before it runs, and the same at every run.

pub mod arena;
pub mod compensate;
pub mod foreign;
pub mod norm;
pub mod pool;
pub mod slot;
pub mod step;
pub mod tensor;
mod timesteps;
mod timing;

use crate::engine::kernel::shelf::Shelf;
use crate::engine::kernel::threads::Threads;
use crate::engine::kernel::{Isa, conv8, conv32, depthwise8};
use arena::{Arena, Lease};
use slot::{Slot, SlotId};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use step::{Layout, Step};
use timesteps::Timesteps;
use timing::{Timing, timings};

/// An input or an output of a plan, in the order of its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub shape: Vec<usize>,
    /// As its [type](crate::engine::DatumType) is called: `F32`, `I64`.
    pub datum_type: String,
    pub slot: SlotId,
    /// First byte in the slot.
    pub at: usize,
    /// That it takes.
    pub bytes: usize,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{:?}", self.name, self.datum_type, self.shape)
    }
}

impl Port {
    pub fn is_float(&self) -> bool {
        self.datum_type == "F32"
    }
}

/// Most bytes of an arena.
pub const MAX_ARENA: usize = 1 << 30;

/// What a plan runs on: instructions and threads.
#[derive(Debug, Clone)]
pub struct Machine {
    pub isa: Isa,
    pub threads: Arc<Threads>,
    /// Weights of the plans that were made for it and its clones.
    pub shelves: Arc<Shelves>,
}

/// Where plans keep what they have in common.
#[derive(Debug, Default)]
pub struct Shelves {
    pub(super) conv8: Shelf<conv8::Packed>,
    pub(super) depthwise8: Shelf<depthwise8::Packed>,
    pub(super) conv32: Shelf<conv32::Packed>,
    pub(super) floats: Shelf<[f32]>,
}

impl Machine {
    /// The fastest instructions of this machine, and `threads` of its threads, 1..=[`MAX_THREADS`](crate::engine::kernel::threads::MAX_THREADS).
    ///
    /// # Errors
    /// What the operating system says where it starts no more threads.
    pub fn new(threads: usize) -> std::io::Result<Self> {
        Ok(Machine::with(Isa::best(), Threads::new(threads)?))
    }

    /// One thread with these instructions.
    pub fn one_thread(isa: Isa) -> Self {
        Machine::with(isa, Threads::one())
    }

    pub fn with(isa: Isa, threads: Threads) -> Self {
        Machine { isa, threads: Arc::new(threads), shelves: Arc::default() }
    }

    fn layout<'a>(&'a self, slots: &'a [Slot], ranges: &'a [Range<usize>]) -> Layout<'a> {
        Layout { isa: self.isa, threads: &self.threads, slots, ranges }
    }
}

/// Steps in their order, with the slots that they write.
#[derive(Debug, Default)]
pub struct Draft {
    pub slots: Vec<Slot>,
    pub steps: Vec<Step>,
    /// For each step the node that asked for it.
    pub labels: Vec<String>,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
}

/// Which inputs are not new at every run, by name.
#[derive(Debug, Clone, Copy, Default)]
pub struct Stays<'a> {
    /// The same for several runs.
    pub lasting: &'a [&'a str],
    /// One of the few values of a schedule.
    pub timestep: Option<&'a str>,
}

/// Ready to run.
#[derive(Debug)]
pub struct Plan {
    machine: Machine,
    slots: Vec<Slot>,
    ranges: Vec<Range<usize>>,
    steps: Vec<Step>,
    /// So many of them hang on lasting inputs alone.
    once: usize,
    /// So many after those hang on the timestep alone.
    timed: usize,
    timesteps: Option<Timesteps>,
    labels: Vec<String>,
    /// Multiply-accumulates of the convolutions that [`Plan::run_again`] leaves out.
    once_macs: u64,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    arena: Arena,
    /// For each thread as much as the step that needs most.
    scratch: Vec<i64>,
}

impl Plan {
    /// Places every slot in the arena. Steps that hang on lasting inputs alone come first, and what they leave for the others is kept; then those
    /// that hang on the timestep alone.
    ///
    /// # Errors
    /// An arena of more than [`MAX_ARENA`] bytes.
    pub fn new(draft: Draft, machine: Machine, stays: Stays<'_>) -> Result<Self, String> {
        let Draft { slots, steps, labels, inputs, outputs } = draft;
        let lasts = |input: &&Port| stays.lasting.contains(&input.name.as_str());
        let timestep = inputs.iter().position(|input| stays.timestep == Some(&input.name));
        let timestep_slot = timestep.map(|input| inputs[input].slot);
        let (lasting, mut changing): (Vec<_>, Vec<_>) = inputs.iter().partition(lasts);
        changing.retain(|input| Some(input.slot) != timestep_slot);
        let slots_of = |ports: Vec<&Port>| ports.iter().map(|port| port.slot).collect::<Vec<_>>();
        let timings = timings(&steps, slots.len(), &slots_of(lasting), timestep_slot, &slots_of(changing));
        let [once, timed] =
            [Timing::Once, Timing::Timestep].map(|timing| timings.iter().filter(|&&of| of == timing).count());
        let is_once = timings.iter().map(|&timing| timing == Timing::Once);
        let once_macs = steps.iter().zip(is_once).filter(|(_, is_once)| *is_once).map(|(step, _)| step.macs()).sum();
        let (mut steps, mut labels): (Vec<_>, Vec<_>) = (steps.into_iter().map(Some).collect(), labels);
        let mut order: Vec<usize> = (0..steps.len()).collect();
        order.sort_by_key(|&index| timings[index]);
        let mut steps: Vec<Step> = order.iter().filter_map(|&index| steps[index].take()).collect();
        steps.iter_mut().for_each(|step| step.share(&machine.shelves));
        let labels = order.iter().map(|&index| std::mem::take(&mut labels[index])).collect();

        let mut leases: Vec<Lease> =
            slots.iter().map(|slot| Lease { bytes: slot.bytes(), first: usize::MAX, last: 0 }).collect();
        let mut touch = |slot: SlotId, index: usize| {
            let lease = &mut leases[slot];
            (lease.first, lease.last) = (lease.first.min(index), lease.last.max(index));
        };
        inputs.iter().for_each(|input| touch(input.slot, 0));
        for (index, step) in steps.iter().enumerate() {
            step.reads(&mut |slot| touch(slot, index));
            touch(step.output(), index);
        }
        outputs.iter().for_each(|output| touch(output.slot, steps.len()));
        // What is there once, and is read or added to again and again, stays.
        let input = |slot: SlotId| inputs.iter().find(|input| input.slot == slot);
        let mut left = Vec::new();
        for (slot, lease) in leases.iter_mut().enumerate() {
            let is_there = input(slot).map_or(lease.first < once, |input| lasts(&input));
            if is_there && lease.last >= once {
                lease.last = steps.len();
            }
            // What is there for a timestep is put back all at once.
            if !is_there && (once..once + timed).contains(&lease.first) && lease.last >= once + timed {
                lease.first = once;
                left.push(slot);
            }
        }
        let (offsets, bytes) = arena::place(&leases);
        if bytes > MAX_ARENA {
            return Err(format!("its steps write {bytes} bytes at once, {MAX_ARENA} are the most"));
        }
        let ranges = offsets.iter().zip(&slots).map(|(&from, slot)| from..from + slot.bytes()).collect();
        let scratch = vec![0; steps.iter().map(Step::scratch).max().unwrap_or(0) * machine.threads.count()];
        let timesteps = timestep.map(|input| Timesteps::new(input, left));
        let arena = Arena::new(bytes);
        Ok(Plan {
            machine,
            slots,
            ranges,
            steps,
            once,
            timed,
            timesteps,
            labels,
            once_macs,
            inputs,
            outputs,
            arena,
            scratch,
        })
    }

    /// Multiply-accumulates of the convolutions that hang on lasting inputs alone: [`Plan::run_again`] needs so many fewer.
    pub fn once_macs(&self) -> u64 {
        self.once_macs
    }

    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// Steps at the beginning that hang on lasting inputs alone.
    pub fn once(&self) -> usize {
        self.once
    }

    /// Steps right after [those](Plan::once), which hang on the timestep alone.
    pub fn timed(&self) -> usize {
        self.timed
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The node of the model that each step works for.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// A line for each step: what it is, the node that it works for, what it writes, and where that begins in the arena.
    pub fn describe(&self) -> impl Iterator<Item = String> {
        self.steps.iter().zip(&self.labels).map(|(step, label)| {
            let slot = step.output();
            let (what, from) = (&self.slots[slot], self.ranges[slot].start);
            format!("{:10} {label} -> {what} at {from}", step.name())
        })
    }

    /// Weights and other constants of the kernels, in bytes.
    pub fn weights_bytes(&self) -> usize {
        self.steps.iter().map(Step::weights_bytes).sum()
    }

    /// What a run writes to: the arena, and what threads need beside it; and what is folded.
    pub fn arena_bytes(&self) -> usize {
        let folded = self.timesteps.as_ref().map_or(0, Timesteps::bytes);
        self.arena.bytes().len() + size_of_val(&self.scratch[..]) + folded
    }

    /// The bytes of input `index`, as they were put there.
    pub fn input_bytes(&self, index: usize) -> &[u8] {
        let port = &self.inputs[index];
        let start = self.ranges[port.slot].start + port.at;
        &self.arena.bytes()[start..start + port.bytes]
    }

    /// The bytes of input `index`, to be written before a run.
    pub fn input_bytes_mut(&mut self, index: usize) -> &mut [u8] {
        let port = &self.inputs[index];
        let from = self.ranges[port.slot].start + port.at;
        &mut self.arena.bytes_mut()[from..from + port.bytes]
    }

    /// The bytes of output `index`, as the last run left them.
    pub fn output_bytes(&self, index: usize) -> &[u8] {
        let port = &self.outputs[index];
        let from = self.ranges[port.slot].start + port.at;
        &self.arena.bytes()[from..from + port.bytes]
    }

    /// The floats of input `index`, to be written before a run.
    ///
    /// # Panics
    /// If it holds no float32.
    pub fn input_mut(&mut self, index: usize) -> &mut [f32] {
        assert!(self.inputs[index].is_float());
        bytemuck::cast_slice_mut(self.input_bytes_mut(index))
    }

    /// The floats of output `index`, as the last run left them.
    ///
    /// # Panics
    /// If it holds no float32.
    pub fn output(&self, index: usize) -> &[f32] {
        assert!(self.outputs[index].is_float());
        bytemuck::cast_slice(self.output_bytes(index))
    }

    /// Computes what hangs on the timestep alone for one of a schedule: the plan's runs with that timestep find it. Nothing if no input is the
    /// timestep.
    ///
    /// # Errors
    /// What tract says of a step that it runs.
    ///
    /// # Panics
    /// If the timestep has another size than the input, or that is no float32.
    pub fn fold_timestep(&mut self, timestep: &[f32]) -> Result<(), String> {
        let Some(input) = self.timesteps.as_ref().map(|timesteps| timesteps.input) else { return Ok(()) };
        self.input_mut(input).copy_from_slice(timestep);
        self.run_steps(self.once..self.once + self.timed)?;
        if let Some(timesteps) = &mut self.timesteps {
            timesteps.keep(bytemuck::cast_slice(timestep), self.arena.bytes(), &self.ranges);
        }
        Ok(())
    }

    /// Runs every step on what the inputs hold; but for lasting ones, they hold nothing of use afterwards.
    ///
    /// # Errors
    /// What tract says of a step that it runs.
    pub fn run(&mut self) -> Result<(), String> {
        self.run_steps(0..self.once)?;
        self.run_again()
    }

    /// Runs the steps that hang on other inputs than lasting ones, whose values are those of the run before.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_again(&mut self) -> Result<(), String> {
        let is_folded = self.timesteps.as_ref().is_some_and(|timesteps| {
            let port = &self.inputs[timesteps.input];
            let from = self.ranges[port.slot].start + port.at;
            timesteps.put_back(&(from..from + port.bytes), self.arena.bytes_mut(), &self.ranges)
        });
        self.run_steps(self.once + if is_folded { self.timed } else { 0 }..self.steps.len())
    }

    fn run_steps(&mut self, steps: Range<usize>) -> Result<(), String> {
        let layout = self.machine.layout(&self.slots, &self.ranges);
        self.steps[steps].iter().try_for_each(|step| step.run(&layout, &mut self.arena, &mut self.scratch))
    }

    /// [`Plan::run`], which calls `done` with the number of each step once it has run.
    ///
    /// # Errors
    /// As `run`.
    pub fn run_watched(&mut self, done: &mut dyn FnMut(usize)) -> Result<(), String> {
        let layout = self.machine.layout(&self.slots, &self.ranges);
        self.steps.iter().enumerate().try_for_each(|(index, step)| {
            step.run(&layout, &mut self.arena, &mut self.scratch)?;
            done(index);
            Ok(())
        })
    }
}
