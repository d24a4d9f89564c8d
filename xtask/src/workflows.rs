//! The workflows in .github: whether GitHub would take them, and whether every action is pinned.

use std::{fs, process::Command};

use anyhow::{bail, ensure};

use crate::{go, process};

/// How its program is built.
pub const ACTIONLINT: go::Program = go::Program {
    name: "actionlint",
    module: "github.com/rhysd/actionlint",
    package: "cmd/actionlint",
    version_variable: "github.com/rhysd/actionlint.version",
    version_with_v: false,
    takes: "about a minute",
    or_give: "leave the step workflows out",
};

/// actionlint on all of them, and no action by a name that can be given to another commit.
pub fn check() -> anyhow::Result<()> {
    let folder = process::workspace_root().join(".github/workflows");
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    ensure!(!files.is_empty(), "{} is empty", folder.display());
    for file in &files {
        let text = fs::read_to_string(file)?;
        if let Some(line) = text.lines().find(|line| !is_pinned(line)) {
            bail!("{}: an action must be pinned by its commit: {}", file.display(), line.trim());
        }
    }
    process::output_of(Command::new(ACTIONLINT.build()?).args(&files)).map(drop)
}

/// Whether a line of a workflow uses no action, or one of this repository, or one by its whole commit.
fn is_pinned(line: &str) -> bool {
    let Some((_, uses)) = line.split_once("uses: ") else { return true };
    let action = uses.split_whitespace().next().unwrap_or_default();
    let commit = action.rsplit('@').next().unwrap_or_default();
    action.starts_with("./") || (commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_by_tag_or_branch_is_not_pinned() {
        assert!(is_pinned("      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0"));
        assert!(is_pinned("    uses: ./.github/workflows/build.yaml"));
        assert!(is_pinned("      - run: cargo xtask test"));
        assert!(!is_pinned("      - uses: actions/checkout@v5"));
        assert!(!is_pinned("      - uses: actions/checkout@08c6903"));
    }
}
