use super::*;

fn route(count: u16) -> Route {
    Route::new((1..=count).map(address).collect())
}

fn address(port: u16) -> Multiaddr {
    Multiaddr::empty().with(Protocol::Tcp(port))
}

fn refused() -> AttemptError {
    AttemptError::Unreachable { reason: "refused".to_owned() }
}

fn connected(route: &mut Route) -> PeerId {
    let peer = PeerId::random();
    route.on_connected(peer);
    peer
}

#[test]
fn at_first_each_address_is_tried_once_and_all_failures_are_named() {
    let mut route = route(2);
    assert_eq!(route.current(), address(1));
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert_eq!(route.current(), address(2));
    let Next::GiveUp(attempts) = route.on_failed(refused()) else { panic!("one round only") };
    let tried: Vec<_> = attempts.into_iter().map(|attempt| attempt.address).collect();
    assert_eq!(tried, [address(1), address(2)]);
}

#[test]
fn an_address_given_twice_is_tried_once() {
    let mut route = Route::new(vec![address(1), address(1)]);
    assert!(!route.has_others());
    assert!(matches!(route.on_failed(refused()), Next::GiveUp(attempts) if attempts.len() == 1));
}

#[test]
fn a_lost_connection_moves_on_and_is_tried_for_three_rounds() {
    let mut route = route(2);
    connected(&mut route);
    route.on_lost();
    assert_eq!(route.current(), address(2));
    assert!(route.is_urgent());
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
    assert!(!route.is_urgent());
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE * 4));
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert!(matches!(route.on_failed(refused()), Next::GiveUp(_)));
}

#[test]
fn a_connection_in_between_starts_the_rounds_anew() {
    let mut route = route(1);
    connected(&mut route);
    assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
    connected(&mut route);
    assert_eq!(route.on_failed(refused()), Next::Pause(PAUSE));
}

#[test]
fn given_addresses_come_before_learnt_ones() {
    let mut route = route(2);
    connected(&mut route);
    route.learn(vec![address(11), address(2), address(12)]);
    route.on_lost();
    let mut order = vec![route.current()];
    while route.on_failed(refused()) == Next::Dial {
        order.push(route.current());
    }
    // The address that was lost comes last: the peer there is known to be gone.
    assert_eq!(order, [2, 11, 12, 1].map(address));
}

#[test]
fn from_a_learnt_address_the_way_leads_back_to_the_given_ones() {
    let mut route = route(1);
    connected(&mut route);
    route.learn(vec![address(11), address(12)]);
    route.on_lost();
    assert_eq!(route.current(), address(11));
    connected(&mut route);
    route.on_lost();
    assert_eq!(route.current(), address(1));
}

#[test]
fn all_addresses_of_the_peer_that_was_lost_are_tried_last() {
    let mut route = route(1);
    let hung = connected(&mut route);
    let other = PeerId::random();
    let at = |port, peer| address(port).with(Protocol::P2p(peer));
    assert!(!route.has_others());
    route.learn(vec![at(11, hung)]);
    assert!(!route.has_others(), "another address of the same peer");
    route.learn(vec![at(11, hung), at(12, other)]);
    assert!(route.has_others());
    route.on_lost();
    assert_eq!(route.current(), at(12, other));
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert_eq!(route.current(), address(1));
}

#[test]
fn what_was_learnt_is_replaced_and_the_address_in_use_stays() {
    let mut route = route(1);
    connected(&mut route);
    route.learn(vec![address(11)]);
    route.on_lost();
    connected(&mut route);
    route.learn(vec![address(12)]);
    assert_eq!(route.current(), address(11));
    route.on_lost();
    assert_eq!(route.on_failed(refused()), Next::Dial);
    assert_eq!(route.current(), address(12));
}
