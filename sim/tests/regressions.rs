//! What the simulator once found, each under its name. Written down as scenarios, so that they stay
//! what they are when the way changes in which seeds become scenarios.
#![allow(missing_docs, reason = "tests")]

use std::time::Duration;

use henge_sim::nemesis::{Fault, Planned};
use henge_sim::scenario::Scenario;
use henge_sim::world::Crash;

fn holds(scenario: &Scenario) {
    let report = scenario.run();
    assert_eq!(report.violation.map(|v| v.to_string()), None, "seed {}", scenario.seed);
}

fn at(millis: u64, fault: Fault) -> Planned {
    Planned { at: Duration::from_millis(millis), lasts: Duration::from_millis(800), fault }
}

// As `seed` was drawn when it failed: the faults are of that time, all else is still drawn so.
fn drawn(seed: u64, faults: Vec<Planned>) {
    let mut scenario = Scenario::from_seed(seed).with_faults(faults);
    scenario.workload.strict = 800;
    scenario.zones = 0;
    (scenario.lease, scenario.evict_after) = (None, None);
    holds(&scenario);
}

fn planned(at_nanos: u64, lasts_nanos: u64, fault: Fault) -> Planned {
    Planned { at: Duration::from_nanos(at_nanos), lasts: Duration::from_nanos(lasts_nanos), fault }
}

/// Peers that took over the parameters of their ring forgot where they can be dialled, and never
/// found each other (found by seed 15).
#[test]
fn newcomers_without_parameters_of_their_own_find_each_other() {
    for seed in 1..4 {
        holds(&Scenario::new(seed).with_peers(9).lasting(Duration::from_secs(5)));
    }
}

/// A peer that is no owner any more of partitions that hold records never told that it was ready
/// (found by seed 10).
#[test]
fn a_peer_that_can_give_up_nothing_is_ready() {
    let joins = (0..5).map(|n| at(4_000 + 700 * n, Fault::Join));
    let crash = at(9_000, Fault::Crash { pid: 1, crash: Crash::Machine });
    holds(&Scenario::new(10).with_peers(4).with_faults(joins.chain([crash]).collect()));
}

/// What was saved counted before it was durable.
#[test]
fn a_ring_survives_that_the_power_fails_while_it_is_born() {
    for seed in 1..6 {
        let blackouts = (0..6).map(|n| at(5 + 330 * n * seed, Fault::Blackout)).collect();
        let scenario = Scenario::new(seed).with_faults(blackouts).lasting(Duration::from_secs(12));
        holds(&scenario);
    }
}

