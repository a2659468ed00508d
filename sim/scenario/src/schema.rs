//! The language as a JSON Schema, for editors: completion, a word on each key, and most mistakes as they are typed.
//!
//! Made of the tables that also make the reference and the reading itself, so that a new key is known everywhere at
//! once. Draft 7, which is what editors understand for TOML. Every type says by `Field::schema` what it takes; what
//! occurs often becomes a definition.
//!
//! Deliberately absent: what needs more than one place of a file (names, limits that depend on each other) and the
//! grammar of expressions. A file that the schema lets pass may still be refused by `lint`; the other way round is a bug.

use crate::client::ClientKnobs;
use crate::cluster::Cluster;
use crate::defaults::opt_outs;
use crate::expect::KINDS;
use crate::field::{Bytes, Field, Share, Spread};
use crate::problem::Source;
use crate::scenario::VERSION;
use crate::section::KeyDoc;
use crate::select::{Link, Messages, Selector};
use crate::step::Repeat;
use crate::swarm::Swarm;
use crate::time::Nanos;
use crate::tree::{self, Node, Tree};
use crate::verb::{self, VerbDoc};
use serde_json::{Map, Value, json};

/// The schema as the file that editors are pointed to.
pub fn text() -> String {
    format!("{:#}\n", schema())
}

/// The schema of scenario files.
pub fn schema() -> Value {
    let mut schema = root();
    let definitions = definitions();
    refer(&mut schema, &definitions);
    let definitions = definitions.into_iter().map(|(name, value)| (name.to_owned(), value));
    schema["definitions"] = Value::Object(definitions.collect());
    schema
}

/// What occurs often, by a name. None holds another.
fn definitions() -> Vec<(&'static str, Value)> {
    vec![
        ("whole", u64::schema()),
        ("number", f64::schema()),
        ("duration", Nanos::schema()),
        ("share", Share::schema()),
        ("size", Bytes::schema()),
        ("switch", bool::schema()),
        ("numbers", Spread::<f64>::schema()),
        ("durations", Spread::<Nanos>::schema()),
        ("sizes", Spread::<Bytes>::schema()),
        ("selector", Selector::schema()),
        ("link", Link::schema()),
        ("messages", Messages::schema()),
        ("expression", expression()),
        ("event", event()),
        ("cell", cell()),
    ]
}

/// Puts references in the place of what is defined.
fn refer(value: &mut Value, definitions: &[(&str, Value)]) {
    if let Some((name, _)) = definitions.iter().find(|(_, defined)| defined == value) {
        *value = json!({ "$ref": format!("#/definitions/{name}") });
        return;
    }
    match value {
        Value::Object(keys) => keys.values_mut().for_each(|value| refer(value, definitions)),
        Value::Array(items) => items.iter_mut().for_each(|item| refer(item, definitions)),
        _ => {}
    }
}

