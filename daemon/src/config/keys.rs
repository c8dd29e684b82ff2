//! The one list of all keys: name, where it goes, bounds, meaning.

use std::{ops::RangeInclusive, path::Path, time::Duration};

use super::{
    Config, Origin,
    report::{Place, Problem},
    value::{ByteSize, Raw, Setting},
};
use crate::kube::names::is_label_value;

/// The shortest readiness deadline, for the configuration and for templates: a scheduler and a kubelet that have
/// nothing else to do need some seconds.
pub(crate) const MIN_READY_DEADLINE: Duration = Duration::from_secs(10);

/// Longest path of a Unix socket: `sun_path` has 108 bytes with its closing zero (`unix(7)`).
const SOCKET_PATH_MAX: usize = 107;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A key of the configuration.
pub(super) struct Key {
    /// `section.key`, or the bare key of the top level.
    pub(super) path: &'static str,
    pub(super) doc: &'static str,
    /// Checks a raw value and stores it.
    pub(super) set: fn(&mut Config, &Raw<'_>) -> Result<(), String>,
    pub(super) show: fn(&Config) -> String,
}

impl Key {
    /// The environment variable that sets the key.
    pub(super) fn variable(&self) -> String {
        format!("HFD_{}", self.path.replace('.', "__").to_uppercase())
    }
}

macro_rules! key {
    ($path:literal, $($field:ident).+, $check:expr, $doc:literal) => {
        Key {
            path: $path,
            doc: $doc,
            set: |config, raw| {
                let value = Setting::read(raw)?;
                let check = $check;
                check(&value)?;
                config.$($field).+ = value;
                Ok(())
            },
            show: |config| config.$($field).+.show(),
        }
    };
}

/// Every key, in the order of the documentation.
pub(super) static KEYS: &[Key] = &[
    key!("instance", instance, instance_name, "name of the provider instance"),
    key!("socket", socket, socket_path, "Unix socket that hfd answers on"),
    key!("state_dir", state_dir, any, "directory of the journal, on a local disk"),
    key!("confdir", confdir, any, "the provider's configuration directory"),
    key!("template_file", template_file, any, "template file"),
    key!("kube.kubeconfig", kube.kubeconfig, any, "kubeconfig"),
    key!("kube.context", kube.context, any, "context of the kubeconfig"),
    key!("kube.namespace", kube.namespace, namespace_name, "namespace of the pods"),
    key!("kube.concurrency", kube.concurrency, within(2..=500), "most creates and deletes in flight at once"),
    key!("kube.call_timeout", kube.call_timeout, lasting(SECOND..=SECOND * 300), "limit on one call"),
    key!(
        "kube.server_request_timeout",
        kube.server_request_timeout,
        lasting(SECOND..=SECOND * 600),
        "the API server's own --request-timeout"
    ),
    key!("kube.page_size", kube.page_size, within(10..=10_000), "pods in one page of a LIST"),
    key!("kube.watch_timeout", kube.watch_timeout, lasting(SECOND * 5..=SECOND * 290), "length of one watch"),
    key!(
        "kube.fresh_within",
        kube.fresh_within,
        lasting(SECOND..=SECOND * 600),
        "silence after which the view is stale"
    ),
    key!("limits.max_machine_count", limits.max_machine_count, within(1..=100_000), "machines in one request"),
    key!("limits.max_ids_per_call", limits.max_ids_per_call, within(1..=1_000_000), "ids or names in one call"),
    key!("limits.max_connections", limits.max_connections, within(1..=65_536), "connections served at once"),
    key!("limits.inbox", limits.inbox, within(1..=65_536), "commands waiting before callers are told busy"),
    key!("limits.max_body", limits.max_body, sized(1 << 10..=1 << 30), "largest body of a call"),
    key!("limits.max_reply", limits.max_reply, sized(1 << 20..=1 << 30), "largest reply"),
    key!(
        "machines.ready_deadline",
        machines.ready_deadline,
        lasting(MIN_READY_DEADLINE..=DAY),
        "from acceptance to ready; a template may set its own"
    ),
    key!(
        "machines.crash_loop_after",
        machines.crash_loop_after,
        lasting(SECOND..=DAY),
        "crash looping that long is lost"
    ),
    key!(
        "machines.keep_lost_for",
        machines.keep_lost_for,
        lasting(SECOND..=DAY),
        "a lost machine's pod is kept that long"
    ),
    key!(
        "machines.unseen_look_after",
        machines.unseen_look_after,
        lasting(SECOND..=SECOND * 300),
        "a created pod that the watch does not show is looked for"
    ),
    key!("returns.deadline", returns.deadline, lasting(SECOND..=DAY), "a return fails for the machines still there"),
    key!(
        "returns.phantom_after",
        returns.phantom_after,
        lasting(SECOND..=DAY),
        "a machine that is gone and still named by HostFactory is reported"
    ),
    key!("reclaim.guard_fraction", reclaim.guard_fraction, fraction, "losing more than this part at once is confirmed"),
    key!("reclaim.guard_min", reclaim.guard_min, within(1..=100_000), "and at least this many"),
    key!(
        "requests.never_polled_warn",
        requests.never_polled_warn,
        lasting(SECOND..=DAY * 7),
        "a request nobody asks about is warned of"
    ),
    key!(
        "requests.never_polled_cancel",
        requests.never_polled_cancel,
        lasting(Duration::ZERO..=DAY * 7),
        "and cancelled; 0: never"
    ),
    key!("retention.keep", retention.keep, lasting(SECOND * 3600..=DAY * 365), "what is over stays known that long"),
    key!("journal.allow_network_fs", journal.allow_network_fs, any, "accept a journal on a network file system"),
    key!("journal.reserve", journal.reserve, sized(0..=1 << 30), "disk space kept for returns"),
    key!(
        "templates.allow_host_network",
        templates.allow_host_network,
        any,
        "accept pods whose host name is not the machine's name"
    ),
    key!(
        "templates.emit_available_number",
        templates.emit_available_number,
        any,
        "emit availableNumber in getAvailableTemplates"
    ),
    key!("log.filter", log.filter, log_filter, "what is logged: a level, or directives as in hfd=debug,warn"),
    key!("log.format", log.format, any, "auto, text or json"),
    key!("log.file", log.file, any, "append to this file"),
];

/// The key of this path, which the program itself names.
pub(super) fn named(path: &'static str) -> &'static Key {
    KEYS.iter()
        .find(|key| key.path == path)
        .expect("the table has every key that the program names; a test asks for each")
}

/// The key that someone wrote, else the nearest name if one is near.
pub(super) fn find(path: &str) -> Result<&'static Key, Option<String>> {
    KEYS.iter().find(|key| key.path == path).ok_or_else(|| {
        let sections = KEYS.iter().filter_map(|key| section(key.path)).map(str::to_owned);
        nearest(path, KEYS.iter().map(|key| key.path.to_owned()).chain(sections))
    })
}

/// The key that an environment variable sets, else the nearest variable if one is near.
pub(super) fn of_variable(name: &str) -> Result<&'static Key, Option<String>> {
    if name == "HFD_LOG" {
        return Ok(named("log.filter"));
    }
    KEYS.iter().find(|key| key.variable() == name).ok_or_else(|| nearest(name, KEYS.iter().map(Key::variable)))
}

