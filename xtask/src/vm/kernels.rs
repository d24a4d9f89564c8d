//! Debian's kernels, by their packages' names.
//!
//! In: a [`Kernel`] of [`KERNELS`]. Out: a [`Files`] with its image and modules, fetched from the mirror that this machine
//! uses and unpacked below target/vm/; what is there already is not fetched again. Nothing is installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use super::{
    machine::Machine,
    packages::{Packages, file_beginning_with},
};
use crate::process;

/// A kernel that Pilcrow is tested on.
#[derive(Debug)]
pub struct Kernel {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it boots on.
    pub machine: Machine,
    /// The package that depends on the newest image of its kind.
    package: &'static str,
    /// The suite that has it.
    suite: &'static str,
    /// What its version begins with; several suites' packages have one name.
    version: &'static str,
}

pub const KERNELS: [Kernel; 6] = [
    Kernel {
        name: "arm64-6.1",
        machine: Machine::CortexA72,
        package: "linux-image-cloud-arm64",
        suite: "bookworm",
        version: "6.1.",
    },
    Kernel {
        name: "arm64-6.12",
        machine: Machine::CortexA72,
        package: "linux-image-cloud-arm64",
        suite: "trixie",
        version: "6.12.",
    },
    // A Pi 5 has pages of 16 KiB.
    Kernel {
        name: "arm64-6.12-16k",
        machine: Machine::CortexA76,
        package: "linux-image-arm64-16k",
        suite: "trixie",
        version: "6.12.",
    },
    Kernel {
        name: "arm64-backports",
        machine: Machine::CortexA72,
        package: "linux-image-cloud-arm64",
        suite: "trixie-backports",
        version: "",
    },
    Kernel {
        name: "amd64-6.1",
        machine: Machine::X86,
        package: "linux-image-cloud-amd64",
        suite: "bookworm",
        version: "6.1.",
    },
    Kernel {
        name: "amd64-6.12",
        machine: Machine::X86,
        package: "linux-image-cloud-amd64",
        suite: "trixie",
        version: "6.12.",
    },
];

/// Beginnings of the names of packages that make up a kernel: newer ones have their modules in one of their own.
const PARTS: [&str; 3] = ["linux-image-", "linux-binary-", "linux-modules-"];

/// An unpacked kernel.
#[derive(Debug)]
pub struct Files {
    /// What the machine boots.
    pub image: PathBuf,
    /// The folder of its release in lib/modules.
    pub modules: PathBuf,
}

impl Kernel {
    /// The kernel of a name.
    pub fn named(name: &str) -> Option<&'static Self> {
        KERNELS.iter().find(|kernel| kernel.name == name)
    }

    /// Finds or fetches it.
    pub fn files(&self) -> anyhow::Result<Files> {
        let folder = process::target_dir().join("vm/kernels").join(self.name);
        if !folder.is_dir() {
            let unpacked = folder.with_extension("part");
            self.fetch(&unpacked).with_context(|| format!("cannot fetch the kernel {}", self.name))?;
            fs::rename(&unpacked, &folder)?;
        }
        Files::of(&folder)
    }

    fn fetch(&self, to: &Path) -> anyhow::Result<()> {
        let packages = Packages::of(self.machine.debian_architecture())?;
        if to.exists() {
            fs::remove_dir_all(to)?;
        }
        fs::create_dir_all(to)?;
        for package in self.packages(&packages)? {
            packages.unpack(&package, to)?;
        }
        Ok(())
    }

    /// NAME=VERSION of each package that makes up the newest image of this kind.
    fn packages(&self, packages: &Packages) -> anyhow::Result<Vec<String>> {
        let kinds = parse(&packages.show(self.package)?);
        let newest = kinds.iter().find(|package| package.version.starts_with(self.version));
        let newest = newest.with_context(|| format!("{} has no {} {}…", self.suite, self.package, self.version))?;
        let image = newest.parts().find(|(name, _)| name.starts_with("linux-image-"));
        let (name, version) = image.with_context(|| format!("{} depends on no image", self.package))?;
        let image = format!("{name}={version}");
        let parts = parse(&packages.show(&image)?);
        let parts = parts.first().context("the image's package is not there")?;
        Ok([image.clone()]
            .into_iter()
            .chain(parts.parts().map(|(name, version)| format!("{name}={version}")))
            .collect())
    }
}

/// A package as `apt-cache show` describes it.
#[derive(Debug, Default, PartialEq)]
struct Package {
    version: String,
    depends: String,
}

impl Package {
    /// Name and version of the packages of a kernel that it depends on in exactly one version.
    fn parts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.depends.split(", ").filter_map(|dependency| {
            let (name, version) = dependency.split_once(" (= ")?;
            PARTS.iter().any(|part| name.starts_with(part)).then_some((name, version.trim_end_matches(')')))
        })
    }
}

/// The newest version comes first.
fn parse(text: &str) -> Vec<Package> {
    let package = |stanza: &str| {
        let field = |name: &str| stanza.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        Package { version: field("Version: "), depends: field("Depends: ") }
    };
    text.split("\n\n").filter(|stanza| !stanza.trim().is_empty()).map(package).collect()
}

impl Files {
    fn of(folder: &Path) -> anyhow::Result<Self> {
        let modules = ["lib/modules", "usr/lib/modules"].map(|place| folder.join(place));
        let modules = modules.iter().find(|place| place.is_dir()).context("the kernel has no modules")?;
        let modules = file_beginning_with(modules, "")?;
        // Newer packages have it beside the modules.
        let image = file_beginning_with(&folder.join("boot"), "vmlinuz-")
            .or_else(|_| file_beginning_with(&modules, "vmlinuz"))?;
        Ok(Self { image, modules })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::packages::SUITES, *};

    #[test]
    fn a_kernel_s_packages_are_those_that_its_package_depends_on_in_one_version() {
        let text = "Package: linux-image-cloud-arm64\nVersion: 7.3.4-1\nDepends: linux-base-cloud-arm64 (= 7.3.4-1), \
                    linux-image-7.3.4-cloud-arm64 (= 7.3.4-1), dracut | initramfs-tools (>= 0.120), \
                    linux-modules-cloud-arm64 (= 7.3.4-1)\n\n\
                    Package: linux-image-cloud-arm64\nVersion: 6.1.176-1\nDepends: linux-image-6.1.0-50-cloud-arm64 (= \
                    6.1.176-1)\n\n";
        let packages = parse(text);
        let parts: Vec<Vec<_>> = packages.iter().map(|package| package.parts().collect()).collect();
        assert_eq!(
            parts,
            [
                vec![("linux-image-7.3.4-cloud-arm64", "7.3.4-1"), ("linux-modules-cloud-arm64", "7.3.4-1")],
                vec![("linux-image-6.1.0-50-cloud-arm64", "6.1.176-1")],
            ]
        );
    }

    #[test]
    fn every_kernel_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = KERNELS.iter().map(|kernel| kernel.name).collect();
        assert_eq!(names.len(), KERNELS.len());
        assert!(KERNELS.iter().all(|kernel| SUITES.contains(&kernel.suite)));
    }
}
