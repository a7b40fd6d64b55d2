//! The bytes of every format, stored or sent. A change here is a change of format: it needs a new
//! version, and a peer that still reads the old one. They were computed apart from this code, from
//! RFC 8949 (CBOR), RFC 2104 (HMAC), RFC 8032 (Ed25519) and the documentation of each type.

use henge_types::codec::{Stored, decode, encode};
use henge_types::{
    ActorId, Cause, Clock, ClusterName, ClusterParams, Content, Context, Custody, CustodyMap, Incarnation,
    Key, MemberState, Partition, PartitionCount, Position, Record, RingId, RingSecret, SignedAccusation,
    SignedMember, Voter, Voters, Write,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::common::{
    Ed25519, NOW, RING, accusation, clock, dot, keypair, member, operation, peer, put, value, write,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[track_caller]
fn golden<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T, expected: &str) {
    assert_eq!(hex(&encode(value).unwrap()), expected);
    assert_eq!(decode::<T>(&unhex(expected)).as_ref(), Ok(value));
}

#[track_caller]
fn golden_record(record: &Record, stored: &str, digest: &str) {
    assert_eq!(hex(&record.to_stored().unwrap()), stored);
    assert_eq!(Record::from_stored(&unhex(stored)).as_ref(), Ok(record));
    assert_eq!(hex(&record.digest().0), digest);
}

fn stone() -> Key {
    Key::new("stone").unwrap()
}

#[test]
fn key() {
    golden(&stone(), "4573746f6e65");
    assert_eq!(stone().position().to_string(), "dc3d50da8dac041f");
}

#[test]
fn record_of_nothing() {
    golden_record(
        &Record::new(),
        "0183808080",
        "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc",
    );
}

#[test]
fn record_with_a_value() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([]), 1);
    golden_record(
        &record,
        "\
        01838185825001010101010101010101010101010101014776616c756520311b0000018bcfe56801f6500000\
        0000000000000000000000000001818250010101010101010101010101010101010181835000000000000000\
        000000000000000001825001010101010101010101010101010101011b0000018bcfe56801",
        "3d1ac2fd4b6c47b19d317f7a7f503f8cfc53f6891365147323c7f70b7237c019",
    );
}

#[test]
fn record_with_a_tombstone() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([]), 1);
    let delete = Write { content: Content::Tombstone, ..write(dot(2, 300), &clock([(1, 1)]), 2) };
    record.apply(&delete).unwrap();
    golden_record(
        &record,
        "\
        0183818582500202020202020202020202020202020219012cf61b0000018bcfe56802f65000000000000000\
        0000000000000000028282500101010101010101010101010101010101825002020202020202020202020202\
        02020219012c8283500000000000000000000000000000000282500202020202020202020202020202020219\
        012c1b0000018bcfe56802835000000000000000000000000000000001825001010101010101010101010101\
        010101011b0000018bcfe56801",
        "5f733938b27674009eed5a85e64207bda08013cd87e277bc2438b83477c6233a",
    );
}

#[test]
fn record_with_an_expiry() {
    let mut record = Record::new();
    record.apply(&Write { expires_at: Some(NOW + 60_000), ..write(dot(1, 1), &clock([]), 1) }).unwrap();
    golden_record(
        &record,
        "\
        01838185825001010101010101010101010101010101014776616c756520311b0000018bcfe568011b000001\
        8bcfe65260500000000000000000000000000000000181825001010101010101010101010101010101018183\
        5000000000000000000000000000000001825001010101010101010101010101010101011b0000018bcfe568\
        01",
        "1305ed2cc3726304e1597998ed5ffe75efc71c0a850b9d8141e2f9bd908ca5b1",
    );
}

