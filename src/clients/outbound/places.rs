//! How many exchanges there may be at once, in all and with one host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Places that are taken, by host.
#[derive(Clone)]
pub(super) struct Places {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    n_all: usize,
    n_host: usize,
}

/// A place; given back when it is dropped.
pub(super) struct Place {
    places: Places,
    host: String,
}

impl Places {
    pub(super) fn new(n_all: usize, n_host: usize) -> Self {
        Self { taken: Arc::default(), n_all, n_host }
    }

    /// A place, if there is one.
    pub(super) fn take(&self, host: &str) -> Option<Place> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_host = taken.get(host).copied().unwrap_or(0);
        if of_host >= self.n_host || taken.values().sum::<usize>() >= self.n_all {
            return None;
        }
        taken.insert(host.to_owned(), of_host + 1);
        Some(Place { places: self.clone(), host: host.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.host) {
            Some(n) if *n > 1 => *n -= 1,
            Some(_) | None => drop(taken.remove(&self.host)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_host_does_not_take_the_places_of_others() {
        let places = Places::new(3, 2);
        let (a, _b) = (places.take("slow").expect("first"), places.take("slow").expect("second"));
        assert!(places.take("slow").is_none());
        let _c = places.take("other").expect("another host's");
        assert!(places.take("third").is_none(), "three in all");
        drop(a);
        assert!(places.take("third").is_some());
    }
}
