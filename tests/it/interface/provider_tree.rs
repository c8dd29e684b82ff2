//! `interface.md`, "Configuration files of HostFactory", and what an administrator installs.

use std::{fs, path::Path, process::Command, time::Duration};

use serde_json::Value;
use tests::{Input, Reply, Template, Verb, World, bins, process, template};

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// interface.md, Configuration files: the samples name one plug-in and one provider, and their paths exist in the tree.
#[test]
fn the_samples_name_the_plug_in_and_the_provider_and_their_directories_exist() {
    let root = bins::source_root().join("scripts/hostfactory");
    let plugins = read(&root.join("providerplugins/hostProviderPlugins.json"));
    assert_eq!(plugins["version"], 2);
    let plugin = &plugins["providerplugins"][0];
    assert_eq!((&plugin["name"], &plugin["enabled"]), (&Value::from("k8s-hf"), &Value::from(1)));
    let providers = read(&root.join("providers/hostProviders.json"));
    assert_eq!(providers["version"], 2);
    let provider = &providers["providers"][0];
    assert_eq!((&provider["name"], &provider["plugin"]), (&Value::from("k8s-hf"), &Value::from("k8s-hf")));
    for path in [&plugin["scriptPath"], &provider["confPath"]] {
        let path = path.as_str().expect("a path").replace("${HF_CONFDIR}", &root.display().to_string());
        assert!(Path::new(&path).is_dir(), "{path}");
    }
    for verb in Verb::ALL {
        assert!(verb.script().is_file(), "{}", verb.script().display());
    }
}

/// interface.md, Configuration files: every requestor sample lists our instance as its provider.
#[test]
fn the_requestor_samples_name_the_instance() {
    let root = bins::source_root().join("scripts/hostfactory/requestors");
    let text = fs::read_to_string(root.join("hostRequestors.json")).expect("the requestors' sample is there");
    let requestors: Value = serde_json::from_str(&text).expect("JSON");
    let list = requestors["requestors"].as_array().expect("a list of requestors");
    assert!(!list.is_empty());
    for requestor in list {
        let providers = requestor["providers"].as_array().expect("a list of providers");
        assert!(providers.iter().any(|name| name == "k8s-hf"), "{requestor}");
    }
}

/// Provider tree: the sample template and manifest work as they are.
#[test]
fn the_sample_template_brings_up_a_machine() {
    let mut world = World::start();
    let sample = bins::provider_dir().join("conf/k8sprov_templates.json");
    assert!(sample.is_file(), "{}", sample.display());
    world.daemon.spec().template_file = Some(sample);
    world.crash();
    let templates = world.templates();
    assert!(!templates.is_empty());
    for told in templates {
        let machines = world.bring_up(told["templateId"].as_str().expect("read strictly before"), 1);
        assert_eq!(machines.len(), 1);
    }
}

/// hfctl: the default socket is that of the provider instance named by HF_PROVIDER_NAME, in /run/hfd; for a
/// user's own daemon the same under $XDG_RUNTIME_DIR.
#[test]
fn without_a_socket_given_the_instances_default_socket_is_used() {
    let mut world = World::start();
    let runtime = world.dir().join("runtime");
    fs::create_dir_all(runtime.join("hfd")).expect("the test's directory can be written");
    world.daemon.spec().socket = runtime.join("hfd/k8s-hf.sock");
    world.crash();
    world.scripts.without("HFD_SOCKET");
    world.scripts.env("XDG_RUNTIME_DIR", &runtime.display().to_string());
    let call = |world: &World| {
        let command = world.scripts.command(Verb::GetAvailableTemplates, &serde_json::json!({}));
        let command = if rustix::process::geteuid().is_root() { with_run(&runtime, &command) } else { command };
        Reply::read(Verb::GetAvailableTemplates, &process::run(command, b"", Duration::from_secs(60)))
    };
    call(&world).ok();
    world.scripts.env("HF_PROVIDER_NAME", "another");
    let reply = call(&world);
    assert!(reply.refused().contains("another"), "the message names the socket: {}", reply.stdout);
}

/// The same command with `runtime/hfd` in the place of `/run/hfd`, for itself alone.
fn with_run(runtime: &Path, command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    let mount = "mount -t tmpfs none /run && mkdir /run/hfd && mount --bind \"$1\" /run/hfd && shift && exec \"$@\"";
    wrapped.args(["--mount", "sh", "-c", mount, "sh"]).arg(runtime.join("hfd"));
    wrapped.arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    wrapped
}

/// operators.md, Configuration: every key can also come from the environment; unknown keys are refused.
#[test]
fn configuration_comes_from_the_environment_too_and_unknown_keys_are_refused() {
    let mut world = World::start();
    world.daemon.spec().env.insert("HFD_LIMITS__MAX_MACHINE_COUNT".to_owned(), "3".to_owned());
    world.crash();
    let four = br#"{"template": {"templateId": "small", "machineCount": 4}}"#;
    assert!(world.scripts.call(Verb::RequestMachines, Input::File(four)).refused().contains('4'));
    world.daemon.terminate();
    world.daemon.spec().set("limits.max_machine_cout", "3");
    world.daemon.spec().set("kube.concurrency", "lots");
    let mut refused = process::Process::start(
        "hfd with a broken configuration",
        world.daemon.spec().command(),
        &world.dir().join("refused.log"),
    );
    let status = refused.ended(Duration::from_secs(20));
    assert_eq!(status.code(), Some(78), "{}", refused.log());
    let said = refused.log();
    assert!(said.contains("max_machine_cout") && said.contains("concurrency"), "both are reported at once: {said}");
    assert!(said.contains("max_machine_count"), "the right key is suggested: {said}");
}

/// interface.md, Configuration files: several provider instances share one plug-in, one `hfd` each, one namespace even.
#[test]
fn two_instances_in_one_namespace_never_touch_each_others_pods() {
    let world = World::start();
    let dir = world.dir().join("second");
    fs::create_dir_all(&dir).expect("the test's directory can be written");
    let file = dir.join("templates.json");
    template::write_file(&file, &[Template::new("small")]);
    let mut spec = tests::DaemonSpec::of(&dir, &world.cluster, &file);
    spec.instance = "k8s-hf2".to_owned();
    let second = tests::Daemon::start(spec);
    let machines = world.bring_up("small", 2);
    let mut scripts = tests::Scripts::new(&dir, second.socket());
    scripts.env("HF_PROVIDER_NAME", "k8s-hf2");
    tests::eventually("the second one accepts", Duration::from_secs(30), || {
        let one = br#"{"template": {"templateId": "small", "machineCount": 1}}"#;
        (scripts.call(Verb::RequestMachines, Input::File(one)).code == 0).then_some(())
    });
    tests::eventually("three pods are there", Duration::from_secs(30), || {
        (world.cluster.managed().len() == 3).then_some(())
    });
    let ret = world.give_back(&tests::names(&machines));
    assert_eq!(world.wait_end(&ret).status, "complete");
    assert_eq!(world.cluster.managed().len(), 1);
    let status = second.status().expect("it answers").to_string().to_lowercase();
    assert!(!status.contains("orphan\":1"), "{status}");
}
