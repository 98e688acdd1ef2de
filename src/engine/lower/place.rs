//! Tensors as views of slots: what transposes, slices and repeats costs nothing.

use super::real::Order;
use crate::engine::graph::DatumType;
use crate::engine::plan::slot::{Image, SlotId};

/// A tensor in the arena: the element of index i lies at `at` + Σ i[k] · strides[k], in elements from the start of its slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub slot: SlotId,
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
    pub at: usize,
    pub strides: Vec<usize>,
}

/// The strides of a tensor in one piece, rows last.
pub fn dense(shape: &[usize]) -> Vec<usize> {
    (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect()
}

impl Place {
    pub fn dense(slot: SlotId, datum_type: DatumType, shape: Vec<usize>) -> Self {
        let strides = dense(&shape);
        Place { slot, datum_type, shape, at: 0, strides }
    }

    /// An image as the tensor that its cells are in some order.
    pub fn image(slot: SlotId, image: &Image, datum_type: DatumType, order: Order) -> Self {
        let (view, channels) = (image.view(0, 0, 0), image.channels);
        let (shape, strides) = match order {
            Order::Planes => (vec![1, channels, image.height, image.width], vec![0, 1, view.row, view.pixel]),
            Order::Rows => (vec![image.width, channels], vec![view.pixel, 1]),
        };
        Place { slot, datum_type, shape, at: view.origin, strides }
    }

    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub fn is_dense(&self) -> bool {
        let dense = dense(&self.shape);
        (0..self.shape.len()).all(|axis| self.shape[axis] == 1 || self.strides[axis] == dense[axis])
    }

    /// The view with axis `k` where axis `order[k]` was.
    pub fn permuted(&self, order: &[usize]) -> Place {
        let shape = order.iter().map(|&axis| self.shape[axis]).collect();
        let strides = order.iter().map(|&axis| self.strides[axis]).collect();
        Place { shape, strides, ..self.clone() }
    }

    /// `count` elements of `axis`, from `start` on, every `step`-th.
    pub fn sliced(&self, axis: usize, start: usize, count: usize, step: usize) -> Place {
        let mut place = self.clone();
        place.at += start * self.strides[axis];
        place.shape[axis] = count;
        place.strides[axis] *= step;
        place
    }

    /// Repeated to `shape`, as ONNX broadcasts; `None` where it can't be.
    pub fn broadcast(&self, shape: &[usize]) -> Option<Place> {
        let strides = broadcast(&self.shape, &self.strides, shape)?;
        Some(Place { shape: shape.to_vec(), strides, ..self.clone() })
    }

    /// The same elements in another shape, where that is a view.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Place> {
        if self.shape == shape {
            return Some(self.clone());
        }
        if self.is_dense() {
            return Some(Place { shape: shape.to_vec(), strides: dense(shape), ..self.clone() });
        }
        let parts = refined(&self.shape, shape)?;
        let own = split(&self.shape, &self.strides, &parts);
        let strides = merged(&parts, &own, shape)?;
        Some(Place { shape: shape.to_vec(), strides, ..self.clone() })
    }
}

/// Strides of a tensor of `shape` as it is read when broadcast to `to`.
pub fn broadcast(shape: &[usize], strides: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let missing = to.len().checked_sub(shape.len())?;
    let mut out = vec![0; missing];
    for (axis, &size) in shape.iter().enumerate() {
        out.push(match size {
            1 => 0,
            _ if size == to[missing + axis] => strides[axis],
            _ => return None,
        });
    }
    Some(out)
}

/// Sizes into which the axes of both shapes can be cut, in order, without axes of size 1; `None` where the one cuts through the other.
pub fn refined(a: &[usize], b: &[usize]) -> Option<Vec<usize>> {
    if a.contains(&0) || b.contains(&0) {
        return None;
    }
    let ends = |shape: &[usize]| {
        shape
            .iter()
            .rev()
            .scan(1, |all, &size| {
                *all *= size;
                Some(*all)
            })
            .collect::<Vec<usize>>()
    };
    let mut ends = [ends(a), ends(b)].concat();
    ends.sort_unstable();
    ends.dedup();
    let (mut parts, mut last) = (Vec::new(), 1);
    for end in ends {
        if end % last != 0 {
            return None;
        }
        if end > last {
            parts.push(end / last);
        }
        last = end;
    }
    parts.reverse();
    Some(parts)
}

/// The strides of a tensor whose axes are cut into `parts`, which [`refined`] found.
pub fn split(shape: &[usize], strides: &[usize], parts: &[usize]) -> Vec<usize> {
    let (mut out, mut part) = (Vec::new(), parts.len());
    for (axis, &size) in shape.iter().enumerate().rev() {
        let mut inner = 1;
        while inner < size {
            part -= 1;
            out.push(strides[axis] * inner);
            inner *= parts[part];
        }
    }
    out.reverse();
    out
}

/// The reverse: strides of `shape`, whose axes are runs of `parts` with `strides`; `None` where a run has not one stride.
fn merged(parts: &[usize], strides: &[usize], shape: &[usize]) -> Option<Vec<usize>> {
    let (mut out, mut part) = (Vec::new(), parts.len());
    for &size in shape.iter().rev() {
        let (mut inner, mut stride) = (1, 0);
        while inner < size {
            part -= 1;
            if inner == 1 {
                stride = strides[part];
            } else if strides[part] != stride * inner {
                return None;
            }
            inner *= parts[part];
        }
        out.push(stride);
    }
    out.reverse();
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(shape: &[usize], strides: &[usize]) -> Place {
        Place { slot: 0, datum_type: DatumType::F32, shape: shape.to_vec(), at: 0, strides: strides.to_vec() }
    }

    #[test]
    fn a_reshape_is_a_view_where_strides_allow() {
        let whole = place(&[2, 3, 4], &[12, 4, 1]);
        assert!(whole.is_dense());
        assert_eq!(whole.reshaped(&[6, 4]).unwrap().strides, [4, 1]);
        assert_eq!(whole.reshaped(&[4, 6]).unwrap().strides, [6, 1]);
        assert_eq!(whole.reshaped(&[1, 2, 3, 2, 2, 1]).unwrap().strides, [24, 12, 4, 2, 1, 1]);
        let turned = whole.permuted(&[0, 2, 1]);
        assert_eq!((&turned.shape[..], &turned.strides[..]), (&[2, 4, 3][..], &[12, 1, 4][..]));
        assert_eq!(turned.reshaped(&[2, 12]), None);
        assert_eq!(turned.reshaped(&[2, 2, 2, 3]).unwrap().strides, [12, 2, 1, 4]);
        assert_eq!(place(&[5], &[0]).reshaped(&[1, 5]).unwrap().strides, [0, 0]);
        assert_eq!(refined(&[6, 4], &[4, 6]), None);
        assert_eq!(refined(&[2, 6], &[4, 3]), Some(vec![2, 2, 3]));
    }

    #[test]
    fn broadcasting_repeats() {
        assert_eq!(place(&[3, 1], &[1, 1]).broadcast(&[2, 3, 4]).unwrap().strides, [0, 1, 0]);
        assert_eq!(place(&[3], &[1]).broadcast(&[2, 4]), None);
        assert_eq!(place(&[8, 4], &[4, 1]).sliced(0, 1, 3, 2), Place { at: 4, ..place(&[3, 4], &[8, 1]) });
    }
}
