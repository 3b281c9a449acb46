//! Numbers for byte strings, in the order in which they were first seen.
//!
//! # Decision
//! At 100,000 keys nothing of this is in a near cache, and waiting for memory is what a lookup costs. So it comes in
//! steps that a caller takes for many words at once, and whose waits then overlap: [`Dictionary::guess`] reads the table
//! only, which is small; [`Dictionary::is`] reads the word, which lies in one cache line if it is at most [`HEAD`] bytes
//! long. A guess is by hash and may be wrong; nothing rests on hashes alone.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// So many bytes of a word lie in one place with its length, the rest elsewhere.
const HEAD: usize = 54;

/// What stands for a word that is not known.
pub(crate) const UNKNOWN: u32 = u32::MAX;

/// A word: its length, its beginning, and where its rest begins.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Word {
    rest: u64,
    length: u16,
    head: [u8; HEAD],
}

/// Words and their numbers; has no iteration on purpose, see [`crate::lookup`].
#[derive(Default)]
pub(crate) struct Dictionary {
    hasher: DefaultHashBuilder,
    /// The middle bits of a word's hash, and its number.
    table: HashTable<(u32, u32)>,
    words: Vec<Word>,
    rests: Vec<u8>,
}

fn middle(hash: u64) -> u32 {
    (hash >> 24) as u32
}

impl Dictionary {
    /// Number of words.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// The hash of a word.
    #[inline]
    pub fn hash(&self, word: &[u8]) -> u64 {
        self.hasher.hash_one(word)
    }

    /// The number of the word that probably has this hash, or [`UNKNOWN`].
    #[inline]
    pub fn guess(&self, hash: u64) -> u32 {
        self.table.find(hash, |(bits, _)| *bits == middle(hash)).map_or(UNKNOWN, |(_, number)| *number)
    }

    /// Whether the word of that number is `word`.
    #[inline]
    pub fn is(&self, number: u32, word: &[u8]) -> bool {
        let Some(known) = self.words.get(number as usize) else { return false };
        let (head, rest) = word.split_at(word.len().min(HEAD));
        usize::from(known.length) == word.len()
            && known.head[..head.len()] == *head
            && (rest.is_empty() || self.rests[known.rest as usize..].starts_with(rest))
    }

    /// The number of a word, which is new if it is [`Self::len`] as it was before.
    ///
    /// # Panics
    /// If a new word is longer than 65,535 bytes.
    pub fn number(&mut self, hash: u64, word: &[u8]) -> u32 {
        let known = self.table.find(hash, |(bits, number)| *bits == middle(hash) && self.is(*number, word));
        if let Some((_, number)) = known {
            return *number;
        }
        let number = self.words.len() as u32;
        let (start, rest) = word.split_at(word.len().min(HEAD));
        let mut head = [0; HEAD];
        head[..start.len()].copy_from_slice(start);
        let length = u16::try_from(word.len()).expect("words are short");
        self.words.push(Word { rest: self.rests.len() as u64, length, head });
        self.rests.extend_from_slice(rest);
        let (hasher, words, rests) = (&self.hasher, &self.words, &self.rests);
        let again = |(_, number): &(u32, u32)| {
            let Word { rest, length, head } = &words[*number as usize];
            let (length, rest) = (usize::from(*length), *rest as usize);
            let whole = [&head[..length.min(HEAD)], &rests[rest..rest + length.saturating_sub(HEAD)]].concat();
            hasher.hash_one(whole.as_slice())
        };
        self.table.insert_unique(hash, (middle(hash), number), again);
        number
    }

    /// Forgets every word.
    pub fn clear(&mut self) {
        self.table.clear();
        self.words.clear();
        self.rests.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_have_one_number_and_others_another() {
        let mut dictionary = Dictionary::default();
        let words = (0..3_000usize).map(|n| vec![b'a' + (n % 3) as u8; n / 3 % 120]).collect::<Vec<_>>();
        let distinct = words.iter().collect::<std::collections::BTreeSet<_>>().len();
        for _ in 0..2 {
            for word in &words {
                let hash = dictionary.hash(word);
                let number = dictionary.number(hash, word);
                assert_eq!(dictionary.number(hash, word), number);
                assert!(dictionary.is(number, word) && !dictionary.is(number, &[word.as_slice(), b"!"].concat()));
                let others = words.iter().filter(|other| *other != word);
                assert!(others.take(50).all(|other| !dictionary.is(number, other)));
                assert_eq!(dictionary.guess(hash), number);
            }
            assert_eq!(dictionary.len(), distinct);
        }
        // Two words with one hash are told apart.
        let (one, other) = (dictionary.number(7, b"one"), dictionary.number(7, b"other"));
        assert!(one != other && dictionary.number(7, b"one") == one && dictionary.number(7, b"other") == other);
        dictionary.clear();
        assert_eq!((dictionary.len(), dictionary.guess(7)), (0, UNKNOWN));
    }
}
