//! tract, optimized; on a pool of its own where it may use more than one thread.

use crate::{Failure, Run, noise};
use tract_linalg::multithread::{Executor, set_default_executor};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_hir::infer::Factoid;

pub fn load(path: &str, threads: usize) -> Result<Run, Failure> {
    if threads > 1 {
        set_default_executor(Executor::multithread(threads));
    }
    let (plan, inputs) = open(path).map_err(in_full)?;
    let mut state = plan.spawn().map_err(in_full)?;
    Ok(Box::new(move || {
        let results = state.run(inputs.clone()).map_err(in_full)?;
        std::hint::black_box(results);
        Ok(())
    }))
}

fn open(path: &str) -> TractResult<(Arc<TypedRunnableModel>, TVec<TValue>)> {
    let mut model = tract_onnx::onnx().model_for_path(path)?;
    let mut inputs = tvec!();
    for index in 0..model.input_outlets()?.len() {
        // What is left open is the batch.
        let dims =
            model.input_fact(index)?.shape.dims().map(|dim| dim.concretize().and_then(|dim| dim.to_usize().ok()));
        let shape: Vec<usize> = dims.map(|dim| dim.unwrap_or(1)).collect();
        model.set_input_fact(index, f32::fact(&shape).into())?;
        inputs.push(Tensor::from_shape(&shape, &noise(shape.iter().product()))?.into());
    }
    Ok((model.into_optimized()?.into_runnable()?, inputs))
}

/// tract's errors say where something went wrong outside, and what inside.
fn in_full(error: TractError) -> Failure {
    format!("{error:#}").into()
}
