//! Operations as text.

use std::fmt;

use super::{Ask, Guard, Keys, Of, Op, Read, Relation, SIZE_DEFAULT, Txn, WATCH_FOR, WatchFor, When};

/// Bytes of a key that stand for themselves.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"%;()=\"\\'".contains(&byte)
}

struct Key<'k>(&'k [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dots = self.0.windows(2).any(|pair| pair == b"..");
        for byte in self.0 {
            if is_plain(*byte) && !(dots && *byte == b'.') {
                write!(f, "{}", char::from(*byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from: &[u8] = if self.from == b"\0" { b"" } else { &self.from };
        match self.to.as_slice() {
            b"" => write!(f, "{}", Key(&self.from)),
            b"\0" => write!(f, "{}..", Key(from)),
            to => write!(f, "{}..{}", Key(from), Key(to)),
        }
    }
}

impl fmt::Display for When {
    /// With a blank before it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            When::Now => Ok(()),
            When::Revision(revision) => write!(f, " rev={revision}"),
            When::Back(back) => write!(f, " back={back}"),
            When::Ahead(ahead) => write!(f, " ahead={ahead}"),
        }
    }
}

fn flags(f: &mut fmt::Formatter<'_>, flags: &[(bool, &str)]) -> fmt::Result {
    flags.iter().filter(|(set, _)| *set).try_for_each(|(_, name)| write!(f, " {name}"))
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", if self.keys.is_one() { "get" } else { "range" }, self.keys)?;
        if self.limit != 0 {
            write!(f, " limit={}", self.limit)?;
        }
        let set = [
            (self.serializable, "serializable"),
            (self.count_only, "count_only"),
            (self.keys_only, "keys_only"),
            (self.descending, "descending"),
        ];
        flags(f, &set)?;
        write!(f, "{}", self.when)
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            Of::Version => "version",
            Of::Created => "created",
            Of::Modified => "modified",
        };
        let relation = match self.relation {
            Relation::Equal => "=",
            Relation::Greater => ">",
            Relation::Less => "<",
            Relation::NotEqual => "!=",
        };
        write!(f, "if {} {of} {relation} {}", Key(&self.key), self.number)
    }
}

impl fmt::Display for Txn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clause = |ask: &Ask| match ask {
            Ask::Txn(inner) => format!("( {inner} )"),
            ask => ask.to_string(),
        };
        let mut clauses: Vec<String> = self.guards.iter().map(Guard::to_string).collect();
        clauses.extend(self.then.iter().map(clause));
        if !self.otherwise.is_empty() {
            clauses.push("else".to_owned());
            clauses.extend(self.otherwise.iter().map(clause));
        }
        f.write_str(&clauses.join(" ; "))
    }
}

impl fmt::Display for WatchFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watch {}{}", self.keys, self.when)?;
        if self.hold != WATCH_FOR {
            write!(f, " for={}", self.hold)?;
        }
        let set = [
            (self.prev_kv, "prev_kv"),
            (self.progress, "progress"),
            (self.fragment, "fragment"),
            (self.no_put, "no_put"),
            (self.no_delete, "no_delete"),
        ];
        flags(f, &set)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Put { key, lease, size, prev_kv } => {
                write!(f, "put {}", Key(key))?;
                if let Some(lease) = lease {
                    write!(f, " lease={lease}")?;
                }
                if *size != SIZE_DEFAULT {
                    write!(f, " size={size}")?;
                }
                flags(f, &[(*prev_kv, "prev_kv")])
            }
            Ask::Read(read) => read.fmt(f),
            Ask::Delete { keys, prev_kv } => {
                write!(f, "delete {keys}")?;
                flags(f, &[(*prev_kv, "prev_kv")])
            }
            Ask::Cas { key, delete } => {
                write!(f, "cas {}", Key(key))?;
                flags(f, &[(*delete, "delete")])
            }
            Ask::Txn(txn) => write!(f, "txn {txn}"),
            Ask::Compact(when) => write!(f, "compact{when}"),
            Ask::Grant { name, ttl, id: 0 } => write!(f, "grant {name} ttl={ttl}"),
            Ask::Grant { name, ttl, id } => write!(f, "grant {name} ttl={ttl} id={id}"),
            Ask::KeepAlive(name) => write!(f, "keep_alive {name}"),
            Ask::Revoke(name) => write!(f, "revoke {name}"),
            Ask::TimeToLive(name) => write!(f, "time_to_live {name}"),
            Ask::Leases => f.write_str("leases"),
            Ask::Watch(watch) => watch.fmt(f),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.at, self.on, self.ask)
    }
}
