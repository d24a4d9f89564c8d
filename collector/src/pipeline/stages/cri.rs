//! `cri`: accepted, since Pilcrow reads the runtime's format itself and better: it joins partial lines of any number of
//! streams without giving any out torn.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    stage::{Failed, Stage},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    max_partial_lines: Option<u64>,
    max_partial_line_size: Option<String>,
    max_partial_line_size_truncate: bool,
}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let settings: Settings = compiler.settings()?;
    let is_default = settings.max_partial_lines.is_none_or(|lines| lines == 0 || lines == 100)
        && settings.max_partial_line_size.as_deref().is_none_or(|size| size == "0")
        && !settings.max_partial_line_size_truncate;
    if !is_default {
        compiler.warn("", "its sizes have no effect: Pilcrow joins partial lines itself, see lines.max_bytes");
    }
    Ok(Vec::new())
}
