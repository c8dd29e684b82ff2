//! The run's own record of the provider's pods, by UID: what was seen of each, and when. It only ever learns; what
//! happened while the watch was blind stays unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;

use super::{
    clock::{Moment, Span},
    options::Disturbance,
};

/// One look at a pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The request that its label names.
    pub request: String,
    /// The node it is bound to; empty before.
    pub node: String,
    /// Its address; empty before.
    pub address: String,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// Why it is about to be lost, or no longer a machine.
    pub harm: Option<&'static str>,
}

impl PodView {
    /// Reads a Pod object; none without name or UID.
    pub fn read(pod: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &pod["metadata"];
        let view = Self {
            name: text(&metadata["name"]),
            uid: text(&metadata["uid"]),
            request: text(&metadata["labels"]["symphony/hostfactory-reqid"]),
            node: text(&pod["spec"]["nodeName"]),
            address: text(&pod["status"]["podIP"]),
            ready: condition(pod, "Ready"),
            deleting: metadata["deletionTimestamp"].is_string(),
            harm: harm(pod),
        };
        (!view.name.is_empty() && !view.uid.is_empty()).then_some(view)
    }

    /// Whether the provider may latch it as ready (lifecycle.md 3).
    pub fn counts_as_ready(&self) -> bool {
        self.ready && !self.address.is_empty() && !self.deleting
    }

    /// Whether something says that it is or will be lost.
    pub fn marked(&self) -> Option<&'static str> {
        self.harm.or_else(|| self.deleting.then_some("deletionTimestamp"))
    }
}

fn condition(pod: &Value, kind: &str) -> bool {
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn harm(pod: &Value) -> Option<&'static str> {
    if condition(pod, "DisruptionTarget") {
        return Some("DisruptionTarget");
    }
    if matches!(pod["status"]["phase"].as_str(), Some("Failed" | "Succeeded")) {
        return Some("the pod has ended");
    }
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    let restarted = |container: &Value| container["restartCount"].as_u64().is_some_and(|count| count > 0);
    containers.into_iter().any(restarted).then_some("a container was restarted")
}

/// What is known of one pod.
#[derive(Debug, Clone)]
pub struct PodRecord {
    /// Its last look.
    pub view: PodView,
    /// When it was first seen.
    pub first_seen: Moment,
    /// Whether it was there before the run.
    pub before_start: bool,
    /// Each address it was ready with, and since when.
    pub ready: Vec<(String, Moment)>,
    /// First sight of a deletionTimestamp.
    pub deleting: Option<Moment>,
    /// First sight of other harm.
    pub harmed: Option<(&'static str, Moment)>,
    /// When it was found gone, and whether the watch was blind before that.
    pub gone: Option<(Moment, bool)>,
}

impl PodRecord {
    /// Whether it exists, as far as is known.
    pub fn alive(&self) -> bool {
        self.gone.is_none()
    }

    /// Whether it exists and nothing says that it will be lost.
    pub fn unharmed(&self) -> bool {
        self.alive() && self.deleting.is_none() && self.harmed.is_none()
    }

    /// All of it in a line, for a report.
    pub fn describe(&self) -> String {
        let mut text = format!("pod {} UID {} first seen {:.3?}", self.view.name, self.view.uid, self.first_seen);
        for (address, at) in &self.ready {
            text.push_str(&format!(", Ready with {address} at {at:.3?}"));
        }
        if self.ready.is_empty() {
            text.push_str(", never seen Ready with an address");
        }
        if let Some(at) = self.deleting {
            text.push_str(&format!(", deletionTimestamp at {at:.3?}"));
        }
        if let Some((why, at)) = self.harmed {
            text.push_str(&format!(", {why} at {at:.3?}"));
        }
        match self.gone {
            Some((at, true)) => text.push_str(&format!(", found gone at {at:.3?} after a gap in the watch")),
            Some((at, false)) => text.push_str(&format!(", gone at {at:.3?}")),
            None => text.push_str(", alive"),
        }
        text
    }
}

/// All pods of the provider, and what we did to them.
#[derive(Debug, Default)]
pub struct PodBook {
    records: HashMap<String, PodRecord>,
    names: HashMap<String, Vec<String>>,
    alive: BTreeSet<String>,
    blind: Vec<Span>,
    disturbed: HashMap<String, (Disturbance, Moment)>,
    lost_nodes: BTreeMap<String, Moment>,
    /// UIDs of pods that came since the last audit.
    pub appeared: Vec<String>,
    /// UIDs of pods that were first seen deleting, or found gone, since the last audit.
    pub removed: Vec<String>,
    /// Since when the watch has stood.
    pub standing_since: Moment,
}

impl PodBook {
    /// What a list or an event shows of a pod.
    pub fn observe(&mut self, view: PodView, at: Moment) {
        self.see(view, at, false);
    }

    /// A pod is gone from the cluster.
    pub fn vanish(&mut self, uid: &str, at: Moment) {
        self.end(uid, at, false);
    }

    /// The first list of the run: what it shows is not of this run's making.
    pub fn start(&mut self, views: Vec<PodView>, at: Moment) {
        for view in views {
            self.see(view, at, true);
        }
        self.standing_since = at;
    }

    /// A list after a gap: what it lacks is gone, what happened in between is unknown.
    pub fn relist(&mut self, views: Vec<PodView>, gap: Span) {
        let listed: BTreeSet<String> = views.iter().map(|view| view.uid.clone()).collect();
        let missing: Vec<String> = self.alive.iter().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in missing {
            self.end(&uid, gap.ended, true);
        }
        for view in views {
            self.see(view, gap.ended, false);
        }
        self.blind.push(gap);
        self.standing_since = gap.ended;
    }

