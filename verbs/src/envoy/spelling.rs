//! protobuf's two spellings of a field, `http_filters` and `httpFilters`: Envoy's admin interface, `istioctl -o json`, egctl
//! and ESPv2 print either.

use usher_core::codec::json::{Map, Value};

/// Fields whose members are named by people: their names stay as they are.
const MAPS: [&str; 12] = [
    "annotations",
    "claims",
    "extra_info",
    "fields",
    "filter_metadata",
    "labels",
    "policies",
    "providers",
    "requirement_map",
    "requires_map",
    "typed_filter_metadata",
    "typed_per_filter_config",
];

/// A value with all fields in protobuf's own spelling.
pub(crate) fn snake(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(snake).collect(),
        Value::Object(members) => Value::Object(fields(members)),
        value => value.clone(),
    }
}

fn fields(members: &Map<String, Value>) -> Map<String, Value> {
    let kind = members.get("@type").and_then(Value::as_str).unwrap_or_default();
    // A Struct's members are data.
    let is_struct = kind.ends_with("google.protobuf.Struct");
    // A filter in a Struct, for control planes that do not know its type (xds.type.v3.TypedStruct): the filter itself.
    if kind.ends_with(".TypedStruct") {
        let url = members.get("type_url").or_else(|| members.get("typeUrl"));
        let inner = members.get("value").and_then(Value::as_object);
        let mut inner = inner.map(fields).unwrap_or_default();
        if let Some(url) = url {
            inner.insert("@type".to_owned(), url.clone());
        }
        return inner;
    }
    let field = |(name, value): (&String, &Value)| {
        let spelled = spell(name);
        let value = match value {
            value if is_struct => value.clone(),
            // By filter state, `requires` is a map too.
            Value::Object(inner) if MAPS.contains(&spelled.as_str()) => {
                let kept = inner.iter().map(|(name, value)| (name.clone(), snake(value)));
                Value::Object(kept.collect())
            }
            value => snake(value),
        };
        (spelled, value)
    };
    let mut all = Map::new();
    for (name, value) in members.iter().map(field) {
        // protobuf refuses both spellings of one field; neither may hide the other.
        let name = if all.contains_key(&name) { format!("{name} (twice)") } else { name };
        all.insert(name, value);
    }
    all
}

/// `httpFilters` as `http_filters`; another name stays.
fn spell(name: &str) -> String {
    let is_camel = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(|char| char.is_ascii_alphanumeric());
    if !is_camel {
        return name.to_owned();
    }
    let mut spelled = String::with_capacity(name.len());
    for char in name.chars() {
        if char.is_ascii_uppercase() {
            spelled.push('_');
        }
        spelled.push(char.to_ascii_lowercase());
    }
    spelled
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_respelled_and_names_are_not() {
        let camel = json!({
            "@type": "x",
            "httpFilters": [{ "typedConfig": { "providers": { "myIdP": { "fromHeaders": [{ "valuePrefix": "aB" }] } } } }],
            "typedPerFilterConfig": { "envoy.filters.http.jwtAuthn": { "requirementName": "aB" } },
            "value": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": { "jwtRules": 1 } },
        });
        let snake_case = json!({
            "@type": "x",
            "http_filters": [{ "typed_config": { "providers": { "myIdP": { "from_headers": [{ "value_prefix": "aB" }] } } } }],
            "typed_per_filter_config": { "envoy.filters.http.jwtAuthn": { "requirement_name": "aB" } },
            "value": { "@type": "type.googleapis.com/google.protobuf.Struct", "value": { "jwtRules": 1 } },
        });
        let twice = snake(&json!({ "httpFilters": [1], "http_filters": [2] }));
        assert_eq!(twice.as_object().map(Map::len), Some(2), "{twice}");
        let typed = json!({ "@type": "type.googleapis.com/xds.type.v3.TypedStruct", "type_url": "t", "value": { "aB": 1 } });
        assert_eq!(snake(&typed), json!({ "@type": "t", "a_b": 1 }));
        assert_eq!(snake(&camel), snake_case);
        assert_eq!(snake(&snake_case), snake_case);
    }
}
