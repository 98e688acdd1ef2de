//! Values that are known before a graph runs.

use bytemuck::Pod;
use half::f16;

/// Type of the elements of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatumType {
    Bool,
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    F16,
    F32,
    F64,
}

impl DatumType {
    /// With the numbers that ONNX has for them.
    const NUMBERS: [(i64, DatumType); 12] = [
        (1, DatumType::F32),
        (2, DatumType::U8),
        (3, DatumType::I8),
        (4, DatumType::U16),
        (5, DatumType::I16),
        (6, DatumType::I32),
        (7, DatumType::I64),
        (9, DatumType::Bool),
        (10, DatumType::F16),
        (11, DatumType::F64),
        (12, DatumType::U32),
        (13, DatumType::U64),
    ];

    /// The type that ONNX gives this number; `None` for those that aren't planned.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::NUMBERS.iter().find(|(of, _)| *of == number).map(|&(_, datum_type)| datum_type)
    }

    /// ONNX's number for it.
    pub fn number(self) -> i64 {
        Self::NUMBERS.iter().find(|(_, of)| *of == self).map_or(0, |&(number, _)| number)
    }

    /// Bytes of an element.
    pub fn size_of(self) -> usize {
        match self {
            DatumType::Bool | DatumType::U8 | DatumType::I8 => 1,
            DatumType::U16 | DatumType::I16 | DatumType::F16 => 2,
            DatumType::U32 | DatumType::I32 | DatumType::F32 => 4,
            DatumType::U64 | DatumType::I64 | DatumType::F64 => 8,
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, DatumType::F16 | DatumType::F32 | DatumType::F64)
    }

    pub fn is_integer(self) -> bool {
        self.is_number() && !self.is_float()
    }

    pub fn is_number(self) -> bool {
        self != DatumType::Bool
    }
}

/// An element of a tensor.
pub trait Datum: Pod {
    fn datum_type() -> DatumType;
}

impl Datum for i8 {
    fn datum_type() -> DatumType {
        DatumType::I8
    }
}

impl Datum for u8 {
    fn datum_type() -> DatumType {
        DatumType::U8
    }
}

impl Datum for i32 {
    fn datum_type() -> DatumType {
        DatumType::I32
    }
}

impl Datum for i64 {
    fn datum_type() -> DatumType {
        DatumType::I64
    }
}

impl Datum for f16 {
    fn datum_type() -> DatumType {
        DatumType::F16
    }
}

impl Datum for f32 {
    fn datum_type() -> DatumType {
        DatumType::F32
    }
}

/// How many elements a shape has; `None` for more than can be counted.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |all, &side| all.checked_mul(side))
}

/// Elements of one type, rows last.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    datum_type: DatumType,
    shape: Vec<usize>,
    /// The elements' bytes in 8s, which any element can be aligned to; zeros behind the last.
    words: Vec<u64>,
    len: usize,
}

impl Tensor {
    /// `None` where `bytes` are not those of as many elements as the shape has.
    pub fn from_bytes(datum_type: DatumType, shape: &[usize], bytes: &[u8]) -> Option<Self> {
        let len = elements(shape)?;
        if len.checked_mul(datum_type.size_of())? != bytes.len() {
            return None;
        }
        let mut words = vec![0u64; bytes.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Some(Tensor { datum_type, shape: shape.to_vec(), words, len })
    }

    /// `None` where the shape has another number of elements.
    pub fn from_values<T: Datum>(shape: &[usize], values: &[T]) -> Option<Self> {
        Self::from_bytes(T::datum_type(), shape, bytemuck::cast_slice(values))
    }

    /// The same elements in another shape; `None` where that has another number of them.
    pub fn with_shape(self, shape: &[usize]) -> Option<Self> {
        let len = elements(shape)?;
        (len == self.len).then(|| Tensor { shape: shape.to_vec(), ..self })
    }

    pub fn datum_type(&self) -> DatumType {
        self.datum_type
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn as_bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.len * self.datum_type.size_of()]
    }

    /// The elements; `None` if they are of another type.
    pub fn as_slice<T: Datum>(&self) -> Option<&[T]> {
        (self.datum_type == T::datum_type()).then(|| bytemuck::cast_slice(self.as_bytes()))
    }

    fn each<T: Pod, U>(&self, of: impl Fn(T) -> U) -> Vec<U> {
        bytemuck::cast_slice(self.as_bytes()).iter().map(|&value| of(value)).collect()
    }

    /// The elements as floats: the nearest where there is none that is equal.
    pub fn to_floats(&self) -> Vec<f32> {
        match self.datum_type {
            DatumType::Bool | DatumType::U8 => self.each(|value: u8| value.into()),
            DatumType::U16 => self.each(|value: u16| value.into()),
            DatumType::U32 => self.each(|value: u32| value as f32),
            DatumType::U64 => self.each(|value: u64| value as f32),
            DatumType::I8 => self.each(|value: i8| value.into()),
            DatumType::I16 => self.each(|value: i16| value.into()),
            DatumType::I32 => self.each(|value: i32| value as f32),
            DatumType::I64 => self.each(|value: i64| value as f32),
            DatumType::F16 => self.each(f16::to_f32),
            DatumType::F32 => self.each(|value: f32| value),
            DatumType::F64 => self.each(|value: f64| value as f32),
        }
    }

    /// The elements as whole numbers, cut to them, and to what 64 bits hold.
    pub fn to_ints(&self) -> Vec<i64> {
        match self.datum_type {
            DatumType::Bool | DatumType::U8 => self.each(|value: u8| value.into()),
            DatumType::U16 => self.each(|value: u16| value.into()),
            DatumType::U32 => self.each(|value: u32| value.into()),
            DatumType::U64 => self.each(|value: u64| value as i64),
            DatumType::I8 => self.each(|value: i8| value.into()),
            DatumType::I16 => self.each(|value: i16| value.into()),
            DatumType::I32 => self.each(|value: i32| value.into()),
            DatumType::I64 => self.each(|value: i64| value),
            DatumType::F16 => self.each(|value: f16| value.to_f32() as i64),
            DatumType::F32 => self.each(|value: f32| value as i64),
            DatumType::F64 => self.each(|value: f64| value as i64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_those_of_the_shape() {
        let bytes: Vec<u8> = [1.5f32, -2.0, 3.9].iter().flat_map(|value| value.to_ne_bytes()).collect();
        let tensor = Tensor::from_bytes(DatumType::F32, &[3, 1], &bytes).unwrap();
        assert_eq!(tensor.as_slice::<f32>().unwrap(), [1.5, -2.0, 3.9]);
        assert_eq!((tensor.as_slice::<i32>(), tensor.to_ints(), tensor.as_bytes()), (None, vec![1, -2, 3], &bytes[..]));
        assert!(tensor.clone().with_shape(&[2]).is_none());
        assert_eq!(tensor.with_shape(&[1, 3]).unwrap().shape(), [1, 3]);
        for shape in [&[2][..], &[3, 2], &[usize::MAX, 2], &[usize::MAX / 4 + 1]] {
            assert_eq!(Tensor::from_bytes(DatumType::F32, shape, &bytes), None, "{shape:?}");
        }
    }

    #[test]
    fn types_have_numbers() {
        for number in 0..40 {
            if let Some(datum_type) = DatumType::from_number(number) {
                assert_eq!(datum_type.number(), number);
            }
        }
        assert_eq!(DatumType::from_number(8), None);
        assert!(DatumType::U8.is_integer() && !DatumType::F16.is_integer() && !DatumType::Bool.is_number());
    }
}
