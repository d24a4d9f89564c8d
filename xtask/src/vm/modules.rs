//! Which of a kernel's modules a machine needs, and in which order.
//!
//! In: the folder of a release's modules, and names. Out: their contents, decompressed, each after those that it depends
//! on. The dependencies are in the modules themselves (section .modinfo); `depmod` need not have run.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, bail};

use crate::apt;

/// What Pilcrow's machines need, where it is not built into the kernel. ext4 loads its checksum by an alias that only
/// modprobe(8) follows, so that comes first.
pub const WANTED: [&str; 5] = ["virtio_pci", "virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"];

/// The modules of a kernel.
pub struct Modules {
    files: BTreeMap<String, PathBuf>,
}

/// A module to be loaded.
#[derive(Debug, PartialEq)]
pub struct Module {
    /// Its name, with underscores.
    pub name: String,
    /// An ELF file.
    pub contents: Vec<u8>,
}

impl Modules {
    /// Those below a folder.
    pub fn of(folder: &Path) -> anyhow::Result<Self> {
        let mut files = BTreeMap::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if let Some((name, _)) = name.split_once(".ko") {
                    files.insert(name.replace('-', "_"), path);
                }
            }
        }
        Ok(Self { files })
    }

    /// The modules of these names and what they need; those that are built in, or that this kernel no longer has, are
    /// left out.
    pub fn in_order(&self, wanted: &[&str]) -> anyhow::Result<Vec<Module>> {
        let mut order = Vec::new();
        for name in wanted {
            self.add(name, &mut order)?;
        }
        Ok(order)
    }

    fn add(&self, name: &str, order: &mut Vec<Module>) -> anyhow::Result<()> {
        let name = name.replace('-', "_");
        let Some(path) = self.files.get(&name).filter(|_| order.iter().all(|known| known.name != name)) else {
            return Ok(());
        };
        let contents = decompressed(path)?;
        for needed in dependencies(&contents) {
            self.add(&needed, order)?;
        }
        order.push(Module { name, contents });
        Ok(())
    }
}

fn decompressed(path: &Path) -> anyhow::Result<Vec<u8>> {
    let program = match path.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => return Ok(fs::read(path)?),
        Some("xz") => apt::Package { name: "xz-utils", program: "xz" },
        Some("zst") => apt::Package { name: "zstd", program: "zstd" },
        _ => bail!("{} is compressed in an unknown way", path.display()),
    };
    let mut command = Command::new(program.program);
    apt::ensure(&[program])?;
    let output = command.arg("-dc").arg(path).output()?;
    if !output.status.success() {
        bail!("cannot decompress {}: {}", path.display(), String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.stdout)
}

/// The `depends=` of its .modinfo, a section of strings that end in NUL.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = memchr::memmem::find(module, KEY) else { return Vec::new() };
    let value = module[at + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(folder: &Path, name: &str, depends: &str) {
        fs::write(folder.join(name), format!("ELF\0license=GPL\0depends={depends}\0name=x\0")).unwrap();
    }

    #[test]
    fn a_module_comes_after_those_that_it_needs_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let deeper = folder.path().join("kernel/fs");
        fs::create_dir_all(&deeper).unwrap();
        module(&deeper, "ext4.ko", "mbcache,jbd2");
        module(&deeper, "jbd2.ko", "crc16");
        module(folder.path(), "mbcache.ko", "");
        module(folder.path(), "crc16.ko", "");
        module(folder.path(), "virtio-ring.ko", "");
        module(folder.path(), "virtio_blk.ko", "virtio_ring");
        let modules = Modules::of(folder.path()).unwrap();
        let order = modules.in_order(&["virtio_blk", "built_in", "ext4", "jbd2"]).unwrap();
        let names: Vec<_> = order.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["virtio_ring", "virtio_blk", "mbcache", "crc16", "jbd2", "ext4"]);
    }
}
