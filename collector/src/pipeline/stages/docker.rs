//! `docker`: accepted, since Pilcrow reads the runtime's format itself.

use serde::Deserialize;

use crate::pipeline::{
    compile::Compiler,
    stage::{Failed, Stage},
};

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {}

/// See [`crate::pipeline::stage::Compile`].
pub fn compile(compiler: &mut Compiler<'_>) -> Result<Vec<Box<dyn Stage>>, Failed> {
    let Settings {} = compiler.settings()?;
    Ok(Vec::new())
}
