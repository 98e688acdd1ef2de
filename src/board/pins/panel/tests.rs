use super::*;
use crate::board::pins::Active;
use crate::report::record::{Decided, names};
use crate::scene::rule::PAIRS;
use embedded_hal_mock::eh1::MockError;
use embedded_hal_mock::eh1::digital::State::{High, Low};
use embedded_hal_mock::eh1::digital::{Mock, State, Transaction};

const FREE: [u16; COLUMNS] = [500; COLUMNS];
/// A vehicle right ahead.
const AHEAD: HazardSet = HazardSet(1 << 3);
const NOTHING: HazardSet = HazardSet(0);

/// A panel over mocked pins, at a time of its own.
struct Bench {
    panel: Panel,
    /// hazard, fault, heartbeat.
    pins: [Mock; 3],
    start: Instant,
}

impl Bench {
    /// A bench whose outputs show the levels of the start.
    fn new() -> Self {
        let mut bench = Self::unlit(Active::High, Rules::default());
        bench.step(0, |_, _| (), [&[High], &[High], &[Low]]);
        bench
    }

    fn unlit(active: Active, rules: Rules) -> Self {
        let pins: [Mock; 3] = std::array::from_fn(|_| Mock::new(&[]));
        let [hazard, fault, heartbeat] = pins.clone().map(|pin| Some(Output::new(pin, active)));
        let panel = Panel::new(Lines { hazard, heartbeat, fault, mode: None }, rules);
        Bench { panel, pins, start: Instant::now() }
    }

    /// One that has seen a free way at 0 ms, with the heartbeat high.
    fn free() -> Self {
        let mut bench = Self::new();
        bench.step(0, |panel, now| panel.record(&decided(0, NOTHING), now), [&[Low], &[Low], &[High]]);
        bench
    }

    /// What is told when `change` is made at `at_ms`: then each pin is set to these levels, in this order, and to no other.
    fn step(&mut self, at_ms: u64, change: impl FnOnce(&mut Panel, Instant), levels: [&[State]; 3]) -> Option<String> {
        self.expect(levels.map(|levels| levels.iter().map(|&level| Transaction::set(level)).collect()));
        self.go(at_ms, change)
    }

    fn expect(&mut self, transactions: [Vec<Transaction>; 3]) {
        for (pin, transactions) in self.pins.iter_mut().zip(transactions) {
            pin.update_expectations(&transactions);
        }
    }

    fn go(&mut self, at_ms: u64, change: impl FnOnce(&mut Panel, Instant)) -> Option<String> {
        let now = self.start + Duration::from_millis(at_ms);
        change(&mut self.panel, now);
        let told = self.panel.put(now);
        self.pins.iter_mut().for_each(Mock::done);
        told
    }

    fn due_ms(&self, at_ms: u64) -> Option<u128> {
        let due = self.panel.due(self.start + Duration::from_millis(at_ms));
        due.map(|due| (due - self.start).as_millis())
    }
}

fn decided(sequence: u32, hazards: HazardSet) -> Record<'static> {
    Record {
        decision: Some(Decided::new(FREE, [0; PAIRS], hazards)),
        steady: Some(names(hazards)),
        ..Record::empty(1, sequence, 1, Outcome::Decided)
    }
}

#[test]
fn each_decided_frame_is_a_beat_and_hazard_follows_it() {
    let mut bench = Bench::free();
    let free = decided(1, NOTHING);
    bench.step(100, |panel, now| panel.record(&free, now), [&[], &[], &[Low]]);
    let blocked = decided(2, AHEAD);
    bench.step(200, |panel, now| panel.record(&blocked, now), [&[High], &[], &[High]]);
    bench.step(300, |panel, now| panel.record(&blocked, now), [&[], &[], &[Low]]);
    // Called no more, but with hysteresis still.
    let unsure = Record { steady: Some(names(AHEAD)), ..decided(3, NOTHING) };
    bench.step(400, |panel, now| panel.record(&unsure, now), [&[], &[], &[High]]);
    bench.step(500, |panel, now| panel.record(&free, now), [&[Low], &[], &[Low]]);
    let mut narrow = decided(6, NOTHING);
    narrow.decision.as_mut().unwrap().free_permille[8] = 100;
    bench.step(600, |panel, now| panel.record(&narrow, now), [&[High], &[], &[High]]);
    let aside = decided(7, HazardSet(1 << 1));
    bench.step(700, |panel, now| panel.record(&aside, now), [&[Low], &[], &[Low]]);
}

