//! The labels and annotations that pods carry, and the selector that finds ours.
//!
//! Labels are what the cluster selects by and are few. Annotations hold what a request is rebuilt from when the
//! journal is gone (`lifecycle.md` 8). All of them are ours: a template cannot set them.

use hfd_core::id::TemplateId;

/// Label that says which program manages the pod.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`] on every pod of every hfd.
pub const MANAGER: &str = "hfd";
/// Label with the id of the machine request. Providers before us set it too, and sites select on it.
pub const REQUEST: &str = "symphony/hostfactory-reqid";
/// Label with the provider instance: two instances in one namespace never touch each other's pods.
pub const PROVIDER: &str = "symphony/hostfactory-provider";
/// Label with the template's id, or its hash; see [`template_label`].
pub const TEMPLATE: &str = "symphony/hostfactory-template";

/// Annotation: the template's id, exactly.
pub const NOTE_TEMPLATE: &str = "hfd/template";
/// Annotation: how many machines the request was accepted for.
pub const NOTE_COUNT: &str = "hfd/count";
/// Annotation: the machine's place in the request, from 0.
pub const NOTE_ORDINAL: &str = "hfd/ordinal";
/// Annotation: when the request was accepted, epoch seconds.
pub const NOTE_ACCEPTED_AT: &str = "hfd/accepted-at";
/// Annotation: the journal that created the pod.
pub const NOTE_JOURNAL: &str = "hfd/journal";

/// Longest label value (Kubernetes documentation, "Labels and Selectors").
const LABEL_VALUE_MAX: usize = 63;

/// The label selector of one provider instance's pods.
#[must_use]
pub fn selector(instance: &str) -> String {
    format!("{MANAGED_BY}={MANAGER},{PROVIDER}={instance}")
}

/// Whether `text` may be the value of a label: at most 63 of `[-_.A-Za-z0-9]`, first and last alphanumeric.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends_well = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    bytes.len() <= LABEL_VALUE_MAX
        && bytes.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
        && ends_well(bytes.first())
        && ends_well(bytes.last())
}

/// The value of the [`TEMPLATE`] label: the id where it is a legal label value, else `hash-` and 16 hex digits that
/// stay the same in every version of hfd (64-bit FNV-1a).
#[must_use]
pub fn template_label(template: &TemplateId) -> String {
    let id = template.as_str();
    if is_label_value(id) {
        return id.to_owned();
    }
    let hash = id
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("hash-{hash:016x}")
}

/// Whether an object may have this name: a DNS subdomain (RFC 1123) as Kubernetes demands of pods. What is not one
/// can't exist, and never reaches a URL.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=253).contains(&name.len())
        && name.split('.').all(|part| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(|&byte| legal(byte))
                && bytes.last().is_some_and(|&byte| legal(byte))
                && bytes.iter().all(|&byte| legal(byte) || byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_id_that_is_no_label_value_is_hashed() {
        let label = |id: &str| template_label(&id.parse().expect("a legal template id"));
        assert_eq!(label("Template-K8s-A"), "Template-K8s-A");
        assert_eq!(label("-a"), "hash-07d05b07b498591b");
        assert_eq!(label(&"x".repeat(64)).len(), 21);
        assert!(is_label_value(&label(&"x".repeat(64))));
        assert_ne!(label("-a"), label("_a"));
    }

    #[test]
    fn names_that_would_leave_the_url_are_not_object_names() {
        for name in ["../x", "a/b", "", ".", "..", "A", "a b", "a?x=1", "a-", "-a", "a..b", &"a".repeat(254)] {
            assert!(!is_object_name(name), "{name}");
        }
        for name in ["a", "compute-0", "a.b", "0f.x-1"] {
            assert!(is_object_name(name), "{name}");
        }
    }
}
