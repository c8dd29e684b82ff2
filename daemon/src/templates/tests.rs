#![allow(clippy::unwrap_used, reason = "a test that can't set up its files has failed")]

use std::{fs, path::Path};

use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use super::*;

const POD: &str = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - {name: main, image: one}\n";

/// A provider's conf directory.
struct Conf(TempDir);

impl Conf {
    fn new() -> Self {
        let conf = Self(tempfile::tempdir().unwrap());
        conf.write("pod.yaml", POD);
        conf
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        // As an editor does: a new file takes the old one's name.
        let draft = self.path("draft");
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }

    fn templates(&self, entries: &[Value]) {
        self.write("k8sprov_templates.json", &json!({ "templates": entries }).to_string());
    }

    fn source(&self) -> Source {
        let candidates = vec![self.path("eastprov_templates.json"), self.path("k8sprov_templates.json")];
        Source { candidates, allow_host_network: false }
    }

    fn load(&self, previous: Option<&TemplateSet>) -> TemplateSet {
        load(&self.source(), previous, 1)
    }
}

fn entry(id: &str) -> Value {
    let attributes = json!({"type": ["String", "X86_64"], "ncpus": ["2"], "nram": 1024});
    json!({"templateId": id, "maxNumber": 10, "attributes": attributes, "podSpec": "pod.yaml"})
}

fn with(id: &str, key: &str, value: Value) -> Value {
    let mut entry = entry(id);
    entry[key] = value;
    entry
}

fn ids(set: &TemplateSet) -> Vec<&str> {
    set.usable.iter().map(|template| template.id.as_str()).collect()
}

fn image(set: &TemplateSet, id: &str) -> Value {
    set.find(id).unwrap().manifest["spec"]["containers"][0]["image"].clone()
}

#[test]
fn a_template_file_of_an_existing_installation_runs_unchanged() {
    let conf = Conf::new();
    let manifest = conf.path("vanilla-spec.yml");
    fs::write(
        &manifest,
        "apiVersion: v1\nkind: Pod\nmetadata:\n  labels:\n    app.kubernetes.io/name: cmp\n  name: cmp-test\nspec:\n  \
         restartPolicy: Never\n  containers:\n    - name: hello\n      image: img\n      command: ['sh', '-c', 'sleep 3600']\n",
    )
    .unwrap();
    let attributes = json!({"nram": ["4096"], "ncpus": ["8"], "ncores": ["1"], "type": ["String", "X86_64"]});
    let entry = json!({"templateId": "Template-K8s-A", "maxNumber": 10, "attributes": attributes, "podSpec": manifest});
    conf.templates(&[entry]);

    let set = conf.load(None);
    assert_eq!(ids(&set), ["Template-K8s-A"]);
    assert_eq!(set.broken, []);
    let wire = json!([{"templateId": "Template-K8s-A", "maxNumber": 10, "attributes": {
        "nram": ["Numeric", "4096"], "ncpus": ["Numeric", "8"], "ncores": ["Numeric", "1"], "type": ["String", "X86_64"]}}]);
    assert_eq!(json!(set.available().unwrap()), wire);
}

