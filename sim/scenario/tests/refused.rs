//! Files that are refused, with the exact words: the place, the reason, and the name that was probably meant.

use evenkeel_scenario::Scenario;
use expect_test::{Expect, expect};

fn check(text: &str, expected: Expect) {
    let problems = Scenario::parse(text, "x.toml").expect_err("this file must be refused");
    expected.assert_eq(&problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

/// A file with a header, a client `w`, and `text`.
fn check_in(text: &str, expected: Expect) {
    check(&format!("scn = 1\nname = \"x\"\n{text}\n[[client]]\nid = \"w\""), expected);
}

/// A step with these keys.
fn check_step(keys: &str, expected: Expect) {
    check_in(&format!("[[step]]\n{keys}"), expected);
}

#[test]
fn text_that_is_no_toml() {
    check(
        "scn = 1\nname = \"x\n",
        expect![[r#"
        x.toml:2:10: invalid basic string, expected `"`
         2 | name = "x
           |          ^"#]],
    );
    check(
        "scn = 1\nname = \"x\"\nname = \"y\"",
        expect![[r#"
        x.toml:3:1: duplicate key
         3 | name = "y"
           | ^^^^"#]],
    );
}

#[test]
fn headers_that_are_incomplete_or_unknown() {
    check(
        "",
        expect![[r#"
        x.toml:1:1: a scenario begins with `scn = 1`, the version of the language
         1 | 
           | ^
        x.toml:1:1: the file needs the key `name`
         1 | 
           | ^"#]],
    );
    check(
        "scn = 2\nname = \"x\"",
        expect![[r#"
        x.toml:1:7: this version of the language is unknown; write `scn = 1`
         1 | scn = 2
           |       ^"#]],
    );
    check(
        "scn = 1\nname = 5\nabuot = \"y\"",
        expect![[r#"
        x.toml:2:8: expected a name, found an integer
         2 | name = 5
           |        ^
        x.toml:3:1: unknown key in the file "abuot", did you mean "about"?
         3 | abuot = "y"
           | ^^^^^"#]],
    );
    check_in(
        "opt_out = [\"watch_ko\"]",
        expect![[r#"
        x.toml:3:12: unknown default expectation "watch_ko", did you mean "watch_ok"?
         3 | opt_out = ["watch_ko"]
           |            ^^^^^^^^^^"#]],
    );
    check_in(
        "[seeds]\ncount = 0",
        expect![[r#"
        x.toml:4:9: count must be at least 1
         4 | count = 0
           |         ^"#]],
    );
    check_in(
        "[run]\nfor = \"-1s\"",
        expect![[r#"
        x.toml:4:7: a run must be longer than 0s
         4 | for = "-1s"
           |       ^^^^^"#]],
    );
}

#[test]
fn clusters_with_wrong_keys_types_and_sizes() {
    check_in(
        "[cluster]\nnode = 3",
        expect![[r#"
        x.toml:4:1: unknown key in [cluster] "node", did you mean "nodes"?
         4 | node = 3
           | ^^^^"#]],
    );
    check_in(
        "[cluster]\nnodes = \"3\"\npre_vote = 1",
        expect![[r#"
        x.toml:4:9: expected a whole number, found text
         4 | nodes = "3"
           |         ^^^
        x.toml:5:12: expected true or false, found an integer
         5 | pre_vote = 1
           |            ^"#]],
    );
    check_in(
        "[cluster]\nnodes = 11",
        expect![[r#"
        x.toml:4:9: nodes = 11 is out of bounds: 1 to 9
         4 | nodes = 11
           |         ^^"#]],
    );
    check_in(
        "[cluster]\nnodes = -1",
        expect![[r#"
        x.toml:4:9: -1 is below 0
         4 | nodes = -1
           |         ^^"#]],
    );
    check_in(
        "[cluster]\ntick = \"100\"",
        expect![[r#"
        x.toml:4:8: bad duration "100": write a number and a unit, such as "250us", "10ms" or "2s"
         4 | tick = "100"
           |        ^^^^^"#]],
    );
    check_in(
        "[cluster]\ntick = \"10ms..5ms\"",
        expect![[r#"
        x.toml:4:8: empty range "10ms..5ms": its low end is above its high end
         4 | tick = "10ms..5ms"
           |        ^^^^^^^^^^^"#]],
    );
    check_in(
        "[cluster]\ntick = []",
        expect![[r#"
        x.toml:4:8: an empty choice: give at least one value
         4 | tick = []
           |        ^^"#]],
    );
    check_in(
        "[cluster]\nnet = { latency = \"1ms..\", lost = 0.1 }",
        expect![[r#"
        x.toml:4:19: bad duration "": write a number and a unit, such as "250us", "10ms" or "2s"
         4 | net = { latency = "1ms..", lost = 0.1 }
           |                   ^^^^^^^
        x.toml:4:28: unknown key in net "lost", did you mean "loss"?
         4 | net = { latency = "1ms..", lost = 0.1 }
           |                            ^^^^"#]],
    );
    check_in(
        "[cluster]\nnet = { loss = 1.5 }\ndisk = \"slow\"",
        expect![[r#"
        x.toml:4:16: 1.5 is not a share between 0 and 1
         4 | net = { loss = 1.5 }
           |                ^^^
        x.toml:5:8: expected a table (disk), found text
         5 | disk = "slow"
           |        ^^^^^^"#]],
    );
    check_in(
        "[cluster]\nelection_ticks = \"5..20\"\nheartbeat_ticks = 5",
        expect![[r#"
        x.toml:5:19: heartbeat_ticks must stay below election_ticks, whatever is drawn
         5 | heartbeat_ticks = 5
           |                   ^"#]],
    );
    check_in(
        "[cluster]\nrelease = \"3.8\"",
        expect![[r#"
            x.toml:4:11: unknown release "3.8", expected one of: 3.5, 3.6, 3.7
             4 | release = "3.8"
               |           ^^^^^"#]],
    );
    check_in(
        "[cluster]\nsegment_bytes = \"1GB\"",
        expect![[r#"
        x.toml:4:17: bad size "1GB": write a number of bytes, or such as "64KiB" or "1MiB"
         4 | segment_bytes = "1GB"
           |                 ^^^^^"#]],
    );
    check_in(
        "[cluster]\nnodes = 3\nmutants = [{ name = \"a\", on = \"n4\" }, { nam = \"b\" }]",
        expect![[r#"
        x.toml:5:31: there is no member n4: the cluster may have only 3 members
         5 | mutants = [{ name = "a", on = "n4" }, { nam = "b" }]
           |                               ^^^^
        x.toml:5:39: mutants and switches needs the key `name`
         5 | mutants = [{ name = "a", on = "n4" }, { nam = "b" }]
           |                                       ^^^^^^^^^^^^^
        x.toml:5:41: unknown key in mutants and switches "nam", did you mean "name"?
         5 | mutants = [{ name = "a", on = "n4" }, { nam = "b" }]
           |                                         ^^^"#]],
    );
}

#[test]
fn matrices_that_cannot_be() {
    check_in(
        "[matrix]\ndir = []",
        expect![[r#"
        x.toml:4:7: a matrix parameter needs at least one value
         4 | dir = []
           |       ^^"#]],
    );
    check_in(
        "[matrix]\ndir = \"a\"",
        expect![[r#"
        x.toml:4:7: expected a list of values, found text
         4 | dir = "a"
           |       ^^^"#]],
    );
    check_in(
        "[matrix]\ndir = [\"a\", \"a\", 1]",
        expect![[r#"
        x.toml:4:13: the value a is given twice
         4 | dir = ["a", "a", 1]
           |             ^^^
        x.toml:4:18: the values of a matrix parameter are of one kind
         4 | dir = ["a", "a", 1]
           |                  ^"#]],
    );
    check_in(
        "[matrix]\nleader = [true, false]",
        expect![[r#"
        x.toml:4:1: "leader" cannot be a matrix parameter: use a name that expressions do not use already
         4 | leader = [true, false]
           | ^^^^^^"#]],
    );
    check_in(
        "[cluster]\npre_vote = true\n[matrix]\npre_vote = [true, \"no\"]",
        expect![[r#"
        x.toml:6:1: pre_vote is set in [cluster] too: one of both must go
         6 | pre_vote = [true, "no"]
           | ^^^^^^^^
        x.toml:6:19: expected true or false, found text
         6 | pre_vote = [true, "no"]
           |                   ^^^^"#]],
    );
    check_in(
        "[matrix]\ntick = [\"10ms..20ms\"]",
        expect![[r#"
        x.toml:4:9: a value of the matrix is fixed, not a range
         4 | tick = ["10ms..20ms"]
           |         ^^^^^^^^^^^^"#]],
    );
}

#[test]
fn clients_that_do_nothing_or_the_unknown() {
    check_in(
        "[[client]]\nid = \"a b\"",
        expect![[r#"
        x.toml:4:6: bad client id "a b": use letters, digits and _, beginning with a letter, so that expressions can name it
         4 | id = "a b"
           |      ^^^^^"#]],
    );
    check_in(
        "[[client]]\nid = \"w\"\nrate = 0",
        expect![[r#"
        x.toml:5:8: rate must be above 0
         5 | rate = 0
           |        ^
        x.toml:7:6: the client id "w" is used twice
         7 | id = "w"
           |      ^^^"#]],
    );
    check_in(
        "[[client]]\nid = \"leader\"\nmix = { put = 0, get = 0.0 }",
        expect![[r#"
        x.toml:4:6: "leader" is a selector already: choose another id
         4 | id = "leader"
           |      ^^^^^^^^
        x.toml:5:7: all weights are zero: nothing would ever be done
         5 | mix = { put = 0, get = 0.0 }
           |       ^^^^^^^^^^^^^^^^^^^^^^"#]],
    );
    check_in(
        "[[client]]\nid = \"a\"\nmix = { putt = 1, get = 1 }\nkey_shape = \"zipf\"",
        expect![[r#"
        x.toml:5:9: unknown key in mix "putt", did you mean "put"?
         5 | mix = { putt = 1, get = 1 }
           |         ^^^^
        x.toml:6:13: unknown key shape "zipf", expected one of: uniform, skewed, sequential, clustered
         6 | key_shape = "zipf"
           |             ^^^^^^"#]],
    );
    check_in(
        "[[client]]\nid = \"a\"\non = \"n5\"\napi = \"3.55\"",
        expect![[r#"
            x.toml:5:6: there is no member n5: the cluster may have only 3 members
             5 | on = "n5"
               |      ^^^^
            x.toml:6:7: unknown release "3.55", expected one of: 3.5, 3.6, 3.7
             6 | api = "3.55"
               |       ^^^^^^"#]],
    );
    check_in(
        "[client]\nid = \"a\"",
        expect![[r#"
        x.toml:5:3: duplicate key
         5 | [[client]]
           |   ^^^^^^"#]],
    );
}

#[test]
fn verbs_and_their_arguments() {
    check_step(
        "at = \"1s\"\ndo = \"restrat\"\nnode = \"n1\"",
        expect![[r#"
        x.toml:5:6: unknown verb "restrat", did you mean "restart"?
         5 | do = "restrat"
           |      ^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"",
        expect![[r#"
        x.toml:3:1: [[step]] needs the key `do`
         3 | [[step]]
           | ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"cut\"",
        expect![[r#"
            x.toml:3:1: the step `cut` needs the key `link`
             3 | [[step]]
               | ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"restart\"\nnode = \"n1\"\nfor = \"5s\"\nkind = \"powerloss\"",
        expect![[r#"
            x.toml:7:1: unknown key in the step `restart` "for", expected one of: id, only, at, after, when, delay, nth, repeat, do, node, kind, down, stagger, boot
             7 | for = "5s"
               | ^^^
            x.toml:8:8: unknown kind of restart "powerloss", did you mean "power_loss"?
             8 | kind = "powerloss"
               |        ^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"pause\"\nnode = \"n1\"",
        expect![[r#"
            x.toml:3:1: the step `pause` needs the key `for`
             3 | [[step]]
               | ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"pause\"\nnode = \"n1\"\nfor = \"0s\"",
        expect![[r#"
        x.toml:7:7: `for` must be longer than 0s
         7 | for = "0s"
           |       ^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"disk\"\nnode = \"n1\"",
        expect![[r#"
            x.toml:5:6: this step changes nothing: give at least one of fsync, error, torn, lose_unsynced, wiped, rot
             5 | do = "disk"
               |      ^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"disk\"\nnode = \"n1\"\nerror = \"eoi\"",
        expect![[r#"
        x.toml:7:9: unknown disk error "eoi", did you mean "eio"?
         7 | error = "eoi"
           |         ^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"clock\"\nnode = \"n1\"\noffset = 5",
        expect![[r#"
        x.toml:7:10: expected a duration such as "10ms", found an integer
         7 | offset = 5
           |          ^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"downgrade\"",
        expect![[r#"
        x.toml:5:6: the step `downgrade` needs the key `to`, a release
         5 | do = "downgrade"
           |      ^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"member\"\nchange = \"remove\"",
        expect![[r#"
        x.toml:5:6: this change needs the key `node`, the member it is about
         5 | do = "member"
           |      ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"bind\"",
        expect![[r#"
        x.toml:3:1: the step `bind` binds no name: add one such as L = "leader"
         3 | [[step]]
           | ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"bind\"\nL = \"followers\"\nn1 = \"leader\"",
        expect![[r#"
        x.toml:6:5: "followers" may mean several members: bind a name to one
         6 | L = "followers"
           |     ^^^^^^^^^^^
        x.toml:7:1: "n1" cannot be bound: use a name such as L that is not a selector already
         7 | n1 = "leader"
           | ^^"#]],
    );
}

#[test]
fn selectors_links_and_message_types() {
    check_step(
        "at = \"1s\"\ndo = \"stop\"\nnode = \"leadr\"",
        expect![[r#"
        x.toml:6:8: unknown selector "leadr", did you mean "leader"?
         6 | node = "leadr"
           |        ^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"stop\"\nnode = \"n4\"",
        expect![[r#"
        x.toml:6:8: there is no member n4: the cluster may have only 3 members
         6 | node = "n4"
           |        ^^^^"#]],
    );
    check_in(
        "[cluster]\nnodes = [3, 5]\n[[step]]\nat = \"1s\"\ndo = \"stop\"\nnode = \"random(4)\"",
        expect![[r#"
        x.toml:8:8: there is no set of 4: the cluster may have only 3 members
         8 | node = "random(4)"
           |        ^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"stop\"\nnode = \"random(two)\"",
        expect![[r#"
        x.toml:6:8: bad selector "random(two)": write random(follower) or random(2)
         6 | node = "random(two)"
           |        ^^^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"cut\"\nlink = \"n1 <-> n2\"",
        expect![[r#"
            x.toml:6:8: bad link "n1 <-> n2": write "a -> b" for one way or "a -/- b" for both ways
             6 | link = "n1 <-> n2"
               |        ^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"cut\"\nlink = \"n1 -> n1\"",
        expect![[r#"
        x.toml:6:8: the link "n1 -> n1" has the same member on both sides
         6 | link = "n1 -> n1"
           |        ^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"cut\"\nlink = \"n1 -> X\"",
        expect![[r#"
        x.toml:6:8: unknown selector "X", expected one of: leader, follower, followers, others, all, any, minority, self, random(follower), n1, random(2)
         6 | link = "n1 -> X"
           |        ^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"cut\"\nlink = \"n1 -> n2\"\nmatch = \"raft.heartbeat, raft.apend\"",
        expect![[r#"
        x.toml:7:9: unknown message type "raft.apend", did you mean "raft.append"?
         7 | match = "raft.heartbeat, raft.apend"
           |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^"#]],
    );
    let matrix = "[matrix]\ndir = [\"in\", \"out\"]\n[[step]]\nat = \"1s\"\ndo = \"cut\"\n";
    check_in(
        &format!("{matrix}link.by = \"dri\"\nlink.in = \"n1 -> n2\""),
        expect![[r#"
        x.toml:8:11: unknown matrix parameter "dri", did you mean "dir"?
         8 | link.by = "dri"
           |           ^^^^^"#]],
    );
    check_in(
        &format!("{matrix}link.by = \"dir\"\nlink.in = \"n1 -> n2\"\nlink.uot = \"n2 -> n1\""),
        expect![[r#"
        x.toml:8:6: no link for dir = out: add the key `link.out`
         8 | link.by = "dir"
           |      ^^
        x.toml:10:6: unknown key in link "uot", did you mean "out"?
         10 | link.uot = "n2 -> n1"
            |      ^^^"#]],
    );
    check_in(
        &format!("{matrix}link.in = \"n1 -> n2\""),
        expect![[r#"
        x.toml:8:1: a link with several choices needs `link.by = "PARAMETER"`, a matrix parameter
         8 | link.in = "n1 -> n2"
           | ^^^^"#]],
    );
}

#[test]
fn triggers_that_are_missing_double_or_impossible() {
    check_step(
        "do = \"quiesce\"",
        expect![[r#"
        x.toml:3:1: a step needs one of the keys `at`, `after`, `when`
         3 | [[step]]
           | ^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\nafter = \"cut\"\ndo = \"quiesce\"",
        expect![[r#"
        x.toml:5:1: a step has only one of the keys `at`, `after`, `when`
         5 | after = "cut"
           | ^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndelay = \"1s\"\nnth = 2\ndo = \"quiesce\"",
        expect![[r#"
        x.toml:5:1: `delay` goes with `after` or `when`
         5 | delay = "1s"
           | ^^^^^
        x.toml:6:1: `nth` goes with `when`
         6 | nth = 2
           | ^^^"#]],
    );
    check_step(
        "after = \"cut\"\ndo = \"quiesce\"",
        expect![[r#"
        x.toml:4:10: no step does "cut", so this would never happen
         4 | after = "cut"
           |          ^^^"#]],
    );
    check_step(
        "after = \"elcted\"\ndo = \"quiesce\"",
        expect![[r#"
        x.toml:4:10: unknown event or step "elcted", did you mean "elected"?
         4 | after = "elcted"
           |          ^^^^^^"#]],
    );
    check_step(
        "after = \"down\"\ndo = \"quiesce\"\n[[step]]\nid = \"dwon\"\nat = \"1s\"\ndo = \"compact\"",
        expect![[r#"
        x.toml:4:10: unknown event or step "down", did you mean "dwon"?
         4 | after = "down"
           |          ^^^^"#]],
    );
    check_step(
        "when = \"elected\"\nnth = 0\ndo = \"quiesce\"",
        expect![[r#"
        x.toml:5:7: `nth` counts from 1
         5 | nth = 0
           |       ^"#]],
    );
    check_step(
        "at = \"-1s\"\ndo = \"compact\"\nrepeat = { every = \"0s\", times = 0 }",
        expect![[r#"
        x.toml:4:6: a step cannot fire before its trigger
         4 | at = "-1s"
           |      ^^^^^
        x.toml:6:10: `every` must be longer than 0s
         6 | repeat = { every = "0s", times = 0 }
           |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^
        x.toml:6:10: `times` must be between 1 and 10000
         6 | repeat = { every = "0s", times = 0 }
           |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^"#]],
    );
    check_step(
        "at = \"1s\"\ndo = \"quiesce\"\nrepeat = { every = \"1s\", times = 2 }",
        expect![[r#"
        x.toml:5:6: this step cannot repeat
         5 | do = "quiesce"
           |      ^^^^^^^^^"#]],
    );
    check_step(
        "id = \"a\"\nat = \"1s\"\ndo = \"compact\"\n[[step]]\nid = \"a\"\nat = \"1s\"\ndo = \"compact\"",
        expect![[r#"
        x.toml:8:6: the step id "a" is used twice
         8 | id = "a"
           |      ^^^"#]],
    );
}

#[test]
fn expects_need_exactly_one_known_kind() {
    check_in(
        "[[expect]]\nid = \"e\"",
        expect![[r#"
        x.toml:3:1: an expect needs exactly one kind: always, never, within, at_end, sometimes, ratio, across
         3 | [[expect]]
           | ^^^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nalways = \"log_match\"\nnever = \"panic\"",
        expect![[r#"
        x.toml:6:1: an expect has exactly one kind: this one has `always` and `never`
         6 | never = "panic"
           | ^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nalwyas = \"log_match\"",
        expect![[r#"
        x.toml:5:1: unknown kind of expect "alwyas", did you mean "always"?
         5 | alwyas = "log_match"
           | ^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nalways = \"log_match\"",
        expect![[r#"
        x.toml:3:1: [[expect]] needs the key `id`
         3 | [[expect]]
           | ^^^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nwithin = \"5s\"\nthat = \"converged\"",
        expect![[r#"
        x.toml:3:1: [[expect]] needs the key `after`
         3 | [[expect]]
           | ^^^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nratio = \"panic\"",
        expect![[r#"
        x.toml:3:1: a ratio needs exactly one of `at_least`, `at_most`, `between`
         3 | [[expect]]
           | ^^^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nratio = \"panic\"\nbetween = [0.5, 0.2]",
        expect![[r#"
        x.toml:6:11: empty range: its low end is above its high end
         6 | between = [0.5, 0.2]
           |           ^^^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nratio = \"panic\"\nat_least = 95",
        expect![[r#"
        x.toml:6:12: 95 is not a share between 0 and 1
         6 | at_least = 95
           |            ^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nalways = \"log_match\"\nat_least = 0.5",
        expect![[r#"
        x.toml:6:1: unknown key in [[expect]] "at_least", expected one of: id, only, always, never, within, at_end, sometimes, ratio, across
         6 | at_least = 0.5
           | ^^^^^^^^"#]],
    );
    check_in(
        "[[expect]]\nid = \"e\"\nsometimes = \"elected\"\nsometimes_too = \"panic\"",
        expect![[r#"
        x.toml:6:17: expected a list of expressions, found text
         6 | sometimes_too = "panic"
           |                 ^^^^^^^"#]],
    );
}
