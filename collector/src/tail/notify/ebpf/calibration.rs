//! Finds what the probe reads in kernels that do not say where it lies: Raspberry Pi OS builds its kernels without BTF.
//!
//! In: a kernel with kprobes, files of our own whose inode and device numbers we know. Out: the [`Offsets`] at which the
//! kernel has these numbers. Each file is written once while a probe copies the beginning of its `struct file`, of its
//! inode, and of all that these point to. An offset counts that has the right number for every one of several files on two
//! file systems; where that leaves none or more than one, there is no calibration. Who uses the offsets still has to prove
//! them.

use std::{
    error::Error,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
};

use aya::{
    EbpfLoader,
    maps::Array,
    programs::{KProbe, ProgramError},
};
use collector_ebpf::{FileKey, SAMPLE_WORDS, SAMPLES, Sample, global, map, program};
use rustix::fs::{MemfdFlags, fstat, major, memfd_create, minor};

use super::{
    OBJECT,
    attach::{REGISTERS, in_full, loader, refusal, typed},
    plan::Kind,
};
use crate::tail::notify::{Refusal, mounts::MountTable, proof::LogFileSystem};

/// What is written. The probe knows the write by the buffer's address and this length, which no other write will have.
const BYTES: usize = 4099;

/// Of each file system.
const FILES: usize = 3;

const WORD_BYTES: u64 = size_of::<u64>() as u64;
/// Device numbers are 32 bits wide: two in a word.
const HALVES: usize = 2 * SAMPLE_WORDS;
const HALF_BYTES: u64 = size_of::<u32>() as u64;

/// Where the members lie, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offsets {
    /// `file.f_inode`.
    pub file_inode: u64,
    /// `inode.i_ino`.
    pub inode_number: u64,
    /// `inode.i_sb`.
    pub inode_super_block: u64,
    /// `super_block.s_dev`.
    pub super_block_device: u64,
}

/// Finds them on the running kernel.
///
/// # Errors
/// If there is no place for the files, the kernel does not take the program, or the numbers are not found.
pub fn calibrate(logs: &LogFileSystem) -> Result<Offsets, Refusal> {
    let failed = |error: &(dyn Error + 'static)| {
        let refusal = refusal("calibration", Kind::Kprobe, error);
        Refusal { reason: format!("calibration failed: {}", refusal.reason), ..refusal }
    };
    let not_found = |what: &str| {
        let reason = format!("calibration did not find {what} in this kernel's structures");
        Refusal::new(reason, "use a kernel with BTF, and please report this one")
    };
    let files = known_files(logs).map_err(|error| failed(&error))?;
    let (file_inode, inode_number) = find(&files, global::ITSELF, word_at, |key| key.inode)
        .map_err(|error| failed(&error))?
        .ok_or_else(|| not_found("inode numbers"))?;
    let (inode_super_block, super_block_device) = find(&files, file_inode * WORD_BYTES, half_at, |key| key.device)
        .map_err(|error| failed(&error))?
        .ok_or_else(|| not_found("device numbers"))?;
    Ok(Offsets {
        file_inode: file_inode * WORD_BYTES,
        inode_number: inode_number * WORD_BYTES,
        inode_super_block: inode_super_block * WORD_BYTES,
        super_block_device: super_block_device * HALF_BYTES,
    })
}

/// Files on the file system of the logs, or wherever one can be written, and in memory, with the kernel's numbers.
fn known_files(logs: &LogFileSystem) -> io::Result<Vec<(File, FileKey)>> {
    let mut files = Vec::new();
    let mut mounts = MountTable::default();
    for place in (0..FILES).filter_map(|_| logs.any_place().ok()) {
        let device = mounts.file_system(&place.file)?.device;
        files.push((FileKey { inode: fstat(&place.file)?.st_ino, device }, place.file));
    }
    for _ in 0..FILES {
        let file = File::from(memfd_create("pilcrow-calibration", MemfdFlags::CLOEXEC)?);
        let found = fstat(file.as_fd())?;
        // In memory, st_dev is the kernel's own number.
        let device = u64::from(major(found.st_dev)) << 20 | u64::from(minor(found.st_dev));
        files.push((FileKey { inode: found.st_ino, device }, file));
    }
    Ok(files.into_iter().map(|(key, file)| (file, key)).collect())
}

/// What the probe saw of one write: a structure, and what its words point to.
type Samples = Vec<Sample>;

