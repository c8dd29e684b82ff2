//! What a process has open, by kind, when nobody calls it.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::Result;

use super::site::wait_until;

/// Longest time until connections of callers that are gone are closed, and a pooled one that idles too long.
const PATIENCE: Duration = Duration::from_secs(60);
/// Looks in sequence that have to see the same.
const LOOKS: usize = 25;

/// Open descriptors by what stands behind them: a file's path, or a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Descriptors(BTreeMap<String, u64>);

impl Descriptors {
    /// What the process has open once that no longer changes.
    ///
    /// # Errors
    /// When it ended, or that never happens.
    pub(super) fn at_rest(pid: u32) -> Result<Self> {
        let (mut last, mut same) = (Self::default(), 0);
        wait_until(PATIENCE, "what hfd has open changes no more", || {
            let now = Self::of(pid)?;
            same = if now == last { same + 1 } else { 0 };
            last = now;
            Ok(same >= LOOKS)
        })?;
        Ok(last)
    }

    fn of(pid: u32) -> Result<Self> {
        // Inodes of this network's sockets that have an address; all others are sockets of this machine alone.
        let mut internet = Vec::new();
        for table in ["tcp", "tcp6"] {
            let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
            internet.extend(text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(9).map(str::to_owned)));
        }
        let mut counts = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // One that was closed meanwhile is none.
            let Ok(target) = fs::read_link(entry?.path()) else { continue };
            let target = target.to_string_lossy();
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            let kind = match inode {
                Some(inode) if internet.iter().any(|other| other == inode) => TO_THE_API_SERVER.to_owned(),
                Some(_) => "sockets of this machine".to_owned(),
                None if target.starts_with("pipe:") => "pipes".to_owned(),
                None => target.into_owned(),
            };
            *counts.entry(kind).or_default() += 1;
        }
        Ok(Self(counts))
    }

    /// What is open in `after` beyond this, with its figures. Of connections to the API server a pool keeps some.
    pub(super) fn left_by(&self, after: &Self) -> Vec<String> {
        let left = |(kind, count): (&String, &u64)| {
            let before = self.0.get(kind).copied().unwrap_or(0);
            let may = if kind == TO_THE_API_SERVER { before.max(POOL) } else { before };
            (*count > may).then(|| format!("file descriptors with nobody calling: {kind}: {count} after {before}"))
        };
        after.0.iter().filter_map(left).collect()
    }
}

const TO_THE_API_SERVER: &str = "connections to the API server";
/// Connections to the API server that may idle: one for each call at once, and the watch.
const POOL: u64 = 64;
