//! Several streams at once: whose turn it is, and what is left undone where time is short.
//!
//! A thread a source puts packets into a bounded [queue](Queues). [`Service::turn`] takes them out and does one piece of work: a provisional
//! decision, or, when none waits, a sampler step. Between two pieces everything that came is looked at, so a refinement never keeps a provisional
//! decision waiting for longer than one step. Of a live stream a newer frame overtakes an older one: that is dropped if it has no decision yet, and
//! settled with its provisional decision if it has. A capture is read at the pace of the work, and nothing of it is dropped.

mod queue;
mod reader;

pub use queue::{Arrived, CAPACITY, Queues};

use crate::board::Watch;
use crate::engine::EngineError;
use crate::link::{Counters, Interrupt, LinkError, Packet, Source};
use crate::receiver::{Gate, Receiver};
use crate::report::record::{Outcome, Record};
use crate::scene::{Assembly, Reception};
use crate::station::{Drops, Published, Station};
use crate::wire::emit_request;
use reader::Reader;
use std::cmp::Reverse;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The highest priority of a stream.
pub const MAX_PRIORITY: u8 = 7;
/// The most streams of a service.
pub const MAX_STREAMS: usize = 8;

/// How long a live source is listened to behind the end marker, while frames are missing.
const LINGER: Duration = Duration::from_millis(500);

/// Where packets come from.
pub struct Link {
    pub source: Box<dyn Source + Send>,
    /// With which it was opened, and nothing else.
    pub interrupt: Interrupt,
    /// Packets come by themselves: no capture.
    pub is_live: bool,
}

/// A stream that is served.
pub struct Lane {
    /// Number of its link.
    pub link: usize,
    /// Its id; the first one heard if `None`.
    pub stream: Option<u16>,
    /// 0 to [`MAX_PRIORITY`], which goes first.
    pub priority: u8,
    pub receiver: Receiver,
}

/// What the links and the queues have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    pub links: Counters,
    /// Packets that a full queue had no room for.
    pub queue: u64,
    /// Frames that lean on a key frame, or on a tile of it, that isn't there.
    pub lacked_key: u64,
}

struct Stream {
    station: Station,
    link: usize,
    id: Option<u16>,
    priority: u8,
    deadline: Option<Duration>,
    /// When a packet came last that was of use. `None` before the first.
    heard: Option<Instant>,
    /// All of it is settled.
    is_closed: bool,
}

struct Origin {
    reader: Reader,
    is_live: bool,
    /// Every stream of it is complete: nothing more is received.
    is_complete: bool,
}

/// The work loop: call [`turn`](Service::turn) until it [is done](Service::is_done).
pub struct Service {
    queues: Arc<Queues>,
    origins: Vec<Origin>,
    streams: Vec<Stream>,
    watch: Watch,
    lacked_key: u64,
    /// Another stream may follow one that has ended, or that was silent for so long.
    stays: Option<Duration>,
}