fn root() -> Value {
    let mut root = table(vec![
        ("scn", "The version of the language.", json!({ "const": VERSION })),
        ("name", "The name of the file, without `.toml`.", name()),
        ("about", "The claim, in one sentence.", json!({ "type": "string" })),
        ("opt_out", "Default expectations that are not made.", {
            let word = json!({ "enum": opt_outs().collect::<Vec<_>>() });
            json!({ "anyOf": [word, { "type": "array", "items": word }] })
        }),
        ("cluster", "The members and the world around them.", Cluster::schema()),
        ("matrix", "Parameters with their values; the cells are all combinations.", matrix()),
        ("seeds", "Which seeds a campaign runs.", seeds()),
        ("run", "How long a run takes.", run()),
        ("swarm", "Faults that a generator may add.", Swarm::schema()),
        ("client", "Load: one group of equal clients.", list(&client())),
        ("step", "The script: when something is done, and what.", list(&step())),
        ("expect", "What must hold.", list(&expect())),
    ]);
    root["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    root["title"] = json!("A scenario of the simulator");
    root["required"] = json!(["scn", "name"]);
    root
}

fn matrix() -> Value {
    let values = json!({ "type": "array", "minItems": 1, "items": { "type": ["string", "boolean", "number"] } });
    json!({ "type": "object", "additionalProperties": values })
}

fn seeds() -> Value {
    let mut seeds = table(vec![
        ("count", "How many, in each cell.", json!({ "type": "integer", "minimum": 1 })),
        ("first", "The first.", json!({ "type": "integer", "minimum": 0, "default": 0 })),
    ]);
    seeds["required"] = json!(["count"]);
    seeds
}

fn run() -> Value {
    let mut run = table(vec![
        ("for", "The length of a run.", Nanos::schema()),
        ("settle", "A run ends so long after `quiesce`, once all expectations are met.", Nanos::schema()),
    ]);
    run["required"] = json!(["for"]);
    run
}

fn client() -> Value {
    let mut client = object(&ClientKnobs::keys());
    client["properties"]["id"] = described("The name that expressions use.", name());
    client["required"] = json!(["id"]);
    client
}

/// All keys of all verbs are known in each step, for completion; which of them go with the verb is said after that.
fn step() -> Value {
    let verbs = verb::docs();
    let common = [
        ("id", "Its name, for events and as the label of what it draws.", name()),
        ("only", "The cells in which it takes part.", cell()),
        ("at", "Fires at this moment.", Nanos::schema()),
        ("after", "Fires once this has happened: an event, a verb, a step.", event()),
        ("when", "Fires when this becomes true, or happens.", expression()),
        ("delay", "So much later; with `after` and `when`.", Nanos::schema()),
        ("nth", "For the n-th time, from 1; with `when`.", u64::schema()),
        ("repeat", "Fires again.", Repeat::schema()),
        ("do", "What is done.", json!({ "enum": verb::names().collect::<Vec<_>>() })),
    ];
    let names: Vec<&str> = common.iter().map(|(name, ..)| *name).collect();
    let mut step = table(common.to_vec());
    for key in verbs.iter().filter(|verb| verb.verb != BIND).flat_map(|verb| &verb.keys) {
        let known = &mut step["properties"][key.key];
        if known.is_null() {
            *known = json!({ "anyOf": [] });
        }
        let kinds = known["anyOf"].as_array_mut().expect("no key of a verb is common to all steps");
        if !kinds.contains(&key.schema) {
            kinds.push(key.schema.clone());
        }
    }
    step.as_object_mut().expect("it is an object").remove("additionalProperties");
    step["required"] = json!(["do"]);
    step["oneOf"] = json!([{ "required": ["at"] }, { "required": ["after"] }, { "required": ["when"] }]);
    step["dependencies"] = json!({ "nth": ["when"], "delay": { "not": { "required": ["at"] } } });
    step["allOf"] = verbs.iter().map(|verb| arguments(verb, &names)).collect();
    step
}

/// The verb whose keys are the writer's own names.
const BIND: &str = "bind";

/// What goes with one verb.
fn arguments(verb: &VerbDoc, common: &[&str]) -> Value {
    let then = if verb.verb == BIND {
        let rest: Map<String, Value> = common.iter().map(|name| ((*name).to_owned(), json!(true))).collect();
        json!({ "properties": rest, "additionalProperties": Selector::schema() })
    } else {
        let mut own = object(&verb.keys);
        let keys = own.as_object_mut().expect("it is an object");
        keys.remove("additionalProperties");
        keys.remove("type");
        let names: Vec<&str> = common.iter().copied().chain(verb.keys.iter().map(|key| key.key)).collect();
        own["propertyNames"] = json!({ "enum": names });
        own["description"] = json!(verb.doc);
        own
    };
    json!({ "if": { "properties": { "do": { "const": verb.verb } }, "required": ["do"] }, "then": then })
}

fn expect() -> Value {
    let mut expect = table(vec![
        ("id", "Its name.", json!({ "type": "string" })),
        ("only", "The cells in which it is made.", cell()),
        ("always", "True at every moment.", expression()),
        ("never", "True at no moment.", expression()),
        ("within", "So soon after each such event the condition becomes true.", Nanos::schema()),
        ("after", "With `within`: the event.", event()),
        ("that", "With `within`: the condition.", expression()),
        ("at_end", "True at the end.", expression()),
        ("sometimes", "True at some moment of at least one run.", expression()),
        ("sometimes_too", "More of the kind.", json!({ "type": "array", "items": expression() })),
        ("ratio", "True at the end of a share of the runs.", expression()),
        ("at_least", "With `ratio`: the smallest share.", share()),
        ("at_most", "With `ratio`: the largest share.", share()),
        ("between", "With `ratio`: both.", json!({ "type": "array", "items": share(), "minItems": 2, "maxItems": 2 })),
        ("across", "The parameter by which cells are compared.", name()),
        ("where", "With `across`: the cells that take part.", cell()),
        ("compare", "With `across`: what holds between them.", expression()),
    ]);
    let one_of = |keys: &[&str]| -> Value { keys.iter().map(|key| json!({ "required": [key] })).collect() };
    expect["required"] = json!(["id"]);
    expect["oneOf"] = one_of(KINDS);
    expect["dependencies"] = json!({
        "within": ["after", "that"],
        "after": ["within"],
        "that": ["within"],
        "sometimes_too": ["sometimes"],
        "ratio": { "oneOf": one_of(&["at_least", "at_most", "between"]) },
        "at_least": ["ratio"],
        "at_most": ["ratio"],
        "between": ["ratio"],
        "across": ["compare"],
        "compare": ["across"],
        "where": ["across"],
    });
    expect
}

fn share() -> Value {
    <Share as crate::field::Scalar>::single()
}

fn name() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn expression() -> Value {
    json!({ "type": "string", "minLength": 1, "title": "an expression: probes, events, comparisons" })
}

fn event() -> Value {
    json!({ "type": "string", "minLength": 1, "title": "an event, a verb, or a step's id" })
}

fn cell() -> Value {
    json!({ "type": "string", "minLength": 1, "title": "a condition over the matrix" })
}

fn list(items: &Value) -> Value {
    json!({ "type": "array", "items": items })
}

/// Keys that no table lists.
fn table(keys: Vec<(&str, &str, Value)>) -> Value {
    let properties = keys.into_iter().map(|(key, doc, schema)| (key.to_owned(), described(doc, schema)));
    json!({ "type": "object", "properties": Map::from_iter(properties), "additionalProperties": false })
}

/// A reference may have no neighbours, hence the list of one.
fn described(doc: &str, schema: Value) -> Value {
    json!({ "description": doc, "allOf": [schema] })
}

/// A table with these keys and no others.
pub(crate) fn object(keys: &[KeyDoc]) -> Value {
    let properties = keys.iter().map(|key| {
        let mut schema = described(&key.doc, key.schema.clone());
        if let Some(default) = literal(&key.default) {
            schema["default"] = default;
        }
        (key.key.to_owned(), schema)
    });
    let properties = Map::from_iter(properties);
    let mut object = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    let needed: Vec<&str> = keys.iter().filter(|key| key.needed).map(|key| key.key).collect();
    if !needed.is_empty() {
        object["required"] = json!(needed);
    }
    object
}

/// The value of a TOML literal.
fn literal(text: &str) -> Option<Value> {
    let source = Source { file: String::new(), text: format!("value = {text}") };
    let root = tree::parse(&source).ok()?;
    let Tree::Table(entries) = root.tree else { return None };
    value(&entries.first()?.value)
}

fn value(node: &Node) -> Option<Value> {
    Some(match &node.tree {
        Tree::Text(text) => json!(text),
        Tree::Integer(number) => json!(number),
        Tree::Float(number) => json!(number),
        Tree::Bool(value) => json!(value),
        Tree::List(items) => Value::Array(items.iter().map(value).collect::<Option<_>>()?),
        Tree::Table(entries) => {
            let pairs = entries.iter().map(|entry| Some((entry.key.clone(), value(&entry.value)?)));
            Value::Object(pairs.collect::<Option<_>>()?)
        }
        Tree::Other => return None,
    })
}
