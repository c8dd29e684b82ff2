//! The faults of `reliability.md`, "Faults (each x each verb)". What other modules show is not shown here again:
//! `matrix` has the table of all of it, row by row.
//!
//! An [`Ordeal`] is one fault against all five verbs: while it lasts, each verb is called by its real script; when it is
//! over, what was acknowledged must end exactly right, nothing may be there twice, and nothing that lives may be wanted
//! back.

mod api_server;
mod caller;
mod cluster;
mod disk;
mod process;
mod retries;
mod state;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Machine, Verb, World, eventually, holds_for, names};

/// Longest wait for something that is a matter of a moment.
const SOON: Duration = Duration::from_secs(60);

/// What becomes of machines that are asked for while the fault lasts.
#[derive(Debug, Clone, Copy)]
enum Newcomers {
    /// They come up, perhaps after the fault.
    Come,
    /// They fail, with each of these words.
    Fail(&'static [&'static str]),
    /// No request is accepted, with each of these words.
    Refused(&'static [&'static str]),
}

/// One fault against each verb.
#[derive(Debug)]
struct Ordeal {
    template: &'static str,
    newcomers: Newcomers,
    said: &'static [&'static str],
    /// Machines that are there besides, and stay.
    beside: Vec<String>,
    /// Machines that are there besides, and are lost.
    victims: Vec<String>,
}

impl Ordeal {
    /// A fault that only delays.
    const fn delaying() -> Self {
        Self { template: "small", newcomers: Newcomers::Come, said: &[], beside: Vec::new(), victims: Vec::new() }
    }

    /// The same where these machines run besides.
    fn delaying_beside(machines: &[Machine]) -> Self {
        let beside = machines.iter().map(|machine| machine.name.clone()).collect();
        Self { beside, ..Self::delaying() }
    }

    /// A fault that takes these machines, and delays nothing.
    fn losing(machines: &[Machine]) -> Self {
        let mut victims: Vec<String> = machines.iter().map(|machine| machine.name.clone()).collect();
        victims.sort_unstable();
        Self { victims, ..Self::delaying() }
    }

    /// A fault by which machines of `template` fail with these words.
    const fn failing(template: &'static str, words: &'static [&'static str]) -> Self {
        Self { template, newcomers: Newcomers::Fail(words), said: &[], beside: Vec::new(), victims: Vec::new() }
    }

    /// A fault during which requests are refused with these words.
    const fn refusing(words: &'static [&'static str]) -> Self {
        Self {
            template: "small",
            newcomers: Newcomers::Refused(words),
            said: &[],
            beside: Vec::new(),
            victims: Vec::new(),
        }
    }

    /// While it lasts, `hfctl status` says each of these words.
    fn saying(self, words: &'static [&'static str]) -> Self {
        Self { said: words, ..self }
    }

    /// Lets the fault begin, calls each verb, lets it end, and looks at what is left.
    #[track_caller]
    fn undergo(self, world: &mut World, begin: impl FnOnce(&mut World), end: impl FnOnce(&mut World)) {
        let first = world.request("small", 4);
        let before = world.wait_end(&first);
        assert_eq!(before.status, "complete", "{before:#?}");
        let uids = |world: &World, which: &[String]| -> Vec<Value> {
            which.iter().map(|name| world.cluster.pod(name).unwrap_or_default()["metadata"]["uid"].clone()).collect()
        };
        let all: Vec<String> = before.machines.iter().map(|machine| machine.name.clone()).collect();
        let (returned, kept) = all.split_first().expect("four machines");
        let kept_names: Vec<&str> = kept.iter().map(String::as_str).collect();
        let lives = uids(world, kept);

        begin(world);
        if !self.said.is_empty() {
            world.wait_status_says(self.said);
        }
        let asked = self.ask(world);
        let ret = world.give_back(&[returned]);
        for _ in 0..3 {
            assert!(!world.templates().is_empty());
            let ids: Vec<&str> = [first.as_str(), ret.as_str()].into_iter().chain(asked.as_deref()).collect();
            let told = world.statuses(&ids);
            assert_eq!(told[0], before, "a terminal answer never changes");
            assert_eq!(world.reclaims(&kept_names), [], "a machine that lives is wanted back");
            let wanted = wanted(world);
            assert!(wanted.iter().all(|name| self.victims.contains(name)), "{wanted:?} are wanted back and live");
        }
        end(world);
        self.take_leave(world);

        let mut living: Vec<String> = kept.iter().chain(&self.beside).cloned().collect();
        if let Some(asked) = asked {
            living.extend(self.judge(world, &asked));
        }
        let gone = world.wait_end(&ret);
        assert_eq!((gone.status.as_str(), gone.with("succeed").len()), ("complete", 1), "{gone:#?}");
        assert!(world.cluster.pod(returned).is_none(), "a finished return means that the pod is gone");
        living.sort_unstable();
        eventually("the cluster has what was asked for, and nothing else", SOON, || {
            (world.cluster.managed() == living).then_some(())
        });
        assert_eq!(uids(world, kept), lives, "another pod stands for a machine");
        world.assert_no_pod_twice();
        assert_eq!(world.status(&first), before);
        holds_for("nothing that lives is wanted back", Duration::from_millis(200), || world.all_reclaims().is_empty());
    }

    /// The victims, and they alone, are wanted back; then HostFactory returns them.
    #[track_caller]
    fn take_leave(&self, world: &World) {
        if self.victims.is_empty() {
            return;
        }
        eventually("what was lost is wanted back", SOON, || (wanted(world) == self.victims).then_some(()));
        let back: Vec<&str> = self.victims.iter().map(String::as_str).collect();
        let end = world.wait_end(&world.give_back(&back));
        assert_eq!((end.status.as_str(), end.with("succeed").len()), ("complete", back.len()), "{end:#?}");
    }

    /// Asks for two machines; `None` when that was refused as it should be.
    #[track_caller]
    fn ask(&self, world: &World) -> Option<String> {
        let input = json!({"template": {"templateId": self.template, "machineCount": 2}});
        let reply = world.call(Verb::RequestMachines, &input);
        let Newcomers::Refused(words) = self.newcomers else {
            return reply.ok()["requestId"].as_str().map(str::to_owned);
        };
        let message = reply.refused().to_lowercase();
        assert!(words.iter().all(|word| message.contains(word)), "{words:?} are not in {message:?}");
        None
    }

    /// Waits for the end of the request, and gives the machines that came.
    #[track_caller]
    fn judge(&self, world: &World, asked: &str) -> Vec<String> {
        let status = world.wait_end(asked);
        match self.newcomers {
            Newcomers::Come => {
                assert_eq!((status.status.as_str(), status.with("succeed").len()), ("complete", 2), "{status:#?}");
                names(&status.machines).into_iter().map(str::to_owned).collect()
            }
            Newcomers::Fail(words) => {
                assert_eq!((status.status.as_str(), status.with("fail").len()), ("complete_with_error", 2));
                for machine in &status.machines {
                    let message = machine.message.to_lowercase();
                    assert!(words.iter().all(|word| message.contains(word)), "{words:?} are not in {message:?}");
                }
                Vec::new()
            }
            Newcomers::Refused(_) => Vec::new(),
        }
    }
}

/// Names of the machines that are wanted back, sorted.
#[track_caller]
fn wanted(world: &World) -> Vec<String> {
    let mut names: Vec<String> = world.all_reclaims().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    names
}
