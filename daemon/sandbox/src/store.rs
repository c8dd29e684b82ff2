//! The versioned store: all objects, and the recent past of each resource for lists, watches and continue tokens.
//!
//! Every change gets the next resourceVersion of one counter for the whole cluster, as etcd gives it. The past of a
//! resource is a bounded queue of changes; an older state is the present with the later changes undone. What falls
//! off the queue is compacted: whoever still asks for it gets 410.
//!
//! The store knows no meaning: scheduling, grace periods and quotas are decided by its callers.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::object::{Key, Object, Resource};
use crate::persist::{Line, Log, Past};
use crate::selector::Filter;

/// Changes kept per resource. At about 2.5 KB a pod this is some 40 MB at the very most.
const PAST_CHANGES: usize = 16_384;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change of one resource.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) change: Change,
    /// The object after the change; for a deletion its last state under the deletion's version.
    pub(crate) object: Arc<Object>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Object>>,
}

/// The state of a resource at some version is no longer known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Compacted;

#[derive(Debug)]
struct Table {
    objects: BTreeMap<Key, Arc<Object>>,
    events: VecDeque<Event>,
    /// States before this version are forgotten.
    compacted: u64,
    /// Version of the last change that was dropped from `events`.
    dropped: u64,
    /// The version of the last change, for watches to wait on.
    changed: watch::Sender<u64>,
}

/// The store.
#[derive(Debug)]
pub(crate) struct Store {
    version: u64,
    tables: [Table; Resource::ALL.len()],
    past: BTreeMap<Key, Past>,
    log: Option<Log>,
    /// The first failure to write the state file; after it nothing more is accepted.
    failure: Option<String>,
}

impl Store {
    /// An empty store that forgets everything when it is dropped.
    pub(crate) fn in_memory() -> Self {
        let table = || Table {
            objects: BTreeMap::new(),
            events: VecDeque::new(),
            compacted: 0,
            dropped: 0,
            changed: watch::Sender::new(0),
        };
        Self {
            version: 0,
            tables: [table(), table(), table(), table(), table()],
            past: BTreeMap::new(),
            log: None,
            failure: None,
        }
    }

    /// Opens the store that lives in this file. The file's bearer token wins over `token`, and is returned.
    pub(crate) fn open(path: &Path, token: String) -> io::Result<(Self, String)> {
        let (log, lines) = Log::open(path)?;
        let mut store = Self::in_memory();
        let mut kept_token = token;
        for line in lines {
            match line {
                Line::Cluster { token, rv } => {
                    kept_token = token;
                    store.version = rv;
                }
                Line::Past { namespace, name, past } => {
                    store.past.insert(Key { namespace, name }, past);
                }
                Line::Put { resource, object } => store.restore(&resource, &object, true)?,
                Line::Keep { resource, object } => store.restore(&resource, &object, false)?,
                Line::Remove { resource, namespace, name, rv } => {
                    let resource = known_resource(&resource)?;
                    store.table_mut(resource).objects.remove(&Key { namespace, name });
                    store.version = rv;
                }
            }
        }
        for table in &mut store.tables {
            (table.compacted, table.dropped) = (store.version, store.version);
        }
        store.log = Some(log);
        store.rewrite_log(&kept_token)?;
        Ok((store, kept_token))
    }

    fn restore(&mut self, resource: &str, object: &RawValue, is_new_fact: bool) -> io::Result<()> {
        let resource = known_resource(resource)?;
        let value: Value = serde_json::from_str(object.get())?;
        let version = crate::object::text(&value, "/metadata/resourceVersion").parse().unwrap_or(self.version);
        let object = Arc::new(Object::new(resource, version, &value));
        if is_new_fact {
            self.version = self.version.max(version);
            let is_new = !self.table(resource).objects.contains_key(&object.key);
            self.remember(resource, &object, is_new);
        }
        self.table_mut(resource).objects.insert(object.key.clone(), object);
        Ok(())
    }

    /// The version of the last change to anything.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Why nothing can be stored any more, if so.
    pub(crate) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// The object of that name.
    pub(crate) fn get(&self, resource: Resource, key: &Key) -> Option<&Arc<Object>> {
        self.table(resource).objects.get(key)
    }

    /// All objects of a resource in a namespace, or in all of them if it is empty.
    pub(crate) fn all<'a>(&'a self, resource: Resource, namespace: &'a str) -> impl Iterator<Item = &'a Arc<Object>> {
        let from = Key::new(namespace, "");
        self.table(resource)
            .objects
            .range(from..)
            .map(|(_, object)| object)
            .take_while(move |object| namespace.is_empty() || object.key.namespace == namespace)
    }

    /// Stores a complete object under the next version, which is stamped on it.
    pub(crate) fn put(&mut self, resource: Resource, value: &mut Value) -> Arc<Object> {
        self.version += 1;
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(Object::new(resource, self.version, value));
        self.append_object(resource, &object);
        let previous = self.table_mut(resource).objects.insert(object.key.clone(), Arc::clone(&object));
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        self.remember(resource, &object, change == Change::Added);
        self.publish(resource, Event { change, object: Arc::clone(&object), previous });
        object
    }

