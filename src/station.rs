//! The whole way of a packet: assembly, scene, receiver, records.

use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError};
use crate::receiver::{Concluding, Conclusion, Config, Decision, Gate, Pace, Receiver, Refined, Steady};
use crate::report::record::{Decided, Outcome, Record, names};
pub use crate::scene::Drops;
use crate::scene::{Assembly, Dropped, Event, ReceivedFrame, Reception, Scene};
use crate::wire::KeyRequest;
use crate::wire::codec::Scratch;
use std::time::Instant;

/// What a [`Station`] makes known, in this order for a frame: its provisional decision, then its record.
#[derive(Debug)]
pub enum Published<'a> {
    /// Stands from now on, until the record of the same number says otherwise. `is_late`: of a frame behind a later one, which says nothing of now.
    Provisional { stream: u16, sequence: u32, decision: &'a Decision, is_late: bool },
    Record {
        record: &'a Record<'a>,
        /// The received scene; `None` for a frame that was lost or refused.
        scene: Option<&'a Scene<'a>>,
        /// The refined scene, where one was generated.
        refined: Option<Refined<'a>>,
    },
    /// A packet was dropped, and counted.
    Dropped(Dropped),
}

/// A receiver with its stream. [`push`](Station::push) packets; take what it publishes.
///
/// Who has more than one of them to serve does it piece by piece: [`hear`](Station::hear) takes a packet, [`take`](Station::take) the next of what
/// became of it, and [`work`](Station::work) goes on with the frame that came of that: its provisional decision, then a sampler step a call.
pub struct Station {
    receiver: Receiver,
    /// What the head's own tasks are called.
    tasks: Vec<String>,
    assembly: Assembly<'static>,
    scene: Option<Scene<'static>>,
    steady: Steady,
    scratch: Box<Scratch>,
    deadline_us: Option<u64>,
    /// Packets come when they come, and frames grow stale: no capture.
    is_live: bool,
    arrival: Instant,
    /// The frame that has no record yet.
    current: Option<Current>,
    drops: Drops,
    lacks_key: Option<KeyRequest>,
}

/// A frame between its scene and its record.
struct Current {
    record: Record<'static>,
    arrival: Instant,
    /// The scene of a frame that came behind a later one.
    alone: Option<Scene<'static>>,
    /// `None` before the provisional decision.
    concluding: Option<Concluding>,
}

/// Why a frame of a live stream isn't decided.
const OVERTAKEN: &str = "a newer frame of its stream was waiting";
const EXPIRED: &str = "its deadline had passed before it was its turn";
const AFTER_DEADLINE: &str = "after its deadline";
/// Why its refinement is given up.
const NEWER: &str = "a newer frame of its stream came";
const CHANGED: &str = "the bundle was changed";
const NO_TIME: &str = "others took the time that it needed";

impl Station {
    /// `from_start`: see [`Assembly::new`].
    ///
    /// # Errors
    /// See [`Receiver::open`].
    pub fn open(bundle: &Bundle, config: Config, from_start: bool, engine: &Engine) -> Result<Self, BundleError> {
        Self::open_with_head(bundle, None, config, from_start, engine)
    }

    /// [`Station::open`] with the head of this name: what the stream asks for.
    ///
    /// # Errors
    /// See [`Receiver::open_with_head`].
    pub fn open_with_head(
        bundle: &Bundle,
        head: Option<&str>,
        config: Config,
        from_start: bool,
        engine: &Engine,
    ) -> Result<Self, BundleError> {
        let receiver = Receiver::open_with_head(bundle, head, config, Pace::default(), engine)?;
        Ok(Self::new(receiver, Assembly::new(from_start), from_start))
    }

    /// A station with this receiver; `from_start` as the `assembly` was made.
    pub fn new(receiver: Receiver, assembly: Assembly<'static>, from_start: bool) -> Self {
        Station {
            tasks: receiver.tasks().to_vec(),
            deadline_us: receiver.deadline_us(),
            receiver,
            assembly,
            scene: None,
            steady: Steady::default(),
            scratch: Box::new(Scratch::new()),
            is_live: !from_start,
            arrival: Instant::now(),
            current: None,
            drops: Drops::default(),
            lacks_key: None,
        }
    }

