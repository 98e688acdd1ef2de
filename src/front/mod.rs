//! A receiver that decides by the rule alone: packets in, records out, without models, allocator and operating system. What a microcontroller in front of a
//! radio runs, and the same on any machine.
//!
//! Maps and tokens are decided, on grids that the lent memory holds; other frames are refused, each with a record that says why. What is unknown says
//! nothing to the rule, and nothing is held from frame to frame but the key frame.

mod memory;

pub use memory::{GRID_CELLS, Memory, PACKET_BYTES};

use crate::report::record::{Decided, Outcome, Record, names};
use crate::scene::{Assembly, Dropped, Drops, Event, LabelSet, ReceivedFrame, Reception, Rule, Scene};
use crate::wire::codec::Scratch;
use crate::wire::{Header, KeyRequest};

/// What made the decision, in records.
pub const MODE: &str = "layout_only";
/// The gate of a mode that generates nothing.
const GATE: &str = "off";

/// What a [`Front`] makes known.
#[derive(Debug)]
pub enum Told<'a> {
    Record(&'a Record<'a>),
    /// A packet was dropped, and counted.
    Dropped(Dropped),
}

/// Takes the packets of one stream, the first that it hears, and tells a record for each frame and each gap. It reads no clock: `timing` is 0 in its records.
pub struct Front<'a> {
    assembly: Assembly<'a>,
    scene: Scene<'a>,
    scratch: &'a mut Scratch,
    /// That of the scene's parameters.
    rule: Option<Rule>,
    drops: Drops,
    lacks_key: Option<KeyRequest>,
}

impl<'a> Front<'a> {
    /// `from_start`: see [`Assembly::lent`]. Packets of more than `BYTES` bytes are dropped, grids of more than `CELLS` cells refused.
    pub fn new<const CELLS: usize, const BYTES: usize>(memory: &'a mut Memory<CELLS, BYTES>, from_start: bool) -> Self {
        Front {
            assembly: Assembly::lent(from_start, &mut memory.tiles),
            scene: Scene::lent(&mut memory.scene),
            scratch: &mut memory.scratch,
            rule: None,
            drops: Drops::default(),
            lacks_key: None,
        }
    }

