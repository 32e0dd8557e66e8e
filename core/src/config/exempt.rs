//! One entry of `exempt` -> [`Exemption`].

use super::authorization;
use super::fields::{self, Field};
use crate::codec::problems::{Node, Problems};
use crate::policy::{ExemptToken, Exemption};

pub(super) fn read(node: &Node<'_>, problems: &Problems) -> Option<Exemption> {
    let object = node.object(problems)?;
    let mut token = ExemptToken::Ignore;
    fields::read(&object, &mut [Field::word("token", &mut token)], problems);
    if object.field("paths").is_none() && object.field("methods").is_none() {
        problems
            .error(&node.at, "expected `paths` or `methods`: an entry without would exempt all");
    }
    let operation = authorization::exemption(&object, problems);
    object.finish(problems);
    Some(Exemption { operation, token })
}