/// Which word of the structure points to something that has the wanted number, and at which index that has it; the same
/// for all files. None if there is no such pair, or several.
fn find(
    files: &[(File, FileKey)],
    via: u64,
    number_at: fn(&Sample, usize) -> Option<u64>,
    wanted: fn(&FileKey) -> u64,
) -> Result<Option<(u64, u64)>, ProgramError> {
    let mut sampler = Sampler::attach(via)?;
    let mut taken = Vec::new();
    for (file, key) in files {
        taken.push((sampler.take(file)?, wanted(key)));
    }
    Ok(only_pair(&taken, number_at))
}

fn only_pair(taken: &[(Samples, u64)], number_at: fn(&Sample, usize) -> Option<u64>) -> Option<(u64, u64)> {
    let all = (0..SAMPLE_WORDS).flat_map(|word| (0..HALVES).map(move |index| (word, index)));
    let mut pairs = all.filter(|(word, index)| {
        taken.iter().all(|(samples, number)| {
            samples.get(1 + word).is_some_and(|pointed_to| number_at(pointed_to, *index) == Some(*number))
        })
    });
    let (word, index) = pairs.next()?;
    pairs.next().is_none().then_some((word as u64, index as u64))
}

fn word_at(sample: &Sample, index: usize) -> Option<u64> {
    sample.get(index).copied()
}

/// The kernels that Pilcrow runs on are little-endian.
fn half_at(sample: &Sample, index: usize) -> Option<u64> {
    let word = sample.get(index / 2)?;
    Some(if index.is_multiple_of(2) { word & 0xffff_ffff } else { word >> 32 })
}

/// The program that copies, attached until this is dropped.
struct Sampler {
    ebpf: aya::Ebpf,
    buffer: Box<[u8; BYTES]>,
}

impl Sampler {
    /// `via` is where the file has the pointer to the structure, in bytes.
    fn attach(via: u64) -> Result<Self, ProgramError> {
        let buffer = Box::new([b'c'; BYTES]);
        let (address, bytes) = (buffer.as_ptr().addr() as u64, BYTES as u64);
        let mut loader: EbpfLoader<'_> = loader();
        for (name, register) in [global::REGISTER_ARGUMENT_0, global::REGISTER_ARGUMENT_1, global::REGISTER_ARGUMENT_2]
            .iter()
            .zip(&REGISTERS)
        {
            loader.override_global(name, register, true);
        }
        loader.override_global(global::CALIBRATION_BUFFER, &address, true);
        loader.override_global(global::CALIBRATION_BYTES, &bytes, true);
        loader.override_global(global::CALIBRATION_VIA, &via, true);
        loader.map_max_entries(map::SAMPLES, SAMPLES).map_max_entries(map::IN_FLIGHT, 1);
        let mut ebpf = loader.load(OBJECT).map_err(|error| ProgramError::IOError(io::Error::other(in_full(&error))))?;
        let program: &mut KProbe = typed(&mut ebpf, program::KPROBE_SAMPLE)?;
        program.load()?;
        program.attach("vfs_write", 0)?;
        Ok(Self { ebpf, buffer })
    }

    /// Writes to the file and returns what the probe saw.
    fn take(&mut self, mut file: &File) -> Result<Samples, ProgramError> {
        file.write_all(self.buffer.as_slice()).map_err(ProgramError::IOError)?;
        let samples = self.ebpf.map(map::SAMPLES).ok_or(ProgramError::UnexpectedProgramType)?;
        let samples: Array<_, Sample> = Array::try_from(samples)?;
        Ok((0..SAMPLES).map(|entry| samples.get(&entry, 0)).collect::<Result<_, _>>()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A structure whose word `word` points to one with `number` at `index`.
    fn samples(word: usize, index: usize, number: u64) -> Samples {
        let mut samples = vec![[0; SAMPLE_WORDS]; SAMPLES as usize];
        samples[1 + word][index] = number;
        samples
    }

    #[test]
    fn the_place_that_has_the_number_of_every_file_is_found() {
        let mut taken = vec![(samples(5, 8, 1234), 1234), (samples(5, 8, 77), 77)];
        // By chance in one of them.
        taken[0].0[1 + 9][3] = 1234;
        assert_eq!(only_pair(&taken, word_at), Some((5, 8)));
        taken.push((samples(5, 8, 1234), 78));
        assert_eq!(only_pair(&taken, word_at), None);
    }

    #[test]
    fn two_places_that_have_the_number_of_every_file_are_none() {
        let mut taken = samples(5, 8, 1234);
        taken[1 + 6][8] = 1234;
        assert_eq!(only_pair(&[(taken, 1234)], word_at), None);
    }

    #[test]
    fn device_numbers_are_halves_of_words() {
        let taken = samples(5, 2, 0xfe00_0001 << 32);
        assert_eq!(only_pair(&[(taken, 0xfe00_0001)], half_at), Some((5, 5)));
    }
}
