//! The provider tree that the binary carries: `scripts/hostfactory` of the source, for a sandbox without the source.
//!
//! Scripts are always written as they are here. What a person may have edited in a kept sandbox, all else, is written
//! only where it is missing.

use std::path::Path;

use super::{
    error::SandboxError,
    places::{make_dir, write as write_file},
};

/// The sample template file's name in the provider's configuration directory.
pub(super) const TEMPLATES: &str = "k8sprov_templates.json";

/// Path below `$HF_CONFDIR` and content of each file.
macro_rules! embedded {
    ($($path:literal),* $(,)?) => {
        [$(($path, include_str!(concat!("../../../scripts/hostfactory/", $path)))),*]
    };
}

const FILES: [(&str, &str); 11] = embedded![
    "providerplugins/hostProviderPlugins.json",
    "providers/hostProviders.json",
    "providers/k8s-hf/conf/compute-large.yaml",
    "providers/k8s-hf/conf/compute-small.yaml",
    "providers/k8s-hf/conf/k8sprov_templates.json",
    "providers/k8s-hf/scripts/getAvailableTemplates.sh",
    "providers/k8s-hf/scripts/getRequestStatus.sh",
    "providers/k8s-hf/scripts/getReturnRequests.sh",
    "providers/k8s-hf/scripts/requestMachines.sh",
    "providers/k8s-hf/scripts/requestReturnMachines.sh",
    "requestors/hostRequestors.json",
];

/// Writes the tree below `root`.
pub(super) fn write(root: &Path) -> Result<(), SandboxError> {
    for (path, content) in FILES {
        let file = root.join(path);
        if let Some(dir) = file.parent() {
            make_dir(dir)?;
        }
        if is_script(path) {
            write_file(&file, content.as_bytes(), 0o755)?;
        } else if !file.exists() {
            write_file(&file, content.as_bytes(), 0o644)?;
        }
    }
    Ok(())
}

fn is_script(path: &str) -> bool {
    path.ends_with(".sh")
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

    use super::*;

    fn source() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/hostfactory")
    }

    fn files_below(dir: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("the directory can be read");
        let mut files: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn the_binary_carries_every_file_of_the_provider_tree_and_no_other() {
        let source = source();
        let there: Vec<_> =
            files_below(&source).iter().map(|file| file.strip_prefix(&source).expect("below").to_owned()).collect();
        let carried: Vec<_> = FILES.iter().map(|(path, _)| PathBuf::from(path)).collect();
        assert_eq!(carried, there);
    }

    #[test]
    fn what_is_written_equals_the_source_and_scripts_can_be_executed() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path()).expect("written");
        for (path, _) in FILES {
            let written = dir.path().join(path);
            assert_eq!(fs::read(&written).ok(), fs::read(source().join(path)).ok(), "{path}");
            let mode = written.metadata().expect("it is there").permissions().mode() & 0o777;
            assert_eq!(mode, if is_script(path) { 0o755 } else { 0o644 }, "{path}");
        }
    }

    #[test]
    fn an_edited_template_file_stays_and_an_edited_script_does_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        write(dir.path()).expect("written");
        let (templates, script) = (dir.path().join(FILES[4].0), dir.path().join(FILES[5].0));
        for file in [&templates, &script] {
            fs::write(file, "edited").expect("ours");
        }
        write(dir.path()).expect("written again");
        assert_eq!(fs::read_to_string(&templates).expect("readable"), "edited");
        assert_eq!(fs::read_to_string(&script).expect("readable"), FILES[5].1);
    }
}
