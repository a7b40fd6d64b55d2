//! A bounded table whose keys are made here: no hashing, and a key is never given twice.

/// Holds up to `max` values until they are taken out again by their keys.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    max: usize,
}

#[derive(Debug)]
struct Slot<T> {
    /// Counts the values that were here, so that the key of an earlier one finds nothing.
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new(max: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), max }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.max
    }

    /// Keeps a value. A full table drops it.
    pub(super) fn insert(&mut self, value: T) -> Option<u64> {
        if let Some(index) = self.free.pop() {
            let slot = self.slots.get_mut(index as usize)?;
            slot.value = Some(value);
            return Some(key(index, slot.generation));
        }
        if self.slots.len() >= self.max {
            return None;
        }
        let index = u32::try_from(self.slots.len()).ok()?;
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Some(key(index, 0))
    }

    /// Takes a value out, if it is still there.
    pub(super) fn remove(&mut self, key: u64) -> Option<T> {
        let index = u32::try_from(key & u64::from(u32::MAX)).ok()?;
        let slot = self.slots.get_mut(index as usize)?;
        if u64::from(slot.generation) != key >> 32 {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index);
        Some(value)
    }

    /// Takes all values out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        self.slots.drain(..).filter_map(|slot| slot.value)
    }
}

fn key(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that panics has failed, which is what it is for")]
mod tests {
    use super::Slots;

    #[test]
    fn a_key_finds_its_value_once() {
        let mut slots = Slots::new(2);
        let a = slots.insert('a').unwrap();
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
    }

    #[test]
    fn the_key_of_an_earlier_value_does_not_find_a_later_one_in_its_place() {
        let mut slots = Slots::new(1);
        let a = slots.insert('a').unwrap();
        slots.remove(a);
        let b = slots.insert('b').unwrap();
        assert_ne!(a, b);
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.remove(b), Some('b'));
    }

    #[test]
    fn a_full_table_takes_nothing_more() {
        let mut slots = Slots::new(1);
        let a = slots.insert('a').unwrap();
        assert!(slots.is_full());
        assert_eq!(slots.insert('b'), None);
        slots.remove(a);
        assert!(slots.insert('c').is_some());
    }
}
