//! `can-start-build` policy `working-hours`: builds start only within certain hours of the week, or only outside
//! of them. A build that runs goes on.

use serde::Deserialize;
use windlass_sdk::model::{BuildRequest, BuilderInfo, SlaveInfo};
use windlass_sdk::{CanStartBuild, Failure, Hook, bad_argument, decision};

struct WorkingHours;

impl Hook for WorkingHours {
    const NAME: &'static str = "working-hours";
    const SUMMARY: &'static str = "builds start only within (or outside of) certain hours of the week";
    const ARGS_SCHEMA: Option<&'static str> = Some(include_str!("working-hours.schema.json"));
    type Args = Args;
}

#[derive(Deserialize)]
struct Args {
    #[serde(default = "nine")]
    from: String,
    #[serde(default = "five")]
    to: String,
    #[serde(default = "weekdays")]
    days: Vec<Day>,
    #[serde(default)]
    utc_offset_minutes: i32,
    #[serde(default)]
    allow: Allow,
    #[serde(default)]
    builders: Vec<String>,
}

fn nine() -> String {
    "09:00".to_owned()
}

fn five() -> String {
    "17:00".to_owned()
}

fn weekdays() -> Vec<Day> {
    vec![Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Allow {
    #[default]
    Inside,
    Outside,
}

impl CanStartBuild for WorkingHours {
    fn allow(
        args: Args,
        builder: BuilderInfo,
        slaves: Vec<SlaveInfo>,
        _: BuildRequest,
    ) -> Result<Vec<String>, Failure> {
        let concerned = args.builders.is_empty() || args.builders.contains(&builder.name);
        if concerned && !open(&args, decision::now())? {
            return Ok(Vec::new());
        }
        Ok(slaves.into_iter().map(|slave| slave.name).collect())
    }
}

const MINUTES_PER_DAY: i64 = 24 * 60;

/// Whether builds may start at this moment.
fn open(args: &Args, now_ms: u64) -> Result<bool, Failure> {
    let (from, to) = (minute("from", &args.from)?, minute("to", &args.to)?);
    let minutes = i64::try_from(now_ms / 60_000).unwrap_or(i64::MAX / 2) + i64::from(args.utc_offset_minutes);
    let (today, minute) = (minutes.div_euclid(MINUTES_PER_DAY), minutes.rem_euclid(MINUTES_PER_DAY));
    let works = |day: i64| args.days.contains(&weekday(day));
    let inside = if from < to {
        works(today) && (from..to).contains(&minute)
    } else {
        // Over midnight: what began yesterday goes on until `to`.
        (works(today) && minute >= from) || (works(today - 1) && minute < to)
    };
    Ok(inside == (args.allow == Allow::Inside))
}

/// The day of the week of a day since 1970, which began on a Thursday.
fn weekday(day: i64) -> Day {
    const WEEK: [Day; 7] = [Day::Thu, Day::Fri, Day::Sat, Day::Sun, Day::Mon, Day::Tue, Day::Wed];
    WEEK[usize::try_from(day.rem_euclid(7)).expect("a remainder of 7 is not negative")]
}

/// Minutes since midnight.
fn minute(argument: &str, text: &str) -> Result<i64, Failure> {
    let parsed = text.split_once(':').and_then(|(hours, minutes)| {
        let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
        let minute = i64::from(hours) * 60 + i64::from(minutes);
        (minutes < 60 && minute <= MINUTES_PER_DAY).then_some(minute)
    });
    parsed.ok_or_else(|| bad_argument(format!("`{argument}` is no time of day: `{text}`, expected HH:MM")))
}

windlass_sdk::export!(can_start_build: WorkingHours);

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20, a Friday, 10:00 UTC.
    const FRIDAY_TEN: u64 = 1_795_168_800_000;
    const HOUR: u64 = 3_600_000;

    fn args(from: &str, to: &str) -> Args {
        Args {
            from: from.into(),
            to: to.into(),
            days: weekdays(),
            utc_offset_minutes: 0,
            allow: Allow::Inside,
            builders: vec![],
        }
    }

    fn check(args: &Args, now: u64, expected: bool) {
        assert_eq!(
            open(args, now).expect("the times are right"),
            expected,
            "{} to {} at {now}",
            args.from,
            args.to
        );
    }

    #[test]
    fn the_window_begins_sharp_and_ends_sharp() {
        let day = args("09:00", "17:00");
        check(&day, FRIDAY_TEN, true);
        check(&day, FRIDAY_TEN - HOUR, true);
        check(&day, FRIDAY_TEN - HOUR - 1, false);
        check(&day, FRIDAY_TEN + 7 * HOUR, false);
        check(&day, FRIDAY_TEN + 24 * HOUR, false);
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_began() {
        let night = args("22:00", "06:00");
        check(&night, FRIDAY_TEN + 12 * HOUR, true);
        check(&night, FRIDAY_TEN + 19 * HOUR, true);
        check(&night, FRIDAY_TEN + 20 * HOUR, false);
        check(&night, FRIDAY_TEN + 36 * HOUR, false);
    }

    #[test]
    fn the_offset_moves_the_window_and_outside_turns_it_round() {
        check(&Args { utc_offset_minutes: -120, ..args("09:00", "17:00") }, FRIDAY_TEN, false);
        check(&Args { allow: Allow::Outside, ..args("09:00", "17:00") }, FRIDAY_TEN, false);
    }

    #[test]
    fn nonsense_is_a_bad_argument_that_names_the_argument() {
        let failure = open(&args("nine", "17:00"), 0).expect_err("nine is no time");
        assert_eq!(failure.code, "bad-argument");
        assert!(failure.message.contains("`from`"), "{}", failure.message);
    }
}