#[test]
fn record_with_several_siblings() {
    let mut record = Record::new();
    put(&mut record, dot(1, 1), &clock([(2, 24)]), 1);
    record.apply(&Write { content: value(""), ..write(dot(1, 2), &clock([]), 2) }).unwrap();
    record.apply(&Write { content: Content::Tombstone, ..write(dot(3, 70_000), &clock([]), 3) }).unwrap();
    golden_record(
        &record,
        "\
        01838385825001010101010101010101010101010101014776616c756520311b0000018bcfe56801f6500000\
        00000000000000000000000000018582500101010101010101010101010101010102401b0000018bcfe56802\
        f65000000000000000000000000000000002858250030303030303030303030303030303031a00011170f61b\
        0000018bcfe56803f65000000000000000000000000000000003838250010101010101010101010101010101\
        010282500202020202020202020202020202020218188250030303030303030303030303030303031a000111\
        70838350000000000000000000000000000000038250030303030303030303030303030303031a000111701b\
        0000018bcfe56803835000000000000000000000000000000002825001010101010101010101010101010101\
        021b0000018bcfe5680283500000000000000000000000000000000182500101010101010101010101010101\
        0101011b0000018bcfe56801",
        "8d1cc979c7e71ba0c045c828f37fd21208810b3a3277c63576c255b1393d0209",
    );
}

#[test]
fn clock_of_two_actors() {
    golden::<Clock>(
        &clock([(1, 2), (3, 400)]),
        "8282500101010101010101010101010101010102825003030303030303030303030303030303190190",
    );
    golden(&dot(1, 24), "8250010101010101010101010101010101011818");
}

#[test]
fn context_token() {
    let secret = RingSecret([0x5e; 32]);
    let seen = clock([(1, 2), (3, 400)]);
    let token = "\
        AaNkcmluZ1ClpaWlpaWlpaWlpaWlpaWlaHBvc2l0aW9uG9w9UNqNrAQfZWNsb2NrgoJQAQEBAQEBAQEBAQEBAQEB\
        AQKCUAMDAwMDAwMDAwMDAwMDAwMZAZC8mVv0Qjyy_axTeueGiID3";
    assert_eq!(Context::seal(RING, &secret, &stone(), &seen).to_string(), token);
    assert_eq!(token.parse::<Context>().unwrap().open(RING, &secret, &stone()), Ok(seen));
}

#[test]
fn custody_maps() {
    let sixteen = PartitionCount::new(16).unwrap();
    let mut map = CustodyMap::uniform(sixteen, Custody::Full);
    golden(&map, "46000000001002");
    map.set(Partition(3), Custody::Part);
    map.set(Partition(15), Custody::None);
    golden(&map, "4901000000106aaaaa2a");
    assert_eq!(hex(&map.digest().0), "590d3e1506e7670838f55f80a3dd5180");
    golden(&map.digest(), &format!("50{}", "590d3e1506e7670838f55f80a3dd5180"));
    let mut two = CustodyMap::uniform(PartitionCount::new(2).unwrap(), Custody::Full);
    two.set(Partition(1), Custody::Part);
    golden(&two, "46010000000206");
}

#[test]
fn member_record() {
    assert_eq!(
        hex(&peer(1).to_bytes()),
        "0024080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
    );
    golden(
        &member(1),
        "\
        ad6472696e6750a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5647065657258260024080112208a88e3dd7409f195\
        fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c6b696e6361726e6174696f6e1b0000018bcfe568\
        0067636f756e74657207657374617465666163746976656677656967687402647a6f6e6565686f7573656961\
        6464726573736573814804c0000201060fa167637573746f6479500303030303030303030303030303030367\
        7265636f7264730c64776972658201016873757370656374738183582600240801122097ffc883c80bee7237\
        ef95d9b9b703d4ad63e60a21e605867682b75b8b3f430309191000696576696374696f6e731a01020304",
    );
}