    /// Removes an object; what is announced is `last` (its final state), or else what was stored.
    pub(crate) fn remove(&mut self, resource: Resource, key: &Key, last: Option<Value>) -> Option<Arc<Object>> {
        let previous = self.table_mut(resource).objects.remove(key)?;
        self.version += 1;
        let mut value = last.unwrap_or_else(|| previous.value());
        value["metadata"]["resourceVersion"] = self.version.to_string().into();
        let object = Arc::new(Object::new(resource, self.version, &value));
        self.append(&Line::Remove {
            resource: resource.plural().to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            rv: self.version,
        });
        let event = Event { change: Change::Deleted, object: Arc::clone(&object), previous: Some(previous) };
        self.publish(resource, event);
        Some(object)
    }

    /// One page of the state at `version` (`None`: now): up to `limit` matching objects after `start`, and how many
    /// follow; with a selective filter only whether any do, as nobody is told more, and counting would look at all the
    /// rest for each page.
    pub(crate) fn page(
        &self,
        resource: Resource,
        filter: &Filter,
        version: Option<u64>,
        start: Option<&Key>,
        limit: usize,
    ) -> Result<(Vec<Arc<Object>>, usize), Compacted> {
        let table = self.table(resource);
        let undone = match version {
            Some(version) if version < table.compacted => return Err(Compacted),
            Some(version) => table.undone_since(version),
            None => BTreeMap::new(),
        };
        let from = start.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let present = table
            .objects
            .range((from, std::ops::Bound::Unbounded))
            .filter(|(key, _)| !undone.contains_key(key))
            .map(|(_, object)| object);
        let old = undone.range((from, std::ops::Bound::Unbounded)).filter_map(|(_, object)| object.as_ref());
        let matching = |object: &&Arc<Object>| filter.matches(object);
        let merged: Vec<_> = if undone.is_empty() {
            let enough = if filter.is_selective() { limit.saturating_add(1) } else { usize::MAX };
            present.filter(matching).take(enough).collect()
        } else {
            let mut merged: Vec<_> = present.chain(old).filter(matching).collect();
            merged.sort_by(|left, right| left.key.cmp(&right.key));
            merged
        };
        let remaining = merged.len().saturating_sub(limit);
        Ok((merged.into_iter().take(limit).cloned().collect(), remaining))
    }

    /// The changes of a resource after `version`, unless some of them are forgotten.
    pub(crate) fn since(&self, resource: Resource, version: u64) -> Result<impl Iterator<Item = &Event>, Compacted> {
        let table = self.table(resource);
        if version < table.dropped {
            return Err(Compacted);
        }
        let first = table.events.partition_point(|event| event.object.version <= version);
        Ok(table.events.range(first..))
    }

    /// The oldest version a new watch may start from.
    pub(crate) fn oldest_version(&self, resource: Resource) -> u64 {
        self.table(resource).compacted
    }

    /// Is told the version of each change of the resource.
    pub(crate) fn subscribe(&self, resource: Resource) -> watch::Receiver<u64> {
        self.table(resource).changed.subscribe()
    }

    /// Forgets the whole past.
    pub(crate) fn compact(&mut self) {
        for table in &mut self.tables {
            table.compacted = self.version;
            if let Some(last) = table.events.back() {
                table.dropped = last.object.version;
            }
            table.events.clear();
            table.changed.send_replace(self.version);
        }
    }

    /// How many pods of that name were ever created.
    pub(crate) fn times_created(&self, key: &Key) -> u64 {
        self.past.get(key).map_or(0, |past| past.created)
    }

    /// What is remembered of pod names, and whether a pod of that name exists now.
    pub(crate) fn pod_names(&self) -> impl Iterator<Item = (&Key, &Past, bool)> {
        let pods = &self.table(Resource::Pods).objects;
        self.past.iter().map(|(key, past)| (key, past, pods.contains_key(key)))
    }

    /// Rewrites the state file to what is alive, when it has grown much beyond that.
    pub(crate) fn tidy_log(&mut self, token: &str) {
        if self.log.as_ref().is_some_and(Log::wants_rewriting)
            && let Err(error) = self.rewrite_log(token)
        {
            self.fail(&error);
        }
    }

    fn rewrite_log(&mut self, token: &str) -> io::Result<()> {
        let Some(mut log) = self.log.take() else { return Ok(()) };
        let head = Line::Cluster { token: token.to_owned(), rv: self.version };
        let past = self.past.iter().map(|(key, past)| Line::Past {
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            past: past.clone(),
        });
        let objects = Resource::ALL.into_iter().flat_map(|resource| {
            self.table(resource).objects.values().filter_map(move |object| {
                Some(Line::Keep { resource: resource.plural().to_owned(), object: raw(object)? })
            })
        });
        let result = log.rewrite(std::iter::once(head).chain(past).chain(objects));
        self.log = Some(log);
        result
    }

    fn append_object(&mut self, resource: Resource, object: &Object) {
        self.write_log(|log| log.append_put(resource.plural(), &object.json));
    }

