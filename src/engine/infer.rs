//! One run of any ONNX model on arrays from an `.npz`, for comparing with other runtimes.

use super::model::{guarded, innermost, read};
use super::onnx::{decode, own, own_type};
use super::plan::{Machine, Port};
use super::{Bound, EngineError, Fact, Planned};
use npyz::npz::{NpzArchive, NpzWriter};
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::infer::Factoid;

/// Most bytes that one array of an `.npz` may take.
const MAX_ARRAY_BYTES: u64 = 1 << 30;

/// Why an `.npz` could not be read or written.
#[derive(Debug)]
pub struct NpzError {
    file: PathBuf,
    reason: String,
}

impl std::fmt::Display for NpzError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for NpzError {}

/// Arrays by name.
#[derive(Debug, Clone, Default)]
pub struct Arrays(BTreeMap<String, Tensor>);

impl Arrays {
    /// Reads every array of the `.npz` at `path`: bool, integers and floats up to 8 bytes, row-major.
    ///
    /// # Errors
    /// [`NpzError`] names the file, and the array that can't be taken.
    pub fn read(path: &Path) -> Result<Self, NpzError> {
        let fail = |reason: String| NpzError { file: path.to_owned(), reason };
        let mut archive = NpzArchive::open(path).map_err(|error| fail(error.to_string()))?;
        let names: Vec<String> = archive.array_names().map(str::to_owned).collect();
        for index in 0..archive.zip_archive().len() {
            intact(archive.zip_archive(), index).map_err(&fail)?;
        }
        let mut arrays = BTreeMap::new();
        for name in names {
            let array = archive.by_name(&name).map_err(|error| fail(format!("array {name:?}: {error}")))?;
            let array = array.ok_or_else(|| fail(format!("array {name:?} is listed but missing")))?;
            let tensor = tensor(array).map_err(|reason| fail(format!("array {name:?}: {reason}")))?;
            arrays.insert(name, tensor);
        }
        Ok(Arrays(arrays))
    }

    /// Writes the arrays as an `.npz`, under their names.
    ///
    /// # Errors
    /// [`NpzError`] with what the file system said.
    pub fn write(&self, path: &Path) -> Result<(), NpzError> {
        let fail = |reason: String| NpzError { file: path.to_owned(), reason };
        let mut npz = NpzWriter::create(path).map_err(|error| fail(error.to_string()))?;
        for (name, tensor) in &self.0 {
            write(&mut npz, name, tensor).map_err(|error| fail(format!("array {name:?}: {error}")))?;
        }
        Ok(())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The array for the input `name` of a model: under `in:NAME`, or under the bare name.
    pub(super) fn input(&self, name: &str) -> Option<&Tensor> {
        self.0.get(&format!("in:{name}")).or_else(|| self.0.get(name))
    }

    /// As `input`, or what the caller should be told.
    fn wanted(&self, name: &str) -> Result<&Tensor, String> {
        self.input(name).ok_or_else(|| {
            let has: Vec<_> = self.names().collect();
            let holds =
                if has.is_empty() { "no array was given".into() } else { format!("given are {}", has.join(", ")) };
            format!("input {name:?} has no array in:{name} or {name}: {holds}")
        })
    }

    /// The values of a float32 array, row-major.
    pub fn floats(&self, name: &str) -> Option<&[f32]> {
        self.0.get(name)?.try_as_plain_ram().ok()?.as_slice().ok()
    }

    /// Adds a float32 array.
    ///
    /// # Panics
    /// If `shape` has another number of values.
    pub fn insert_floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        assert_eq!(shape.iter().product::<usize>(), values.len());
        if let Ok(tensor) = Tensor::from_shape(shape, values) {
            self.0.insert(name.to_owned(), tensor);
        }
    }

    /// The bytes that an input of a plan gets: those of the array for it, which has its shape and its type.
    ///
    /// # Errors
    /// What the array lacks.
    pub fn bytes_for(&self, port: &Port) -> Result<Vec<u8>, String> {
        let tensor = self.wanted(&port.name)?;
        if tensor.shape() != port.shape || format!("{:?}", tensor.datum_type()) != port.datum_type {
            return Err(format!("input {port}: the array is {:?}{:?}", tensor.datum_type(), tensor.shape()));
        }
        Ok(tensor.as_bytes().to_vec())
    }

