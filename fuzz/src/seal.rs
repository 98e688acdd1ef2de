//! Right checksums over wrong fields, as a hostile sender would write them. Follows `docs/wire.md`, not `semrx::wire`.

use crc::{CRC_16_IBM_SDLC, CRC_32_ISCSI, Crc};

const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
const CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_IBM_SDLC);

/// Remembers the parameters that packets which are not key must quote.
#[derive(Default)]
pub struct Sealer {
    params: [u8; 9],
}

impl Sealer {
    /// Puts the checksums of `packet` right as far as it goes. `None` when it ends before its header does.
    pub fn seal(&mut self, packet: &mut [u8]) -> Option<()> {
        let control = *packet.get(1)?;
        let kind = control & 7;
        let mut at = 12;
        if kind == 2 {
            return put(packet, at, &CRC32C.checksum(packet.get(..at)?).to_le_bytes());
        }
        if control & 8 != 0 {
            self.params.copy_from_slice(packet.get(16..25)?);
            at = 25;
        } else {
            put(packet, at, &CRC16.checksum(&self.params).to_le_bytes())?;
            at = 14;
        }
        let [_, _, _, _, tiling, payload, _, _, classes] = self.params;
        // Maps and tokens have a checksum a tile, soft values none.
        let is_checked = matches!(payload & 15, 0 | 3);
        let tiles = ((tiling >> 4) as usize + 1) * ((tiling & 15) as usize + 1);
        let alone = (kind == 1).then(|| packet.get(at).copied());
        at += alone.is_some() as usize;
        let set = classes.div_ceil(8) as usize;
        let mut present = [0; 8];
        present.get_mut(..set)?.copy_from_slice(packet.get(at..at + set)?);
        at += set;
        let mut lengths = Vec::new();
        if alone.is_none() && is_checked {
            for _ in 0..tiles {
                lengths.push(varint(packet, &mut at)?);
            }
        }
        put(packet, at, &CRC32C.checksum(&packet[..at]).to_le_bytes())?;
        at += 4;
        if !is_checked {
            return Some(());
        }
        match alone {
            Some(index) => seal_tile(packet, index?, &present, at, packet.len().checked_sub(at + 4)?),
            None => lengths.into_iter().enumerate().try_for_each(|(index, length)| {
                let start = at;
                at += length + 4;
                seal_tile(packet, index as u8, &present, start, length)
            }),
        }
    }
}

fn seal_tile(packet: &mut [u8], index: u8, present: &[u8; 8], start: usize, length: usize) -> Option<()> {
    let mut digest = CRC32C.digest();
    digest.update(&packet[2..8]);
    digest.update(&[index]);
    digest.update(present);
    digest.update(packet.get(start..start + length)?);
    put(packet, start + length, &digest.finalize().to_le_bytes())
}

fn varint(packet: &[u8], at: &mut usize) -> Option<usize> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = *packet.get(*at)? as usize;
        *at += 1;
        value |= (byte & 127) << shift;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}

fn put(packet: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    packet.get_mut(at..at + bytes.len())?.copy_from_slice(bytes);
    Some(())
}
