//! Embeds the eBPF probe, if `cargo xtask build-ebpf` has built it.
//!
//! In: target/ebpf/pilcrow-probe.o of the workspace. Out: the cfg `probe_object` and a copy of the object in `OUT_DIR`;
//! without the object neither, and the program then says that it was built without.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo::rustc-check-cfg=cfg(probe_object)");
    println!("cargo::rerun-if-changed=build.rs");
    let folder = variable("CARGO_MANIFEST_DIR")?.join("../target/ebpf");
    // cargo takes a file that is not there for one that has changed, and would build the collector anew at every call.
    // The folder can be made, and has a new time stamp when the object appears in it.
    fs::create_dir_all(&folder)?;
    println!("cargo::rerun-if-changed={}", folder.display());
    let object = folder.join("pilcrow-probe.o");
    if object.is_file() {
        fs::copy(&object, Path::new(&variable("OUT_DIR")?).join("pilcrow-probe.o"))?;
        println!("cargo::rustc-cfg=probe_object");
    }
    Ok(())
}

fn variable(name: &str) -> io::Result<PathBuf> {
    env::var_os(name).map(PathBuf::from).ok_or_else(|| io::Error::other(format!("cargo did not set {name}")))
}
