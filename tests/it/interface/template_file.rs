//! `interface.md`, "getAvailableTemplates": the template file, the manifests it names, and their reloading.

use std::{collections::BTreeMap, fs, time::Duration};

use serde_json::{Value, json};
use tests::{Template, Verb, World, eventually, holds_for, template};

const SOON: Duration = Duration::from_secs(20);

fn told_ids(world: &World) -> Vec<String> {
    let reply = world.call(Verb::GetAvailableTemplates, &json!({}));
    let templates = reply.json["templates"].as_array().cloned().unwrap_or_default();
    templates.iter().map(|template| template["templateId"].as_str().unwrap_or_default().to_owned()).collect()
}

/// interface.md: podSpec absolute or relative to the template file, YAML or JSON; podSpecYaml is a bare PodSpec.
#[test]
fn manifests_are_found_by_absolute_and_relative_path_in_yaml_and_json() {
    let world = World::start();
    let elsewhere = world.dir().join("elsewhere");
    fs::create_dir_all(elsewhere.join("deep")).expect("the test's directory can be written");
    let yaml = "apiVersion: v1\nkind: Pod\nmetadata:\n  labels: {kind: yaml}\nspec:\n  containers:\n  - name: main\n    \
                image: registry.example/worker:1\n";
    let bare = "containers:\n- name: main\n  image: registry.example/bare:1\n";
    fs::write(elsewhere.join("absolute.yaml"), yaml).expect("written");
    fs::write(elsewhere.join("deep/bare.yaml"), bare).expect("written");
    let absolute = elsewhere.join("absolute.yaml");
    world.write_templates(&[
        Template::new("json-relative"),
        Template::new("yaml-absolute").field("podSpec", json!(absolute)),
        Template::new("yaml-relative").field("podSpec", json!("elsewhere/absolute.yaml")),
        // `podSpec` is what the helper adds by itself: an entry of its own is written below for the bare one.
    ]);
    let mut file: Value =
        serde_json::from_slice(&fs::read(&world.template_file).expect("written above")).expect("JSON");
    file["templates"].as_array_mut().expect("a list").push(json!({
        "templateId": "bare", "maxNumber": 5, "attributes": {"type": "X86_64", "nram": ["Numeric", "512"]},
        "podSpecYaml": "elsewhere/deep/bare.yaml",
    }));
    template::replace(&world.template_file, file.to_string().as_bytes());
    eventually("all four are told", SOON, || (told_ids(&world).len() == 4).then_some(()));
    for id in ["json-relative", "yaml-absolute", "yaml-relative", "bare"] {
        let machines = world.bring_up(id, 1);
        let pod = world.cluster.pod(&machines[0].name).expect("it is ready");
        let image = if id == "bare" { "registry.example/bare:1" } else { "registry.example/worker:1" };
        assert_eq!(pod["spec"]["containers"][0]["image"], image, "{id}");
    }
}