    /// Adds the bytes of an input, in the shape and the type of `port`; `false` where there are not as many, or the type is none of numpy's.
    pub fn insert_bytes(&mut self, port: &Port, bytes: &[u8]) -> bool {
        let Ok(datum_type) = port.datum_type.parse::<DatumType>() else { return false };
        if port.shape.iter().product::<usize>() * datum_type.size_of() != bytes.len() {
            return false;
        }
        let Ok(mut tensor) = Tensor::zero_dt(datum_type, &port.shape) else { return false };
        tensor.as_bytes_mut().copy_from_slice(bytes);
        self.0.insert(port.name.clone(), tensor);
        true
    }

    #[cfg(test)]
    pub(super) fn insert(&mut self, name: &str, tensor: Tensor) {
        self.0.insert(name.to_owned(), tensor);
    }

    #[cfg(test)]
    pub(super) fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Shape of an array.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.0.get(name).map(Tensor::shape)
    }
}

/// Reads an entry to its end: only there its checksum is looked at.
fn intact<R: Read + Seek>(archive: &mut npyz::zip::ZipArchive<R>, index: usize) -> Result<(), String> {
    let mut entry = archive.by_index(index).map_err(|error| error.to_string())?;
    let name = entry.name().to_owned();
    // More than an array that is read may have: those are refused by their shape.
    let mut whole = (&mut entry).take(2 * MAX_ARRAY_BYTES);
    io::copy(&mut whole, &mut io::sink()).map_err(|error| format!("{name:?} is damaged: {error}"))?;
    Ok(())
}

fn tensor<R: Read>(array: NpyFile<R>) -> Result<Tensor, String> {
    let shape: Vec<usize> = array.shape().iter().map(|&side| side as usize).collect();
    let bytes = array.shape().iter().try_fold(8u64, |bytes, &side| bytes.checked_mul(side));
    if bytes.is_none_or(|bytes| bytes > MAX_ARRAY_BYTES) {
        return Err(format!("shape {shape:?} is larger than semrx reads (1 GiB at 8 bytes a value)"));
    }
    if array.order() == Order::Fortran && shape.len() > 1 {
        return Err("is column-major: save it with numpy.ascontiguousarray".into());
    }
    let DType::Plain(kind) = array.dtype() else { return Err("has fields: semrx reads plain arrays".into()) };
    fn read<R: Read, T: Datum + Copy + npyz::Deserialize>(
        array: NpyFile<R>,
        shape: &[usize],
    ) -> Result<Tensor, String> {
        let values = array.into_vec::<T>().map_err(|error| error.to_string())?;
        Tensor::from_shape(shape, &values).map_err(|error| error.to_string())
    }
    match (kind.type_char(), kind.size_field()) {
        (TypeChar::Bool, _) => read::<R, bool>(array, &shape),
        (TypeChar::Float, 2) => read::<R, half::f16>(array, &shape),
        (TypeChar::Float, 4) => read::<R, f32>(array, &shape),
        (TypeChar::Float, 8) => read::<R, f64>(array, &shape),
        (TypeChar::Int, 1) => read::<R, i8>(array, &shape),
        (TypeChar::Int, 2) => read::<R, i16>(array, &shape),
        (TypeChar::Int, 4) => read::<R, i32>(array, &shape),
        (TypeChar::Int, 8) => read::<R, i64>(array, &shape),
        (TypeChar::Uint, 1) => read::<R, u8>(array, &shape),
        (TypeChar::Uint, 2) => read::<R, u16>(array, &shape),
        (TypeChar::Uint, 4) => read::<R, u32>(array, &shape),
        (TypeChar::Uint, 8) => read::<R, u64>(array, &shape),
        _ => Err(format!("has values of type {kind}, which ONNX models don't take")),
    }
}

