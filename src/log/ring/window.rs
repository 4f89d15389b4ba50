//! What the ring's lock protects: the newest entries, indexed by room.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    sync::Arc,
};

use hubbub_protocol::{ResetReason, RoomId, Seq};

use super::{
    Audience, CursorCheck, Entry, Fallen, History, Hole, NewEvent, Page, Recent, Retention, Seat, entry::Span,
};
use crate::marker::Marker;

/// Entries in ascending order of `seq`.
type Run = VecDeque<Arc<Entry>>;

/// A marker in the window, and which cursors may cross it: go on with the entries after it.
#[derive(Debug)]
struct Crossing {
    /// The marker as the log has it. Decides about cursors of clients that connect: they may come from any instance.
    claimed: Marker,
    /// The same marker. Its `low` is the lowest cursor that this instance's own messages complete, if that is lower.
    /// Decides about readers that were connected to this instance when the marker was applied.
    local: Marker,
    /// The lowest cursor that may cross the marker. None: the entries before the marker lead up to it without a gap, so
    /// it sets no limit.
    floor: Option<Seq>,
}

#[derive(Debug)]
pub(crate) struct Window {
    retention: Retention,
    entries: Run,
    rooms: HashMap<RoomId, Run>,
    /// Markers and holes, which concern every reader.
    common: Run,
    crossings: VecDeque<Crossing>,
    bytes: usize,
    /// Entries up to here have been evicted, or were never here.
    evicted: Seq,
    /// The last `seq` applied.
    last: Seq,
    /// Where a reader without a cursor begins.
    origin: Seq,
    /// Base of the last marker applied.
    epoch: Seq,
    /// What this instance had applied of the epoch before that.
    previous_epoch: Span,
}

impl Window {
    pub(super) fn new(retention: Retention) -> Self {
        Self {
            retention,
            entries: Run::new(),
            rooms: HashMap::new(),
            common: Run::new(),
            crossings: VecDeque::new(),
            bytes: 0,
            evicted: 0,
            last: 0,
            origin: 0,
            epoch: 0,
            previous_epoch: Span::default(),
        }
    }

