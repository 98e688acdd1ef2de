//! What a caller tells the channel about the bytes of a packet.

/// The parts of a packet that meet the radio in different ways. Bytes outside every slot are its header: digital, and
/// never erased.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Disjoint, in the packet's own order: a slot's place here is its index in [`Erasures`](crate::link::Erasures). A
    /// slot above index 255 is zeroed without a mark when it is lost; what reaches beyond the packet is ignored.
    pub slots: Vec<Slot>,
}

/// Bytes that are lost together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slot {
    /// First byte in the packet.
    pub start: usize,
    /// First byte behind the slot.
    pub end: usize,
    pub kind: SlotKind,
    /// Place on the map, in tiles. Losses run from slot to slot along the rows: by row, then by column.
    pub row: u16,
    pub col: u16,
}

/// How the bytes of a slot meet noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SlotKind {
    /// Bits that flip.
    Digital,
    /// Unsigned codes of an amplitude, `unit` steps to 1.0, that take Gaussian noise and stop at the ends of their range.
    Analog { bits: CodeBits, unit: f32 },
}

/// Size of one analogue code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeBits {
    /// 0 to 15, two a byte, the high half first.
    Four,
    /// 0 to 255.
    Eight,
}

impl Slot {
    /// The slot's bytes; empty where the layout points outside the packet.
    pub(super) fn bytes<'a>(&self, packet: &'a mut [u8]) -> &'a mut [u8] {
        let end = self.end.min(packet.len());
        packet.get_mut(self.start..end).unwrap_or_default()
    }
}
