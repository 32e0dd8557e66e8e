//! `exempt` -> [`Exemption`].

use super::authorization;
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::{ExemptToken, Exemption};

pub(super) fn read_all(object: &Object<'_>, problems: &Problems) -> Vec<Exemption> {
    let items = object.field("exempt").and_then(|n| n.list(problems)).unwrap_or_default();
    items.iter().filter_map(|node| read(node, problems)).collect()
}

fn read(node: &Node<'_>, problems: &Problems) -> Option<Exemption> {
    let object = node.object(problems)?;
    let words = [("ignore", ExemptToken::Ignore), ("optional", ExemptToken::Optional)];
    let token = object.field("token").and_then(|n| n.one_of(&words, problems));
    if object.field("paths").is_none() && object.field("methods").is_none() {
        problems
            .error(&node.at, "expected `paths` or `methods`: an entry without would exempt all");
    }
    let operation = authorization::exemption(&object, problems);
    object.finish(problems);
    Some(Exemption { operation, token: token.unwrap_or(ExemptToken::Ignore) })
}
