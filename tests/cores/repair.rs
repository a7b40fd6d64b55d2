//! Repairs that an operator asks for.

use henge::core::Request as PeerRequest;
use henge::store::WriteOp;
use henge_client::{Repair, RepairId, RepairState};
use henge_types::Partition;

use super::hints::{key, record};
use super::*;

/// A ring without anti-entropy in the background.
fn quiet() -> World {
    let mut world = World::new();
    world.config = world.config.with_sync_interval(None);
    three_of(world)
}

impl World {
    /// The store has records that nobody else has, whoever asks.
    fn has_alone(&self, at: usize, keys: std::ops::Range<u64>) {
        for n in keys {
            let op = WriteOp::Merge { key: key(&format!("key {n}")), record: record(n + 1), own: None };
            self.peers[at].store.write(vec![op]);
        }
    }

    fn has(&self, at: usize, keys: std::ops::Range<u64>) -> bool {
        keys.into_iter().all(|n| !self.values(at, &format!("key {n}")).is_empty())
    }

    fn repair(&mut self, at: usize, partition: Option<u32>) -> Response {
        self.ask(at, Request::Repair { partition: partition.map(Partition) })
    }

    /// The same, until it is over.
    fn repaired(&mut self, at: usize, partition: Option<u32>) -> Repair {
        let mut repair = told(self.repair(at, partition));
        let end = self.now + Duration::from_secs(30);
        while !repair.is_over() {
            assert!(self.now < end, "{repair:?}");
            self.pause(HOP);
            repair = told(self.ask(at, Request::RepairProgress { id: repair.id }));
        }
        repair
    }
}

fn told(response: Response) -> Repair {
    let Response::Repair(repair) = response else { panic!("{response:?}") };
    repair
}

fn refused(response: Response) -> String {
    let Response::Failed(Failure::BadRequest { reason }) = response else { panic!("{response:?}") };
    reason
}

#[test]
fn both_sides_have_everything_after_a_repair_and_not_before() {
    let mut world = quiet();
    world.has_alone(0, 0..40);
    world.has_alone(1, 40..60);
    world.pause(Duration::from_secs(50));
    assert!(!world.has(1, 0..40) && !world.has(0, 40..60), "nothing happens by itself");
    let repair = world.repaired(0, None);
    assert!(world.has(0, 0..60) && world.has(1, 0..60) && world.has(2, 0..40));
    assert_eq!(repair.records_pulled, 20);
    assert!((80..=100).contains(&repair.records_pushed), "{repair:?}");
    assert!(repair.bytes_pulled > 0 && repair.bytes_pushed > 0 && repair.keys_compared >= 80, "{repair:?}");
    assert_eq!(repair.records_left, 0);
    let members: Vec<_> = repair.members.iter().map(|m| (m.partitions, m.compared, m.state)).collect();
    assert_eq!(members, [(64, 64, RepairState::Through); 2]);

    let again = world.repaired(0, None);
    assert_ne!(again.id, repair.id);
    assert_eq!((again.records_pulled, again.bytes_pulled), (0, 0));
    assert!(world.has(2, 40..60), "what came is passed on by the next one at the latest");
    let idle = world.repaired(0, None);
    assert_eq!((idle.records_pulled, idle.records_pushed), (0, 0));
    assert_eq!(idle.keys_compared, 2 * 60);
}

#[test]
fn a_repair_of_one_partition_leaves_the_others_alone() {
    let mut world = quiet();
    world.has_alone(0, 0..40);
    let Response::Located(located) = world.ask(0, Request::Locate { key: key("key 7") }) else { panic!() };
    let repair = world.repaired(0, Some(located.partition.0));
    assert!(repair.members.iter().all(|m| (m.partitions, m.compared) == (1, 1)), "{repair:?}");
    assert!(world.has(1, 7..8) && world.has(2, 7..8));
    assert!(!world.has(1, 0..40));
}

#[test]
fn asking_again_joins_what_is_under_way() {
    let mut world = quiet();
    world.has_alone(0, 0..200);
    let first = told(world.repair(0, None));
    assert!(!first.is_over());
    assert_eq!(told(world.repair(0, None)).id, first.id);
    assert_eq!(told(world.repair(0, Some(3))).id, first.id, "all include one");
    assert_eq!(world.repaired(0, None).id, first.id);
    let last = told(world.ask(0, Request::RepairProgress { id: first.id }));
    assert!(last.is_over(), "the last one is remembered");

    let one = told(world.repair(0, Some(3)));
    assert_ne!(one.id, first.id);
    assert!(refused(world.repair(0, None)).contains("under way"));
    world.repaired(0, Some(3));
    let forgotten = world.ask(0, Request::RepairProgress { id: first.id });
    assert!(refused(forgotten).contains("does not know"));
}

#[test]
fn members_that_are_away_are_named_and_the_rest_is_done() {
    let mut world = quiet();
    world.kill(2);
    world.has_alone(0, 0..40);
    let repair = world.repaired(0, None);
    let state =
        |at: usize| repair.members.iter().find(|m| m.peer == peer_id(at)).map(|m| (m.state, m.compared));
    assert_eq!(state(1), Some((RepairState::Through, 64)));
    assert_eq!(state(2), Some((RepairState::Unreachable, 0)));
    assert!(world.has(1, 0..40));
}

