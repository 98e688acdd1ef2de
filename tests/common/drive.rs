use semrx::link::Packet;
use semrx::scene::{CAMVID12, Street};
use semrx::sender::{Sender, Settings};
use semrx::wire::Grid;

/// What arrives of the first frames of one drive, `period_us` apart.
pub fn drive(frames: u32, period_us: u64, settings: Settings) -> Vec<Packet> {
    let street = Street::new(3, Grid::new(128, 96));
    let mut sender = Sender::new(settings, &CAMVID12);
    let mut arrived = Vec::new();
    for frame in 0..frames {
        sender.send(&street.frame(frame), u64::from(frame) * period_us, &mut arrived).unwrap();
    }
    arrived
}