    /// The last `seq` applied; 0 before the first.
    pub(crate) const fn last(&self) -> Seq {
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

    /// From now on a reader without a cursor begins after the last entry.
    pub(super) const fn begin_here(&mut self) {
        self.origin = self.last;
    }

    /// Takes over the open epoch when its marker was trimmed from the log before this ring was filled.
    pub(crate) const fn adopt_epoch(&mut self, base: Seq) {
        self.epoch = base;
    }

    pub(super) fn run(&self, after: Seq, max: usize) -> Result<Vec<Arc<Entry>>, Fallen> {
        let after = self.resolve_cursor(after)?;
        Ok(self.entries.range(index_after(&self.entries, after)..).take(max).cloned().collect())
    }

    pub(super) fn read<'a>(
        &self,
        after: Seq,
        upto: Seq,
        seats: impl IntoIterator<Item = &'a Seat>,
        max_bytes: usize,
    ) -> Result<Page, Fallen> {
        let after = self.resolve_cursor(after)?;
        let upto = self.readable(upto).min(self.last).max(after);
        let seated = seats
            .into_iter()
            .filter_map(|seat| Some((self.rooms.get(&seat.room)?, seat.since.max(after), seat.until.min(upto))));
        let mut sources: Vec<_> = seated
            .chain([(&self.common, after, upto)])
            .map(|(run, since, until)| {
                run.range(index_after(run, since)..).take_while(move |entry| entry.seq <= until).peekable()
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
        let low = after.map_or(0, |after| index_after(run, after));
        let high = before.map_or(run.len(), |before| index_after(run, before.saturating_sub(1))).max(low);
        let mut messages = run.range(low..high).rev().filter(|entry| entry.is_message());
        let mut entries: Vec<_> = messages.by_ref().take(limit).cloned().collect();
        entries.reverse();
        let next = entries.first().filter(|_| messages.next().is_some()).map(|entry| entry.seq);
        History { entries, next, seq }
    }

    pub(super) fn recent(&self, room: &RoomId, above: Seq) -> Recent {
        let run = self.rooms.get(room);
        let first = self.entries.front().map_or(0, |entry| entry.seq);
        // what a marker in front has cut off was here, or never came
        let cut = self.crossings.iter().find(|crossing| crossing.claimed.base == first);
        let lost = cut.map_or(0, |crossing| crossing.claimed.cut);
        let newer = run.into_iter().flat_map(|run| run.range(index_after(run, above)..));
        let entries = newer.filter(|entry| entry.is_message()).cloned().collect();
        Recent {
            entries,
            complete_above: if self.last == 0 { Seq::MAX } else { self.evicted.max(self.newest_hole()).max(lost) },
            lowest_cut: self.crossings.iter().map(|crossing| crossing.claimed.cut).min(),
            seq: self.last,
        }
    }

    pub(super) fn check_cursor(&self, cursor: Seq) -> CursorCheck {
        if cursor == 0 {
            return CursorCheck::Reset(ResetReason::UnknownCursor);
        }
        if cursor > self.last {
            return CursorCheck::Ahead;
        }
        if cursor < self.evicted {
            return CursorCheck::Reset(ResetReason::TooOld);
        }
        if self.newest_hole() > cursor {
            return CursorCheck::Reset(ResetReason::Hole);
        }
        self.reset_reason(cursor, |crossing| &crossing.claimed).map_or(CursorCheck::Replay, CursorCheck::Reset)
    }

    /// The highest `seq` up to `upto` that a reader may reach without crossing a marker above `upto`. Entries above the
    /// `cut` of such a marker have been removed, and a reader that is not past them has not received them.
    fn readable(&self, upto: Seq) -> Seq {
        let above = self.crossings.partition_point(|crossing| crossing.claimed.base <= upto);
        self.crossings.range(above..).map(|crossing| crossing.claimed.cut).fold(upto, Seq::min)
    }

    /// The `seq` after which a reader of this instance goes on: `after`, or the end of the initial sync if that is 0.
    fn resolve_cursor(&self, after: Seq) -> Result<Seq, Fallen> {
        let after = if after == 0 { self.origin } else { after };
        if after >= self.last {
            return Ok(after);
        }
        if after < self.evicted || self.reset_reason(after, |crossing| &crossing.local).is_some() {
            return Err(Fallen);
        }
        Ok(after)
    }

    /// Why a reader at this cursor must be reset instead of crossing the markers above it; None if it may cross them.
    /// The cursor lies in the window.
    ///
    /// Looks at markers only: a gap between messages is an entry of its own, a hole.
    fn reset_reason(&self, cursor: Seq, side: impl Fn(&Crossing) -> &Marker) -> Option<ResetReason> {
        let next = self.entries.get(index_after(&self.entries, cursor)).map(|entry| entry.seq);
        let above = self.crossings.partition_point(|crossing| crossing.claimed.base <= cursor);
        self.crossings.range(above..).map(side).find_map(|marker| {
            let next_entry_is_marker = next == Some(marker.base);
            if next_entry_is_marker && cursor < marker.cut {
                return Some(ResetReason::TooOld);
            }
            if next_entry_is_marker && cursor > marker.cut && !marker.has_hole() && !marker.admits(cursor) {
                return Some(ResetReason::UnknownCursor);
            }
            let passes = if next_entry_is_marker { marker.admits(cursor) } else { !marker.has_hole() };
            (!passes).then_some(ResetReason::Hole)
        })
    }

    fn newest_hole(&self) -> Seq {
        let marker = |seq| self.crossings.binary_search_by_key(&seq, |crossing| crossing.claimed.base).is_ok();
        self.common.iter().rev().map(|entry| entry.seq).find(|seq| !marker(*seq)).unwrap_or(0)
    }

    /// The lowest cursor after which the window has everything; entries older than `young` count as missing. None when
    /// the window is empty.
    pub(super) fn low(&self, young: u64) -> Option<Seq> {
        let floor = self.crossings.iter().rev().find_map(|crossing| crossing.floor).unwrap_or(0);
        let aged = self.entries.partition_point(|entry| entry.stamp < young);
        // only an event can be appended again; a marker in front of all events has no age either
        let aged = self.entries.range(..aged).rev().find(|entry| entry.kind().is_some()).map_or(0, |entry| entry.seq);
        (!self.entries.is_empty()).then(|| self.evicted.max(self.newest_hole()).max(floor).max(aged))
    }

    /// Appends an event; its `seq` must be above [`last`](Self::last). A message whose room has no valid name, and any
    /// event whose record cannot be read, uses up its `seq`, but is not kept. `placed` is when it got its `seq`.
    pub(crate) fn push_event(&mut self, event: NewEvent<'_>, placed: u64) {
        if self.last == 0 {
            self.evicted = event.seq.saturating_sub(1);
        }
        self.last = event.seq;
        let Some(audience) = self.audience(&event) else { return };
        let stamp = self.stamp().max(placed);
        let entry = Arc::new(Entry::event(event, audience, stamp, self.previous_epoch));
        self.add_to_index(&entry);
        self.push(entry);
    }

    fn audience(&self, event: &NewEvent<'_>) -> Option<Audience> {
        match (&event.told, &event.shown_in) {
            (Some(_), None) if event.room.is_empty() => None,
            (Some(_), None) => Some(Audience::Hidden),
            (Some(_), Some(room)) => Some(Audience::Room(self.known(room.as_str()).unwrap_or_else(|| room.clone()))),
            // no message is for an inbox, which parsing does not accept
            (None, _) => match event.room.parse() {
                Ok(room) => Some(Audience::Room(self.known(&event.room).unwrap_or(room))),
                Err(_) => None,
            },
        }
    }

    /// The same room in the index: one allocation a room instead of one a message.
    fn known(&self, room: &str) -> Option<RoomId> {
        self.rooms.get_key_value(room).map(|(known, _)| known.clone())
    }

    /// Appends a hole.
    pub(crate) fn push_hole(&mut self, hole: Hole) {
        self.last = hole.seq;
        let entry = Arc::new(Entry::hole(hole, self.stamp()));
        self.common.push_back(Arc::clone(&entry));
        self.push(entry);
    }

    /// Appends a marker, after a hole if there is one. Removes the entries that the log has lost, and returns them in
    /// order: those above the marker's `cut`, except those above `keep`, which were read after the marker was written.
    pub(crate) fn push_marker(&mut self, marker: Marker, hole: Option<Hole>, keep: Seq) -> Vec<Arc<Entry>> {
        let (applied, low) = (self.last, self.low(0));
        let lost = self.take_lost(marker.cut, keep);
        if let Some(hole) = hole {
            self.push_hole(hole);
        }
        let floor = match self.entries.back() {
            _ if marker.low > marker.cut => Some(marker.low),
            Some(before) if before.seq == marker.cut => None,
            Some(_) => Some(marker.cut),
            None => Some(marker.floor()),
        };
        let local = Marker { low: low.map_or(marker.low, |low| low.min(marker.low)), ..marker };
        self.crossings.push_back(Crossing { claimed: marker, local, floor });
        self.previous_epoch = Span { base: self.epoch, last: applied };
        self.epoch = marker.base;
        self.last = marker.base;
        let entry = Arc::new(Entry::marker(marker.base, self.stamp(), self.previous_epoch));
        self.common.push_back(Arc::clone(&entry));
        self.push(entry);
        lost
    }

    /// Removes the entries above `cut`, except those above `keep`. Returns them, ascending.
    fn take_lost(&mut self, cut: Seq, keep: Seq) -> Vec<Arc<Entry>> {
        let keep = keep.max(cut);
        let kept = self.pop_above(keep);
        let lost = self.pop_above(cut);
        self.crossings.retain(|crossing| crossing.claimed.base <= cut || crossing.claimed.base > keep);
        if kept.is_empty() && self.evicted > cut {
            // nothing of the rest was evicted; older cursors meet the marker first
            self.evicted = 0;
        }
        for entry in kept {
            self.add_to_index(&entry);
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
        while self.crossings.front().is_some_and(|crossing| crossing.claimed.base <= entry.seq) {
            self.crossings.pop_front();
        }
    }

    fn add_to_index(&mut self, entry: &Arc<Entry>) {
        let run = match &entry.audience {
            Audience::Room(room) => self.rooms.entry(room.clone()).or_default(),
            Audience::Everyone | Audience::Nobody => &mut self.common,
            // no reader gets it
            Audience::Hidden => return,
        };
        run.push_back(Arc::clone(entry));
    }

    /// Takes an entry out of its index, in which it is the one that `pop` returns.
    fn unindex(&mut self, entry: &Entry, pop: fn(&mut Run) -> Option<Arc<Entry>>) {
        let room = match &entry.audience {
            Audience::Room(room) => room,
            Audience::Everyone | Audience::Nobody => {
                pop(&mut self.common);
                return;
            }
            Audience::Hidden => return,
        };
        let Some(run) = self.rooms.get_mut(room) else { return };
        pop(run);
        if run.is_empty() {
            self.rooms.remove(room);
        } else if run.capacity() > 64 && run.capacity() > 4 * run.len() {
            run.shrink_to(2 * run.len());
        }
    }

    /// The age key of the last entry: no later entry may have a lower one.
    fn stamp(&self) -> u64 {
        self.entries.back().map_or(0, |entry| entry.stamp)
    }
}

/// Index of the first entry above `seq`.
fn index_after(run: &Run, seq: Seq) -> usize {
    run.partition_point(|entry| entry.seq <= seq)
}
