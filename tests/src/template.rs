//! Template files and pod manifests as a site would write them.

use std::{fs, path::Path};

use serde_json::{Map, Value, json};

/// One entry of a template file, with the manifest it names.
#[derive(Debug, Clone)]
pub struct Template {
    id: String,
    fields: Map<String, Value>,
    pod: Value,
}

impl Template {
    /// A template without limit, of one small container that starts at once.
    pub fn new(id: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("templateId".to_owned(), json!(id));
        fields.insert("maxNumber".to_owned(), json!(-1));
        fields.insert(
            "attributes".to_owned(),
            json!({
                "type": ["String", "X86_64"],
                "ncpus": ["Numeric", "1"],
                "ncores": ["Numeric", "1"],
                "nram": ["Numeric", "1024"],
            }),
        );
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"annotations": {}, "labels": {"app": "worker"}},
            "spec": {
                "terminationGracePeriodSeconds": 30,
                "containers": [{
                    "name": "main",
                    "image": "registry.example/worker:1",
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
                }],
            },
        });
        Self { id: id.to_owned(), fields, pod }
    }

    /// Sets `maxNumber`.
    #[must_use]
    pub fn max(self, number: i64) -> Self {
        self.field("maxNumber", json!(number))
    }

    /// Sets a field of the template entry; `null` removes it.
    #[must_use]
    pub fn field(mut self, key: &str, value: Value) -> Self {
        if value.is_null() {
            self.fields.remove(key);
        } else {
            self.fields.insert(key.to_owned(), value);
        }
        self
    }

    /// Chooses the fate of its pods, which the sandbox and the testbed's KWOK both read. A container that exits is not
    /// restarted; a real scheduler needs a reason not to find a node.
    #[must_use]
    pub fn fate(self, fate: &str) -> Self {
        let exits = fate.starts_with("exit-") || fate == "oom";
        let template = self.annotate("sandbox.hfd/fate", fate);
        match fate {
            _ if exits => template.pod("/spec/restartPolicy", json!("Never")),
            "never-scheduled" => template.pod("/spec/nodeSelector", json!({"hfd.test/nowhere": "true"})),
            _ => template,
        }
    }

    /// Sets an annotation of the manifest.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.pod["metadata"]["annotations"][key] = json!(value);
        self
    }

    /// Sets a value of the manifest by JSON pointer; the last step may be new.
    ///
    /// # Panics
    /// When the path up to the last step does not exist.
    #[must_use]
    pub fn pod(mut self, pointer: &str, value: Value) -> Self {
        let (parent, last) = pointer.rsplit_once('/').expect("a JSON pointer starts with a slash");
        let parent = self.pod.pointer_mut(parent).expect("the manifest has the pointer's parent");
        parent[last] = value;
        self
    }

    /// The template's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The manifest.
    pub fn manifest(&self) -> &Value {
        &self.pod
    }

    /// The entry as the template file has it, naming its manifest.
    pub fn entry(&self, pod_spec: &str) -> Value {
        let mut entry = self.fields.clone();
        entry.entry("podSpec".to_owned()).or_insert_with(|| json!(pod_spec));
        Value::Object(entry)
    }

    fn manifest_file(&self) -> String {
        let safe: String = self.id.chars().filter(char::is_ascii_alphanumeric).take(40).collect();
        format!("pod-{safe}.json")
    }
}

/// Writes a template file and its manifests beside it, each replaced as a whole.
///
/// # Panics
/// When the directory can't be written.
pub fn write_file(file: &Path, templates: &[Template]) {
    let dir = file.parent().expect("a template file lies in a directory");
    let entries: Vec<Value> = templates
        .iter()
        .map(|template| {
            let name = template.manifest_file();
            replace(&dir.join(&name), template.manifest().to_string().as_bytes());
            template.entry(&name)
        })
        .collect();
    replace(file, json!({ "templates": entries }).to_string().as_bytes());
}

/// Replaces a file in one step, as careful editors and configuration managers do.
///
/// # Panics
/// When the directory can't be written.
pub fn replace(file: &Path, content: &[u8]) {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    fs::write(&beside, content).expect("the directory can be written");
    fs::rename(&beside, file).expect("a file can be renamed in its directory");
}
