#![allow(clippy::unwrap_used, reason = "a test that can't set up its files has failed")]

use std::{ffi::OsString, fs, time::Duration};

use super::*;

/// A user's surroundings with these variables and nothing else.
fn user(variables: &[(&str, &str)]) -> Surroundings {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    Surroundings { variables, is_root: false }
}

fn root(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings { is_root: true, ..user(variables) }
}

struct File {
    _directory: tempfile::TempDir,
    flags: ConfigFlags,
}

fn file(text: &str) -> File {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hfd.toml");
    fs::write(&path, text).unwrap();
    File { _directory: directory, flags: ConfigFlags { config: Some(path), ..ConfigFlags::default() } }
}

fn load(text: &str) -> Result<Config, ConfigError> {
    Config::load(&file(text).flags, &root(&[]))
}

fn report(text: &str) -> String {
    load(text).expect_err("a wrong configuration").to_string()
}

#[test]
fn an_empty_configuration_is_complete() {
    let config = Config::load(&ConfigFlags::default(), &root(&[("HF_PROVIDER_CONFDIR", "/hf/conf")])).unwrap();
    assert_eq!(config.instance, "k8s-hf");
    assert_eq!(config.socket, Path::new("/run/hfd/k8s-hf.sock"));
    assert_eq!(config.state_dir, Path::new("/var/lib/hfd/k8s-hf"));
    assert_eq!(
        config.template_files(),
        ["/hf/conf/k8s-hfprov_templates.json", "/hf/conf/k8sprov_templates.json"].map(PathBuf::from)
    );
    assert_eq!(config.limits.max_machine_count, 10_000);
    assert_eq!(config.machines.ready_deadline, Duration::from_secs(300));
    assert!(config.warnings.is_empty());
}

