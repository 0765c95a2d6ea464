//! A worker's connections by number, and the names under which epoll reports them.

/// What an event is about. Survives a trip through epoll as a `u64`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// The client's socket of a connection.
    Client(Key),
    /// The backend's socket of a connection.
    Backend(Key),
    /// A listener.
    Listener(u32),
    /// Commands wait.
    Wake,
}

/// A connection: its slot, and a generation so that an event for a former tenant of the slot is recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    index: u32,
    generation: u32,
}

const GENERATIONS: u32 = 1 << 30;

impl Token {
    pub(super) fn pack(self) -> u64 {
        let key = |k: Key| u64::from(k.generation) << 32 | u64::from(k.index);
        match self {
            Token::Client(k) => key(k),
            Token::Backend(k) => 1 << 62 | key(k),
            Token::Listener(n) => 2 << 62 | u64::from(n),
            Token::Wake => 3 << 62,
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "the halves of a word")]
    pub(super) fn unpack(word: u64) -> Token {
        let key = Key { index: word as u32, generation: (word >> 32) as u32 & (GENERATIONS - 1) };
        match word >> 62 {
            0 => Token::Client(key),
            1 => Token::Backend(key),
            2 => Token::Listener(word as u32),
            _ => Token::Wake,
        }
    }
}

/// Values in slots that are used again.
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Key {
        if let Some(index) = self.free.pop() {
            let (generation, slot) = &mut self.slots[index as usize];
            *slot = Some(value);
            Key { index, generation: *generation }
        } else {
            let index = u32::try_from(self.slots.len()).expect("there are fewer descriptors than that");
            self.slots.push((0, Some(value)));
            Key { index, generation: 0 }
        }
    }

    pub(super) fn get(&mut self, key: Key) -> Option<&mut T> {
        match self.slots.get_mut(key.index as usize) {
            Some((generation, slot)) if *generation == key.generation => slot.as_mut(),
            _ => None,
        }
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, slot) = self.slots.get_mut(key.index as usize)?;
        if *generation != key.generation {
            return None;
        }
        let value = slot.take()?;
        *generation = (*generation + 1) % GENERATIONS;
        self.free.push(key.index);
        Some(value)
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let numbered = (0u32..).zip(&self.slots);
        numbered.filter(|(_, s)| s.1.is_some()).map(|(index, s)| Key { index, generation: s.0 }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_trip() {
        let key = Key { index: u32::MAX, generation: GENERATIONS - 1 };
        for token in [Token::Client(key), Token::Backend(key), Token::Listener(7), Token::Wake] {
            assert_eq!(Token::unpack(token.pack()), token);
        }
    }

    #[test]
    fn a_former_tenant_is_not_found() {
        let mut slots = Slots::new();
        let old = slots.insert('a');
        assert_eq!(slots.remove(old), Some('a'));
        let new = slots.insert('b');
        assert_eq!(slots.get(old), None);
        assert_eq!(slots.remove(old), None);
        assert_eq!(slots.get(new), Some(&mut 'b'));
        assert_eq!(slots.keys(), [new]);
    }
}