/// What to say of a key that does not exist.
pub(super) fn unknown(place: Place, path: &str, near: Option<String>) -> Problem {
    let problem = Problem::new(place, format!("there is no key {path}"));
    match near {
        Some(near) if is_section(&near) => problem.with_help(format!("did you mean the section [{near}]?")),
        Some(near) => problem.with_help(format!("did you mean {near}?")),
        None => problem,
    }
}

pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| section(key.path) == Some(name))
}

pub(super) fn join(section: &str, name: &str) -> String {
    if section.is_empty() { name.to_owned() } else { format!("{section}.{name}") }
}

/// What is right key by key and wrong together.
pub(super) fn contradictions(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let (warn, cancel) = (config.requests.never_polled_warn, config.requests.never_polled_cancel);
    if !cancel.is_zero() && cancel < warn {
        let message = format!(
            "requests.never_polled_cancel ({}) is shorter than requests.never_polled_warn ({})",
            cancel.show(),
            warn.show()
        );
        problems.push(Problem::new(Place::Together, message));
    }
    // One that was set has been checked; this one follows from the instance and the runtime directory.
    if config.origin("socket") == Origin::Default
        && let Err(wrong) = socket_path(&config.socket)
    {
        problems.push(Problem::new(Place::Together, format!("socket: {wrong}")));
    }
    problems
}

