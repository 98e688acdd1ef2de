//! Where the fuzzer starts from: short captures of a small street over good and bad channels.

use crate::seal::Sealer;
use semrx::link::srx::SrxWriter;
use semrx::link::{ChannelSpec, Packet, Sink};
use semrx::scene::{CAMVID12, Street};
use semrx::sender::{Packing, Sender, Settings};
use semrx::wire::{Grid, Payload, Tiling};
use std::fs::{File, create_dir_all};
use std::path::Path;

const FRAMES: u32 = 3;

/// Writes the captures into the folder that `SEMRX_SEEDS` names, and ends the program. Does nothing where it isn't set.
pub fn write_where_asked() {
    let Some(folder) = std::env::var_os("SEMRX_SEEDS") else { return };
    create_dir_all(&folder).expect("the folder of SEMRX_SEEDS can be made");
    let mut written = 0;
    for payload in [Payload::Map, Payload::Soft4, Payload::Soft8, Payload::Tokens] {
        for packing in [Packing::Frame, Packing::Tile] {
            for (channel, spec) in
                ["none", "tile-loss=0.4,snr=6,delay-ms=20", "reorder=0.5,duplicate=0.3"].iter().enumerate()
            {
                let settings = Settings {
                    tiling: Tiling { rows: 2, cols: 2 },
                    payload,
                    packing,
                    key_every: 2,
                    channel: spec.parse().expect("a channel"),
                    // Frames without all of their tiles too.
                    max_bytes: (channel == 2 && payload != Payload::Tokens).then_some(60),
                    seed: channel as u64,
                    ..Settings::default()
                };
                let name = format!("{}-{packing:?}-{channel}.srx", payload.name()).to_lowercase();
                write(&Path::new(&folder).join(name), settings);
                written += 1;
            }
        }
    }
    eprintln!("wrote {written} captures to {}", folder.display());
    std::process::exit(0);
}

fn write(path: &Path, settings: Settings) {
    let clean = settings.channel == ChannelSpec::default();
    let street = Street::new(settings.seed, Grid::new(8, 6));
    let mut sender = Sender::new(settings, &CAMVID12);
    let mut arrived = Vec::new();
    for frame in 0..FRAMES {
        let capture_us = frame as u64 * Street::PERIOD_US;
        sender.send(&street.frame(frame), capture_us, &mut arrived).expect("a street fits its settings");
    }
    sender.end(&mut arrived);
    if clean {
        check_sealer(&arrived);
    }
    let file = File::create(path).expect("the seed can be written");
    let mut capture = SrxWriter::new(file, path.display().to_string()).expect("the seed can be written");
    for packet in &arrived {
        capture.send(packet).expect("the seed can be written");
    }
    capture.finish().expect("the seed can be written");
}

/// A sealer that changed honest packets would hide what it was made to reach.
fn check_sealer(packets: &[Packet]) {
    let mut sealer = Sealer::default();
    for packet in packets {
        let mut sealed = packet.bytes.clone();
        sealer.seal(&mut sealed).expect("a whole packet");
        assert_eq!(sealed, packet.bytes);
    }
}
