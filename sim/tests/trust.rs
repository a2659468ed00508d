//! What the command line does when the testbed itself cannot do its work, or was asked for what it cannot mean: it ends,
//! and says what is wrong and what to do.
//!
//! Without the standard test harness, as `cli.rs`: that one starts threads, and the runner forks.

#![allow(clippy::disallowed_methods, reason = "real files and real time, outside every run")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Output};
use std::time::Duration;

use evenkeel_sim::cli;
use evenkeel_sim::report::{RunEnd, RunInput, Verdict, World};

/// A world of three events that does what its planted bug says.
const TOY: World = World {
    run: toy,
    mutants: || vec!["ci-ahead", "toy-abort", "toy-violation"],
    switches: Vec::new,
    points: evenkeel::points::POINTS,
};

/// In the environment of a toy: it makes this directory.
const BLOCKED: &str = "TOY_BLOCKED";

fn toy(input: RunInput) -> RunEnd {
    let RunInput { resolved, recorder, .. } = input;
    let planted = |name: &str| resolved.cluster.mutants.0.iter().any(|plant| plant.name == name);
    // The second is a bug of the gallery.
    if planted("toy-abort") || planted("ci-ahead") {
        std::process::abort();
    }
    let mut recorder = recorder.lock().unwrap();
    (0..3u64).for_each(|number| recorder.event(Duration::from_millis(number), "step", &[("number", number.into())]));
    // A directory stands where a file is to be written.
    if let Some(path) = std::env::var_os(BLOCKED) {
        fs::create_dir_all(path).unwrap();
    }
    let verdict = match planted("toy-violation") && resolved.seed % 2 == 1 {
        true => Verdict::Violation {
            what: "toy".into(),
            at_ns: 2_000_000,
            message: "a toy must not be odd".into(),
            events: Vec::new(),
        },
        false => Verdict::Pass,
    };
    RunEnd {
        verdict,
        simulated: Duration::from_secs(1),
        outcomes: Vec::new(),
        metrics: Default::default(),
        counters: Default::default(),
        coverage: Vec::new(),
    }
}

/// A directory, gone at the end.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn has(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// The program as a process of its own; `@` is the directory.
    fn command(&self, line: &str) -> Command {
        let dir = self.0.path().display().to_string();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg(PROGRAM).args(line.split_whitespace().map(|word| word.replace('@', &dir)));
        command
    }

    /// What it ends with, and all that it says.
    fn said(&self, mut command: Command) -> (i32, String) {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap();
        (status.code().expect("it ends by itself"), text.replace(&self.0.path().display().to_string(), "@"))
    }

    /// A scenario file with this at its end.
    fn scenario(&self, name: &str, rest: &str) {
        let text = format!("scn = 1\nname = \"{name}\"\nabout = \"A toy.\"\n{rest}");
        fs::write(self.path(&format!("{name}.toml")), text).unwrap();
    }

    fn sim(&self, line: &str) -> (i32, String) {
        self.said(self.command(line))
    }
}

fn a_search_ends_when_no_run_can_be_made() {
    let folder = Folder::new();
    // Runs that abort, each of them.
    let (code, said) = folder.sim("fuzz --minutes 60 --mutant toy-abort --jobs 2 --out @/aborts");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("runs of profile default in a row could not be finished"), "{said}");
    assert!(said.contains("the run's process aborted (SIGABRT)") && said.contains("ulimit -n"), "{said}");
    assert!(said.contains("\nerror "), "the table of failures is there: {said}");
    let (code, said) = folder.sim("mutants --only ci-ahead --seconds 1000000 --shrink-seconds 0");
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("runs of planted bug ci-ahead in a row could not be finished"), "{said}");
    // Processes that cannot even be started: their output has no place to go.
    for line in ["fuzz --minutes 60 --out @/none", "mutants --only canary --seconds 60"] {
        let mut command = folder.command(line);
        command.env("TMPDIR", folder.path("is/not/there"));
        let (code, said) = folder.said(command);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains("the run's process could not be started"), "{said}");
    }
    // As long as others answer it goes on.
    let (code, said) = folder.sim("fuzz --seeds 60 --mutant toy-violation --shrink-seconds 0 --out @/odd");
    assert!(code == 1 && said.contains("toy, 30 runs"), "{said}");
}

