//! The command lines that HostFactory's scripts send, read without clap: `VERB`, `VERB FILE` and `VERB -f FILE`.
//!
//! It reads what clap would read, or leaves the command line to clap. It never refuses: words for a wrong command line
//! are clap's alone. Clap builds the whole description of the program before it looks at the first argument, which
//! costs a multiple of everything else that a poll does.

use std::ffi::{OsStr, OsString};

use crate::args::{
    Cli, Command, Connection, DEFAULT_INSTANCE, INSTANCE_VARIABLE, Input, KeyedInput, SOCKET_VARIABLE, VERBS,
};

/// The command line, when it is one of those few; `variable` reads the environment.
pub(crate) fn parse(args: &[OsString], variable: impl Fn(&str) -> Option<OsString>) -> Option<Cli> {
    let (verb, input) = match args {
        [_, verb] => (verb, Input { file: None, path: None }),
        [_, verb, path] if is_file(path) => (verb, Input { file: None, path: Some(path.into()) }),
        [_, verb, flag, file] if flag == "-f" && is_file(file) => (verb, Input { file: Some(file.into()), path: None }),
        _ => return None,
    };
    let command = match VERBS.iter().position(|names| names.iter().any(|name| verb == name))? {
        0 => Command::GetAvailableTemplates(input),
        1 => Command::RequestMachines(KeyedInput { input, request_id: None }),
        2 => Command::GetRequestStatus(input),
        3 => Command::RequestReturnMachines(KeyedInput { input, request_id: None }),
        _ => Command::GetReturnRequests(input),
    };
    let instance = match variable(INSTANCE_VARIABLE) {
        Some(named) => named.into_string().ok()?,
        None => DEFAULT_INSTANCE.to_owned(),
    };
    let connection = Connection { socket: variable(SOCKET_VARIABLE), instance, timeout: None };
    Some(Cli { connection, command })
}

/// Whether clap takes it for a value: neither nothing nor an option.
fn is_file(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes == b"-" || bytes.first().is_some_and(|first| *first != b'-')
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use clap::Parser;

    use super::*;

    /// Every command line of up to four of these words: what is read at all is read as clap reads it.
    #[test]
    fn it_reads_what_clap_reads_and_leaves_it_the_rest() {
        let words = ["-f", "", "-", "--", "in", "/a b/ü", "-fin", "--file", "--help", "-h", "status", "help", "x=y"]
            .iter()
            .map(OsString::from)
            .chain(VERBS.iter().flatten().map(OsString::from))
            .chain([OsString::from_vec(vec![b'x', 0xff])]);
        let words: Vec<OsString> = words.collect();
        let mut lines: Vec<Vec<OsString>> = vec![vec!["hfctl".into()]];
        let (mut begin, mut read) = (0, 0);
        for _ in 0..3 {
            let end = lines.len();
            for line in begin..end {
                for word in &words {
                    lines.push(lines[line].iter().chain([word]).cloned().collect());
                }
            }
            begin = end;
        }
        for line in &lines {
            let Some(quick) = parse(line, |variable| std::env::var_os(variable)) else { continue };
            let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("clap refuses {line:?}: {error}"));
            assert_eq!(format!("{quick:?}"), format!("{cli:?}"), "{line:?}");
            read += 1;
        }
        // Each name of a verb alone, with each file, and with each of them after -f.
        assert_eq!(read, 10 * (1 + 2 * FILES), "of {} lines", lines.len());
    }

    /// The words above that can be files: all but the options and the empty one.
    const FILES: usize = 7 + 10;

    #[test]
    fn the_environment_counts_as_it_does_for_clap() {
        let line = ["hfctl", "getRequestStatus", "in"].map(OsString::from);
        let with = |socket: Option<OsString>, instance: Option<OsString>| {
            parse(&line, move |variable| match variable {
                SOCKET_VARIABLE => socket.clone(),
                INSTANCE_VARIABLE => instance.clone(),
                other => panic!("{other} is read"),
            })
        };
        let cli = with(Some("/x/y.sock".into()), Some("prod".into())).expect("it can be read");
        assert_eq!((cli.connection.socket, &*cli.connection.instance), (Some("/x/y.sock".into()), "prod"));
        let cli = with(None, None).expect("it can be read");
        assert_eq!((cli.connection.socket, &*cli.connection.instance), (None, DEFAULT_INSTANCE));
        // Words for it are clap's.
        assert!(with(None, Some(OsString::from_vec(vec![0xff]))).is_none());
    }
}
