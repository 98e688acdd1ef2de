//! Any bytes as a `.srx` capture: through its reader, the assembly, the scene and the map codec, and through a front in little memory.
//!
//! Each input runs twice, as it is and with its packets' checksums put right ([`seal`]), since no fuzzer guesses a CRC.
//! What is promised is checked on the way: no panic, no sequence number that ends twice, no cell outside the present set,
//! and cells that were decoded from any bytes survive the codec.
#![no_main]

mod seal;
mod seeds;

use libfuzzer_sys::fuzz_target;
use seal::Sealer;
use semrx::front::{Front, Memory, Told};
use semrx::link::srx::{MAGIC, SrxReader};
use semrx::link::{Interrupt, Source};
use semrx::report::record::MAX_LEN;
use semrx::scene::{Assembly, Event, ReceivedFrame, Reception, Scene};
use semrx::wire::codec::{Prior, Scratch, decode_changes, decode_tile, encode_changes, encode_tile, max_len};
use semrx::wire::{ClassSet, Grid, Patch};

/// Larger frames (classes times cells) are left alone: they cost time and say nothing that small ones don't.
const MOST_SCORES: usize = 1 << 12;

fuzz_target!(init: seeds::write_where_asked(), |data: &[u8]| {
    receive(data, None);
    let named = [&MAGIC[..], data.get(MAGIC.len()..).unwrap_or_default()].concat();
    receive(&named, Some(Sealer::default()));
    recode(data);
});

fn receive(capture: &[u8], mut sealer: Option<Sealer>) {
    let mut link = SrxReader::new(capture, "fuzz", Interrupt::default());
    let mut receiver =
        Receiver { assembly: Assembly::new(true), scene: None, scratch: Box::new(Scratch::new()), settled: Vec::new() };
    let mut memory = Box::new(Memory::<1024, 512>::new());
    let mut front = Front::new(&mut memory, true);
    let mut settled = Vec::new();
    let mut tell = |told: Told<'_>| {
        if let Told::Record(record) = told {
            record.emit(&mut [0; MAX_LEN]).expect("a record fits");
            settled.push((record.sequence as u64, record.sequence as u64 + record.frames as u64));
        }
    };
    while let Ok(Some(mut packet)) = link.next() {
        if let Some(sealer) = &mut sealer {
            // Too short to seal is an input like any other.
            let _ = sealer.seal(&mut packet.bytes);
        }
        let info = &packet.info;
        let link_bytes = packet.bytes.len();
        let reception = Reception { snr_cdb: info.snr_cdb, delay_us: info.delay_us, link_bytes };
        receiver.assembly.push(&packet.bytes, reception, |tile| info.erased.contains(tile as u8));
        receiver.take_events();
        front.push(&packet.bytes, reception, |tile| info.erased.contains(tile as u8), &mut tell);
    }
    receiver.assembly.end();
    receiver.take_events();
    front.end(&mut tell);
    settle_once(&mut receiver.settled);
    settle_once(&mut settled);
}

/// Every number that ended did so once, and none between them is left out.
fn settle_once(settled: &mut [(u64, u64)]) {
    settled.sort_unstable();
    assert!(settled.windows(2).all(|pair| pair[0].1 == pair[1].0), "{settled:?}");
}

struct Receiver {
    assembly: Assembly<'static>,
    scene: Option<Scene<'static>>,
    scratch: Box<Scratch>,
    /// Stretches of sequence numbers that have ended.
    settled: Vec<(u64, u64)>,
}

impl Receiver {
    fn take_events(&mut self) {
        while let Some(event) = self.assembly.event() {
            let (start, frames) = match event {
                Event::Frame(frame) => {
                    self.show(&frame);
                    (frame.header.sequence, 1)
                }
                Event::Lost { sequence, frames } => (sequence, frames),
                Event::Dropped(_) => continue,
            };
            self.settled.push((start as u64, start as u64 + frames as u64));
        }
    }

    fn show(&mut self, frame: &ReceivedFrame<'_>) {
        let header = &frame.header;
        if header.present.len() * header.params.grid.cells() > MOST_SCORES {
            return;
        }
        let scene = self.scene.take().filter(|scene| *scene.params() == header.params && !frame.late);
        let mut scene = scene.unwrap_or_else(|| Scene::new(header.params));
        // A refused tile stays unknown.
        scene.take(frame, &mut self.scratch, |_, _| ());
        let seen = scene.cells().iter().zip(scene.known()).filter(|(_, known)| **known);
        // Of a delta frame's classes, some may be the key frame's alone.
        let is_said =
            |class| header.present.contains(class) || header.reference.is_some() && class < header.params.classes;
        assert!(seen.into_iter().all(|(&class, _)| is_said(class)));
        assert!(scene.known_permille() <= 1000);
        self.scene = Some(scene);
    }
}

/// Decodes a tile of any bytes, and codes it again.
fn recode(data: &[u8]) {
    let Some((&[width, height, label_set, classes, ref set @ ..], bytes)) = data.split_first_chunk::<12>() else {
        return;
    };
    let grid = Grid::new(width as u16 % 48 + 1, height as u16 % 48 + 1);
    let rect = Patch::block(0, 0, grid.width, grid.height);
    let present = ClassSet(u64::from_le_bytes(*set) | 1 << (classes % 64));
    let prior = Prior::for_label_set(label_set as u16 % 3, grid);
    let mut scratch = Scratch::new();
    let mut cells = vec![255; grid.cells()];
    decode_tile(bytes, grid, rect, present, prior, &mut scratch, &mut cells).expect("any bytes decode");
    assert!(cells.iter().all(|&class| present.contains(class)));
    let mut out = vec![0; max_len(grid.cells(), present.len())];
    let len = encode_tile(&cells, grid, rect, present, prior, &mut scratch, &mut out).expect("there is room");
    let mut again = vec![255; grid.cells()];
    decode_tile(&out[..len], grid, rect, present, prior, &mut scratch, &mut again).expect("its own bytes decode");
    assert_eq!(cells, again);
    // The same bytes as changes of that map.
    let rects = || [rect].into_iter();
    decode_changes(bytes, &cells, grid, rects(), present, &mut again).expect("any bytes decode");
    assert!(again.iter().all(|&class| present.contains(class)));
    if let Some(len) =
        encode_changes(&again, &cells, grid, rects(), present, &mut out).expect("classes that are present")
    {
        let mut back = vec![255; grid.cells()];
        decode_changes(&out[..len], &cells, grid, rects(), present, &mut back).expect("its own bytes decode");
        assert_eq!(again, back);
    }
}
