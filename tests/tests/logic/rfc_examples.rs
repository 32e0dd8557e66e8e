//! The examples of the RFCs, as they stand there: public keys and tokens, literally.
//!
//! RFC 7515 appendix A, RFC 7519 sections 3.1 and 6.1, RFC 7520 section 4, RFC 8037 appendix A. Most
//! payloads are not JWT claims; there the signature alone is checked, and the token refused for the rest.

use serde_json::{Value, json};
use usher_core::codec::problems::{Node, Problems};
use usher_core::compact;
use usher_core::crypto::Algorithm;
use usher_core::crypto::{SignatureEngine as _, portable::Portable};
use usher_core::denial::{Denial, Malformed};
use usher_core::jwks::{KeySet, Origin, Published};
use usher_core::policy::TokenLimits;
use usher_testkit::verdict::{Core, RequestBuilder as _, get, with};

// RFC 7515 appendix A.1.1: the shared key.
const A1_K: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

// RFC 7515 appendix A.1.1, which is RFC 7519 section 3.1: HS256, with line breaks inside the JSON.
const A1: &str = concat!(
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
);

// RFC 7515 appendix A.2.1: n of the RSA key.
const A2_N: &str = concat!(
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4Ql",
    "L-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUs",
    "LA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoud",
    "F8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
);

// RFC 7515 appendix A.2.1: RS256.
const A2: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujG",
    "bds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K",
    "0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6",
    "LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
);

// RFC 7515 appendix A.3.1: the P-256 key.
const A3_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const A3_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

// RFC 7515 appendix A.3.1: ES256.
const A3: &str = concat!(
    "eyJhbGciOiJFUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);

// RFC 7515 appendix A.4.1: the P-521 key.
const A4_X: &str =
    "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk";
const A4_Y: &str =
    "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2";

// RFC 7515 appendix A.4.1: ES512; the payload is the word `Payload`.
const A4: &str = concat!(
    "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.",
    "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7Xdt",
    "AG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
);

// RFC 7515 appendix A.5 and RFC 7519 section 6.1: unsecured.
const A5: &str = concat!(
    "eyJhbGciOiJub25lIn0.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
);

// RFC 7519 appendix A.1: an encrypted JWT.
const RFC_7519_A1: &str = concat!(
    "eyJhbGciOiJSU0ExXzUiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.",
    "QR1Owv2ug2WyPBnbQrRARTeEk9kDO2w8qDcjiHnSJflSdv1iNqhWXaKH4MqAkQtMoNfABIPJaZm0HaA415sv3aeuBWnD8J-U",
    "i7Ah6cWafs3ZwwFKDFUUsWHSK-IPKxLGTkND09XyjORj_CHAgOPJ-Sd8ONQRnJvWn_hXV1BNMHzUjPyYwEsRhDhzjAD26ima",
    "sOTsgruobpYGoQcXUwFDn7moXPRfDE8-NoQX7N7ZYMmpUDkR-Cx9obNGwJQ3nM52YCitxoQVPzjbl7WBuB7AohdBoZOdZ24W",
    "lN1lVIeh8v1K4krB8xgKvRU8kgFrEn_a1rZgN5TiysnmzTROF869lQ.",
    "AxY8DCtDaGlsbGljb3RoZQ.",
    "MKOle7UQrG6nSxTLX6Mqwt0orbHvAKeWnDYvpIAeZ72deHxz3roJDXQyhxx0wKaMHDjUEOKIwrtkHthpqEanSBNYHZgmNOV7",
    "sln1Eu9g3J8.",
    "fiK51VwhsxJ-siBMR-YFiA",
);

// RFC 7520 section 3.3: n of Bilbo's RSA key.
const BILBO_N: &str = concat!(
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMa",
    "JMRBSFKrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6c",
    "S6M1FZcD1NNLYD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwd",
    "q_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw",
);

// RFC 7520 section 4: the payload of all its examples.
const BILBO_PAYLOAD: &str = concat!(
    "SXTigJlzIGEgZGFuZ2Vyb3VzIGJ1c2luZXNzLCBGcm9kbywgZ29pbmcgb3V0IHlvdXIgZG9vci4gWW91IHN0ZXAgb250byB0",
    "aGUgcm9hZCwgYW5kIGlmIHlvdSBkb24ndCBrZWVwIHlvdXIgZmVldCwgdGhlcmXigJlzIG5vIGtub3dpbmcgd2hlcmUgeW91",
    "IG1pZ2h0IGJlIHN3ZXB0IG9mZiB0by4",
);

// RFC 7520 section 4.1: RS256.
const BILBO_RS256: (&str, &str) = (
    "eyJhbGciOiJSUzI1NiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    concat!(
        "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII7P",
        "NDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1Kt9e",
        "Ro4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-ZnmKJ3F4",
        "uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg",
    ),
);

