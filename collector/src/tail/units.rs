//! All units that are followed, by number and by the name under which they are saved.

use std::{collections::HashMap, time::Instant};

use super::{chain::Chain, unit::Unit};
use crate::{checkpoint::Unclaimed, decode::Limits, model::PodName, model::UnitId};

/// See the module.
pub struct Units {
    /// Boxed, as a map of many keeps room for more.
    by_id: HashMap<UnitId, Box<Unit>>,
    ids: HashMap<String, UnitId>,
    next_unit: u32,
    last_file: u64,
    /// What an earlier run saved for units that were not found yet.
    pub unclaimed: Unclaimed,
}

impl Units {
    /// None yet.
    pub fn new(unclaimed: Unclaimed) -> Self {
        Self { by_id: HashMap::new(), ids: HashMap::new(), next_unit: 0, last_file: 0, unclaimed }
    }

    /// Adds a container, with what an earlier run saved of it.
    pub fn add(&mut self, pod: PodName, name: String, limits: Limits) -> UnitId {
        let id = UnitId(self.next_unit);
        self.next_unit += 1;
        let mut unit = Unit::new(id, pod, name, Chain::default(), limits);
        let saved_name = unit.saved_name();
        match self.unclaimed.claim(&saved_name) {
            Some(saved) => unit.chain = Chain::from_saved(&saved, &mut self.last_file, Instant::now()),
            None => unit.is_new = true,
        }
        self.ids.insert(saved_name, id);
        self.by_id.insert(id, Box::new(unit));
        id
    }

    /// The number of a container that is followed. `name`: see [`Unit::saved_name`].
    pub fn id_of(&self, name: &str) -> Option<UnitId> {
        self.ids.get(name).copied()
    }

    pub fn get(&self, id: UnitId) -> Option<&Unit> {
        self.by_id.get(&id).map(|unit| &**unit)
    }

    pub fn get_mut(&mut self, id: UnitId) -> Option<&mut Unit> {
        self.by_id.get_mut(&id).map(|unit| &mut **unit)
    }

    /// A unit, and the number that the last file of all units got.
    pub fn with_last_file(&mut self, id: UnitId) -> Option<(&mut Unit, &mut u64)> {
        Some((self.by_id.get_mut(&id)?, &mut self.last_file))
    }

    /// The numbers of all units.
    pub fn ids(&self) -> Vec<UnitId> {
        self.by_id.keys().copied().collect()
    }

    /// All units.
    pub fn iter(&self) -> impl Iterator<Item = &Unit> + Clone {
        self.by_id.values().map(|unit| &**unit)
    }

    /// All units.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.by_id.values_mut().map(|unit| &mut **unit)
    }

    /// Forgets those for which `is_done` is true.
    pub fn remove_if(&mut self, mut is_done: impl FnMut(&mut Unit) -> bool) {
        let ids = &mut self.ids;
        self.by_id.retain(|_, unit| {
            let done = is_done(unit);
            if done {
                ids.remove(&unit.saved_name());
            }
            !done
        });
    }

    /// How many there are, by number and by name.
    #[cfg(test)]
    pub fn counts(&self) -> (usize, usize) {
        (self.by_id.len(), self.ids.len())
    }
}
