//! The disk through the kernel, as a program meets it.

use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{FileExt, MetadataExt},
};

use rustix::fs::{FallocateFlags, FlockOperation};

use super::*;

fn disk() -> (tempfile::TempDir, LossyDisk) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let disk = LossyDisk::mount(&dir.path().join("disk"), 1 << 20).expect("root and /dev/fuse");
    (dir, disk)
}

fn restore(disk: &mut LossyDisk, survival: Survival) {
    disk.cut();
    disk.restore(survival, &mut Random::of(1, "disk")).expect("nobody uses it");
}

fn sync_directory(path: &Path) {
    File::open(path).and_then(|directory| directory.sync_all()).expect("directories can be synced");
}

#[test]
fn what_a_program_synced_is_there_after_a_cut_and_the_rest_is_not() {
    let (_dir, mut disk) = disk();
    let (synced, lost) = (disk.path().join("synced"), disk.path().join("lost"));
    fs::write(&synced, "one").expect("there is room");
    File::open(&synced).and_then(|file| file.sync_all()).expect("the disk is well");
    sync_directory(disk.path());
    fs::write(&lost, "two").expect("there is room");
    let file = OpenOptions::new().write(true).open(&synced).expect("it is there");
    file.write_all_at(b"three", 3).expect("there is room");
    drop(file);
    assert_eq!(fs::read_to_string(&synced).expect("read your writes"), "onethree");
    restore(&mut disk, Survival::Nothing);
    assert_eq!(fs::read_to_string(&synced).expect("it was synced"), "one");
    assert!(!lost.exists());
}

#[test]
fn a_rename_without_an_fsync_of_the_directory_is_undone() {
    let (_dir, mut disk) = disk();
    let (new, place) = (disk.path().join("new"), disk.path().join("place"));
    fs::write(&new, "x").expect("there is room");
    File::open(&new).and_then(|file| file.sync_all()).expect("the disk is well");
    sync_directory(disk.path());
    fs::rename(&new, &place).expect("it is there");
    restore(&mut disk, Survival::Nothing);
    assert!(new.exists() && !place.exists());
    fs::rename(&new, &place).expect("it is there");
    sync_directory(disk.path());
    restore(&mut disk, Survival::Nothing);
    assert!(!new.exists() && place.exists());
}

#[test]
fn without_power_every_call_fails() {
    let (_dir, mut disk) = disk();
    let path = disk.path().join("file");
    let mut file = File::create(&path).expect("there is room");
    disk.cut_after(1);
    file.write_all(b"x").expect("before the cut");
    assert!(file.write_all(b"y").is_err() && disk.wait_for_cut(Duration::ZERO));
    assert!(file.sync_all().is_err());
    assert!(fs::read(&path).is_err() && fs::read_dir(disk.path()).is_err());
    drop(file);
    restore(&mut disk, Survival::Everything);
    assert_eq!(fs::read(&path).expect("it survived"), b"x");
}

#[test]
fn room_is_counted_as_a_disk_counts_it() {
    let (_dir, disk) = disk();
    let file = File::create(disk.path().join("reserve")).expect("there is room");
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 1 << 19).expect("half of the disk");
    let facts = file.metadata().expect("its facts");
    assert_eq!((facts.len(), facts.blocks() * 512), (1 << 19, 1 << 19));
    assert_eq!(disk.free_bytes(), 1 << 19);
    let error = fs::write(disk.path().join("large"), vec![1; (1 << 19) + 1]).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    file.set_len(0).expect("it can be emptied");
    fs::write(disk.path().join("large"), vec![1; (1 << 19) + 1]).expect("now there is room");
}

#[test]
fn locks_hold_and_names_are_listed() {
    let (_dir, disk) = disk();
    let path = disk.path().join("lock");
    let first = File::create(&path).expect("there is room");
    rustix::fs::flock(&first, FlockOperation::NonBlockingLockExclusive).expect("free");
    let second = File::open(&path).expect("it is there");
    assert!(rustix::fs::flock(&second, FlockOperation::NonBlockingLockExclusive).is_err());
    fs::create_dir(disk.path().join("inner")).expect("there is room");
    let mut names: Vec<_> =
        fs::read_dir(disk.path()).expect("a directory").map(|entry| entry.expect("readable").file_name()).collect();
    names.sort();
    assert_eq!(names, ["inner", "lock"]);
}

#[test]
fn a_disk_is_gone_when_it_is_dropped_even_in_use() {
    let mounted = |path: &Path| {
        let table = fs::read_to_string("/proc/self/mounts").expect("the table of mounts");
        table.lines().any(|line| line.split(' ').nth(1) == path.to_str())
    };
    let (_dir, used) = disk();
    let path = used.path().to_owned();
    let _file = File::create(path.join("open")).expect("there is room");
    assert!(mounted(&path));
    drop(used);
    assert!(!mounted(&path));
}
