//! The probe's object file, as build.rs found it.

/// An ELF file for bpfel; none if the program was built without.
#[cfg(probe_object)]
pub const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pilcrow-probe.o")));

/// An ELF file for bpfel; none if the program was built without.
#[cfg(not(probe_object))]
pub const OBJECT: Option<&[u8]> = None;