fn what_an_earlier_campaign_left_is_kept() {
    let folder = Folder::new();
    let first = "fuzz --seeds 4 --mutant toy-violation --guided --shrink-seconds 0 --out @/f";
    assert_eq!(folder.sim(first).0, 1);
    let (code, said) = folder.sim("fuzz --seeds 2 --out @/f");
    assert_eq!(code, 0, "{said}");
    let mut salted = folder.command("fuzz --seeds 2 --out @/f");
    salted.env("EVENKEEL_SIM_SALT", "salty");
    assert_eq!(folder.said(salted), (2, "EVENKEEL_SIM_SALT=salty is no number from 0 to 65535\n".to_owned()));
    assert!(said.contains("@/f held an earlier campaign, which is kept as @/f/earlier-1\n"), "{said}");
    assert!(!folder.has("f/failures/toy-default-guided-1.toml"), "the new one has failures of its own");
    assert!(folder.has("f/corpus/places.json") && folder.has("f/earlier-1/corpus/places.json"));
    assert_eq!(folder.sim("merge @/f/results.ndjson").0, 0);
    let (code, said) = folder.sim("merge @/f/earlier-1/results.ndjson");
    assert_eq!(code, 1, "{said}");
    let again = "cargo sim run @/f/earlier-1/failures/toy-default-guided-1.toml";
    assert!(said.contains(again), "its results still name its files: {said}");
    assert_eq!(folder.sim(again.trim_start_matches("cargo sim ")).0, 1);
    assert!(folder.sim(first).1.contains("kept as @/f/earlier-2\n"));

    let dir = fs::File::open(folder.path("f")).unwrap();
    dir.lock().unwrap();
    let (code, said) = folder.sim(first);
    assert!(code == 2 && said.contains("another campaign is writing to @/f: give each one"), "{said}");
    assert!(!folder.has("f/earlier-3"));
}

fn what_goes_wrong_with_one_failures_page_is_told_and_the_search_goes_on() {
    let folder = Folder::new();
    for (name, told) in [("shrunk.html", "no page: cannot write"), ("shrunk.repro.toml", "not shrunk: cannot write")] {
        let mut command = folder.command("fuzz --seeds 8 --mutant toy-violation --shrink-seconds 1 --out @/f");
        command.env(BLOCKED, folder.path(&format!("f/failures/toy-default-1.{name}")));
        let (code, said) = folder.said(command);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("toy, 4 runs") && said.contains(told), "{said}");
        assert!(said.contains("1 of 1 kinds of failures have no shrunk run, or no page"), "{said}");
        let results = fs::read_to_string(folder.path("f/results.ndjson")).unwrap();
        assert!(results.ends_with("{\"ended\":\"whole\",\"runs\":8}\n"), "{results}");
    }
}

