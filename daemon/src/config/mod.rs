//! Configuration: one TOML file, the environment and flags become one validated [`Config`].
//!
//! ```text
//! defaults < what HostFactory and systemd tell us < file < HFD_SECTION__KEY < --set < the other flags
//! ```
//!
//! Every problem of every layer is collected and told at once, each with its place and, where one is near, the name
//! that was probably meant ([`ConfigError`]). Every key remembers which layer it came from ([`Config::entries`]).
//!
//! Owns the names, kinds, bounds and defaults of all keys (the table in `keys.rs` is the only list of them). It must
//! never read the environment by itself (it is handed in as [`Surroundings`]), touch the network, or create anything
//! on disk.

mod file;
mod flags;
mod keys;
mod places;
mod report;
mod sections;
mod value;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

pub use self::{
    flags::ConfigFlags,
    places::Surroundings,
    report::{ConfigError, Problem},
    sections::{Journal, Kube, Limits, Log, LogFormat, Machines, Reclaim, Requests, Retention, Returns, Templates},
    value::{ByteSize, duration},
};

pub(crate) use self::keys::MIN_READY_DEADLINE;

use self::{
    keys::{KEYS, Key},
    report::Place,
    value::Raw,
};

/// Everything that can be configured, complete and checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the provider instance: label value, part of file names, HostFactory's `HF_PROVIDER_NAME`.
    pub instance: String,
    /// The Unix socket on which hfd answers, unless systemd hands one over.
    pub socket: PathBuf,
    /// Where the journal lives; one daemon per directory.
    pub state_dir: PathBuf,
    /// The provider's configuration directory, in which the template file is looked for.
    pub confdir: PathBuf,
    /// The template file, when it was named; see [`Config::template_files`].
    pub template_file: Option<PathBuf>,
    /// `[kube]`
    pub kube: Kube,
    /// `[limits]`
    pub limits: Limits,
    /// `[machines]`
    pub machines: Machines,
    /// `[returns]`
    pub returns: Returns,
    /// `[reclaim]`
    pub reclaim: Reclaim,
    /// `[requests]`
    pub requests: Requests,
    /// `[retention]`
    pub retention: Retention,
    /// `[journal]`
    pub journal: Journal,
    /// `[templates]`
    pub templates: Templates,
    /// `[log]`
    pub log: Log,
    /// What is odd but does no harm, such as an environment variable that looks like a key and is none.
    pub warnings: Vec<String>,
    origins: BTreeMap<&'static str, Origin>,
}

/// The layer that a key's value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in, or worked out from the instance and the user that runs hfd.
    Default,
    /// A variable that HostFactory, systemd or an existing installation sets.
    Inherited(&'static str),
    /// A line of the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A variable of ours.
    Variable(String),
    /// A command-line flag, as written in `--help`.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Inherited(name) => write!(f, "environment {name}"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One key as it stands, for `config show --origin` and `check-config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `section.key`, or the bare key of the top level.
    pub key: &'static str,
    /// The value in the spelling of the configuration file; empty when unset.
    pub value: String,
    /// Which layer won.
    pub origin: Origin,
    /// What the key means.
    pub doc: &'static str,
}

impl Config {
    /// Reads all layers.
    ///
    /// # Errors
    /// One [`ConfigError`] with every problem found: syntax, unknown keys, wrong values, contradictions.
    pub fn load(flags: &ConfigFlags, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let mut loader = Loader { config: Self::unset(), problems: Vec::new() };
        loader.inherit(surroundings);
        if let Some(path) = places::config_file(flags, surroundings) {
            loader.read_file(&path);
        }
        loader.read_variables(surroundings);
        loader.read_flags(flags);
        loader.finish(surroundings)
    }

