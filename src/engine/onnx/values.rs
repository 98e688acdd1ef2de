//! Values between tract and us.

use crate::engine::graph::{DatumType, Tensor};
use tract_onnx::prelude as tract;

/// Ours, of tract's types that we have; sizes are a type of their own to tract.
///
/// # Errors
/// Another type.
pub fn own_type(theirs: tract::DatumType) -> Result<DatumType, String> {
    Ok(match theirs.unquantized() {
        tract::DatumType::Bool => DatumType::Bool,
        tract::DatumType::U8 => DatumType::U8,
        tract::DatumType::U16 => DatumType::U16,
        tract::DatumType::U32 => DatumType::U32,
        tract::DatumType::U64 => DatumType::U64,
        tract::DatumType::I8 => DatumType::I8,
        tract::DatumType::I16 => DatumType::I16,
        tract::DatumType::I32 => DatumType::I32,
        tract::DatumType::I64 | tract::DatumType::TDim => DatumType::I64,
        tract::DatumType::F16 => DatumType::F16,
        tract::DatumType::F32 => DatumType::F32,
        tract::DatumType::F64 => DatumType::F64,
        other => return Err(format!("its values are {other:?}, a type that is not planned")),
    })
}

/// tract's type of the same name.
pub fn their_type(own: DatumType) -> tract::DatumType {
    match own {
        DatumType::Bool => tract::DatumType::Bool,
        DatumType::U8 => tract::DatumType::U8,
        DatumType::U16 => tract::DatumType::U16,
        DatumType::U32 => tract::DatumType::U32,
        DatumType::U64 => tract::DatumType::U64,
        DatumType::I8 => tract::DatumType::I8,
        DatumType::I16 => tract::DatumType::I16,
        DatumType::I32 => tract::DatumType::I32,
        DatumType::I64 => tract::DatumType::I64,
        DatumType::F16 => tract::DatumType::F16,
        DatumType::F32 => tract::DatumType::F32,
        DatumType::F64 => tract::DatumType::F64,
    }
}

/// # Errors
/// A type that we don't have.
pub fn own(theirs: &tract::Tensor) -> Result<Tensor, String> {
    let datum_type = own_type(theirs.datum_type())?;
    let plain = match theirs.datum_type() {
        tract::DatumType::TDim => &*theirs.cast_to::<i64>().map_err(|error| error.to_string())?,
        _ => theirs,
    };
    Tensor::from_bytes(datum_type, plain.shape(), plain.as_bytes())
        .ok_or_else(|| "its bytes are not its shape's".into())
}
