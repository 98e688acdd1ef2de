//! The whole way of a packet: assembly, scene, receiver, records.

use crate::bundle::{Bundle, BundleError};
use crate::engine::{Engine, EngineError};
use crate::receiver::{Config, Decision, Gate, Pace, Receiver, Refined, Steady};
use crate::report::record::{Decided, Outcome, Record, names};
pub use crate::scene::Drops;
use crate::scene::{Assembly, Dropped, Event, ReceivedFrame, Reception, Scene};
use crate::wire::KeyRequest;
use crate::wire::codec::Scratch;
use std::time::Instant;

/// What a [`Station`] makes known, in this order for a frame: its provisional decision, then its record.
#[derive(Debug)]
pub enum Published<'a> {
    /// Stands from now on, until the record of the same number says otherwise.
    Provisional { sequence: u32, decision: &'a Decision },
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

/// A receiver with its stream. Push packets; take what it publishes.
pub struct Station {
    receiver: Receiver,
    /// What the head's own tasks are called.
    tasks: Vec<String>,
    assembly: Assembly<'static>,
    scene: Option<Scene<'static>>,
    steady: Steady,
    scratch: Box<Scratch>,
    deadline_us: Option<u64>,
    drops: Drops,
    lacks_key: Option<KeyRequest>,
}

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
        Ok(Station {
            tasks: receiver.tasks().to_vec(),
            receiver,
            assembly: Assembly::new(from_start),
            scene: None,
            steady: Steady::default(),
            scratch: Box::new(Scratch::new()),
            deadline_us: config.deadline_us,
            drops: Drops::default(),
            lacks_key: None,
        })
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

    /// Takes a packet. `erased(i)` says whether the radio could not deliver tile `i` of a whole frame.
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
        let arrival = Instant::now();
        self.assembly.push(bytes, reception, erased);
        self.work_off(arrival, publish)
    }

    /// No packet follows: settles what is still waited for.
    ///
    /// # Errors
    /// As [`push`](Station::push).
    pub fn end(&mut self, publish: &mut dyn FnMut(Published<'_>)) -> Result<(), EngineError> {
        self.assembly.end();
        self.work_off(Instant::now(), publish)
    }

    fn work_off(&mut self, arrival: Instant, publish: &mut dyn FnMut(Published<'_>)) -> Result<(), EngineError> {
        while let Some(event) = self.assembly.event() {
            match event {
                Event::Frame(frame) => {
                    self.decide(&frame, arrival, publish)?;
                    self.assembly.recycle(frame);
                }
                Event::Lost { sequence, frames } => {
                    let stream = self.assembly.stream().unwrap_or(0);
                    let record = Record::empty(stream, sequence, frames, Outcome::Lost);
                    publish(Published::Record { record: &record, scene: None, refined: None });
                }
                Event::Dropped(why) => {
                    self.drops.packet(why);
                    publish(Published::Dropped(why));
                }
            }
        }
        Ok(())
    }

    fn decide(
        &mut self,
        frame: &ReceivedFrame<'_>,
        arrival: Instant,
        publish: &mut dyn FnMut(Published<'_>),
    ) -> Result<(), EngineError> {
        let header = &frame.header;
        self.drops.frame(frame);
        let mut record = Record {
            capture_us: Some(header.capture_us),
            delay_us: frame.delay_us,
            bytes: frame.link_bytes as u32,
            snr_cdb: frame.snr_cdb,
            ..Record::empty(header.stream, header.sequence, 1, Outcome::Decided)
        };
        if let Err(refusal) = self.receiver.accepts(header) {
            let reason = refusal.to_string();
            record.outcome = Outcome::Refused;
            record.reason = &reason;
            publish(Published::Record { record: &record, scene: None, refined: None });
            return Ok(());
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
        record.timing.decode_us = elapsed_us(arrival);

        let provisional = self.receiver.provisional(scene)?;
        record.timing.provisional_us = elapsed_us(arrival);
        publish(Published::Provisional { sequence: header.sequence, decision: &provisional });

        let elapsed = record.timing.provisional_us;
        let conclusion = self.receiver.conclude(scene, &provisional, header.sequence, elapsed)?;
        record.timing.decision_us = elapsed_us(arrival);
        record.known_permille = scene.known_permille();
        record.tiles_missing = missing as u16;
        record.mode = conclusion.mode;
        record.gate = conclusion.gate.name();
        record.risk_permille = conclusion.risk_permille;
        record.steps = conclusion.steps;
        record.cached_steps = conclusion.cached_steps;
        record.macs = conclusion.macs;
        record.saved_macs = conclusion.saved_macs;
        record.provisional = Some(decided(&provisional));
        record.decision = Some(decided(&conclusion.decision));
        if !self.tasks.is_empty() {
            let likely = self.tasks.iter().zip(conclusion.decision.task_permille);
            record.tasks = Some(likely.map(|(name, permille)| (name.as_str(), permille)).collect());
        }
        if !frame.late {
            let steady = self.steady.follow(header.sequence, &conclusion.decision);
            record.steady = Some(names(steady));
        }
        if frame.late {
            record.outcome = Outcome::DecidedLate;
            record.reason = "a later frame came first";
        } else if self.deadline_us.is_some_and(|deadline_us| record.timing.decision_us > deadline_us) {
            record.outcome = Outcome::DecidedLate;
            record.reason = "after its deadline";
        }
        // A refinement that failed says so with its gate too; why it did is not said again anywhere.
        if conclusion.gate == Gate::Failed {
            record.reason = &conclusion.reason;
        }
        let refined = self.receiver.refined().filter(|_| conclusion.mode != "semantic_first");
        publish(Published::Record { record: &record, scene: Some(scene), refined });
        if let (Some(alone), Some(scene)) = (alone, &mut self.scene) {
            scene.take_key_frame(alone);
        }
        Ok(())
    }
}

fn decided(decision: &Decision) -> Decided {
    Decided::new(decision.free_permille, decision.hazard_permille, decision.hazards())
}

fn elapsed_us(since: Instant) -> u64 {
    since.elapsed().as_micros() as u64
}