fn a_part_that_ended_early_is_told_as_such() {
    let folder = Folder::new();
    for shard in [0, 1] {
        assert_eq!(folder.sim(&format!("fuzz --seeds 12 --shard {shard}/2 --out @/{shard}")).0, 0);
    }
    let (code, said) = folder.sim("merge @/0/results.ndjson @/1/results.ndjson --out @/merged.ndjson");
    assert!(code == 0 && !said.contains("early") && !said.contains("missing"), "{said}");
    assert!(!folder.sim("merge @/merged.ndjson").1.contains("early"));
    // One shard alone is not the campaign, and what is made of it says so as well.
    let (code, said) = folder.sim("merge @/0/results.ndjson --out @/half.ndjson");
    assert!(code == 1 && said.contains("shard 1/2 is missing"), "{said}");
    assert_eq!(folder.sim("merge @/half.ndjson").0, 1);

    // Killed after the fourth run: no seed between the first and the last one is missing, were it the only part.
    let text = fs::read_to_string(folder.path("1/results.ndjson")).unwrap();
    let killed: Vec<&str> = text.lines().take(4).collect();
    fs::write(folder.path("1/results.ndjson"), killed.join("\n") + "\n").unwrap();
    let early = "@/1/results.ndjson ended early, after 4 runs (no closing line): run this part again";
    let (code, said) = folder.sim("merge @/0/results.ndjson @/1/results.ndjson --out @/merged.ndjson");
    assert!(code == 1 && said.contains(early), "{said}");
    assert!(folder.sim("merge @/merged.ndjson").1.contains("@/merged.ndjson ended early, after 10 runs"));
    assert!(folder.sim("campaign @/1/results.ndjson --report @/page.html").1.contains(early));
    let page = fs::read_to_string(folder.path("page.html")).unwrap();
    assert!(page.contains("1/results.ndjson ended early, after 4 runs"), "the page names it");

    assert_eq!(folder.sim("fuzz --seeds 9 --jobs 1 --stop --mutant toy-violation --shrink-seconds 0 --out @/s").0, 1);
    let (_, said) = folder.sim("merge @/s/results.ndjson");
    assert!(said.contains("@/s/results.ndjson stopped at a failure, after 2 runs (--stop)"), "{said}");
    // By the clock parts end where they are.
    let part = |seeds: &[u64], ended: &str| {
        let lines = fs::read_to_string(folder.path("0/results.ndjson")).unwrap();
        let line = lines.lines().next().unwrap().to_owned();
        let lines = seeds.iter().map(|seed| line.replace("\"seed\":0,", &format!("\"seed\":{seed},")) + "\n");
        lines.collect::<String>() + &format!("{{\"ended\":\"{ended}\",\"runs\":{}}}\n", seeds.len())
    };
    for (ended, expected, why) in [("whole", 1, "a part is not whole, or not there"), ("time", 0, "by the clock")] {
        fs::write(folder.path("a.ndjson"), part(&[0, 2, 4, 6], ended)).unwrap();
        fs::write(folder.path("b.ndjson"), part(&[1, 3], ended)).unwrap();
        for line in ["merge @/a.ndjson @/b.ndjson --out @/merged.ndjson", "merge @/merged.ndjson"] {
            let (code, said) = folder.sim(line);
            assert!(
                code == expected && said.contains("1 seeds between the first and the last are missing: "),
                "{said}"
            );
            assert!(said.contains(why), "{said}");
        }
    }
    // A shard may have nothing to do.
    assert_eq!(folder.sim("fuzz --seeds 1 --shard 0/2 --out @/all").0, 0);
    assert_eq!(folder.sim("fuzz --seeds 1 --shard 1/2 --out @/none").0, 0);
    assert_eq!(folder.sim("merge @/all/results.ndjson @/none/results.ndjson").0, 0);
    // By the clock, nothing but its closing line tells of a shard that is not there.
    let whole = fs::read_to_string(folder.path("0/results.ndjson")).unwrap();
    let (runs, closing) = whole.trim_end().rsplit_once('\n').unwrap();
    let by_time = closing.replace("\"whole\"", "\"time\"");
    assert_ne!(closing, by_time);
    fs::write(folder.path("c.ndjson"), format!("{runs}\n{by_time}\n")).unwrap();
    let (code, said) = folder.sim("merge @/c.ndjson");
    assert!(code == 1 && said.contains("shard 1/2 is missing"), "{said}");
}