#[test]
fn the_shipped_sample_is_usable_as_it_is() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/hostfactory/providers/k8s-hf/conf");
    let candidates = vec![shipped.join("k8sprov_templates.json")];
    let set = load(&Source { candidates, allow_host_network: false }, None, 1);
    assert_eq!(ids(&set), ["compute-small", "compute-large"]);
    assert_eq!(set.warnings().collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn what_hostfactory_is_given_is_the_entry_without_the_pod_specification() {
    let conf = Conf::new();
    let mut entry = with("a", "priceInfo", json!("price:0.1"));
    entry["vmTypes"] = json!({"small": 1});
    entry["availableNumber"] = json!(3);
    conf.templates(&[entry]);
    let wire = conf.load(None).available().unwrap().remove(0);
    assert_eq!(wire.keys().collect::<Vec<_>>(), ["templateId", "maxNumber", "attributes", "priceInfo", "vmTypes"]);
    assert_eq!(wire["vmTypes"], json!({"small": 1}));
}

#[test]
fn one_broken_template_leaves_the_good_ones_working_in_the_files_order() {
    let conf = Conf::new();
    conf.write("no-pod.yaml", "kind: Service\n");
    conf.templates(&[
        entry("c"),
        with("b", "podSpec", json!("missing.yaml")),
        json!({"maxNumber": 1}),
        with("x y", "maxNumber", json!(1)),
        with("d", "maxNumber", json!("10")),
        with("e", "maxNumber", json!(-2)),
        with("f", "podSpec", json!("no-pod.yaml")),
        with("g", "attributes", json!({})),
        with("h", "readyDeadlineSeconds", json!(1)),
        with("i", "podSpecYaml", json!("pod.yaml")),
        with("j", "podSpec", json!("../..")),
        json!(5),
        entry("a"),
        entry("c"),
    ]);
    let set = conf.load(None);
    assert_eq!(ids(&set), ["c", "a"]);
    let broken: Vec<_> = set.broken.iter().map(|broken| broken.name.as_str()).collect();
    assert_eq!(broken, ["b", "entry 3", "entry 4", "d", "e", "f", "g", "h", "i", "j", "entry 12", "c"]);
    assert!(set.find("b").unwrap_err().contains("missing.yaml"));
    assert!(set.find("nobody").unwrap_err().contains("usable are: c, a"));
    assert!(set.find("c").is_ok(), "the first entry of a doubled id is used");
}

#[test]
fn a_templates_own_deadline_and_limit_are_read() {
    let conf = Conf::new();
    conf.templates(&[with("a", "readyDeadlineSeconds", json!(600)), with("b", "maxNumber", json!(-1))]);
    let set = conf.load(None);
    assert_eq!(set.find("a").unwrap().ready_deadline, Some(Duration::from_secs(600)));
    assert_eq!(set.find("a").unwrap().max_number.limit(), Some(10));
    assert_eq!(set.find("b").unwrap().max_number, MaxNumber::Unlimited);
}

#[test]
fn what_breaks_keeps_its_last_good_version_and_what_is_unlisted_goes() {
    let conf = Conf::new();
    conf.write("own.yaml", &POD.replace("one", "two"));
    conf.templates(&[with("a", "podSpec", json!("own.yaml")), entry("b"), entry("c")]);
    let first = conf.load(None);

    conf.write("own.yaml", "kind: [");
    conf.templates(&[with("a", "podSpec", json!("own.yaml")), with("c", "maxNumber", json!("x")), entry("d")]);
    let second = conf.load(Some(&first));
    assert_eq!(ids(&second), ["a", "c", "d"]);
    assert_eq!(image(&second, "a"), "two");
    assert_eq!(second.find("c").unwrap().max_number, MaxNumber::AtMost(10));
    assert_eq!(second.broken.iter().filter(|broken| broken.last_good_in_force).count(), 2);

    conf.write("k8sprov_templates.json", "{\"templates\": [");
    let third = conf.load(Some(&second));
    assert_eq!(ids(&third), ["a", "c", "d"]);
    assert!(third.error.as_deref().unwrap().contains("not JSON"));

    conf.write("own.yaml", &POD.replace("one", "three"));
    conf.templates(&[with("a", "podSpec", json!("own.yaml"))]);
    let fourth = conf.load(Some(&third));
    assert_eq!((ids(&fourth), image(&fourth, "a")), (vec!["a"], json!("three")));
    assert_eq!((fourth.broken.len(), fourth.error), (0, None));
}

#[test]
fn without_a_usable_template_there_is_a_reason_instead_of_an_empty_list() {
    let conf = Conf::new();
    let reason = || conf.load(None).available().unwrap_err();
    assert!(reason().contains("there is no template file"), "{}", reason());
    conf.templates(&[]);
    assert!(reason().contains("lists none"), "{}", reason());
    conf.templates(&[with("a", "maxNumber", json!(0))]);
    assert!(reason().contains("a: maxNumber is 0"), "{}", reason());
    conf.templates(&[with("a", "podSpec", json!(5))]);
    assert!(reason().contains("a: podSpec must be the path"), "{}", reason());
    conf.write("k8sprov_templates.json", "[]");
    assert!(reason().contains("no \"templates\""), "{}", reason());
}

#[test]
fn files_that_are_no_text_files_are_refused_without_waiting() {
    let conf = Conf::new();
    let path = conf.path("k8sprov_templates.json");
    fs::create_dir(&path).unwrap();
    assert!(conf.load(None).error.unwrap().contains("not a regular file"));
    fs::remove_dir(&path).unwrap();
    fs::write(&path, b"{\"templates\": \xff}").unwrap();
    assert!(conf.load(None).error.unwrap().contains("not UTF-8"));
    fs::write(&path, "[".repeat(100_000)).unwrap();
    assert!(conf.load(None).error.unwrap().contains("not JSON"));
    fs::write(&path, " ".repeat(20 << 20)).unwrap();
    assert!(conf.load(None).error.unwrap().contains("larger than 16 MiB"));
    fs::write(&path, format!("\u{feff}{}", json!({"templates": [entry("a")]}))).unwrap();
    assert_eq!(ids(&conf.load(None)), ["a"]);
}

#[test]
fn the_instances_own_file_comes_before_the_old_providers() {
    let conf = Conf::new();
    conf.templates(&[entry("old")]);
    assert_eq!(ids(&conf.load(None)), ["old"]);
    conf.write("eastprov_templates.json", &json!({"templates": entry("new")}).to_string());
    assert_eq!(ids(&conf.load(None)), ["new"], "and a single object is as good as an array");
}

#[test]
fn hostfactory_must_be_told_of_removed_templates_and_lowered_limits_only() {
    let conf = Conf::new();
    let limit = |id, limit: i64| with(id, "maxNumber", json!(limit));
    conf.templates(&[limit("a", 10), limit("b", -1), limit("c", 10), limit("d", 10)]);
    let mut told = Told::default();
    told.tell(&conf.load(None));
    conf.templates(&[limit("a", 5), limit("b", 100), limit("c", -1), limit("e", 1)]);
    let now = conf.load(None);
    let warnings = told.warnings(&now);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("template a was lowered from 10 to 5"));
    assert!(warnings[1].contains("template b was lowered from unlimited to 100"));
    assert!(warnings[2].contains("template d was removed"));
    told.tell(&now);
    assert_eq!(told.warnings(&now), Vec::<String>::new());
}