#[test]
fn a_member_that_dies_in_the_middle_is_given_up() {
    let mut world = quiet();
    world.has_alone(0, 0..400);
    let repair = told(world.repair(0, None));
    assert!(!repair.is_over());
    world.kill(1);
    let repair = world.repaired(0, None);
    let states: Vec<_> = repair.members.iter().map(|m| (m.peer == peer_id(1), m.state)).collect();
    assert!(states.contains(&(true, RepairState::Unreachable)), "{states:?}");
    assert!(states.contains(&(false, RepairState::Through)), "{states:?}");
    assert!(world.has(2, 0..400));
}

#[test]
fn what_makes_no_sense_is_refused_in_words() {
    let mut world = quiet();
    assert_eq!(refused(world.repair(0, Some(64))), "partition 64: use 0 to 63");
    let unknown = world.ask(0, Request::RepairProgress { id: RepairId(1) });
    assert!(refused(unknown).contains("does not know"));
    let newcomer = world.add(&[]);
    assert_eq!(world.repair(newcomer, None), Response::Failed(Failure::NotReady));
    world.run("the other ring is there", |w| w.peers[newcomer].ready);
    assert!(world.repaired(newcomer, None).members.is_empty(), "it is alone");
}

#[test]
fn partitions_that_a_peer_has_nothing_of_are_for_others_to_repair() {
    let mut world = quiet();
    for _ in 0..2 {
        let at = world.add(&[0]);
        world.run("one more is ready", |w| w.peers[at].ready);
    }
    world.pause(Duration::from_secs(5));
    let mut voters_of = |n: u32| {
        let key = key(&format!("key {n}"));
        let Response::Located(located) = world.ask(0, Request::Locate { key }) else { panic!() };
        located
    };
    let located =
        (0..1000).map(&mut voters_of).find(|l| l.voters.iter().all(|v| v.peer != peer_id(0))).unwrap();
    let reason = refused(world.repair(0, Some(located.partition.0)));
    assert!(reason.contains("has nothing of"), "{reason}");
    assert!(located.voters.iter().any(|v| reason.contains(&v.peer.to_string())), "{reason}");
}

#[test]
fn a_repair_holds_two_sessions_at_a_time() {
    let mut world = quiet();
    for _ in 0..2 {
        let at = world.add(&[0]);
        world.run("one more is ready", |w| w.peers[at].ready);
    }
    world.pause(Duration::from_secs(5));
    world.has_alone(0, 0..400);
    let repair = told(world.repair(0, None));
    assert_eq!(repair.members.len(), 4);
    let mut most = 0;
    while !told(world.ask(0, Request::RepairProgress { id: repair.id })).is_over() {
        most = most.max(world.counter(0, "sync_sessions_in_flight"));
        world.pause(HOP);
    }
    assert_eq!(most, 2);
}

/// Somebody who is let in has to pull from those whom a repair is busy with.
#[test]
fn who_acquires_comes_between_the_slices_of_a_repair() {
    let mut world = World::new();
    let params = ClusterParams::new(3).unwrap().with_partitions(4096).unwrap();
    world.config = Config::new().with_params(params).with_sync_interval(None);
    let mut world = three_of(world);
    world.has_alone(0, 0..3000);
    world.has_alone(1, 0..3000);
    // What it had it has to acquire anew, from both others.
    world.kill(2);
    world.peers[2].store = Arc::new(Memory::default());
    world.restart(2, &[0]);
    world.run("it is let in", |w| w.peers[2].ready);
    let begun = world.counter(2, "sync_sessions") + world.counter(2, "sync_sessions_in_flight");
    let repair = world.repaired(2, None);
    let last = world.now;
    let slices = 2 * 4096 / 512;
    assert!(world.counter(2, "sync_sessions") - begun > slices, "others came between");
    assert!(repair.members.iter().all(|m| m.state == RepairState::Through), "{repair:?}");
    let full = |status: &henge_client::Status| {
        status.members.iter().find(|m| m.peer == peer_id(2)).is_some_and(|m| m.full == 4096)
    };
    loop {
        let Response::Status(status) = world.ask(2, Request::Status) else { panic!() };
        if full(&status) {
            break;
        }
        assert!(world.now < last + Duration::from_secs(10), "{status:?}");
        world.pause(Duration::from_millis(10));
    }
    assert!(world.has(2, 0..3000));
}

#[test]
fn a_member_that_says_nonsense_is_given_up() {
    let mut world = quiet();
    world.has_alone(0, 0..400);
    let repair = told(world.repair(0, None));
    // Whatever it is asked from now on, it answers something else.
    let end = world.now + Duration::from_secs(20);
    loop {
        for input in world.inputs.values_mut() {
            if let Input::Response { result: result @ Ok(henge::core::Response::Sync(_)), .. } = input {
                let nonsense = henge_sync::Response::Compared { answers: Vec::new() };
                *result = Ok(henge::core::Response::Sync(nonsense));
            }
            if let Input::Request { request: PeerRequest::Handoff(_), .. } = input {
                panic!("nothing is handed over here");
            }
        }
        let now = told(world.ask(0, Request::RepairProgress { id: repair.id }));
        if now.is_over() {
            assert!(now.members.iter().all(|m| m.state == RepairState::Failed), "{now:?}");
            break;
        }
        assert!(world.now < end, "{now:?}");
        world.pause(HOP / 4);
    }
}
