//! Tensors of 4 bits, as weights are stored: read as those of 8 bits with the same values, for DequantizeLinear alone.

use crate::engine::graph::Tensor;
use tract_onnx::pb;

/// Of ONNX, which tract doesn't name.
const UINT4: i32 = 21;
const INT4: i32 = 22;

pub fn is_four(tensor: &pb::TensorProto) -> bool {
    matches!(tensor.data_type, UINT4 | INT4)
}

/// The values of a tensor of 4 bits, two to a byte, the first in the low bits.
///
/// # Errors
/// If there are not as many as its `elements`.
pub fn tensor(tensor: &pb::TensorProto, elements: usize) -> Result<Tensor, String> {
    let shape: Vec<usize> = tensor.dims.iter().map(|&side| side as usize).collect();
    let bytes: Vec<u8> = match tensor.raw_data.is_empty() {
        true => tensor.int32_data.iter().map(|&pair| pair as u8).collect(),
        false => tensor.raw_data.clone(),
    };
    if bytes.len() != elements.div_ceil(2) {
        return Err(format!("{} bytes for {elements} values of 4 bits", bytes.len()));
    }
    let fours = bytes.iter().flat_map(|byte| [byte & 0xf, byte >> 4]).take(elements);
    let value = match tensor.data_type {
        INT4 => Tensor::from_values(&shape, &fours.map(|four| (four << 4) as i8 >> 4).collect::<Vec<_>>()),
        _ => Tensor::from_values(&shape, &fours.collect::<Vec<_>>()),
    };
    value.ok_or_else(|| "its shape is another".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::DatumType;

    #[test]
    fn both_halves_of_a_byte_are_read() {
        let proto = |data_type, raw_data: &[u8], int32_data: &[i32]| pb::TensorProto {
            data_type,
            dims: vec![3],
            raw_data: raw_data.to_vec(),
            int32_data: int32_data.to_vec(),
            ..Default::default()
        };
        let signed = tensor(&proto(INT4, &[0x8f, 0x07], &[]), 3).unwrap();
        assert_eq!((signed.datum_type(), signed.as_bytes()), (DatumType::I8, &[0xff, 0xf8, 7][..]));
        let unsigned = tensor(&proto(UINT4, &[], &[0x8f, 0x07]), 3).unwrap();
        assert_eq!((unsigned.datum_type(), unsigned.as_bytes()), (DatumType::U8, &[15, 8, 7][..]));
        assert!(tensor(&proto(INT4, &[1], &[]), 3).is_err());
    }
}