#[test]
fn a_user_gets_places_of_the_users_own() {
    let surroundings = user(&[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/7"), ("HF_PROVIDER_NAME", "east")]);
    let config = Config::load(&ConfigFlags::default(), &surroundings).unwrap();
    assert_eq!(config.socket, Path::new("/run/user/7/hfd/east.sock"));
    assert_eq!(config.state_dir, Path::new("/home/u/.local/state/hfd/east"));
    assert_eq!(config.confdir, Path::new("/home/u/.config/hfd"));
    assert_eq!(config.origin("instance"), Origin::Inherited("HF_PROVIDER_NAME"));
}

#[test]
fn the_variables_of_existing_installations_and_of_systemd_are_understood() {
    let old = [("HF_K8S_WORKDIR", "/old"), ("HF_K8S_PROVIDER_CONFDIR", "/conf"), ("HF_PROVIDER_CONFDIR", "/other")];
    let config = Config::load(&ConfigFlags::default(), &user(&old)).unwrap();
    assert_eq!(config.state_dir, Path::new("/old/hfd/k8s-hf"));
    assert_eq!(config.confdir, Path::new("/conf"));

    let unit = [("STATE_DIRECTORY", "/var/lib/hfd:/x"), ("HF_K8S_WORKDIR", "/old"), ("HF_CONFDIR", "/hf")];
    let config = Config::load(&ConfigFlags::default(), &user(&unit)).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/hfd/k8s-hf"));
    assert_eq!(config.confdir, Path::new("/hf/providers/k8s-hf/conf"));
}

#[test]
fn a_flag_beats_set_beats_the_environment_beats_the_file_beats_the_default() {
    let mut file = file("[kube]\nconcurrency = 10\nnamespace = \"a\"\npage_size = 100\ncall_timeout = \"7s\"\n");
    file.flags.set = vec!["kube.concurrency=30".to_owned(), "kube.namespace=c".to_owned()];
    file.flags.namespace = Some("d".to_owned());
    let surroundings =
        root(&[("HFD_KUBE__CONCURRENCY", "20"), ("HFD_KUBE__NAMESPACE", "b"), ("HFD_KUBE__PAGE_SIZE", "200")]);
    let config = Config::load(&file.flags, &surroundings).unwrap();
    assert_eq!(config.kube.namespace.as_deref(), Some("d"));
    assert_eq!(config.kube.concurrency, 30);
    assert_eq!(config.kube.page_size, 200);
    assert_eq!(config.kube.call_timeout, Duration::from_secs(7));

    let origin = |key| config.origin(key).to_string();
    assert_eq!(origin("kube.namespace"), "flag --namespace");
    assert_eq!(origin("kube.concurrency"), "flag --set");
    assert_eq!(origin("kube.page_size"), "environment HFD_KUBE__PAGE_SIZE");
    assert!(origin("kube.call_timeout").ends_with("hfd.toml:5"), "{}", origin("kube.call_timeout"));
    assert_eq!(origin("kube.watch_timeout"), "default");
}

#[test]
fn every_problem_is_told_at_once_with_its_line_its_span_and_what_was_meant() {
    let text =
        "instance = \"a/b\"\n\n[kube]\nconcurency = 64\npage_size = \"many\"\n\n[machines]\nready_deadline = 300\n";
    let error = load(text).expect_err("four problems");
    assert_eq!(error.problems().len(), 4, "{error}");
    let report = error.to_string();
    assert!(report.starts_with("4 problems in the configuration\n"), "{report}");
    for line in [
        "hfd.toml:1:12: instance: \"a/b\" can't name an instance",
        "hfd.toml:4:1: there is no key kube.concurency",
        "    4 | concurency = 64\n      | ^^^^^^^^^^\n    did you mean kube.concurrency?",
        "hfd.toml:5:13: kube.page_size: wants a whole number, not the string \"many\"",
        "    5 | page_size = \"many\"\n      |             ^^^^^^",
        "hfd.toml:8:18: machines.ready_deadline: wants a duration with its unit, such as \"300s\"",
    ] {
        assert!(report.contains(line), "{line}\n--- not in ---\n{report}");
    }
}

#[test]
fn broken_syntax_does_not_hide_the_other_problems() {
    let report = report("[kube]\nconcurrency = \nnamespace = 5\n[limits\nmax_connections = 1\n");
    assert!(report.contains("hfd.toml:2:"), "{report}");
    assert!(report.contains("kube.namespace: wants a string, not the integer 5"), "{report}");
    assert!(report.contains("hfd.toml:4:"), "{report}");
}

#[test]
fn a_section_is_not_a_key_and_a_key_is_not_a_section() {
    assert!(report("kube = 5\n").contains("kube is a section"));
    assert!(report("[kub]\nconcurrency = 5\n").contains("did you mean the section [kube]?"));
    assert!(report("[socket]\npath = \"/x\"\n").contains("socket: wants a string, not a table"));
}

#[test]
fn values_out_of_bounds_are_refused_with_the_bounds() {
    assert!(report("[kube]\nconcurrency = 1\n").contains("1 is outside 2 to 500"));
    assert!(report("[limits]\nmax_machine_count = 0\n").contains("0 is outside 1 to 100000"));
    assert!(report("[machines]\nready_deadline = \"5s\"\n").contains("\"5s\" is outside \"10s\" to \"1d\""));
    assert!(report("[limits]\nmax_body = -1\n").contains("max_body: wants a size"));
    assert!(report("[reclaim]\nguard_fraction = 1.5\n").contains("1.5 is outside 0 to 1"));
    assert!(report("[log]\nfilter = \"hfd=loud\"\n").contains("log.filter"));
    assert!(report("[kube]\nnamespace = \"A b\"\n").contains("can't name a namespace"));
    let long = "x".repeat(120);
    assert!(report(&format!("socket = \"/{long}\"\n")).contains("has 121 bytes"));
}

#[test]
fn keys_that_contradict_one_another_are_refused() {
    assert!(
        report("[requests]\nnever_polled_cancel = \"5m\"\n").contains("is shorter than requests.never_polled_warn")
    );
    assert!(load("[requests]\nnever_polled_cancel = \"0s\"\n").is_ok());
}

#[test]
fn a_misspelt_variable_is_refused_and_a_foreign_one_only_warned_of() {
    let load = |name: &str| Config::load(&ConfigFlags::default(), &root(&[(name, "5")]));
    assert!(load("HFD_KUBE__CONCURENCY").unwrap_err().to_string().contains("did you mean HFD_KUBE__CONCURRENCY?"));
    assert!(load("HFD_STATEDIR").unwrap_err().to_string().contains("did you mean HFD_STATE_DIR?"));
    assert!(load("HFD_NO__SUCH_THING").is_err());
    assert_eq!(load("HFD_SOMETHING_ELSE").unwrap().warnings.len(), 1);
    assert_eq!(Config::load(&ConfigFlags::default(), &root(&[("HFD_LOG", "debug")])).unwrap().log.filter, "debug");
}

#[test]
fn a_named_file_that_is_missing_is_a_problem_and_an_unnamed_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let missing = ConfigFlags { config: Some(directory.path().join("no.toml")), ..ConfigFlags::default() };
    assert!(Config::load(&missing, &root(&[])).unwrap_err().to_string().contains("can't read"));

    let named = directory.path().to_str().unwrap();
    let surroundings = root(&[("CONFIGURATION_DIRECTORY", named), ("HF_PROVIDER_NAME", "east")]);
    assert!(Config::load(&ConfigFlags::default(), &surroundings).is_ok());
    fs::write(directory.path().join("east.toml"), "[kube]\nnamespace = \"grid\"\n").unwrap();
    let config = Config::load(&ConfigFlags::default(), &surroundings).unwrap();
    assert_eq!(config.kube.namespace.as_deref(), Some("grid"));
}

#[test]
fn all_keys_that_flags_and_surroundings_name_exist() {
    let some = || Some("x".to_owned());
    let path = || Some(PathBuf::from("/x"));
    let flags = ConfigFlags {
        config: None,
        instance: some(),
        socket: path(),
        state_dir: path(),
        kubeconfig: path(),
        context: some(),
        namespace: some(),
        template_file: path(),
        set: Vec::new(),
    };
    let surroundings = root(&[
        ("HF_PROVIDER_NAME", "a"),
        ("HF_PROVIDER_CONFDIR", "/a"),
        ("HF_K8S_PROVIDER_CONFDIR", "/a"),
        ("HF_K8S_LOG_FILE", "/a"),
    ]);
    let config = Config::load(&flags, &surroundings).unwrap();
    let from_flags = config.entries().filter(|entry| matches!(entry.origin, Origin::Flag(_))).count();
    assert_eq!(from_flags, 7);
    assert_eq!(config.template_files(), [PathBuf::from("/x")]);
}

#[test]
fn the_readme_lists_every_key_with_its_default_and_no_other() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("\n## ").find(|section| section.starts_with("Configuration")).unwrap();
    let listed: Vec<_> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let entries: Vec<_> = Config::unset().entries().collect();
    assert_eq!(listed.len(), entries.len(), "{listed:#?}");
    for (line, entry) in listed.iter().zip(entries) {
        let is_set = !entry.value.trim_matches('"').is_empty();
        let default = if is_set { format!("`{}` |", entry.value) } else { String::new() };
        assert!(line.starts_with(&format!("| `{}` | {default}", entry.key)), "{line}");
    }
}