fn one_repro_file_that_cannot_be_read_hides_no_other() {
    let folder = Folder::new();
    folder.scenario("a", "[cluster]\nmutants = [\"toy-violation\"]\n");
    assert_eq!(folder.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/good.toml").0, 0);
    let (code, said) = folder.sim("replay @");
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("left out, for they are plain scenarios: 1 (cargo sim run @)"), "{said}");

    let good = fs::read_to_string(folder.path("good.toml")).unwrap();
    fs::write(folder.path("old.toml"), good.replacen("repro = 1", "repro = 99", 1)).unwrap();
    fs::write(folder.path("torn.toml"), &good[..20]).unwrap();
    let (code, said) = folder.sim("replay @");
    assert_eq!(code, 1, "{said}");
    let row = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
    assert!(row("good ").contains("as recorded: toy"), "{said}");
    assert!(row("old ").contains("CANNOT BE READ") && row("torn ").contains("CANNOT BE READ"), "{said}");
    assert!(said.contains("1 of 3 end as they say"), "{said}");
    assert!(said.contains("\nCANNOT BE READ: @/old.toml is no repro file: "), "{said}");
}

/// The seed that a repro file records: shrinking may have found another one than it began with.
fn seed_of(repro: &str) -> u64 {
    evenkeel_sim::repro::Repro::parse(repro).unwrap().run.seed
}

