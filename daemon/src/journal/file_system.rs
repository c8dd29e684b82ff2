//! What the journal asks of the file system below it.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// File systems of other machines, by `statfs` type (Linux `magic.h` and the file systems' own headers). Their locks
/// may not exclude another host, and some acknowledge an fsync that a crash of the server undoes. FUSE is not among
/// them: it tells nothing about what is behind it.
const NETWORK: [(u32, &str); 11] = [
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
];

/// The kind of the file system at `path` when it is another machine's.
pub(super) fn network_kind(path: &Path) -> io::Result<Option<&'static str>> {
    // The type is a signed word whose upper half carries nothing.
    let kind = rustix::fs::statfs(path)?.f_type & 0xffff_ffff;
    Ok(u32::try_from(kind).ok().and_then(network_name))
}

fn network_name(kind: u32) -> Option<&'static str> {
    NETWORK.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// Bytes that we may still write at `path`; 0 when that cannot be told.
pub(super) fn free_bytes(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(0, |facts| facts.f_bavail.saturating_mul(facts.f_frsize))
}

/// Whether writing in `directory` fails for lack of room, a quota's included: found out by writing.
pub(super) fn has_no_room(directory: &Path) -> bool {
    let path = directory.join("room-probe");
    let probe = || -> io::Result<()> {
        let mut file = private().create(true).truncate(true).open(&path)?;
        file.write_all(&[0; 64 << 10])?;
        file.sync_all()
    };
    let outcome = probe();
    // Left behind it would only be overwritten by the next probe.
    let _ = std::fs::remove_file(&path);
    outcome.is_err_and(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// How files beside the journal are opened: nobody else's business.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    options
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// `path` with `suffix` added to its file name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The directory that `path` is in.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_file_system_is_known_by_its_type_and_a_local_one_is_not_among_them() {
        assert_eq!(network_name(0x6969), Some("NFS"));
        assert_eq!(network_name(0xff53_4d42), Some("CIFS"));
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x6573_5546] {
            assert_eq!(network_name(local), None, "{local:#x}");
        }
    }

    #[test]
    fn the_probe_for_room_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        assert!(!has_no_room(directory.path()));
        assert!(!directory.path().join("room-probe").exists());
        assert!(free_bytes(directory.path()) > 0);
    }
}
