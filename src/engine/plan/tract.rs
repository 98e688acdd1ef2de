//! A node that has no step of its own, run by tract. It allocates.

use super::arena::Rest;
use super::slot::SlotId;
use super::step::Layout;
use crate::engine::model::guarded;
use std::fmt;
use std::sync::Arc;
use tract_onnx::prelude::*;

/// A tensor of the arena in one piece: the part of a slot from byte `at` on.
#[derive(Debug, Clone)]
pub struct Dense {
    pub slot: SlotId,
    pub at: usize,
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
}

impl Dense {
    pub fn bytes(&self) -> usize {
        self.shape.iter().product::<usize>() * self.datum_type.size_of()
    }
}

pub struct TractStep {
    pub label: String,
    pub runnable: Arc<TypedRunnableModel>,
    pub inputs: Vec<Dense>,
    /// Which output of the node, and where it goes.
    pub result: usize,
    pub to: Dense,
}

impl fmt::Debug for TractStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl TractStep {
    pub fn output(&self) -> SlotId {
        self.to.slot
    }

    pub fn reads(&self, read: &mut dyn FnMut(SlotId)) {
        self.inputs.iter().for_each(|input| read(input.slot));
    }

    pub fn run(&self, layout: &Layout<'_>, rest: &Rest<'_>, own: &mut [u8]) -> Result<(), String> {
        let run = || -> TractResult<()> {
            let mut values = tvec!();
            for input in &self.inputs {
                let mut value = Tensor::zero_dt(input.datum_type, &input.shape)?;
                let bytes = &layout.bytes(rest, input.slot)[input.at..][..input.bytes()];
                value.try_as_plain_ram_mut()?.as_bytes_mut().copy_from_slice(bytes);
                values.push(value.into_tvalue());
            }
            let results = self.runnable.run(values)?;
            let result = &results[self.result];
            // Sizes are a type of their own to tract.
            let plain = if result.datum_type() == TDim::datum_type() { &*result.cast_to::<i64>()? } else { &**result };
            own[self.to.at..][..self.to.bytes()].copy_from_slice(plain.as_bytes());
            Ok(())
        };
        guarded(run).map_err(|reason| format!("{}: {reason}", self.label))
    }
}
