//! Which open file is in which slot of the reader and the signal.

use crate::{tail::chain::ContainerId, tail::notify::Slot};

/// Slots, dense and used again.
#[derive(Debug, Default)]
pub struct Slots {
    containers: Vec<Option<ContainerId>>,
    free: Vec<u32>,
}

impl Slots {
    /// A free slot, from now on of this container.
    pub fn take(&mut self, container: ContainerId) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.containers.push(None);
            self.containers.len() as u32 - 1
        });
        self.containers[index as usize] = Some(container);
        Slot(index)
    }

    /// Makes a slot free.
    pub fn give_back(&mut self, slot: Slot) {
        if let Some(container) = self.containers.get_mut(slot.0 as usize)
            && container.take().is_some()
        {
            self.free.push(slot.0);
        }
    }

    /// How many there are, taken or free.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.containers.len()
    }

    /// Whose file is in a slot.
    pub fn container(&self, slot: Slot) -> Option<ContainerId> {
        *self.containers.get(slot.0 as usize)?
    }
}
