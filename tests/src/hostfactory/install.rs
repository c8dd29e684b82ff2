//! HostFactory's own configuration as an administrator installed it: which provider is used, where its scripts and
//! directories are. Refuses what HostFactory would refuse, before anything runs.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, de::DeserializeOwned};

use super::{call::Verb, options::Options};

/// What a script finds when neither HostFactory nor `--env` says more.
const MINIMAL_PATH: &str = "/usr/bin:/bin";
/// The Symphony version that `HF_VERSION` tells.
const VERSION: &str = "7.3.2";

/// The provider that is used.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its instance name.
    pub name: String,
    /// Directory of the five scripts.
    pub scripts: PathBuf,
    /// Its configuration directory.
    pub confdir: PathBuf,
    /// Its work directory, where the input files are made.
    pub workdir: PathBuf,
    /// All of the scripts' environment.
    pub environment: BTreeMap<String, String>,
}

impl Provider {
    /// Path of a verb's script.
    pub fn script(&self, verb: Verb) -> PathBuf {
        self.scripts.join(format!("{}.sh", verb.name()))
    }
}

#[derive(Debug, Deserialize)]
struct Providers {
    providers: Vec<ProviderEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProviderEntry {
    name: String,
    #[serde(default)]
    enabled: i64,
    plugin: String,
    conf_path: String,
    work_path: String,
    log_path: String,
}

#[derive(Debug, Deserialize)]
struct Plugins {
    providerplugins: Vec<PluginEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PluginEntry {
    name: String,
    #[serde(default)]
    enabled: i64,
    script_path: String,
}

#[derive(Debug, Deserialize)]
struct Requestors {
    requestors: Vec<RequestorEntry>,
}

#[derive(Debug, Deserialize)]
struct RequestorEntry {
    #[serde(default)]
    enabled: i64,
    #[serde(default)]
    providers: Vec<String>,
}

/// The variables that HostFactory's configuration may use.
struct Variables {
    confdir: String,
    workdir: String,
    logdir: String,
}

impl Variables {
    fn expand(&self, text: &str) -> Result<PathBuf> {
        let expanded = text
            .replace("${HF_CONFDIR}", &self.confdir)
            .replace("${HF_WORKDIR}", &self.workdir)
            .replace("${HF_LOGDIR}", &self.logdir);
        if expanded.contains("${") {
            bail!("{text:?} uses a variable that HostFactory does not have here");
        }
        Ok(PathBuf::from(expanded))
    }
}

/// Reads the three files and checks what they name.
///
/// # Errors
/// When a file can't be read, names no usable provider, or names a directory or script that is not as it must be.
pub fn read(options: &Options, workdir: &Path) -> Result<Provider> {
    let confdir = fs::canonicalize(&options.confdir).with_context(|| format!("{}", options.confdir.display()))?;
    let logdir = options.logdir.clone().unwrap_or_else(|| workdir.join("log"));
    let variables = Variables { confdir: text(&confdir)?, workdir: text(workdir)?, logdir: text(&logdir)? };
    let providers: Providers = load(&confdir.join("providers/hostProviders.json"))?;
    let plugins: Plugins = load(&confdir.join("providerplugins/hostProviderPlugins.json"))?;
    let requestors: Requestors = load(&confdir.join("requestors/hostRequestors.json"))?;
    let entry = choose(&providers, &requestors, options.provider.as_deref())?;
    let plugin = plugins.providerplugins.iter().find(|plugin| plugin.name == entry.plugin);
    let plugin = plugin.with_context(|| format!("provider {}: there is no plug-in {:?}", entry.name, entry.plugin))?;
    if plugin.enabled != 1 {
        bail!("provider {}: its plug-in {:?} is not enabled", entry.name, entry.plugin);
    }
    let provider_conf = variables.expand(&entry.conf_path)?;
    if !provider_conf.is_dir() {
        bail!("provider {}: confPath {} is not a directory", entry.name, provider_conf.display());
    }
    let provider_work = variables.expand(&entry.work_path)?;
    let provider_log = variables.expand(&entry.log_path)?;
    for made in [&provider_work, &provider_log] {
        fs::create_dir_all(made).with_context(|| format!("{}", made.display()))?;
    }
    let mut environment = BTreeMap::from([
        ("PATH".to_owned(), MINIMAL_PATH.to_owned()),
        ("HF_PROVIDER_NAME".to_owned(), entry.name.clone()),
        ("HF_PROVIDER_CONFDIR".to_owned(), text(&provider_conf)?),
        ("HF_PROVIDER_WORKDIR".to_owned(), text(&provider_work)?),
        ("HF_PROVIDER_LOGDIR".to_owned(), text(&provider_log)?),
        ("HF_TOP".to_owned(), text(confdir.parent().unwrap_or(&confdir))?),
        ("HF_VERSION".to_owned(), VERSION.to_owned()),
        ("HF_CONFDIR".to_owned(), variables.confdir.clone()),
        ("HF_WORKDIR".to_owned(), variables.workdir.clone()),
        ("HF_LOGDIR".to_owned(), variables.logdir.clone()),
    ]);
    environment.extend(options.environment.iter().cloned());
    let provider = Provider {
        name: entry.name.clone(),
        scripts: variables.expand(&plugin.script_path)?,
        confdir: provider_conf,
        workdir: provider_work,
        environment,
    };
    check_scripts(&provider)?;
    Ok(provider)
}

fn choose<'a>(providers: &'a Providers, requestors: &Requestors, wanted: Option<&str>) -> Result<&'a ProviderEntry> {
    let named = |name: &str| {
        requestors.requestors.iter().any(|entry| entry.enabled == 1 && entry.providers.iter().any(|one| one == name))
    };
    if let Some(wanted) = wanted {
        let entry = providers.providers.iter().find(|entry| entry.name == wanted);
        let entry = entry.with_context(|| format!("hostProviders.json has no provider {wanted:?}"))?;
        if entry.enabled != 1 {
            bail!("provider {wanted:?} is not enabled");
        }
        if !named(wanted) {
            bail!("no enabled requestor names provider {wanted:?}: HostFactory would never use it");
        }
        return Ok(entry);
    }
    let usable: Vec<_> = providers.providers.iter().filter(|entry| entry.enabled == 1 && named(&entry.name)).collect();
    match usable.as_slice() {
        [only] => Ok(only),
        [] => bail!("no enabled requestor names an enabled provider"),
        several => {
            let names: Vec<_> = several.iter().map(|entry| entry.name.as_str()).collect();
            bail!("several providers are in use ({}): choose by --provider", names.join(", "))
        }
    }
}