/// interface.md: the file and the manifests are reloaded by themselves; new content counts for new requests at once.
#[test]
fn a_changed_file_and_a_changed_manifest_count_for_new_requests() {
    let world = World::start();
    let image = |world: &World, template: &str| {
        let machines = world.bring_up(template, 1);
        let pod = world.cluster.pod(&machines[0].name).expect("it is ready");
        pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(image(&world, "small"), "registry.example/worker:1");
    world.write_templates(&[
        Template::new("small").pod("/spec/containers/0/image", json!("registry.example/worker:2")),
        Template::new("second"),
    ]);
    eventually("the new template is told", SOON, || (told_ids(&world) == ["small", "second"]).then_some(()));
    eventually("the new manifest counts", SOON, || {
        (image(&world, "small") == "registry.example/worker:2").then_some(())
    });
    // Only the manifest is rewritten now.
    let manifest = Template::new("small").pod("/spec/containers/0/image", json!("registry.example/worker:3"));
    template::replace(&world.dir().join("pod-small.json"), manifest.manifest().to_string().as_bytes());
    eventually("the third manifest counts", SOON, || {
        (image(&world, "small") == "registry.example/worker:3").then_some(())
    });
}

/// interface.md: a broken new file, entry or manifest never replaces the last good version, and is reported.
#[test]
fn a_broken_file_entry_or_manifest_never_replaces_the_last_good_one() {
    let world = World::build().template(Template::new("first").max(4)).template(Template::new("second").max(5)).start();
    let good = world.templates();

    template::replace(&world.template_file, b"{\"templates\": [");
    world.wait_status_says(&["templates.json"]);
    assert_eq!(world.templates(), good, "after a broken file");
    world.bring_up("first", 1);

    world.write_templates(&[Template::new("first").field("maxNumber", json!("many")), Template::new("second").max(6)]);
    eventually("the good entry is new, the broken one as it was", SOON, || {
        let told = world.templates();
        (told.len() == 2 && told[1]["maxNumber"] == 6 && told[0] == good[0]).then_some(())
    });
    world.wait_status_says(&["first"]);
    world.bring_up("first", 1);

    world.write_templates(&[Template::new("first").max(4), Template::new("second").max(7)]);
    eventually("all is well again", SOON, || (world.templates()[1]["maxNumber"] == 7).then_some(()));
    template::replace(&world.dir().join("pod-first.json"), b"{\"spec\": 5");
    world.wait_status_says(&["pod-first.json"]);
    assert_eq!(told_ids(&world), ["first", "second"]);
    world.bring_up("first", 1);
}

/// interface.md: a file that disappears is a broken file, too.
#[test]
fn a_template_file_that_disappears_leaves_the_last_good_set() {
    let world = World::start();
    fs::remove_file(&world.template_file).expect("it is ours");
    world.wait_status_says(&["templates.json"]);
    holds_for("the template stays", Duration::from_millis(300), || told_ids(&world) == ["small"]);
    world.bring_up("small", 1);
}

/// interface.md: `status` warns when a template was removed or its maxNumber lowered since HostFactory last read them.
#[test]
fn status_warns_when_hostfactory_does_not_know_of_a_removal_or_a_lower_limit() {
    let world = World::build().template(Template::new("kept").max(9)).template(Template::new("dropped").max(9)).start();
    world.templates();
    world.write_templates(&[Template::new("kept").max(8)]);
    world.wait_status_says(&["dropped", "kept", "maxNumber"]);
    eventually("the warnings end when HostFactory has read the templates", SOON, || {
        world.templates();
        let said = world.daemon.status()?.to_string();
        (!said.contains("dropped")).then_some(())
    });
}

/// interface.md, requestReturnMachines: works whatever the template file now says.
#[test]
fn machines_of_a_removed_template_are_polled_and_returned() {
    let world = World::start();
    let machines = world.bring_up("small", 2);
    world.write_templates(&[Template::new("other")]);
    eventually("only the other is told", SOON, || (told_ids(&world) == ["other"]).then_some(()));
    world.call(Verb::RequestMachines, &json!({"template": {"templateId": "small", "machineCount": 1}})).refused();
    let ret = world.give_back(&tests::names(&machines));
    assert_eq!(world.wait_end(&ret).status, "complete");
    world.wait_no_pods();
}

/// interface.md: `<instance>prov_templates.json` by IBM's convention, else `k8sprov_templates.json` of existing
/// installations, in the provider's configuration directory; operators.md: HF_K8S_PROVIDER_CONFDIR is accepted.
#[test]
fn the_template_file_of_an_existing_installation_is_found() {
    let mut world = World::start();
    let conf = world.dir().join("conf");
    let start = |world: &mut World| {
        let spec = world.daemon.spec();
        spec.template_file = None;
        spec.env = BTreeMap::from([("HF_K8S_PROVIDER_CONFDIR".to_owned(), conf.display().to_string())]);
        world.crash();
    };
    template::write_file(&conf.join("k8sprov_templates.json"), &[Template::new("existing")]);
    start(&mut world);
    assert_eq!(told_ids(&world), ["existing"]);
    template::write_file(&conf.join("k8s-hfprov_templates.json"), &[Template::new("own")]);
    start(&mut world);
    assert_eq!(told_ids(&world), ["own"]);
}

/// Templates: one broken template is reported; the good ones work.
#[test]
fn one_broken_template_at_start_leaves_the_good_ones() {
    let world = World::build()
        .template(Template::new("good"))
        .template(Template::new("lost").field("podSpec", json!("not-there.yaml")))
        .template(Template::new("blind").field("maxNumber", json!("x")))
        .start();
    assert_eq!(told_ids(&world), ["good"]);
    world.wait_status_says(&["lost", "not-there.yaml"]);
    world.wait_status_says(&["blind"]);
    world.bring_up("good", 1);
}
