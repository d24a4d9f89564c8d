//! `cargo xtask diagrams`: the documents' diagrams, drawn from text by Graphviz.
//!
//! In: docs/diagrams/*.dot, each with its title in the first line. Out: docs/pictures/diagram-*.svg, in colours for light and dark
//! pages. Graphviz draws the same graph a little differently from version to version, so the pictures are committed, each with a
//! hash of what it was drawn from, by which a test finds an old one where there is no Graphviz.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use crate::{apt, process};

const TEXTS: &str = "docs/diagrams";
const PICTURES: &str = "docs/pictures";

/// Graphviz's own colours are attributes, which rules come before. Labels of edges have a seam, as they may lie on a border.
const STYLE: &str = "\
text{font-family:Arial,'Liberation Sans',Helvetica,sans-serif;fill:#1f2328;stroke:none}\
.graph>polygon{fill:#fff}.node path,.node polygon{fill:#ddf4ff;stroke:#0969da}.outside path{fill:#f6f8fa;stroke:#818b98}\
.cluster path{fill:none;stroke:#818b98}.own>path{stroke:#0969da}\
.edge path{stroke:#59636e}.edge polygon{fill:#59636e;stroke:#59636e}\
.edge text{fill:#59636e;paint-order:stroke;stroke:#fff;stroke-width:5px}\
@media(prefers-color-scheme:dark){text{fill:#f0f6fc}.graph>polygon{fill:#0d1117}\
.node path,.node polygon{fill:#0c2d6b;stroke:#4493f8}.outside path{fill:#151b23;stroke:#656c76}\
.cluster path{stroke:#656c76}.own>path{stroke:#4493f8}\
.edge path{stroke:#9198a1}.edge polygon{fill:#9198a1;stroke:#9198a1}.edge text{fill:#9198a1;stroke:#0d1117}}";

/// What `cargo xtask diagrams` takes.
#[derive(clap::Args)]
pub struct Args {}

/// Draws all of them.
pub fn run(_: &Args) -> anyhow::Result<()> {
    apt::ensure(&[apt::Package { name: "graphviz", program: "dot" }])?;
    let root = process::workspace_root();
    for (text, picture) in all(&root)? {
        let drawn = process::output_of(Command::new("dot").arg("-Tsvg").arg(&text))?;
        let svg = with_style(&drawn, &fs::read_to_string(&text)?).with_context(|| text.display().to_string())?;
        fs::write(&picture, svg)?;
        println!("{}", picture.strip_prefix(&root).unwrap_or(&picture).display());
    }
    Ok(())
}

/// Texts and their pictures.
fn all(root: &Path) -> anyhow::Result<Vec<(PathBuf, PathBuf)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(root.join(TEXTS))? {
        let text = entry?.path();
        if let Some(name) = text.file_stem().filter(|_| text.extension().is_some_and(|extension| extension == "dot")) {
            let picture = format!("diagram-{}.svg", name.to_string_lossy());
            all.push((text.clone(), root.join(PICTURES).join(picture)));
        }
    }
    all.sort();
    Ok(all)
}

/// What Graphviz has drawn, with title, colours and the hash of its text, and without tooltips that only name nodes. Its points become
/// pixels, as texts would be a third larger than those of the page.
fn with_style(drawn: &str, text: &str) -> anyhow::Result<String> {
    let title = text.lines().next().and_then(|line| line.strip_prefix("// ")).context("the first line is no title")?;
    let begin = drawn.find("<svg").context("Graphviz drew no SVG")?;
    let (head, body) = drawn[begin..].split_once('>').context("Graphviz drew no SVG")?;
    ensure!(head.contains("pt\""), "Graphviz no longer measures in points");
    let head =
        head.replace("pt\"", "\"").replace('\n', "").replace(" xmlns:xlink=\"http://www.w3.org/1999/xlink\"", "");
    let mut svg = format!("{head} role=\"img\">\n<title>{title}</title>\n{}\n<style>{STYLE}</style>\n", mark(text));
    for line in body.trim_start().lines().filter(|line| !line.starts_with("<title>") && !line.starts_with("<!--")) {
        svg.push_str(line);
        svg.push('\n');
    }
    Ok(svg)
}

/// By which a picture shows what it was drawn from.
fn mark(text: &str) -> String {
    let hash: String =
        Sha256::digest([text, STYLE].concat()).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("<!-- drawn by `cargo xtask diagrams` from {hash} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_picture_was_drawn_from_the_text_beside_it() {
        let all = all(&process::workspace_root()).unwrap();
        assert!(!all.is_empty());
        for (text, picture) in all {
            let mark = mark(&fs::read_to_string(&text).unwrap());
            let svg = fs::read_to_string(&picture).unwrap_or_default();
            assert!(svg.contains(&mark), "{} is old: run `cargo xtask diagrams`", picture.display());
        }
    }

    #[test]
    fn a_picture_has_a_title_and_colours_and_no_names_of_nodes() {
        let drawn = "<?xml?>\n<!-- Generated -->\n<svg width=\"10pt\" height=\"9pt\"\n viewBox=\"0 0 10 9\" xmlns=\"x\">\n<g>\n<!-- a -->\n<title>a</title>\n</g>\n</svg>\n";
        let svg = with_style(drawn, "// The title\ndigraph {}\n").unwrap();
        assert!(svg.starts_with("<svg width=\"10\" height=\"9\" viewBox=\"0 0 10 9\" xmlns=\"x\" role=\"img\">\n<title>The title</title>\n"), "{svg}");
        assert!(svg.contains("prefers-color-scheme") && !svg.contains("<title>a"), "{svg}");
        assert!(svg.ends_with("</style>\n<g>\n</g>\n</svg>\n"), "{svg}");
        assert!(with_style(drawn, "digraph {}\n").is_err());
    }
}