/// A peer that saved its view of the ring a second late forgot, when its machine crashed, the
/// voters that came in between; alone with its old view it then answered strict reads.
#[test]
fn a_peer_does_not_forget_the_voters_that_it_answered_with() {
    drawn(
        544,
        vec![
            planned(
                575_756_244,
                2_339_526_542,
                Fault::SlowDisk { pid: 4, by: Duration::from_nanos(108_927_567) },
            ),
            planned(702_599_166, 2_910_290_400, Fault::Crash { pid: 0, crash: Crash::Machine }),
            planned(1_887_347_136, 281_813_617, Fault::Crash { pid: 1, crash: Crash::Disk }),
            planned(2_028_281_534, 3_077_131_437, Fault::Join),
            planned(2_087_676_334, 16_521_867_845, Fault::Blackout),
            planned(
                2_120_077_643,
                1_863_487_512,
                Fault::Partition { side: 10_323_764_013_505_333_447_632_365_381_161_573_737 },
            ),
            planned(2_302_191_084, 1_005_708_513, Fault::Join),
            planned(3_890_505_996, 16_206_419_519, Fault::Crash { pid: 2, crash: Crash::Disk }),
            planned(4_068_542_101, 27_096_730_881, Fault::Crash { pid: 4, crash: Crash::Process }),
            planned(4_188_629_730, 4_907_765_803, Fault::OneWay { from: 2, to: 1 }),
            planned(4_444_352_885, 6_961_651_421, Fault::Crash { pid: 0, crash: Crash::Process }),
            planned(4_768_341_499, 215_588_264, Fault::Blackout),
            planned(4_842_660_465, 3_765_621_331, Fault::Join),
            planned(5_312_647_691, 4_406_804_843, Fault::Crash { pid: 1, crash: Crash::Process }),
            planned(5_501_932_199, 114_414_813, Fault::Pause { pid: 0 }),
            planned(7_364_693_813, 1_055_840_496, Fault::Crash { pid: 3, crash: Crash::Disk }),
            planned(
                7_531_872_791,
                722_501_202,
                Fault::Partition { side: 288_235_392_967_912_295_883_923_383_669_199_114_373 },
            ),
            planned(
                7_909_600_681,
                28_514_498_719,
                Fault::Partition { side: 193_528_638_125_127_599_761_160_443_011_494_142_969 },
            ),
            planned(
                9_111_716_241,
                107_233_128,
                Fault::SlowDisk { pid: 4, by: Duration::from_nanos(129_356_352) },
            ),
            planned(9_537_779_264, 2_762_761_493, Fault::Jump { pid: 4, by_ms: 819_606 }),
            planned(9_596_334_871, 4_085_230_907, Fault::Crash { pid: 3, crash: Crash::Machine }),
            planned(9_726_298_982, 24_634_683_624, Fault::Crash { pid: 3, crash: Crash::Disk }),
            planned(
                9_754_701_127,
                3_446_481_184,
                Fault::Partition { side: 321_924_158_658_040_817_238_332_789_343_734_512_109 },
            ),
        ],
    );
}

/// A peer that saved its view after it had saved that it stopped cleanly: the two met the next start.
#[test]
fn after_a_clean_stop_nothing_is_written() {
    drawn(
        113,
        vec![
            planned(1_227_059_988, 863_707_458, Fault::FullDisk { pid: 1 }),
            planned(1_839_338_921, 806_106_230, Fault::Join),
            planned(2_611_760_912, 6_925_505_933, Fault::Join),
            planned(
                3_884_041_707,
                1_261_152_366,
                Fault::SlowDisk { pid: 6, by: Duration::from_nanos(217_484_331) },
            ),
            planned(5_563_409_208, 1_431_218_894, Fault::Crash { pid: 7, crash: Crash::Process }),
            planned(
                6_772_468_789,
                3_350_439_212,
                Fault::SlowLink { from: 2, to: 0, by: Duration::from_nanos(164_819_389) },
            ),
            planned(7_578_803_169, 13_922_731_548, Fault::Pause { pid: 6 }),
            planned(7_782_090_623, 1_365_779_566, Fault::FullDisk { pid: 4 }),
            planned(7_805_045_040, 19_348_465_630, Fault::Join),
            planned(
                9_375_427_645,
                13_183_116_666,
                Fault::Partition { side: 292_889_561_070_830_064_688_038_897_369_476_640_453 },
            ),
            planned(11_125_765_402, 2_628_434_301, Fault::OneWay { from: 5, to: 8 }),
            planned(
                11_535_566_983,
                3_883_280_123,
                Fault::Partition { side: 314_117_698_918_638_300_093_735_042_624_804_727_581 },
            ),
            planned(11_803_407_513, 3_021_321_624, Fault::Stop { pid: 6 }),
        ],
    );
}

