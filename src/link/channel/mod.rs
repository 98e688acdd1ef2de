//! The simulated radio: what it loses, flips, blurs, delays, doubles and reorders follows from a seed alone.
//!
//! Every draw is a pure function of seed, effect, packet number and place in the packet. So the same packets meet the
//! same fate in any order and on any CPU, and a worse channel damages what a better one damaged, and more.

mod impair;
mod layout;
mod loss;
mod spec;

pub use layout::{CodeBits, Layout, Slot, SlotKind};
pub use spec::{ChannelSpec, SpecError};

use super::Packet;
use crate::noise::Noise;
use loss::LossRuns;

/// The largest error of the radio's own SNR measurement, in dB; uniform.
const SNR_ERROR_DB: f64 = 0.5;
/// What the radio reports at most, either way, in dB: a channel without noise measures this.
const SNR_LIMIT_DB: f64 = 100.0;

/// Keeps the channel's draws apart from those that others make from the same seed.
const STREAMS: u64 = u64::from_be_bytes(*b"channel\0");

#[derive(Clone, Copy)]
enum Effect {
    PacketLoss,
    SlotLoss,
    Bits,
    Codes,
    SnrError,
    Jitter,
    Reorder,
    Duplicate,
}

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrived, damaged or not.
    Delivered,
    /// Nothing of it arrived.
    Lost,
}

/// A simulated radio between a sender and a receiver.
pub struct Channel {
    spec: ChannelSpec,
    seed: u64,
    /// The packet that the next one overtakes, once for each copy.
    held: Vec<Packet>,
}

impl Channel {
    pub fn new(spec: ChannelSpec, seed: u64) -> Self {
        Channel { spec, seed, held: Vec::new() }
    }

    /// What the channel does from the next packet on.
    pub fn set_spec(&mut self, spec: ChannelSpec) {
        self.spec = spec;
    }

    pub fn spec(&self) -> &ChannelSpec {
        &self.spec
    }

    /// Sends one packet through the radio; on `Lost` the packet isn't changed.
    ///
    /// `sequence` numbers the packets from 0. Bursts run across packets, so they want it without gaps, and the same
    /// number of slots in each packet. `tiles_share_fate` says that the packet is one tile: where it would lose its slot
    /// it is lost whole. Tile packets that are numbered `frame · tiles + tile` lose what a packet of all tiles numbered
    /// `frame` loses.
    ///
    /// A lost slot is zeroed and marked in [`LinkInfo::erased`](super::LinkInfo::erased). Delay adds to the packet's.
    pub fn pass(&self, packet: &mut Packet, layout: &Layout, sequence: u64, tiles_share_fate: bool) -> Fate {
        if self.draw(Effect::PacketLoss, sequence) < self.spec.frame_loss {
            return Fate::Lost;
        }
        let runs = LossRuns::new(self.spec.tile_loss, self.spec.burst);
        let losses = self.noise(Effect::SlotLoss);
        if tiles_share_fate && runs.lost_at(losses, sequence) {
            return Fate::Lost;
        }
        let mut lost = vec![false; layout.slots.len()];
        if !tiles_share_fate {
            let first = sequence.wrapping_mul(layout.slots.len() as u64);
            for (step, index) in scan_order(layout).into_iter().enumerate() {
                lost[index] = runs.lost_at(losses, first.wrapping_add(step as u64));
            }
        }
        self.damage(packet, layout, sequence, &lost);
        self.report(packet, sequence);
        Fate::Delivered
    }

    /// [`Channel::pass`], and then the order and number in which packets arrive: appends what arrives now to `arrived`.
    ///
    /// A packet that is reordered waits for the next one to pass; a packet that passes one isn't held back itself.
    pub fn transmit(
        &mut self,
        mut packet: Packet,
        layout: &Layout,
        sequence: u64,
        tiles_share_fate: bool,
        arrived: &mut Vec<Packet>,
    ) -> Fate {
        if self.pass(&mut packet, layout, sequence, tiles_share_fate) == Fate::Lost {
            return Fate::Lost;
        }
        let waits = self.held.is_empty() && self.draw(Effect::Reorder, sequence) < self.spec.reorder;
        let twice = self.draw(Effect::Duplicate, sequence) < self.spec.duplicate;
        let to = if waits { &mut self.held } else { &mut *arrived };
        if twice {
            to.push(packet.clone());
        }
        to.push(packet);
        if !waits {
            arrived.append(&mut self.held);
        }
        Fate::Delivered
    }

