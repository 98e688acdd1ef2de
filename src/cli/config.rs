//! `run --config`: a file that says what is to be run. `docs/service.md` has every key.

use super::engine::EngineName;
use super::exit::Failure;
use super::run::{DepthName, ModeName, SamplerName};
use clap::ValueEnum;
use semrx::board::Limits;
use semrx::files;
use semrx::json::{self, Member};
use semrx::link::Address;
use semrx::service::{MAX_PRIORITY, MAX_STREAMS};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Version of the keys.
const SCHEMA: u64 = 1;

const KEYS: [&str; 20] = [
    "schema",
    "bundle",
    "head",
    "mode",
    "steps",
    "sampler",
    "cache",
    "depth",
    "deadline_ms",
    "board",
    "over_budget",
    "pins",
    "record",
    "seed",
    "engine",
    "threads",
    "idle_ms",
    "stay_ms",
    "streams",
    "watch",
];
const STREAM_KEYS: [&str; 7] = ["from", "stream", "priority", "deadline_ms", "head", "mode", "steps"];
const WATCH_KEYS: [&str; 4] = ["thermal_zone", "hot_celsius", "rss_bytes", "period_ms"];

/// Longest string, in bytes.
const MAX_STRING: usize = 4096;

/// What the file says; what it leaves open is `None`.
#[derive(Debug, Default)]
pub struct Settings {
    pub bundle: Option<PathBuf>,
    pub head: Option<String>,
    pub mode: Option<ModeName>,
    pub steps: Option<u16>,
    pub sampler: Option<SamplerName>,
    pub cache: Option<String>,
    pub depth: Option<DepthName>,
    pub deadline_ms: Option<u64>,
    pub board: Option<String>,
    pub over_budget: bool,
    pub pins: Option<PathBuf>,
    pub record: Option<PathBuf>,
    pub seed: Option<u64>,
    pub engine: Option<EngineName>,
    pub threads: Option<u8>,
    pub idle_ms: Option<u64>,
    pub stay_ms: Option<u64>,
    pub streams: Vec<StreamSettings>,
    pub watch: Option<Limits>,
}

#[derive(Debug)]
pub struct StreamSettings {
    pub from: Address,
    pub stream: Option<u16>,
    pub priority: u8,
    pub deadline_ms: Option<u64>,
    pub head: Option<String>,
    pub mode: Option<ModeName>,
    pub steps: Option<u16>,
}

