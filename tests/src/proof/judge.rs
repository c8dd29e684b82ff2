//! The judge: with hfd serving and the callers still, everything that was ever acknowledged has to end right, and the
//! cluster has to hold exactly that.
//!
//! It asks hfd for the answers and the cluster for the truth: pods that are there, and how often each name was created.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{
    call::{Way, call},
    caller::{Caller, LONG, OwnRequest, OwnReturn},
    load::{Ground, Load},
    site::{BOUNDED, BROKEN, PLAIN, Site, wait_until},
};
use crate::script::Verb;

/// Longest wait for requests and returns to end once hfd is left alone.
const QUIET: Duration = Duration::from_secs(120);
/// Ids in one poll.
const AT_ONCE: usize = 500;

/// What was judged.
#[derive(Debug, Default, Clone)]
pub struct Judged {
    /// Ids that were acknowledged, of requests and returns.
    pub acknowledged: u64,
    /// Requests and returns that hfd knew although no caller was told: each stands for a call that failed.
    pub unacknowledged: u64,
    /// Of them, returns.
    pub unacknowledged_returns: u64,
    /// Machines asked for.
    pub machines: u64,
    /// Pods in the cluster that had to be there.
    pub pods: u64,
    /// Names that ever had a pod.
    pub names: u64,
}

/// Judges. hfd has to be running; nobody else may call.
///
/// # Errors
/// The first thing that is not as promised.
pub fn judge(load: &mut Load, site: &Site) -> Result<Judged> {
    load.each(site, settle).context("left alone")?;
    let known = known(site)?;
    let (unacknowledged, unacknowledged_returns) = adopt_unacknowledged(load, site, &known)?;
    load.each(site, settle).context("after what nobody was told of")?;
    for id in load.acknowledged() {
        ensure!(known.contains_key(&id), "{id} was acknowledged, and hfd does not know it");
    }
    for caller in &load.callers {
        caller.requests.iter().try_for_each(right_end)?;
        caller.returns.iter().try_for_each(all_gone)?;
    }
    let expected: BTreeSet<String> =
        load.callers.iter().flat_map(|caller| caller.requests.iter().flat_map(|own| own.left(false))).collect();
    exactly(site, &expected)?;
    let names = never_twice(site, &known)?;
    nothing_reclaimed(load, site)?;
    returns_ended(site)?;
    Ok(Judged {
        acknowledged: load.acknowledged().len() as u64,
        unacknowledged,
        unacknowledged_returns,
        machines: load.callers.iter().flat_map(|caller| &caller.requests).map(|own| own.count).sum(),
        pods: expected.len() as u64,
        names,
    })
}

/// Gives everything back and judges: all returns end, and nothing is left in the cluster.
///
/// # Errors
/// The first thing that is not as promised.
pub fn give_all_back(load: &mut Load, site: &Site) -> Result<()> {
    load.each(site, |caller, ground| {
        let left: Vec<String> = caller.requests.iter().flat_map(|own| own.left(false)).collect();
        let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
        ensure!(left.is_empty() || caller.give_back(ground, way, &left)?, "the last return has no answer");
        settle(caller, ground)
    })?;
    let judged = judge(load, site)?;
    ensure!(judged.pods == 0, "{} pods are left after everything was returned", judged.pods);
    let left: Vec<_> = site.cluster.history().into_iter().filter(|(_, pod)| pod.exists).collect();
    ensure!(left.is_empty(), "left after everything was returned: {left:?}");
    Ok(())
}

/// Clears a caller's doubts and polls until everything of its has ended; all of it, so that each old answer is seen
/// once more.
fn settle(caller: &mut Caller, ground: &Ground<'_>) -> Result<()> {
    caller.resolve(ground)?;
    let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
    let mut all = true;
    wait_until(QUIET, "requests and returns end", || {
        let requests = caller.requests.iter().filter(|own| all || own.status == "running").map(|own| own.id.clone());
        let returns = caller.returns.iter().filter(|own| all || own.status == "running").map(|own| own.id.clone());
        let ids: Vec<String> = requests.chain(returns).collect();
        for part in ids.chunks(AT_ONCE) {
            ensure!(caller.poll(way, part)?, "a poll has no answer although hfd serves");
        }
        all = false;
        let running = |status: &str| status == "running";
        let open = caller.requests.iter().filter(|own| running(&own.status)).count()
            + caller.returns.iter().filter(|own| running(&own.status)).count();
        Ok(open == 0)
    })
    .with_context(|| {
        let open: Vec<_> = caller.requests.iter().filter(|own| own.status == "running").collect();
        let returns: Vec<_> = caller.returns.iter().filter(|own| own.status == "running").collect();
        format!("open: {open:?} {returns:?}")
    })
}

/// Every request and return that hfd knows.
fn known(site: &Site) -> Result<BTreeMap<String, Value>> {
    let list = site.ask(&["get", "requests", "--limit", "1000000"])?;
    let items = list["items"].as_array().context("a list of requests")?;
    items
        .iter()
        .map(|item| Ok((item["requestId"].as_str().context("a request has an id")?.to_owned(), item.clone())))
        .collect()
}

