//! Decoding that never fails over a field: what has the wrong type counts as absent.
//!
//! One object that does not decode fails the whole LIST, for ever. So every field of our wire types is one of these
//! wrappers: each takes any JSON value and keeps it only if it is of the kind that it wants. Nothing is buffered.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer},
};

/// A string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub(super) Option<Box<str>>);

impl Text {
    /// The text, if there is any.
    pub(super) fn get(&self) -> Option<&str> {
        self.0.as_deref().filter(|text| !text.is_empty())
    }

    /// The text, parsed; `None` when absent or not of that form.
    pub(super) fn parse<T: std::str::FromStr>(&self) -> Option<T> {
        self.get()?.parse().ok()
    }
}

/// A boolean; anything else is `false`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

/// An integer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Int(pub(super) Option<i64>);

/// An object of a type whose own fields are tolerant; anything else is its default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Object<T>(pub(super) T);

/// An array of such objects; anything else is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

/// What a wrapper makes of each kind of JSON value: by default, nothing.
trait Take<'de>: Default {
    fn text(_text: &str) -> Self {
        Self::default()
    }
    fn flag(_flag: bool) -> Self {
        Self::default()
    }
    fn int(_int: i64) -> Self {
        Self::default()
    }
    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl Take<'_> for Text {
    fn text(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl Take<'_> for Flag {
    fn flag(flag: bool) -> Self {
        Self(flag)
    }
}

impl Take<'_> for Int {
    fn int(int: i64) -> Self {
        Self(Some(int))
    }
}

impl<'de, T: Default + Deserialize<'de>> Take<'de> for Object<T> {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Self)
    }
}

impl<'de, T: Default + Deserialize<'de>> Take<'de> for List<T> {
    fn list<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(Object(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Self(items))
    }
}

/// The one visitor behind all wrappers.
struct Any<T>(PhantomData<T>);

impl<'de, T: Take<'de>> Visitor<'de> for Any<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::flag(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(i64::try_from(value).map_or_else(|_| T::default(), T::int))
    }

    fn visit_f64<E>(self, _value: f64) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::text(value))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_none<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<T, D::Error> {
        value.deserialize_any(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::list(seq)
    }
}

macro_rules! deserialize_any {
    ($($type:ty $(, $param:ident)?;)+) => {$(
        impl<'de $(, $param: Default + Deserialize<'de>)?> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Any(PhantomData))
            }
        }
    )+};
}

deserialize_any! {
    Text;
    Flag;
    Int;
    Object<T>, T;
    List<T>, T;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Sample {
        text: Text,
        flag: Flag,
        int: Int,
        object: Object<Inner>,
        list: List<Inner>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Inner {
        name: Text,
    }

    #[test]
    fn a_value_of_any_wrong_kind_counts_as_absent() {
        for wrong in
            ["null", "true", "-1", "1e400", "18446744073709551615", "0.5", r#""s""#, "[[1],{}]", r#"{"a":{"b":[]}}"#]
        {
            let text = format!(
                r#"{{"other":{wrong},"text":{wrong},"flag":{wrong},"int":{wrong},"object":{wrong},"list":{wrong}}}"#
            );
            let sample = serde_json::from_str::<Sample>(&text);
            if wrong == "1e400" {
                assert!(sample.is_err(), "no JSON number at all: {sample:?}");
            } else {
                assert!(sample.is_ok(), "{wrong}: {sample:?}");
            }
        }
    }

    #[test]
    fn values_of_the_right_kind_are_kept() {
        let sample: Sample = serde_json::from_str(
            r#"{"text":"a","flag":true,"int":-3,"object":{"name":"n","x":1},"list":[{"name":"m"},null,7,{"name":false}]}"#,
        )
        .expect("valid JSON");
        assert_eq!(sample.text.get(), Some("a"));
        assert!(sample.flag.0);
        assert_eq!(sample.int.0, Some(-3));
        assert_eq!(sample.object.0.name.get(), Some("n"));
        assert_eq!(sample.list.0.len(), 4);
        assert_eq!(sample.list.0[0].name.get(), Some("m"));
    }
}
