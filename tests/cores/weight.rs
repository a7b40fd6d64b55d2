//! The weight of a peer, changed while it runs.

use henge_types::Weight;

use super::*;

impl World {
    fn weigh(&mut self, at: usize, weight: u16) -> Response {
        self.ask(at, Request::Weight { weight })
    }

    /// The weight, the partitions placed and those held in full by peer `of`, as `at` sees it.
    fn weight(&mut self, at: usize, of: usize) -> (u16, u32, u32) {
        let Response::Status(status) = self.ask(at, Request::Status) else { panic!() };
        let member = status.members.iter().find(|m| m.peer == peer_id(of)).unwrap();
        (member.weight, member.partitions, member.full)
    }

    /// Waits until peer `of` has all that a peer of this weight, 1 or 2, has beside three of weight 1.
    fn wait_for_weight(&mut self, at: usize, of: usize, expected: u16) {
        // 3/4 and, since two fifths of three copies are more than one of each, nearly all partitions.
        let share = if expected == 1 { 46..=51 } else { 58..=64 };
        let end = self.now + Duration::from_secs(30);
        loop {
            let (weight, placed, full) = self.weight(at, of);
            if weight == expected && share.contains(&placed) && full == placed {
                return;
            }
            assert!(self.now < end, "weight {weight}, {placed} placed, {full} full");
            self.pause(Duration::from_millis(100));
        }
    }

    fn restart_with(&mut self, at: usize, weight: Option<u16>) {
        let before = self.config.clone();
        if let Some(weight) = weight {
            self.config = before.clone().with_weight(Weight::new(weight).unwrap());
        }
        self.restart(at, &[]);
        self.config = before;
        self.run("it is back", Self::all_ready);
    }
}

fn four() -> World {
    let mut world = three();
    let at = world.add(&[0]);
    world.run("the fourth is ready", |w| w.peers[at].ready);
    world.wait_for_weight(0, 3, 1);
    world
}

#[test]
fn partitions_follow_the_weight_while_the_peer_runs() {
    let mut world = four();
    for n in 0..40 {
        written(&world.put(0, &format!("key {n}"), "value", Supersede::Current, None));
    }
    assert_eq!(world.weigh(3, 2), Response::Accepted);
    world.wait_for_weight(0, 3, 2);
    for n in 0..40 {
        assert_eq!(world.get(3, &format!("key {n}")).0, ["value"]);
    }
    assert_eq!(world.weigh(3, 1), Response::Accepted);
    world.wait_for_weight(0, 3, 1);
}

#[test]
fn the_weight_outlives_a_crash_that_follows_the_answer() {
    let mut world = four();
    assert_eq!(world.weigh(3, 2), Response::Accepted);
    world.kill(3);
    world.restart_with(3, None);
    world.wait_for_weight(0, 3, 2);
}

#[test]
fn a_start_that_says_what_it_said_before_changes_nothing() {
    let mut world = four();
    for (given, said, then) in [(Some(2), 3, 3), (Some(2), 4, 4), (None, 5, 5)] {
        world.kill(3);
        world.restart_with(3, given);
        assert_eq!(world.weigh(3, said), Response::Accepted);
        world.kill(3);
        world.restart_with(3, given);
        assert_eq!(world.weight(3, 3).0, then, "{given:?}");
    }
    world.kill(3);
    world.restart_with(3, Some(1));
    assert_eq!(world.weight(3, 3).0, 1);
}

#[test]
fn weights_out_of_range_and_peers_that_leave_are_refused() {
    let mut world = four();
    for weight in [0, 65, u16::MAX] {
        let Response::Failed(Failure::BadRequest { reason }) = world.weigh(3, weight) else {
            panic!("{weight}")
        };
        assert_eq!(reason, format!("weight {weight}: use 1 to 64"));
    }
    assert_eq!(world.ask(3, Request::Leave), Response::Accepted);
    let Response::Failed(Failure::BadRequest { reason }) = world.weigh(3, 2) else { panic!("leaving") };
    assert!(reason.contains("leaves"), "{reason}");
    assert_eq!(world.weight(3, 3).0, 1);
    let newcomer = world.add(&[]);
    assert_eq!(world.weigh(newcomer, 2), Response::Failed(Failure::NotReady));
}
