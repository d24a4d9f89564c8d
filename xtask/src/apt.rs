//! Debian packages that a step needs: installed if we are root, else named.
//!
//! In: packages, each with the program that it brings. Out: all programs are there, or an error with the command to run.

mod private;

use std::process::Command;

use anyhow::bail;

pub use private::{Archive, PrivateApt, can_fetch};

use crate::process;

/// A Debian package and the program in PATH that shows that it is there.
pub struct Package {
    pub name: &'static str,
    pub program: &'static str,
}

/// Makes sure that every package's program is there.
pub fn ensure(packages: &[Package]) -> anyhow::Result<()> {
    let missing: Vec<_> = packages.iter().filter(|p| process::find(p.program).is_none()).map(|p| p.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.join(" ");
    if process::find("apt-get").is_none() {
        bail!("this machine lacks programs of the Debian packages {names}: install their like");
    }
    if !rustix::process::geteuid().is_root() {
        bail!(
            "packages are missing; run: sudo apt-get update && sudo apt-get install -y --no-install-recommends {names}"
        );
    }
    println!("installing the Debian packages {names}");
    process::run(Command::new("apt-get").args(["update", "-qq"]))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
