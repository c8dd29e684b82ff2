//! The disk as the kernel sees it. Nothing is cached there (direct I/O, no time to live), so every write and every fsync
//! of a program is one call here, and locks are the kernel's own.

use std::{
    ffi::OsStr,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use super::image::{BLOCK, Facts, Image};

const NOT_CACHED: Duration = Duration::ZERO;

/// The disk, and the news that its power has failed.
#[derive(Debug)]
pub(super) struct Shared {
    image: Mutex<Image>,
    pub(super) power_failed: Condvar,
}

impl Shared {
    pub(super) fn new(image: Image) -> Self {
        Self { image: Mutex::new(image), power_failed: Condvar::new() }
    }

    pub(super) fn image(&self) -> MutexGuard<'_, Image> {
        self.image.lock().expect("the disk's code does not panic")
    }
}

/// What the kernel talks to.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) shared: Arc<Shared>,
    /// Who mounts it owns everything on it.
    pub(super) owner: (u32, u32),
}

impl Served {
    /// Does something to the disk, and tells when that was the end of its power.
    fn with<T>(&self, act: impl FnOnce(&mut Image) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut image = self.shared.image();
        let outcome = act(&mut image);
        if !image.has_power() {
            self.shared.power_failed.notify_all();
        }
        outcome
    }

    fn attributes(&self, node: u64, facts: Facts) -> FileAttr {
        FileAttr {
            ino: INodeNo(node),
            size: facts.length,
            blocks: facts.allocated / 512,
            atime: SystemTime::UNIX_EPOCH,
            mtime: SystemTime::UNIX_EPOCH,
            ctime: SystemTime::UNIX_EPOCH,
            crtime: SystemTime::UNIX_EPOCH,
            kind: if facts.directory { FileType::Directory } else { FileType::RegularFile },
            perm: u16::try_from(facts.mode).unwrap_or(0o600),
            nlink: 1,
            uid: self.owner.0,
            gid: self.owner.1,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    fn entry(&self, found: Result<(u64, Facts), Errno>, reply: ReplyEntry) {
        match found {
            Ok((node, facts)) => reply.entry(&NOT_CACHED, &self.attributes(node, facts), Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }
}

fn done(outcome: Result<(), Errno>, reply: ReplyEmpty) {
    match outcome {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|image| {
            let node = image.find(parent.0, name)?;
            Ok((node, image.facts(node)?))
        });
        self.entry(found, reply);
    }

    fn getattr(&self, _: &Request, node: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|image| image.facts(node.0)) {
            Ok(facts) => reply.attr(&NOT_CACHED, &self.attributes(node.0, facts)),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        node: INodeNo,
        mode: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|image| {
            if let Some(size) = size {
                image.set_length(node.0, size)?;
            }
            if let Some(mode) = mode {
                image.set_mode(node.0, mode)?;
            }
            image.facts(node.0)
        });
        match changed {
            Ok(facts) => reply.attr(&NOT_CACHED, &self.attributes(node.0, facts)),
            Err(errno) => reply.error(errno),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        let made = self.with(|image| {
            let node = image.make_directory(parent.0, name, mode & !umask)?;
            Ok((node, image.facts(node)?))
        });
        self.entry(made, reply);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        done(self.with(|image| image.unlink(parent.0, name)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.is_empty() {
            done(self.with(|image| image.rename((parent.0, name), (new_parent.0, new_name))), reply);
        } else {
            reply.error(Errno::EINVAL);
        }
    }

    fn open(&self, _: &Request, node: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|image| image.facts(node.0)) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO),
            Err(errno) => reply.error(errno),
        }
    }

    fn create(&self, _: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, _: i32, reply: ReplyCreate) {
        let made = self.with(|image| {
            let node = image.create(parent.0, name, mode & !umask)?;
            Ok((node, image.facts(node)?))
        });
        match made {
            Ok((node, facts)) => {
                let attributes = self.attributes(node, facts);
                reply.created(&NOT_CACHED, &attributes, Generation(0), FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.with(|image| image.read(node.0, offset, size).map(<[u8]>::to_vec)) {
            Ok(bytes) => reply.data(&bytes),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.with(|image| image.write(node.0, offset, data)) {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("the kernel's own limit is 16 MiB")),
            Err(errno) => reply.error(errno),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Nothing is kept back here, and close(2) saves nothing.
        reply.ok();
    }

    fn fsync(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.with(|image| image.sync(node.0)), reply);
    }

    fn fsyncdir(&self, _: &Request, node: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        done(self.with(|image| image.sync_directory(node.0)), reply);
    }

    fn fallocate(
        &self,
        _: &Request,
        node: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode == 0 {
            done(self.with(|image| image.reserve(node.0, offset + length)), reply);
        } else {
            reply.error(Errno::EOPNOTSUPP);
        }
    }

    fn readdir(&self, _: &Request, node: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.with(|image| {
            let mut entries = Vec::new();
            for (name, found) in image.list(node.0)? {
                let directory = image.facts(found)?.directory;
                entries.push((name, found, if directory { FileType::Directory } else { FileType::RegularFile }));
            }
            Ok(entries)
        });
        match listed {
            Ok(entries) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                for (nth, (name, found, kind)) in entries.into_iter().enumerate().skip(from) {
                    if reply.add(INodeNo(found), nth as u64 + 1, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        match self.with(|image| Ok((image.capacity / BLOCK, image.free_bytes()? / BLOCK))) {
            Ok((blocks, free)) => reply.statfs(blocks, free, free, 1 << 20, 1 << 20, 4096, 255, 4096),
            Err(errno) => reply.error(errno),
        }
    }
}
