//! A hash map that answers but never lists: its order can leak into nothing (law L1).

use std::hash::Hash;

/// Maps keys to values; has no iteration on purpose.
#[derive(Clone, Debug)]
pub struct Lookup<K, V>(hashbrown::HashMap<K, V>);

impl<K: Hash + Eq, V> Lookup<K, V> {
    /// The value of `key`.
    #[inline]
    pub fn get<Q: ?Sized + Hash + hashbrown::Equivalent<K>>(&self, key: &Q) -> Option<&V> {
        self.0.get(key)
    }

    /// Sets the value of `key`.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, value)
    }

    /// Forgets `key`.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        self.0.remove(key)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K, V> Default for Lookup<K, V> {
    fn default() -> Self {
        Self(hashbrown::HashMap::default())
    }
}
