//! What the ring's lock protects: the newest entries, indexed by room.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use hubbub_protocol::{ResetReason, RoomId, Seq, UnixMillis};

use super::{Draft, Entry, Fallen, History, Marker, Page, Resume, Retention, Seat, entry::Span};

/// Entries in ascending order of `seq`.
type Run = VecDeque<Arc<Entry>>;

/// A marker that is still in the window.
#[derive(Debug)]
struct Crossing {
    /// As the log has it: decides about cursors that come from anywhere.
    told: Marker,
    /// With what this instance itself offers again: decides about readers that were here when it was walked.
    here: Marker,
    /// The lowest cursor that can be completed across it; None when it hides nothing of what is older.
    fence: Option<Seq>,
}

#[derive(Debug)]
pub(super) struct Window {
    retention: Retention,
    entries: Run,
    rooms: HashMap<RoomId, Run>,
    /// Markers and holes, which concern every reader.
    shared: Run,
    crossings: VecDeque<Crossing>,
    bytes: usize,
    /// Entries up to here have been evicted, or were never here.
    evicted: Seq,
    /// The highest place walked.
    last: Seq,
    /// Where a reader begins that came before the first fill.
    origin: Seq,
    /// Base of the last marker walked.
    epoch: Seq,
    /// What had been walked before it.
    walked: Span,
}