fn which_run_is_meant_is_never_guessed() {
    let folder = Folder::new();
    folder.scenario("a", "[cluster]\nmutants = [\"toy-violation\"]\n");
    assert_eq!(folder.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/repro.toml").0, 0);
    let recorded = seed_of(&fs::read_to_string(folder.path("repro.toml")).unwrap());
    for seed in [String::new(), format!(" --seed {recorded}")] {
        let (code, said) = folder.sim(&format!("explain @/repro.toml{seed}"));
        assert!(code == 0 && said.contains("a toy must not be odd"), "{said}");
    }
    let (code, said) = folder.sim("explain @/repro.toml --seed 2");
    assert!(code == 0 && said.contains("Every promise holds to the end."), "{said}");
    let told = format!("@/repro.toml records seed {recorded}: this is seed 2 of its scenario, another run");
    assert!(said.contains(&told), "{said}");
    assert_eq!(folder.sim("explain @/repro.toml --cell pre_vote=true").0, 2);
    assert_eq!(folder.sim("explain @/a.toml").0, 2);

    folder.scenario("m", "[matrix]\npre_vote = [true, false]\ncheck_quorum = [true, false]\n");
    for line in ["explain @/m.toml --seed 1", "shrink @/m.toml --seed 1", "export @/m.toml --format ndjson"] {
        let (code, said) = folder.sim(line);
        assert!(code == 2 && said.contains("these are 4 cells of a matrix; give one of:\n"), "{said}");
        assert!(said.contains("\n  --cell pre_vote=false,check_quorum=true\n"), "{said}");
    }
    let (code, said) = folder.sim("explain @/m.toml --seed 1 --cell pre_vote=true");
    assert!(code == 2 && said.contains("these are 2 cells"), "{said}");
    assert_eq!(folder.sim("explain @/m.toml --seed 1 --cell pre_vote=true,check_quorum=false").0, 0);
    assert_eq!(folder.sim("explain @/m.toml --seed 1 --cell pre_vote=maybe").0, 2);
}

fn a_run_without_an_end_of_its_own_is_no_story() {
    let folder = Folder::new();
    folder.scenario("a", "[cluster]\nmutants = [\"toy-violation\"]\n");
    assert_eq!(folder.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/repro.toml").0, 0);
    let repro = fs::read_to_string(folder.path("repro.toml")).unwrap();
    fs::write(folder.path("dies.toml"), repro.replace("toy-violation", "toy-abort")).unwrap();
    let seed = seed_of(&repro);
    for verb in ["replay", "explain"] {
        let (code, said) = folder.sim(&format!("{verb} @/dies.toml"));
        let told =
            format!("@/dies.toml: seed {seed} could not be played to its end: the run's process aborted (SIGABRT)");
        assert!(code == 1 && said.contains(&told), "{verb}: {said}");
    }
}

fn what_cannot_be_done_is_refused_at_once_with_the_next_step() {
    let folder = Folder::new();
    folder.scenario("a", "");
    let (code, said) = folder.sim("run @/a.toml --seed 1 --real /bin/true --report @/page.html");
    assert!(code == 2 && said.contains("--report shows a simulated run: give it without --real"), "{said}");
    let mut bench = folder.command("bench");
    bench.current_dir(folder.0.path());
    let (code, said) = folder.said(bench);
    assert_eq!((code, said.lines().count()), (2, 1), "{said}");
    assert!(said.contains("there is no scenarios/regressions here: run from the repository's root, or give"), "{said}");
}

fn a_file_that_cannot_be_written_is_refused_before_any_run() {
    let folder = Folder::new();
    // A run of it would abort.
    folder.scenario("a", "[cluster]\nmutants = [\"toy-abort\"]\n");
    folder.scenario("odd", "[cluster]\nmutants = [\"toy-violation\"]\n");
    assert_eq!(folder.sim("shrink @/odd.toml --seed 1 --seconds 1 --out @/good.toml").0, 0);
    let repro = fs::read_to_string(folder.path("good.toml")).unwrap().replace("toy-violation", "toy-abort");
    fs::write(folder.path("repro.toml"), repro).unwrap();
    assert_eq!(folder.sim("fuzz --seeds 2 --out @/f").0, 0);
    fs::create_dir(folder.path("dir")).unwrap();
    for line in [
        "run @/a.toml --seed 1 --trace",
        "run @/a.toml --seed 1 --report",
        "replay @/repro.toml --trace",
        "replay @/repro.toml --report",
        "shrink @/a.toml --seed 1 --out",
        "export @/a.toml --seed 1 --format ndjson --out",
        "campaign @/f/results.ndjson --report",
        "merge @/f/results.ndjson --out",
        "fuzz --seeds 1000 --mutant toy-abort --out",
    ] {
        for bad in ["@/no/file", "@/a.toml/file", "@/dir"] {
            // A search makes its directory.
            let bad = if line.starts_with("fuzz") { "@/a.toml/file" } else { bad };
            let (code, said) = folder.sim(&format!("{line} {bad}"));
            assert!(
                code == 2 && said.starts_with("cannot write ") && said.contains(bad),
                "{line} {bad}: {code} {said}"
            );
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    assert_eq!(folder.sim("run @/odd.toml --seeds 0..4 --report @/page.html --report-seconds 0").0, 1);
    assert_eq!(folder.sim("run @/odd.toml --seed 2 --trace @/trace.ndjson").0, 0);
    assert!(folder.has("page.html") && folder.has("trace.ndjson") && !folder.has("no"));
    folder.scenario("fine", "");
    assert_eq!(folder.sim("run @/fine.toml --seeds 0..4 --report @/none.html").0, 0);
    assert!(!folder.has("none.html"), "there is nothing to show");
}

fn a_gallery_without_a_planted_bug_is_refused() {
    let folder = Folder::new();
    assert_eq!(folder.sim("fuzz --seeds 2 --out @/f").0, 0);
    folder.scenario("a", "");
    fs::write(folder.path("empty.json"), "").unwrap();
    for (file, why) in [
        ("empty.json", "holds no planted bug; make it with cargo sim mutants --format json > @/empty.json"),
        ("f/results.ndjson", "holds no planted bug; make it with cargo sim mutants --format json > @/f/results.ndjson"),
        ("a.toml", "line 1: "),
    ] {
        let (code, said) = folder.sim(&format!("campaign @/f/results.ndjson --report @/page.html --gallery @/{file}"));
        assert!(code == 2 && said.starts_with(&format!("@/{file}: {why}")), "{said}");
    }
    assert!(!folder.has("page.html"));
}

fn it_ends_by_itself_when_nobody_reads_it_any_more() {
    let folder = Folder::new();
    folder.scenario("a", "[cluster]\nmutants = [\"toy-violation\"]\n");
    for line in ["run @/a.toml --seeds 0..4", "shrink @/a.toml --seed 1 --seconds 1", "lint @/none", "run --sede 1"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = folder.command(line);
        command.stdout(writer.try_clone().unwrap()).stderr(writer);
        assert_eq!(command.status().unwrap().code(), Some(2), "{line}");
    }
}

fn a_replay_is_shown_up_to_where_it_was_asked_for() {
    let folder = Folder::new();
    folder.scenario("a", "[cluster]\nmutants = [\"toy-violation\"]\n");
    assert_eq!(folder.sim("shrink @/a.toml --seed 1 --seconds 1 --out @/repro.toml").0, 0);
    // Three steps, a millisecond apart; the failure's line has the number that is taken here.
    for (until, shown) in [("1", 2), ("2", 3), ("99", 3), ("failure", 3), ("1ms", 2), ("1.5ms", 2), ("step", 1)] {
        let (code, said) = folder.sim(&format!("replay @/repro.toml --until {until}"));
        assert_eq!((code, said.matches(" step number=").count()), (0, shown), "{until}: {said}");
        assert!(said.contains("toy at 0.002000s (event 2): a toy must not be odd"), "{said}");
    }
    for (until, told) in [
        ("elected", "--until: no event of this run is called \"elected\"; there are step"),
        ("#29", "#29 counts what oracles were fed, not events: give \"failure\""),
        ("1.2", "\"1.2\": give the number of an event, a time such as 1.2s, \"failure\", or the name of an event"),
    ] {
        let (code, said) = folder.sim(&format!("replay @/repro.toml --until {until}"));
        assert!(code == 2 && said.contains(told), "{said}");
    }
}

/// The first argument of a process that is the program.
const PROGRAM: &str = "program";

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some_and(|arg| arg == PROGRAM) {
        let args: Vec<String> = std::env::args().skip(2).collect();
        return ExitCode::from(cli::execute(&args, &TOY, &mut std::io::stdout().lock()));
    }
    let claims: &[(&str, fn())] = &[
        ("a_search_ends_when_no_run_can_be_made", a_search_ends_when_no_run_can_be_made),
        ("what_an_earlier_campaign_left_is_kept", what_an_earlier_campaign_left_is_kept),
        (
            "what_goes_wrong_with_one_failures_page_is_told_and_the_search_goes_on",
            what_goes_wrong_with_one_failures_page_is_told_and_the_search_goes_on,
        ),
        ("a_part_that_ended_early_is_told_as_such", a_part_that_ended_early_is_told_as_such),
        ("one_repro_file_that_cannot_be_read_hides_no_other", one_repro_file_that_cannot_be_read_hides_no_other),
        ("which_run_is_meant_is_never_guessed", which_run_is_meant_is_never_guessed),
        ("a_replay_is_shown_up_to_where_it_was_asked_for", a_replay_is_shown_up_to_where_it_was_asked_for),
        ("a_run_without_an_end_of_its_own_is_no_story", a_run_without_an_end_of_its_own_is_no_story),
        (
            "what_cannot_be_done_is_refused_at_once_with_the_next_step",
            what_cannot_be_done_is_refused_at_once_with_the_next_step,
        ),
        (
            "a_file_that_cannot_be_written_is_refused_before_any_run",
            a_file_that_cannot_be_written_is_refused_before_any_run,
        ),
        ("a_gallery_without_a_planted_bug_is_refused", a_gallery_without_a_planted_bug_is_refused),
        ("it_ends_by_itself_when_nobody_reads_it_any_more", it_ends_by_itself_when_nobody_reads_it_any_more),
    ];
    for (name, claim) in claims {
        claim();
        println!("test {name} ... ok");
    }
    ExitCode::SUCCESS
}
