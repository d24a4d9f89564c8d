//! On which file system a file lies, in the kernel's own words.
//!
//! In: open files and /proc/self/mountinfo. Out: the device number that the kernel has in `super_block.s_dev`, and the
//! file system's type. stat(2) does not do: its st_dev is another number on btrfs and overlayfs.

use std::{collections::HashMap, fs, io, os::fd::AsFd};

use rustix::fs::{AtFlags, StatxFlags, statx};

/// The file system behind a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// `super_block.s_dev`: (major << 20) | minor.
    pub device: u64,
    /// Its type: `ext4`, `xfs`, `overlay`.
    pub name: String,
}

/// The mounts of this process's mount namespace, by mount ID; read again when a file's is not among them.
#[derive(Debug, Default)]
pub struct MountTable {
    mounts: HashMap<u64, FileSystem>,
}

impl MountTable {
    /// The file system of an open file or folder, which may be open with `O_PATH`.
    ///
    /// # Errors
    /// If /proc/self/mountinfo cannot be read or does not list the file's mount, as for a mount of another namespace.
    pub fn file_system(&mut self, file: impl AsFd) -> io::Result<&FileSystem> {
        let mount = mount_id(file)?;
        if !self.mounts.contains_key(&mount) {
            self.mounts = parse(&fs::read_to_string("/proc/self/mountinfo")?);
        }
        self.mounts.get(&mount).ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("mount {mount} is not in /proc/self/mountinfo"))
        })
    }
}

fn mount_id(file: impl AsFd) -> io::Result<u64> {
    let found = statx(file, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    // Before Linux 5.8, which is also the first with ring buffers.
    if found.stx_mask & StatxFlags::MNT_ID.bits() == 0 {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "statx knows no mount IDs"));
    }
    Ok(found.stx_mnt_id)
}

/// Parses lines as proc_pid_mountinfo(5) has them: `36 35 98:0 /root /point options... - type source options`.
fn parse(text: &str) -> HashMap<u64, FileSystem> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<(u64, FileSystem)> {
    let (mount, super_block) = line.split_once(" - ")?;
    let mut fields = mount.split(' ');
    let id = fields.next()?.parse().ok()?;
    let (major, minor) = fields.nth(1)?.split_once(':')?;
    let device = major.parse::<u64>().ok()? << 20 | minor.parse::<u64>().ok()?;
    let name = super_block.split(' ').next()?.to_owned();
    Some((id, FileSystem { device, name }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_mount_has_the_device_and_type_that_its_line_says() {
        let table = parse(
            "27 1 254:17 / / rw,relatime - ext4 /dev/vda rw,discard\n\
             36 27 0:41 /@log /var/log rw,noatime shared:7 master:1 - btrfs /dev/sda2 rw,subvol=/@log\n\
             40 27 0:50 / /odd\\040name\\040-\\040x rw - overlay overlay rw,lowerdir=/a\n",
        );
        assert_eq!(table.len(), 3);
        assert_eq!(table[&27], FileSystem { device: (254 << 20) | 17, name: "ext4".into() });
        assert_eq!(table[&36], FileSystem { device: 41, name: "btrfs".into() });
        assert_eq!(table[&40], FileSystem { device: 50, name: "overlay".into() });
    }

    #[test]
    fn lines_of_another_shape_are_left_out() {
        assert!(parse("\n1 2 3\nx 1 254:0 / / rw - ext4 a rw\n1 1 254 / / rw - ext4 a rw\n").is_empty());
    }

    #[test]
    fn the_running_kernel_lists_the_mount_of_proc() -> io::Result<()> {
        let mut mounts = MountTable::default();
        assert_eq!(mounts.file_system(File::open("/proc/self/mountinfo")?)?.name, "proc");
        Ok(())
    }
}