    fn append(&mut self, line: &Line) {
        self.write_log(|log| log.append(line));
    }

    fn write_log(&mut self, write: impl FnOnce(&mut Log) -> io::Result<()>) {
        if self.failure.is_none()
            && let Some(log) = &mut self.log
            && let Err(error) = write(log)
        {
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        tracing::error!(%error, "the state file cannot be written: no more changes are accepted");
        self.failure = Some(format!("the sandbox cannot write its state file: {error}"));
    }

    fn remember(&mut self, resource: Resource, object: &Object, is_new: bool) {
        if resource != Resource::Pods {
            return;
        }
        let past = self.past.entry(object.key.clone()).or_default();
        if is_new {
            past.created += 1;
            past.last_uid.clone_from(&object.uid);
            if past.first_uid.is_empty() {
                past.first_uid.clone_from(&object.uid);
            }
        }
        past.ever_ready |= object.ready;
    }

    fn publish(&mut self, resource: Resource, event: Event) {
        let version = self.version;
        let table = self.table_mut(resource);
        table.events.push_back(event);
        if table.events.len() > PAST_CHANGES
            && let Some(dropped) = table.events.pop_front()
        {
            table.dropped = dropped.object.version;
            table.compacted = table.compacted.max(table.dropped);
        }
        table.changed.send_replace(version);
    }

    fn table(&self, resource: Resource) -> &Table {
        &self.tables[resource as usize]
    }

    fn table_mut(&mut self, resource: Resource) -> &mut Table {
        &mut self.tables[resource as usize]
    }
}

impl Table {
    /// For every object changed after `version`: what it was then, if it was.
    fn undone_since(&self, version: u64) -> BTreeMap<Key, Option<Arc<Object>>> {
        let later = self.events.iter().rev().take_while(|event| event.object.version > version);
        later.map(|event| (event.object.key.clone(), event.previous.clone())).collect()
    }
}

fn raw(object: &Object) -> Option<Box<RawValue>> {
    let text = std::str::from_utf8(&object.json).ok()?;
    RawValue::from_string(text.to_owned()).ok()
}

fn known_resource(name: &str) -> io::Result<Resource> {
    Resource::from_plural(name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("unknown resource {name:?} in the state file"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn named(name: &str) -> Value {
        json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "n", "uid": name}})
    }

    fn put(store: &mut Store, name: &str) -> u64 {
        store.put(Resource::Pods, &mut named(name)).version
    }

    fn shown(store: &Store, version: Option<u64>) -> Result<Vec<String>, Compacted> {
        let page = store.page(Resource::Pods, &Filter::default(), version, None, usize::MAX);
        Ok(page?.0.iter().map(|object| object.key.name.clone()).collect())
    }

    #[test]
    fn an_older_state_is_the_present_with_later_changes_undone() {
        let mut store = Store::in_memory();
        put(&mut store, "a");
        let then = put(&mut store, "b");
        put(&mut store, "b");
        put(&mut store, "c");
        store.remove(Resource::Pods, &Key::new("n", "a"), None);
        put(&mut store, "a");
        store.remove(Resource::Pods, &Key::new("n", "b"), None);
        assert_eq!(shown(&store, Some(then)), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(shown(&store, None), Ok(vec!["a".to_owned(), "c".to_owned()]));
    }

    #[test]
    fn versions_are_shared_by_all_resources() {
        let mut store = Store::in_memory();
        let first = put(&mut store, "a");
        let node = json!({"kind": "Node", "metadata": {"name": "node"}});
        assert_eq!(store.put(Resource::Nodes, &mut node.clone()).version, first + 1);
        assert_eq!(put(&mut store, "b"), first + 2);
    }

    #[test]
    fn the_past_is_bounded_and_what_fell_off_is_compacted() {
        let mut store = Store::in_memory();
        let first = put(&mut store, "a");
        for _ in 0..PAST_CHANGES {
            put(&mut store, "a");
        }
        let oldest = store.oldest_version(Resource::Pods);
        assert_eq!(oldest, first);
        assert_eq!(store.since(Resource::Pods, oldest).map(Iterator::count), Ok(PAST_CHANGES));
        put(&mut store, "a");
        assert!(store.since(Resource::Pods, oldest).is_err());
        assert_eq!(shown(&store, Some(oldest)), Err(Compacted));
    }

    #[test]
    fn an_announced_deletion_has_a_version_of_its_own() {
        let mut store = Store::in_memory();
        let created = put(&mut store, "a");
        let gone = store.remove(Resource::Pods, &Key::new("n", "a"), None).expect("it was there");
        assert_eq!(gone.version, created + 1);
        assert_eq!(gone.value()["metadata"]["resourceVersion"], gone.version.to_string());
    }

    #[test]
    fn a_name_remembers_how_often_it_was_used() {
        let mut store = Store::in_memory();
        let key = Key::new("n", "a");
        for _ in 0..3 {
            put(&mut store, "a");
            put(&mut store, "a");
            store.remove(Resource::Pods, &key, None);
        }
        assert_eq!(store.times_created(&key), 3);
    }
}
