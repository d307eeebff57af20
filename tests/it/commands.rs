//! The commands of every worker as a table: given arguments, the updates in their order and the rc. One master, one
//! worker, one step that sends all of them and writes down what came.

#[rustfmt::skip]
mod contract;
#[rustfmt::skip]
mod ends;
#[rustfmt::skip]
mod paths;
mod row;
#[rustfmt::skip]
mod shell;

use std::fmt::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use serde_json::{Value, json};
use windlass_tests::fixtures::component;
use windlass_tests::site::{Site, until_ended};

use row::{Given, Left, Row, Then};

fn rows() -> Vec<&'static Row> {
    [contract::ROWS, shell::ROWS, ends::ROWS, paths::ROWS].into_iter().flatten().collect()
}

/// The directory of a row, as its arguments name it.
fn directory(place: usize) -> String {
    format!("row-{place}")
}

fn filled(text: &str, place: usize) -> String {
    text.replace("{row}", &directory(place))
}

fn json_of(text: &str, place: usize) -> Value {
    serde_json::from_str(&filled(text, place)).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn each_command_says_and_answers_what_the_table_says() {
    let rows = rows();
    assert!(rows.len() >= 80, "{}", rows.len());
    let mut site = Site::new(&["w1"], "");
    for name in ["sender", "breaker"] {
        site.plugin(name, &component(name));
    }
    let builds = site.path("w1/builds/b");
    let mut sent = Vec::new();
    for (place, row) in rows.iter().enumerate() {
        let top = builds.join(directory(place));
        std::fs::create_dir_all(&top).unwrap();
        row.given.iter().for_each(|given| give(&top, *given));
        let (interrupt_at, interrupts) = row.interrupt.unzip();
        sent.push(json!({
            "command": row.command, "args": json_of(row.args, place), "observe": ["stdio", "extra", "other"],
            "interrupt_at": interrupt_at, "interrupts": interrupts,
        }));
    }
    let sent = Value::from(Value::from(sent).to_string());
    site.configure(&format!(
        "[[builders]]\nname = \"b\"\nworkers = [\"w1\"]\n[[builders.steps]]\nuse = \"send\"\nargs = {{ rows = {sent} }}\n\
         [[schedulers]]\nname = \"force\"\ntype = \"force\"\nbuilders = [\"b\"]\n"
    ));
    let site = site.start();
    let build = site.build("b");
    assert_eq!(build["outcome"], "success", "{build}");
    let said = site.windlass(&["logs", &build["id"].to_string(), "send", "--log", "record"]).stdout;
    let said = String::from_utf8(said).unwrap();
    let mut records: Vec<Option<Value>> = vec![None; rows.len()];
    for line in said.lines().filter(|line| line.starts_with('{')) {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let place = usize::try_from(record["row"].as_u64().unwrap()).unwrap();
        records[place] = Some(record);
    }
    let mut wrong = String::new();
    for (place, (row, record)) in rows.iter().zip(records).enumerate() {
        let held = record.ok_or_else(|| "it left no record".to_owned()).and_then(|record| {
            holds(row, place, &record).map_err(|why| format!("{why}\n    {record}"))?;
            row.left.iter().try_for_each(|left| is_left(&builds.join(directory(place)), *left))
        });
        if let Err(why) = held {
            writeln!(wrong, "{} (`{}`, row {place}): {why}", row.case, row.command).unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn give(top: &Path, given: Given) {
    match given {
        Given::Dir(path) => std::fs::create_dir_all(top.join(path)).unwrap(),
        Given::File(path, text) => {
            std::fs::create_dir_all(top.join(path).parent().unwrap()).unwrap();
            std::fs::write(top.join(path), text).unwrap();
        }
        Given::Link(path, target) => symlink(target, top.join(path)).unwrap(),
        Given::Files(path, number) => {
            std::fs::create_dir_all(top.join(path)).unwrap();
            (0..number)
                .for_each(|n| drop(std::fs::File::create(top.join(path).join(format!("file-{n:05}")))));
        }
        Given::Mode(path, mode) => {
            std::fs::set_permissions(top.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }
}

/// Whether a record is what its row says.
fn holds(row: &Row, place: usize, record: &Value) -> Result<(), String> {
    let said: Vec<&Value> = record["said"].as_array().unwrap().iter().collect();
    let is_header = |said: &&&Value| said["origin"] == "header";
    let mut headers = said.iter().filter(is_header).map(|said| said["text"].as_str().unwrap()).peekable();
    let all_headers: String = headers.clone().collect();
    let mut rest =
        joined(said.iter().filter(|said| !is_header(said)).map(|said| (*said).clone())).into_iter();
    let end = &record["end"];
    let unless = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    for then in row.then {
        let output = |got: Option<Value>, log: &str, origin: &str, wanted: &dyn Fn(&str) -> bool| {
            let got = got.ok_or_else(|| format!("nothing came where {then:?} was due"))?;
            let fits =
                got["log"] == log && got["origin"] == origin && got["text"].as_str().is_some_and(wanted);
            unless(fits, format!("{got} came where {then:?} was due"))
        };
        match *then {
            Then::Out(text) => output(rest.next(), "stdio", "stdout", &|got| got == text)?,
            Then::OutLen(len) => output(rest.next(), "stdio", "stdout", &|got| got.len() == len)?,
            Then::Err(text) => output(rest.next(), "stdio", "stderr", &|got| got == text)?,
            Then::Log(log, text) => output(rest.next(), log, "stdout", &|got| got == text)?,
            Then::Update(values) => {
                let got = rest.next().unwrap_or_default();
                unless(got["update"] == json_of(values, place), format!("{got} where {then:?} was due"))?;
            }
            Then::Updates(name, number) => {
                for _ in 0..number {
                    let got = rest.next().unwrap_or_default();
                    unless(got["update"][name].is_array(), format!("{then:?} were due"))?;
                }
            }
            Then::Says(text) => {
                let text = filled(text, place);
                // A later one may stand in the same header, and never in one before.
                while headers.next_if(|header| !header.contains(&text)).is_some() {}
                unless(headers.peek().is_some(), format!("no header says {text:?}"))?;
            }
            Then::SaysNot(text) => unless(!all_headers.contains(text), format!("a header says {text:?}"))?,
            Then::Rc(rc) => unless(end["rc"] == rc, format!("rc {rc} was due"))?,
            Then::Value(name, value) => {
                unless(end["values"][name] == json_of(value, place), format!("{then:?} was due"))?;
            }
            Then::Fails(code, part) => {
                let fits =
                    end["code"] == code && end["message"].as_str().is_some_and(|text| text.contains(part));
                unless(fits, format!("{then:?} was due"))?;
            }
        }
    }
    match rest.next() {
        Some(more) => Err(format!("nobody expected {more}")),
        None => Ok(()),
    }
}

/// What headers stood between is one piece again.
fn joined(said: impl Iterator<Item = Value>) -> Vec<Value> {
    let mut joined: Vec<Value> = Vec::new();
    for piece in said {
        match joined.last_mut() {
            Some(last)
                if piece["text"].is_string()
                    && last["log"] == piece["log"]
                    && last["origin"] == piece["origin"] =>
            {
                let text = format!("{}{}", last["text"].as_str().unwrap(), piece["text"].as_str().unwrap());
                last["text"] = text.into();
            }
            _ => joined.push(piece),
        }
    }
    joined
}

fn is_left(top: &Path, left: Left) -> Result<(), String> {
    let is = |path: &str| top.join(path).symlink_metadata();
    let unless = |holds: bool, what: String| if holds { Ok(()) } else { Err(what) };
    match left {
        Left::There(path) => unless(is(path).is_ok(), format!("`{path}` is gone")),
        Left::Gone(path) => unless(is(path).is_err(), format!("`{path}` is there")),
        Left::Text(path, text) => {
            let found =
                std::fs::read_to_string(top.join(path)).map_err(|error| format!("`{path}`: {error}"))?;
            unless(found == text, format!("`{path}` has {found:?}"))
        }
        Left::LeadsTo(path, target) => {
            let found = std::fs::read_link(top.join(path)).map_err(|error| format!("`{path}`: {error}"))?;
            unless(found == Path::new(target), format!("`{path}` leads to {}", found.display()))
        }
        Left::Like(one, other) => {
            let look = |path| is(path).map(|found| (found.mode(), found.mtime(), found.mtime_nsec()));
            let (one, other) =
                (look(one).map_err(|e| e.to_string())?, look(other).map_err(|e| e.to_string())?);
            unless(one == other, format!("{one:?} is not {other:?}"))
        }
        Left::Ended(path) => {
            let pid =
                std::fs::read_to_string(top.join(path)).map_err(|error| format!("`{path}`: {error}"))?;
            until_ended(pid.trim().parse().map_err(|error| format!("`{path}`: {error}"))?);
            Ok(())
        }
    }
}

#[test]
fn each_bundled_command_has_its_page() {
    let site = Site::new(&[], "");
    let mut site = site;
    site.start_master();
    let plugins = site.get("/api/v1/plugins");
    let hooks: Vec<&Value> = (plugins.as_array().unwrap().iter())
        .filter(|plugin| plugin["file"].is_null())
        .flat_map(|plugin| plugin["hooks"].as_array().unwrap())
        .filter(|hook| hook["kind"] == "slave-command")
        .collect();
    assert!(hooks.len() >= 8, "{hooks:?}");
    let mut missing = Vec::new();
    for hook in hooks {
        let name = hook["name"].as_str().unwrap();
        let page = format!("{}/../docs/commands/{name}.md", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(page).unwrap_or_default();
        if !page.starts_with(&format!("# `{name}`\n")) {
            missing.push(format!("docs/commands/{name}.md"));
        }
        for argument in hook["schema"]["properties"].as_object().into_iter().flat_map(|all| all.keys()) {
            if !page.contains(&format!("`{argument}`")) {
                missing.push(format!("`{argument}` in docs/commands/{name}.md"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
