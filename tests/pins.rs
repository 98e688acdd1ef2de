//! A fault drill: what the pins show when the program ends, panics, aborts or hangs. Each in a process of its own, on pins that are files; and on
//! a simulated chip, where the kernel has one (Linux's gpio-sim) and the feature `gpio` drives it.

use embedded_hal::digital::{ErrorType, OutputPin};
use semrx::board::pins::{Active, Lines, Output, Pins, Rules};
use semrx::report::record::{Decided, Outcome, Record};
use semrx::scene::rule::{COLUMNS, HazardSet, PAIRS};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

#[path = "common/folder.rs"]
mod folder;
#[cfg(all(feature = "gpio", target_os = "linux"))]
#[path = "common/gpio_sim.rs"]
mod gpio_sim;

use folder::Folder;

/// What a process that is started anew is to go through, and with which pins.
const DRILL: &str = "SEMRX_DRILL";
const PINS: &str = "SEMRX_DRILL_PINS";
const STARVE: Duration = Duration::from_millis(150);
/// Nothing that is waited for takes so long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    if let Ok(drill) = std::env::var(DRILL) {
        return go_through(&drill, Path::new(&std::env::var(PINS).unwrap()));
    }
    the_end_of_main();
    a_panic();
    a_panic_that_aborts();
    a_loop_that_hangs();
    #[cfg(all(feature = "gpio", target_os = "linux"))]
    a_simulated_chip();
    #[cfg(not(all(feature = "gpio", target_os = "linux")))]
    println!("a simulated chip: skipped, this is built without the feature gpio");
}

/// A pin whose levels are the lines of a file, each with the time of its writing.
struct FilePin {
    file: PathBuf,
    start: Instant,
}

impl ErrorType for FilePin {
    type Error = embedded_hal::digital::ErrorKind;
}

impl FilePin {
    fn write(&mut self, level: char) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.file).unwrap();
        writeln!(file, "{level} {}", self.start.elapsed().as_micros()).unwrap();
    }
}

impl OutputPin for FilePin {
    fn set_low(&mut self) -> Result<(), Self::Error> {
        self.write('0');
        Ok(())
    }

    fn set_high(&mut self) -> Result<(), Self::Error> {
        self.write('1');
        Ok(())
    }
}

/// The levels that a pin was set to, one after the other, and when, in µs.
fn levels(dir: &Path, pin: &str) -> Vec<(char, u128)> {
    let text = fs::read_to_string(dir.join(pin)).unwrap_or_default();
    // A line that is being written isn't one yet.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let level = |line: &str| Some((line.chars().next()?, line.get(2..)?.parse().ok()?));
    whole.lines().map(|line| level(line).expect(line)).collect()
}

fn shown(dir: &Path, pin: &str) -> String {
    levels(dir, pin).iter().map(|(level, _)| level).collect()
}

fn pins(dir: &Path, start: Instant, rules: Rules) -> Pins {
    let output = |pin: &str| Some(Output::new(FilePin { file: dir.join(pin), start }, Active::High));
    let lines = Lines { hazard: output("hazard"), heartbeat: output("heartbeat"), fault: output("fault"), mode: None };
    Pins::over(lines, rules).unwrap()
}

/// A frame is decided: nothing is in the way.
fn decide(pins: &Pins, sequence: u32) {
    let free = Decided::new([500; COLUMNS], [0; PAIRS], HazardSet(0));
    let steady = Some(Default::default());
    pins.record(&Record { decision: Some(free), steady, ..Record::empty(1, sequence, 1, Outcome::Decided) });
}

/// In the process that was started for it.
fn go_through(drill: &str, dir: &Path) {
    let (long, start) = (Duration::from_secs(600), Instant::now());
    let patient = Rules { stale: long, starve: long, ..Rules::default() };
    match drill {
        "end" => decide(&pins(dir, start, patient), 0),
        "panic" => {
            let pins = pins(dir, start, patient);
            decide(&pins, 0);
            panic!("a drill");
        }
        "abort" => {
            // As with `panic = "abort"`: nothing unwinds, nothing is dropped.
            std::panic::set_hook(Box::new(|_| std::process::abort()));
            let pins = pins(dir, start, patient);
            decide(&pins, 0);
            let _ = std::thread::spawn(|| panic!("a drill")).join();
        }
        "hang" => {
            let pins = pins(dir, start, Rules { starve: STARVE, ..patient });
            fs::write(dir.join("begun"), start.elapsed().as_micros().to_string()).unwrap();
            decide(&pins, 0);
            wait_for("the hang to end", || dir.join("go on").exists());
            pins.feed();
            wait_for("the test to look", || dir.join("end").exists());
        }
        #[cfg(all(feature = "gpio", target_os = "linux"))]
        "held" => {
            let pins = Pins::open(&gpio_sim::config(dir, long)).unwrap();
            decide(&pins, 0);
            sleep(PATIENCE);
        }
        other => panic!("no drill is called {other:?}"),
    }
}

