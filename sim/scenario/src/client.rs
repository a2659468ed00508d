//! `[[client]]`: load, as weighted operations at a rate.

use crate::cluster::Release;
use crate::field::{Bytes, Plain, Scalar, Share, Spread, Word, plain_fields, words};
use crate::ops::Ops;
use crate::read::{Cx, Reader};
use crate::section::{section, unset};
use crate::select::Selector;
use crate::time::Nanos;
use crate::tree::{Node, Tree};
use serde_json::{Map, Value, json};

words! {
    /// What a client does.
    pub enum Operation, "operation" {
        /// Writes one key.
        Put = "put",
        /// Reads one key.
        Get = "get",
        /// Reads several keys.
        Range = "range",
        /// A transaction of reads and writes without a condition that can fail.
        Txn = "txn",
        /// A transaction that writes only if a key is as it was read before.
        TxnCas = "txn_cas",
        /// A transaction of everything that one may hold: guards of all kinds, both branches, reads of the past, nesting.
        TxnAny = "txn_any",
        /// Deletes one key.
        Delete = "delete",
        /// Deletes several keys.
        DeleteRange = "delete_range",
        /// Opens, keeps and resumes a watch.
        Watch = "watch",
        /// Grants, keeps alive, attaches and revokes a lease.
        Lease = "lease",
        /// Compacts history.
        Compact = "compact",
        /// Asks about leases, everybody's: the time one has left and its keys, or which there are; and grants or revokes one.
        LeaseAny = "lease_any",
    }
}

words! {
    /// How keys are chosen.
    pub enum KeyShape, "key shape" {
        /// All equally often.
        Uniform = "uniform",
        /// A few of them most of the time.
        Skewed = "skewed",
        /// One after the other.
        Sequential = "sequential",
        /// In runs of neighbours.
        Clustered = "clustered",
    }
}

words! {
    /// What keys look like.
    pub enum KeyForm, "key form" {
        /// All as long, and none the beginning of another.
        Plain = "plain",
        /// Many are the beginning of others.
        Nested = "nested",
        /// As short as can be, of bytes such as 0x00 and 0xff.
        Bytes = "bytes",
        /// Hundreds of bytes.
        Long = "long",
    }
}

words! {
    /// What values hold besides the name of their writer.
    pub enum ValueForm, "value form" {
        /// Dots.
        Dots = "dots",
        /// Any bytes.
        Bytes = "bytes",
    }
}

/// Operations with their weights, in the order of `Operation`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mix(pub Vec<(Operation, f64)>);

impl Plain for Mix {
    const KIND: &'static str = "a table of weights such as { put = 2, get = 1 }";
    fn plain_schema() -> Value {
        let weight = json!({ "type": "number", "minimum": 0 });
        let weights = Operation::ALL.iter().map(|(name, _)| ((*name).to_owned(), weight.clone()));
        let properties = Map::from_iter(weights);
        json!({ "type": "object", "properties": properties, "additionalProperties": false, "minProperties": 1 })
    }
    fn read_plain(cx: &mut Cx<'_>, node: &Node) -> Option<Mix> {
        let Tree::Table(_) = &node.tree else { return cx.wrong_type(node, Self::KIND) };
        let mut reader = Reader::new(cx, node, "mix")?;
        let mut weights = Vec::new();
        for (name, operation) in Operation::ALL {
            if let Some(node) = reader.get(name)
                && let Some(weight) = f64::read_one(cx, node)
            {
                if weight < 0.0 {
                    cx.problem(node.span.clone(), format!("the weight {weight} is below 0"));
                }
                weights.push((*operation, weight));
            }
        }
        reader.finish(cx);
        if weights.iter().all(|(_, weight)| *weight <= 0.0) {
            cx.problem(node.span.clone(), "all weights are zero: nothing would ever be done");
            return None;
        }
        Some(Mix(weights))
    }
    fn toml_plain(&self) -> Option<String> {
        let weights = self.0.iter().map(|(operation, weight)| format!("{} = {weight:?}", operation.name()));
        Some(format!("{{ {} }}", weights.collect::<Vec<_>>().join(", ")))
    }
}

plain_fields!(Mix);

