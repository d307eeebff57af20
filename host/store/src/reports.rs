//! What waits for reporters: a line of events for each, in the order of the commits that put them.
//!
//! Each reporter has rows of its own, so that one that takes nothing keeps back no other, and a line has an end: beyond
//! it the oldest events go, counted. Whom builds are told to is not stored: it follows from the configuration.
//!
//! A commit that starts or ends a build needs nothing of this: a damaged row that is met here costs what it would have
//! told, and never the commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use redb::ReadableTable;
use tokio::sync::watch;
use windlass_core::claim::Rows;
use windlass_core::id::{BuildsetId, RequestId};
use windlass_core::outcome::Outcome;
use windlass_core::record::BuildRow;
use windlass_core::report::{Event, Kind, LOOKED_BACK, Line, Reader, Taken};
use windlass_core::request::Buildset;

use crate::Store;
use crate::batch::Group;
use crate::encode::{self, unpack};
use crate::fault::{ReadError, missing};
use crate::tables::Snapshot;
use crate::verify::Flaws;

/// Requests of a build that are looked at for who submitted them.
const LOOKED_AT: usize = 1_000;

/// An event that waits for a reporter.
#[derive(Debug)]
pub struct Waiting {
    /// Its place in the line.
    pub place: u64,
    /// What it says; an error: its row is damaged.
    pub event: Result<Event, ReadError>,
}

impl Store {
    /// Tells builds to these from now on: the commits that start or end one put events into their lines.
    pub fn report_to(&self, readers: Vec<Reader>) {
        *self.0.readers.lock().expect("nothing panics while it is held") = Arc::new(readers);
    }

    /// Changes after each commit that puts events. It ends with the store.
    #[must_use]
    pub fn told(&self) -> watch::Receiver<u64> {
        self.0.watches.events.subscribe()
    }

    /// The oldest event that waits for a reporter.
    pub fn next_event(&self, reporter: &str) -> Result<Option<Waiting>, ReadError> {
        let snapshot = self.snapshot()?;
        let Some(row) = snapshot.events()?.range((reporter, 0)..=(reporter, u64::MAX))?.next() else {
            return Ok(None);
        };
        let (key, row) = row?;
        let place = key.value().1;
        Ok(Some(Waiting { place, event: unpack("events", (reporter, place), row.value()) }))
    }

    /// What waits for a reporter, and what became of the rest; nothing: it was told nothing yet.
    pub fn reporter_line(&self, reporter: &str) -> Result<Line, ReadError> {
        let row = self.snapshot()?.reporters()?.get(reporter)?;
        row.map_or(Ok(Line::default()), |row| unpack("reporters", reporter, row.value()))
    }

    /// The reporters that have a line.
    pub fn reporter_lines(&self) -> Result<BTreeSet<String>, ReadError> {
        self.snapshot()?.reporters()?.iter()?.map(|row| Ok(row?.0.value().to_owned())).collect()
    }
}

