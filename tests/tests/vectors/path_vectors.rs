//! Every measured path through the core: what Envoy makes of it in each mode of Istio's, or a reasoned
//! `path_unsafe`.

use serde_json::Value;
use usher_core::path::normalize;
use usher_core::policy::Normalization;
use usher_testkit::vectors;

#[test]
fn every_path_has_its_normal_form() {
    let (mut same, mut unsafe_twice, mut wrong) = (0, Vec::new(), Vec::new());
    for line in vectors::text("authz/paths.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let mode = match case["pathNormalization"].as_str().unwrap() {
            "NONE" => Normalization::None,
            "BASE" => Normalization::Base,
            "MERGE_SLASHES" => Normalization::MergeSlashes,
            "DECODE_AND_MERGE_SLASHES" => Normalization::DecodeAndMergeSlashes,
            other => panic!("unknown mode {other}"),
        };
        let path = case["path"].as_str().unwrap();
        let got = normalize(path.as_bytes(), mode);
        match (&got, case["seen"].as_str()) {
            (Ok(normal), Some(seen)) if **normal == *seen.as_bytes() => same += 1,
            (Err(_), None) => same += 1,
            // Stricter on purpose: Envoy forwards it, and normalising that again gives another path.
            (Err(_), Some(seen)) => {
                let again = normalize(seen.as_bytes(), mode);
                assert!(again.as_deref() != Ok(seen.as_bytes()), "{path}: `{seen}` is stable");
                unsafe_twice.push(path.to_owned());
            }
            _ => wrong.push(format!(
                "{mode:?} {path:?}: expected {case}, got {:?}",
                got.map(|p| String::from_utf8_lossy(&p).into_owned())
            )),
        }
    }
    println!("{same} as in Envoy, {} refused for having two readings", unsafe_twice.len());
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(same + unsafe_twice.len(), 1940);
}
