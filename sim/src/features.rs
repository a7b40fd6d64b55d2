//! What henge cannot do yet, and what the checker therefore does not ask for. Each of these goes
//! when its feature comes, and the checker is the stricter for it.

/// What the checker may count on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// An owner with part custody gets the records of the others, and becomes full. Without it a
    /// partition all of whose full voters lost their disks stays without, and answers no strict
    /// read: what its voters have is then judged by looking into their stores.
    pub acquires_records: bool,
    /// Replicas compare what they have without being asked. Without it only what is read from all
    /// voters is repaired, so that the checker reads every key before it compares.
    pub anti_entropy: bool,
    /// A record that is damaged at several voters at once is repaired from those that are left.
    /// Without it a record rots only where no other copy of it is damaged.
    pub repairs_many: bool,
}

/// What henge can do today.
pub const TODAY: Features = Features { acquires_records: true, anti_entropy: true, repairs_many: false };