fn section(path: &str) -> Option<&str> {
    path.split_once('.').map(|(section, _)| section)
}

/// The candidate that differs by the fewest slips of the keyboard, if that is at most a third of the word. The right
/// key in the wrong section counts as one slip.
fn nearest(written: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let last = |path: &str| path.rsplit('.').next().map(str::to_owned);
    candidates
        .map(|candidate| {
            let slips = strsim::osa_distance(&written.to_lowercase(), &candidate.to_lowercase());
            let moved = last(written) == last(&candidate);
            (if moved { slips.min(1) } else { slips }, candidate)
        })
        .min_by_key(|(slips, _)| *slips)
        .filter(|(slips, _)| *slips <= (written.len() / 3).clamp(1, 4))
        .map(|(_, candidate)| candidate)
}

#[expect(clippy::unnecessary_wraps, reason = "the table wants one signature for all checks")]
fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

fn within(bounds: RangeInclusive<u32>) -> impl Fn(&u32) -> Result<(), String> {
    move |value| inside(value, &bounds, u32::to_string)
}

fn lasting(bounds: RangeInclusive<Duration>) -> impl Fn(&Duration) -> Result<(), String> {
    move |value| inside(value, &bounds, Setting::show)
}

fn sized(bounds: RangeInclusive<u32>) -> impl Fn(&ByteSize) -> Result<(), String> {
    move |value| inside(value, &(ByteSize(*bounds.start())..=ByteSize(*bounds.end())), Setting::show)
}

fn inside<T: PartialOrd>(value: &T, bounds: &RangeInclusive<T>, show: impl Fn(&T) -> String) -> Result<(), String> {
    if bounds.contains(value) {
        return Ok(());
    }
    let (value, low, high) = (show(value), show(bounds.start()), show(bounds.end()));
    Err(format!("{value} is outside {low} to {high}"))
}

fn fraction(value: &f64) -> Result<(), String> {
    if (0.0..=1.0).contains(value) { Ok(()) } else { Err(format!("{value} is outside 0 to 1")) }
}

fn instance_name(name: &String) -> Result<(), String> {
    if !name.is_empty() && is_label_value(name) {
        return Ok(());
    }
    Err(format!(
        "{name:?} can't name an instance: 1 to 63 of A-Z a-z 0-9 - _ . are needed, first and last a letter or digit"
    ))
}

fn namespace_name(name: &Option<String>) -> Result<(), String> {
    let Some(name) = name else { return Ok(()) };
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=63).contains(&name.len()) && name.bytes().all(legal) && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    Err(format!("{name:?} can't name a namespace: 1 to 63 of a-z 0-9 - are needed, first and last not -"))
}

fn socket_path(path: &impl AsRef<Path>) -> Result<(), String> {
    let path = path.as_ref();
    let bytes = path.as_os_str().len();
    if bytes <= SOCKET_PATH_MAX {
        return Ok(());
    }
    Err(format!("{} has {bytes} bytes, and a Unix socket's path at most {SOCKET_PATH_MAX}", path.display()))
}

fn log_filter(directives: &String) -> Result<(), String> {
    match tracing_subscriber::EnvFilter::builder().parse(directives) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("{directives:?} is not a level or a list of directives: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_near_the_one_that_was_meant() {
        let near = |path: &str| find(path).err().flatten();
        assert_eq!(near("kube.concurency").as_deref(), Some("kube.concurrency"));
        assert_eq!(near("concurrency").as_deref(), Some("kube.concurrency"));
        assert_eq!(near("machines.reserve").as_deref(), Some("journal.reserve"));
        assert_eq!(near("kub").as_deref(), Some("kube"));
        assert_eq!(near("entirely.different"), None);
    }

    #[test]
    fn every_key_is_listed_once_and_shows_a_value_that_it_takes_back() {
        let config = Config::unset();
        for (place, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[..place].iter().any(|other| other.path == key.path), "{}", key.path);
            let shown = (key.show)(&config);
            let bare = shown.trim_matches('"');
            if !bare.is_empty() {
                let mut again = config.clone();
                assert_eq!((key.set)(&mut again, &Raw::Untyped(bare)), Ok(()), "{}", key.path);
                assert_eq!((key.show)(&again), shown);
            }
        }
    }
}