// RFC 7520 section 4.2: PS384.
const BILBO_PS384: (&str, &str) = (
    "eyJhbGciOiJQUzM4NCIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    concat!(
        "cu22eBqkYDKgIlTpzDXGvaFfz6WGoz7fUDcfT0kkOy42miAh2qyBzk1xEsnk2IpN6-tPid6VrklHkqsGqDqHCdP6O8TTB5dD",
        "DItllVo6_1OLPpcbUrhiUSMxbbXUvdvWXzg-UD8biiReQFlfz28zGWVsdiNAUf8ZnyPEgVFn442ZdNqiVJRmBqrYRXe8P_ij",
        "Q7p8Vdz0TTrxUeT3lm8d9shnr2lfJT8ImUjvAA2Xez2Mlp8cBE5awDzT0qI0n6uiP1aCN_2_jLAeQTlqRHtfa64QQSUmFAAj",
        "VKPbByi7xho0uTOcbH510a6GYmJUAfmWjwZ6oD4ifKo8DYM-X72Eaw",
    ),
);

// RFC 7520 section 3.1: Bilbo's P-521 key.
const BILBO_X: &str =
    "AHKZLLOsCOzz5cY97ewNUajB957y-C-U88c3v13nmGZx6sYl_oJXu9A5RkTKqjqvjyekWF-7ytDyRXYgCF5cj0Kt";
const BILBO_Y: &str =
    "AdymlHvOiLxXkEhayXQnNCvDX4h9htZaCJN34kfmC6pV5OhQHiraVySsUdaQkAgDPrwQrJmbnX9cwlGfP-HqHZR1";

// RFC 7520 section 4.3: ES512.
const BILBO_ES512: (&str, &str) = (
    "eyJhbGciOiJFUzUxMiIsImtpZCI6ImJpbGJvLmJhZ2dpbnNAaG9iYml0b24uZXhhbXBsZSJ9",
    concat!(
        "AE_R_YZCChjn4791jSQCrdPZCNYqHXCTZH0-JZGYNlaAjP2kqaluUIIUnC9qvbu9Plon7KRTzoNEuT4Va2cmL1eJAQy3mtPB",
        "u_u_sDDyYjnAMDxXPn7XrT0lw-kvAD890jl8e2puQens_IEKBpHABlsbEPX6sFY8OcGDqoRuBomu9xQ2",
    ),
);

// RFC 7520 section 3.5: the shared key.
const BILBO_K: &str = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";

// RFC 7520 section 4.4: HS256.
const BILBO_HS256: (&str, &str) = (
    "eyJhbGciOiJIUzI1NiIsImtpZCI6IjAxOGMwYWU1LTRkOWItNDcxYi1iZmQ2LWVlZjMxNGJjNzAzNyJ9",
    "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0",
);

// RFC 8037 appendix A.2: the Ed25519 key; A.4: EdDSA over `Example of Ed25519 signing`.
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const ED25519: &str = concat!(
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.",
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
);

fn rsa(n: &str) -> Value {
    json!({ "kty": "RSA", "n": n, "e": "AQAB" })
}

fn ec(crv: &str, x: &str, y: &str) -> Value {
    json!({ "kty": "EC", "crv": crv, "x": x, "y": y })
}

fn oct(k: &str) -> Value {
    json!({ "kty": "oct", "k": k })
}

