//! The containers whose logs lie on this machine, each with its chain of files.

use std::{fs, io, path::Path, time::Instant};

use crate::{
    model::PodName,
    tail::{
        chain::{Chain, UnknownFile, list},
        local::Folder,
    },
};

/// A container's log files.
pub(super) struct Found {
    /// The name that its positions are saved under: `NAMESPACE_POD_UID/CONTAINER`.
    pub name: String,
    /// Its files, oldest first; those that cannot be opened are missing.
    pub chain: Chain,
}

/// All containers in the folder of all pods, one after the other: their files are open while one is looked at.
///
/// # Errors
/// Where the folder cannot be listed.
pub(super) fn find(pods: &Path) -> io::Result<impl Iterator<Item = Found>> {
    let pods = fs::read_dir(pods)?.flatten().filter(|pod| {
        let name = pod.file_name();
        name.to_str().and_then(PodName::parse).is_some()
    });
    Ok(pods.flat_map(|pod| {
        let containers = fs::read_dir(pod.path()).into_iter().flatten().flatten();
        containers.filter_map(move |container| {
            let listing = list(&Folder::open(&container.path()).ok()?, |_| ()).ok()?;
            let mut chain = Chain::default();
            chain.merge(&listing.files, UnknownFile::Beginning, 0, &mut 0, Instant::now());
            let name = format!("{}/{}", pod.file_name().to_str()?, container.file_name().to_str()?);
            Some(Found { name, chain })
        })
    }))
}