/// Runs the watcher on paused time: only its own looks let time pass.
async fn watched(conf: &Conf, mut steps: impl AsyncFnMut(&mut channel::Receiver<Arc<TemplateSet>>)) {
    let (sets_tx, mut sets_rx) = channel::channel(Arc::new(conf.load(None)));
    let stop = CancellationToken::new();
    let follow = watch::watch(conf.source(), sets_tx, stop.clone());
    let steps = async {
        steps(&mut sets_rx).await;
        stop.cancel();
    };
    tokio::join!(follow, steps);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_appears_or_changes_is_picked_up_by_itself() {
    let conf = Conf::new();
    watched(&conf, async |sets| {
        assert!(sets.borrow().usable.is_empty());
        conf.templates(&[entry("a")]);
        sets.changed().await.unwrap();
        assert_eq!(ids(&sets.borrow_and_update()), ["a"]);

        conf.write("pod.yaml", &POD.replace("one", "two"));
        sets.changed().await.unwrap();
        assert_eq!(image(&sets.borrow_and_update(), "a"), "two");

        conf.write("eastprov_templates.json", &json!({"templates": [entry("east")]}).to_string());
        sets.changed().await.unwrap();
        assert_eq!(ids(&sets.borrow_and_update()), ["east"]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_template_file_that_breaks_or_vanishes_leaves_the_last_good_set_until_it_is_mended() {
    let conf = Conf::new();
    conf.templates(&[entry("a")]);
    watched(&conf, async |sets| {
        for broken in ["", "{\"templates\": [{\"templateId\": \"a"] {
            conf.write("k8sprov_templates.json", broken);
            sets.changed().await.unwrap();
            assert_eq!(ids(&sets.borrow_and_update()), ["a"]);
            assert!(sets.borrow().error.is_some());
        }
        fs::remove_file(conf.path("k8sprov_templates.json")).unwrap();
        sets.changed().await.unwrap();
        assert!(sets.borrow_and_update().error.as_deref().unwrap().contains("there is no template file"));

        conf.templates(&[entry("b")]);
        sets.changed().await.unwrap();
        let set = Arc::clone(&sets.borrow_and_update());
        assert_eq!((ids(&set), set.error.as_deref()), (vec!["b"], None));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_manifest_that_was_missing_is_read_when_it_appears() {
    let conf = Conf::new();
    conf.templates(&[with("a", "podSpec", json!("later.yaml"))]);
    watched(&conf, async |sets| {
        assert!(sets.borrow().find("a").is_err());
        conf.write("later.yaml", POD);
        sets.changed().await.unwrap();
        assert!(sets.borrow_and_update().find("a").is_ok());
        assert!(Path::new(&sets.borrow().find("a").unwrap().source).ends_with("later.yaml"));
    })
    .await;
}