    /// Every key with its value and origin, in the order of the documentation.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + '_ {
        KEYS.iter().map(|key| Entry {
            key: key.path,
            value: (key.show)(self),
            origin: self.origin(key.path),
            doc: key.doc,
        })
    }

    /// Which layer set `key`; the default for a key that nobody set.
    #[must_use]
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    /// Where the template file may be, the first existing one counts: the named one, else
    /// `<confdir>/<instance>prov_templates.json` (IBM's convention), else `<confdir>/k8sprov_templates.json`
    /// (existing installations).
    #[must_use]
    pub fn template_files(&self) -> Vec<PathBuf> {
        match &self.template_file {
            Some(path) => vec![path.clone()],
            None => vec![
                self.confdir.join(format!("{}prov_templates.json", self.instance)),
                self.confdir.join("k8sprov_templates.json"),
            ],
        }
    }

    fn unset() -> Self {
        Self {
            instance: places::DEFAULT_INSTANCE.to_owned(),
            socket: PathBuf::new(),
            state_dir: PathBuf::new(),
            confdir: PathBuf::new(),
            template_file: None,
            kube: Kube::default(),
            limits: Limits::default(),
            machines: Machines::default(),
            returns: Returns::default(),
            reclaim: Reclaim::default(),
            requests: Requests::default(),
            retention: Retention::default(),
            journal: Journal::default(),
            templates: Templates::default(),
            log: Log::default(),
            warnings: Vec::new(),
            origins: BTreeMap::new(),
        }
    }
}

/// A configuration in the making, and all that was wrong so far.
struct Loader {
    config: Config,
    problems: Vec<Problem>,
}

impl Loader {
    fn set(&mut self, key: &'static Key, raw: &Raw<'_>, origin: Origin, place: Place) {
        match (key.set)(&mut self.config, raw) {
            Ok(()) => {
                self.config.origins.insert(key.path, origin);
            }
            Err(wrong) => self.problems.push(Problem::new(place, format!("{}: {wrong}", key.path))),
        }
    }

    fn inherit(&mut self, surroundings: &Surroundings) {
        for (key, variable, value) in places::inherited(surroundings) {
            let place = Place::Variable(variable.to_owned());
            self.set(keys::named(key), &Raw::Untyped(&value), Origin::Inherited(variable), place);
        }
    }

    fn read_file(&mut self, path: &Path) {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let place = Place::Whole(path.to_owned());
                self.problems.push(Problem::new(place, format!("can't read the configuration file: {error}")));
                return;
            }
        };
        let (found, problems) = file::parse(path, &text);
        self.problems.extend(problems);
        for setting in found {
            let origin = Origin::File { path: path.to_owned(), line: setting.place.line };
            self.set(setting.key, &setting.raw, origin, Place::File(setting.place));
        }
    }

    fn read_variables(&mut self, surroundings: &Surroundings) {
        for (name, value) in surroundings.ours() {
            let place = Place::Variable(name.to_owned());
            let Some(value) = value.to_str() else {
                self.problems.push(Problem::new(place, "the value is not UTF-8".to_owned()));
                continue;
            };
            match keys::of_variable(name) {
                Ok(key) => self.set(key, &Raw::Untyped(value), Origin::Variable(name.to_owned()), place),
                Err(Some(near)) => {
                    let unknown = Problem::new(place, format!("{name} names no key"));
                    self.problems.push(unknown.with_help(format!("did you mean {near}?")));
                }
                Err(None) if name.contains("__") => {
                    self.problems.push(Problem::new(place, format!("{name} names no key")));
                }
                Err(None) => self.config.warnings.push(format!("environment variable {name} names no key: ignored")),
            }
        }
    }

    fn read_flags(&mut self, flags: &ConfigFlags) {
        for text in &flags.set {
            let place = Place::Flag(format!("--set {text}"));
            let Some((path, value)) = text.split_once('=') else {
                self.problems.push(Problem::new(place, format!("{text:?} is not section.key=value")));
                continue;
            };
            match keys::find(path) {
                Ok(key) => self.set(key, &Raw::Untyped(value), Origin::Flag("--set"), place),
                Err(near) => self.problems.push(keys::unknown(place, path, near)),
            }
        }
        for (key, flag, value) in flags.given() {
            let place = Place::Flag(flag.to_owned());
            match value {
                Some(value) => self.set(keys::named(key), &Raw::Untyped(value), Origin::Flag(flag), place),
                None => self.problems.push(Problem::new(place, "the value is not UTF-8".to_owned())),
            }
        }
    }

    fn finish(mut self, surroundings: &Surroundings) -> Result<Config, ConfigError> {
        places::fill(&mut self.config, surroundings);
        self.problems.extend(keys::contradictions(&self.config));
        if self.problems.is_empty() { Ok(self.config) } else { Err(ConfigError::new(self.problems)) }
    }
}

#[cfg(test)]
mod tests;
