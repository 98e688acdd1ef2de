//! Weights that several plans have in common, as the full and the shallow graph of a cached sampler have: they are kept once.

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What is in use of one kind of weights.
#[derive(Debug)]
pub struct Shelf<T: ?Sized>(Mutex<Vec<Weak<T>>>);

impl<T: ?Sized> Default for Shelf<T> {
    fn default() -> Self {
        Shelf(Mutex::default())
    }
}

impl<T: ?Sized + PartialEq> Shelf<T> {
    /// Takes what is there and equal in the place of `own`, else puts `own` there. It is gone when nobody uses it any more.
    pub fn share(&self, own: &mut Arc<T>) {
        let mut shelf = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelf.retain(|one| one.strong_count() > 0);
        match shelf.iter().filter_map(Weak::upgrade).find(|one| *one == *own) {
            Some(found) => *own = found,
            None => shelf.push(Arc::downgrade(own)),
        }
    }
}

#[cfg(any(test, feature = "testing"))]
impl<T: ?Sized> Shelf<T> {
    /// How many.
    pub fn in_use(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|one| one.strong_count() > 0).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_equal_is_kept_once_and_not_longer_than_it_is_used() {
        let shelf = Shelf::<[u8]>::default();
        let mut all: Vec<Arc<[u8]>> = vec![[1, 2].into(), [1, 3].into(), [1, 2].into()];
        all.iter_mut().for_each(|own| shelf.share(own));
        assert!(Arc::ptr_eq(&all[0], &all[2]) && !Arc::ptr_eq(&all[0], &all[1]));
        drop(all);
        let mut other: Arc<[u8]> = [4].into();
        shelf.share(&mut other);
        assert_eq!((shelf.in_use(), shelf.0.lock().unwrap().len()), (1, 1));
    }
}
