//! Figures as Markdown: tables, and their places in docs/performance.md.

use std::{fs, path::Path};

use anyhow::{Context, bail};

const DOCS: &str = "docs/performance.md";
const END: &str = "<!-- end -->";

/// Appends a row of a table.
pub fn row(out: &mut String, name: &str, cells: impl IntoIterator<Item = String>) {
    let cells: Vec<_> = [name.to_owned()].into_iter().chain(cells).collect();
    out.push_str(&format!("| {} |\n", cells.join(" | ")));
}

/// Puts `text` into the place of docs/performance.md that is `command`'s, instead of what is there.
///
/// # Errors
/// Where the place is not there.
pub fn write(command: &str, text: &str) -> anyhow::Result<()> {
    write_to(Path::new(DOCS), command, text)
}

fn write_to(path: &Path, command: &str, new: &str) -> anyhow::Result<()> {
    let begin = format!("<!-- begin: written by `cargo xtask bench {command} --write-docs` -->");
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let Some((before, rest)) = text.split_once(&begin) else { bail!("{} has no {begin}", path.display()) };
    let Some((_, after)) = rest.split_once(END) else { bail!("{} has no {END}", path.display()) };
    fs::write(path, format!("{before}{begin}\n\n{new}\n{END}{after}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_replaces_the_one_before_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performance.md");
        let place =
            |command| format!("<!-- begin: written by `cargo xtask bench {command} --write-docs` -->\nold\n{END}\n");
        fs::write(&path, format!("before\n{}between\n{}after\n", place("a"), place("b"))).unwrap();
        for _ in 0..2 {
            write_to(&path, "b", "| new |\n").unwrap();
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(&format!("before\n{}between\n", place("a"))) && text.ends_with("\nafter\n"), "{text}");
        assert_eq!((text.matches("old").count(), text.matches("| new |").count()), (1, 1), "{text}");
        assert!(write_to(&path, "c", "").is_err());
    }
}
