//! (being written)

/// (being written)
#[derive(clap::Args)]
pub struct Args {}

/// (being written)
pub fn run(_args: &Args) -> anyhow::Result<()> {
    anyhow::bail!("not yet written")
}

/// (being written)
pub fn ensure_built() -> anyhow::Result<std::path::PathBuf> {
    anyhow::bail!("not yet written")
}
