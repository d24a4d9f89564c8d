//! bpf-linker, in exactly the version that goes with the compiler's LLVM.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{cargo_tool, process};

/// The last version that links with the LLVM library of rustc itself. Older ones do not know LLVM 22, newer ones want an
/// installation of LLVM.
pub const VERSION: &str = "0.10.3";

/// A bpf-linker of [`VERSION`].
pub struct Linker {
    /// The program.
    pub path: PathBuf,
}

impl Linker {
    /// The one in target/tools, else one on the PATH, else builds one into target/tools (some minutes).
    pub fn find_or_install(target: &Path) -> anyhow::Result<Self> {
        let tools = target.join("tools");
        let own = tools.join("bin/bpf-linker");
        if is_right_version(&own) {
            println!("build-ebpf: using {}", own.display());
            return Ok(Self { path: own });
        }
        if is_right_version(Path::new("bpf-linker")) {
            println!("build-ebpf: using the bpf-linker on the PATH");
            return Ok(Self { path: "bpf-linker".into() });
        }
        cargo_tool::install(&tools, "bpf-linker", VERSION)
            .context("is a C compiler there, and the crates registry?")?;
        Ok(Self { path: own })
    }
}

fn is_right_version(program: &Path) -> bool {
    process::output_of(Command::new(program).arg("--version"))
        .is_ok_and(|text| text.trim_end() == format!("bpf-linker {VERSION}"))
}
