//! Who had which server: a table with a bounded number of entries, each of which is forgotten when nobody has asked for it
//! for a while.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::time::Time;

/// How large a table is, and how long it remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Most entries.
    pub size: u64,
    /// An entry that is not used for so long is forgotten; `None`: never for that.
    pub expire: Option<Duration>,
    /// A full table takes nothing new, rather than to forget what was used longest ago.
    pub keeps: bool,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    value: T,
    /// Its place among `uses`.
    used: (Time, u64),
}

/// The table.
#[derive(Clone, Debug)]
pub struct Table<T> {
    shape: Shape,
    entries: BTreeMap<IpAddr, Entry<T>>,
    /// Entries by when they were last used.
    uses: BTreeMap<(Time, u64), IpAddr>,
    count: u64,
}

impl<T: Clone> Table<T> {
    /// An empty one.
    #[must_use]
    pub fn new(shape: Shape) -> Table<T> {
        Table { shape, entries: BTreeMap::new(), uses: BTreeMap::new(), count: 0 }
    }

    /// Another shape; what fits stays.
    pub fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
        while self.entries.len() as u64 > shape.size {
            self.forget_oldest();
        }
    }

    /// What is known, which is used by asking.
    pub fn get(&mut self, key: IpAddr, now: Time) -> Option<T> {
        self.expire(now);
        let value = self.entries.get(&key)?.value.clone();
        self.touch(key, now);
        Some(value)
    }

    /// Remembers it.
    pub fn put(&mut self, key: IpAddr, value: T, now: Time) {
        self.expire(now);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.value = value;
            return self.touch(key, now);
        }
        if self.entries.len() as u64 >= self.shape.size {
            if self.shape.keeps || self.shape.size == 0 {
                return;
            }
            self.forget_oldest();
        }
        self.count += 1;
        let used = (now, self.count);
        self.entries.insert(key, Entry { value, used });
        self.uses.insert(used, key);
    }

    /// What there is: key, value, when it will be forgotten.
    pub fn entries(&mut self, now: Time) -> impl Iterator<Item = (IpAddr, &T, Option<Duration>)> {
        self.expire(now);
        let expire = self.shape.expire;
        self.entries.iter().map(move |(key, entry)| {
            let left = expire.map(|expire| expire.saturating_sub(now.since(entry.used.0)));
            (*key, &entry.value, left)
        })
    }

    /// Forgets one; whether it was there.
    pub fn remove(&mut self, key: IpAddr) -> bool {
        let gone = self.entries.remove(&key);
        gone.is_some_and(|entry| self.uses.remove(&entry.used).is_some())
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.entries, self.uses) = (BTreeMap::new(), BTreeMap::new());
    }

    /// Its shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    fn touch(&mut self, key: IpAddr, now: Time) {
        if let Some(entry) = self.entries.get_mut(&key) {
            self.count += 1;
            self.uses.remove(&entry.used);
            entry.used = (now, self.count);
            self.uses.insert(entry.used, key);
        }
    }

    fn expire(&mut self, now: Time) {
        let Some(expire) = self.shape.expire else { return };
        while self.uses.first_key_value().is_some_and(|((used, _), _)| *used + expire <= now) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.uses.pop_first() {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::ZERO + Duration::from_secs(seconds)
    }

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn table(size: u64, expire: Option<u64>, keeps: bool) -> Table<char> {
        Table::new(Shape { size, expire: expire.map(Duration::from_secs), keeps })
    }

    #[test]
    fn an_entry_lasts_while_it_is_used() {
        let mut table = table(10, Some(10), false);
        table.put(ip(1), 'a', at(0));
        assert_eq!(table.get(ip(1), at(9)), Some('a'));
        assert_eq!(table.get(ip(1), at(18)), Some('a'), "used at 9");
        table.put(ip(1), 'b', at(20));
        assert_eq!(table.get(ip(1), at(29)), Some('b'));
        assert_eq!(table.get(ip(1), at(39)), None);
        assert_eq!(table.entries(at(39)).count(), 0);
    }

    #[test]
    fn a_full_table_forgets_the_oldest_or_takes_nothing() {
        let mut forgets = table(2, None, false);
        let mut keeps = table(2, None, true);
        for table in [&mut forgets, &mut keeps] {
            table.put(ip(1), 'a', at(0));
            table.put(ip(2), 'b', at(1));
            assert_eq!(table.get(ip(1), at(2)), Some('a'));
            table.put(ip(3), 'c', at(3));
        }
        let left = |table: &mut Table<char>| table.entries(at(4)).map(|(_, value, _)| *value).collect::<String>();
        assert_eq!((left(&mut forgets), left(&mut keeps)), ("ac".to_owned(), "ab".to_owned()));
        forgets.reshape(Shape { size: 1, expire: None, keeps: false });
        assert_eq!(left(&mut forgets), "c");
        assert!(forgets.remove(ip(3)) && !forgets.remove(ip(3)));
        assert!(forgets.uses.is_empty());
    }
}