    /// Appends the packet that still waited to be overtaken, after the last one of a stream.
    pub fn flush(&mut self, arrived: &mut Vec<Packet>) {
        arrived.append(&mut self.held);
    }

    fn noise(&self, effect: Effect) -> Noise {
        Noise::new(self.seed, STREAMS + effect as u64)
    }

    fn draw(&self, effect: Effect, sequence: u64) -> f64 {
        self.noise(effect).uniform_at(sequence)
    }

    fn damage(&self, packet: &mut Packet, layout: &Layout, sequence: u64, lost: &[bool]) {
        let rate = self.spec.snr_db.map_or(0.0, impair::bit_error_rate);
        let sigma = self.analog_sigma().unwrap_or(0.0);
        let bits = self.noise(Effect::Bits).substream(sequence);
        let codes = self.noise(Effect::Codes).substream(sequence);
        // Stream 0 is the header's, so that its length doesn't move the noise of the slots.
        for (stretch, header) in header_stretches(layout, packet.bytes.len()).into_iter().enumerate() {
            impair::flip_bits(&mut packet.bytes[header], rate, bits.substream(0).substream(stretch as u64));
        }
        for (index, (slot, &lost)) in layout.slots.iter().zip(lost).enumerate() {
            let stream = index as u64 + 1;
            let bytes = slot.bytes(&mut packet.bytes);
            if lost {
                bytes.fill(0);
                if let Ok(index) = u8::try_from(index) {
                    packet.info.erased.set(index);
                }
                continue;
            }
            match slot.kind {
                SlotKind::Digital => impair::flip_bits(bytes, rate, bits.substream(stream)),
                SlotKind::Analog { bits, unit } if sigma > 0.0 => {
                    impair::add_noise(bytes, bits, unit, sigma, codes.substream(stream));
                }
                SlotKind::Analog { .. } => {}
            }
        }
    }

    /// What the radio measured: SNR where the channel has one, with the error of a measurement, and the delay.
    fn report(&self, packet: &mut Packet, sequence: u64) {
        let ChannelSpec { snr_db, sigma, delay_ms, jitter_ms, .. } = self.spec;
        if let Some(snr_db) = snr_db.or(sigma.map(impair::snr_of_sigma)) {
            let error = SNR_ERROR_DB * (2.0 * self.draw(Effect::SnrError, sequence) - 1.0);
            let measured = (snr_db + error).clamp(-SNR_LIMIT_DB, SNR_LIMIT_DB);
            packet.info.snr_cdb = Some(libm::round(measured * 100.0) as i16);
        }
        let jitter = jitter_ms * (2.0 * self.draw(Effect::Jitter, sequence) - 1.0);
        let delay_us = libm::round((delay_ms + jitter) * 1000.0) as u32;
        packet.info.delay_us = packet.info.delay_us.saturating_add(delay_us);
    }

    fn analog_sigma(&self) -> Option<f64> {
        self.spec.sigma.or(self.spec.snr_db.map(impair::sigma_of_snr))
    }
}

/// Slot indices by row, then by column.
fn scan_order(layout: &Layout) -> Vec<usize> {
    let mut order: Vec<usize> = (0..layout.slots.len()).collect();
    order.sort_by_key(|&index| (layout.slots[index].row, layout.slots[index].col));
    order
}

