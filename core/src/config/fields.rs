//! The one reader of a configuration's fields: it goes through a table that has, for each field, its
//! name, how it is read, and its destination.
//!
//! A table is written next to what it fills, so that a new field is one row. Fields are read, and
//! problems recorded, in the table's order. A field that is absent or cannot be read leaves its
//! destination unchanged: that holds the default.

use super::names::{claim_name, emitted_name, top_level_claims};
use crate::claims::ClaimName;
use crate::codec::problems::{Node, Object, Problems};

/// A row: a name, and the value that it may have.
pub(super) struct Field<'t, 'v> {
    name: &'static str,
    presence: Presence,
    read: Read<'t, 'v>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Optional,
    Required,
}

/// How a field is read, and its destination: see the functions of these names.
enum Read<'t, 'v> {
    Claim(&'t mut Option<ClaimName>),
    Claims(&'t mut Option<Vec<String>>),
    Each(&'t mut dyn FnMut(&Node<'v>)),
    Flag(&'t mut bool),
    Header(&'t mut Option<String>),
    Ignored(&'static str),
    Kept(&'t mut Option<Node<'v>>),
    Object(&'t mut [Field<'t, 'v>]),
    Seconds(&'t mut Option<u64>),
    Size(u32, u32, &'t mut usize),
    Text(&'t mut Option<String>),
    Texts(&'t mut Vec<String>),
    With(&'t mut dyn FnMut(&Node<'v>)),
    Word(&'t mut dyn Choice),
}

impl<'t, 'v> Field<'t, 'v> {
    /// The same field, but required.
    pub(super) fn required(self) -> Self {
        Self { presence: Presence::Required, ..self }
    }

    /// A claim.
    pub(super) fn claim(name: &'static str, to: &'t mut Option<ClaimName>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Claim(to) }
    }

    /// A list of top-level claims, each by its literal name.
    pub(super) fn claims(name: &'static str, to: &'t mut Option<Vec<String>>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Claims(to) }
    }

    /// A list, each element read by a function.
    pub(super) fn each(name: &'static str, read: &'t mut dyn FnMut(&Node<'v>)) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Each(read) }
    }

    /// `true` or `false`.
    pub(super) fn flag(name: &'static str, to: &'t mut bool) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Flag(to) }
    }

    /// The name of a header that Usher sets or strips.
    pub(super) fn header(name: &'static str, to: &'t mut Option<String>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Header(to) }
    }

    /// A field that is known and not read: `why` is the warning.
    pub(super) fn ignored(name: &'static str, why: &'static str) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Ignored(why) }
    }

    /// The value unread, for a check that involves other fields.
    pub(super) fn kept(name: &'static str, to: &'t mut Option<Node<'v>>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Kept(to) }
    }

    /// An object of these fields and no others.
    pub(super) fn object(name: &'static str, fields: &'t mut [Self]) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Object(fields) }
    }

    /// A text that is not empty.
    pub(super) fn text(name: &'static str, to: &'t mut Option<String>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Text(to) }
    }

    /// A list of texts that are not empty.
    pub(super) fn texts(name: &'static str, to: &'t mut Vec<String>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Texts(to) }
    }

    /// Read by a function.
    pub(super) fn with(name: &'static str, read: &'t mut dyn FnMut(&Node<'v>)) -> Self {
        Self { name, presence: Presence::Optional, read: Read::With(read) }
    }

    /// One of the words of its type.
    pub(super) fn word(name: &'static str, to: &'t mut dyn Choice) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Word(to) }
    }

    /// A duration, in whole seconds.
    pub(super) fn seconds(name: &'static str, to: &'t mut Option<u64>) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Seconds(to) }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn size(name: &'static str, least: u32, most: u32, to: &'t mut usize) -> Self {
        Self { name, presence: Presence::Optional, read: Read::Size(least, most, to) }
    }
}

/// A value that is one of a list of words.
pub(super) trait Words: Copy + 'static {
    /// Each word with its value, in the order in which problems list them.
    const WORDS: &'static [(&'static str, Self)];
}

/// A place for a value of any such type, so that one reader serves all.
pub(super) trait Choice {
    /// All words.
    fn words(&self) -> Vec<&'static str>;
    /// Sets the value of the word at this position in the list.
    fn choose(&mut self, index: usize);
}

impl<T: Words> Choice for T {
    fn words(&self) -> Vec<&'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).collect()
    }

    fn choose(&mut self, index: usize) {
        if let Some((_, value)) = Self::WORDS.get(index) {
            *self = *value;
        }
    }
}

/// Reads an object of these fields and no others. `None`, with a problem, if the value is not an
/// object.
pub(super) fn read_object<'v>(
    node: &Node<'v>,
    fields: &mut [Field<'_, 'v>],
    problems: &Problems,
) -> Option<()> {
    let object = node.object(problems)?;
    read(&object, fields, problems);
    object.finish(problems);
    Some(())
}

/// Reads these fields of an object, which may have others.
pub(super) fn read<'v>(object: &Object<'v>, fields: &mut [Field<'_, 'v>], problems: &Problems) {
    #[cfg(feature = "schema-fields")]
    know(&object.at, fields, problems);
    for Field { name, presence, read } in fields {
        let node = match presence {
            Presence::Optional => object.field(name),
            Presence::Required => object.required(name, problems),
        };
        if let Some(node) = node {
            value(&node, read, problems);
        }
    }
}

fn value<'v>(node: &Node<'v>, read: &mut Read<'_, 'v>, problems: &Problems) {
    match read {
        Read::Claim(to) => keep(to, claim_name(node, problems)),
        Read::Claims(to) => keep(to, top_level_claims(node, problems)),
        Read::Each(read) => node.list(problems).unwrap_or_default().iter().for_each(read),
        Read::Flag(to) => **to = node.boolean(problems).unwrap_or(**to),
        Read::Header(to) => keep(to, emitted_name(node, problems)),
        Read::Ignored(why) => problems.warning("field-ignored", &node.at, *why),
        Read::Kept(to) => **to = Some(node.clone()),
        Read::Object(fields) => {
            read_object(node, fields, problems);
        }
        Read::Seconds(to) => keep(to, node.duration(problems).map(|d| d.as_secs())),
        Read::Size(least, most, to) => {
            let number = node.integer(u64::from(*least)..=u64::from(*most), problems);
            **to = number.and_then(|number| usize::try_from(number).ok()).unwrap_or(**to);
        }
        Read::Text(to) => keep(to, node.filled_text(problems).map(str::to_owned)),
        Read::Texts(to) => {
            if let Some(texts) = node.texts(problems) {
                **to = texts.into_iter().map(str::to_owned).collect();
            }
        }
        Read::With(read) => read(node),
        Read::Word(choice) => {
            if let Some(index) = node.word(&choice.words(), problems) {
                choice.choose(index);
            }
        }
    }
}

fn keep<T>(to: &mut Option<T>, read: Option<T>) {
    if read.is_some() {
        *to = read;
    }
}

/// Records the fields and words of a table, whether or not a configuration has them.
#[cfg(feature = "schema-fields")]
fn know(at: &str, fields: &[Field<'_, '_>], problems: &Problems) {
    for field in fields {
        problems.know_field(at, field.name);
        let at = if at.is_empty() { field.name.to_owned() } else { format!("{at}.{}", field.name) };
        match &field.read {
            Read::Object(fields) => know(&at, fields, problems),
            Read::Word(choice) => problems.know_words(&at, &choice.words()),
            _ => {}
        }
    }
}
