//! What of an object file of bpf-linker goes into the collector.

use ::object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
    write::StreamingBuffer,
};
use anyhow::Context;

/// The object without DWARF, five times smaller: the loader and the kernel want the BTF that bpf-linker made of it.
pub fn without_dwarf(object: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut elf = Builder::read(object).context("bpf-linker wrote no ELF object")?;
    for section in &mut elf.sections {
        let name = section.name.to_string();
        section.delete = name.starts_with(".debug_") || name.starts_with(".rel.debug_");
    }
    elf.delete_orphans();
    // LLVM has the names of sections among those of symbols, which the builder does not write.
    let names = elf.sections.add();
    (names.name, names.sh_type, names.data) = (".shstrtab".into(), SHT_STRTAB, SectionData::SectionString);
    let mut smaller = StreamingBuffer::new(Vec::new());
    elf.write(&mut smaller).context("cannot write the object without DWARF")?;
    Ok(smaller.into_inner())
}