/// The bytes of a packet of `len` bytes that lie in no slot, in order.
fn header_stretches(layout: &Layout, len: usize) -> Vec<std::ops::Range<usize>> {
    let mut slots: Vec<(usize, usize)> =
        layout.slots.iter().filter(|slot| slot.start < slot.end).map(|slot| (slot.start, slot.end)).collect();
    slots.sort_unstable();
    let mut stretches = Vec::new();
    let mut from = 0;
    for (start, end) in slots.into_iter().chain([(len, len)]) {
        let to = start.min(len);
        if from < to {
            stretches.push(from..to);
        }
        from = from.max(end);
    }
    stretches
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: usize = 10;
    const SLOT: usize = 20;
    const ANALOG: SlotKind = SlotKind::Analog { bits: CodeBits::Eight, unit: 32.0 };

    /// Eight tiles in four rows of two behind a header.
    fn layout(kind: SlotKind) -> Layout {
        let slot = |i: usize| Slot {
            start: HEADER + i * SLOT,
            end: HEADER + (i + 1) * SLOT,
            kind,
            row: (i / 2) as u16,
            col: (i % 2) as u16,
        };
        Layout { slots: (0..8).map(slot).collect() }
    }

    fn packet() -> Packet {
        Packet::new(vec![128; HEADER + 8 * SLOT])
    }

    fn channel(spec: &str) -> Channel {
        Channel::new(spec.parse().unwrap(), 42)
    }

    fn passed(channel: &Channel, kind: SlotKind, sequence: u64) -> (Packet, Fate) {
        let mut packet = packet();
        let fate = channel.pass(&mut packet, &layout(kind), sequence, false);
        (packet, fate)
    }

    #[test]
    fn a_clean_channel_changes_nothing() {
        for kind in [SlotKind::Digital, ANALOG] {
            assert_eq!(passed(&channel("none"), kind, 3), (packet(), Fate::Delivered));
        }
    }

    #[test]
    fn lost_slots_are_zeroed_and_marked_and_the_header_never_is() {
        let channel = channel("tile-loss=0.3");
        let mut lost = 0;
        for sequence in 0..2000 {
            let (packet, fate) = passed(&channel, SlotKind::Digital, sequence);
            assert_eq!(fate, Fate::Delivered);
            assert!(packet.bytes[..HEADER].iter().all(|&byte| byte == 128));
            for (i, slot) in packet.bytes[HEADER..].chunks(SLOT).enumerate() {
                let expected = if packet.info.erased.contains(i as u8) { 0 } else { 128 };
                assert!(slot.iter().all(|&byte| byte == expected));
            }
            assert!((8..=255).all(|i| !packet.info.erased.contains(i)));
            lost += packet.info.erased.count();
        }
        let share = f64::from(lost) / 16_000.0;
        assert!((share - 0.3).abs() < 0.015, "{share}");
    }

    #[test]
    fn bursts_run_along_the_scan_order_and_across_packets() {
        let channel = channel("tile-loss=0.3,burst=12");
        // Slots of the packet in another order than on the map.
        let mut shuffled = layout(SlotKind::Digital);
        shuffled.slots.reverse();
        let mut lost = Vec::new();
        for sequence in 0..8000 {
            let mut packet = packet();
            channel.pass(&mut packet, &shuffled, sequence, false);
            lost.extend((0..8).rev().map(|i| packet.info.erased.contains(i)));
        }
        let bad = lost.iter().filter(|&&lost| lost).count();
        let starts = lost.windows(2).filter(|pair| !pair[0] && pair[1]).count();
        let mean_run = bad as f64 / starts as f64;
        assert!((mean_run / 12.0 - 1.0).abs() < 0.1, "{mean_run}");
        assert!((bad as f64 / 64_000.0 - 0.3).abs() < 0.03, "{bad}");
    }

    #[test]
    fn a_packet_of_one_tile_is_lost_where_the_frame_loses_the_tile() {
        let channel = channel("tile-loss=0.5,burst=3");
        let tile = Layout { slots: vec![layout(SlotKind::Digital).slots[0]] };
        for frame in 0..200 {
            let (whole, _) = passed(&channel, SlotKind::Digital, frame);
            for i in 0..8u8 {
                let mut part = packet();
                let fate = channel.pass(&mut part, &tile, frame * 8 + u64::from(i), true);
                let expected = if whole.info.erased.contains(i) { Fate::Lost } else { Fate::Delivered };
                assert_eq!((fate, part), (expected, packet()));
            }
        }
    }

    #[test]
    fn whole_packets_are_lost_at_their_share() {
        let channel = channel("frame-loss=0.2");
        let lost = (0..10_000).filter(|&i| passed(&channel, SlotKind::Digital, i).1 == Fate::Lost).count();
        assert!((lost as f64 / 10_000.0 - 0.2).abs() < 0.016, "{lost}");
    }

    #[test]
    fn digital_slots_and_headers_flip_while_analogue_slots_blur() {
        let channel = channel("snr=0");
        let (mut header, mut digital, mut square) = (0, 0, 0.0);
        let count = 2000;
        for sequence in 0..count {
            let (packet, _) = passed(&channel, SlotKind::Digital, sequence);
            let flipped = |bytes: &[u8]| bytes.iter().map(|byte| (byte ^ 128).count_ones()).sum::<u32>();
            header += flipped(&packet.bytes[..HEADER]);
            digital += flipped(&packet.bytes[HEADER..]);
            let (packet, _) = passed(&channel, ANALOG, sequence);
            square += packet.bytes[HEADER..].iter().map(|&c| (f64::from(c) - 128.0).powi(2)).sum::<f64>();
        }
        let rate = impair::bit_error_rate(0.0);
        let header = f64::from(header) / (count * 8 * HEADER as u64) as f64;
        let digital = f64::from(digital) / (count * 64 * SLOT as u64) as f64;
        assert!((header / rate - 1.0).abs() < 0.03, "{header}");
        assert!((digital / rate - 1.0).abs() < 0.01, "{digital}");
        // 0 dB: the noise is as strong as the signal, 32 steps.
        let deviation = libm::sqrt(square / (count * 8 * SLOT as u64) as f64);
        assert!((deviation / 32.0 - 1.0).abs() < 0.01, "{deviation}");
    }

    #[test]
    fn sigma_takes_the_place_of_snr_on_analogue_slots_alone() {
        let (with_sigma, _) = passed(&channel("sigma=0.2"), ANALOG, 0);
        let (with_both, _) = passed(&channel("sigma=0.2,snr=60"), ANALOG, 0);
        assert_eq!(with_sigma.bytes, with_both.bytes);
        assert_ne!(with_sigma.bytes, packet().bytes);
        assert_eq!(passed(&channel("sigma=0.2"), SlotKind::Digital, 0).0.bytes, packet().bytes);
    }

    #[test]
    fn the_measured_snr_is_off_by_half_a_decibel_at_most() {
        for (spec, centre) in [("snr=10", 1000), ("snr=-5,sigma=0.1", -500), ("sigma=0.1", 2000), ("snr=60", 6000)] {
            let channel = channel(spec);
            let measured: Vec<i16> =
                (0..2000).map(|i| passed(&channel, ANALOG, i).0.info.snr_cdb.unwrap() - centre).collect();
            assert!(measured.iter().all(|error| error.abs() <= 50), "{spec}");
            let mean = measured.iter().map(|&error| f64::from(error)).sum::<f64>() / 2000.0;
            assert!(mean.abs() < 3.0 && measured.iter().any(|error| error.abs() > 45), "{spec}: {mean}");
        }
        let silent = passed(&channel("sigma=0"), ANALOG, 0).0;
        assert_eq!(silent.info.snr_cdb, Some(10_000));
        assert_eq!(passed(&channel("tile-loss=0.5"), ANALOG, 0).0.info.snr_cdb, None);
    }

    #[test]
    fn delay_stays_within_its_jitter_and_adds_to_what_was_there() {
        let channel = channel("delay-ms=20,jitter-ms=5");
        let delays: Vec<u32> = (0..1000).map(|i| passed(&channel, SlotKind::Digital, i).0.info.delay_us).collect();
        assert!(delays.iter().all(|delay| (15_000..=25_000).contains(delay)));
        assert!(delays.iter().any(|&delay| delay < 15_500) && delays.iter().any(|&delay| delay > 24_500));
        let mut late = packet();
        late.info.delay_us = u32::MAX - 1;
        channel.pass(&mut late, &Layout::default(), 0, false);
        assert_eq!(late.info.delay_us, u32::MAX);
    }

    #[test]
    fn some_packets_arrive_late_or_twice_and_none_is_lost_by_that() {
        let mut channel = channel("reorder=0.25,duplicate=0.1");
        let mut arrived = Vec::new();
        let count = 4000u32;
        for i in 0..count {
            let packet = Packet::new(i.to_le_bytes().to_vec());
            channel.transmit(packet, &Layout::default(), i.into(), false, &mut arrived);
        }
        channel.flush(&mut arrived);
        let numbers: Vec<u32> =
            arrived.iter().map(|p| u32::from_le_bytes(p.bytes.as_slice().try_into().unwrap())).collect();
        let doubled = (numbers.len() as f64 - f64::from(count)) / f64::from(count);
        assert!((doubled - 0.1).abs() < 0.02, "{doubled}");
        let mut seen = numbers.clone();
        seen.sort_unstable();
        seen.dedup();
        assert!(seen.into_iter().eq(0..count));
        // A packet that overtakes isn't held back, so the share is p / (1 + p).
        let overtaken = numbers.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64 / f64::from(count);
        assert!((overtaken - 0.2).abs() < 0.02, "{overtaken}");
    }

    #[test]
    fn the_order_of_calls_and_a_change_of_spec_leave_no_trace() {
        let mut channel = channel("tile-loss=0.4,burst=5,snr=2");
        let straight: Vec<Packet> = (0..50).map(|i| passed(&channel, SlotKind::Digital, i).0).collect();
        let spec = channel.spec().clone();
        channel.set_spec(ChannelSpec { tile_loss: 1.0, ..spec.clone() });
        assert_eq!(passed(&channel, SlotKind::Digital, 3).0.info.erased.count(), 8);
        channel.set_spec(spec);
        for i in (0..50).rev() {
            assert_eq!(passed(&channel, SlotKind::Digital, i).0, straight[i as usize]);
        }
    }

    #[test]
    fn a_layout_that_does_not_fit_harms_nothing_else() {
        let slot = |start, end| Slot { start, end, kind: SlotKind::Digital, row: 0, col: 0 };
        let layout =
            Layout { slots: vec![slot(5, 2), slot(usize::MAX, usize::MAX), slot(4, 900), slot(6, 8), slot(0, 0)] };
        let mut packet = Packet::new(vec![9; 10]);
        channel("tile-loss=1,snr=0").pass(&mut packet, &layout, u64::MAX, false);
        assert!(packet.bytes[4..].iter().all(|&byte| byte == 0));
        assert_eq!(header_stretches(&layout, 10), vec![0..4]);
        let many = Layout { slots: vec![slot(0, 1); 300] };
        let mut packet = Packet::new(vec![9]);
        channel("tile-loss=1").pass(&mut packet, &many, 0, false);
        assert_eq!((packet.bytes[0], packet.info.erased.count()), (0, 256));
    }

    #[test]
    fn same_seed_same_bytes() {
        let spec = "tile-loss=0.25,burst=2,snr=3,delay-ms=20,jitter-ms=5";
        let (digital, _) = passed(&channel(spec), SlotKind::Digital, 1);
        let (analog, _) = passed(&channel(spec), ANALOG, 1);
        assert_eq!(digital.info, analog.info);
        let marked: Vec<u8> = (0..8).filter(|&i| digital.info.erased.contains(i)).collect();
        let sum = |packet: &Packet| {
            packet.bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, &b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
        };
        assert_eq!(
            (
                digital.info.snr_cdb,
                digital.info.delay_us,
                marked,
                &digital.bytes[..HEADER],
                sum(&digital),
                sum(&analog)
            ),
            (
                Some(327),
                19_386,
                vec![1, 2],
                &[128, 136, 128, 128, 128, 128, 128, 128, 128, 128][..],
                4_248_641_618_255_857_646,
                6_216_492_678_292_981_484
            )
        );
    }
}
