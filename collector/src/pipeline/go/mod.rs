//! Texts as Go's standard library reads and writes them: what Promtail's stages leave to it.

pub mod calendar;
pub mod duration;
pub mod layout;
pub mod number;
pub mod size;
pub mod text;
pub mod time;
pub mod zone;