fn check_scripts(provider: &Provider) -> Result<()> {
    for verb in Verb::ALL {
        let script = provider.script(verb);
        let about = fs::metadata(&script).with_context(|| format!("script {}", script.display()))?;
        let mode = about.permissions().mode() & 0o7777;
        if !about.is_file() || mode != 0o755 {
            bail!("script {} has mode {mode:04o}, must be a file of mode 0755", script.display());
        }
    }
    Ok(())
}

fn load<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let bytes = fs::read(file).with_context(|| format!("{}", file.display()))?;
    serde_json::from_slice(&bytes).with_context(|| format!("{}", file.display()))
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(providers: &str, requestors: &str) -> (Providers, Requestors) {
        let providers = serde_json::from_str(providers).expect("the test's providers are JSON");
        (providers, serde_json::from_str(requestors).expect("the test's requestors are JSON"))
    }

    fn provider(name: &str, enabled: i64) -> String {
        format!(r#"{{"name":"{name}","enabled":{enabled},"plugin":"p","confPath":"c","workPath":"w","logPath":"l"}}"#)
    }

    #[test]
    fn the_provider_that_an_enabled_requestor_names_is_taken() {
        let list = format!(r#"{{"providers":[{},{}]}}"#, provider("a", 1), provider("b", 1));
        let (providers, requestors) =
            files(&list, r#"{"requestors":[{"enabled":1,"providers":["b"]},{"enabled":0,"providers":["a"]}]}"#);
        assert_eq!(choose(&providers, &requestors, None).expect("b is usable").name, "b");
        assert!(choose(&providers, &requestors, Some("a")).is_err());
    }

    #[test]
    fn a_disabled_provider_is_refused_and_two_want_a_choice() {
        let requestor = r#"{"requestors":[{"enabled":1,"providers":["a","b"]}]}"#;
        let list = format!(r#"{{"providers":[{},{}]}}"#, provider("a", 0), provider("b", 0));
        let (providers, requestors) = files(&list, requestor);
        assert!(choose(&providers, &requestors, None).is_err());
        let list = format!(r#"{{"providers":[{},{}]}}"#, provider("a", 1), provider("b", 1));
        let (providers, requestors) = files(&list, requestor);
        let error = choose(&providers, &requestors, None).expect_err("two are usable");
        assert!(error.to_string().contains("--provider"));
    }

    #[test]
    fn an_unknown_variable_is_refused() {
        let variables = Variables { confdir: "/c".to_owned(), workdir: "/w".to_owned(), logdir: "/l".to_owned() };
        assert_eq!(variables.expand("${HF_CONFDIR}/x").expect("it is known"), PathBuf::from("/c/x"));
        assert!(variables.expand("${HF_OTHER}/x").is_err());
    }
}
