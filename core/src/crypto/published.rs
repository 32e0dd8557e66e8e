//! Keys whose private half is published in a standard, on a web site or in a sample: anyone can sign with them.
//!
//! Looked up by the first half of their RFC 7638 thumbprint, 128 bits. `tests/data/published-keys.json` has the
//! public keys, and a test computes the numbers from them again. Secrets that are shorter than their hash are never
//! accepted as keys (`your-256-bit-secret` of jwt.io), so none is here, and neither are RSA keys below 2048 bits.

use super::Material;

/// The keys by where they are published.
static PUBLISHED: [(&str, &[u128]); 8] = [
    (
        "RFC 7515",
        &[
            // A.1, HS256
            0xcbfc778022672faa0a1810485d271a6d,
            // A.2, RS256
            0x22c527ebf7b4e0c692857148212329e2,
            // A.3, ES256
            0xa0a232c2f194a53553cb1310ddbc0821,
            // A.4, ES512
            0xbb96144a3436fb6721062e75352937b7,
        ],
    ),
    (
        "RFC 7516",
        &[
            // A.1, RSA-OAEP
            0xc6d22c395d45a8a1fbec023f0378dd4e,
            // A.2, RSA1_5
            0xfcad1f5d2f3096c4fb4e7defbd9aecf6,
        ],
    ),
    (
        "RFC 7517",
        &[
            // A.2, EC
            0x727f88fd634c0a57a1895a79d62ff456,
            // A.2, RSA
            0x3736cbb1787cb8309c77ee8c3705c5e1,
            // C.1, RSA
            0x0fc478f8579325fcee0d4cbc6d9d1ce2,
        ],
    ),
    (
        "RFC 7518",
        &[
            // C, Alice
            0xfc62b4afa182a09b7dcdcb2c83d95acb,
            // C, Bob
            0x572e7b5eb02b52b5b435ba48d76b44cc,
        ],
    ),
    (
        "RFC 7520",
        &[
            // 3.1, EC
            0x747ae2dd2003664aeeb21e4753fe7402,
            // 3.3, RSA
            0xf63838e96077ad1fc01c3f8405774ded,
            // 3.5, HS256
            0x46da11babff50e2af9338c2e39fa8d90,
            // 3.6, A256GCM
            0x543329d598061afd4e2a039e0dcd4450,
            // 5.1.1, RSA
            0x87f8eeb6f0be8e0dcdc2e7aaf0b99d4b,
            // 5.2.1, RSA
            0x46df88c831215e886f4e5fe8cca43d60,
            // 5.4.1, EC
            0x6252a507b336c274b470f9ff57b396f8,
            // 5.5.1, EC
            0x1ec4856a5c30df23fe74efa558662015,
            // 5.7.1, A256GCMKW
            0xb6ab084ab1bfa548b821745dd92fc860,
        ],
    ),
    (
        "RFC 8032",
        &[
            // 7.1, TEST 1; RFC 8037 appendix A
            0x90facafea9b1556698540f70c0117a22,
            // 7.1, TEST 2
            0x16d22ef956c6adf7bf281e821fb18dc0,
            // 7.1, TEST 3
            0x155579ba64ee6aef3dd2ae7d57ee066b,
            // 7.1, TEST 1024
            0x959235bcceed9e561aa5a179f9ccbcea,
            // 7.1, TEST SHA(abc)
            0x8a20c71df155346e8808c513b22720ad,
            // 7.2, foo
            0xd9b54843dfeed3057106c0709b12b717,
            // 7.2, the last
            0xab3d4561aa1bc2716391a34b71cbfe98,
        ],
    ),
    (
        "jwt.io",
        &[
            // RS256 to PS512
            0xa060e61ea089ef2ccc916124ae56551e,
            // RS256, until 2021
            0xcc51d5b0cf5d7383a51c8c2f12756a7c,
            // ES256
            0xd7d27ccbb669aeddbe40a2e3176239a5,
            // ES384
            0x893a975c8d336c09c908a0daa1b7e190,
            // ES512
            0xc590df669af2e0ff6f64f6721b67cd05,
            // `a-string-secret-at-least-256-bits-long`
            0x2d7900caa705128239a643337d68ec01,
            // `a-valid-string-secret-that-is-at-least-384-bits-long`
            0x32cfe3dafcc014d3abc1bf7895ee3036,
            // `a-valid-string-secret-that-is-at-least-512-bits-long-which-is-very-long`
            0xdd287c8f0c6d180520d63ebfe0122eb9,
        ],
    ),
    (
        "Istio's samples",
        &[
            // security/tools/jwt/samples/jwks.json
            0x0c715ba68214aab63cb76ce9036a977c,
            // samples/jwt-server/src/main.go
            0xb53ff0f4b44dad8ef025a946b13612b7,
        ],
    ),
];

impl Material {
    /// Where the key's private half is published, if it is.
    pub fn published_in(&self) -> Option<&'static str> {
        let half = self.0.first_chunk().map(|half| u128::from_be_bytes(*half))?;
        let (source, _) = PUBLISHED.iter().find(|(_, keys)| keys.contains(&half))?;
        Some(source)
    }
}
