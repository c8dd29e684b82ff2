//! A map whose changes are visible to the core at once and to readers only after their commit.
//!
//! Values are shared (`Arc`) between the working and the committed state; an edit copies a value only while a reader
//! or the committed state still holds it. Undoing uncommitted edits is putting the committed values back.

use std::sync::Arc;

use crate::{
    id::RequestId,
    ordered::{HashMap, HashSet},
};

/// Working and committed values by request id.
#[derive(Debug)]
pub(crate) struct Versioned<T> {
    working: HashMap<RequestId, Arc<T>>,
    committed: HashMap<RequestId, Arc<T>>,
    dirty: HashSet<RequestId>,
    /// Taken into the batch that is being committed.
    committing: HashSet<RequestId>,
}

impl<T: Clone> Versioned<T> {
    pub(crate) fn new(values: impl IntoIterator<Item = (RequestId, T)>) -> Self {
        let working: HashMap<_, _> = values.into_iter().map(|(id, value)| (id, Arc::new(value))).collect();
        let committed = working.clone();
        Self { working, committed, dirty: HashSet::default(), committing: HashSet::default() }
    }

    pub(crate) fn get(&self, id: RequestId) -> Option<&Arc<T>> {
        self.working.get(&id)
    }

    pub(crate) fn committed(&self, id: RequestId) -> Option<&Arc<T>> {
        self.committed.get(&id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.working.is_empty()
    }

    pub(crate) fn contains(&self, id: RequestId) -> bool {
        self.working.contains_key(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RequestId, &Arc<T>)> {
        self.working.iter()
    }

    pub(crate) fn insert(&mut self, id: RequestId, value: T) {
        self.working.insert(id, Arc::new(value));
        self.dirty.insert(id);
    }

    pub(crate) fn edit(&mut self, id: RequestId) -> Option<&mut T> {
        let value = self.working.get_mut(&id)?;
        self.dirty.insert(id);
        Some(Arc::make_mut(value))
    }

    pub(crate) fn remove(&mut self, id: RequestId) {
        self.working.remove(&id);
        self.dirty.insert(id);
    }

    /// Takes what was edited since the last call, for a batch: the values as they are now, `None` = removed.
    pub(crate) fn take_dirty(&mut self) -> Vec<(RequestId, Option<Arc<T>>)> {
        self.committing = std::mem::take(&mut self.dirty);
        self.committing.iter().map(|id| (*id, self.working.get(id).cloned())).collect()
    }

    /// The batch is durable.
    pub(crate) fn commit(&mut self, values: &[(RequestId, Option<Arc<T>>)]) {
        self.committing.clear();
        for (id, value) in values {
            match value {
                Some(value) => self.committed.insert(*id, value.clone()),
                None => self.committed.remove(id),
            };
        }
    }

    /// The batch failed: undoes it and every edit since. Returns the values that were undone.
    pub(crate) fn roll_back(&mut self) -> Vec<(RequestId, Arc<T>)> {
        let mut undone = Vec::new();
        for id in self.committing.drain().chain(self.dirty.drain()).collect::<HashSet<_>>() {
            let before = match self.committed.get(&id) {
                Some(value) => self.working.insert(id, value.clone()),
                None => self.working.remove(&id),
            };
            undone.extend(before.map(|value| (id, value)));
        }
        undone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_is_visible_to_the_core_at_once_and_to_readers_after_the_commit() {
        let id = RequestId::from_random([1; 10]);
        let mut map = Versioned::new([(id, 1)]);
        *map.edit(id).expect("it is there") = 2;
        assert_eq!((map.get(id).map(|v| **v), map.committed(id).map(|v| **v)), (Some(2), Some(1)));
        let taken = map.take_dirty();
        map.commit(&taken);
        assert_eq!(map.committed(id).map(|v| **v), Some(2));
    }

    #[test]
    fn a_failed_batch_takes_later_edits_with_it() {
        let (old, new) = (RequestId::from_random([1; 10]), RequestId::from_random([2; 10]));
        let mut map = Versioned::new([(old, 1)]);
        *map.edit(old).expect("it is there") = 2;
        map.take_dirty();
        map.insert(new, 9);
        let mut undone: Vec<_> = map.roll_back().into_iter().map(|(id, value)| (id, *value)).collect();
        undone.sort_unstable();
        assert_eq!(undone, [(old, 2), (new, 9)]);
        assert_eq!(map.get(old).map(|v| **v), Some(1));
        assert!(map.get(new).is_none());
    }
}
