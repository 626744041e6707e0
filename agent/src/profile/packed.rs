//! A sorted map whose keys are bytes, in little memory: of each key it keeps where that departs from the one before.
//!
//! Paths that are sorted begin like their neighbours. The entries stand in blocks of [`ENTRIES_MAX`]; a block is found by its first
//! key, which is whole, and read from there on. A change writes one block anew. Input: keys and small values. Output: the same, in
//! the order of the keys' bytes. Failure: none.

use std::cmp::Ordering;
use std::marker::PhantomData;

/// Most entries of a block: what a look-up reads at most, and how many share one allocation.
const ENTRIES_MAX: usize = 32;

/// A value that is kept as a few bytes.
pub trait Packed: Copy {
    /// Adds its bytes.
    fn pack(self, bytes: &mut Vec<u8>);
    /// Takes what [`Packed::pack`] added from the front of `bytes`.
    fn unpack(bytes: &mut &[u8]) -> Self;
}

/// The map.
#[derive(Clone)]
pub(super) struct PackedMap<V> {
    /// In the order of their keys; none is empty.
    blocks: Vec<Block>,
    length: usize,
    values: PhantomData<V>,
}

/// Entries, each as: how many bytes its key shares with the one before, how many other bytes follow, those, the value.
#[derive(Clone)]
struct Block(Box<[u8]>);

/// Reads entries.
#[derive(Default)]
struct Reader<'a> {
    rest: &'a [u8],
    /// The key of the entry that was read last.
    key: Vec<u8>,
}

/// Writes entries.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    entries: usize,
    /// The key of the entry that was written last.
    key: Vec<u8>,
}

// === impl PackedMap ===

impl<V> Default for PackedMap<V> {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            length: 0,
            values: PhantomData,
        }
    }
}

impl<V: Packed> PackedMap<V> {
    /// Number of entries.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// The value of `key`.
    pub(super) fn get(&self, key: &[u8]) -> Option<V> {
        let mut reader = self.blocks.get(self.block_of(key))?.reader();
        while let Some(value) = reader.next() {
            match reader.key.as_slice().cmp(key) {
                Ordering::Less => {}
                Ordering::Equal => return Some(value),
                Ordering::Greater => break,
            }
        }
        None
    }

    /// Sets the value of `key`, or removes it (`None`). Returns what it was.
    pub(super) fn put(&mut self, key: &[u8], value: Option<V>) -> Option<V> {
        let index = self.block_of(key);
        let old = index..(index + 1).min(self.blocks.len());
        let mut reader = self.blocks.get(index).map(Block::reader).unwrap_or_default();
        let mut writer = Writer::default();
        let (mut before, mut new) = (None, value);
        while let Some(held) = reader.next() {
            let order = reader.key.as_slice().cmp(key);
            if let Some(new) = new.take_if(|_| order.is_ge()) {
                writer.push(key, new);
            }
            if order.is_eq() {
                before = Some(held);
            } else {
                writer.push(&reader.key, held);
            }
        }
        let is_last = new.is_some();
        if let Some(new) = new {
            writer.push(key, new);
        }
        self.length = self.length + usize::from(value.is_some()) - usize::from(before.is_some());
        let entries = writer.entries;
        let block = writer.finish();
        if entries > ENTRIES_MAX {
            // What comes in order fills one block after the other; what comes in between finds room in both halves.
            let halves = block.split::<V>(if is_last { ENTRIES_MAX } else { entries / 2 });
            self.blocks.splice(old, halves);
        } else {
            self.blocks.splice(old, (entries > 0).then_some(block));
        }
        before
    }

    /// What `read` makes of the entries from the key `from` on, in order.
    pub(super) fn entries<'a, T>(
        &'a self,
        from: impl AsRef<[u8]> + 'a,
        read: impl Fn(&[u8], V) -> T + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        let first = self.block_of(from.as_ref());
        let mut readers = self.blocks[first..].iter().map(Block::reader);
        let mut reader = readers.next().unwrap_or_default();
        std::iter::from_fn(move || {
            loop {
                match reader.next() {
                    Some(value) if reader.key.as_slice() >= from.as_ref() => {
                        return Some(read(&reader.key, value));
                    }
                    Some(_) => {}
                    None => reader = readers.next()?,
                }
            }
        })
    }

    /// Fills the blocks: what came in no order leaves them half empty.
    pub(super) fn compact(&mut self) {
        let mut writer = Writer::default();
        let mut blocks = Vec::with_capacity(self.length.div_ceil(ENTRIES_MAX));
        for block in std::mem::take(&mut self.blocks) {
            let mut reader = block.reader();
            while let Some(value) = reader.next::<V>() {
                writer.push(&reader.key, value);
                if writer.entries == ENTRIES_MAX {
                    blocks.push(std::mem::take(&mut writer).finish());
                }
            }
        }
        if writer.entries > 0 {
            blocks.push(writer.finish());
        }
        self.blocks = blocks;
    }

    /// The block in which `key` is, or would be; the first if there is none.
    fn block_of(&self, key: &[u8]) -> usize {
        let behind = self.blocks.partition_point(|block| block.first_key() <= key);
        behind.saturating_sub(1)
    }
}