fn start(drill: &str, pins: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(DRILL, drill).env(PINS, pins).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn run(drill: &str, dir: &Path) -> ExitStatus {
    start(drill, dir).wait().unwrap()
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(2));
    }
}

/// At the start, with a decision, and at the end.
fn has_failed_safe(dir: &Path) {
    assert_eq!(shown(dir, "hazard"), "101");
    assert_eq!(shown(dir, "fault"), "101");
    assert_eq!(shown(dir, "heartbeat"), "01");
}

fn the_end_of_main() {
    let folder = Folder::new("end");
    assert!(run("end", &folder.0).success());
    has_failed_safe(&folder.0);
    println!("the end of main: hazard and fault asserted, the heartbeat still");
}

fn a_panic() {
    let folder = Folder::new("panic");
    assert_eq!(run("panic", &folder.0).code(), Some(101));
    has_failed_safe(&folder.0);
    println!("a panic: hazard and fault asserted, the heartbeat still");
}

fn a_panic_that_aborts() {
    let folder = Folder::new("abort");
    assert_eq!(run("abort", &folder.0).code(), None, "it ends by a signal");
    has_failed_safe(&folder.0);
    println!("a panic that aborts, of another thread: hazard and fault asserted, the heartbeat still");
}

fn a_loop_that_hangs() {
    let folder = Folder::new("hang");
    let dir = &folder.0;
    let mut child = start("hang", dir);
    wait_for("fail-safe levels", || shown(dir, "hazard") == "101" && shown(dir, "fault") == "101");
    let begun: u128 = fs::read_to_string(dir.join("begun")).unwrap().parse().unwrap();
    for pin in ["hazard", "fault"] {
        let after = Duration::from_micros((levels(dir, pin)[2].1 - begun) as u64);
        assert!(after >= STARVE, "{pin} after {after:?} already");
        println!(
            "a loop that hangs: {pin} asserted {after:.1?} after the last frame, starve_ms is {}",
            STARVE.as_millis()
        );
    }
    fs::write(folder.path("go on"), "").unwrap();
    // The decision of before still stands.
    wait_for("the levels of before", || {
        shown(dir, "hazard").starts_with("1010") && shown(dir, "fault").starts_with("1010")
    });
    fs::write(folder.path("end"), "").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(shown(dir, "hazard").ends_with('1') && shown(dir, "fault").ends_with('1'));
    assert_eq!(shown(dir, "heartbeat"), "01");
}

#[cfg(all(feature = "gpio", target_os = "linux"))]
fn a_simulated_chip() {
    use gpio_sim::{Sim, config, with};
    let sim = match Sim::new() {
        Ok(sim) => sim,
        Err(why) => return println!("a simulated chip: skipped, {why}"),
    };
    let chip = sim.chip();
    let refused = |text: &str| Pins::open(&with(&chip, text)).err().expect(text).to_string();

    let pins = Pins::open(&config(&chip, PATIENCE)).unwrap();
    assert_eq!(sim.levels(), [1, 0, 0], "hazard, heartbeat, and fault, which is active low");
    decide(&pins, 0);
    assert_eq!(sim.levels(), [0, 1, 1]);
    decide(&pins, 1);
    assert_eq!(sim.levels(), [0, 0, 1]);

    sim.pull(gpio_sim::MODE, true);
    assert!(!pins.is_mode_held());
    sim.pull(gpio_sim::MODE, false);
    assert!(pins.is_mode_held(), "it is active low");

    let held = refused(r#"{"hazard": {"line": 1}}"#);
    assert!(held.starts_with("pin hazard: line 1: ") && held.contains("is held by \"semrx\""), "{held}");
    let none = refused(r#"{"fault": {"line": 8}}"#);
    assert!(none.starts_with("pin fault: line 8: ") && none.contains("has 8 lines"), "{none}");
    drop(pins);

    let pins = Pins::open(&config(&chip, STARVE)).unwrap();
    let since = Instant::now();
    decide(&pins, 0);
    wait_for("fail-safe levels", || sim.levels() == [1, 1, 0]);
    let after = since.elapsed();
    assert!(after >= STARVE, "after {after:?} already");
    println!("a simulated chip: fail-safe {after:.1?} after the last frame, starve_ms is {}", STARVE.as_millis());
    wait_for("the levels of before", || {
        pins.feed();
        sim.levels() == [0, 1, 1]
    });
    drop(pins);

    // What held a line is gone without a word: then its resistor has it.
    sim.pull(gpio_sim::HAZARD, true);
    let mut child = start("held", &chip);
    wait_for("the other process", || sim.levels() == [0, 1, 1]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(sim.levels()[0], 1);
    println!("a simulated chip: after kill -9 the resistor asserts hazard");
}