    fn see(&mut self, view: PodView, at: Moment, before_start: bool) {
        let uid = view.uid.clone();
        if !self.records.contains_key(&uid) {
            self.names.entry(view.name.clone()).or_default().push(uid.clone());
            self.alive.insert(uid.clone());
            self.appeared.push(uid.clone());
        }
        let record = self.records.entry(uid.clone()).or_insert_with(|| PodRecord {
            view: view.clone(),
            first_seen: at,
            before_start,
            ready: Vec::new(),
            deleting: None,
            harmed: None,
            gone: None,
        });
        if view.counts_as_ready() && !record.ready.iter().any(|(address, _)| *address == view.address) {
            record.ready.push((view.address.clone(), at));
        }
        if view.deleting && record.deleting.is_none() {
            record.deleting = Some(at);
            self.removed.push(uid);
        }
        if let (Some(why), None) = (view.harm, record.harmed) {
            record.harmed = Some((why, at));
        }
        record.view = view;
    }

    fn end(&mut self, uid: &str, at: Moment, blind: bool) {
        self.alive.remove(uid);
        let Some(record) = self.records.get_mut(uid).filter(|record| record.gone.is_none()) else { return };
        record.gone = Some((at, blind));
        if record.deleting.is_none() {
            self.removed.push(uid.to_owned());
        }
    }

    /// One pod.
    pub fn by_uid(&self, uid: &str) -> Option<&PodRecord> {
        self.records.get(uid)
    }

    /// All pods that ever had a name, in the order they were seen.
    pub fn by_name(&self, name: &str) -> impl Iterator<Item = &PodRecord> {
        self.names.get(name).into_iter().flatten().filter_map(|uid| self.records.get(uid))
    }

    /// All pods that exist.
    pub fn living(&self) -> impl Iterator<Item = &PodRecord> {
        self.alive.iter().filter_map(|uid| self.records.get(uid))
    }

    /// All pods that were ever seen.
    pub fn all(&self) -> impl Iterator<Item = &PodRecord> {
        self.records.values()
    }

    /// Whether something may have happened unseen in this time.
    pub fn blind_within(&self, begun: Moment, ended: Moment) -> bool {
        self.blind.iter().any(|gap| gap.begun <= ended && begun <= gap.ended)
    }

    /// Gaps so far.
    pub fn gaps(&self) -> usize {
        self.blind.len()
    }

    /// Notes what we are about to do to a pod.
    pub fn disturb(&mut self, uid: &str, kind: Disturbance, at: Moment) {
        self.disturbed.entry(uid.to_owned()).or_insert((kind, at));
    }

    /// Notes that we are about to delete a node: all its pods, later ones too, may go with it.
    pub fn lose_node(&mut self, node: &str, at: Moment) {
        self.lost_nodes.entry(node.to_owned()).or_insert(at);
        let on_it: Vec<String> =
            self.living().filter(|record| record.view.node == node).map(|record| record.view.uid.clone()).collect();
        for uid in on_it {
            self.disturb(&uid, Disturbance::NodeLoss, at);
        }
    }

    /// What we did to a pod, or to its node.
    pub fn disturbance(&self, record: &PodRecord) -> Option<(Disturbance, Moment)> {
        let node = self.lost_nodes.get(&record.view.node).map(|at| (Disturbance::NodeLoss, *at));
        self.disturbed.get(&record.view.uid).copied().or(node)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn at(seconds: u64) -> Moment {
        Duration::from_secs(seconds)
    }

    fn view(name: &str, uid: &str) -> PodView {
        PodView { name: name.to_owned(), uid: uid.to_owned(), ..PodView::default() }
    }

    #[test]
    fn a_pod_object_is_read_with_its_marks() {
        let pod = json!({
            "metadata": {"name": "a", "uid": "u", "labels": {"symphony/hostfactory-reqid": "r"},
                "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": "n"},
            "status": {"podIP": "10.0.0.1", "conditions": [{"type": "Ready", "status": "True"}]},
        });
        let read = PodView::read(&pod).expect("it has a name and a UID");
        assert!(read.ready && read.deleting && !read.counts_as_ready());
        assert_eq!((read.request.as_str(), read.node.as_str(), read.marked()), ("r", "n", Some("deletionTimestamp")));
        assert!(PodView::read(&json!({})).is_none());
    }

    #[test]
    fn a_relist_ends_what_it_lacks_and_leaves_a_blind_time() {
        let mut book = PodBook::default();
        book.observe(view("a", "1"), at(1));
        book.observe(view("b", "2"), at(1));
        book.relist(vec![view("b", "2")], Span { begun: at(2), ended: at(5) });
        assert_eq!(book.by_uid("1").and_then(|record| record.gone), Some((at(5), true)));
        assert!(book.by_uid("2").is_some_and(PodRecord::alive));
        assert!(book.blind_within(at(4), at(9)) && !book.blind_within(at(6), at(9)));
    }

    #[test]
    fn what_was_once_seen_stays_known() {
        let mut book = PodBook::default();
        let ready = PodView { ready: true, address: "10.0.0.1".to_owned(), ..view("a", "1") };
        book.observe(ready, at(1));
        book.observe(view("a", "1"), at(2));
        book.vanish("1", at(3));
        book.vanish("1", at(4));
        let record = book.by_uid("1").expect("it was seen");
        assert_eq!(record.ready, [("10.0.0.1".to_owned(), at(1))]);
        assert_eq!(record.gone, Some((at(3), false)));
    }
}