impl Window {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            entries: Run::new(),
            rooms: HashMap::new(),
            shared: Run::new(),
            crossings: VecDeque::new(),
            bytes: 0,
            evicted: 0,
            last: 0,
            origin: 0,
            epoch: 0,
            walked: Span::default(),
        }
    }

    pub(super) const fn last(&self) -> Seq {
        self.last
    }

    pub(super) const fn epoch(&self) -> Seq {
        self.epoch
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn capacity(&self) -> usize {
        let mean = self.bytes.checked_div(self.len()).unwrap_or(0).max(1);
        self.retention.messages.min(self.retention.bytes / mean).max(1)
    }

    pub(super) fn rooms(&self) -> usize {
        self.rooms.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// From now on a reader without a cursor begins behind what is here.
    pub(super) const fn begin_here(&mut self) {
        self.origin = self.last;
    }

    pub(super) const fn adopt_epoch(&mut self, base: Seq) {
        self.epoch = base;
    }

    pub(super) fn run(&self, after: Seq, max: usize) -> Result<Vec<Arc<Entry>>, Fallen> {
        let after = self.admit(after)?;
        Ok(self.entries.range(position(&self.entries, after)..).take(max).cloned().collect())
    }

    pub(super) fn read(&self, after: Seq, upto: Seq, seats: &[Seat], max_bytes: usize) -> Result<Page, Fallen> {
        let after = self.admit(after)?;
        let upto = self.readable(upto).min(self.last).max(after);
        let seated = seats.iter().filter_map(|seat| {
            Some((self.rooms.get(&seat.room)?, seat.since.max(after), seat.until.map_or(upto, |until| until.min(upto))))
        });
        let mut sources: Vec<_> = seated
            .chain([(&self.shared, after, upto)])
            .map(|(run, since, until)| {
                run.range(position(run, since)..).take_while(move |entry| entry.seq <= until).peekable()
            })
            .collect();
        let mut heads: BinaryHeap<Reverse<(Seq, usize)>> =
            sources.iter_mut().enumerate().filter_map(|(n, run)| Some(Reverse((run.peek()?.seq, n)))).collect();
        let (mut entries, mut bytes) = (Vec::<Arc<Entry>>::new(), 0);
        while let Some(Reverse((_, n))) = heads.pop() {
            let Some(run) = sources.get_mut(n) else { break };
            let Some(entry) = run.next() else { continue };
            bytes += entry.frame.len();
            if let Some(last) = entries.last()
                && bytes > max_bytes
            {
                let cursor = last.seq;
                return Ok(Page { entries, cursor });
            }
            entries.push(Arc::clone(entry));
            heads.extend(run.peek().map(|next| Reverse((next.seq, n))));
        }
        Ok(Page { entries, cursor: upto })
    }

    pub(super) fn history(&self, room: &RoomId, before: Option<Seq>, after: Option<Seq>, limit: usize) -> History {
        let seq = self.last;
        let Some(run) = self.rooms.get(room) else { return History { seq, ..History::default() } };
        let low = after.map_or(0, |after| position(run, after));
        let high = before.map_or(run.len(), |before| position(run, before.saturating_sub(1))).max(low);
        let start = high.saturating_sub(limit).max(low);
        let entries: Vec<_> = run.range(start..high).cloned().collect();
        let next = entries.first().filter(|_| start > low).map(|entry| entry.seq);
        History { entries, next, seq }
    }

    pub(super) fn resume(&self, cursor: Seq) -> Resume {
        if cursor == 0 {
            return Resume::Reset(ResetReason::UnknownCursor);
        }
        if cursor > self.last {
            return Resume::Ahead;
        }
        if cursor < self.evicted {
            return Resume::Reset(ResetReason::TooOld);
        }
        if self.newest_hole() > cursor {
            return Resume::Reset(ResetReason::Hole);
        }
        self.obstacle(cursor, |crossing| &crossing.told).map_or(Resume::Replay, Resume::Reset)
    }

    /// Up to where a reader may go that is not to cross a marker above `upto` yet: what such a marker took is here no
    /// more, though the reader has not had it.
    fn readable(&self, upto: Seq) -> Seq {
        let above = self.crossings.partition_point(|crossing| crossing.told.base <= upto);
        self.crossings.range(above..).map(|crossing| crossing.told.cut).fold(upto, Seq::min)
    }

    /// The position from which a reader of this instance goes on, or that it cannot.
    fn admit(&self, after: Seq) -> Result<Seq, Fallen> {
        let after = if after == 0 { self.origin } else { after };
        if after >= self.last {
            return Ok(after);
        }
        if after < self.evicted || self.obstacle(after, |crossing| &crossing.here).is_some() {
            return Err(Fallen);
        }
        Ok(after)
    }

    /// What keeps a reader at this cursor from walking over the markers above it. The cursor lies in the window.
    ///
    /// Messages above the cursor need no look: a gap between them has an entry of its own.
    fn obstacle(&self, cursor: Seq, side: impl Fn(&Crossing) -> &Marker) -> Option<ResetReason> {
        let next = self.entries.get(position(&self.entries, cursor)).map(|entry| entry.seq);
        let above = self.crossings.partition_point(|crossing| crossing.told.base <= cursor);
        self.crossings.range(above..).map(side).find_map(|marker| {
            let placed_by_marker = next == Some(marker.base);
            if placed_by_marker && cursor < marker.cut {
                return Some(ResetReason::TooOld);
            }
            if placed_by_marker && cursor > marker.cut && !marker.has_hole() && !marker.admits(cursor) {
                return Some(ResetReason::UnknownCursor);
            }
            let passes = if placed_by_marker { marker.admits(cursor) } else { !marker.has_hole() };
            (!passes).then_some(ResetReason::Hole)
        })
    }

    fn newest_hole(&self) -> Seq {
        let marker = |seq| self.crossings.binary_search_by_key(&seq, |crossing| crossing.told.base).is_ok();
        self.shared.iter().rev().map(|entry| entry.seq).find(|seq| !marker(*seq)).unwrap_or(0)
    }

    /// The lowest cursor that what is here can complete, when entries from before `young` do not count.
    /// None: nothing is here.
    pub(super) fn low(&self, young: UnixMillis) -> Option<Seq> {
        let fence = self.crossings.iter().rev().find_map(|crossing| crossing.fence).unwrap_or(0);
        let aged = self.entries.partition_point(|entry| entry.stamp < young);
        // a marker has nothing to offer, and in front of everything it has no age either
        let aged = self.entries.range(..aged).rev().find(|entry| entry.room().is_some()).map_or(0, |entry| entry.seq);
        (!self.entries.is_empty()).then(|| self.evicted.max(self.newest_hole()).max(fence).max(aged))
    }

    /// Appends a message. One whose room has no valid name takes its place without being kept.
    pub(super) fn push_message(&mut self, seq: Seq, room: &str, draft: Draft, now: UnixMillis) {
        if self.last == 0 {
            self.evicted = seq.saturating_sub(1);
        }
        self.last = seq;
        // one allocation a room instead of one a message
        let known = self.rooms.get_key_value(room).map(|(known, _)| known.clone());
        let Some(room) = known.or_else(|| room.parse().ok()) else { return };
        let stamp = self.stamp().max(draft.at.min(now));
        let entry = Arc::new(Entry::message(seq, room.clone(), draft, stamp, self.walked));
        self.rooms.entry(room).or_default().push_back(Arc::clone(&entry));
        self.push(entry);
    }

    /// Appends a hole: what lies between the last entry and this place is lost to this instance.
    pub(super) fn push_hole(&mut self, seq: Seq) {
        let entry = Arc::new(Entry::hole(seq, self.stamp()));
        self.last = seq;
        self.shared.push_back(Arc::clone(&entry));
        self.push(entry);
    }

    /// Appends a marker. What it lost must have been taken out before; `held` is what [`low`](Self::low) was before
    /// that, and `last` the last place walked.
    pub(super) fn push_marker(&mut self, marker: Marker, held: Option<Seq>, last: Seq) {
        let fence = match self.entries.back() {
            _ if marker.low > marker.cut => Some(marker.low),
            Some(before) if before.seq == marker.cut => None,
            Some(_) => Some(marker.cut),
            None => Some(marker.floor()),
        };
        let here = Marker { low: held.map_or(marker.low, |held| held.min(marker.low)), ..marker };
        self.crossings.push_back(Crossing { told: marker, here, fence });
        self.walked = Span { base: self.epoch, last };
        self.epoch = marker.base;
        self.last = marker.base;
        let entry = Arc::new(Entry::marker(marker.base, self.stamp(), self.walked));
        self.shared.push_back(Arc::clone(&entry));
        self.push(entry);
    }

    /// Takes out every entry above `cut`, ascending, but leaves those above `keep`: they were read after the marker
    /// was written, so the log does have them.
    pub(super) fn take_lost(&mut self, cut: Seq, keep: Seq) -> Vec<Arc<Entry>> {
        let keep = keep.max(cut);
        let kept = self.pop_above(keep);
        let lost = self.pop_above(cut);
        self.crossings.retain(|crossing| crossing.told.base <= cut || crossing.told.base > keep);
        if kept.is_empty() && self.evicted > cut {
            // of what is left nothing was evicted; older cursors meet the marker first
            self.evicted = 0;
        }
        for entry in kept {
            self.index(&entry).push_back(Arc::clone(&entry));
            self.bytes += entry.size();
            self.entries.push_back(entry);
        }
        lost
    }

    fn pop_above(&mut self, cut: Seq) -> Vec<Arc<Entry>> {
        let mut popped = Vec::new();
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.seq > cut) {
            self.bytes -= entry.size();
            self.unindex(&entry, VecDeque::pop_back);
            popped.push(entry);
        }
        popped.reverse();
        popped
    }

    fn push(&mut self, entry: Arc<Entry>) {
        self.bytes += entry.size();
        self.entries.push_back(entry);
        while self.entries.len() > 1
            && (self.entries.len() > self.retention.messages || self.bytes > self.retention.bytes)
        {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(entry) = self.entries.pop_front() else { return };
        self.bytes -= entry.size();
        self.evicted = entry.seq;
        self.unindex(&entry, VecDeque::pop_front);
        while self.crossings.front().is_some_and(|crossing| crossing.told.base <= entry.seq) {
            self.crossings.pop_front();
        }
    }

    fn index(&mut self, entry: &Entry) -> &mut Run {
        match entry.room() {
            Some(room) => self.rooms.entry(room.clone()).or_default(),
            None => &mut self.shared,
        }
    }

    /// Takes an entry out of its index, where it stands at the end that `pop` takes from.
    fn unindex(&mut self, entry: &Entry, pop: fn(&mut Run) -> Option<Arc<Entry>>) {
        let Some(room) = entry.room() else {
            pop(&mut self.shared);
            return;
        };
        let Some(run) = self.rooms.get_mut(room) else { return };
        pop(run);
        if run.is_empty() {
            self.rooms.remove(room);
        } else if run.capacity() > 64 && run.capacity() > 4 * run.len() {
            run.shrink_to(2 * run.len());
        }
    }

    fn stamp(&self) -> UnixMillis {
        self.entries.back().map_or(0, |entry| entry.stamp)
    }
}

/// Index of the first entry above `seq`.
fn position(run: &Run, seq: Seq) -> usize {
    run.partition_point(|entry| entry.seq <= seq)
}
