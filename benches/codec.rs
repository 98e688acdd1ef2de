//! Bytes and time of the map codec beside PNG, WebP lossless and JPEG XL, on the same maps.
//!
//!     cargo bench --bench codec -- --maps ../shared/data/camvid/val/label [--native] [--no-peers]
//!
//! Bytes of ours are whole: the `.srx` file with its headers and checksums, over the frames. Peers code the bare map: PNG by the `png` crate,
//! WebP by `cwebp -lossless -z 9`, JPEG XL by `cjxl -d 0 -e 9`; a peer whose program is missing is left out, and said to be.

use semrx::link::srx;
use semrx::maps;
use semrx::scene::{Assembly, CAMVID12, ClassMap, Event, Reception, Scene};
use semrx::sender::{Sender, Settings};
use semrx::wire::Grid;
use semrx::wire::codec::Scratch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

#[derive(Default)]
struct Sums {
    maps: usize,
    ours: usize,
    peers: [Option<usize>; PEERS.len()],
    encode: Vec<Duration>,
    decode: Vec<Duration>,
}

const PEERS: [&str; 3] = ["PNG", "WebP", "JPEG XL"];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let folder = arguments.iter().skip_while(|argument| *argument != "--maps").nth(1);
    let folder = PathBuf::from(folder.map_or("../shared/data/camvid/val/label", String::as_str));
    let files = match maps::list(&folder) {
        Ok(files) => files,
        Err(error) => return println!("skipped: {error}"),
    };
    let scratch = std::env::temp_dir().join(format!("semrx-bench-{}", std::process::id()));
    std::fs::create_dir_all(&scratch).expect("the folder for temporary files can be written");
    let mut recordings: BTreeMap<String, Sums> = BTreeMap::new();
    for file in files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let recording = name.split('_').next().unwrap_or("").to_owned();
        let map = maps::read(&file, &CAMVID12).unwrap_or_else(|error| panic!("{error}"));
        let map = if has("--native") { map } else { map.resampled(Grid::new(128, 96)) };
        let sums = recordings.entry(recording).or_default();
        measure(&map, sums);
        if !has("--no-peers") {
            for (peer, bytes) in [png(&map), webp(&map, &scratch), jpeg_xl(&map, &scratch)].into_iter().enumerate() {
                let total = sums.peers[peer].take().unwrap_or(0);
                sums.peers[peer] = bytes.map(|bytes| total + bytes);
            }
        }
    }
    let _ = std::fs::remove_dir_all(&scratch);
    print(&recordings);
}

/// Sends the map ten times, once as a key frame: the mean over the period of a stream.
fn measure(map: &ClassMap, sums: &mut Sums) {
    let mut arrived = Vec::new();
    let mut sender = Sender::new(Settings::default(), &CAMVID12);
    let (mut assembly, mut scratch) = (Assembly::new(true), Scratch::new());
    let mut bytes = 0;
    for frame in 0..10 {
        let start = Instant::now();
        sender.send(map, frame * 100_000, &mut arrived).expect("the map can be sent");
        sums.encode.push(start.elapsed());
        let packet = arrived.pop().expect("the channel loses nothing");
        bytes += srx::record_len(&packet);
        let start = Instant::now();
        assembly.push(&packet.bytes, Reception::default(), |_| false);
        let Some(Event::Frame(frame)) = assembly.event() else { panic!("the frame can be read") };
        let mut scene = Scene::new(frame.header.params);
        scene.begin(&frame.header);
        for (index, tile) in frame.tiles.iter().flatten().enumerate() {
            scene.put_tile(&frame.header, index, tile, &mut scratch).expect("the tile can be read");
        }
        sums.decode.push(start.elapsed());
        assert!(scene.cells() == map.cells, "lossless");
    }
    sums.maps += 1;
    sums.ours += bytes;
}

fn png(map: &ClassMap) -> Option<usize> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, map.grid.width as u32, map.grid.height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::Four);
    encoder.set_compression(png::Compression::High);
    let packed: Vec<u8> = map
        .cells
        .chunks(map.grid.width as usize)
        .flat_map(|row| row.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).copied().unwrap_or(0)).collect::<Vec<_>>())
        .collect();
    encoder.write_header().ok()?.write_image_data(&packed).ok()?;
    Some(bytes.len())
}

fn webp(map: &ClassMap, scratch: &Path) -> Option<usize> {
    let (source, coded) = (pgm(map, scratch)?, scratch.join("map.webp"));
    let status =
        Command::new("cwebp").args(["-quiet", "-lossless", "-z", "9"]).arg(&source).arg("-o").arg(&coded).status();
    finished(status, &coded)
}

fn jpeg_xl(map: &ClassMap, scratch: &Path) -> Option<usize> {
    let (source, coded) = (pgm(map, scratch)?, scratch.join("map.jxl"));
    let status = Command::new("cjxl").args(["--quiet", "-d", "0", "-e", "9"]).arg(&source).arg(&coded).output();
    finished(status.map(|output| output.status), &coded)
}

fn finished(status: std::io::Result<std::process::ExitStatus>, coded: &Path) -> Option<usize> {
    status.ok().filter(|status| status.success())?;
    Some(std::fs::metadata(coded).ok()?.len() as usize)
}

fn pgm(map: &ClassMap, scratch: &Path) -> Option<PathBuf> {
    let path = scratch.join("map.pgm");
    let mut bytes = format!("P5\n{} {}\n255\n", map.grid.width, map.grid.height).into_bytes();
    bytes.extend_from_slice(&map.cells);
    std::fs::write(&path, bytes).ok()?;
    Some(path)
}

fn print(recordings: &BTreeMap<String, Sums>) {
    println!(
        "{:<10} {:>5} {:>10} {:>22} {:>22} {:>22} {:>12} {:>12}",
        "recording", "maps", "semrx", PEERS[0], PEERS[1], PEERS[2], "encode p50", "decode p50"
    );
    for (recording, sums) in recordings {
        let mean = |bytes: usize| bytes as f64 / sums.maps as f64;
        // Ten sendings of each map, and the four bytes that open a capture of as many frames.
        let ours = sums.ours as f64 / 10.0 / sums.maps as f64 + srx::MAGIC.len() as f64 / sums.maps as f64;
        let peers: String = sums
            .peers
            .iter()
            .map(|bytes| match bytes {
                Some(bytes) => format!(" {:>14.0} ({:.2} x)", mean(*bytes), mean(*bytes) / ours),
                None => format!(" {:>22}", "not measured"),
            })
            .collect();
        println!(
            "{recording:<10} {:>5} {ours:>10.1}{peers} {:>9.2} ms {:>9.2} ms",
            sums.maps,
            median(&sums.encode),
            median(&sums.decode)
        );
    }
}

fn median(times: &[Duration]) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}