impl Group<'_> {
    /// Whether somebody may want to be told this moment of a build.
    pub(crate) fn is_news(&self, kind: Kind, row: &BuildRow) -> bool {
        self.readers.iter().any(|reader| reader.wanted.may_cover(kind, row))
    }

    /// Puts an event into the lines of those who want it. What nobody can want has nothing read for it; `requests` are
    /// those that the batch looked up.
    pub(crate) fn tell(&mut self, kind: Kind, row: &BuildRow, requests: &Rows) -> Result<(), ReadError> {
        let readers = Arc::clone(&self.readers);
        let mut wanting: Vec<&Reader> =
            readers.iter().filter(|reader| reader.wanted.may_cover(kind, row)).collect();
        if wanting.is_empty() {
            return Ok(());
        }
        let before = match kind {
            Kind::BuildStarted => None,
            Kind::BuildFinished => self.outcome_before(row)?,
        };
        wanting.retain(|reader| reader.wanted.may_cover_after(before, kind, row));
        if wanting.is_empty() {
            return Ok(());
        }
        let event = Event::new(kind, row, self.submitters(&row.requests, requests)?, before);
        wanting.retain(|reader| reader.wanted.covers(&event));
        if wanting.is_empty() {
            return Ok(());
        }
        let packed = encode::pack(&event);
        wanting.into_iter().try_for_each(|reader| self.join(&reader.name, &packed))?;
        self.told = true;
        Ok(())
    }

    fn join(&mut self, reporter: &str, event: &[u8]) -> Result<(), ReadError> {
        let mut line = self.line(reporter)?;
        let place = line.join(event.len() as u64);
        let events = self.tables.events.write()?;
        events.insert((reporter, place), event)?;
        while line.is_too_long() {
            let oldest = {
                let first = events.range((reporter, 0)..=(reporter, u64::MAX))?.next().transpose()?;
                let Some((key, row)) = first else { break };
                (key.value().1, row.value().len() as u64)
            };
            events.remove((reporter, oldest.0))?;
            line.leave(oldest.1, None);
        }
        self.put_line(reporter, &line)
    }

    /// An event is done with.
    pub(crate) fn take_event(&mut self, reporter: &str, place: u64, taken: Taken) -> Result<(), ReadError> {
        // Before the event leaves: a line that is damaged is counted with it.
        let mut line = self.line(reporter)?;
        let bytes =
            self.tables.events.write()?.remove((reporter, place))?.map(|row| row.value().len() as u64);
        // It was dropped meanwhile, or the reporter is gone.
        let Some(bytes) = bytes else { return Ok(()) };
        line.leave(bytes, Some(taken));
        self.put_line(reporter, &line)
    }

    /// Takes the lines of all away that builds are not told to any more.
    pub(crate) fn keep_reporters(&mut self) -> Result<(), ReadError> {
        let readers = Arc::clone(&self.readers);
        let is_gone = |name: &str| !readers.iter().any(|kept| kept.name == name);
        for row in self.tables.events.write()?.extract_if(|(name, _), _| is_gone(name))? {
            row?;
        }
        for row in self.tables.reporters.write()?.extract_if(|name, _| is_gone(name))? {
            row?;
        }
        Ok(())
    }

    /// The line of a reporter. One that is damaged is counted anew; what left it is forgotten.
    fn line(&self, reporter: &str) -> Result<Line, ReadError> {
        let Some(row) = self.tables.reporters.read()?.get(reporter)? else { return Ok(Line::default()) };
        match readable(unpack("reporters", reporter, row.value()))? {
            Some(line) => Ok(line),
            None => self.count(reporter),
        }
    }

    fn count(&self, reporter: &str) -> Result<Line, ReadError> {
        let mut line = Line::default();
        for row in self.tables.events.read()?.range((reporter, 0)..=(reporter, u64::MAX))? {
            let (key, row) = row?;
            line.join(row.value().len() as u64);
            line.last = key.value().1;
        }
        Ok(line)
    }

    fn put_line(&mut self, reporter: &str, line: &Line) -> Result<(), ReadError> {
        self.tables.reporters.write()?.insert(reporter, encode::pack(line).as_slice())?;
        Ok(())
    }

    /// How the build before ended: the newest one of the builder that began before, has ended, and not as *retry*.
    fn outcome_before(&self, row: &BuildRow) -> Result<Option<Outcome>, ReadError> {
        let (builder, builds) = (row.builder.as_str(), self.tables.builds.read()?);
        for key in
            self.tables.by_builder.read()?.range((builder, 0)..(builder, row.id.0))?.rev().take(LOOKED_BACK)
        {
            let id = key?.0.value().1;
            // It runs: its row need not be read for that.
            if self.tables.live.read()?.get(id)?.is_some() {
                continue;
            }
            let row = builds.get(id)?.ok_or_else(|| missing("builds", id));
            let row = row.and_then(|row| unpack::<BuildRow>("builds", id, row.value()));
            let outcome = readable(row)?.and_then(|row| row.complete).map(|complete| complete.outcome);
            if outcome.is_some_and(|outcome| outcome != Outcome::Retry) {
                return Ok(outcome);
            }
        }
        Ok(None)
    }

    /// Who submitted these requests, each once, by name. Most of them were looked up already: they are `known`.
    fn submitters(&self, requests: &[RequestId], known: &Rows) -> Result<Vec<String>, ReadError> {
        let mut buildsets = BTreeSet::new();
        for id in requests.iter().take(LOOKED_AT) {
            let buildset = match known.get(id) {
                Some(request) => Some(request.buildset),
                None => self.buildset_of(*id)?,
            };
            buildsets.extend(buildset);
        }
        let mut submitters = BTreeSet::new();
        for id in buildsets {
            if let Some(row) = self.tables.buildsets.read()?.get(id.0)? {
                let buildset = readable(unpack::<Buildset>("buildsets", id.0, row.value()))?;
                submitters.extend(buildset.map(|buildset| buildset.submitter));
            }
        }
        Ok(submitters.into_iter().collect())
    }

    fn buildset_of(&self, request: RequestId) -> Result<Option<BuildsetId>, ReadError> {
        let places =
            [("held", &self.tables.held), ("done", &self.tables.done), ("waiting", &self.tables.waiting)];
        for (name, table) in places {
            if let Some(row) = table.read()?.get(request.0)? {
                let request = readable(encode::to_request(name, request.0, row.value()))?;
                return Ok(request.map(|request| request.buildset));
            }
        }
        Ok(None)
    }
}

/// What was read; none: it is damaged, which is said.
fn readable<T>(read: Result<T, ReadError>) -> Result<Option<T>, ReadError> {
    match read {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.is_damage() => {
            tracing::error!(%error, "reporters are told less than there was");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Each line counts its events and their bytes.
pub(crate) fn check(snapshot: &Snapshot, flaws: &mut Flaws) -> Result<(), ReadError> {
    let mut lines = std::collections::BTreeMap::<String, (u64, u64, u64)>::new();
    for row in snapshot.events()?.iter()? {
        let (key, row) = row?;
        let (reporter, place) = key.value();
        unpack::<Event>("events", (reporter, place), row.value())?;
        let (waiting, bytes, last) = lines.entry(reporter.to_owned()).or_default();
        (*waiting, *bytes, *last) = (*waiting + 1, *bytes + row.value().len() as u64, place);
    }
    for row in snapshot.reporters()?.iter()? {
        let (name, row) = row?;
        let (name, line) = (name.value(), unpack::<Line>("reporters", name.value(), row.value())?);
        let (waiting, bytes, last) = lines.remove(name).unwrap_or_default();
        if (line.waiting, line.bytes) != (waiting, bytes) || last > line.last {
            flaws.tell(|| format!("the line of reporter {name} does not count its events"));
        }
    }
    lines
        .keys()
        .for_each(|name| flaws.tell(|| format!("events wait for reporter {name}, which has no line")));
    Ok(())
}