section! {
    /// One group of equal clients.
    ClientKnobsSpec => ClientKnobs, "[[client]]" {
        /// What they do, weighted.
        mix: Mix = Some(Mix(vec![(Operation::Put, 1.0), (Operation::Get, 1.0)])),
        /// Size of the key space.
        keys: u64 = Some(16),
        /// How keys are chosen.
        key_shape: KeyShape = Some(KeyShape::Uniform),
        /// What keys look like.
        key_form: KeyForm = Some(KeyForm::Plain),
        /// Size of a value, drawn for each write.
        value_size: Spread<Bytes> = Some(Spread { low: Bytes(8), high: Bytes(64) }),
        /// What values hold.
        value_form: ValueForm = Some(ValueForm::Dots),
        /// Operations per simulated second, of the whole group.
        rate: f64 = Some(10.0),
        /// How many clients at once.
        count: u64 = Some(1),
        /// The members they talk to.
        on: Selector = Some(Selector::Any),
        /// Share of reads that are serializable instead of linearizable.
        serializable: Share = Some(Share(0.0)),
        /// How long they wait for an answer.
        timeout: Nanos = Some(Nanos::from_secs(5)),
        /// Whether a read that fails is sent again, to another member, as clients usually do; a write never is.
        retry: bool = Some(false),
        /// Leases that each keeps at once, at most.
        leases: u64 = Some(3),
        /// How long a lease is asked to live, in whole seconds, drawn for each.
        lease_ttl: Spread<Nanos> = Some(Spread { low: Nanos::from_secs(2), high: Nanos::from_secs(4) }),
        /// How often a lease is kept alive before it is left alone, drawn for each.
        lease_renewals: Spread<f64> = Some(Spread { low: 0.0, high: 5.0 }),
        /// When it is kept alive, as a share of its time to live, drawn each time: 1 is at its end.
        lease_renew_at: Spread<f64> = Some(Spread::fixed(1.0 / 3.0)),
        /// Names that clients choose for leases, of all groups; so many clash. 0: the server chooses.
        lease_names: u64 = Some(0),
        /// Share of puts that are attached to a lease, anybody's, that was granted not long ago.
        attach: Share = Some(Share(0.0)),
        /// Share of a watcher's progress requests with which it cancels one of its watches; mostly it opens another one on
        /// the same stream.
        watch_cancels: Share = Some(Share(0.0)),
        /// Share of deletes in a `txn_any` that are about several keys.
        txn_spans: Share = Some(Share(0.0)),
        /// How many revisions ahead of the newest one a watch starts that starts in the future, drawn for each.
        watch_ahead: Spread<f64> = Some(Spread { low: 1.0, high: 5.0 }),
        /// The release their API is from; the cluster's when left out. No operation of the mix is newer than 3.5.
        api: Option<Release> = unset(),
        /// Exactly these operations instead of a random load, each from a client of its own; see below.
        ops: Ops = Some(Ops::default()),
    }
}

/// A `[[client]]` with its name; drawn once per seed into a `Client`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSpec {
    /// The name that expressions use.
    pub id: String,
    /// The rest.
    pub knobs: ClientKnobsSpec,
}

/// One group of clients in one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Client {
    /// The name that expressions use.
    pub id: String,
    /// The rest.
    pub knobs: ClientKnobs,
}

/// The most clients in one group.
pub const CLIENTS_MAX: u64 = 10_000;

pub(crate) fn read(cx: &mut Cx<'_>, node: &Node) -> Option<ClientSpec> {
    let mut reader = Reader::new(cx, node, "[[client]]")?;
    let id = reader.need(cx, "id").and_then(|node| cx.ident(node, "client id"));
    let knobs = ClientKnobsSpec::read_keys(cx, &mut reader);
    if let Some(knobs) = &knobs {
        let mut positive = |key: &str, bad: bool, bound: &str| {
            if let Some(entry) = reader.entry(key)
                && bad
            {
                cx.problem(entry.value.span.clone(), format!("{key} must be {bound}"));
            }
        };
        positive("rate", knobs.rate.extremes().into_iter().any(|rate| *rate <= 0.0), "above 0");
        positive("keys", knobs.keys.extremes().contains(&&0), "at least 1");
        let counts = knobs.count.extremes();
        positive("count", counts.into_iter().any(|n| !(1..=CLIENTS_MAX).contains(n)), "between 1 and 10000");
        positive("timeout", knobs.timeout.extremes().into_iter().any(|time| *time <= Nanos::ZERO), "longer than 0s");
    }
    reader.finish(cx);
    Some(ClientSpec { id: id?, knobs: knobs? })
}
