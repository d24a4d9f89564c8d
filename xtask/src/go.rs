//! Programs that the tests need and that no package brings: built by Go from a module of `e2e/`, whose go.mod pins the
//! version and whose go.sum pins every byte.
//!
//! In: which program. Out: its path, in a folder of its own below target/; built once for each version.

use std::{fs, path::PathBuf, process::Command, time::Instant};

use anyhow::Context;

use crate::process;

/// A program that Go builds.
pub struct Program {
    /// Its name, and that of its module's folder below e2e/.
    pub name: &'static str,
    /// The Go module that it comes from.
    pub module: &'static str,
    /// What of the module it is, `cmd/NAME`.
    pub package: &'static str,
    /// The Go variable that holds its version.
    pub version_variable: &'static str,
    /// Whether that variable begins with a v.
    pub version_with_v: bool,
    /// How long building takes on two cores.
    pub takes: &'static str,
    /// What to give instead where there is no Go: an option of `cargo xtask`.
    pub or_give: &'static str,
}

impl Program {
    /// Whether this machine can build it; else the reason and the fix.
    pub fn can_build(&self) -> Result<(), String> {
        if process::find("go").is_some() {
            return Ok(());
        }
        Err(format!(
            "no Go to build {name} with: install Go 1.21 or newer (it gets the version that e2e/{name}/go.mod names), or \
             give {}",
            self.or_give,
            name = self.name
        ))
    }

    /// Where the program is, and whatever its runs leave behind.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        let folder = process::target_dir().join(self.name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// Its path; built now if it was not before.
    pub fn build(&self) -> anyhow::Result<PathBuf> {
        let module = process::workspace_root().join("e2e").join(self.name);
        let go_mod = fs::read_to_string(module.join("go.mod"))?;
        let version =
            version_of(self.module, &go_mod).with_context(|| format!("e2e/{}/go.mod names no version", self.name))?;
        let program = self.folder()?.join(format!("{}-{version}", self.name));
        if program.exists() {
            return Ok(program);
        }
        self.can_build().map_err(anyhow::Error::msg)?;
        println!("building {} {version}; this takes {} on two cores, once", self.name, self.takes);
        let start = Instant::now();
        let said = if self.version_with_v { version } else { version.trim_start_matches('v') };
        process::run(
            Command::new("go")
                .args(["build", "-trimpath", "-ldflags"])
                .arg(format!("-s -w -X {}={said}", self.version_variable))
                .arg("-o")
                .arg(&program)
                .arg(format!("{}/{}", self.module, self.package))
                .env("CGO_ENABLED", "0")
                .current_dir(&module),
        )?;
        println!("{} {version} built in {} s", self.name, start.elapsed().as_secs());
        Ok(program)
    }
}

/// The version of `module` that go.mod requires.
fn version_of<'a>(module: &str, go_mod: &'a str) -> Option<&'a str> {
    let mut lines = go_mod.lines().map(|line| line.trim().trim_start_matches("require "));
    lines.find_map(|line| line.strip_prefix(module)?.strip_prefix(' '))?.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_go_mod_requires() {
        let go_mod = "module x\n\ntool a.b/c/cmd/d\n\nrequire (\n\ta.b/cc v1.0.0\n\ta.b/c v1.36.3 // indirect\n)\n";
        assert_eq!(version_of("a.b/c", go_mod), Some("v1.36.3"));
        assert_eq!(version_of("a.b/c", "require a.b/c v1.2.3\n"), Some("v1.2.3"));
        assert_eq!(version_of("a.b/c", "module a.b/c/x\n"), None);
    }
}