impl Settings {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Failure`] names the file, the key and what was expected there.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = files::read(path, files::MAX_JSON)
            .map_err(|error| Failure::unread(&error, format!("{}: {error}", path.display())))?;
        Settings::parse(path, &text)
    }

    fn parse(file: &Path, text: &[u8]) -> Result<Self, Failure> {
        let keys = Table::open(file, String::new(), text, &KEYS)?;
        match keys.text("schema") {
            None => return Err(keys.error("schema", &format!("is missing; this semrx reads {SCHEMA}"))),
            Some(_) => keys.whole::<u64>("schema", SCHEMA..=SCHEMA)?,
        };
        let mut streams = Vec::new();
        if let Some(text) = keys.text("streams") {
            let items = json::items::<MAX_STREAMS>(text)
                .ok()
                .filter(|items| !items.is_empty())
                .ok_or_else(|| keys.wrong("streams", &format!("a list of 1 to {MAX_STREAMS} objects"), text))?;
            for (index, item) in items.iter().enumerate() {
                streams.push(stream(&keys.inner(format!("streams[{index}]"), item, &STREAM_KEYS)?)?);
            }
        }
        let watch =
            keys.text("watch").map(|text| watch(&keys.inner("watch".into(), text, &WATCH_KEYS)?)).transpose()?;
        Ok(Settings {
            bundle: keys.string("bundle")?.map(PathBuf::from),
            head: keys.string("head")?,
            mode: keys.word("mode")?,
            steps: keys.whole("steps", 1..=100)?,
            sampler: keys.word("sampler")?,
            cache: keys.string("cache")?,
            depth: keys.word("depth")?,
            deadline_ms: keys.whole("deadline_ms", 1..=MAX_MS)?,
            board: keys.string("board")?,
            over_budget: keys.flag("over_budget")?,
            pins: keys.string("pins")?.map(PathBuf::from),
            record: keys.string("record")?.map(PathBuf::from),
            seed: keys.whole("seed", 0..=u64::MAX)?,
            engine: keys.word("engine")?,
            threads: keys.whole("threads", 1..=16)?,
            idle_ms: keys.whole("idle_ms", 1..=MAX_MS)?,
            stay_ms: keys.whole("stay_ms", 1..=MAX_MS)?,
            streams,
            watch,
        })
    }
}

/// A day.
const MAX_MS: u64 = 86_400_000;

fn stream(keys: &Table<'_>) -> Result<StreamSettings, Failure> {
    let from = keys.string("from")?.ok_or_else(|| keys.error("from", "is missing: expected a link address"))?;
    Ok(StreamSettings {
        from: from.parse().map_err(|error| keys.error("from", &format!("{error}")))?,
        stream: keys.whole("stream", 0..=u16::MAX.into())?,
        priority: keys.whole("priority", 0..=MAX_PRIORITY.into())?.unwrap_or(0),
        deadline_ms: keys.whole("deadline_ms", 1..=MAX_MS)?,
        head: keys.string("head")?,
        mode: keys.word("mode")?,
        steps: keys.whole("steps", 1..=100)?,
    })
}

fn watch(keys: &Table<'_>) -> Result<Limits, Failure> {
    let usual = Limits::default();
    let hot: Option<i32> = keys.whole("hot_celsius", 1..=200)?;
    let period = keys.whole("period_ms", 10..=MAX_MS)?;
    Ok(Limits {
        thermal_zone: keys.string("thermal_zone")?.map(PathBuf::from),
        hot_millicelsius: hot.map(|celsius| celsius * 1000),
        rss_bytes: keys.whole("rss_bytes", 1..=u64::MAX)?,
        period: period.map_or(usual.period, Duration::from_millis),
        ..usual
    })
}

/// An object of the file.
struct Table<'a> {
    file: &'a Path,
    /// Where it stands in the file: empty, or with a dot behind it.
    place: String,
    members: heapless::Vec<Member<'a>, { json::MAX_KEYS }>,
}

impl<'a> Table<'a> {
    /// The object that `text` is, with these keys and no others, each once.
    fn open(file: &'a Path, place: String, text: &'a [u8], known: &[&str]) -> Result<Self, Failure> {
        let members = json::members(text).map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?;
        let table = Table { file, place, members };
        for (index, Member { key, .. }) in table.members.iter().enumerate() {
            if !known.contains(key) {
                let near = known.iter().min_by_key(|known| strsim::osa_distance(known, key)).unwrap_or(&"none");
                return Err(table.error(key, &format!("there is no such key; the nearest one is {near:?}")));
            }
            if table.members[..index].iter().any(|other| other.key == *key) {
                return Err(table.error(key, "is there twice"));
            }
        }
        Ok(table)
    }

    /// The object that the text of a value is.
    fn inner(&self, place: String, text: &'a str, known: &[&str]) -> Result<Table<'a>, Failure> {
        if !text.starts_with('{') {
            return Err(self.wrong(&place, "an object", text));
        }
        Table::open(self.file, format!("{place}."), text.as_bytes(), known)
    }

    /// The value of a key as it stands in the file; `null` is none.
    fn text(&self, key: &str) -> Option<&'a str> {
        self.members.iter().find(|member| member.key == key).map(|member| member.value).filter(|text| *text != "null")
    }

    fn string(&self, key: &str) -> Result<Option<String>, Failure> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let mut buffer = [0; MAX_STRING];
        let read = serde_json_core::from_str_escaped::<heapless::String<MAX_STRING>>(text, &mut buffer);
        let string = read.ok().map(|(string, _)| string.as_str().to_owned()).filter(|string| !string.is_empty());
        string.map(Some).ok_or_else(|| self.wrong(key, "a string that is not empty", text))
    }

    fn whole<T: TryFrom<u64>>(&self, key: &str, range: RangeInclusive<u64>) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let number = json::scalar::<u64>(text).filter(|number| range.contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        let expected = || match (range.start(), range.end()) {
            (from, to) if from == to => from.to_string(),
            (from, &u64::MAX) => format!("a whole number from {from} on"),
            (from, to) => format!("a whole number {from}..={to}"),
        };
        number.map(Some).ok_or_else(|| self.wrong(key, &expected(), text))
    }

    /// False where it isn't there.
    fn flag(&self, key: &str) -> Result<bool, Failure> {
        match self.text(key) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(text) => Err(self.wrong(key, "true or false", text)),
        }
    }

    /// One of the words that the option of the command line takes.
    fn word<T: ValueEnum>(&self, key: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.text(key) else { return Ok(None) };
        let word = json::scalar::<&str>(text).and_then(|word| T::from_str(word, false).ok());
        let names = T::value_variants().iter().filter_map(|value| value.to_possible_value());
        let names: Vec<_> = names.map(|name| format!("{:?}", name.get_name())).collect();
        word.map(Some).ok_or_else(|| self.wrong(key, &format!("one of {}", names.join(", ")), text))
    }

    fn wrong(&self, key: &str, expected: &str, text: &str) -> Failure {
        let found = match text.as_bytes().first() {
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            // Numbers and words.
            _ => text,
        };
        // A word that is not one of those that are known is worth seeing.
        let found = if expected.starts_with("one of") && found == "a string" { text } else { found };
        self.error(key, &format!("expected {expected}, found {}", shown(found)))
    }

    fn error(&self, key: &str, what: &str) -> Failure {
        Failure::refused(format!("{}: {}{}: {what}", self.file.display(), self.place, shown(key)))
    }
}

/// As much of a text as an error of one line has room for.
fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        Settings::parse(Path::new("semrx.json"), text.as_bytes()).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn every_key_is_read() {
        let settings = parse(
            r#"{"schema": 1, "bundle": "a \"b\"", "head": "cautious", "mode": "semantic-first", "steps": 4, "sampler": "ddim",
                "cache": "taylor:2", "depth": "adaptive", "deadline_ms": 100, "board": "raspberry-pi-5", "record": "/tmp/r.jsonl",
                "seed": 18446744073709551615, "engine": "plan", "threads": 2, "idle_ms": 500, "stay_ms": null,
                "streams": [{"from": "udp://0.0.0.0:9000", "stream": 7, "priority": 7, "deadline_ms": 50, "head": "h", "mode": "hybrid", "steps": 2},
                            {"from": "-"}],
                "watch": {"thermal_zone": "/t", "hot_celsius": 70, "rss_bytes": 1000, "period_ms": 100}}"#,
        )
        .unwrap();
        assert_eq!(settings.bundle, Some(PathBuf::from("a \"b\"")));
        assert_eq!((settings.seed, settings.stay_ms, settings.deadline_ms), (Some(u64::MAX), None, Some(100)));
        let [first, second] = &settings.streams[..] else { panic!("{settings:?}") };
        assert_eq!((first.stream, first.priority, first.steps), (Some(7), 7, Some(2)));
        assert_eq!((&second.from, second.stream, second.priority), (&Address::Standard, None, 0));
        let watch = settings.watch.unwrap();
        assert_eq!((watch.hot_millicelsius, watch.period), (Some(70_000), Duration::from_millis(100)));
    }

    #[test]
    fn the_example_of_the_document_is_good() {
        let document = include_str!("../../docs/service.md");
        let example = document.split("```json").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        assert_eq!(parse(example).unwrap().streams.len(), 2);
    }

    #[test]
    fn errors_name_the_key_and_what_was_expected() {
        let stream = |keys: &str| format!(r#"{{"schema": 1, "streams": [{{"from": "-"}}, {{"from": "-", {keys}}}]}}"#);
        for (text, error) in [
            ("{}".into(), "schema: is missing; this semrx reads 1"),
            (r#"{"schema": 2}"#.into(), "schema: expected 1, found 2"),
            ("[]".into(), "byte 0: a JSON object should begin here"),
            (r#"{"schema": 1, "steps": 0}"#.into(), "steps: expected a whole number 1..=100, found 0"),
            (r#"{"schema": 1, "steps": 1.5}"#.into(), "steps: expected a whole number 1..=100, found 1.5"),
            (r#"{"schema": 1, "bundle": 3}"#.into(), "bundle: expected a string that is not empty, found 3"),
            (
                r#"{"schema": 1, "mode": "fast"}"#.into(),
                r#"mode: expected one of "auto", "semantic-first", "hybrid", "latent", "view", found "fast""#,
            ),
            (r#"{"schema": 1, "watch": 3}"#.into(), "watch: expected an object, found 3"),
            (
                r#"{"schema": 1, "watch": {"hot": 3}}"#.into(),
                r#"watch.hot: there is no such key; the nearest one is "hot_celsius""#,
            ),
            (r#"{"schema": 1, "streams": []}"#.into(), "streams: expected a list of 1 to 8 objects, found a list"),
            (r#"{"schema": 1, "streams": [3]}"#.into(), "streams[0]: expected an object, found 3"),
            (r#"{"schema": 1, "streams": [{}]}"#.into(), "streams[0].from: is missing: expected a link address"),
            (r#"{"schema": 1, "seed": 1, "seed": 2}"#.into(), "seed: is there twice"),
            ("{\"schema\": 1, \"se\ned\": 1}".into(), r#"seed: there is no such key; the nearest one is "seed""#),
            (stream(r#""priority": "high""#), "streams[1].priority: expected a whole number 0..=7, found a string"),
            (stream(r#""priority": 8"#), "streams[1].priority: expected a whole number 0..=7, found 8"),
            (stream(r#""priorty": 8"#), r#"streams[1].priorty: there is no such key; the nearest one is "priority""#),
        ] {
            assert_eq!(parse(&text).unwrap_err(), format!("semrx.json: {error}"), "{text}");
        }
        let error = parse(r#"{"schema": 1, "streams": [{"from": "udp://x"}]}"#).unwrap_err();
        assert!(error.contains("streams[0].from: ") && error.contains("the port is missing"), "{error}");
    }
}
