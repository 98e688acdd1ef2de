//! rten, with the weights packed at loading, as its documentation advises for models that run over and over.

use crate::{Failure, Run, noise};
use rten::{Dimension, Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value};
use rten_tensor::Tensor;
use std::sync::Arc;

pub fn load(path: &str, threads: usize) -> Result<Run, Failure> {
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(path)?;
    let inputs: Vec<_> = (0..model.input_ids().len()).map(|index| input(&model, index)).collect::<Result<_, _>>()?;
    let outputs = model.output_ids().to_vec();
    let options = RunOptions::default().with_thread_pool(Some(Arc::new(ThreadPool::with_num_threads(threads))));
    Ok(Box::new(move || {
        let inputs = inputs.iter().map(|(id, value)| (*id, value.into())).collect();
        let results = model.run(inputs, &outputs, Some(options.clone()))?;
        std::hint::black_box(results);
        Ok(())
    }))
}

fn input(model: &Model, index: usize) -> Result<(NodeId, Value), Failure> {
    let shape = model.input_shape(index).ok_or("an input without a shape")?;
    // What is left open is the batch.
    let shape: Vec<_> = shape.iter().map(|d| if let Dimension::Fixed(size) = d { *size } else { 1 }).collect();
    let values = noise(shape.iter().product());
    Ok((model.input_ids()[index], Tensor::from_data(&shape, values).into()))
}