    /// Puts another receiver in the place of the station's; what the stream has shown is kept. The frame that is worked on is still decided by the
    /// one before, without more steps.
    ///
    /// # Errors
    /// As [`push`](Station::push).
    pub fn change(&mut self, receiver: Receiver, publish: &mut dyn FnMut(Published<'_>)) -> Result<(), EngineError> {
        while self.current.is_some() {
            match self.current.take_if(|current| current.concluding.is_some()) {
                Some(Current { concluding: Some(concluding), record, arrival, alone }) => {
                    let current = Current { concluding: None, record, arrival, alone };
                    self.settle(current, concluding.give_up(CHANGED), publish);
                }
                _ => {
                    self.work(0, publish)?;
                }
            }
        }
        (self.tasks, self.deadline_us) = (receiver.tasks().to_vec(), receiver.deadline_us());
        self.receiver = receiver;
        Ok(())
    }

    /// Forgets the stream, for another one that begins. Nothing is worked on, and all events were taken.
    pub fn restart(&mut self, assembly: Assembly<'static>) {
        (self.assembly, self.scene, self.steady, self.lacks_key) = (assembly, None, Steady::default(), None);
    }

    /// The stream that it follows, once it has heard one or was told.
    pub fn stream(&self) -> Option<u16> {
        self.assembly.stream()
    }

    /// See [`Assembly::stream_of`].
    pub fn stream_of(&self, bytes: &[u8]) -> Option<u16> {
        self.assembly.stream_of(bytes)
    }

    pub fn receiver(&mut self) -> &mut Receiver {
        &mut self.receiver
    }

    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// What to ask the sender for, once a frame came that leans on a key frame which isn't there, or on a tile of it. Asked once, it is `None` until the next one.
    pub fn key_request(&mut self) -> Option<KeyRequest> {
        self.lacks_key.take().or_else(|| self.assembly.key_request())
    }

    /// The stream's end marker has come.
    pub fn ended(&self) -> bool {
        self.assembly.ended()
    }

    /// The end marker has come, and every frame before it.
    pub fn complete(&self) -> bool {
        self.assembly.complete()
    }

    /// Takes a packet all its way. `erased(i)` says whether the radio could not deliver tile `i` of a whole frame.
    ///
    /// # Errors
    /// A model's run; bad packets are no errors, they are published as dropped.
    pub fn push(
        &mut self,
        bytes: &[u8],
        reception: Reception,
        erased: impl Fn(usize) -> bool,
        publish: &mut dyn FnMut(Published<'_>),
    ) -> Result<(), EngineError> {
        self.hear(bytes, reception, erased, Instant::now());
        self.work_off(publish)
    }

    /// No packet follows: settles what is still waited for.
    ///
    /// # Errors
    /// As [`push`](Station::push).
    pub fn end(&mut self, publish: &mut dyn FnMut(Published<'_>)) -> Result<(), EngineError> {
        self.close();
        self.work_off(publish)
    }

    fn work_off(&mut self, publish: &mut dyn FnMut(Published<'_>)) -> Result<(), EngineError> {
        loop {
            while self.work(u16::MAX, publish)? {}
            if !self.take(publish) {
                return Ok(());
            }
        }
    }

    /// Takes a packet that arrived at `arrival`. [`take`](Station::take) all that came of it before the next one. `erased` as for
    /// [`push`](Station::push).
    pub fn hear(&mut self, bytes: &[u8], reception: Reception, erased: impl Fn(usize) -> bool, arrival: Instant) {
        self.arrival = arrival;
        self.assembly.push(bytes, reception, erased);
    }

    /// No packet follows: what is still waited for can be [taken](Station::take).
    pub fn close(&mut self) {
        self.arrival = Instant::now();
        self.assembly.end();
    }

    /// The time at which the frame that [`work`](Station::work) would go on with arrived, and whether its provisional decision is made. `None`: there is no such frame.
    pub fn current(&self) -> Option<(Instant, bool)> {
        self.current.as_ref().map(|current| (current.arrival, current.concluding.is_some()))
    }

    /// Takes the next thing that became of the packets; `false` where that was all. A frame goes into the scene, and is then worked on; one that was
    /// still worked on is settled as it stands: a newer one overtakes it.
    pub fn take(&mut self, publish: &mut dyn FnMut(Published<'_>)) -> bool {
        match self.assembly.event() {
            None => return false,
            Some(Event::Frame(frame)) => {
                self.begin(&frame, publish);
                self.assembly.recycle(frame);
            }
            Some(Event::Lost { sequence, frames }) => {
                let stream = self.assembly.stream().unwrap_or(0);
                let record = Record::empty(stream, sequence, frames, Outcome::Lost);
                publish(Published::Record { record: &record, scene: None, refined: None });
            }
            Some(Event::Dropped(why)) => {
                self.drops.packet(why);
                publish(Published::Dropped(why));
            }
        }
        true
    }

    /// Goes on with the frame that was [taken](Station::take) last: its provisional decision, or a sampler step, `most` of these in all where
    /// they begin now. Nothing is left to do where it returns `false`.
    ///
    /// # Errors
    /// As [`push`](Station::push).
    pub fn work(&mut self, most: u16, publish: &mut dyn FnMut(Published<'_>)) -> Result<bool, EngineError> {
        let Some(mut current) = self.current.take() else { return Ok(false) };
        let elapsed = elapsed_us(current.arrival);
        let Some(mut concluding) = current.concluding.take() else {
            if self.is_live && self.deadline_us.is_some_and(|deadline_us| elapsed > deadline_us) {
                self.drop_stale(current, EXPIRED, publish);
            } else {
                self.decide(current, most, publish)?;
            }
            return Ok(true);
        };
        // The gate left room for all steps; they have it no more where others went first.
        let next = elapsed + self.receiver.pace().step_us + self.receiver.pace().head_us;
        if self.is_live && self.deadline_us.is_some_and(|deadline_us| next > deadline_us) {
            let conclusion = concluding.give_up(NO_TIME);
            self.settle(current, conclusion, publish);
            return Ok(true);
        }
        self.receiver.step(&mut concluding)?;
        if concluding.is_done() {
            current.record.timing.decision_us = elapsed_us(current.arrival);
            self.settle(current, concluding.conclusion(), publish);
        } else {
            self.current = Some(Current { concluding: Some(concluding), ..current });
        }
        Ok(true)
    }

    /// Settles the frame that is worked on, for a newer one.
    fn overtake(&mut self, publish: &mut dyn FnMut(Published<'_>)) {
        match self.current.take() {
            None => {}
            Some(Current { concluding: Some(concluding), record, arrival, alone }) => {
                let current = Current { concluding: None, record, arrival, alone };
                self.settle(current, concluding.give_up(NEWER), publish);
            }
            Some(current) => self.drop_stale(current, OVERTAKEN, publish),
        }
    }

    /// Takes a frame into its scene.
    fn begin(&mut self, frame: &ReceivedFrame<'_>, publish: &mut dyn FnMut(Published<'_>)) {
        let (header, arrival) = (&frame.header, self.arrival);
        self.drops.frame(frame);
        let mut record = Record::received(frame);
        if let Err(refusal) = self.receiver.accepts(header) {
            let reason = refusal.to_string();
            let record = Record { outcome: Outcome::Refused, reason: &reason, ..record };
            publish(Published::Record { record: &record, scene: None, refined: None });
            return;
        }
        if !frame.late {
            self.overtake(publish);
        }
        // A late frame stands alone: the stream's scene has moved on, and what it holds is newer.
        let current = self.scene.as_ref().filter(|scene| *scene.params() == header.params);
        let mut alone = frame.late.then(|| current.map_or_else(|| Scene::new(header.params), Scene::beside));
        let scene = match &mut alone {
            Some(scene) => scene,
            None => {
                let current = self.scene.take().filter(|scene| *scene.params() == header.params);
                self.scene.insert(current.unwrap_or_else(|| Scene::new(header.params)))
            }
        };
        let drops = &mut self.drops;
        let missing = scene.take(frame, &mut self.scratch, |index, error| {
            log::debug!("frame {}: tile {index}: {error}", header.sequence);
            drops.tile(error);
        });
        if scene.lacks_key() && !frame.late {
            self.lacks_key = Some(KeyRequest { stream: header.stream, sequence: header.sequence });
        }
        record.blind_snr_cdb = scene.blind_snr_cdb();
        record.known_permille = scene.known_permille();
        record.tiles_missing = missing as u16;
        record.timing.decode_us = elapsed_us(arrival);
        let own = Current { record, arrival, alone, concluding: None };
        match self.current {
            // A late one: what is worked on is newer.
            Some(_) => self.drop_stale(own, OVERTAKEN, publish),
            None => self.current = Some(own),
        }
    }

    fn decide(
        &mut self,
        mut current: Current,
        most: u16,
        publish: &mut dyn FnMut(Published<'_>),
    ) -> Result<(), EngineError> {
        // What is decided on was taken into one of them.
        let Some(scene) = current.alone.as_ref().or(self.scene.as_ref()) else { return Ok(()) };
        let provisional = self.receiver.provisional(scene)?;
        let (record, arrival, is_late) = (&mut current.record, current.arrival, current.alone.is_some());
        record.timing.provisional_us = elapsed_us(arrival);
        let (stream, sequence) = (record.stream, record.sequence);
        publish(Published::Provisional { stream, sequence, decision: &provisional, is_late });
        record.provisional = Some(decided(&provisional));

        let elapsed = record.timing.provisional_us;
        let concluding = self.receiver.begin(scene, &provisional, record.sequence, elapsed, most);
        // It stands where nothing better follows in time.
        record.timing.decision_us = elapsed;
        match concluding.is_done() {
            true => {
                record.timing.decision_us = elapsed_us(arrival);
                self.settle(current, concluding.conclusion(), publish);
            }
            false => self.current = Some(Current { concluding: Some(concluding), ..current }),
        }
        Ok(())
    }

    /// A frame that nobody decides on any more; later ones still lean on what it brought.
    fn drop_stale(&mut self, current: Current, reason: &'static str, publish: &mut dyn FnMut(Published<'_>)) {
        let Current { mut record, alone, .. } = current;
        (record.outcome, record.reason) = (Outcome::Stale, reason);
        let scene = alone.as_ref().or(self.scene.as_ref());
        publish(Published::Record { record: &record, scene, refined: None });
        if let (Some(alone), Some(scene)) = (alone, &mut self.scene) {
            scene.take_key_frame(alone);
        }
    }

    fn settle(&mut self, current: Current, conclusion: Conclusion, publish: &mut dyn FnMut(Published<'_>)) {
        let Current { record, alone, .. } = current;
        let mut record: Record<'_> = record;
        record.mode = conclusion.mode;
        record.gate = conclusion.gate.name();
        record.risk_permille = conclusion.risk_permille;
        record.steps = conclusion.steps;
        record.cached_steps = conclusion.cached_steps;
        record.macs = conclusion.macs;
        record.saved_macs = conclusion.saved_macs;
        record.decision = Some(decided(&conclusion.decision));
        if !self.tasks.is_empty() {
            let likely = self.tasks.iter().zip(conclusion.decision.task_permille);
            record.tasks = Some(likely.map(|(name, permille)| (name.as_str(), permille)).collect());
        }
        if alone.is_none() {
            let steady = self.steady.follow(record.sequence, &conclusion.decision);
            record.steady = Some(names(steady));
        }
        if alone.is_some() {
            record.outcome = Outcome::DecidedLate;
            record.reason = "a later frame came first";
        } else if self.deadline_us.is_some_and(|deadline_us| record.timing.decision_us > deadline_us) {
            record.outcome = Outcome::DecidedLate;
            record.reason = AFTER_DEADLINE;
        }
        // A refinement that came to nothing says so with its gate too; why it did is not said again anywhere.
        if matches!(conclusion.gate, Gate::Failed | Gate::Preempted) {
            record.reason = &conclusion.reason;
        }
        let refined = self.receiver.refined().filter(|_| conclusion.mode != "semantic_first");
        let scene = alone.as_ref().or(self.scene.as_ref());
        publish(Published::Record { record: &record, scene, refined });
        if let (Some(alone), Some(scene)) = (alone, &mut self.scene) {
            scene.take_key_frame(alone);
        }
    }
}

fn decided(decision: &Decision) -> Decided {
    Decided::new(decision.free_permille, decision.hazard_permille, decision.hazards())
}

fn elapsed_us(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