/// A sender that began anew counts from 0 again: what is late, the station says, and no number.
#[test]
fn a_late_frame_asserts_nothing() {
    use crate::board::pins::Pins;
    use crate::receiver::Decision;
    use crate::scene::rule::MAX_TASKS;
    use crate::station::Published;
    let hazard = Mock::new(&[Transaction::set(High), Transaction::set(Low), Transaction::set(High)]);
    let lines = Lines { hazard: Some(Output::new(hazard.clone(), Active::High)), ..Lines::default() };
    let pins = Pins::over(lines, Rules { stale: MOST, starve: MOST, ..Rules::default() }).unwrap();
    let free = decided(7, NOTHING);
    let record = || Published::Record { record: &free, scene: None, refined: None };
    pins.observe(&record());
    let mut decision = Decision { free_permille: FREE, hazard_permille: [0; PAIRS], task_permille: [500; MAX_TASKS] };
    decision.hazard_permille[3] = 900;
    let provisional = |sequence, is_late| Published::Provisional { stream: 1, sequence, decision: &decision, is_late };
    pins.observe(&provisional(6, true));
    pins.observe(&record());
    pins.observe(&provisional(0, false));
    drop(pins);
    hazard.clone().done();
}

#[test]
fn a_provisional_decision_asserts_and_never_releases() {
    let mut bench = Bench::new();
    // Without a record there is nothing to stand on.
    bench.step(1, |panel, now| panel.provisional(&FREE, NOTHING, now), [&[], &[], &[]]);
    let free = decided(1, NOTHING);
    bench.step(2, |panel, now| panel.record(&free, now), [&[Low], &[Low], &[High]]);
    bench.step(4, |panel, now| panel.provisional(&FREE, AHEAD, now), [&[High], &[], &[]]);
    bench.step(5, |panel, now| panel.provisional(&FREE, NOTHING, now), [&[], &[], &[]]);
    let free = decided(3, NOTHING);
    bench.step(6, |panel, now| panel.record(&free, now), [&[Low], &[], &[Low]]);
}

#[test]
fn a_decision_stands_for_so_long_from_its_capture_on() {
    let mut bench = Bench::free();
    bench.step(499, Panel::feed, [&[], &[], &[]]);
    bench.step(500, Panel::feed, [&[High], &[], &[]]);
    let mut old = decided(1, NOTHING);
    (old.delay_us, old.timing.decision_us) = (250_000, 150_000);
    bench.step(600, |panel, now| panel.record(&old, now), [&[Low], &[], &[Low]]);
    bench.step(699, Panel::feed, [&[], &[], &[]]);
    bench.step(700, Panel::feed, [&[High], &[], &[]]);
    (old.delay_us, old.timing.decision_us) = (u32::MAX, u64::MAX);
    bench.step(800, |panel, now| panel.record(&old, now), [&[], &[], &[High]]);
}

#[test]
fn a_starved_panel_fails_safe_until_it_is_fed() {
    let rules = Rules { stale: Duration::from_secs(10), ..Rules::default() };
    let mut bench = Bench::unlit(Active::High, rules);
    // Before the work loop has begun nothing starves.
    assert_eq!(bench.step(9000, |_, _| (), [&[High], &[High], &[Low]]), None);
    let free = decided(0, NOTHING);
    bench.step(10_000, |panel, now| panel.record(&free, now), [&[Low], &[Low], &[High]]);
    assert_eq!(bench.due_ms(10_000), Some(10_500));
    assert_eq!(bench.step(10_499, |_, _| (), [&[], &[], &[]]), None);
    let told = bench.step(10_500, |_, _| (), [&[High], &[High], &[]]).unwrap();
    assert!(told.contains("500 ms"), "{told}");
    assert_eq!(bench.step(10_600, |_, _| (), [&[], &[], &[]]), None);
    assert_eq!(bench.due_ms(10_600), Some(20_000));
    // The decision still stands.
    assert_eq!(bench.step(10_700, Panel::feed, [&[Low], &[Low], &[]]), None);
    bench.step(11_200, |_, _| (), [&[High], &[High], &[]]);
    // It stands no more, and nothing is broken.
    assert_eq!(bench.step(20_000, Panel::feed, [&[], &[Low], &[]]), None);
    bench.step(20_100, |panel, now| panel.record(&free, now), [&[Low], &[], &[Low]]);
}

#[test]
fn fault_follows_the_newest_frame_and_the_alarm() {
    let mut bench = Bench::free();
    let refused = Record::empty(1, 1, 1, Outcome::Refused);
    bench.step(10, |panel, now| panel.record(&refused, now), [&[], &[High], &[]]);
    let free = decided(2, NOTHING);
    bench.step(20, |panel, now| panel.record(&free, now), [&[], &[Low], &[Low]]);
    let failed = Record { gate: FAILED, ..decided(3, NOTHING) };
    bench.step(30, |panel, now| panel.record(&failed, now), [&[], &[High], &[High]]);
    bench.step(40, |panel, now| panel.record(&free, now), [&[], &[Low], &[Low]]);
    bench.step(50, |panel, _| panel.alarm(true), [&[], &[High], &[]]);
    bench.step(60, |panel, now| panel.record(&free, now), [&[], &[], &[High]]);
    bench.step(70, |panel, _| panel.alarm(false), [&[], &[Low], &[]]);
    assert_eq!(FAILED, crate::receiver::Gate::Failed.name());
}