#[test]
fn rfc_7515_and_7519_tokens_of_joe() {
    // Joe's tokens end at 1300819380, 2011-03-22.
    const WHILE_GOOD: u64 = 1_300_819_380;
    for (what, jwk, algorithm, token) in [
        ("A.1, HS256", oct(A1_K), "HS256", A1),
        ("A.2, RS256", rsa(A2_N), "RS256", A2),
        ("A.3, ES256", ec("P-256", A3_X, A3_Y), "ES256", A3),
    ] {
        let rule = json!({
            "issuer": "joe",
            "jwks": { "keys": [jwk] },
            "allowPublishedKeys": true,
            "algorithms": [algorithm],
            "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [{ "header": "x-root", "claim": "[http://example.com/is_root]" }],
        });
        let core = Core::with_rule(rule.clone());
        let request = get("/").bearer(token);
        let verdict = core.ask_at(&request, WHILE_GOOD);
        assert_eq!(verdict.code(), "allowed", "{what}");
        // A claim whose name has dots and slashes, and the payload as it was signed.
        assert_eq!(verdict.lines("x-root"), ["true"], "{what}");
        assert_eq!(verdict.lines("x-payload"), [token.split('.').nth(1).unwrap()], "{what}");
        assert_eq!(core.ask_at(&request, WHILE_GOOD + 61).code(), "token_expired", "{what}");
        let other = Core::with_rule(with(&rule, "issuer", "jim"));
        assert_eq!(other.ask_at(&request, WHILE_GOOD).code(), "issuer_unknown", "{what}");
        let tampered = token.replacen("eyJpc3MiOiJqb2Ui", "eyJpc3MiOiJqb2Ug", 1);
        assert_ne!(
            core.ask_at(&get("/").bearer(&tampered), WHILE_GOOD).code(),
            "allowed",
            "{what}"
        );
    }
}

#[test]
fn rfc_7515_a_5_and_rfc_7519_a_1_are_no_signed_tokens() {
    let read = |token: &str| compact::parse(token.as_bytes(), &TokenLimits::default()).unwrap_err();
    assert_eq!(read(A5), Denial::TokenMalformed(Malformed::Form));
    assert_eq!(read(RFC_7519_A1), Denial::TokenMalformed(Malformed::Encrypted));
}

/// Whether the key signed the text, valid as a token or not.
fn verifies(jwk: &Value, algorithm: Algorithm, signed: &str, signature: &str) -> bool {
    use base64::Engine as _;
    let signature = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(signature).unwrap();
    let (set, problems) = (json!({ "keys": [jwk] }), Problems::default());
    let keys = KeySet::read(&Node::root(&set), Origin::Inline, true, Published::Allowed, &problems)
        .unwrap();
    let key = keys.candidates(None, algorithm).next().expect("the key is for the algorithm");
    Portable.verify(algorithm, key, signed.as_bytes(), &signature).unwrap()
}

#[test]
fn signatures_of_other_payloads() {
    let split = |token: &'static str| token.rsplit_once('.').unwrap();
    let bilbo = |(header, signature): (&str, &'static str)| {
        (format!("{header}.{BILBO_PAYLOAD}"), signature)
    };
    let whole = |token| {
        let (signed, signature) = split(token);
        (signed.to_owned(), signature)
    };
    for (what, jwk, algorithm, (signed, signature)) in [
        ("RFC 7515 A.4", ec("P-521", A4_X, A4_Y), Algorithm::ES512, whole(A4)),
        ("RFC 7520 4.1", rsa(BILBO_N), Algorithm::RS256, bilbo(BILBO_RS256)),
        ("RFC 7520 4.2", rsa(BILBO_N), Algorithm::PS384, bilbo(BILBO_PS384)),
        ("RFC 7520 4.3", ec("P-521", BILBO_X, BILBO_Y), Algorithm::ES512, bilbo(BILBO_ES512)),
        ("RFC 7520 4.4", oct(BILBO_K), Algorithm::HS256, bilbo(BILBO_HS256)),
        (
            "RFC 8037 A.4",
            json!({ "kty": "OKP", "crv": "Ed25519", "x": ED25519_X }),
            Algorithm::EdDSA,
            whole(ED25519),
        ),
    ] {
        assert!(verifies(&jwk, algorithm, &signed, signature), "{what}");
        assert!(!verifies(&jwk, algorithm, &format!("{signed}A"), signature), "{what}, tampered");
        // Not one of these payloads is a JSON object: as a token each is refused, with any signature.
        let token = format!("{signed}.{signature}");
        let refusal = compact::parse(token.as_bytes(), &TokenLimits::default()).unwrap_err();
        assert_eq!(refusal, Denial::TokenMalformed(Malformed::PayloadJson), "{what}");
    }
}