#[test]
fn signed_member() {
    golden(
        &SignedMember::sign(member(1), &Ed25519(keypair(1))).unwrap(),
        "\
        a2677061796c6f6164590106ad6472696e6750a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5647065657258260024\
        080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c6b696e6361726e61\
        74696f6e1b0000018bcfe5680067636f756e7465720765737461746566616374697665667765696768740264\
        7a6f6e6565686f75736569616464726573736573814804c0000201060fa167637573746f6479500303030303\
        0303030303030303030303677265636f7264730c647769726582010168737573706563747381835826002408\
        01122097ffc883c80bee7237ef95d9b9b703d4ad63e60a21e605867682b75b8b3f4303091910006965766963\
        74696f6e731a01020304697369676e6174757265584020af3acd15a1aea53169b52f938483485d4b59850004\
        c4bcdf71b751e42fb73cd82e49fa2b4abeeda39a40a3b169b1b018db12e21566b5bb1642de5a335fbc06",
    );
}

#[test]
fn signed_accusation() {
    golden(
        &SignedAccusation::sign(accusation(Cause::Gone), &Ed25519(keypair(1))).unwrap(),
        "\
        a2677061796c6f616458c6a86472696e6750a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a567616363757365725826\
        0024080112208a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c676163637573\
        656458260024080112208139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3946b69\
        6e6361726e6174696f6e1b0000018bcfe5680067636f756e74657219012c65636175736564676f6e656a656c\
        6563746f72617465056e6973737565645f756e69785f6d731b0000018bcfe56800697369676e617475726558\
        40023ecf58b95e24392e5aa9c5f9334ecab1a83a584db808ccc156407719aa7c7ee7aa52fbed46d5714a63db\
        512b0f17d9776bc49acec078920cd833cfc1f6060b",
    );
}

#[test]
fn cluster_parameters() {
    golden(
        &ClusterParams::default(),
        "\
        a56a706172746974696f6e73194000687265706c69636173036b726561645f71756f72756d026c7772697465\
        5f71756f72756d0271746f6b656e735f7065725f776569676874190100",
    );
}

#[test]
fn voters_digest() {
    let voters = vec![
        Voter { peer: peer(1), incarnation: Incarnation(NOW), owner: true, custody: Custody::Full },
        Voter { peer: peer(2), incarnation: Incarnation(5), owner: false, custody: Custody::Part },
    ];
    let digest = Voters::new(RING, Partition(9), voters).digest();
    golden(&digest, &format!("50{}", "100aeb210b2f55b23e7e578714d3a850"));
}

#[test]
fn actor_of_a_stretch() {
    let actor = ActorId::derive(&peer(1), Incarnation(NOW), 3);
    assert_eq!(hex(&actor.0), "077a8592b3b7f0f0e9bf50e033478530");
}

#[test]
fn tokens_of_a_peer() {
    assert_eq!(Position::of_token(&peer(1), 0).to_string(), "ccd3a2542c29061d");
    assert_eq!(Position::of_token(&peer(1), 255).to_string(), "5c579f8028172a0a");
}

#[test]
fn words_and_numbers() {
    golden(&Custody::None, "646e6f6e65");
    golden(&Custody::Part, "6470617274");
    golden(&Custody::Full, "6466756c6c");
    golden(&Cause::Removed, "6772656d6f766564");
    golden(&Cause::Gone, "64676f6e65");
    golden(&MemberState::Active, "66616374697665");
    golden(&MemberState::Leaving, "676c656176696e67");
    golden(&MemberState::Left, "646c656674");
    golden(&Position(0x0102_0304_0506_0708), "1b0102030405060708");
    golden(&Partition(16_383), "193fff");
    golden(&PartitionCount::default(), "194000");
    golden(&Incarnation(23), "17");
    golden(&ClusterName::default(), "6568656e6765");
    golden(&operation(0x0102_0304), "5000000000000000000000000001020304");
    golden(&RingId([0xa5; 16]), "50a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5");
    golden(&RingSecret([0x5e; 32]), &format!("5820{}", "5e".repeat(32)));
}
