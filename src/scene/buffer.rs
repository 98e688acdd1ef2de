//! Memory of a length that changes: lent by the caller, who has no allocator, or owned.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// The lent memory ends before what should go in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// A vector, in lent memory or in its own. As long as it keeps to its capacity, both do the same.
#[derive(Debug)]
pub(super) enum Buffer<'a, T> {
    Lent {
        memory: &'a mut [T],
        len: usize,
    },
    #[cfg(feature = "alloc")]
    Owned(Vec<T>),
}

impl<'a, T: Copy> Buffer<'a, T> {
    /// Empty, with the capacity of `memory`.
    pub(super) fn lent(memory: &'a mut [T]) -> Self {
        Buffer::Lent { memory, len: 0 }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn owned(capacity: usize) -> Self {
        Buffer::Owned(Vec::with_capacity(capacity))
    }

    /// A copy in memory of its own.
    #[cfg(feature = "alloc")]
    pub(super) fn copied<'b>(&self) -> Buffer<'b, T> {
        Buffer::Owned(self.to_vec())
    }

    pub(super) fn capacity(&self) -> usize {
        match self {
            Buffer::Lent { memory, .. } => memory.len(),
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => vector.capacity(),
        }
    }

    /// Makes room for `capacity` values in all, where the memory isn't lent.
    #[cfg(feature = "alloc")]
    pub(super) fn grow(&mut self, capacity: usize) {
        if let Buffer::Owned(vector) = self {
            vector.reserve_exact(capacity.saturating_sub(vector.len()));
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Buffer::Lent { len, .. } => *len = 0,
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => vector.clear(),
        }
    }

    /// `count` times `value`, and nothing else.
    ///
    /// # Errors
    /// [`Full`], and the buffer is as it was.
    pub(super) fn refill(&mut self, count: usize, value: T) -> Result<(), Full> {
        match self {
            Buffer::Lent { memory, len } => {
                memory.get_mut(..count).ok_or(Full)?.fill(value);
                *len = count;
            }
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => {
                vector.clear();
                vector.resize(count, value);
            }
        }
        Ok(())
    }

    /// Puts `values` behind what is there.
    ///
    /// # Errors
    /// [`Full`], and the buffer is as it was.
    pub(super) fn append(&mut self, values: &[T]) -> Result<(), Full> {
        match self {
            Buffer::Lent { memory, len } => {
                let end = *len + values.len();
                memory.get_mut(*len..end).ok_or(Full)?.copy_from_slice(values);
                *len = end;
            }
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => vector.extend_from_slice(values),
        }
        Ok(())
    }
}

impl<T> Deref for Buffer<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Buffer::Lent { memory, len } => &memory[..*len],
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => vector,
        }
    }
}

impl<T> DerefMut for Buffer<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Buffer::Lent { memory, len } => &mut memory[..*len],
            #[cfg(feature = "alloc")]
            Buffer::Owned(vector) => vector,
        }
    }
}

impl<T: PartialEq> PartialEq for Buffer<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self[..] == other[..]
    }
}

impl<T: Eq> Eq for Buffer<'_, T> {}

#[cfg(feature = "alloc")]
impl<T: Copy> Clone for Buffer<'_, T> {
    fn clone(&self) -> Self {
        self.copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lent_memory_ends() {
        let mut memory = [9; 4];
        let mut buffer = Buffer::lent(&mut memory);
        assert_eq!((&buffer[..], buffer.capacity()), (&[][..], 4));
        assert_eq!(buffer.append(&[1, 2, 3]), Ok(()));
        assert_eq!(buffer.append(&[4, 5]), Err(Full));
        assert_eq!(buffer[..], [1, 2, 3]);
        assert_eq!(buffer.refill(5, 0), Err(Full));
        assert_eq!(buffer[..], [1, 2, 3]);
        assert_eq!(buffer.refill(4, 7), Ok(()));
        assert_eq!(buffer[..], [7; 4]);
        buffer.clear();
        assert!(buffer.is_empty());
    }
}