// === impl Block ===

impl Block {
    fn reader(&self) -> Reader<'_> {
        Reader {
            rest: &self.0,
            key: Vec::new(),
        }
    }

    fn first_key(&self) -> &[u8] {
        let mut rest = &self.0[..];
        let _shared = take_number(&mut rest);
        let length = take_length(&mut rest);
        &rest[..length]
    }

    /// Its first `at` entries, and the others.
    fn split<V: Packed>(&self, at: usize) -> [Self; 2] {
        let mut reader = self.reader();
        let mut halves = [Writer::default(), Writer::default()];
        while let Some(value) = reader.next::<V>() {
            let half = usize::from(halves[0].entries == at);
            halves[half].push(&reader.key, value);
        }
        halves.map(Writer::finish)
    }
}

// === impl Reader ===

impl Reader<'_> {
    /// The next value; its key is in `self.key`.
    fn next<V: Packed>(&mut self) -> Option<V> {
        if self.rest.is_empty() {
            return None;
        }
        let shared = take_length(&mut self.rest);
        let length = take_length(&mut self.rest);
        let (own, rest) = self.rest.split_at(length);
        self.key.truncate(shared);
        self.key.extend_from_slice(own);
        self.rest = rest;
        Some(V::unpack(&mut self.rest))
    }
}

// === impl Writer ===

impl Writer {
    /// Adds an entry, whose key comes behind all before.
    fn push<V: Packed>(&mut self, key: &[u8], value: V) {
        let same = self.key.iter().zip(key).take_while(|(before, own)| before == own);
        let shared = same.count();
        add_number(shared as u64, &mut self.bytes);
        add_number((key.len() - shared) as u64, &mut self.bytes);
        self.bytes.extend_from_slice(&key[shared..]);
        value.pack(&mut self.bytes);
        self.key.truncate(shared);
        self.key.extend_from_slice(&key[shared..]);
        self.entries += 1;
    }

    fn finish(self) -> Block {
        Block(self.bytes.into())
    }
}

/// Adds a number: seven bits in a byte, the lowest first, the eighth set in all but the last byte.
pub(super) fn add_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes a number from the front of `bytes`, which begin with one.
pub(super) fn take_number(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    let mut shift = 0;
    while let Some((byte, rest)) = bytes.split_first() {
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    number
}

fn take_length(bytes: &mut &[u8]) -> usize {
    usize::try_from(take_number(bytes)).expect("it was the length of something in memory")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Packed for u64 {
        fn pack(self, bytes: &mut Vec<u8>) {
            add_number(self, bytes);
        }

        fn unpack(bytes: &mut &[u8]) -> Self {
            take_number(bytes)
        }
    }

    fn all(map: &PackedMap<u64>, from: &[u8]) -> Vec<(Vec<u8>, u64)> {
        map.entries(from, |key, value| (key.to_vec(), value)).collect()
    }

    #[test]
    fn what_comes_in_order_takes_little_more_than_where_it_departs() {
        let mut map = PackedMap::default();
        for number in 0..1_000_u64 {
            let path = format!("/opt/application/share/data/file{number:04}.txt");
            assert_eq!(map.put(path.as_bytes(), Some(1_u64)), None);
        }
        let bytes: usize = map.blocks.iter().map(|block| block.0.len()).sum();
        assert!(bytes < 12 * map.len(), "{bytes} bytes");
        assert_eq!(map.blocks.len(), 1_000_usize.div_ceil(ENTRIES_MAX));
    }

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            3 => "/(usr|var)/(lib|bin)/[a-d]{0,3}[0-9]{0,2}".prop_map(String::into_bytes),
            1 => prop::collection::vec(any::<u8>(), 0..4),
            1 => prop::collection::vec(any::<u8>(), 120..140),
        ]
    }

    fn value() -> impl Strategy<Value = Option<u64>> {
        prop_oneof![2 => (0..200_u64).prop_map(Some), 1 => any::<u64>().prop_map(Some), 1 => Just(None)]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_plain_map_holds(
            puts in prop::collection::vec((key(), value()), 0..400),
            compacted in 0..400_usize,
            from in key(),
        ) {
            let mut map = PackedMap::default();
            let mut plain = BTreeMap::new();
            for (number, (key, value)) in puts.iter().enumerate() {
                let before = match value {
                    Some(value) => plain.insert(key.clone(), *value),
                    None => plain.remove(key),
                };
                prop_assert_eq!(map.get(key), before);
                prop_assert_eq!(map.put(key, *value), before);
                prop_assert_eq!(map.get(key), *value);
                if number == compacted {
                    map.compact();
                    prop_assert_eq!(map.blocks.len(), plain.len().div_ceil(ENTRIES_MAX));
                }
            }
            prop_assert_eq!(map.len(), plain.len());
            prop_assert_eq!(all(&map, &[]), plain.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(all(&map, &from), plain.range(from.clone()..).map(|(key, value)| (key.clone(), *value)).collect::<Vec<_>>());
        }
    }
}
