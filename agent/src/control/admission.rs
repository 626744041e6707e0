//! How many clients the control socket serves at once, and whose turn it is when there are many.
//!
//! Input: a client's user. Output: a [`Ticket`] that gives the place back when it is dropped. Failure: none; a client for which there
//! is no place is refused at once and told so. One user other than root has at most a quarter of the places, and some beyond the limit are
//! for root alone, so that no reader can keep root from the agent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places beyond the limit that only root has.
pub(super) const KEPT_FOR_ROOT: usize = 8;

/// The places.
#[derive(Debug)]
pub(super) struct Admission {
    limit: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    /// By user, root's left out.
    by_user: HashMap<u32, usize>,
}

/// A place, for as long as it is kept.
#[derive(Debug)]
pub(super) struct Ticket {
    admission: Arc<Admission>,
    uid: u32,
    is_root: bool,
}

impl Admission {
    /// Places for `limit` clients.
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            taken: Mutex::default(),
        })
    }

    /// A place for a client, if there is one.
    pub(super) fn admit(self: &Arc<Self>, uid: u32, is_root: bool) -> Option<Ticket> {
        let mut taken = self.taken();
        let limit = self.limit + if is_root { KEPT_FOR_ROOT } else { 0 };
        if taken.all >= limit {
            return None;
        }
        if !is_root {
            let its = taken.by_user.entry(uid).or_default();
            if *its >= self.limit.div_ceil(4) {
                return None;
            }
            *its += 1;
        }
        taken.all += 1;
        drop(taken);
        Some(Ticket {
            admission: Arc::clone(self),
            uid,
            is_root,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut taken = self.admission.taken();
        taken.all -= 1;
        if self.is_root {
            return;
        }
        if let Some(its) = taken.by_user.get_mut(&self.uid) {
            *its -= 1;
            if *its == 0 {
                taken.by_user.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_leave_room_for_each_other_and_for_root() {
        let places = Admission::new(8);
        let first: Vec<_> = (0..9).filter_map(|_| places.admit(1001, false)).collect();
        assert_eq!(first.len(), 2, "a quarter");
        let others: Vec<_> = (2000..2010).filter_map(|uid| places.admit(uid, false)).collect();
        assert_eq!(others.len(), 6, "up to the limit");
        let roots: Vec<_> = (0..20).filter_map(|_| places.admit(0, true)).collect();
        assert_eq!(roots.len(), KEPT_FOR_ROOT);
        drop((first, others, roots));
        let taken = places.taken();
        assert_eq!((taken.all, taken.by_user.len()), (0, 0), "all are given back");
    }

    #[test]
    fn root_may_take_all_places() {
        let places = Admission::new(4);
        let roots: Vec<_> = (0..20).filter_map(|_| places.admit(0, true)).collect();
        assert_eq!(roots.len(), 4 + KEPT_FOR_ROOT);
        assert!(places.admit(1001, false).is_none());
    }
}
