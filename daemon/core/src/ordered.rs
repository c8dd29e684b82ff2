//! Hash maps that are walked in the same order in every run.
//!
//! The standard ones are seeded at random, so that nobody who chooses the keys can make them collide. The order in which
//! they are walked then decides which machine goes first, and the same inputs lead to other calls in the next run: a
//! failure could not be replayed. These are for keys that we issue at random, that the site's templates name, or that come
//! from the names of pods of ours: few enough that colliding ones cost little.

use std::{collections::hash_map::DefaultHasher, hash::BuildHasherDefault};

pub(crate) type HashMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<DefaultHasher>>;
pub(crate) type HashSet<K> = std::collections::HashSet<K, BuildHasherDefault<DefaultHasher>>;
