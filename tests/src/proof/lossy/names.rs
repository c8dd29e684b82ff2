//! Directories: what each name leads to now, what it leads to on the disk, and the changes between.
//!
//! The strict reading of POSIX: a change of names is durable when an fsync of the directory has been answered. That of
//! the file itself does nothing for its name. What was not synced survives a cut up to some change, as in a file
//! system's journal.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use super::contents::Survival;
use crate::hostfactory::random::Random;

/// Number of a file or a directory.
pub(super) type Node = u64;

/// The root directory, by FUSE's rule.
pub(super) const ROOT: Node = 1;

type Directories = BTreeMap<Node, BTreeMap<OsString, Node>>;

#[derive(Debug, Clone)]
enum Change {
    Link { directory: Node, name: OsString, node: Node },
    Unlink { directory: Node, name: OsString },
    Rename { from: (Node, OsString), to: (Node, OsString) },
}

impl Change {
    fn touches(&self, wanted: Node) -> bool {
        match self {
            Self::Link { directory, .. } | Self::Unlink { directory, .. } => *directory == wanted,
            Self::Rename { from, to } => from.0 == wanted || to.0 == wanted,
        }
    }

    fn apply(&self, directories: &mut Directories) {
        match self {
            Self::Link { directory, name, node } => {
                directories.entry(*directory).or_default().insert(name.clone(), *node);
            }
            Self::Unlink { directory, name } => {
                directories.entry(*directory).or_default().remove(name);
            }
            Self::Rename { from, to } => {
                if let Some(node) = directories.entry(from.0).or_default().remove(&from.1) {
                    directories.entry(to.0).or_default().insert(to.1.clone(), node);
                }
            }
        }
    }
}

/// All names of the disk.
#[derive(Debug, Clone)]
pub(super) struct Names {
    live: Directories,
    durable: Directories,
    pending: Vec<Change>,
}

impl Names {
    pub(super) fn new() -> Self {
        let root = Directories::from([(ROOT, BTreeMap::new())]);
        Self { live: root.clone(), durable: root, pending: Vec::new() }
    }

    pub(super) fn is_directory(&self, node: Node) -> bool {
        self.live.contains_key(&node)
    }

    pub(super) fn find(&self, directory: Node, name: &OsStr) -> Option<Node> {
        self.live.get(&directory)?.get(name).copied()
    }

    pub(super) fn list(&self, directory: Node) -> Option<&BTreeMap<OsString, Node>> {
        self.live.get(&directory)
    }

    pub(super) fn link(&mut self, directory: Node, name: &OsStr, node: Node) {
        self.change(Change::Link { directory, name: name.to_owned(), node });
    }

    /// A new directory is there, empty, from its beginning; only its name has to be synced.
    pub(super) fn make_directory(&mut self, directory: Node, name: &OsStr, node: Node) {
        self.live.insert(node, BTreeMap::new());
        self.durable.insert(node, BTreeMap::new());
        self.link(directory, name, node);
    }

    pub(super) fn unlink(&mut self, directory: Node, name: &OsStr) {
        self.change(Change::Unlink { directory, name: name.to_owned() });
    }

    pub(super) fn rename(&mut self, from: (Node, &OsStr), to: (Node, &OsStr)) {
        self.change(Change::Rename { from: (from.0, from.1.to_owned()), to: (to.0, to.1.to_owned()) });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.live);
        self.pending.push(change);
    }

    pub(super) fn unsynced(&self) -> usize {
        self.pending.len()
    }

    /// The disk has all that was done in this directory.
    pub(super) fn sync(&mut self, directory: Node) {
        let durable = &mut self.durable;
        self.pending.retain(|change| {
            let synced = change.touches(directory);
            if synced {
                change.apply(durable);
            }
            !synced
        });
    }

    /// What is there after a power cut.
    pub(super) fn after_cut(&self, survival: Survival, random: &mut Random) -> Self {
        let kept = match survival {
            Survival::Nothing => 0,
            Survival::Everything | Survival::TornLast => self.pending.len(),
            Survival::Random => random.within(0..=self.pending.len()),
        };
        let mut after = self.durable.clone();
        self.pending[..kept].iter().for_each(|change| change.apply(&mut after));
        Self { live: after.clone(), durable: after, pending: Vec::new() }
    }

    /// Whether any name leads to it.
    pub(super) fn leads_to(&self, node: Node) -> bool {
        node == ROOT || self.live.values().any(|names| names.values().any(|found| *found == node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn dice() -> Random {
        Random::of(1, "names")
    }

    #[test]
    fn a_rename_without_an_fsync_of_the_directory_can_be_undone_and_with_it_never() {
        let mut names = Names::new();
        names.link(ROOT, name("new"), 2);
        names.sync(ROOT);
        names.rename((ROOT, name("new")), (ROOT, name("file")));
        let mut random = dice();
        let found: Vec<bool> = (0..50)
            .map(|_| names.after_cut(Survival::Random, &mut random).find(ROOT, name("file")).is_some())
            .collect();
        assert!(found.contains(&true) && found.contains(&false));
        names.sync(ROOT);
        for _ in 0..50 {
            let after = names.after_cut(Survival::Random, &mut random);
            assert_eq!((after.find(ROOT, name("file")), after.find(ROOT, name("new"))), (Some(2), None));
        }
    }

    #[test]
    fn changes_survive_in_the_order_they_were_made() {
        let mut names = Names::new();
        names.link(ROOT, name("first"), 2);
        names.link(ROOT, name("second"), 3);
        let mut random = dice();
        for _ in 0..50 {
            let after = names.after_cut(Survival::Random, &mut random);
            assert!(after.find(ROOT, name("second")).is_none() || after.find(ROOT, name("first")).is_some());
        }
    }

    #[test]
    fn an_fsync_of_one_directory_does_nothing_for_another() {
        let mut names = Names::new();
        names.make_directory(ROOT, name("state"), 2);
        names.link(2, name("file"), 3);
        names.sync(2);
        let after = names.after_cut(Survival::Nothing, &mut dice());
        assert_eq!(after.find(ROOT, name("state")), None);
        assert_eq!(after.find(2, name("file")), Some(3));
    }
}
