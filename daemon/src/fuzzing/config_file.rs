//! The configuration file.

use std::{fs, path::Path};

use super::{Taken, assert_tells};
use crate::config::{Config, ConfigError, ConfigFlags, Origin, Surroundings};

/// Reads the bytes as a configuration file, and what `check-config` shows of it once more.
#[must_use]
pub fn config_file(data: &[u8]) -> Taken {
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("hfd.toml");
    match load(&path, data) {
        Ok(config) => {
            let shown = from_file(&config);
            let again = load(&path, as_file(&shown).as_bytes());
            let again = again.unwrap_or_else(|error| panic!("what is shown is refused: {error}\nof {shown:?}"));
            assert_eq!(from_file(&again), shown);
            Taken::Accepted
        }
        Err(error) => {
            assert!(!error.problems().is_empty(), "refused without a problem");
            for problem in error.problems() {
                // A line of the file, the marks below it and a sentence.
                assert_tells(&problem.to_string(), 4 * data.len() + 1000);
                assert_tells(problem.message(), 3 * data.len() + 500);
            }
            Taken::Refused
        }
    }
}

fn load(path: &Path, text: &[u8]) -> Result<Config, ConfigError> {
    fs::write(path, text).expect("a file");
    let flags = ConfigFlags { config: Some(path.to_owned()), ..ConfigFlags::default() };
    Config::load(&flags, &Surroundings::default())
}

fn from_file(config: &Config) -> Vec<(&'static str, String)> {
    let set = config.entries().filter(|entry| matches!(entry.origin, Origin::File { .. }));
    set.map(|entry| (entry.key, entry.value)).collect()
}

/// The same keys and values as a file: sections are written as dotted keys.
fn as_file(entries: &[(&'static str, String)]) -> String {
    entries.iter().map(|(key, value)| format!("{key} = {value}\n")).collect()
}
