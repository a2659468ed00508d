//! `section!`: one list of keys gives the open form, the resolved form, reading, drawing, printing,
//! the reference and the schema.

/// One key, for the reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The key.
    pub key: &'static str,
    /// Its type in words.
    pub kind: String,
    /// The default as TOML; empty when the key has none.
    pub default: String,
    /// Whether the key must be given.
    pub needed: bool,
    /// One line.
    pub doc: String,
    /// What it takes, as JSON Schema.
    pub schema: serde_json::Value,
}

/// The default of a key that must be given.
pub(crate) fn needed<T>() -> Option<T> {
    None
}

/// The default of a key that may be left out without meaning anything.
pub(crate) fn unset<T>() -> Option<Option<T>> {
    Some(None)
}

macro_rules! section {
    (
        $(#[doc = $doc:literal])* $open:ident => $fixed:ident, $what:literal {
            $( $(#[doc = $fdoc:literal])* $name:ident $(as $key:literal)? : $ty:ty = $default:expr, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $fixed { $($(#[doc = $fdoc])* pub $name: $ty,)* }

        #[doc = concat!("`", stringify!($fixed), "` as a file gives it, with ranges and choices not yet drawn.")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $open { $($(#[doc = $fdoc])* pub $name: <$ty as $crate::field::Field>::Open,)* }

        #[allow(dead_code, unused_variables, clippy::unused_self)]
        impl $open {
            pub(crate) fn read_keys(cx: &mut $crate::read::Cx<'_>, reader: &mut $crate::read::Reader<'_>) -> Option<$open> {
                $(let $name = match reader.get($crate::section::key!($name $(, $key)?)) {
                    Some(node) => <$ty as $crate::field::Field>::read(cx, node),
                    None => {
                        let default: Option<$ty> = $default;
                        if default.is_none() {
                            cx.problem(reader.span(), format!("{} needs the key `{}`", reader.what(), $crate::section::key!($name $(, $key)?)));
                        }
                        default.map(<$ty as $crate::field::Field>::open)
                    }
                };)*
                Some($open { $($name: $name?,)* })
            }

            pub(crate) fn draw(&self, dice: &mut $crate::field::Dice<'_>, path: &str) -> $fixed {
                $fixed {
                    $($name: <$ty as $crate::field::Field>::draw(
                        &self.$name, dice, &format!("{path}.{}", $crate::section::key!($name $(, $key)?)),
                    ),)*
                }
            }

            /// Takes the value of one key from `other`; false when there is no such key.
            pub(crate) fn copy_key(&mut self, key: &str, other: &$open) -> bool {
                $(if key == $crate::section::key!($name $(, $key)?) {
                    self.$name = other.$name.clone();
                    return true;
                })*
                false
            }
        }

        #[allow(dead_code)]
        impl $fixed {
            /// With the default of every key; `None` when a key must be given.
            pub fn defaults() -> Option<$fixed> {
                $(let $name: Option<$ty> = $default;)*
                Some($fixed { $($name: $name?,)* })
            }

            /// Every key with TOML that reads back as its value.
            pub fn literals(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$(($crate::section::key!($name $(, $key)?), <$ty as $crate::field::Field>::literal(&self.$name)),)*]
            }

            /// The keys, for the reference.
            pub fn keys() -> Vec<$crate::section::KeyDoc> {
                vec![$({
                    let default: Option<$ty> = $default;
                    let docs: &[&str] = &[$($fdoc),*];
                    $crate::section::KeyDoc {
                        key: $crate::section::key!($name $(, $key)?),
                        kind: <$ty as $crate::field::Field>::kind(),
                        needed: default.is_none(),
                        default: default.and_then(|value| <$ty as $crate::field::Field>::literal(&value)).unwrap_or_default(),
                        doc: docs.concat().trim().to_owned(),
                        schema: <$ty as $crate::field::Field>::schema(),
                    }
                },)*]
            }
        }

        impl $crate::field::Field for $fixed {
            type Open = $open;
            fn kind() -> String { format!("a table ({})", $what) }
            fn schema() -> serde_json::Value { $crate::schema::object(&Self::keys()) }
            fn read(cx: &mut $crate::read::Cx<'_>, node: &$crate::tree::Node) -> Option<$open> {
                let mut reader = $crate::read::Reader::new(cx, node, $what)?;
                let open = $open::read_keys(cx, &mut reader);
                reader.finish(cx);
                open
            }
            fn open(self) -> $open {
                $open { $($name: <$ty as $crate::field::Field>::open(self.$name),)* }
            }
            fn draw(open: &$open, dice: &mut $crate::field::Dice<'_>, path: &str) -> $fixed { open.draw(dice, path) }
            fn literal(&self) -> Option<String> {
                let keys: Vec<String> =
                    self.literals().into_iter().filter_map(|(key, value)| Some(format!("{key} = {}", value?))).collect();
                if keys.is_empty() { None } else { Some(format!("{{ {} }}", keys.join(", "))) }
            }
        }
    };
}

macro_rules! key {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident, $key:literal) => {
        $key
    };
}

pub(crate) use {key, section};