fn write<W: io::Write + io::Seek>(npz: &mut NpzWriter<W>, name: &str, tensor: &Tensor) -> io::Result<()> {
    fn typed<W, T>(npz: &mut NpzWriter<W>, name: &str, tensor: &Tensor) -> io::Result<()>
    where
        W: io::Write + io::Seek,
        T: Datum + npyz::AutoSerialize + Copy,
    {
        let values = tensor.try_as_plain_ram().and_then(|plain| plain.as_slice::<T>()).map_err(io::Error::other)?;
        let shape: Vec<u64> = tensor.shape().iter().map(|&side| side as u64).collect();
        let mut writer = npz.array::<T>(name, Default::default())?.default_dtype().shape(&shape).begin_nd()?;
        writer.extend(values.iter().copied())?;
        writer.finish()
    }
    match tensor.datum_type().unquantized() {
        DatumType::Bool => typed::<W, bool>(npz, name, tensor),
        DatumType::F16 => typed::<W, half::f16>(npz, name, tensor),
        DatumType::F32 => typed::<W, f32>(npz, name, tensor),
        DatumType::F64 => typed::<W, f64>(npz, name, tensor),
        DatumType::I8 => typed::<W, i8>(npz, name, tensor),
        DatumType::I16 => typed::<W, i16>(npz, name, tensor),
        DatumType::I32 => typed::<W, i32>(npz, name, tensor),
        DatumType::I64 => typed::<W, i64>(npz, name, tensor),
        DatumType::U8 => typed::<W, u8>(npz, name, tensor),
        DatumType::U16 => typed::<W, u16>(npz, name, tensor),
        DatumType::U32 => typed::<W, u32>(npz, name, tensor),
        DatumType::U64 => typed::<W, u64>(npz, name, tensor),
        other => Err(io::Error::other(format!("values of type {other:?} don't fit an .npz"))),
    }
}

/// Runs the ONNX model at `path` once on `arrays`, whose shapes it takes on, and returns its outputs by name.
///
/// # Errors
/// [`EngineError`]: the file, the interface (an input without an array), or the run.
pub fn infer(path: &Path, arrays: &Arrays) -> Result<Arrays, EngineError> {
    let bytes = read(path)?;
    let load = |reason| EngineError::Load { model: path.to_owned(), reason };
    let interface = |reason| EngineError::Interface { model: path.to_owned(), reason };
    let run = |reason| EngineError::Run { model: path.to_owned(), reason };

    let parse = || guarded(|| tract_onnx::onnx().model_for_read(&mut &bytes[..])).map_err(load);
    let mut model = parse()?;
    let mut values = tvec!();
    for (index, outlet) in model.inputs.clone().into_iter().enumerate() {
        let name = label(&model, outlet);
        let tensor = arrays.wanted(&name).map_err(interface)?;
        let declared = model.input_fact(index).map_err(|error| interface(innermost(&error)))?.shape.clone();
        let matches = declared.dims().zip(tensor.shape()).all(|(dim, &side)| match dim.concretize() {
            Some(dim) => dim.to_i64().is_ok_and(|dim| dim == side as i64) || dim.to_i64().is_err(),
            None => true,
        });
        if declared.rank().concretize().is_some_and(|rank| rank != tensor.rank() as i64) || !matches {
            return Err(interface(format!(
                "input {name:?} should have shape {declared:?}, the array has {:?}",
                tensor.shape()
            )));
        }
        let fact = InferenceFact::dt_shape(tensor.datum_type(), tensor.shape());
        model.set_input_fact(index, fact).map_err(|error| interface(innermost(&error)))?;
        values.push(tensor.clone().into_tvalue());
    }
    let outputs: Vec<String> = model.outputs.clone().into_iter().map(|outlet| label(&model, outlet)).collect();
    let plan = match guarded(|| model.into_optimized()?.into_runnable()) {
        Ok(plan) => plan,
        // Some operators want a scale or a size to be constant, which is an input here: this one run has one value for it.
        Err(reason) => {
            let mut model = parse()?;
            let inputs = std::mem::take(&mut model.inputs);
            let fixed = inputs.into_iter().zip(values.drain(..)).try_for_each(|(outlet, value)| -> TractResult<()> {
                let value = value.into_arc_tensor();
                model.set_outlet_fact(outlet, InferenceFact::try_from(&value)?)?;
                model.node_mut(outlet.node).op = Box::new(Const::new(value)?);
                Ok(())
            });
            fixed.map_err(|_| load(reason.clone()))?;
            guarded(|| model.into_optimized()?.into_runnable()).map_err(|_| load(reason))?
        }
    };
    let results = guarded(|| plan.run(values)).map_err(run)?;
    let results = results.into_iter().map(TValue::into_tensor);
    Ok(Arrays(outputs.into_iter().zip(results).collect()))
}

