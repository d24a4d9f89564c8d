//! The archive that a kernel takes its first files from.
//!
//! In: files of this machine and their names in the archive. Out: one file in the format newc
//! (Documentation/driver-api/early-userspace/buffer-format.rst in Linux' sources), not compressed.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use anyhow::Context;

const FOLDER: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// Major and minor number of /dev/console, which the kernel opens for its first process.
const CONSOLE: (u32, u32) = (5, 1);

/// An archive that is being written.
pub struct Initramfs {
    file: BufWriter<File>,
    folders: BTreeSet<String>,
    entries: u32,
}

impl Initramfs {
    /// With a console in it.
    pub fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        let mut archive = Self { file: BufWriter::new(file), folders: BTreeSet::new(), entries: 0 };
        archive.folders_of("dev/console")?;
        archive.entry("dev/console", CHARACTER_DEVICE, CONSOLE, &[])?;
        Ok(archive)
    }

    /// Adds a program or data; `name` is absolute.
    pub fn add(&mut self, name: &str, contents: &[u8]) -> anyhow::Result<()> {
        let name = name.trim_start_matches('/');
        self.folders_of(name)?;
        Ok(self.entry(name, EXECUTABLE, (0, 0), contents)?)
    }

    /// Adds a file of this machine.
    pub fn add_file(&mut self, name: &str, path: &Path) -> anyhow::Result<()> {
        let contents = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        self.add(name, &contents)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<()> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.file.flush()
    }

    fn folders_of(&mut self, name: &str) -> io::Result<()> {
        for (end, _) in name.match_indices('/') {
            if self.folders.insert(name[..end].to_owned()) {
                self.entry(&name[..end], FOLDER, (0, 0), &[])?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) -> io::Result<()> {
        self.entries += 1;
        let size = u32::try_from(contents.len()).map_err(io::Error::other)?;
        let name_size = name.len() as u32 + 1;
        let (major, minor) = device;
        // Inode, mode, user, group, links, time, size, device, device of a node, length of the name, checksum.
        let fields = [self.entries, mode, 0, 0, 1, 0, size, 0, 0, major, minor, name_size, 0];
        let mut header = String::from("070701");
        header.extend(fields.iter().map(|field| format!("{field:08X}")));
        self.padded(&[header.as_bytes(), name.as_bytes(), b"\0"])?;
        self.padded(&[contents])
    }

    /// Writes the parts and zeros up to a multiple of four.
    fn padded(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        for part in parts {
            self.file.write_all(part)?;
        }
        self.file.write_all(&[0; 3][..length.next_multiple_of(4) - length])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_begins_at_a_multiple_of_four() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("initramfs");
        let mut archive = Initramfs::create(&path).unwrap();
        for length in 0..5 {
            archive.add(&format!("/{}", "n".repeat(length + 1)), &vec![b'x'; length]).unwrap();
        }
        archive.finish().unwrap();
        let bytes = fs::read(path).unwrap();
        let begins: Vec<_> = memchr::memmem::find_iter(&bytes, b"070701").collect();
        assert_eq!(begins.len(), 8);
        assert!(begins.iter().all(|at| at % 4 == 0), "{begins:?}");
        assert_eq!(bytes.len() % 4, 0);
    }
}