/// What hfd knows and nobody was told of needs a failed call that it can stand for: of a request, one for as many
/// machines of that template; of a return, one that named exactly its machines. Each call explains one of them, and from
/// then on it is followed like all others. Gives how many there were, and how many of them are returns.
fn adopt_unacknowledged(load: &mut Load, site: &Site, known: &BTreeMap<String, Value>) -> Result<(u64, u64)> {
    let told: BTreeSet<String> = load.acknowledged().into_iter().collect();
    let (mut found, mut returns) = (0, 0);
    // Taken out, for what they share is borrowed from the load.
    let mut callers = std::mem::take(&mut load.callers);
    let ground = load.ground(site);
    for (id, item) in known.iter().filter(|(id, _)| !told.contains(*id)) {
        let is_return = item["kind"] == "return";
        let (template, count) = (item["template"].as_str().unwrap_or_default(), item["count"].as_u64());
        let names = if is_return { names_of(&ground, id)? } else { Vec::new() };
        let mut adopted = false;
        for caller in &mut callers {
            adopted = if is_return {
                caller.adopt_return(&ground, id, &names)?
            } else {
                caller.adopt(&ground, id, template, count.unwrap_or_default())?
            };
            if adopted {
                break;
            }
        }
        ensure!(adopted, "hfd knows {id}, which nobody was told of and no failed call explains: {item} {names:?}");
        found += 1;
        returns += u64::from(is_return);
    }
    // Nobody calls now, so of what is not known by now nothing will be: it explains nothing later.
    callers.iter_mut().for_each(Caller::forget_doubts);
    load.callers = callers;
    Ok((found, returns))
}

/// The machines of a return.
fn names_of(ground: &Ground<'_>, id: &str) -> Result<Vec<String>> {
    let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
    let reply = call(way, Verb::GetRequestStatus, &json!({"requests": [{ "requestId": id }]}))?;
    let machines = reply.json["requests"][0]["machines"].as_array().context("a known return has its machines")?;
    Ok(machines.iter().filter_map(|machine| machine["name"].as_str()).map(str::to_owned).collect())
}

/// A return has ended with all of its machines gone: here nothing keeps a pod from being deleted.
fn all_gone(own: &OwnReturn) -> Result<()> {
    ensure!(own.status == "complete", "the return {} of {:?} ended as {}", own.id, own.names, own.status);
    Ok(())
}

/// What a request asked for is what it got, or the reason says why not.
fn right_end(own: &OwnRequest) -> Result<()> {
    let failed: Vec<_> = own.machines.iter().filter(|machine| machine.1 == "fail").collect();
    let unlike = |word: &str| failed.iter().find(|machine| !machine.2.contains(word)).copied();
    let whole = own.machines.len() as u64 == own.count;
    ensure!(whole, "{} has {} machines of {}", own.id, own.machines.len(), own.count);
    // A machine returned before its request had ended is a failed one, and says so.
    let strange = match own.template.as_str() {
        _ if own.returned_early => None,
        PLAIN => failed.first().copied(),
        BOUNDED => unlike("maxNumber"),
        BROKEN if failed.len() as u64 == own.count => None,
        BROKEN => bail!("{} has machines that run although each of its pods ends at once: {own:?}", own.id),
        other => bail!("{} is of {other:?}", own.id),
    };
    ensure!(strange.is_none(), "{} of {} failed for no reason of its own: {strange:?}", own.id, own.template);
    Ok(())
}

/// The cluster holds these pods of ours and no other.
fn exactly(site: &Site, expected: &BTreeSet<String>) -> Result<()> {
    let mut last = (Vec::new(), Vec::new());
    wait_until(QUIET, "the cluster holds exactly what it should", || {
        let present: BTreeSet<String> = site.cluster.managed().into_iter().collect();
        last.0 = expected.difference(&present).cloned().collect();
        last.1 = present.difference(expected).cloned().collect();
        Ok(last.0.is_empty() && last.1.is_empty())
    })
    .with_context(|| format!("missing {:?}, too many {:?}", last.0, last.1))
}

/// No name had two pods, and every name belongs to a request that hfd knows.
fn never_twice(site: &Site, known: &BTreeMap<String, Value>) -> Result<u64> {
    let history = site.cluster.history();
    for (name, pod) in &history {
        ensure!(pod.created == 1, "{name} was created {} times", pod.created);
        let request = name.rsplit_once('-').map_or("", |(request, _)| request);
        ensure!(known.contains_key(request), "pod {name} belongs to no request that hfd knows");
    }
    Ok(history.len() as u64)
}

/// Nothing was lost, so nothing may be asked back: of no machine that was ever told.
fn nothing_reclaimed(load: &Load, site: &Site) -> Result<()> {
    let ground = load.ground(site);
    let hosts = load.callers.iter().flat_map(|caller| &caller.requests).flat_map(OwnRequest::hosts);
    let all: Vec<Value> = hosts.map(|name| json!({ "name": name })).take(10_000).collect();
    for input in [json!({}), json!({ "machines": all })] {
        let way = Way::Hfctl { socket: ground.socket, seconds: LONG, key: None };
        let reply = call(way, Verb::GetReturnRequests, &input)?;
        ensure!(reply.code == 0 && reply.json["status"] == "complete", "getReturnRequests: {}", reply.stdout);
        ensure!(reply.json["requests"] == json!([]), "asked back although nothing was lost: {}", reply.stdout);
    }
    Ok(())
}

/// Also those that no caller knows of.
fn returns_ended(site: &Site) -> Result<()> {
    wait_until(QUIET, "every return has ended", || {
        let list = site.ask(&["get", "requests", "--open", "--limit", "1000000"])?;
        Ok(list["items"].as_array().is_some_and(Vec::is_empty))
    })
}

impl Judged {
    /// Adds another round's.
    pub fn add(&mut self, other: &Self) {
        self.acknowledged += other.acknowledged;
        self.unacknowledged += other.unacknowledged;
        self.unacknowledged_returns += other.unacknowledged_returns;
        self.machines += other.machines;
        self.pods += other.pods;
        self.names += other.names;
    }
}
