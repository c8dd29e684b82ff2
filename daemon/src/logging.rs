//! Where log lines go and what they look like.
//!
//! The system journal with its own fields when systemd started us (`journalctl HFD_REQUEST=<id>` then finds one
//! request), readable text on a terminal, else one JSON object a line; or a file of bounded size. Owns the process's
//! one tracing subscriber; must never write to stdout, which belongs to commands.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Mutex,
};

use thiserror::Error;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::config::{Log, LogFormat, Surroundings};

/// A log file that reaches this size becomes `<name>.1` and replaces the one before it: two of them at most.
const FILE_MAX: u64 = 64 << 20;

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LoggingError {
    /// The filter's directives are wrong; the configuration has checked them before.
    #[error("log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The file can't be opened for appending.
    #[error("log file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// This process logs already.
    #[error("logging")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

/// Sets up the process's logging.
///
/// # Errors
/// [`LoggingError`]; nothing is logged then.
pub fn start(log: &Log, surroundings: &Surroundings) -> Result<(), LoggingError> {
    let filter = EnvFilter::builder().parse(&log.filter)?;
    let output = Output::choose(log, is_journal(surroundings), io::stderr().is_terminal());
    let layer = match &output {
        Output::Journal => match journal() {
            Ok(layer) => layer,
            // systemd without journald: what we write to stderr still arrives somewhere.
            Err(_) => json(io::stderr),
        },
        Output::Text => {
            let colours = io::stderr().is_terminal() && !surroundings.variables.contains_key("NO_COLOR");
            fmt::layer().with_writer(io::stderr).with_ansi(colours).with_target(false).boxed()
        }
        Output::Json => json(io::stderr),
        Output::File(path) => {
            let file = BoundedFile::open(path.clone(), FILE_MAX);
            let file = file.map_err(|source| LoggingError::File { path: path.clone(), source })?;
            if log.format == LogFormat::Text {
                fmt::layer().with_writer(Mutex::new(file)).with_ansi(false).boxed()
            } else {
                json(Mutex::new(file))
            }
        }
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Output {
    Journal,
    Text,
    Json,
    File(PathBuf),
}

impl Output {
    fn choose(log: &Log, is_journal: bool, is_terminal: bool) -> Self {
        match (&log.file, log.format) {
            (Some(path), _) => Self::File(path.clone()),
            (None, LogFormat::Text) => Self::Text,
            (None, LogFormat::Json) => Self::Json,
            (None, LogFormat::Auto) if is_journal => Self::Journal,
            (None, LogFormat::Auto) if is_terminal => Self::Text,
            (None, LogFormat::Auto) => Self::Json,
        }
    }
}

/// Whether stderr is the journal's stream. The variable alone does not say so: a shell that systemd started hands it
/// down to all its children, whatever their stderr is (`systemd.exec(5)`, `$JOURNAL_STREAM`).
fn is_journal(surroundings: &Surroundings) -> bool {
    let stream = surroundings.variables.get("JOURNAL_STREAM").and_then(|stream| stream.to_str()).unwrap_or_default();
    let (Some((device, inode)), Ok(stderr)) = (stream.split_once(':'), rustix::fs::fstat(io::stderr().as_fd())) else {
        return false;
    };
    device.parse() == Ok(stderr.st_dev) && inode.parse() == Ok(stderr.st_ino)
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

fn journal() -> io::Result<BoxedLayer> {
    let layer = tracing_journald::layer()?;
    Ok(layer.with_field_prefix(Some("HFD".to_owned())).with_syslog_identifier("hfd".to_owned()).boxed())
}

fn json<W>(writer: W) -> BoxedLayer
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(writer).boxed()
}

/// A file that is moved aside when it has grown to its limit.
#[derive(Debug)]
struct BoundedFile {
    path: PathBuf,
    file: File,
    size: u64,
    max: u64,
}

impl BoundedFile {
    fn open(path: PathBuf, max: u64) -> io::Result<Self> {
        let file = append_to(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, file, size, max })
    }

    fn turn_over(&mut self) -> io::Result<()> {
        let mut old = self.path.clone().into_os_string();
        old.push(".1");
        fs::rename(&self.path, old)?;
        self.file = append_to(&self.path)?;
        self.size = 0;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

impl Write for BoundedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // One call is one line: the formatting layers write whole lines. Where the file can't be moved, the line is
        // kept rather than lost, and the next line tries again.
        if self.size >= self.max {
            let _ = self.turn_over();
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_comes_before_the_terminal_and_an_explicit_choice_before_both() {
        let log = |format, file: Option<&str>| Log { format, file: file.map(PathBuf::from), ..Log::default() };
        let auto = log(LogFormat::Auto, None);
        assert_eq!(Output::choose(&auto, true, true), Output::Journal);
        assert_eq!(Output::choose(&auto, false, true), Output::Text);
        assert_eq!(Output::choose(&auto, false, false), Output::Json);
        assert_eq!(Output::choose(&log(LogFormat::Json, None), true, true), Output::Json);
        assert_eq!(Output::choose(&log(LogFormat::Text, Some("/l")), true, true), Output::File("/l".into()));
    }

    #[test]
    fn a_journal_stream_that_is_not_our_stderr_is_not_the_journal() {
        let with = |stream: &str| Surroundings {
            variables: [("JOURNAL_STREAM".to_owned(), stream.into())].into(),
            is_root: false,
        };
        assert!(!is_journal(&Surroundings::default()));
        assert!(!is_journal(&with("0:0")));
        assert!(!is_journal(&with("nonsense")));
        let stderr = rustix::fs::fstat(io::stderr().as_fd()).expect("a process has a stderr");
        assert!(is_journal(&with(&format!("{}:{}", stderr.st_dev, stderr.st_ino))));
    }

    #[test]
    fn a_log_file_never_grows_beyond_its_limit_and_one_predecessor() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("hfd.log");
        fs::write(&path, "from before\n").expect("a file");
        let mut file = BoundedFile::open(path.clone(), 20).expect("a log file");
        for line in 0..10 {
            writeln!(file, "line number {line}").expect("a line");
        }
        let size = |path: &Path| fs::metadata(path).expect("a file").len();
        assert!(size(&path) <= 40, "{}", size(&path));
        assert!(size(&directory.path().join("hfd.log.1")) <= 40);
        assert_eq!(fs::read_dir(directory.path()).expect("a directory").count(), 2);
        assert!(fs::read_to_string(&path).expect("text").ends_with("line number 9\n"));
    }
}