/// A peer that gives a partition up and coordinated a write of it between its look whether it is empty
/// and the end of its custody.
#[test]
fn nothing_is_written_to_a_partition_that_is_being_given_up() {
    drawn(
        1492,
        vec![
            planned(
                846_988_072,
                4_220_909_960,
                Fault::Partition { side: 112_056_976_994_573_735_587_316_834_966_085_685_585 },
            ),
            planned(2_367_040_505, 4_146_669_351, Fault::Pause { pid: 6 }),
            planned(
                2_416_227_283,
                8_917_283_843,
                Fault::Partition { side: 52_765_829_091_831_408_657_239_562_055_826_982_137 },
            ),
            planned(2_885_038_093, 2_770_242_927, Fault::Join),
            planned(3_575_499_918, 3_523_750_641, Fault::OneWay { from: 3, to: 3 }),
            planned(4_068_700_699, 2_414_900_531, Fault::OneWay { from: 0, to: 4 }),
            planned(4_149_941_867, 1_397_042_161, Fault::Stop { pid: 6 }),
            planned(4_621_314_383, 1_358_901_646, Fault::FullDisk { pid: 3 }),
            planned(
                4_786_516_669,
                267_339_648,
                Fault::Partition { side: 37_995_477_007_666_117_165_107_542_453_913_960_112 },
            ),
            planned(
                5_417_641_753,
                8_352_044_948,
                Fault::SlowDisk { pid: 0, by: Duration::from_nanos(162_008_151) },
            ),
            planned(5_565_512_251, 3_281_939_243, Fault::Join),
            planned(6_230_667_883, 20_272_778_258, Fault::Crash { pid: 2, crash: Crash::Process }),
            planned(6_239_584_159, 4_883_503_039, Fault::Rot { pid: 6, key: 6 }),
            planned(6_289_877_174, 1_846_622_891, Fault::OneWay { from: 1, to: 5 }),
            planned(7_266_861_659, 970_567_774, Fault::OneWay { from: 0, to: 5 }),
            planned(7_512_342_285, 29_734_546_764, Fault::Join),
            planned(8_505_719_484, 1_197_073_796, Fault::Blackout),
            planned(8_857_720_974, 25_722_807_131, Fault::Join),
            planned(9_383_593_872, 14_474_850_600, Fault::Crash { pid: 0, crash: Crash::Machine }),
            planned(9_610_436_572, 3_049_680_288, Fault::Stop { pid: 2 }),
            planned(9_879_828_934, 2_219_929_150, Fault::Join),
            planned(10_284_938_303, 3_800_539_538, Fault::Stop { pid: 2 }),
            planned(11_345_074_042, 6_525_422_558, Fault::Join),
        ],
    );
}

/// A peer that crashed while it was let in, with its counters saved and its view not yet: it came back
/// as the only member of the ring.
#[test]
fn a_peer_that_was_not_let_in_to_the_end_asks_again() {
    drawn(
        3404,
        vec![
            planned(6_138_861_089, 917_646_872, Fault::Crash { pid: 1, crash: Crash::Process }),
            planned(6_589_986_830, 2_772_350_714, Fault::Intrude { pid: 0, key: 0 }),
            planned(7_058_237_593, 2_454_882_056, Fault::Crash { pid: 0, crash: Crash::Machine }),
            planned(8_180_644_066, 2_087_215_743, Fault::Stop { pid: 0 }),
            planned(10_419_551_448, 20_532_233_390, Fault::Crash { pid: 1, crash: Crash::Process }),
            planned(10_510_654_765, 2_413_370_484, Fault::Crash { pid: 0, crash: Crash::Machine }),
            planned(11_381_153_103, 3_945_764_781, Fault::Pause { pid: 1 }),
            planned(11_621_023_183, 3_950_174_882, Fault::Join),
            planned(11_659_190_357, 15_961_435_335, Fault::FullDisk { pid: 2 }),
            planned(12_317_797_517, 15_584_435_447, Fault::Crash { pid: 0, crash: Crash::Machine }),
            planned(14_362_848_036, 3_494_107_074, Fault::Crash { pid: 1, crash: Crash::Process }),
            planned(17_655_754_497, 1_214_204_350, Fault::Crash { pid: 2, crash: Crash::Process }),
            planned(18_714_699_770, 733_255_191, Fault::Stop { pid: 1 }),
            planned(19_222_525_436, 1_649_618_092, Fault::Join),
            planned(19_969_906_448, 1_372_359_331, Fault::Crash { pid: 1, crash: Crash::Machine }),
        ],
    );
}
