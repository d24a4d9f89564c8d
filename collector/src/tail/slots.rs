//! Which open file is in which slot of the reader and the signal.

use crate::{model::UnitId, tail::notify::Slot};

/// Slots, dense and used again.
#[derive(Debug, Default)]
pub struct Slots {
    units: Vec<Option<UnitId>>,
    free: Vec<u32>,
}

impl Slots {
    /// A free slot, from now on of this unit.
    pub fn take(&mut self, unit: UnitId) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.units.push(None);
            self.units.len() as u32 - 1
        });
        self.units[index as usize] = Some(unit);
        Slot(index)
    }

    /// Makes a slot free.
    pub fn give_back(&mut self, slot: Slot) {
        if let Some(unit) = self.units.get_mut(slot.0 as usize)
            && unit.take().is_some()
        {
            self.free.push(slot.0);
        }
    }

    /// How many there are, taken or free.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.units.len()
    }

    /// Whose file is in a slot.
    pub fn unit(&self, slot: Slot) -> Option<UnitId> {
        *self.units.get(slot.0 as usize)?
    }
}