/// As [`infer`], on a plan for `machine`. Where an operator wants what is an input here to be constant, all inputs but the first are.
///
/// # Errors
/// As `infer`.
pub fn infer_planned(path: &Path, arrays: &Arrays, machine: &Machine) -> Result<Arrays, EngineError> {
    let bytes = read(path)?;
    let load = |reason| EngineError::Load { model: path.to_owned(), reason };
    let interface = |reason| EngineError::Interface { model: path.to_owned(), reason };
    let run = |reason| EngineError::Run { model: path.to_owned(), reason };
    let file = decode(&bytes[..], bytes.len() as u64).map_err(load)?;
    let graph = file.model.graph.as_ref().ok_or_else(|| load("it holds no graph".into()))?;
    let is_constant = |name: &str| file.initializers.iter().any(|(own, _)| own == name);
    let (mut bound, mut constants) = (Bound::default(), HashMap::new());
    for (index, name) in graph.input.iter().map(|input| &input.name).filter(|name| !is_constant(name)).enumerate() {
        let tensor = arrays.wanted(name).map_err(interface)?;
        let datum_type = own_type(tensor.datum_type()).map_err(interface)?;
        bound.facts.insert(name.clone(), Fact { datum_type, shape: tensor.shape().to_vec() });
        if index > 0 {
            constants.insert(name.clone(), Arc::new(own(tensor).map_err(interface)?));
        }
    }
    let mut planned = Planned::from_bytes(path, &bytes, machine, &bound)
        .or_else(|_| Planned::from_bytes(path, &bytes, machine, &Bound { constants, ..bound }))?;
    for index in 0..planned.plan().inputs().len() {
        let name = planned.plan().inputs()[index].name.clone();
        let tensor = arrays.wanted(&name).map_err(interface)?;
        planned.plan_mut().input_bytes_mut(index).copy_from_slice(tensor.as_bytes());
    }
    planned.run()?;
    let mut results = BTreeMap::new();
    for (index, port) in planned.plan().outputs().iter().enumerate() {
        let value = || -> TractResult<Tensor> {
            let mut tensor = Tensor::zero_dt(port.datum_type.parse()?, &port.shape)?;
            tensor.try_as_plain_ram_mut()?.as_bytes_mut().copy_from_slice(planned.plan().output_bytes(index));
            Ok(tensor)
        };
        results.insert(port.name.clone(), value().map_err(|error| run(innermost(&error)))?);
    }
    Ok(Arrays(results))
}

fn label(model: &InferenceModel, outlet: OutletId) -> String {
    model.outlet_label(outlet).unwrap_or(&model.nodes[outlet.node].name).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_survive_a_file() {
        let path = std::env::temp_dir().join(format!("semrx-npz-{}.npz", std::process::id()));
        let mut arrays = Arrays::default();
        arrays.0.insert("in:x".into(), Tensor::from_shape(&[2, 2], &[1.0f32, -2.0, 3.0, 0.5]).unwrap());
        arrays.0.insert("flags".into(), Tensor::from_shape(&[3], &[true, false, true]).unwrap());
        arrays.0.insert("n".into(), Tensor::from_shape(&[], &[-7i64]).unwrap());
        arrays.write(&path).unwrap();
        let back = Arrays::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(back.0, arrays.0);
        assert_eq!(back.input("x").unwrap().shape(), [2, 2]);
        assert!(back.input("y").is_none());
    }

    #[test]
    fn a_flipped_bit_is_noticed() {
        let path = std::env::temp_dir().join(format!("semrx-npz-flipped-{}.npz", std::process::id()));
        let mut arrays = Arrays::default();
        let values: Vec<f32> = (0..200).map(|at| (at * 37 % 101) as f32 * 0.1).collect();
        arrays.insert_floats("x", &[200], &values);
        arrays.write(&path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 4;
        std::fs::write(&path, bytes).unwrap();
        let error = Arrays::read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("x.npy") && error.contains("damaged"), "{error}");
    }
}