    /// Takes a packet. `erased(i)` says whether the radio could not deliver tile `i` of a whole frame.
    pub fn push(
        &mut self,
        bytes: &[u8],
        reception: Reception,
        erased: impl Fn(usize) -> bool,
        tell: &mut dyn FnMut(Told<'_>),
    ) {
        self.assembly.push(bytes, reception, erased);
        self.work_off(tell);
    }

    /// No packet follows: settles what is still waited for.
    pub fn end(&mut self, tell: &mut dyn FnMut(Told<'_>)) {
        self.assembly.end();
        self.work_off(tell);
    }

    /// Forgets the stream, which has [ended](Front::end), and what it dropped, and follows the next one that it hears.
    pub fn restart(&mut self, from_start: bool) {
        self.assembly.restart(from_start);
        (self.rule, self.drops, self.lacks_key) = (None, Drops::default(), None);
    }

    pub fn drops(&self) -> Drops {
        self.drops
    }

    /// What to ask the sender for, once a frame came that leans on a key frame which isn't there, or on a tile of it. Asked once, it is `None` until the next one.
    pub fn key_request(&mut self) -> Option<KeyRequest> {
        self.lacks_key.take().or_else(|| self.assembly.key_request())
    }

    /// The stream that it follows, once it has heard one.
    pub fn stream(&self) -> Option<u16> {
        self.assembly.stream()
    }

    /// The stream's end marker has come.
    pub fn ended(&self) -> bool {
        self.assembly.ended()
    }

    /// The end marker has come, and every frame before it.
    pub fn complete(&self) -> bool {
        self.assembly.complete()
    }

    fn work_off(&mut self, tell: &mut dyn FnMut(Told<'_>)) {
        while let Some(event) = self.assembly.event() {
            match event {
                Event::Frame(frame) => {
                    self.decide(&frame, tell);
                    self.assembly.recycle(frame);
                }
                Event::Lost { sequence, frames } => {
                    let stream = self.assembly.stream().unwrap_or(0);
                    tell(Told::Record(&Record::empty(stream, sequence, frames, Outcome::Lost)));
                }
                Event::Dropped(why) => {
                    self.drops.packet(why);
                    tell(Told::Dropped(why));
                }
            }
        }
    }

    fn decide(&mut self, frame: &ReceivedFrame<'_>, tell: &mut dyn FnMut(Told<'_>)) {
        let header = &frame.header;
        self.drops.frame(frame);
        let mut record = Record::received(frame);
        let rule = match self.lay_out(header, frame.late) {
            Ok(rule) => rule,
            Err(reason) => {
                (record.outcome, record.reason) = (Outcome::Refused, reason);
                return tell(Told::Record(&record));
            }
        };
        let drops = &mut self.drops;
        let missing = self.scene.take(frame, self.scratch, |_, error| drops.tile(error));
        if self.scene.lacks_key() && !frame.late {
            self.lacks_key = Some(KeyRequest { stream: header.stream, sequence: header.sequence });
        }
        let reading = rule.read(self.scene.cells(), self.scene.known());
        let likely = core::array::from_fn(|pair| if reading.hazards.contains(pair) { 1000 } else { 0 });
        let decided = Decided::new(reading.free_permille(header.params.grid), likely, reading.hazards);
        record.known_permille = self.scene.known_permille();
        record.tiles_missing = missing as u16;
        (record.mode, record.gate) = (MODE, GATE);
        record.provisional = Some(decided.clone());
        record.decision = Some(decided);
        if frame.late {
            (record.outcome, record.reason) = (Outcome::DecidedLate, "a later frame came first");
        } else {
            // What is sure does not flicker.
            record.steady = Some(names(reading.hazards));
        }
        tell(Told::Record(&record));
    }

    /// The rule for frames of `header`, with a scene that takes them; or why there is none.
    fn lay_out(&mut self, header: &Header, is_late: bool) -> Result<Rule, &'static str> {
        let params = &header.params;
        if let Some(rule) = self.rule.as_ref().filter(|_| self.scene.params() == params) {
            return Ok(rule.clone());
        }
        if is_late && self.rule.is_some() {
            return Err("it came behind a change of the stream's parameters");
        }
        let labels = LabelSet::by_id(params.label_set).filter(|labels| labels.len() == params.classes as usize);
        let labels = labels.ok_or("its label set is not one that this build knows")?;
        if params.payload.soft_bits().is_some() {
            return Err("soft payloads take more memory than a front has: send maps or tokens");
        }
        self.scene.restart(*params).map_err(|_| "its grid has more cells than the front has memory for")?;
        Ok(self.rule.insert(Rule::new(params.grid, labels)).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{ClassSet, Cut, Grid, Params, Payload, Tiling, buffer_len};

    #[test]
    fn a_small_microcontroller_has_the_memory() {
        assert!(size_of::<Memory>() < 128 * 1024, "{}", size_of::<Memory>());
    }

    #[test]
    fn the_longest_frame_of_the_largest_grid_fits() {
        let mut header = Header {
            stream: 1,
            sequence: 0,
            capture_us: 0,
            key: true,
            reference: None,
            params: Params {
                grid: Grid::new(128, 96),
                tiling: Tiling::DEFAULT,
                cut: Cut::Blocks,
                parity: 0,
                payload: Payload::Map,
                label_set: 1,
                classes: 12,
            },
            present: ClassSet((1 << 12) - 1),
        };
        assert_eq!((header.params.grid.cells(), buffer_len(&header)), (GRID_CELLS, 6321));
        header.params.parity = 1;
        assert!(buffer_len(&header) <= PACKET_BYTES);
    }
}
