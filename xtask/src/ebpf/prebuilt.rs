//! The object that is kept in the repository, so that who builds Pilcrow needs neither bpf-linker nor unstable options of the
//! compiler. CI builds it anew and compares.

use std::{fs, path::Path};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Compiler, TARGET, TARGET_CPU, linker};
use crate::image::layout::sha256;

/// Where it is, with [`Origin`].
pub const FOLDER: &str = "collector-ebpf/prebuilt";

const OBJECT: &str = "pilcrow-probe.o";
const ORIGIN: &str = "origin.json";

/// The object and what it was made of.
pub struct Prebuilt {
    /// The object file.
    pub object: Vec<u8>,
    origin: Origin,
}

/// What an object was made of, and by what.
#[derive(Debug, Serialize, Deserialize)]
struct Origin {
    /// SHA-256 of everything in [`sources`].
    sources: String,
    /// SHA-256 of the object file.
    object: String,
    /// The compiler's version, such as 1.95.0: another one may make another object of the same sources.
    rustc: String,
}

impl Prebuilt {
    /// The one of the repository.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| {
            let path = root.join(FOLDER).join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let origin = serde_json::from_slice(&read(ORIGIN)?).with_context(|| format!("{FOLDER}/{ORIGIN} is damaged"))?;
        let prebuilt = Self { object: read(OBJECT)?, origin };
        if sha256(&prebuilt.object) != prebuilt.origin.object {
            bail!("{FOLDER}/{OBJECT} is damaged: its SHA-256 is not the one in {ORIGIN}; run `git checkout {FOLDER}`");
        }
        Ok(prebuilt)
    }

    /// An object that was built of the sources as they are now.
    pub fn of(root: &Path, object: Vec<u8>) -> anyhow::Result<Self> {
        let rustc = Compiler::query()?.release;
        let origin = Origin { sources: sources(root)?, object: sha256(&object), rustc };
        Ok(Self { object, origin })
    }

    /// Puts it into the repository.
    pub fn write(&self, root: &Path) -> anyhow::Result<()> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join(OBJECT), &self.object)?;
        fs::write(folder.join(ORIGIN), serde_json::to_string_pretty(&self.origin)? + "\n")?;
        println!("build-ebpf: {FOLDER}/{OBJECT}, {} bytes, by Rust {}", self.object.len(), self.origin.rustc);
        Ok(())
    }

    /// Whether it is what the sources as they are now make.
    pub fn is_of_sources(&self, root: &Path) -> anyhow::Result<bool> {
        Ok(self.origin.sources == sources(root)?)
    }

    /// An error where it is not `built`, which was built of the sources as they are now. Some: why they cannot be compared.
    pub fn check(&self, root: &Path, built: &[u8]) -> anyhow::Result<Option<String>> {
        if !self.is_of_sources(root)? {
            bail!("{FOLDER} is of other sources; run `cargo xtask build-ebpf --force` and commit it");
        }
        if self.object == built {
            return Ok(None);
        }
        let (rustc, kept_by) = (Compiler::query()?.release, &self.origin.rustc);
        if rustc == *kept_by {
            bail!("{FOLDER}/{OBJECT} is not what its sources make; run `cargo xtask build-ebpf --force` and commit it");
        }
        Ok(Some(format!("{FOLDER}/{OBJECT} was built by Rust {kept_by}, and Rust {rustc} makes another object")))
    }
}

/// The SHA-256 of what the object is made of.
fn sources(root: &Path) -> anyhow::Result<String> {
    let read = |file: &str| {
        let path = root.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    };
    let lock = read("Cargo.lock")?;
    let libraries = lock.split("[[package]]").filter(|package| package.contains("name = \"aya-ebpf"));
    let files = ["Cargo.toml", "src/lib.rs", "src/main.rs"].map(|file| read(&format!("collector-ebpf/{file}")));
    let mut parts = [linker::VERSION, TARGET, TARGET_CPU].map(str::to_owned).to_vec();
    parts.extend(libraries.map(str::to_owned));
    for file in files {
        parts.push(file?);
    }
    Ok(sha256(parts.join("\0").as_bytes()))
}
