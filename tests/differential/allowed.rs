//! The differences that may stay, each with the reason why hfd does not rely on it.

/// A difference that may stay.
#[derive(Debug)]
pub(crate) struct Allowed {
    /// The case in which it is seen; `*` for all of them.
    case: &'static str,
    /// The comparison in it; `*` at the end stands for any rest.
    what: &'static str,
    /// Where: a path of `compare::Difference`; `*` stands for one key or index, `**` at the end for any rest.
    path: &'static str,
    /// Why hfd does not rely on it.
    #[expect(dead_code, reason = "it is for the reader, and for the message of an entry that is no longer needed")]
    why: &'static str,
}

const LIST: &[Allowed] = &[
    Allowed {
        case: "tokens",
        what: "no token",
        path: "code",
        why: "hfd never calls without credentials. A real server that knows no anonymous users says 401, too.",
    },
    Allowed {
        case: "access reviews",
        what: "*",
        path: "body/status/reason",
        why: "Says which binding allows it; hfd reads only whether it is allowed. The sandbox has no bindings.",
    },
    Allowed {
        case: "propagation",
        what: "policy *",
        path: "body/metadata/finalizers",
        why: "hfd sets no policy, and nothing depends on its pods. The sandbox has no finalizers.",
    },
    Allowed {
        case: "pages",
        what: "token *",
        path: "body/message",
        why: "What is wrong inside a token: hfd hands back only what it was given, and shows no such text.",
    },
    Allowed { case: "unknown fields", what: "a field twice*", path: "**", why: "hfd writes each field of a pod once." },
    Allowed {
        case: "bad quantities",
        what: "memory \"999999999999999999999999\"",
        path: "headers/warning",
        why: "The real server's number overflows, and it calls the rest a fraction.",
    },
    Allowed {
        case: "fates",
        what: "crash-later",
        path: "3/containers/0/restarts",
        why: "KWOK's stage counts no first restart; a real kubelet does, and so does the sandbox.",
    },
    Allowed {
        case: "fates",
        what: "unready-later",
        path: "3/containers/0/ready",
        why: "KWOK's stage changes only conditions; a real kubelet, as the sandbox, also the container's state.",
    },
    Allowed {
        case: "patches",
        what: "a bad label",
        path: "body/details/causes/*",
        why: "The real server finds it four times. hfd patches nothing.",
    },
    Allowed {
        case: "patches",
        what: "another UID",
        path: "body/details/causes/1",
        why: "The real server finds it twice. hfd patches nothing.",
    },
    Allowed {
        case: "patches",
        what: "a fixed field",
        path: "body/message",
        why: "The real server adds the difference of the two pods in its own inner form. hfd patches nothing.",
    },
    Allowed { case: "patches", what: "a fixed field", path: "body/details/causes/0/message", why: "The same." },
];

/// The entries of one case and those of all cases.
pub(crate) fn of(case: &str) -> impl Iterator<Item = &'static Allowed> {
    LIST.iter().filter(move |entry| entry.is_general() || entry.case == case)
}

impl Allowed {
    /// Whether it is an entry of all cases: such a one need not be seen in each.
    pub(crate) fn is_general(&self) -> bool {
        self.case == "*"
    }

    /// Whether it covers a difference at this place.
    pub(crate) fn covers(&self, what: &str, path: &str) -> bool {
        let named = self.what.strip_suffix('*').map_or(self.what == what, |begin| what.starts_with(begin));
        named && path_matches(self.path, path)
    }
}

fn path_matches(pattern: &str, path: &str) -> bool {
    let mut keys = path.split('/');
    for part in pattern.split('/') {
        match (part, keys.next()) {
            ("**", _) => return true,
            ("*", Some(_)) => {}
            (part, Some(key)) if part == key => {}
            _ => return false,
        }
    }
    keys.next().is_none()
}

#[test]
fn a_pattern_covers_one_key_or_any_rest() {
    assert!(path_matches("body/items/*/spec", "body/items/3/spec"));
    assert!(path_matches("body/**", "body/items/3/spec"));
    assert!(!path_matches("body/items/*", "body/items/3/spec"));
    assert!(!path_matches("body/items/*/spec", "body/items/3"));
}