#[test]
fn what_is_lost_or_behind_a_later_frame_changes_nothing() {
    let mut bench = Bench::free();
    let lost = Record::empty(1, 1, 4, Outcome::Lost);
    bench.step(10, |panel, now| panel.record(&lost, now), [&[], &[], &[]]);
    let behind = Record { outcome: Outcome::DecidedLate, steady: None, ..decided(1, AHEAD) };
    bench.step(20, |panel, now| panel.record(&behind, now), [&[], &[], &[]]);
    // Its deadline is not that of the pins.
    let slow = Record { outcome: Outcome::DecidedLate, ..decided(5, AHEAD) };
    bench.step(30, |panel, now| panel.record(&slow, now), [&[High], &[], &[Low]]);
}

#[test]
fn what_has_ended_stays_so() {
    let mut bench = Bench::free();
    bench.step(10, |panel, _| panel.end(), [&[High], &[High], &[]]);
    let free = decided(1, NOTHING);
    bench.step(20, |panel, now| panel.record(&free, now), [&[], &[], &[]]);
    bench.step(30, Panel::feed, [&[], &[], &[]]);
    assert_eq!(bench.step(900, |_, _| (), [&[], &[], &[]]), None);
}

#[test]
fn an_output_that_is_stuck_is_a_fault_and_stops_the_heart() {
    let mut bench = Bench::free();
    let gone = || Transaction::set(High).with_error(MockError::Io(std::io::ErrorKind::NotFound));
    let blocked = decided(1, AHEAD);
    bench.expect([vec![gone()], vec![Transaction::set(High)], vec![]]);
    let told = bench.go(10, |panel, now| panel.record(&blocked, now)).unwrap();
    assert!(told.starts_with("hazard can't be put: ") && told.contains("NotFound"), "{told}");
    bench.expect([vec![gone()], vec![], vec![]]);
    assert_eq!(bench.go(20, |panel, now| panel.record(&blocked, now)), None, "it is told once");
    // It can be put again: the next look takes fault back.
    bench.step(30, Panel::feed, [&[High], &[], &[]]);
    bench.step(40, |panel, now| panel.record(&blocked, now), [&[], &[Low], &[Low]]);
}

#[test]
fn active_low_is_the_other_way_round() {
    let mut bench = Bench::unlit(Active::Low, Rules::default());
    bench.step(0, |_, _| (), [&[Low], &[Low], &[High]]);
    let free = decided(0, NOTHING);
    bench.step(1, |panel, now| panel.record(&free, now), [&[High], &[High], &[Low]]);
    bench.step(2, |panel, _| panel.end(), [&[Low], &[Low], &[]]);
}

#[test]
fn a_pin_that_is_missing_is_missed_by_none() {
    let rules = Rules { stale: Duration::MAX, starve: Duration::MAX, ..Rules::default() };
    let (mut panel, now) = (Panel::new(Lines::default(), rules), Instant::now());
    panel.record(&decided(0, AHEAD), now);
    assert_eq!(panel.put(now), None);
    assert!(!panel.is_mode_held());
}

#[test]
fn the_mode_is_held_at_its_level_and_while_it_can_not_be_read() {
    let unread = Transaction::get(Low).with_error(MockError::Io(std::io::ErrorKind::NotFound));
    let mut pin =
        Mock::new(&[Transaction::get(High), Transaction::get(Low), unread.clone(), unread, Transaction::get(High)]);
    let mut fault = Mock::new(&[High, Low].map(Transaction::set));
    let lines = Lines {
        fault: Some(Output::new(fault.clone(), Active::High)),
        mode: Some(Input::new(pin.clone(), Active::Low)),
        ..Lines::default()
    };
    let (mut panel, now) = (Panel::new(lines, Rules::default()), Instant::now());
    let mut look = || (panel.is_mode_held(), panel.put(now).is_some());
    assert_eq!(look(), (false, false));
    assert_eq!(look(), (true, false));
    panel.record(&decided(0, NOTHING), now);
    let mut look = || (panel.is_mode_held(), panel.put(now).is_some());
    assert_eq!(look(), (true, true));
    assert_eq!(look(), (true, false), "it is told once");
    assert_eq!(look(), (false, false));
    pin.done();
    drop(panel);
    fault.done();
}

#[test]
fn the_dead_man_sleeps_until_time_changes_a_level() {
    let mut bench = Bench::unlit(Active::High, Rules { starve: Duration::from_millis(800), ..Rules::default() });
    bench.step(0, |_, _| (), [&[High], &[High], &[Low]]);
    assert_eq!(bench.panel.sleep(bench.start), None);
    let free = decided(0, NOTHING);
    bench.step(100, |panel, now| panel.record(&free, now), [&[Low], &[Low], &[High]]);
    let at = |ms| bench.start + Duration::from_millis(ms);
    assert!(bench.panel.is_due_earlier(at(100)), "it sleeps without end");
    assert_eq!(bench.panel.sleep(at(100)), Some(Duration::from_millis(500)));
    bench.panel.feed(at(200));
    assert!(!bench.panel.is_due_earlier(at(200)));
    assert_eq!(bench.due_ms(600), Some(1000));
    assert_eq!(bench.due_ms(1000), None);
}