impl Service {
    /// Begins to receive from `links` for `lanes`. Where it `stays`, a live stream that has ended, or was silent for so long, makes room for the next one.
    ///
    /// # Errors
    /// More than [`MAX_STREAMS`] lanes, or what the operating system says where it starts no more threads.
    pub fn start(links: Vec<Link>, lanes: Vec<Lane>, watch: Watch, stays: Option<Duration>) -> io::Result<Self> {
        if lanes.len() > MAX_STREAMS {
            let reason = format!("{} streams, {MAX_STREAMS} is the most", lanes.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let queues = Arc::new(Queues::new(links.len()));
        let streams = lanes
            .into_iter()
            .map(|Lane { link, stream, priority, receiver }| Stream {
                deadline: receiver.deadline_us().map(Duration::from_micros),
                station: Station::new(receiver, assembly(links[link].is_live, stream), !links[link].is_live),
                link,
                id: stream,
                priority,
                heard: None,
                is_closed: false,
            })
            .collect();
        let origins = links.into_iter().enumerate().map(|(number, Link { source, interrupt, is_live })| {
            let reader = Reader::spawn(source, interrupt, number, is_live, queues.clone())?;
            Ok(Origin { reader, is_live, is_complete: false })
        });
        Ok(Service { origins: origins.collect::<io::Result<_>>()?, queues, streams, watch, lacked_key: 0, stays })
    }

    /// Takes in what came, and does one piece of work. `false` where there was nothing to do: [wait](Service::wait) then. What it publishes
    /// comes with the number of its lane.
    ///
    /// # Errors
    /// A model's run.
    pub fn turn(&mut self, publish: &mut dyn FnMut(usize, Published<'_>)) -> Result<bool, EngineError> {
        let mut deadlines = [None; MAX_STREAMS];
        deadlines.iter_mut().zip(&self.streams).for_each(|(deadline, stream)| *deadline = stream.deadline);
        let (mut decided, mut strained) = (0, 0);
        let mut publish = |lane: usize, published: Published<'_>| {
            if let Published::Record { record, .. } = &published
                && let Some(is_strained) = is_strained(record, deadlines.get(lane).copied().flatten())
            {
                (decided, strained) = (decided + 1, strained + u32::from(is_strained));
            }
            publish(lane, published);
        };
        for link in 0..self.origins.len() {
            self.receive(link, &mut publish);
        }
        self.renew(&mut publish);
        let next = self.streams.iter().enumerate().filter_map(|(lane, stream)| {
            let (arrival, is_provisional) = stream.station.current()?;
            let due = stream.deadline.map(|deadline| arrival + deadline);
            // What has no deadline can wait.
            Some(((is_provisional, Reverse(stream.priority), due.is_none(), due, arrival), lane))
        });
        let next = next.min();
        if let Some((_, lane)) = next {
            let most = self.watch.steps();
            self.streams[lane].station.work(most, &mut |published| publish(lane, published))?;
        }
        self.watch.count(decided, strained);
        Ok(next.is_some())
    }

    /// Looks at the board, where it is time to. `true` where another number of steps is allowed from now on.
    pub fn look(&mut self, now: Instant) -> bool {
        self.watch.look(now)
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Waits until something comes, for `patience` at most.
    pub fn wait(&self, patience: Duration) {
        self.queues.wait(patience);
    }

    /// Receives nothing more; what came is still worked off.
    pub fn drain(&mut self) {
        self.stays = None;
        self.origins.iter().for_each(|origin| origin.reader.stop());
    }

    /// Every link is at its end, and everything that came is settled.
    pub fn is_done(&self) -> bool {
        self.streams.iter().all(|stream| stream.is_closed)
    }

    /// Puts other receivers and priorities in the place of those of the lanes, in their order, between two frames.
    ///
    /// # Errors
    /// A model's run.
    pub fn change(
        &mut self,
        lanes: impl IntoIterator<Item = (u8, Receiver)>,
        publish: &mut dyn FnMut(usize, Published<'_>),
    ) -> Result<(), EngineError> {
        for (lane, (stream, (priority, receiver))) in self.streams.iter_mut().zip(lanes).enumerate() {
            stream.priority = priority;
            stream.deadline = receiver.deadline_us().map(Duration::from_micros);
            stream.station.change(receiver, &mut |published| publish(lane, published))?;
        }
        Ok(())
    }

    /// Watches within other limits from now on.
    pub fn change_watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Those of the lanes, in their order, to be told something between two turns.
    pub fn receivers(&mut self) -> impl Iterator<Item = &mut Receiver> {
        self.streams.iter_mut().map(|stream| stream.station.receiver())
    }

    /// What ended a link before its end, told once.
    pub fn error(&self) -> Option<LinkError> {
        (0..self.origins.len()).find_map(|link| self.queues.error(link))
    }

    pub fn counted(&self) -> Counted {
        let mut counted = Counted { lacked_key: self.lacked_key, ..Counted::default() };
        for (links, queue) in (0..self.origins.len()).map(|link| self.queues.counted(link)) {
            counted.links.received += links.received;
            counted.links.bytes += links.bytes;
            counted.links.oversized += links.oversized;
            counted.links.malformed += links.malformed;
            counted.links.reopened += links.reopened;
            counted.queue += queue;
        }
        counted
    }

    /// Sums over the lanes.
    pub fn drops(&self) -> Drops {
        self.streams.iter().fold(Drops::default(), |sum, stream| sum + stream.station.drops())
    }

    /// Whether the end marker of every stream has come.
    pub fn has_ended(&self) -> bool {
        self.streams.iter().all(|stream| stream.station.ended())
    }

    /// Takes the packets of a link in: of a live one all that wait, of a capture the next one, once the one before is worked off.
    fn receive(&mut self, link: usize, publish: &mut dyn FnMut(usize, Published<'_>)) {
        let is_live = self.origins[link].is_live;
        // Who sends without end keeps nothing from being decided.
        for _ in 0..CAPACITY {
            if !is_live && self.take(link, publish) {
                return;
            }
            // Asked before the queue is: what comes in between is seen in the next turn.
            let has_ended = self.queues.has_ended(link);
            let Some(Arrived { packet, at, link_bytes }) = self.queues.take(link) else {
                if has_ended {
                    self.close(link, publish);
                }
                return;
            };
            let Some(lane) = self.lane(link, &packet.bytes) else { continue };
            let reception = Reception { snr_cdb: packet.info.snr_cdb, delay_us: packet.info.delay_us, link_bytes };
            let erased = |tile: usize| u8::try_from(tile).is_ok_and(|tile| packet.info.erased.contains(tile));
            let Stream { station, heard, .. } = &mut self.streams[lane];
            let before = station.drops().packets();
            station.hear(&packet.bytes, reception, erased, if is_live { at } else { Instant::now() });
            if is_live {
                while station.take(&mut |published| publish(lane, published)) {}
                // A sender that began anew is of use only once the stream before it is over.
                if station.drops().packets() == before {
                    *heard = Some(at);
                }
            }
            self.answer(lane);
        }
    }

    /// Takes what became of a capture's packets until there is a frame to work on; `false` where there is none.
    fn take(&mut self, link: usize, publish: &mut dyn FnMut(usize, Published<'_>)) -> bool {
        for (lane, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.link == link) {
            loop {
                if stream.station.current().is_some() {
                    return true;
                }
                if !stream.station.take(&mut |published| publish(lane, published)) {
                    break;
                }
            }
        }
        false
    }

    /// Asks for the key frame that is lacking, and looks whether the stream is at its end.
    fn answer(&mut self, lane: usize) {
        let stream = &mut self.streams[lane];
        let Origin { reader, is_live, is_complete } = &mut self.origins[stream.link];
        if let Some(request) = stream.station.key_request() {
            self.lacked_key += 1;
            if *is_live {
                reader.reply(Packet::new(emit_request(request).to_vec()));
            }
        }
        let link = stream.link;
        if !*is_live || self.stays.is_some() || *is_complete {
            return;
        }
        let mut own = self.streams.iter().filter(|stream| stream.link == link);
        if own.clone().all(|stream| stream.station.complete()) {
            reader.stop();
            *is_complete = true;
        } else if own.all(|stream| stream.station.ended()) {
            // What the end marker overtook may still come.
            reader.end_after(LINGER);
        }
    }

    /// Settles what a link that is at its end leaves open.
    fn close(&mut self, link: usize, publish: &mut dyn FnMut(usize, Published<'_>)) {
        for (lane, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.link == link) {
            if stream.is_closed || stream.station.current().is_some() {
                continue;
            }
            stream.is_closed = stream.settle(&mut |published| publish(lane, published));
        }
    }

    /// Makes room for the next stream, where one is over.
    fn renew(&mut self, publish: &mut dyn FnMut(usize, Published<'_>)) {
        let Some(silence) = self.stays else { return };
        for (lane, stream) in self.streams.iter_mut().enumerate().filter(|(_, stream)| stream.heard.is_some()) {
            let station = &stream.station;
            let silent = stream.heard.map_or(Duration::ZERO, |heard| heard.elapsed());
            let is_over = station.complete() || silent > if station.ended() { LINGER } else { silence };
            if is_over
                && self.origins[stream.link].is_live
                && stream.station.current().is_none()
                && stream.settle(&mut |published| publish(lane, published))
            {
                stream.station.restart(assembly(true, stream.id));
                stream.heard = None;
            }
        }
    }

    /// The lane that a packet belongs to.
    fn lane(&self, link: usize, bytes: &[u8]) -> Option<usize> {
        let mut own = self.streams.iter().enumerate().filter(|(_, stream)| stream.link == link);
        let first = own.clone().next().map(|(lane, _)| lane);
        if own.clone().nth(1).is_none() {
            return first;
        }
        let is_its = |(_, stream): &(usize, &Stream)| {
            let id = stream.station.stream();
            id.is_some() && stream.station.stream_of(bytes) == id
        };
        let free = own.clone().find(|(_, stream)| stream.station.stream().is_none());
        // What belongs to none is dropped, and counted, by the first.
        own.find(is_its).or(free).map(|(lane, _)| lane).or(first)
    }
}

impl Stream {
    /// Settles what the stream leaves open: `true` when nothing is. A frame among it is worked on first.
    fn settle(&mut self, publish: &mut dyn FnMut(Published<'_>)) -> bool {
        self.station.close();
        while self.station.current().is_none() {
            if !self.station.take(publish) {
                return true;
            }
        }
        false
    }
}

/// Whether a frame was decided too late, or so late that the next one may be; `None` where that says nothing about the time that it took.
fn is_strained(record: &Record<'_>, deadline: Option<Duration>) -> Option<bool> {
    match record.outcome {
        Outcome::Lost | Outcome::Refused => None,
        Outcome::Stale => Some(true),
        Outcome::Decided | Outcome::DecidedLate => {
            let took = Duration::from_micros(record.timing.decision_us);
            Some(record.gate == Gate::Preempted.name() || deadline.is_some_and(|deadline| took * 10 > deadline * 9))
        }
    }
}

/// A capture starts with its stream, a socket may join later.
fn assembly(is_live: bool, stream: Option<u16>) -> Assembly<'static> {
    let assembly = Assembly::new(!is_live);
    match stream {
        Some(stream) => assembly.follow(stream),
        None => assembly,
    }
}
