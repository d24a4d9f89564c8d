//! What lets the probe pass by most writes without a look-up: the device and the inode numbers of the tracked files.
//!
//! In: the keys of files that are tracked from now on, or no longer. Out: [`Control::only_device`] and
//! [`Control::inodes`], which never leave out a tracked file.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst};

use collector_ebpf::{Control, FileKey, INODE_WORDS};

const WORD_BITS: usize = u64::BITS as usize;

/// How many tracked files share a device or a bit.
pub struct Filter {
    devices: BTreeMap<u64, usize>,
    bits: Box<[u16; INODE_WORDS * WORD_BITS]>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { devices: BTreeMap::new(), bits: Box::new([0; INODE_WORDS * WORD_BITS]) }
    }
}

impl Filter {
    /// Lets a file's writes through. To be called before the look-up finds the file.
    pub fn add(&mut self, key: FileKey, control: &Control) {
        let (word, bit) = Control::bit_of(key.inode);
        // There are fewer slots for files than a u16 can count.
        self.bits[index(word, bit)] += 1;
        control.inodes[word].fetch_or(bit, SeqCst);
        *self.devices.entry(key.device).or_insert(0) += 1;
        self.set_device(control);
    }

    /// No longer, unless another file shares its bit. Only for what was added.
    pub fn remove(&mut self, key: FileKey, control: &Control) {
        let (word, bit) = Control::bit_of(key.inode);
        let files = &mut self.bits[index(word, bit)];
        *files -= 1;
        if *files == 0 {
            control.inodes[word].fetch_and(!bit, SeqCst);
        }
        if let Some(files) = self.devices.get_mut(&key.device) {
            *files -= 1;
            if *files == 0 {
                self.devices.remove(&key.device);
                self.set_device(control);
            }
        }
    }

    fn set_device(&self, control: &Control) {
        let mut devices = self.devices.keys();
        let only = match (devices.next(), devices.next()) {
            (Some(device), None) => *device,
            _ => Control::ANY_DEVICE,
        };
        control.only_device.store(only, SeqCst);
    }
}

fn index(word: usize, bit: u64) -> usize {
    word * WORD_BITS + bit.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    fn control() -> Control {
        Control {
            armed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            only_device: AtomicU64::new(0),
            inodes: [const { AtomicU64::new(0) }; INODE_WORDS],
        }
    }

    fn passes(control: &Control, key: FileKey) -> bool {
        let (word, bit) = Control::bit_of(key.inode);
        let only = control.only_device.load(SeqCst);
        (only == Control::ANY_DEVICE || only == key.device) && control.inodes[word].load(SeqCst) & bit != 0
    }

    #[test]
    fn a_tracked_file_passes_until_it_is_removed_whatever_others_do() {
        let (control, mut filter) = (control(), Filter::default());
        let keys: Vec<_> = (0..2000).map(|n| FileKey { inode: n * 7 + 11, device: 0xfe0_0000 + n % 3 }).collect();
        for key in &keys {
            filter.add(*key, &control);
        }
        for (done, key) in keys.iter().enumerate() {
            assert!(keys[done..].iter().all(|key| passes(&control, *key)));
            filter.remove(*key, &control);
        }
        assert!(control.inodes.iter().all(|word| word.load(SeqCst) == 0));
    }

    #[test]
    fn with_files_of_one_device_those_of_others_do_not_pass() {
        let (control, mut filter) = (control(), Filter::default());
        let (here, there) = (FileKey { inode: 12, device: 1 }, FileKey { inode: 12, device: 2 });
        filter.add(here, &control);
        assert!(passes(&control, here) && !passes(&control, there));
        filter.add(there, &control);
        assert!(passes(&control, here) && passes(&control, there));
        filter.remove(here, &control);
        assert!(!passes(&control, here) && passes(&control, there));
    }

    #[test]
    fn neighbouring_inodes_have_bits_of_their_own() {
        let bits: std::collections::BTreeSet<_> = (1000..1100).map(Control::bit_of).collect();
        assert!(bits.len() > 95, "{}", bits.len());
    }
}
