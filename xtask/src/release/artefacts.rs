//! The bytes of single artefacts, where no other command makes them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;

use crate::{
    cargo_tool,
    image::layout::{File, gzip, tar_of},
    manual, process,
};

/// Programs with the machines that they are for.
pub type Programs<'a> = Vec<(&'a str, PathBuf)>;

/// A software bill of materials.
pub struct Sbom {
    /// cargo-sbom's name of the format.
    format: &'static str,
    /// Of its file.
    pub extension: &'static str,
    /// A field that holds `value`.
    pub mark: (&'static str, &'static str),
}

/// One for each of the two formats that scanners read.
pub const SBOMS: [Sbom; 2] = [
    Sbom { format: "cyclone_dx_json_1_6", extension: "cdx.json", mark: ("bomFormat", "CycloneDX") },
    Sbom { format: "spdx_json_2_3", extension: "spdx.json", mark: ("spdxVersion", "SPDX-2.3") },
];

/// Known to read Cargo.lock of this workspace.
const CARGO_SBOM: &str = "0.10.0";

/// A folder with the program, its licence, man pages and completions, as a .tar.gz.
pub fn program_archive(folder: &str, program: &Path) -> anyhow::Result<Vec<u8>> {
    let program = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let licence = fs::read(process::workspace_root().join("LICENSE"))?;
    let pages = manual::pages()?;
    let paths: Vec<String> =
        pages.iter().map(|page| format!("{folder}{}", page.path.trim_start_matches("/usr"))).collect();
    let (program_path, licence_path) = (format!("{folder}/pilcrow"), format!("{folder}/LICENSE"));
    let mut files = vec![
        File { path: &program_path, mode: 0o755, content: &program },
        File { path: &licence_path, mode: 0o644, content: &licence },
    ];
    files.extend(pages.iter().zip(&paths).map(|(page, path)| File { path, mode: 0o644, content: &page.content }));
    Ok(gzip(&tar_of(&files)?)?)
}

/// What the program is made of, as cargo-sbom tells it.
pub fn sbom(sbom: &Sbom) -> anyhow::Result<String> {
    let program = cargo_tool::ensure("cargo-sbom", CARGO_SBOM)?;
    let mut command = process::in_workspace(&program);
    process::output_of(command.args(["--cargo-package", "collector", "--output-format", sbom.format]))
}
